package email

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
)

// arrivedAt is when the test's mails arrived.
var arrivedAt = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

// shelf is a channels.Blob in memory. A key is the hash of the content, so that
// what is stored twice is the same.
type shelf struct {
	mu    sync.Mutex
	files map[string][]byte
	fail  func(contentType string) error
}

// Put implements channels.Blob.
func (s *shelf) Put(_ context.Context, r io.Reader, contentType string) (string, int64, error) {
	if s.fail != nil {
		if err := s.fail(contentType); err != nil {
			return "", 0, err
		}
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	sum := sha256.Sum256(b)
	key := hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = map[string][]byte{}
	}
	s.files[key] = b
	return key, int64(len(b)), nil
}

// Get implements channels.Blob.
func (s *shelf) Get(_ context.Context, key string) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.files[key]
	if !ok {
		return nil, io.ErrUnexpectedEOF
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (s *shelf) file(t *testing.T, ref *channels.MediaRef) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.files[ref.Blob]
	if !ok {
		t.Fatalf("%s is not in the shelf", ref.Name)
	}
	return string(b)
}

func newReader() (*reader, *shelf) {
	s := &shelf{}
	return &reader{
		own:   []string{"support@example.com", "hilfe@example.com"},
		marks: true, authserv: []string{"mx.example.com"}, locale: "zh-CN",
		blob: s, clock: channeltest.NewClock(arrivedAt.Add(time.Minute)),
	}, s
}

// crlf gives a mail the line ends it has on the wire.
func onWire(mail string) string {
	return strings.ReplaceAll(strings.ReplaceAll(mail, "\r\n", "\n"), "\n", "\r\n")
}

func readMail(t *testing.T, mail string) channels.Inbound {
	t.Helper()
	r, _ := newReader()
	return readBy(t, r, mail)
}

func readBy(t *testing.T, r *reader, mail string) channels.Inbound {
	t.Helper()
	in, err := r.read(t.Context(), strings.NewReader(mail), int64(len(mail)), arrivedAt)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func textIn(in channels.Inbound) string {
	if len(in.Parts) == 0 || in.Parts[0].Type != channels.PartText {
		return ""
	}
	return in.Parts[0].Text
}

const simpleMail = `From: "Wang Fang" <Wang.Fang@customer.example>
To: Support <support@example.com>, other@example.org
Cc: third@example.net
Subject: =?utf-8?B?6YCA6LSn?= please
Message-ID: <m1@customer.example>
Date: Mon, 05 Jan 2026 08:30:00 +0100
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b1"

This is a multi-part message in MIME format.
--b1
Content-Type: multipart/alternative; boundary=b2

--b2
Content-Type: text/plain; charset=utf-8

Hello,
please help.

--b2
Content-Type: text/html; charset=utf-8

<p>Hello, <b>please</b> help.</p><img src="cid:pic@x"><img src="cid:none"><img src="https://t.example/p.gif">
--b2--
--b1
Content-Type: image/png; name=dot.png
Content-ID: <pic@x>
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--b1
Content-Type: application/pdf
Content-Disposition: attachment; filename="order 7.pdf"
Content-Transfer-Encoding: base64

JVBERi0xLjQK
--b1--
`

func TestSimple(t *testing.T) {
	t.Parallel()
	r, s := newReader()
	in := readBy(t, r, onWire(simpleMail))
	if in.Kind != channels.InboundMessage || in.Unreadable != "" {
		t.Errorf("kind %s, unreadable %q", in.Kind, in.Unreadable)
	}
	if in.Subject != "退货 please" || in.RefID != "m1@customer.example" || in.ThreadKey != in.RefID || in.SameID != in.ExternalID {
		t.Errorf("subject %q, ref %q, thread %q", in.Subject, in.RefID, in.ThreadKey)
	}
	if !strings.HasPrefix(in.ExternalID, "m1@customer.example#") || len(in.ExternalID) != len(in.RefID)+17 {
		t.Errorf("external id %q", in.ExternalID)
	}
	if want := time.Date(2026, 1, 5, 7, 30, 0, 0, time.UTC); !in.OccurredAt.Equal(want) {
		t.Errorf("occurred %v", in.OccurredAt)
	}
	if len(in.Sender) != 1 || in.Sender[0].Value != "wang.fang@customer.example" || in.SenderName != "Wang Fang" || in.Sender[0].Level != channels.Claimed {
		t.Errorf("sender %+v %q", in.Sender, in.SenderName)
	}
	if len(in.To) != 2 || !in.To[0].Own || in.To[1].Own || len(in.Cc) != 1 {
		t.Errorf("to %+v, cc %+v", in.To, in.Cc)
	}
	if textIn(in) != "Hello,\nplease help." {
		t.Errorf("text %q", textIn(in))
	}
	if in.HTML != "<p>Hello, <b>please</b> help.</p><img src=\"cid:pic@x\">" {
		t.Errorf("html %q", in.HTML)
	}
	if len(in.Parts) != 3 {
		t.Fatalf("parts %+v", in.Parts)
	}
	pic, pdf := in.Parts[1], in.Parts[2]
	if pic.Type != channels.PartImage || pic.Media.ContentID != "pic@x" || pic.Media.Name != "dot.png" || s.file(t, pic.Media) != "\x89PNG\r\n\x1a\n" || pic.Media.Size != 8 {
		t.Errorf("picture %+v", pic.Media)
	}
	if pdf.Type != channels.PartFile || pdf.Media.ContentID != "" || pdf.Media.Name != "order 7.pdf" || s.file(t, pdf.Media) != "%PDF-1.4\n" || pdf.Media.ContentType != "application/pdf" {
		t.Errorf("file %+v", pdf.Media)
	}
	if string(in.Raw.Bytes) != onWire(simpleMail) || in.Raw.ContentType != "message/rfc822" || in.Raw.Size != int64(len(onWire(simpleMail))) || len(in.Raw.SHA256) != 64 {
		t.Errorf("raw %s %d", in.Raw.ContentType, in.Raw.Size)
	}
}
