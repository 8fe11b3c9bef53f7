package siptest

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

// Registrar is the least that a phone needs: REGISTER by digest (RFC 3261 sections 10.3 and 22). It is there to prove phones;
// the one under test is the program's own.
type Registrar struct {
	// Addr is its ip:port.
	Addr string

	password string

	mu       sync.Mutex
	bindings map[string]string // addresses by user
	proved   int
}

// NewRegistrar makes a registrar that lives as long as the test. Every user has the same password; calls to it are
// challenged, and then not found.
func NewRegistrar(tb testing.TB, transport, password string) *Registrar {
	tb.Helper()
	r := &Registrar{password: password, bindings: map[string]string{}}
	log := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(log)), sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(log)))
	if err != nil {
		tb.Fatalf("siptest: %v", err)
	}
	s, err := sipgo.NewServer(ua, sipgo.WithServerLogger(log))
	if err != nil {
		tb.Fatalf("siptest: %v", err)
	}
	s.OnRegister(r.register)
	s.OnAck(func(*sip.Request, sip.ServerTransaction) {})
	s.OnInvite(func(req *sip.Request, tx sip.ServerTransaction) {
		if r.admits(req, tx, sip.StatusProxyAuthRequired, "Proxy-Authenticate", "Proxy-Authorization") {
			respond(req, tx, sip.StatusNotFound)
		}
	})
	var serving sync.WaitGroup
	if transport == "tcp" {
		l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatalf("siptest: %v", err)
		}
		r.Addr = l.Addr().String()
		serving.Go(func() { _ = s.ServeTCP(l) })
		tb.Cleanup(func() { _ = ua.Close(); _ = l.Close(); serving.Wait() })
		return r
	}
	c, err := (&net.ListenConfig{}).ListenPacket(tb.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("siptest: %v", err)
	}
	r.Addr = c.LocalAddr().String()
	serving.Go(func() { _ = s.ServeUDP(c) })
	tb.Cleanup(func() { _ = ua.Close(); _ = c.Close(); serving.Wait() })
	return r
}

// admits lets in who proves that he knows the password, and challenges others.
func (r *Registrar) admits(req *sip.Request, tx sip.ServerTransaction, code int, asks, answers string) bool {
	challenge := digest.Challenge{Realm: "test", Nonce: "n1", Algorithm: "MD5", QOP: []string{"auth"}}
	h := req.GetHeader(answers)
	if h == nil {
		respond(req, tx, code, sip.NewHeader(asks, challenge.String()))
		return false
	}
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
	respond(req, tx, sip.StatusForbidden)
	return false
}

func (r *Registrar) register(req *sip.Request, tx sip.ServerTransaction) {
	if !r.admits(req, tx, sip.StatusUnauthorized, "WWW-Authenticate", "Authorization") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	user := req.To().Address.User
	if h := req.Contact(); h != nil {
		delete(r.bindings, user)
		if !expiresNow(req, h) {
			r.bindings[user] = h.Address.String()
		}
	}
	var headers []sip.Header
	if b := r.bindings[user]; b != "" {
		headers = append(headers, sip.NewHeader("Contact", "<"+b+">;expires=120"))
	}
	respond(req, tx, sip.StatusOK, headers...)
}

func expiresNow(req *sip.Request, contact *sip.ContactHeader) bool {
	if text, ok := contact.Params.Get("expires"); ok {
		return text == "0"
	}
	h := req.GetHeader("Expires")
	return h != nil && strings.TrimSpace(h.Value()) == "0"
}

// Binding is where a user is registered, as a SIP address; "" if nowhere.
func (r *Registrar) Binding(user string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bindings[user]
}

// Proved is how many requests bore a good proof.
func (r *Registrar) Proved() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proved
}
