package email

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-smtp"

	"tributary/channels"
)

func TestSend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = append(w.play, func(*envelope, *smtp.Conn) error {
		return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "Ok: queued as 4F1B2C"}
	})
	d := w.open(t)
	out := outbound("msg_1")
	out.Recipients = channels.Recipients{
		To: []channels.Address{addressOf("Wang Fang", "Wang@Example.com")},
		Cc: []channels.Address{addressOf("李四", "li@example.com"), addressOf("", "wang@example.com"), {IdentityKey: channels.IdentityKey{Kind: "phone", Value: "+8613800138000"}}},
	}
	receipt, err := d.send(t, out)
	if err != nil || receipt.RefID != "m7.abcdefghij@desk.example" || receipt.ExternalID != "4F1B2C" {
		t.Fatalf("got %+v, %v", receipt, err)
	}
	e := w.last(t)
	if e.from != "support+b7.abcdefghij@desk.example" || !slices.Equal(e.to, []string{"wang@example.com", "li@example.com"}) {
		t.Errorf("envelope from %q to %q", e.from, e.to)
	}
	m := parse(t, e.data)
	for field, want := range map[string]string{
		"Message-Id": "<m7.abcdefghij@desk.example>", "Date": "Thu, 01 Jan 2026 08:00:00 +0000",
		"From": `"Support" <support@desk.example>`, "Reply-To": `"Support" <support+c42.abcdefghij@desk.example>`,
		"To": `"Wang Fang" <wang@example.com>`, "In-Reply-To": "<b@example.com>",
		"References": "<a@example.com> <b@example.com>", "X-Tributary-Message": "msg_1", "Auto-Submitted": "",
	} {
		if got := m.Header.Get(field); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if purposes := d.dialer.Purposes(); !slices.Equal(purposes, []string{"mail"}) {
		t.Errorf("dialled for %q", purposes)
	}
}

func addressOf(name, value string) channels.Address {
	return channels.Address{IdentityKey: channels.IdentityKey{Kind: channels.IdentityEmail, Value: value}, Name: name}
}

func parse(t *testing.T, data []byte) *mail.Message {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return m
}

func TestSendWithoutPlusAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t, settings{"plusAddresses": false})
	if _, err := d.send(t, outbound("msg_1")); err != nil {
		t.Fatal(err)
	}
	if e := w.last(t); e.from != us || parse(t, e.data).Header.Get("Reply-To") != "" {
		t.Errorf("from %q\n%s", e.from, e.data)
	}
}

// TestSendEveryAttemptIsTheSameMail, so that a server or a reader that knows the
// one does not show the other.
func TestSendEveryAttemptIsTheSameMail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t)
	out := outbound("msg_1")
	out.Parts = append(out.Parts, attachment(d.blob.random(t, 1000), "a.bin", "application/pdf"))
	for attempt := range 2 {
		out.Attempt = attempt + 1
		if _, err := d.send(t, out); err != nil {
			t.Fatal(err)
		}
		d.clock.Advance(time.Hour)
	}
	if !bytes.Equal(w.taken[0].data, w.taken[1].data) {
		t.Errorf("first\n%s\nthen\n%s", w.taken[0].data, w.taken[1].data)
	}
}

// TestSendToSeveralIsAllOrNothing: one recipient who is refused refuses the mail
// before anybody has it.
func TestSendToSeveralIsAllOrNothing(t *testing.T) {
	t.Parallel()
	for place := range 2 {
		w := newWorld(t)
		w.rcpt = func(to string) error {
			if to == "nobody@example.com" {
				return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "<nobody@example.com>: User unknown"}
			}
			return nil
		}
		out := outbound("msg_1")
		out.Recipients.To = []channels.Address{addressOf("", "wang@example.com")}
		if place == 0 {
			out.Recipients.To = append(out.Recipients.To, addressOf("", "nobody@example.com"))
		} else {
			out.Recipients.Cc = append(out.Recipients.Cc, addressOf("", "nobody@example.com"))
		}
		_, err := w.open(t).send(t, out)
		class(t, err, channels.ClassInvalidRecipient)
		e, _ := errors.AsType[*channels.Error](err)
		if e == nil || !strings.Contains(e.Text, "n***@example.com") || strings.Contains(fmt.Sprint(e.Text, err), "nobody@") {
			t.Errorf("people are told %+v", e)
		}
		if w.count() != 0 {
			t.Error("somebody got the mail")
		}
	}
}

func TestSendRefusesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t)
	nobody := outbound("msg_1")
	nobody.To = []channels.IdentityKey{{Kind: "phone", Value: "+8613800138000"}}
	_, err := d.send(t, nobody)
	class(t, err, channels.ClassInvalidRecipient)
	empty := outbound("msg_1")
	empty.Parts = []channels.Part{{Type: channels.PartText, Text: " \n"}}
	_, err = d.send(t, empty)
	class(t, err, channels.ClassContentRejected)
	m, _ := d.channel.(*mailbox)
	for size, want := range map[int]channels.Class{maxAttachment: "", 19 << 20: channels.ClassContentRejected} {
		out := outbound("msg_1")
		out.Parts = append(out.Parts, attachment(d.blob.random(t, size), "big.zip", "application/zip"))
		l, err := m.compose(out)
		if err != nil {
			t.Fatal(err)
		}
		err = l.measure(t.Context())
		class(t, err, want)
		if e, is := errors.AsType[*channels.Error](err); is && !strings.Contains(e.Text, "25.0 MiB") {
			t.Errorf("people are told %q", e.Text)
		}
	}
	if w.count() != 0 {
		t.Error("something was handed in")
	}
}

