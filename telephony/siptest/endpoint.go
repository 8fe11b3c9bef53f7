package siptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// Errors that tests compare.
var (
	// ErrEnded: the call is over.
	ErrEnded = errors.New("the call has ended")
	// ErrState: the call is not in a state in which this can be done.
	ErrState = errors.New("not in this state of the call")
)

// StatusError is a final answer that refuses.
type StatusError struct {
	Method string
	Code   int
	Reason string
	// Header are further ones that tests look at.
	RetryAfter string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%s: %d %s", e.Method, e.Code, e.Reason) }

// endpoint is one user agent: a socket, sipgo's transactions over it, and the calls.
type endpoint struct {
	tb        testing.TB
	ua        *sipgo.UserAgent
	server    *sipgo.Server
	client    *sipgo.Client
	transport string // "udp" or "tcp"
	local     netip.AddrPort
	peer      string // host:port that new requests go to
	user      string
	username  string
	password  string
	domain    string
	fixed     bool // the domain was set
	listener  io.Closer
	wg        sync.WaitGroup

	mu       sync.Mutex
	calls    map[string]*Call // by Call-ID and our tag
	behave   func(*Call)
	answer   Options
	requests []*sip.Request
	closed   bool
	incoming chan *Call
	options  int // final answer to OPTIONS
}

type endpointConfig struct {
	local, peer, transport, user, username, password, domain string
}

func newEndpoint(tb testing.TB, c endpointConfig) *endpoint {
	tb.Helper()
	e := &endpoint{
		tb: tb, transport: strings.ToLower(c.transport), peer: c.peer, user: c.user, username: c.username, password: c.password, domain: c.domain, fixed: c.domain != "",
		calls: map[string]*Call{}, incoming: make(chan *Call, 64), options: sip.StatusOK,
	}
	if e.transport == "" {
		e.transport = "udp"
	}
	if c.local == "" {
		c.local = "127.0.0.1:0"
	}
	if err := e.open(c.local); err != nil {
		tb.Fatalf("siptest: %v", err)
	}
	tb.Cleanup(e.close)
	return e
}

func (e *endpoint) open(local string) error {
	log := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(
		sipgo.WithUserAgent("siptest"),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(log)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(log)),
	)
	if err != nil {
		return fmt.Errorf("make a user agent: %w", err)
	}
	e.ua = ua
	if e.server, err = sipgo.NewServer(ua, sipgo.WithServerLogger(log)); err != nil {
		return fmt.Errorf("make a server: %w", err)
	}
	e.handle()
	serve, err := e.listen(local)
	if err != nil {
		return err
	}
	e.wg.Go(serve)
	options := []sipgo.ClientOption{sipgo.WithClientLogger(log), sipgo.WithClientAddr(e.local.String()), sipgo.WithClientNAT()}
	if e.transport == "udp" {
		options = append(options, sipgo.WithClientConnectionAddr(e.local.String()))
		if err := e.known(); err != nil {
			return err
		}
	}
	e.client, err = sipgo.NewClient(ua, options...)
	return err
}

// listen opens the socket; what it returns serves it until it is closed.
func (e *endpoint) listen(local string) (serve func(), err error) {
	switch e.transport {
	case "udp":
		conn, err := (&net.ListenConfig{}).ListenPacket(e.tb.Context(), "udp", local)
		if err != nil {
			return nil, err
		}
		e.listener, e.local = conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
		return func() { _ = e.server.ServeUDP(conn) }, nil
	case "tcp":
		l, err := (&net.ListenConfig{}).Listen(e.tb.Context(), "tcp", local)
		if err != nil {
			return nil, err
		}
		e.listener, e.local = l, l.Addr().(*net.TCPAddr).AddrPort()
		return func() { _ = e.server.ServeTCP(l) }, nil
	default:
		return nil, fmt.Errorf("the transport %q is not spoken", e.transport)
	}
}

