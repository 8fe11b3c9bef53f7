package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// frame is a frame of either stream.
type frame[E any] struct {
	Cursor      string
	ResetReason *string
	Events      []E
}

// errReset: the place in the log is gone. Who lives in a demo begins anew.
var errReset = errors.New("the stream cannot go on from its cursor")

// follow listens to a subscription whose field is aliased `frame` and whose variable `after` is the cursor, and goes on
// after the last applied cursor whatever breaks, until ctx ends. Its error is that nothing more can come this way.
func follow[E any](ctx context.Context, c *client, query, cursor string, take func(E)) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := listen(ctx, c, query, vars{"after": cursor}, func(payload json.RawMessage) error {
			var p struct {
				Data   struct{ Frame frame[E] }
				Errors []*answerError
			}
			if err := json.Unmarshal(payload, &p); err != nil {
				return fmt.Errorf("read frame: %w", err)
			}
			if len(p.Errors) > 0 {
				return p.Errors[0]
			}
			if p.Data.Frame.ResetReason != nil {
				return errReset
			}
			for _, e := range p.Data.Frame.Events {
				take(e)
			}
			cursor, wait = p.Data.Frame.Cursor, 100*time.Millisecond
			return nil
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the listener went
		}
		var no *refusal
		if errors.Is(err, errReset) || errors.As(err, &no) { // the session cannot be renewed
			return err
		}
		if sleep(ctx, wait) != nil {
			return nil //nolint:nilerr // the same
		}
	}
}

// message is one of graphql-transport-ws.
type message struct {
	ID      string          `json:"id,omitempty"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// listen keeps one socket with one subscription until it breaks.
func listen(ctx context.Context, c *client, query string, v vars, next func(json.RawMessage) error) error {
	token, err := c.bearer(ctx)
	if err != nil {
		return err
	}
	d := ws.Dialer{Protocols: []string{"graphql-transport-ws"}, Timeout: 10 * time.Second}
	conn, early, _, err := d.Dial(ctx, "ws"+strings.TrimPrefix(c.url, "http")+"/graphql")
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	in := io.Reader(conn)
	if early != nil { // what came right behind the upgrade
		in = io.MultiReader(early, conn)
	}
	payload, err := json.Marshal(vars{"Authorization": "Bearer " + token})
	if err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	if err := say(conn, message{Type: "connection_init", Payload: payload}); err != nil {
		return err
	}
	for {
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil { // the server pings every 20 s
			return fmt.Errorf("read socket: %w", err)
		}
		b, err := wsutil.ReadServerText(struct {
			io.Reader
			io.Writer
		}{in, conn})
		if err != nil {
			return fmt.Errorf("read socket: %w", err)
		}
		if err := heard(conn, b, query, v, next); err != nil {
			return err
		}
	}
}

func heard(conn net.Conn, b []byte, query string, v vars, next func(json.RawMessage) error) error {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("read socket: %w", err)
	}
	switch m.Type {
	case "connection_ack":
		payload, err := json.Marshal(vars{"query": query, "variables": v})
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		return say(conn, message{ID: "1", Type: "subscribe", Payload: payload})
	case "ping":
		return say(conn, message{Type: "pong"})
	case "next":
		return next(m.Payload)
	case "error", "complete":
		return fmt.Errorf("the stream ended: %s", m.Payload)
	}
	return nil
}

func say(conn net.Conn, m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write socket: %w", err)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return fmt.Errorf("write socket: %w", err)
	}
	if err := wsutil.WriteClientText(conn, b); err != nil {
		return fmt.Errorf("write socket: %w", err)
	}
	return nil
}
