package live

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"

	"tributary/desk"
	"tributary/ent"
	"tributary/graph/model"
	"tributary/internal/viewer"
)

// Sink takes what a stream tells. Next and Fail neither block nor call the Member; Wait is asked before what can wait.
type Sink interface {
	// Next takes one encoded GraphQL response. The bytes are shared with other sinks.
	Next(payload []byte)
	// Fail takes the JSON list of errors that ended the stream.
	Fail(errors []byte)
	// Wait returns when there is room for more, or ctx has ended.
	Wait(ctx context.Context) error
}

// Member is one subscription of one client.
type Member struct {
	l    *Live
	v    *viewer.Viewer
	exec graphql.GraphExecutor
	oc   *graphql.OperationContext
	sink Sink
	base context.Context //nolint:containedctx // the subscription's values; its life is Leave
	g    *group          // nil: alone

	gone   atomic.Bool
	cancel context.CancelFunc // of the own execution
	done   chan struct{}      // closed when it has ended; nil without one

	// place belongs to the own execution while there is one, else to the group's goroutine under the group's lock.
	place place
	sent  int64 // what has reached the sink
}

// Join starts a stream for the viewer of ctx and tells it to sink until Leave. oc is the checked operation; ctx gives
// values alone, its end means nothing.
func (l *Live) Join(ctx context.Context, exec graphql.GraphExecutor, oc *graphql.OperationContext, sink Sink) *Member {
	m := &Member{l: l, v: viewer.From(ctx), exec: exec, oc: oc, sink: sink, base: context.WithoutCancel(ctx)}
	s := shapeOf(oc)
	m.place = place{pos: -1}
	if m.v != nil {
		m.place.workspace = m.v.Workspace
	}
	if s.after != nil {
		m.place.pos = s.after.Seq
		if m.v == nil || s.after.Workspace != m.v.Workspace {
			m.place.pos, m.place.reason = -1, new(model.ResetReasonCursorUnknown)
		}
	}
	m.sent = m.place.pos
	m.enter(s)
	return m
}

// enter gives the member to its group, or to an execution of its own.
func (m *Member) enter(s shape) {
	if !s.shared || m.v == nil || m.v.Kind == viewer.KindCustomer || !m.v.Has(viewer.Self) {
		m.alone()
		return
	}
	l, key := m.l, m.key(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.groups[key]
	if g == nil {
		g = &group{
			l: l, key: key, v: m.v, all: map[*Member]struct{}{}, members: map[*Member]struct{}{},
			wake: make(chan struct{}, 1),
		}
		oc, exec := clone(m.oc), m.exec
		var ok bool
		g.stop, ok = l.startLocked(viewer.With(m.base, m.v), func(ctx context.Context) { g.run(ctx, exec, oc) })
		if !ok {
			return
		}
		l.groups[key] = g
	}
	m.g = g
	g.mu.Lock()
	g.all[m] = struct{}{}
	g.waiting = append(g.waiting, m)
	g.mu.Unlock()
	g.nudge()
}

// key names the group: what can change an answer's bytes. A field that differs from viewer to viewer may differ from
// login to login, too.
func (m *Member) key(s shape) string {
	vars := make(map[string]any, len(m.oc.Variables))
	for k, v := range m.oc.Variables {
		if k != s.cursor {
			vars[k] = v
		}
	}
	b, err := json.Marshal(vars) // keys are sorted
	if err != nil {
		b = []byte(err.Error())
	}
	parts := []string{m.oc.RawQuery, m.oc.OperationName, string(b), m.v.Class()}
	if s.perViewer {
		parts = append(parts, m.v.Actor.String(), m.v.Token.String())
	}
	return strings.Join(parts, "\x00")
}

// Leave ends the stream. What is being told at this moment may still reach the sink.
func (m *Member) Leave() {
	l := m.l
	l.mu.Lock()
	defer l.mu.Unlock()
	m.gone.Store(true)
	if m.cancel != nil {
		m.cancel()
	}
	if m.g != nil {
		m.g.remove(m)
	}
}

// Change goes on as another viewer, whose rights differ: the old stream ends, the new one begins where it stood with a
// frame that says RIGHTS_CHANGED. It returns the member that takes this one's place.
func (m *Member) Change(v *viewer.Viewer) *Member {
	m.Leave()
	m.l.mu.Lock()
	done := m.done
	m.l.mu.Unlock()
	if done != nil {
		<-done
	}
	n := &Member{l: m.l, v: v, exec: m.exec, oc: m.oc, sink: m.sink, base: viewer.With(m.base, v)}
	n.place = place{workspace: v.Workspace, pos: m.sent, reason: new(model.ResetReasonRightsChanged)}
	n.sent = m.sent
	n.enter(shapeOf(m.oc))
	return n
}

// alone starts the own execution: for good, or until the group can take the member.
func (m *Member) alone() {
	m.l.mu.Lock()
	defer m.l.mu.Unlock()
	if m.gone.Load() {
		return
	}
	ctx := m.base
	if m.v != nil {
		ctx = viewer.With(ctx, m.v)
	}
	done := make(chan struct{})
	cancel, ok := m.l.startLocked(ctx, func(ctx context.Context) {
		defer close(done)
		m.run(ctx)
	})
	if ok {
		m.cancel, m.done = cancel, done
	}
}

// run is the own execution.
func (m *Member) run(ctx context.Context) {
	enc, f, fatal := m.l.open(ctx, m.exec, clone(m.oc))
	if fatal != nil {
		m.fail(ctx, fatal)
		return
	}
	for m.place.pos < 0 {
		pos, err := m.l.head(ctx, m.place.workspace)
		if err == nil {
			m.place.pos = pos
		} else if !pause(ctx, nil, retry) {
			return
		}
	}
	// So that a frame tells when the log's end is reached, and with it the way into the group is open.
	m.place.told = m.place.told && m.g == nil
	ctx = viewer.Live(ctx)
	var err error
	if s := shapeOf(m.oc); s.visitor {
		err = follow(ctx, m.l, &m.place, m.l.visits(m.v), func(fr frame[*desk.VisitorEvent]) error {
			return m.tell(ctx, enc, visitorFrame(fr), fr.cursor.Seq, false)
		})
	} else {
		err = follow(ctx, m.l, &m.place, picks(m.v, f.filter), func(fr frame[*ent.Event]) error {
			return m.tell(ctx, enc, eventFrame(fr), fr.cursor.Seq, fr.caughtUp && m.g != nil)
		})
	}
	if errors.Is(err, errCaughtUp) {
		m.place.told = true
		m.g.back(m)
	}
}

// errRefused ends a stream whose sink has heard why.
var errRefused = errors.New("refused")

func (m *Member) tell(ctx context.Context, enc encoder, fr any, pos int64, last bool) error {
	if err := m.sink.Wait(ctx); err != nil {
		return err
	}
	payload, fatal := enc(nil, fr)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if fatal != nil {
		m.fail(ctx, fatal)
		return errRefused
	}
	m.sink.Next(payload)
	m.sent = pos
	if last {
		return errCaughtUp
	}
	return nil
}

func (m *Member) fail(ctx context.Context, fatal []byte) {
	if ctx.Err() != nil || !m.gone.CompareAndSwap(false, true) {
		return
	}
	m.Leave()
	m.sink.Fail(fatal)
}
