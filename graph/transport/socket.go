package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"tributary/internal/gid"
	"tributary/internal/viewer"
)

const subprotocol = "graphql-transport-ws"

// socket is one client on a WebSocket. Its reading goroutine owns it: it starts operations, and ends everything.
type socket struct {
	h      *Handler
	conn   net.Conn
	in     io.Reader
	remote string
	header string // Authorization of the upgrade, for programs; a page cannot set it
	tasks  sync.WaitGroup
	writer sync.WaitGroup
	slots  chan struct{} // operations that may run
	token  gid.ID        // counted
	left   func()        // releases the presence

	mu      sync.Mutex
	v       *viewer.Viewer
	active  map[string]*operation
	streams int
	out     net.Buffers
	bytes   int // waiting or being written
	frames  int
	writing bool
	closing bool
	broken  bool // nothing can be written
	code    int
	room    chan struct{} // closed when something was written
}

// upgrade makes a socket of a request and gives the server's goroutine back.
func (h *Handler) upgrade(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" && !h.mayConnect(origin, r) {
		h.refuse(w, r, http.StatusForbidden, &problem{code: codeForbidden, message: "this origin may not connect"})
		return
	}
	if !speaks(r) {
		h.refuse(w, r, http.StatusBadRequest, bad("the subprotocol is "+subprotocol))
		return
	}
	up := ws.HTTPUpgrader{
		Timeout:  h.lim.Write,
		Protocol: func(p string) bool { return p == subprotocol },
		Header:   http.Header{"X-Request-Id": {RequestID(r.Context())}},
	}
	conn, rw, _, err := up.Upgrade(r, w)
	if err != nil {
		if conn != nil {
			_ = conn.Close() // it was told by the upgrader
		}
		return
	}
	s := &socket{
		h: h, conn: conn, in: conn, remote: h.remote(r), header: r.Header.Get("Authorization"),
		slots: make(chan struct{}, h.lim.Operations), active: map[string]*operation{},
	}
	if n := rw.Reader.Buffered(); n > 0 {
		// What a hasty client sent behind its request.
		early := make([]byte, n)
		_, _ = io.ReadFull(rw.Reader, early) // cannot fail: it is in the buffer
		s.in = io.MultiReader(bytes.NewReader(early), conn)
	}
	if !h.links.add(s) {
		_ = conn.Close()
		return
	}
	go s.run(context.WithoutCancel(r.Context()))
}

func speaks(r *http.Request) bool {
	for p := range strings.SplitSeq(strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","), ",") {
		if strings.TrimSpace(p) == subprotocol {
			return true
		}
	}
	return false
}

// run is the socket's life.
func (s *socket) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	if s.h.cfg.Metrics.Socket != nil {
		s.h.cfg.Metrics.Socket(1)
	}
	s.converse(ctx)
	cancel()
	s.end()
	if s.h.cfg.Metrics.Socket != nil {
		s.h.cfg.Metrics.Socket(-1)
	}
	if s.h.cfg.Metrics.Closed != nil {
		s.h.cfg.Metrics.Closed(s.code)
	}
	s.h.links.remove(s)
}

// converse reads until there is nothing more to read.
func (s *socket) converse(ctx context.Context) {
	defer func() {
		if p := recover(); p != nil {
			s.h.logPanic(ctx, p)
			s.shut(closeInternal, textInternal)
		}
	}()
	silence, opened := s.h.lim.InitWait, time.Now()
	for {
		if s.holder() == nil {
			// Talking of other things does not buy time.
			silence = s.h.lim.InitWait - time.Since(opened)
		}
		b, err := s.next(silence)
		if err != nil {
			s.lost(err)
			return
		}
		if !s.message(ctx, b) {
			return
		}
		silence = 3 * s.h.lim.Ping
	}
}

// lost closes a socket that cannot be read.
func (s *socket) lost(err error) {
	var late net.Error
	switch {
	case errors.Is(err, errTooLong):
		s.shut(closeBad, "a message is too long")
	case errors.Is(err, errForm):
		s.shut(closeBad, "not a message of the protocol")
	case errors.Is(err, io.EOF):
		s.shut(closeNormal, "")
	case errors.As(err, &late) && late.Timeout() && s.holder() == nil:
		s.shut(closeLate, "connection_init is late")
	default:
		s.shut(closeSilent, "nothing was heard")
	}
}

