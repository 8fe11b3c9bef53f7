package siptest_test

import (
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// registrar is the least that a phone needs: REGISTER by digest, bindings, and calls to it refused or challenged.
type registrar struct {
	addr string

	mu       sync.Mutex
	password string
	bindings map[string]string // by user
	proved   int
	invite   func(*sip.Request, sip.ServerTransaction)
}

func newRegistrar(t *testing.T, transport string) *registrar {
	t.Helper()
	r := &registrar{password: "secret", bindings: map[string]string{}}
	log := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(log)), sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(log)))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sipgo.NewServer(ua, sipgo.WithServerLogger(log))
	if err != nil {
		t.Fatal(err)
	}
	s.OnRegister(r.register)
	s.OnAck(func(*sip.Request, sip.ServerTransaction) {})
	s.OnInvite(func(req *sip.Request, tx sip.ServerTransaction) {
		if r.admits(req, tx, sip.StatusProxyAuthRequired, "Proxy-Authenticate", "Proxy-Authorization") {
			r.invite(req, tx)
		}
	})
	var wg sync.WaitGroup
	if transport == "tcp" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		r.addr = l.Addr().String()
		wg.Go(func() { _ = s.ServeTCP(l) })
		t.Cleanup(func() { _ = ua.Close(); _ = l.Close(); wg.Wait() })
		return r
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = c.LocalAddr().String()
	wg.Go(func() { _ = s.ServeUDP(c) })
	t.Cleanup(func() { _ = ua.Close(); _ = c.Close(); wg.Wait() })
	return r
}

// admits lets in who proves that he knows the password, and challenges others.
func (r *registrar) admits(req *sip.Request, tx sip.ServerTransaction, code int, asks, answers string) bool {
	challenge := digest.Challenge{Realm: "test", Nonce: "n1", Algorithm: "MD5", QOP: []string{"auth"}}
	if h := req.GetHeader(answers); h != nil {
		given, err := digest.ParseCredentials(h.Value())
		if err == nil {
			want, err := digest.Digest(&challenge, digest.Options{Method: req.Method.String(), URI: given.URI, Username: given.Username, Password: r.password, Cnonce: given.Cnonce, Count: given.Nc})
			if err == nil && want.Response == given.Response {
				r.mu.Lock()
				r.proved++
				r.mu.Unlock()
				return true
			}
		}
		_ = tx.Respond(sip.NewResponseFromRequest(req, sip.StatusForbidden, "Forbidden", nil))
		return false
	}
	res := sip.NewResponseFromRequest(req, code, "Who are you", nil)
	res.AppendHeader(sip.NewHeader(asks, challenge.String()))
	_ = tx.Respond(res)
	return false
}

func (r *registrar) register(req *sip.Request, tx sip.ServerTransaction) {
	if !r.admits(req, tx, sip.StatusUnauthorized, "WWW-Authenticate", "Authorization") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	user := req.To().Address.User
	if h := req.Contact(); h != nil {
		if req.GetHeader("Expires").Value() == "0" {
			delete(r.bindings, user)
		} else {
			r.bindings[user] = h.Address.String()
		}
	}
	res := sip.NewResponseFromRequest(req, sip.StatusOK, "OK", nil)
	if b := r.bindings[user]; b != "" {
		res.AppendHeader(sip.NewHeader("Contact", "<"+b+">;expires=120"))
	}
	_ = tx.Respond(res)
}

func (r *registrar) binding(user string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.TrimPrefix(r.bindings[user], "sip:")
}
