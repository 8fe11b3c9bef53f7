package email

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"tributary/channels"
)

// maxMail is the largest mail we send, as it goes over the line: what the large
// providers take.
const maxMail = 25 << 20

// Send implements channels.Sender. It hands the mail in once; every recipient
// gets it, or none.
func (m *mailbox) Send(ctx context.Context, out channels.Outbound) (channels.Receipt, error) {
	none := channels.Receipt{}
	l, err := m.compose(out)
	if err != nil {
		return none, err
	}
	// Written once to nobody: the size is known, and no file fails halfway.
	if err := l.measure(ctx); err != nil {
		return none, err
	}
	s, err := m.submit(ctx)
	if err != nil {
		return none, err
	}
	reply, err := s.hand(ctx, l)
	if err != nil {
		s.close()
		return none, err
	}
	s.bye()
	if m.config.SentFolder != "" {
		m.keep(ctx, out.ID, l)
	}
	return channels.Receipt{ExternalID: queueID(reply), RefID: l.id}, nil
}

func (s *submission) hand(ctx context.Context, l *letter) (reply string, err error) {
	if err := s.fits(l); err != nil {
		return "", err
	}
	err = s.wire.guard(ctx, func() error { return s.envelope(l) })
	if err != nil {
		return "", err
	}
	return s.content(ctx, l)
}

// fits asks the server's extensions before anything is sent.
func (s *submission) fits(l *letter) error {
	if offered, size := s.client.Extension("SIZE"); offered { // RFC 1870
		if most, err := strconv.ParseInt(size, 10, 64); err == nil && most > 0 && l.size > most {
			return tooBig(most)
		}
	}
	s.client.SkipSMTPUTF8(!l.utf8)
	if offered, _ := s.client.Extension("SMTPUTF8"); l.utf8 && !offered { // RFC 6531
		return channels.InvalidRecipient(errors.New("the server takes no address beyond ASCII")).
			WithText("The mail server does not take addresses with letters beyond ASCII.")
	}
	return nil
}

func tooBig(most int64) error {
	return channels.ContentRejected(fmt.Errorf("mail of more than %d bytes", most)).
		WithText(fmt.Sprintf("The mail is larger than %.1f MiB with its files.", float64(most)/(1<<20)))
}

// envelope names sender and recipients. One that is refused refuses all: the
// agent learns of it while nobody has the mail, and can send it again without
// that address. Sent to the others, the refused one would be missed in silence.
func (s *submission) envelope(l *letter) error {
	if err := s.client.Mail("<" + l.from + ">"); err != nil {
		return replied(stageSender, "name the sender", err)
	}
	for _, to := range l.to {
		err := s.client.Rcpt("<" + to + ">")
		if err == nil {
			continue
		}
		err = replied(stageRecipient, "name recipient "+mask(to), withoutAddress(err, to))
		if e, is := errors.AsType[*channels.Error](err); is && e.Class != channels.ClassRetry {
			e.Text = strings.TrimSpace(mask(to) + ": " + e.Text)
		}
		_ = s.client.Reset() // The connection ends next; the reply stands.
		return err
	}
	return nil
}

// withoutAddress masks an address in a server's reply, which most repeat.
func withoutAddress(err error, addr string) error {
	reply, is := errors.AsType[*textproto.Error](err)
	if !is {
		return err
	}
	return &textproto.Error{Code: reply.Code, Msg: strings.ReplaceAll(reply.Msg, addr, mask(addr))}
}

// content sends the mail. Until the final dot the server must not deliver it
// (RFC 5321 section 4.1.1.4); from then on only a reply says what became of it.
func (s *submission) content(ctx context.Context, l *letter) (reply string, err error) {
	dotted := false
	err = s.wire.guard(ctx, func() error {
		body, err := s.client.Data()
		if err != nil {
			return err
		}
		if err := l.write(ctx, body); err != nil {
			return err
		}
		s.wire.expect(finalPatience)
		dotted = true
		reply, err = finish(body)
		return err
	})
	switch {
	case err == nil:
		return reply, nil
	case dotted && !certain(err):
		return "", channels.Uncertain(fmt.Errorf("hand in the mail: %w", err))
	}
	return "", replied(stageContent, "hand in the mail", err)
}

// finish sends the dot and reads the reply.
func finish(body io.WriteCloser) (string, error) {
	err := body.Close()
	if other, is := errors.AsType[*textproto.Error](err); is && other.Code > 250 && other.Code < 300 {
		return other.Msg, nil // Taken, in other words (RFC 5321 section 4.2.1).
	}
	if data, is := body.(*smtp.DataCloser); is && err == nil {
		return data.ServerResponse(), nil
	}
	return "", err
}

// certain: the server said that it did not take the mail.
func certain(err error) bool {
	reply, is := errors.AsType[*textproto.Error](err)
	return is && reply.Code >= 400 && reply.Code < 600
}
