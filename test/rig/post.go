package rig

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"
)

// Door is where a mail is handed in.
type Door int

// The doors of a Mail.
const (
	ByLMTP      Door = iota // LMTP: nothing looks at the mail on its way
	FromOutside             // SMTP without a login, as from another company's server
	ByLogin                 // submission, as the user's own mail program
)

// Envelope says who hands in a mail where, and for whom. The mail's own header may say something else.
type Envelope struct {
	Door Door
	User string // ByLogin
	From string // empty: <>, as of a report
	To   []string
}

// Deliver puts a mail into mailboxes as it is: one copy for each, which says to which address it came.
func (m *Mail) Deliver(t testing.TB, raw []byte, from string, to ...string) {
	t.Helper()
	for _, one := range to {
		m.must(t, Envelope{Door: ByLMTP, From: from, To: []string{one}}, raw)
	}
}

// Receive hands in a mail from the outside world.
func (m *Mail) Receive(t testing.TB, raw []byte, from string, to ...string) {
	t.Helper()
	m.must(t, Envelope{Door: FromOutside, From: from, To: to}, raw)
}

// Submit hands in a mail as one who logged in.
func (m *Mail) Submit(t testing.TB, raw []byte, user string, to ...string) {
	t.Helper()
	m.must(t, Envelope{Door: ByLogin, User: user, From: user, To: to}, raw)
}

func (m *Mail) must(t testing.TB, e Envelope, raw []byte) {
	t.Helper()
	if err := m.Post(e, raw); err != nil {
		t.Fatalf("hand in a mail %+v: %v", e, err)
	}
}

// Post hands in a mail; a refusal is a *textproto.Error with the server's code. Lines may end with \n alone. It does not
// ask for SMTPUTF8, so raw bytes in a header pass, as they do in the wild.
func (m *Mail) Post(e Envelope, raw []byte) error {
	addr := map[Door]string{ByLMTP: m.LMTP, FromOutside: m.SMTP, ByLogin: m.Submission}[e.Door]
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	p := postman{textproto.NewConn(conn)}
	defer func() { _ = p.Close() }()
	if _, _, err := p.ReadResponse(220); err != nil {
		return err
	}
	hello := "EHLO sender.test"
	if e.Door == ByLMTP {
		hello = "LHLO sender.test"
	}
	if err := p.say(250, hello); err != nil {
		return err
	}
	if e.Door == ByLogin {
		if p, err = p.login(conn, m.TLS(), e.User); err != nil {
			return err
		}
	}
	if err := p.hand(e, raw); err != nil {
		return err
	}
	_ = p.say(221, "QUIT") // the mail is theirs already
	return nil
}

type postman struct{ *textproto.Conn }

func (p postman) say(code int, words string) error {
	if err := p.PrintfLine("%s", words); err != nil {
		return err
	}
	_, _, err := p.ReadResponse(code)
	return err
}

// login goes over to TLS; the postman that it returns speaks inside.
func (p postman) login(conn net.Conn, trust *tls.Config, user string) (postman, error) {
	if err := p.say(220, "STARTTLS"); err != nil {
		return p, err
	}
	inside := postman{textproto.NewConn(tls.Client(conn, trust))}
	if err := inside.say(250, "EHLO sender.test"); err != nil {
		return inside, err
	}
	return inside, inside.say(235, "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+MailPassword)))
}

func (p postman) hand(e Envelope, raw []byte) error {
	if err := p.say(250, "MAIL FROM:<"+e.From+"> BODY=8BITMIME"); err != nil {
		return err
	}
	for _, to := range e.To {
		if err := p.say(250, "RCPT TO:<"+to+">"); err != nil {
			return err
		}
	}
	if err := p.say(354, "DATA"); err != nil {
		return err
	}
	w := p.DotWriter()
	if _, err := w.Write(raw); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	answers := 1
	if e.Door == ByLMTP { // one for each mailbox
		answers = len(e.To)
	}
	for range answers {
		if _, _, err := p.ReadResponse(250); err != nil {
			return err
		}
	}
	return nil
}

// PlainMail writes a small mail with an own Message-ID, which it returns too. Further lines of the header may follow.
func PlainMail(from, to, subject, text string, header ...string) (raw []byte, id string) {
	id = "<" + Unique("mail") + "@sender.test>"
	lines := append([]string{
		"From: " + from, "To: " + to, "Subject: " + subject, "Message-ID: " + id,
		"Date: " + time.Now().Format(time.RFC1123Z), "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit",
	}, header...)
	return fmt.Appendf(nil, "%s\r\n\r\n%s\r\n", strings.Join(lines, "\r\n"), text), id
}
