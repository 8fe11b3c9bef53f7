package email

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"tributary/channels"
	"tributary/internal/clean"
)

// session is an IMAP connection that is logged in.
type session struct {
	wire   *wire
	client *imapclient.Client
	box    *imap.SelectData // the folder it is in
	news   chan struct{}    // gets a value when the folder has grown

	todo []imap.UID // what was above base when it was asked and is not read yet
	base imap.UID
}

// connect logs in, with the previous password where the current one is refused:
// while a password rotates, nobody knows which of them the server takes.
func (m *mailbox) connect(ctx context.Context) (*session, error) {
	to := m.config.imap()
	var refusal error
	for _, password := range to.passwords {
		s, err := m.login(ctx, to, password)
		if channels.ClassOf(err) != channels.ClassAuthBroken {
			return s, err
		}
		refusal = err
	}
	return nil, refusal
}

func (m *mailbox) login(ctx context.Context, to server, password string) (*session, error) {
	w, err := m.dial(ctx, to)
	if err != nil {
		return nil, err
	}
	s := &session{wire: w, news: make(chan struct{}, 1)}
	err = w.guard(ctx, func() error { return s.greet(ctx, to, m.tls(to)) })
	if err != nil {
		s.close()
		return nil, unreachable(fmt.Errorf("connect to the imap server: %w", redact(err, to.user, password)))
	}
	if err = w.guard(ctx, func() error { return s.authenticate(to.user, password) }); err != nil {
		s.close()
		return nil, loginError(redact(err, to.user, password))
	}
	return s, nil
}

// greet starts TLS and waits for the server's greeting. A greeting that says we
// are logged in already is refused with STARTTLS (RFC 9051 section 7.1.4); the
// library does that.
func (s *session) greet(ctx context.Context, to server, config *tls.Config) (err error) {
	options := &imapclient.Options{
		TLSConfig: config,
		UnilateralDataHandler: &imapclient.UnilateralDataHandler{
			Mailbox: func(data *imapclient.UnilateralDataMailbox) {
				if data.NumMessages != nil {
					s.grown()
				}
			},
		},
	}
	switch to.security {
	case securityTLS:
		secure := tls.Client(s.wire, config)
		if err = secure.HandshakeContext(ctx); err != nil {
			return err
		}
		s.client = imapclient.New(secure, options)
	case securityStartTLS:
		if s.client, err = imapclient.NewStartTLS(s.wire, options); err != nil {
			return err
		}
	default:
		s.client = imapclient.New(s.wire, options)
	}
	return s.client.WaitGreeting()
}

// grown notes that there is more in the folder; the decoder calls it and must
// not be held up.
func (s *session) grown() {
	select {
	case s.news <- struct{}{}:
	default: // It is noted already.
	}
}

func (s *session) authenticate(user, password string) error {
	if s.client.Caps().Has(imap.CapLoginDisabled) {
		return s.client.Authenticate(plain{user, password})
	}
	return s.client.Login(user, password).Wait()
}

// plain is the SASL mechanism PLAIN (RFC 4616) as the library wants it.
type plain struct{ user, password string }

// Start begins the exchange with the whole answer.
func (p plain) Start() (mechanism string, response []byte, err error) {
	return "PLAIN", []byte("\x00" + p.user + "\x00" + p.password), nil
}

// Next is called when the server asks more than the mechanism has.
func (p plain) Next([]byte) ([]byte, error) { return nil, errors.New("the server asks too much") }

// redact takes the password out of a server's answer, in every form in which we
// say it: some repeat the line that they refuse.
func redact(err error, user, password string) error {
	var forms []string
	encode := base64.StdEncoding.EncodeToString
	for _, form := range []string{password, quoteIMAP.Replace(password), encode([]byte(password)), encode([]byte("\x00" + user + "\x00" + password))} {
		forms = append(forms, form, "***")
	}
	hide := strings.NewReplacer(forms...)
	if e, is := errors.AsType[*imap.Error](err); is {
		return &imap.Error{Type: e.Type, Code: e.Code, Text: clean.Line(hide.Replace(e.Text), 200)}
	}
	if e, is := errors.AsType[*textproto.Error](err); is {
		return &textproto.Error{Code: e.Code, Msg: hide.Replace(e.Msg)}
	}
	return err
}

var quoteIMAP = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// passing are the response codes of a refusal that ends by itself (RFC 5530).
var passing = []imap.ResponseCode{
	imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, imap.ResponseCodeLimit, imap.ResponseCodeServerBug,
}

// refusal returns the server's NO or BAD where it is for good.
func refusal(err error) (*imap.Error, bool) {
	e, is := errors.AsType[*imap.Error](err)
	if !is || e.Type == imap.StatusResponseTypeBye || slices.Contains(passing, e.Code) {
		return nil, false
	}
	return e, true
}

func loginError(err error) error {
	err = fmt.Errorf("log in to the imap server: %w", err)
	e, is := refusal(err)
	switch {
	case !is:
		return err
	case e.Type == imap.StatusResponseTypeBad, e.Code == imap.ResponseCodePrivacyRequired:
		return channels.ConfigError(err).WithText("The mail server does not take this way of logging in.")
	}
	return channels.AuthBroken(err).WithText("The mail server refuses the user name or the password.")
}

// enter opens a folder. Read only, it changes no flag there.
func (s *session) enter(ctx context.Context, folder string, readOnly bool) error {
	err := s.wire.guard(ctx, func() (err error) {
		s.box, err = s.client.Select(folder, &imap.SelectOptions{ReadOnly: readOnly}).Wait()
		return err
	})
	if err == nil {
		return nil
	}
	err = fmt.Errorf("open folder %q: %w", folder, err)
	if _, is := refusal(err); is {
		return channels.ConfigError(err).WithText(fmt.Sprintf("The folder %q is not there or may not be opened.", folder))
	}
	return err
}

// search returns what matches in the folder, in ascending order.
func (s *session) search(ctx context.Context, criteria *imap.SearchCriteria) ([]imap.UID, error) {
	var found []imap.UID
	err := s.wire.guard(ctx, func() error {
		data, err := s.client.UIDSearch(criteria, nil).Wait()
		if err == nil {
			found = data.AllUIDs()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("search the folder: %w", err)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// close ends the connection and waits for the library's goroutine.
func (s *session) close() {
	s.wire.cut()
	if s.client != nil {
		_ = s.client.Close() // It says only that the connection is cut.
	}
	_ = s.wire.Close() // Cut already.
}
