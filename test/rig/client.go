package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// Value is a decoded JSON value with a path.
type Value struct{ V any }

// At follows a path of member names and list places; a missing one gives a Value of nil.
func (v Value) At(path ...any) Value {
	x := v.V
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := x.(map[string]any)
			x = m[p]
		case int:
			l, _ := x.([]any)
			if p < 0 || p >= len(l) {
				return Value{}
			}
			x = l[p]
		}
	}
	return Value{x}
}

// String is the text there, empty if there is none.
func (v Value) String() string { s, _ := v.V.(string); return s }

// Int is the number there.
func (v Value) Int() int { f, _ := v.V.(float64); return int(f) }

// Bool is the truth there.
func (v Value) Bool() bool { b, _ := v.V.(bool); return b }

// List is the list there.
func (v Value) List() []Value {
	l, _ := v.V.([]any)
	out := make([]Value, len(l))
	for n, x := range l {
		out[n] = Value{x}
	}
	return out
}

// Nil reports whether nothing is there.
func (v Value) Nil() bool { return v.V == nil }

// JSON is the value as text.
func (v Value) JSON() string { b, _ := json.Marshal(v.V); return string(b) }

// M is a set of variables.
type M = map[string]any

// Client speaks GraphQL with one token.
type Client struct {
	URL   string
	Token string
	HTTP  *http.Client
}

var shared = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}, Timeout: 30 * time.Second}

// Do posts a document; the error is the transport's or a status without a GraphQL body.
func (c *Client) Do(ctx context.Context, query string, vars M) (Value, error) {
	body, err := json.Marshal(M{"query": query, "variables": vars})
	if err != nil {
		return Value{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/graphql", bytes.NewReader(body))
	if err != nil {
		return Value{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	h := c.HTTP
	if h == nil {
		h = shared
	}
	res, err := h.Do(req)
	if err != nil {
		return Value{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return Value{}, err
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		return Value{}, fmt.Errorf("status %d: %s", res.StatusCode, raw)
	}
	return Value{out}, nil
}

// Must posts a document that has to succeed: no errors, and no userErrors in its first field. It returns `data`.
func (c *Client) Must(t testing.TB, query string, vars M) Value {
	t.Helper()
	v, err := c.Do(context.Background(), query, vars)
	if err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	if !v.At("errors").Nil() {
		t.Fatalf("errors: %s\n%s", v.At("errors").JSON(), query)
	}
	if data, ok := v.At("data").V.(map[string]any); ok {
		for name := range data {
			if e := v.At("data", name, "userErrors"); len(e.List()) > 0 {
				t.Fatalf("userErrors of %s: %s", name, e.JSON())
			}
		}
	}
	return v.At("data")
}

// Subscription is an open stream on a socket of its own.
type Subscription struct {
	C    chan Value // each `payload`
	conn net.Conn
	once sync.Once
	done chan struct{}
	Err  error // why it ended, after Done
	Code int   // with which the server closed it, after Done; 0: it said none
}

// Done is closed when the stream has ended.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Close cuts the connection.
func (s *Subscription) Close() {
	s.once.Do(func() { _ = s.conn.Close() })
	<-s.done
}

// Subscribe opens a socket (graphql-transport-ws) with one subscription.
func (c *Client) Subscribe(ctx context.Context, query string, vars M) (*Subscription, error) {
	d := ws.Dialer{Protocols: []string{"graphql-transport-ws"}, Timeout: 10 * time.Second}
	conn, br, _, err := d.Dial(ctx, "ws"+strings.TrimPrefix(c.URL, "http")+"/graphql")
	if err != nil {
		return nil, err
	}
	var r io.Reader = conn
	if br != nil {
		r = io.MultiReader(br, conn)
	}
	s := &Subscription{C: make(chan Value, 1024), conn: conn, done: make(chan struct{})}
	send := func(v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return wsutil.WriteClientText(conn, b)
	}
	if err := send(M{"type": "connection_init", "payload": M{"Authorization": "Bearer " + c.Token}}); err != nil {
		return nil, err
	}
	acked := make(chan struct{})
	go s.read(r, send, acked)
	select {
	case <-acked:
	case <-s.done:
		return nil, fmt.Errorf("the socket was closed before the ack: %w", s.Err)
	case <-ctx.Done():
		s.Close()
		return nil, ctx.Err()
	}
	return s, send(M{"id": "1", "type": "subscribe", "payload": M{"query": query, "variables": vars}})
}

// message reads the next text. Control frames are answered here: the library's own handler knows no code above 1011.
func (s *Subscription) message(r io.Reader) ([]byte, error) {
	for {
		frames, err := wsutil.ReadServerMessage(r, nil)
		if err != nil {
			return nil, err
		}
		for _, f := range frames {
			switch f.OpCode {
			case ws.OpText:
				return f.Payload, nil
			case ws.OpPing:
				if err := wsutil.WriteClientMessage(s.conn, ws.OpPong, f.Payload); err != nil {
					return nil, err
				}
			case ws.OpClose:
				code, reason := ws.ParseCloseFrameData(f.Payload)
				s.Code = int(code)
				_ = wsutil.WriteClientMessage(s.conn, ws.OpClose, f.Payload)
				_ = s.conn.Close()
				return nil, wsutil.ClosedError{Code: code, Reason: reason}
			}
		}
	}
}

// read hands on what the server sends until the connection ends.
func (s *Subscription) read(r io.Reader, send func(any) error, acked chan<- struct{}) {
	defer close(s.done)
	defer close(s.C)
	for {
		b, err := s.message(r)
		if err != nil {
			s.Err = err
			return
		}
		var m struct {
			Type    string
			Payload any
		}
		if err := json.Unmarshal(b, &m); err != nil {
			s.Err = err
			return
		}
		switch m.Type {
		case "connection_ack":
			close(acked)
		case "ping":
			_ = send(M{"type": "pong"})
		case "next":
			s.C <- Value{m.Payload}
		case "error", "complete":
			s.Err = fmt.Errorf("%s: %v", m.Type, m.Payload)
			_ = s.conn.Close()
			return
		}
	}
}

// Pause waits, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
