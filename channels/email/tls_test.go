package email

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-smtp"

	"tributary/channels"
)

// certificate signs itself for 127.0.0.1.
func certificate(t *testing.T) (config *tls.Config, authority string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	config = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return config, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// secured is a world whose servers have TLS, at once or after STARTTLS.
func secured(t *testing.T, at string) (w *world, authority string) {
	t.Helper()
	config, authority := certificate(t)
	w = newWorld(t, func(_ *world, o *imapserver.Options, s *smtp.Server) {
		if at == securityStartTLS {
			o.TLSConfig, o.InsecureAuth = config, false
			s.TLSConfig, s.AllowInsecureAuth = config, false
		}
	})
	if at == securityTLS {
		w.imapAddr, w.smtpAddr = wrap(t, config, w.imapAddr), wrap(t, config, w.smtpAddr)
	}
	return w, authority
}

// wrap is a TLS door before a server.
func wrap(t *testing.T, config *tls.Config, to string) string {
	t.Helper()
	return serve(t, func(l net.Listener) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			go func() {
				inner, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				outer := tls.Server(c, config)
				go func() { _, _ = io.Copy(inner, outer); _ = inner.Close() }()
				_, _ = io.Copy(outer, inner)
				_ = outer.Close()
			}()
		}
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	for _, at := range []string{securityTLS, securityStartTLS} {
		w, authority := secured(t, at)
		change := settings{"imapSecurity": at, "smtpSecurity": at, "sentFolder": "Sent"}
		untrusted := w.open(t, change)
		err := as[channels.HealthChecker](t, untrusted.channel).CheckHealth(t.Context())
		class(t, err, channels.ClassRetry)
		if e, is := errors.AsType[*channels.Error](err); !is || !strings.Contains(e.Text, "certificate") {
			t.Errorf("%s: an unknown certificate gave %v", at, err)
		}
		_, err = untrusted.send(t, outbound("msg_0"))
		class(t, err, channels.ClassRetry)
		if w.logins != 0 || w.count() != 0 {
			t.Fatalf("%s: the password went to a stranger", at)
		}
		change["tlsCa"] = authority
		d := w.open(t, change)
		class(t, as[channels.HealthChecker](t, d.channel).CheckHealth(t.Context()), "")
		if _, err := d.send(t, outbound("msg_1")); err != nil {
			t.Errorf("%s: %v", at, err)
		}
		if n := w.size(t, "Sent"); n != 1 {
			t.Errorf("%s: %d copies", at, n)
		}
		if events, _ := w.open(t, change, settings{"folder": "Sent"}).all(t, channels.Cursor{}); len(events) != 1 {
			t.Errorf("%s: %d mails", at, len(events))
		}
	}
}

// TestNoPasswordInClear: a server that offers no STARTTLS, or whose line was
// stripped of it, gets none.
func TestNoPasswordInClear(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := as[channels.Fetcher](t, w.open(t, settings{"imapSecurity": "starttls"}).channel).Fetch(t.Context(), channels.Cursor{})
	if err == nil {
		t.Error("read in clear")
	}
	_, err = w.open(t, settings{"smtpSecurity": "starttls"}).send(t, outbound("msg_1"))
	class(t, err, channels.ClassConfig)
	preauth := serve(t, func(l net.Listener) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			_, _ = io.WriteString(c, "* PREAUTH you are in\r\n")
		}
	})
	w.imapAddr = preauth
	d := w.open(t, settings{"imapSecurity": "starttls"})
	done := make(chan error, 1)
	go func() {
		_, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), channels.Cursor{})
		done <- err
	}()
	silent := make(chan struct{})
	close(silent)
	if err := d.pass(t, silent, done, patience); err == nil {
		t.Error("a line that skips the login was taken")
	}
	if w.logins != 0 {
		t.Error("a password went in clear")
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	good := func() settings {
		return settings{"address": us, "imapHost": "imap.example", "smtpHost": "smtp.example"}
	}
	for _, c := range []struct {
		change settings
		field  string
	}{
		{settings{}, ""},
		{settings{"address": "Support <a@b.example>"}, "address"},
		{settings{"address": "support"}, "address"},
		{settings{"aliases": []string{"a@b.example", "x"}}, "aliases[1]"},
		{settings{"imapHost": "imap.example:993"}, "imapHost"},
		{settings{"imapHost": "a b"}, "imapHost"},
		{settings{"smtpHost": "https://x"}, "smtpHost"},
		{settings{"imapHost": "::1"}, ""},
		{settings{"imapSecurity": "none"}, "imapSecurity"},
		{settings{"smtpSecurity": "none", "smtpHost": "10.0.0.1"}, "smtpSecurity"},
		{settings{"smtpSecurity": "none", "smtpHost": "localhost.example"}, "smtpSecurity"},
		{settings{"smtpSecurity": "none", "smtpHost": "LOCALHOST"}, ""},
		{settings{"imapSecurity": "none", "imapHost": "::ffff:127.0.0.1"}, ""},
		{settings{"afterFetch": "move"}, "moveTo"},
		{settings{"afterFetch": "move", "moveTo": "INBOX"}, "moveTo"},
		{settings{"from": "yesterday"}, "from"},
		{settings{"tlsCa": "no PEM"}, "tlsCa"},
		{settings{"imapPassword": "x"}, "imapPassword"},
	} {
		s := good()
		for name, value := range c.change {
			s[name] = value
		}
		_, err := channels.DecodeConfig(Kind, encode(t, s), nil)
		f, _ := errors.AsType[*channels.FieldError](err)
		if got := ""; err != nil && (f == nil || f.Field != c.field) || err == nil && c.field != got {
			t.Errorf("%v: %v, want an error of %q", c.change, err, c.field)
		}
	}
	cfg, err := channels.DecodeConfig(Kind, encode(t, good()), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := cfg.(Config)
	if c.imap().addr != "imap.example:993" || c.smtp().addr != "smtp.example:465" || c.imap().user != us || !c.PlusAddresses {
		t.Errorf("defaults are %+v, %+v", c.imap(), c.smtp())
	}
	if _, err := Kind.Open(cfg, channels.Host{}); channels.ClassOf(err) != channels.ClassConfig {
		t.Errorf("open without a password gave %v", err)
	}
}
