package email

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"tributary/channels"
)

// brokenClock breaks the reader down in the middle of its work.
type brokenClock struct{}

// Now implements channels.Clock.
func (brokenClock) Now() time.Time { panic("no time") }

// After implements channels.Clock.
func (brokenClock) After(time.Duration) <-chan time.Time { return nil }

// TestUnreadable: whatever is wrong with a mail, it becomes an event with the
// whole mail attached.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mail, text, reason string
	}{
		"empty":             {"", "", "the mail is empty"},
		"no header":         {"hello there\r\nyou\r\n", "hello there\nyou", "the mail has no header"},
		"binary":            {"\x00\x01\x02\xff\xfe", "", "the mail has no header"},
		"parts and no part": {head + "Content-Type: multipart/mixed; boundary=b\r\n\r\nhello\r\n", "hello", "the mail says that it has parts, and has none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s := newReader()
			in := readBy(t, r, c.mail)
			if in.Unreadable != c.reason || in.Kind != channels.InboundMessage {
				t.Errorf("unreadable %q, kind %s", in.Unreadable, in.Kind)
			}
			if c.text != "" && textIn(in) != c.text {
				t.Errorf("text %q", textIn(in))
			}
			holdsMail(t, s, in, c.mail)
		})
	}
}

// holdsMail proves that an event can be stored and holds its mail.
func holdsMail(t *testing.T, s *shelf, in channels.Inbound, mail string) {
	t.Helper()
	if in.ExternalID == "" || in.ThreadKey == "" || len(in.Sender) != 1 || in.OccurredAt.IsZero() {
		t.Errorf("external id %q, thread %q, sender %v, at %v", in.ExternalID, in.ThreadKey, in.Sender, in.OccurredAt)
	}
	last := in.Parts[len(in.Parts)-1]
	if last.Type != channels.PartFile || last.Media.Name != "mail.eml" || last.Media.ContentType != "message/rfc822" || s.file(t, last.Media) != mail {
		t.Errorf("last part %+v", last)
	}
}

// TestBreakdown: a parser that breaks down costs one mail its form and nothing else.
func TestBreakdown(t *testing.T) {
	t.Parallel()
	for _, mail := range []string{onWire(simpleMail), onWire(strings.Replace(simpleMail, "please help", strings.Repeat("please help\n", 30000), 1))} {
		r, s := newReader()
		r.clock = brokenClock{}
		in := readBy(t, r, mail)
		if in.Unreadable != "the parser broke down: no time" {
			t.Errorf("unreadable %q", in.Unreadable)
		}
		if in.Subject != "退货 please" || in.Sender[0].Value != "wang.fang@customer.example" || in.RefID != "m1@customer.example" || !strings.HasPrefix(textIn(in), "Hello,\nplease help") || len(in.Warnings) != 1 {
			t.Errorf("subject %q, sender %v, text %.50q, warnings %v", in.Subject, in.Sender, textIn(in), in.Warnings)
		}
		if !in.OccurredAt.Equal(arrivedAt) {
			t.Errorf("at %v", in.OccurredAt)
		}
		holdsMail(t, s, in, mail)
	}
}

// TestStoreFails: what is wrong with the store is no fault of the mail; nothing is taken.
func TestStoreFails(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	big := strings.Replace(simpleMail, "please help", strings.Repeat("please help\n", 30000), 1)
	for name, c := range map[string]struct{ mail, kind string }{
		"a file":         {simpleMail, "application/pdf"},
		"a long mail":    {big, "message/rfc822"},
		"a file of long": {big, "image/png"},
		"an unreadable":  {"hello there", "message/rfc822"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, s := newReader()
			s.fail = func(kind string) error {
				if kind == c.kind {
					return full
				}
				return nil
			}
			in, err := r.read(t.Context(), strings.NewReader(onWire(c.mail)), 0, arrivedAt)
			if !errors.Is(err, full) || in.ExternalID != "" {
				t.Errorf("got %v, %q", err, in.ExternalID)
			}
		})
	}
}

// TestReaderFails: a mail that comes in part is not taken, wherever it breaks off.
func TestReaderFails(t *testing.T) {
	t.Parallel()
	mail := onWire(strings.Replace(simpleMail, "please help", strings.Repeat("please help\n", 25000), 1))
	for n := 0; n < len(mail); n += 1 + n/7 {
		r, _ := newReader()
		broken := io.MultiReader(strings.NewReader(mail[:n]), iotest.ErrReader(os.ErrDeadlineExceeded))
		if _, err := r.read(t.Context(), broken, int64(len(mail)), arrivedAt); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("broken at %d gives %v", n, err)
		}
	}
}

// waiting is a channels.Blob that ends with its context.
type waiting struct{ shelf }

// Put implements channels.Blob.
func (w *waiting) Put(ctx context.Context, _ io.Reader, _ string) (string, int64, error) {
	<-ctx.Done()
	return "", 0, ctx.Err()
}

func TestContextEnds(t *testing.T) {
	t.Parallel()
	r, _ := newReader()
	r.blob = &waiting{}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := r.read(ctx, filled("From: a@b.example\r\n\r\n", 1<<20), 0, arrivedAt); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestOverLimit: what is over the limit is read and left out, and people are told.
func TestOverLimit(t *testing.T) {
	t.Parallel()
	r, _ := newReader()
	in, err := r.read(t.Context(), strings.NewReader(onWire(simpleMail)), maxRaw+1, arrivedAt)
	if err != nil || !has(in, channels.WarnCut) {
		t.Errorf("got %v, warnings %v", err, in.Warnings)
	}
}

func TestLineEnds(t *testing.T) {
	t.Parallel()
	want := readMail(t, onWire(simpleMail))
	got := readMail(t, simpleMail)
	if textIn(got) != textIn(want) || got.HTML != want.HTML || len(got.Parts) != len(want.Parts) {
		t.Errorf("LF alone gives %+v", got)
	}
}
