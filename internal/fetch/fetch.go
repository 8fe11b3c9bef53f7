// Package fetch is HTTP to hosts that others name: providers, webhooks, avatars, media. It speaks over a guarded dialer,
// so an address that internal/dial refuses is refused here, too, at the first request and after every redirect.
//
// Every exchange has a deadline for all of it, a cap on the answer's bytes (after decompression) and at most three
// redirects. Nothing is remembered between exchanges but idle connections, and those never cross from one purpose to
// another: a connection that was allowed for webhooks must not carry a request for avatars. No cookies, no proxy.
//
// An error says whether the request may have reached the other side (Sent), because only what certainly did not may be
// repeated blindly. Error texts name scheme and host, never path or query: providers put access tokens there.
//
// Neighbours: channel kinds build a Client from their host's dialer; desk uses one for webhooks and media. The caller
// closes the Client; idle connections are its only goroutines.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrTooLarge is returned when the answer has more bytes than allowed.
	ErrTooLarge = errors.New("answer is too large")
	// ErrScheme is returned for an address that is not http or https, or has no host.
	ErrScheme = errors.New("address is not http or https")
	// ErrRedirect is returned for a redirect that is not followed to its end: one too many, out of https, to no address,
	// or with a body to another host.
	ErrRedirect = errors.New("redirect is not followed")
)

// Dialer connects for a purpose; dial.Guard is one.
type Dialer interface {
	DialContext(ctx context.Context, purpose, network, addr string) (net.Conn, error)
}

// Options bound one exchange. The zero value is for a small answer from an API.
type Options struct {
	// Timeout covers everything from the name's resolution to the last byte. 0: 15 seconds for Do, 5 minutes for Stream.
	Timeout time.Duration
	// MaxBytes caps the body of the answer. 0: 1 MiB.
	MaxBytes int64
	// Redirects is how many to follow. 0: three for GET and HEAD, none for other methods; negative: none. More than three
	// is three. An answer whose redirect is not to be followed comes back as it is.
	Redirects int
}

const (
	maxRedirects  = 3
	maxBytes      = 1 << 20
	timeout       = 15 * time.Second
	streamTimeout = 5 * time.Minute
	headerTimeout = 30 * time.Second
)

// Response is an answer, whatever its status.
type Response struct {
	Status int
	Header http.Header
	URL    *url.URL // who answered, after redirects
	Body   []byte   // nil from Stream
}

// Client does exchanges. Safe for concurrent use.
type Client struct {
	dialer Dialer
	mu     sync.Mutex
	pools  map[string]*http.Transport // by purpose; purposes are constants of the code, so there are few
}

// New makes a Client whose connections all come from d.
func New(d Dialer) *Client { return &Client{dialer: d, pools: map[string]*http.Transport{}} }

// Close drops the idle connections.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.pools {
		t.CloseIdleConnections()
	}
}

// Do sends req and reads the whole answer. The context of req is not used, ctx is. The body of req is closed.
func (c *Client) Do(ctx context.Context, purpose string, req *http.Request, opt Options) (*Response, error) {
	if opt.Timeout == 0 {
		opt.Timeout = timeout
	}
	r, body, err := c.Stream(ctx, purpose, req, opt)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if r.Body, err = io.ReadAll(body); err != nil {
		return nil, err
	}
	return r, nil
}

// Stream sends req and hands over the body of the answer unread. Reading over the cap fails with ErrTooLarge, reading
// past the deadline with the context's error. The caller closes the body.
func (c *Client) Stream(ctx context.Context, purpose string, req *http.Request, opt Options) (*Response, io.ReadCloser, error) {
	if opt.Timeout <= 0 {
		opt.Timeout = streamTimeout
	}
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = maxBytes
	}
	ctx, cancel := context.WithTimeout(ctx, opt.Timeout)
	var reached atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	})
	resp, err := c.follow(ctx, purpose, req, redirects(req.Method, opt.Redirects))
	if err == nil && resp.ContentLength > opt.MaxBytes && req.Method != http.MethodHead {
		_ = resp.Body.Close()
		err = ErrTooLarge
	}
	if err != nil {
		cancel()
		return nil, nil, &failure{origin(req.URL), err, reached.Load()}
	}
	r := &Response{Status: resp.StatusCode, Header: resp.Header, URL: resp.Request.URL}
	return r, &capped{body: resp.Body, left: opt.MaxBytes, cancel: cancel, origin: origin(r.URL)}, nil
}

func redirects(method string, asked int) int {
	switch {
	case asked < 0:
		return 0
	case asked > 0:
		return min(asked, maxRedirects)
	case method == http.MethodGet, method == http.MethodHead, method == "":
		return maxRedirects
	}
	return 0
}

// pool is the transport of one purpose.
func (c *Client) pool(purpose string) *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.pools[purpose]
	if t == nil {
		t = &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return c.dialer.DialContext(ctx, purpose, network, addr)
			},
			Proxy:                  nil, // never from the environment
			ForceAttemptHTTP2:      true,
			TLSHandshakeTimeout:    10 * time.Second,
			ResponseHeaderTimeout:  headerTimeout,
			ExpectContinueTimeout:  time.Second,
			IdleConnTimeout:        time.Minute,
			MaxIdleConns:           64,
			MaxIdleConnsPerHost:    8,
			MaxConnsPerHost:        64,
			MaxResponseHeaderBytes: 64 << 10,
		}
		c.pools[purpose] = t
	}
	return t
}

// failure is every error of this package: where it happened and whether the request may have arrived.
type failure struct {
	origin string
	err    error
	sent   bool
}

func (f *failure) Error() string { return fmt.Sprintf("fetch %s: %v", f.origin, f.err) }
func (f *failure) Unwrap() error { return f.err }

// Sent reports whether the request behind an error of Do or Stream may have reached the other side. It is false only
// when certainly no connection was there to carry it: refused by the guard or by the host, unknown name, broken TLS
// handshake, an address that is none. Without an error, and for errors of others, it is true.
func Sent(err error) bool {
	var f *failure
	return !errors.As(err, &f) || f.sent
}

// origin is what an error may say about an address.
func origin(u *url.URL) string {
	if u == nil {
		return "no address"
	}
	return u.Scheme + "://" + u.Host
}

// capped is the body of an answer with a cap, and the end of its deadline.
type capped struct {
	body   io.ReadCloser
	left   int64
	cancel context.CancelFunc
	origin string
	err    error
}

func (c *capped) Read(p []byte) (int, error) {
	if c.err != nil { // the byte over the cap is gone: reading on could look like a clean end
		return 0, c.err
	}
	if int64(len(p)) > c.left { // room for one byte more than allowed shows whether there is one
		p = p[:c.left+1]
	}
	n, err := c.body.Read(p)
	if int64(n) > c.left {
		n, err = int(c.left), ErrTooLarge
	}
	c.left -= int64(n)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's contract is the bare value
		err = &failure{c.origin, err, true}
	}
	c.err = err
	return n, err
}

func (c *capped) Close() error {
	defer c.cancel()
	return c.body.Close()
}