// end ends what runs for this client, lets the last word out, and closes.
func (s *socket) end() {
	s.mu.Lock()
	ops := s.active
	s.active = map[string]*operation{}
	s.mu.Unlock()
	for _, o := range ops {
		o.stop()
	}
	if s.left != nil {
		s.left()
	}
	s.h.links.uncount(s.token)
	s.writer.Wait()
	// The client's answer to the close: without waiting for it, bytes it sent meanwhile would reset the connection and
	// destroy the close on its way.
	if s.code != closeNormal && !s.broken {
		if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite() // a hint
		}
		_ = s.conn.SetReadDeadline(time.Now().Add(farewell))
		_, _ = io.Copy(io.Discard, io.LimitReader(s.conn, 1<<20)) // whatever it is, it is late
	}
	_ = s.conn.Close()
	s.tasks.Wait()
}

type message struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
}

// message acts on one message; false if the socket closes.
func (s *socket) message(ctx context.Context, b []byte) bool {
	var m message
	if json.Unmarshal(b, &m) != nil {
		s.shut(closeBad, "not a message of the protocol")
		return false
	}
	switch m.Type {
	case "connection_init":
		return s.init(ctx, m.Payload)
	case "ping":
		s.write(textFrame(pong(m.Payload))...)
	case "pong":
	case "complete":
		if o := s.take(m.ID); o != nil {
			o.stop()
		}
	case "subscribe":
		v := s.holder()
		if v == nil {
			s.shut(closeNoInit, "connection_init comes first")
			return false
		}
		return s.subscribe(viewer.With(ctx, v), m)
	default:
		s.shut(closeBad, "unknown type of message")
		return false
	}
	return true
}

func pong(payload json.RawMessage) []byte {
	b, err := json.Marshal(struct {
		Type    string          `json:"type"`
		Payload json.RawMessage `json:"payload,omitempty"`
	}{"pong", payload})
	if err != nil {
		return []byte(`{"type":"pong"}`)
	}
	return b
}

// init learns who it is.
func (s *socket) init(ctx context.Context, payload json.RawMessage) bool {
	if s.holder() != nil {
		s.shut(closeTooMany, "connection_init comes once")
		return false
	}
	token, ok := initToken(payload)
	if !ok {
		s.shut(closeBad, "the payload of connection_init is an object")
		return false
	}
	if token == "" {
		token = bearer(s.header)
	}
	v, _, p := s.h.authenticate(ctx, token, s.remote)
	switch {
	case p != nil && p.code == codeInternal:
		s.shut(closeInternal, textInternal)
		return false
	case p != nil || v == nil:
		s.shut(closeForbidden, "a usable token is needed")
		return false
	case !s.h.links.count(v.Token):
		s.shut(closeTooMany, "too many sockets")
		return false
	}
	s.token = v.Token
	s.mu.Lock()
	s.v = v
	s.mu.Unlock()
	s.left = s.h.connected(v)
	s.write(textFrame([]byte(`{"type":"connection_ack"}`))...)
	return true
}

// initToken finds the token in the payload of connection_init.
func initToken(payload json.RawMessage) (string, bool) {
	if absent(payload) {
		return "", true
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(payload, &m) != nil {
		return "", false
	}
	for k, v := range m {
		switch strings.ToLower(k) {
		case "authorization", "authtoken", "token":
			var s string
			if json.Unmarshal(v, &s) == nil {
				return bearer(s), true
			}
		}
	}
	return "", true
}

func (s *socket) holder() *viewer.Viewer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v
}

// ping asks in both ways: programs answer the frame, pages' clients the message.
func (s *socket) ping() {
	if s.holder() != nil {
		s.write(append([][]byte{ws.CompiledPing}, textFrame([]byte(`{"type":"ping"}`))...)...)
	}
}

// renew goes on with other rights: operations to come have them, streams are told.
func (s *socket) renew(v *viewer.Viewer) {
	s.mu.Lock()
	old := s.v
	s.v = v
	var streams []*operation
	if old != nil && old.Class() != v.Class() {
		for _, o := range s.active {
			if o.member != nil {
				streams = append(streams, o)
			}
		}
	}
	s.mu.Unlock()
	for _, o := range streams {
		o.change(v)
	}
}

// take removes an operation from those that run.
func (s *socket) take(id string) *operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.active[id]
	if o != nil {
		delete(s.active, id)
		if o.stream {
			s.streams--
		}
	}
	return o
}