// known waits until sipgo sends from the listening socket: before that, a request would try to open it again.
func (e *endpoint) known() error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if c, err := e.ua.TransportLayer().GetConnection("udp", e.local.String()); err == nil && c != nil {
			return nil
		}
	}
	return fmt.Errorf("the socket %s is not served", e.local)
}

// close ends all calls without a word, as a peer that lost its power.
func (e *endpoint) close() {
	e.mu.Lock()
	e.closed = true
	var calls []*Call
	for _, c := range e.calls {
		calls = append(calls, c)
	}
	e.mu.Unlock()
	for _, c := range calls {
		c.finish(Ending{})
	}
	_ = e.ua.Close()
	_ = e.listener.Close()
	e.wg.Wait()
}

// point names who new requests go to, and with it the domain of addresses unless one was set.
func (e *endpoint) point(peer string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.peer = peer
	if e.fixed {
		return
	}
	e.domain = e.local.Addr().String()
	if host, _, err := net.SplitHostPort(peer); err == nil {
		e.domain = host
	}
}

// Addr is where it is reached.
func (e *endpoint) Addr() netip.AddrPort { return e.local }

// Incoming are the calls that came, unless Behave takes them. They ring at nobody's until the test says Ringing.
func (e *endpoint) Incoming() <-chan *Call { return e.incoming }

// Behave makes a function answer for the test: it gets each new call in a goroutine of its own; nil: none.
func (e *endpoint) Behave(f func(*Call)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behave = f
}

// AnswerWith sets how incoming calls are answered: codec, keys and oddities.
func (e *endpoint) AnswerWith(o Options) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = o
}

// OptionsStatus is what OPTIONS is answered with, for a trunk that is ill (503).
func (e *endpoint) OptionsStatus(code int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.options = code
}

// Requests are all that came, in order, to look at their headers.
func (e *endpoint) Requests(method sip.RequestMethod) (out []*sip.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.requests {
		if r.Method == method {
			out = append(out, r)
		}
	}
	return out
}

// NextCall waits for an incoming call.
func (e *endpoint) NextCall(ctx context.Context) (*Call, error) {
	select {
	case c := <-e.incoming:
		return c, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("no call came: %w", ctx.Err())
	}
}

// Calls are those that live.
func (e *endpoint) Calls() (out []*Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.calls {
		out = append(out, c)
	}
	return out
}

func (e *endpoint) add(c *Call) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.calls[c.key()] = c
	return true
}

func (e *endpoint) drop(c *Call) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.calls, c.key())
}

func (e *endpoint) find(callID, ourTag string) *Call {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls[callID+" "+ourTag]
}

// contact is where we want to be reached.
func (e *endpoint) contact() *sip.ContactHeader {
	uri := sip.Uri{Scheme: "sip", User: e.user, Host: e.local.Addr().String(), Port: int(e.local.Port())}
	if e.transport == "tcp" {
		uri.UriParams = sip.HeaderParams{{K: "transport", V: "tcp"}}
	}
	return &sip.ContactHeader{Address: uri}
}

// exchange sends a request that opens no dialog, with digest if it is asked for (RFC 3261 section 22).
func (e *endpoint) exchange(ctx context.Context, req *sip.Request) (*sip.Response, error) {
	req.SetTransport(strings.ToUpper(e.transport))
	res, err := e.client.Do(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.Method, err)
	}
	if e.password != "" && (res.StatusCode == sip.StatusUnauthorized || res.StatusCode == sip.StatusProxyAuthRequired) {
		if res, err = e.client.DoDigestAuth(ctx, req, res, sipgo.DigestAuth{Username: e.username, Password: e.password}); err != nil {
			return nil, fmt.Errorf("%s with digest: %w", req.Method, err)
		}
	}
	return res, nil
}

// Ping sends OPTIONS to the peer and returns the status.
func (e *endpoint) Ping(ctx context.Context) (int, error) {
	e.mu.Lock()
	req := sip.NewRequest(sip.OPTIONS, sip.Uri{Scheme: "sip", Host: e.domain})
	req.SetDestination(e.peer)
	e.mu.Unlock()
	res, err := e.exchange(ctx, req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, nil
}
