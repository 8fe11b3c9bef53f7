package transport

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"tributary/graph/live"
	"tributary/internal/viewer"
)

// operation is one `subscribe` on a socket; for a stream it is what live tells to.
type operation struct {
	s      *socket
	id     string
	head   []byte // `{"id":…,"type":"next","payload":`
	stream bool
	over   atomic.Bool
	cancel context.CancelFunc
	member *live.Member // under the socket's lock
}

var (
	_     live.Sink = (*operation)(nil)
	brace           = []byte("}")
)

// subscribe starts an operation; false if the socket closes.
func (s *socket) subscribe(ctx context.Context, m message) bool {
	params, p := fromJSON(m.Payload)
	if m.ID == "" || p != nil {
		s.shut(closeBad, "subscribe has an id and a payload with query")
		return false
	}
	id, _ := json.Marshal(m.ID) // a text
	o := &operation{s: s, id: m.ID, head: []byte(`{"id":` + string(id) + `,"type":"next","payload":`)}
	if !s.enlist(o) {
		return false
	}
	req := &request{id: newID(), remote: s.remote}
	ctx = context.WithValue(ctx, requestKey{}, req)
	ctx = graphql.StartOperationTrace(ctx)
	params.ReadTime = graphql.TraceTiming{Start: graphql.Now(), End: graphql.Now()}
	oc, errs := s.h.exec.CreateOperationContext(ctx, params)
	if errs != nil {
		resp := s.h.exec.DispatchError(graphql.WithOperationContext(ctx, oc), errs)
		s.h.measured(oc, resp.Errors, time.Now())
		o.refuse(resp.Errors)
		return true
	}
	ctx, o.cancel = context.WithCancel(ctx)
	if oc.Operation.Operation == ast.Subscription {
		return s.follow(ctx, o, oc)
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	s.tasks.Go(func() {
		defer func() { <-s.slots }()
		o.execute(ctx, oc)
	})
	return true
}

// enlist takes the operation's id; false if the socket closes.
func (s *socket) enlist(o *operation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.active[o.id]; taken {
		s.shutLocked(closeTaken, "Subscriber for "+o.id+" already exists")
		return false
	}
	// Answers take their turn by the slots; what waits for nothing is bounded here.
	if len(s.active) >= s.h.lim.Subscriptions+s.h.lim.Operations+1 {
		s.shutLocked(closeTooMany, "too many operations")
		return false
	}
	s.active[o.id] = o
	return true
}

// follow starts a stream.
func (s *socket) follow(ctx context.Context, o *operation, oc *graphql.OperationContext) bool {
	s.mu.Lock()
	if s.streams >= s.h.lim.Subscriptions {
		s.shutLocked(closeTooMany, "too many subscriptions")
		s.mu.Unlock()
		return false
	}
	s.streams++
	o.stream = true
	s.mu.Unlock()
	s.h.measured(oc, nil, time.Now())
	m := s.h.cfg.Live.Join(ctx, s.h.exec, oc, o)
	s.mu.Lock()
	o.member = m
	gone := s.active[o.id] != o
	s.mu.Unlock()
	if gone { // it failed meanwhile
		m.Leave()
	}
	return true
}

// execute runs a query or mutation.
func (o *operation) execute(ctx context.Context, oc *graphql.OperationContext) {
	defer o.cancel()
	defer func() {
		if p := recover(); p != nil {
			o.s.h.logPanic(ctx, p)
			o.Fail([]byte(`[{"message":"` + textInternal + `","extensions":{"code":"` + codeInternal + `"}}]`))
		}
	}()
	resp := o.s.h.execute(ctx, oc)
	o.Next(encode(requestOf(ctx), resp))
	if o.finish() {
		o.s.write(textFrame([]byte(`{"id":`), o.quoted(), []byte(`,"type":"complete"}`))...)
	}
}

func (o *operation) quoted() []byte {
	b, _ := json.Marshal(o.id) // a text
	return b
}

// finish forgets the operation; false if somebody else did.
func (o *operation) finish() bool {
	if !o.over.CompareAndSwap(false, true) {
		return false
	}
	if o.cancel != nil {
		o.cancel()
	}
	s := o.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[o.id] == o {
		delete(s.active, o.id)
		if o.stream {
			s.streams--
		}
	}
	return true
}

// stop ends the operation at the client's wish, or with the socket.
func (o *operation) stop() {
	o.over.Store(true)
	if o.cancel != nil {
		o.cancel()
	}
	o.s.mu.Lock()
	m := o.member
	o.s.mu.Unlock()
	if m != nil {
		m.Leave()
	}
}

// change goes on with other rights.
func (o *operation) change(v *viewer.Viewer) {
	s := o.s
	s.mu.Lock()
	m := o.member
	s.mu.Unlock()
	if o.over.Load() || m == nil {
		return
	}
	n := m.Change(v)
	s.mu.Lock()
	o.member = n
	gone := s.active[o.id] != o
	s.mu.Unlock()
	if gone {
		n.Leave()
	}
}

// Next tells one answer.
func (o *operation) Next(payload []byte) {
	if !o.over.Load() {
		o.s.write(textFrame(o.head, payload, brace)...)
	}
}

// Fail tells the errors that ended the operation.
func (o *operation) Fail(errors []byte) {
	if o.finish() {
		o.s.write(textFrame([]byte(`{"id":`), o.quoted(), []byte(`,"type":"error","payload":`), errors, brace)...)
	}
}

// Wait returns when there is room for more.
func (o *operation) Wait(ctx context.Context) error { return o.s.wait(ctx) }

func (o *operation) refuse(errs gqlerror.List) {
	b, err := json.Marshal(errs)
	if err != nil {
		b = []byte("[]")
	}
	o.Fail(b)
}
