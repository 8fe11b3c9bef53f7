package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"tributary/channels"
)

// submission is an SMTP connection that is logged in.
type submission struct {
	wire   *wire
	client *smtp.Client
}

// submit logs in, with the previous password where the current one is refused.
func (m *mailbox) submit(ctx context.Context) (*submission, error) {
	to := m.config.smtp()
	var refusal error
	for _, password := range to.passwords {
		s, err := m.handshake(ctx, to, password)
		if channels.ClassOf(err) != channels.ClassAuthBroken {
			return s, err
		}
		refusal = err
	}
	return nil, refusal
}

func (m *mailbox) handshake(ctx context.Context, to server, password string) (*submission, error) {
	w, err := m.dial(ctx, to)
	if err != nil {
		return nil, err
	}
	w.most = maxReplies
	s := &submission{wire: w}
	if err := w.guard(ctx, func() error { return s.greet(ctx, to, m.tls(to), m.config.Address) }); err != nil {
		s.close()
		return nil, unreachable(replied(stageHello, "connect to the smtp server", err))
	}
	if err := w.guard(ctx, func() error { return s.authenticate(to, password) }); err != nil {
		s.close()
		return nil, replied(stageLogin, "log in to the smtp server", redact(err, to.user, password))
	}
	return s, nil
}

// greet waits for the greeting, starts TLS and says who we are: by the domain of
// our address, since the name of a machine behind a router means nothing.
func (s *submission) greet(ctx context.Context, to server, config *tls.Config, from string) (err error) {
	conn := net.Conn(s.wire)
	if to.security == securityTLS {
		secure := tls.Client(s.wire, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = secure
	}
	if s.client, err = smtp.NewClient(conn, to.host); err != nil {
		return err
	}
	_, domain := split(from)
	if err := s.client.Hello(domain); err != nil {
		return err
	}
	if to.security != securityStartTLS {
		return nil
	}
	if offered, _ := s.client.Extension("STARTTLS"); !offered {
		return channels.ConfigError(errors.New("no STARTTLS offered")).
			WithText("The mail server does not offer STARTTLS.")
	}
	return s.client.StartTLS(config)
}

// authenticate uses the best mechanism that both sides have. A server that
// offers none knows us by our address, or refuses us at the next command.
func (s *submission) authenticate(to server, password string) error {
	offered, list := s.client.Extension("AUTH")
	if !offered {
		return nil
	}
	plainly := to.security == securityNone // On this machine.
	for _, mechanism := range []struct {
		name string
		auth smtp.Auth
	}{
		{"SCRAM-SHA-256", smtp.ScramSHA256Auth(to.user, password)},
		{"PLAIN", smtp.PlainAuth("", to.user, password, to.host, plainly)},
		{"LOGIN", smtp.LoginAuth(to.user, password, to.host, plainly)},
		{"SCRAM-SHA-1", smtp.ScramSHA1Auth(to.user, password)},
	} {
		for name := range strings.FieldsSeq(list) {
			if strings.EqualFold(name, mechanism.name) {
				return s.client.Auth(mechanism.auth)
			}
		}
	}
	return channels.ConfigError(fmt.Errorf("no mechanism that we know among %q", list)).
		WithText("The mail server does not take this way of logging in.")
}

// bye tells the server that we are done and does not wait for its answer, which
// changes nothing.
func (s *submission) bye() {
	_ = s.client.Text.PrintfLine("QUIT")
	s.close()
}

func (s *submission) close() { _ = s.wire.Close() } // Nothing is in flight, or it is given up.
