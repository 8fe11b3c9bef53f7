package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"
)

// How a Client connects.
const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	// connsPerNode is how many calls go to one node at once; more wait, within their deadline. As many stay open, so that a
	// crowd of calls does not become a crowd of handshakes.
	connsPerNode = 64
	// idleTimeout is well below the server's, so that it is the Client who closes a connection without work and no request
	// goes out on one that is just being closed.
	idleTimeout = 30 * time.Second
)

// Client asks other nodes. Safe for concurrent use.
type Client struct {
	transport *http.Transport
}

// NewClient makes a Client for nodes that have key.
func NewClient(key *Key) *Client {
	// Addresses are what nodes wrote about themselves into the operator's database, private ones as a rule; what could be
	// reached by a wrong one has to know the secret before it gets a byte.
	dialer := &net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	config := key.config()
	return &Client{&http.Transport{
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return connect(ctx, dialer, config, network, addr)
		},
		Proxy:                  nil,
		DisableCompression:     true,
		MaxConnsPerHost:        connsPerNode,
		MaxIdleConnsPerHost:    connsPerNode,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: 16 << 10,
	}}
}

func connect(ctx context.Context, d *net.Dialer, config *tls.Config, network, addr string) (net.Conn, error) {
	raw, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return conn, nil
}

// Close drops the idle connections. Calls under way go on.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Ping asks who is at an address. An empty node takes whoever answers.
func (c *Client) Ping(ctx context.Context, addr, node string) (Hello, error) {
	var h Hello
	body, err := c.exchange(ctx, addr, node, ping, nil)
	if err == nil {
		if err = json.Unmarshal(body, &h); err != nil {
			err = fmt.Errorf("%w: %w", ErrUncertain, err)
		}
	}
	return h, err
}

// Call asks the node of that name at addr, host:port, and waits for its reply until the deadline of ctx, or for
// DefaultTimeout if it has none. The handler works under the same deadline. Its errors are those of this package; no
// request is made twice.
func (c *Client) Call(ctx context.Context, addr, node, method string, body []byte) ([]byte, error) {
	if node == "" {
		return nil, fmt.Errorf("%w: it has no name", ErrUnreachable)
	}
	return c.exchange(ctx, addr, node, method, body)
}

func (c *Client) exchange(ctx context.Context, addr, node, method string, body []byte) ([]byte, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("ask %s at %s for %s: %w", node, addr, method, ErrTooLarge)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	reply, err := c.roundTrip(ctx, addr, node, method, body)
	if err != nil {
		return nil, fmt.Errorf("ask %s at %s for %s: %w", node, addr, method, err)
	}
	return reply, nil
}

func (c *Client) roundTrip(ctx context.Context, addr, node, method string, body []byte) ([]byte, error) {
	to := url.URL{Scheme: "https", Host: addr, Path: "/" + method}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	req.Header.Set(nodeHeader, url.QueryEscape(node))
	req.GetBody = nil // a second way to keep the transport from repeating what may have been executed
	connected := false
	// The trace is called by RoundTrip's own goroutine, before it hands the request to the connection: what is left of the
	// deadline is told as it is after dialling or waiting for a connection.
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		connected = true
		req.Header.Set(timeoutHeader, remaining(ctx))
	}}))
	resp, err := c.transport.RoundTrip(req)
	if err == nil {
		defer resp.Body.Close()
		var reply []byte
		if reply, err = io.ReadAll(io.LimitReader(resp.Body, MaxBody+1)); err == nil {
			return judge(resp.StatusCode, reply)
		}
	}
	if !connected {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, because(ctx, err))
	}
	// The node may have vanished, and with it every connection to it: the next Call shall find out by dialling, which
	// has a certain answer.
	c.transport.CloseIdleConnections()
	return nil, fmt.Errorf("%w: %w", ErrUncertain, because(ctx, err))
}

// because prefers the end of ctx to what it did to a connection.
func because(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		return ended
	}
	return err
}

// remaining is the time until the deadline of ctx in milliseconds, within what a Server takes. A caller with more time
// than that waits on, but nothing works for him any more.
func remaining(ctx context.Context) string {
	at, _ := ctx.Deadline()
	return strconv.FormatInt(min(max(time.Until(at), time.Millisecond), maxTimeout).Milliseconds(), 10)
}

// judge makes an outcome of an answer. The states are those of the Server.
func judge(status int, reply []byte) ([]byte, error) {
	switch status {
	case http.StatusOK:
		if len(reply) > MaxBody {
			return nil, fmt.Errorf("%w: the reply is too large", ErrUncertain)
		}
		return reply, nil
	case http.StatusUnprocessableEntity:
		var r Refusal
		if err := json.Unmarshal(reply, &r); err != nil {
			return nil, fmt.Errorf("%w: read the refusal: %w", ErrUncertain, err)
		}
		return nil, &r
	case http.StatusNotFound:
		return nil, ErrNoMethod
	case http.StatusMisdirectedRequest:
		return nil, ErrWrongNode
	case http.StatusServiceUnavailable:
		return nil, ErrBusy
	case http.StatusRequestEntityTooLarge:
		return nil, ErrTooLarge
	case http.StatusBadRequest:
		return nil, fmt.Errorf("%w: it does not understand the request", ErrUnreachable)
	case http.StatusInternalServerError:
		return nil, ErrFailed
	}
	return nil, fmt.Errorf("%w: it answered with state %d", ErrUncertain, status)
}
