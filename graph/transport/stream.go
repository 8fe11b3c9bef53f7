package transport

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"tributary/graph/live"
	"tributary/internal/viewer"
)

// eventStream is one operation over Server-Sent Events (distinct connections mode). The request's goroutine writes.
type eventStream struct {
	h      *Handler
	cancel context.CancelFunc

	mu     sync.Mutex
	v      *viewer.Viewer
	member *live.Member
	out    [][]byte
	bytes  int
	last   bool // nothing follows what is in out
	gone   bool
	kick   func()        // ends a write that is stuck
	some   chan struct{} // capacity 1: there is something to write, or an end
	room   chan struct{} // closed when something was written
}

var (
	_ live.Sink = (*eventStream)(nil)
	_ link      = (*eventStream)(nil)
)

// stream answers with events: those of a subscription, or the one answer of anything else.
func (h *Handler) stream(ctx context.Context, w http.ResponseWriter, r *http.Request, oc *graphql.OperationContext) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &eventStream{h: h, cancel: cancel, v: viewer.From(ctx), some: make(chan struct{}, 1)}
	if s.v != nil {
		if !h.links.count(s.v.Token) {
			w.Header().Set("Retry-After", strconv.Itoa(seconds(h.lim.Recheck)))
			h.refuse(w, r, http.StatusTooManyRequests, &problem{code: codeRateLimited, message: "too many streams"})
			return
		}
		defer h.links.uncount(s.v.Token)
	}
	if !h.links.add(s) {
		w.Header().Set("Retry-After", "1")
		h.refuse(w, r, http.StatusServiceUnavailable, &problem{code: codeInternal, message: "this node is closing"})
		return
	}
	defer h.links.remove(s)
	if s.v != nil && oc.Operation.Operation == ast.Subscription {
		defer h.connected(s.v)()
	}
	if h.cfg.Metrics.Socket != nil {
		h.cfg.Metrics.Socket(1)
		defer h.cfg.Metrics.Socket(-1)
	}
	if oc.Operation.Operation == ast.Subscription {
		h.measured(oc, nil, time.Now())
		m := h.cfg.Live.Join(ctx, h.exec, oc, s)
		s.mu.Lock()
		s.member = m
		s.mu.Unlock()
		defer s.leave()
	} else {
		s.Next(encode(requestOf(ctx), h.execute(ctx, oc)))
		s.push(true, []byte("event: complete\ndata:\n\n"))
	}
	s.write(ctx, w)
}

// write sends what comes until the end of either side.
func (s *eventStream) write(ctx context.Context, w http.ResponseWriter) {
	head := w.Header()
	head.Set("Content-Type", mediaEvents+"; charset=utf-8")
	head.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	s.mu.Lock()
	s.kick = func() { _ = out.SetWriteDeadline(time.Now()) } // not every writer has one
	s.mu.Unlock()
	send := func(parts ...[]byte) bool {
		if !s.may(out) {
			return false
		}
		for _, p := range parts {
			if _, err := w.Write(p); err != nil {
				return false
			}
		}
		return out.Flush() == nil
	}
	beat := time.NewTicker(s.h.lim.StreamComments)
	defer beat.Stop()
	defer s.over()
	if !send([]byte(":\n\n")) {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			if !send([]byte(":\n\n")) {
				return
			}
		case <-s.some:
			s.mu.Lock()
			parts, last, gone := s.out, s.last, s.gone
			s.out = nil
			s.mu.Unlock()
			if gone || len(parts) > 0 && !send(parts...) {
				return
			}
			s.wrote(parts)
			if last {
				return
			}
		}
	}
}

// may gives a write its time; false if the stream is over.
func (s *eventStream) may(out *http.ResponseController) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return false
	}
	_ = out.SetWriteDeadline(time.Now().Add(s.h.lim.Write)) // not every writer has one
	return true
}

func (s *eventStream) wrote(parts [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		s.bytes -= len(p)
	}
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
}

// push queues parts; the queue is bounded as a socket's is.
func (s *eventStream) push(last bool, parts ...[]byte) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone || s.last:
		return
	case s.bytes > s.h.lim.QueueBytes:
		s.cutLocked()
	default:
		s.out = append(s.out, parts...)
		s.bytes += n
		s.last = last
	}
	select {
	case s.some <- struct{}{}:
	default:
	}
}

var (
	eventNext = []byte("event: next\ndata: ")
	eventEnd  = []byte("\n\n")
)

// Next tells one answer; an encoded answer has no line breaks.
func (s *eventStream) Next(payload []byte) { s.push(false, eventNext, payload, eventEnd) }

// Fail tells the errors that ended the stream.
func (s *eventStream) Fail(errors []byte) {
	b, err := json.Marshal(map[string]json.RawMessage{"errors": errors})
	if err != nil {
		b = []byte(`{"errors":[]}`)
	}
	s.push(true, eventNext, b, []byte("\n\nevent: complete\ndata:\n\n"))
}

// Wait returns when half the queue is free.
func (s *eventStream) Wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.gone || s.last {
			s.mu.Unlock()
			return errGone
		}
		if s.bytes <= s.h.lim.QueueBytes/2 {
			s.mu.Unlock()
			return ctx.Err()
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *eventStream) holder() *viewer.Viewer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v
}

func (s *eventStream) renew(v *viewer.Viewer) {
	s.mu.Lock()
	old, m := s.v, s.member
	s.v = v
	gone := s.gone || s.last
	s.mu.Unlock()
	if m == nil || gone || old.Class() == v.Class() {
		return
	}
	n := m.Change(v)
	s.mu.Lock()
	s.member, gone = n, s.gone || s.last
	s.mu.Unlock()
	if gone {
		n.Leave()
	}
}

func (s *eventStream) ping() {} // comments do it

// shut ends the stream without `complete`: to the client it is a break, after which it comes again with its cursor.
func (s *eventStream) shut(int, string) { s.cut() }

func (s *eventStream) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cutLocked()
}

func (s *eventStream) cutLocked() {
	if s.gone {
		return
	}
	s.gone, s.out = true, nil
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	if s.kick != nil {
		s.kick()
	}
	s.cancel()
}

// over releases the request's writer: after the handler's return it must not be touched.
func (s *eventStream) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kick = nil
	s.cutLocked()
}

func (s *eventStream) leave() {
	s.mu.Lock()
	m := s.member
	s.mu.Unlock()
	if m != nil {
		m.Leave()
	}
}