// TestSendAsksTheServersLimits before it sends.
func TestSendAsksTheServersLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *world, _ *imapserver.Options, s *smtp.Server) { s.MaxMessageBytes = 10_000 })
	d := w.open(t)
	out := outbound("msg_1")
	out.Parts = append(out.Parts, attachment(d.blob.random(t, 10_000), "a.zip", "application/zip"))
	_, err := d.send(t, out)
	class(t, err, channels.ClassContentRejected)
	out = outbound("msg_2")
	out.To[0].Value = "王@example.com"
	_, err = d.send(t, out)
	class(t, err, channels.ClassInvalidRecipient)
	wide := newWorld(t, func(_ *world, _ *imapserver.Options, s *smtp.Server) { s.EnableSMTPUTF8 = true })
	if _, err = wide.open(t).send(t, out); err != nil || !slices.Equal(wide.last(t).to, []string{"王@example.com"}) {
		t.Errorf("%v", err)
	}
}

// TestSendAFileThatBreaksOff: it was there when the mail was measured. The dot is
// not sent, so that nobody gets half a file.
func TestSendAFileThatBreaksOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t)
	times := 0
	d.blob.get = func(r io.Reader) io.Reader {
		if times++; times == 1 {
			return r
		}
		return io.MultiReader(io.LimitReader(r, 50_000), &failing{})
	}
	out := outbound("msg_1")
	out.Parts = append(out.Parts, attachment(d.blob.random(t, 100_000), "a.zip", "application/zip"))
	_, err := d.send(t, out)
	class(t, err, channels.ClassRetry)
	if w.count() != 0 {
		t.Error("half a mail was handed in")
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, errors.New("the disk is gone") }

// TestSendThroughABadLine: up to the dot it is temporary, from then on uncertain.
func TestSendThroughABadLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cut  func(p *proxy)
		want channels.Class
	}{
		"before the greeting":   {func(p *proxy) { p.refuse = true }, channels.ClassRetry},
		"after MAIL":            {func(p *proxy) { p.after = "MAIL FROM" }, channels.ClassRetry},
		"after RCPT":            {func(p *proxy) { p.after = "RCPT TO" }, channels.ClassRetry},
		"after DATA":            {func(p *proxy) { p.after = "\r\nDATA\r\n" }, channels.ClassRetry},
		"inside the mail":       {func(p *proxy) { p.after = "MIME-Version" }, channels.ClassRetry},
		"after the dot":         {func(p *proxy) { p.after, p.forward = "\r\n.\r\n", true }, channels.ClassUncertain},
		"dot never arrives":     {func(p *proxy) { p.after = "\r\n.\r\n" }, channels.ClassUncertain},
		"silent from the start": {func(p *proxy) { p.after, p.hole = "EHLO", true }, channels.ClassRetry},
		"silent after DATA":     {func(p *proxy) { p.after, p.hole = "\r\nDATA\r\n", true }, channels.ClassRetry},
		"silent after the dot":  {func(p *proxy) { p.after, p.forward, p.hole = "\r\n.\r\n", true, true }, channels.ClassUncertain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := newProxy(t, w.smtpAddr, c.cut)
			_, port, _ := net.SplitHostPort(p.addr)
			d := w.open(t, settings{"smtpPort": number(port)})
			out := outbound("msg_1")
			if name == "inside the mail" { // More than the line holds, or the dot is out before the break is seen.
				out.Parts = append(out.Parts, attachment(d.blob.random(t, 8<<20), "a.zip", "application/zip"))
			}
			done := make(chan error, 1)
			go func() {
				_, err := as[channels.Sender](t, d.channel).Send(t.Context(), out)
				done <- err
			}()
			err := d.pass(t, p.broken, done, patience+time.Second)
			class(t, err, c.want)
			if err == nil {
				t.Error("it was sent")
			}
		})
	}
}

// TestSendWaitsLongForTheVerdict: a server may examine a mail for minutes.
func TestSendWaitsLongForTheVerdict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	w.play = append(w.play, func(*envelope, *smtp.Conn) error { <-release; return nil })
	d := w.open(t)
	done := make(chan error, 1)
	go func() {
		_, err := as[channels.Sender](t, d.channel).Send(t.Context(), outbound("msg_1"))
		done <- err
	}()
	<-w.received
	d.clock.Advance(9 * time.Minute)
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSendErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := openWith(t, w.settings(), "wrong").send(t, outbound("msg_1"))
	class(t, err, channels.ClassAuthBroken)
	if _, err = openWith(t, w.settings(), "not yet", secret).send(t, outbound("msg_1")); err != nil {
		t.Errorf("with the previous password: %v", err)
	}
	w.from = func(string) error {
		return &smtp.SMTPError{Code: 553, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Sender address rejected: not owned by user"}
	}
	_, err = w.open(t).send(t, outbound("msg_1"))
	class(t, err, channels.ClassConfig)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = as[channels.Sender](t, w.open(t).channel).Send(ctx, outbound("msg_1"))
	class(t, err, channels.ClassRetry)
}
