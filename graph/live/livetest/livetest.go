// Package livetest is what tests of streams need: a log in memory and the real schema over resolvers that only know
// streams. It is linked into no program.
package livetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tributary/desk"
	"tributary/ent"
	"tributary/graph/exec"
	"tributary/graph/live"
	"tributary/graph/model"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// The log's refusals.
var (
	ErrPruned = errors.New("pruned")
	ErrAhead  = errors.New("ahead")
)

// Log is a numbered log in memory, of one workspace.
type Log struct {
	Workspace gid.ID

	mu     sync.Mutex
	evs    []*ent.Event
	pruned int64
	more   chan struct{}
	broken error
}

// NewLog makes an empty log. Cursors are signed: the test's main gives internal/crypt its keys.
func NewLog() *Log {
	return &Log{Workspace: gid.Make(gid.Workspace), more: make(chan struct{})}
}

// Config is a Live's over this log.
func (l *Log) Config() live.Config {
	return live.Config{
		Log:     l,
		Expired: func(err error) bool { return errors.Is(err, ErrPruned) },
		Unknown: func(err error) bool { return errors.Is(err, ErrAhead) },
		Oldest:  func(context.Context, gid.ID) (int64, error) { return l.Pruned(), nil },
		Visitor: func(_ context.Context, evs []*ent.Event) ([]*desk.VisitorEvent, error) {
			var out []*desk.VisitorEvent
			for _, e := range evs {
				out = append(out, &desk.VisitorEvent{Event: e, Type: desk.VisitorMessageCreated})
			}
			return out, nil
		},
	}
}

// Add numbers events and wakes who waits.
func (l *Log) Add(evs ...*ent.Event) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range evs {
		e.WorkspaceID, e.Seq, e.At = l.Workspace, int64(len(l.evs)+1), time.Now()
		if e.Type == "" {
			e.Type = string(desk.MessageCreated)
		}
		if e.SubjectID.IsZero() {
			e.SubjectID = gid.Make(gid.Message)
		}
		l.evs = append(l.evs, e)
	}
	close(l.more)
	l.more = make(chan struct{})
	return int64(len(l.evs))
}

// Prune forgets everything up to a place.
func (l *Log) Prune(pos int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pruned = pos
}

// Pruned is the place before the oldest event.
func (l *Log) Pruned() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pruned
}

// Break makes the log fail until it is mended with nil.
func (l *Log) Break(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
}

// Since is the port of live.
func (l *Log) Since(_ context.Context, workspace gid.ID, pos int64, limit int) ([]*ent.Event, int64, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := int64(len(l.evs))
	switch {
	case l.broken != nil:
		return nil, 0, nil, l.broken
	case workspace != l.Workspace:
		return nil, 0, make(chan struct{}), nil
	case pos < l.pruned:
		return nil, head, l.more, ErrPruned
	case pos > head:
		return nil, head, l.more, ErrAhead
	}
	evs := l.evs[pos:]
	return append([]*ent.Event(nil), evs[:min(limit, len(evs))]...), head, l.more, nil
}

// Cursor is a place in this log.
func (l *Log) Cursor(pos int64) *page.EventCursor {
	return &page.EventCursor{Workspace: l.Workspace, Seq: pos}
}

// Agent is a viewer who sees everything.
func (l *Log) Agent(scopes ...viewer.Scope) *viewer.Viewer {
	return &viewer.Viewer{
		Kind: viewer.KindAgent, Workspace: l.Workspace, Actor: gid.Make(gid.Agent), Token: gid.Make(gid.Session),
		Reach: viewer.ReachAll, Scopes: append([]viewer.Scope{viewer.Self}, scopes...),
	}
}

// Visitor is a viewer who sees his own chat.
func (l *Log) Visitor() *viewer.Viewer {
	return &viewer.Viewer{
		Kind: viewer.KindCustomer, Workspace: l.Workspace, Actor: gid.Make(gid.Customer), Token: gid.Make(gid.VisitorSession),
		Identity: gid.Make(gid.Identity), Reach: viewer.ReachOwn, Scopes: []viewer.Scope{viewer.Visitor},
	}
}

// Root resolves streams, and what tests plant.
type Root struct {
	exec.ResolverRoot
	Live *live.Live
	// Node answers `node(id:)` and the subject of events.
	Node func(ctx context.Context, id gid.ID) (ent.Noder, error)
	// Login answers `sessionCreate`.
	Login func(ctx context.Context) error
	// Ask answers `viewer`.
	Ask func(ctx context.Context) (*model.Viewer, error)
}

type (
	query struct {
		exec.QueryResolver
		r *Root
	}
	mutation struct {
		exec.MutationResolver
		r *Root
	}
	subscription struct{ r *Root }
	event        struct{ r *Root }
	visitorEvent struct{}
)

// Query is the questions.
func (r *Root) Query() exec.QueryResolver { return query{r: r} }

// Mutation is the actions.
func (r *Root) Mutation() exec.MutationResolver { return mutation{r: r} }

// Subscription is the streams.
func (r *Root) Subscription() exec.SubscriptionResolver { return subscription{r} }

// Event is the fields of an event.
func (r *Root) Event() exec.EventResolver { return event{r} }

// VisitorEvent is the fields of a visitor's event.
func (r *Root) VisitorEvent() exec.VisitorEventResolver { return visitorEvent{} }

func (q query) Node(ctx context.Context, id gid.ID) (ent.Noder, error) {
	if q.r.Node == nil {
		return nil, nil
	}
	return q.r.Node(ctx, id)
}

func (q query) Viewer(ctx context.Context) (*model.Viewer, error) {
	if q.r.Ask != nil {
		return q.r.Ask(ctx)
	}
	v := viewer.From(ctx)
	return &model.Viewer{Kind: v.Kind, Scopes: v.Scopes}, nil
}

func (q query) EventCursor(ctx context.Context) (*page.EventCursor, error) {
	return q.r.Live.Cursor(ctx)
}

func (q query) Events(ctx context.Context, after *page.EventCursor, first *int, filter *desk.EventFilter) (*model.EventFrame, error) {
	return q.r.Live.Pull(ctx, after, first, filter)
}

func (q query) VisitorEventsAfter(ctx context.Context, after *page.EventCursor, first *int) (*model.VisitorFrame, error) {
	return q.r.Live.VisitorPull(ctx, after, first)
}

func (m mutation) SessionCreate(ctx context.Context, _ desk.SessionInput) (*model.SessionCreatePayload, error) {
	if m.r.Login != nil {
		if err := m.r.Login(ctx); err != nil {
			return nil, err
		}
	}
	return &model.SessionCreatePayload{UserErrors: []*desk.Refusal{}}, nil
}

func (s subscription) Events(ctx context.Context, after *page.EventCursor, filter *desk.EventFilter) (<-chan *model.EventFrame, error) {
	return s.r.Live.Frames(ctx, after, filter)
}

func (s subscription) VisitorEvents(ctx context.Context, after *page.EventCursor) (<-chan *model.VisitorFrame, error) {
	return s.r.Live.VisitorFrames(ctx, after)
}

func (event) ID(_ context.Context, e *ent.Event) (gid.ID, error) { return e.SubjectID, nil }

func (event) Cursor(_ context.Context, e *ent.Event) (*page.EventCursor, error) {
	return &page.EventCursor{Workspace: e.WorkspaceID, Seq: e.Seq}, nil
}

func (r event) Subject(ctx context.Context, e *ent.Event) (ent.Noder, error) {
	if r.r.Node == nil {
		return nil, nil
	}
	return r.r.Node(ctx, e.SubjectID)
}

func (visitorEvent) ID(_ context.Context, e *desk.VisitorEvent) (gid.ID, error) {
	return e.Event.SubjectID, nil
}

func (visitorEvent) Cursor(_ context.Context, e *desk.VisitorEvent) (*page.EventCursor, error) {
	return &page.EventCursor{Workspace: e.Event.WorkspaceID, Seq: e.Event.Seq}, nil
}

func (visitorEvent) At(_ context.Context, e *desk.VisitorEvent) (*time.Time, error) {
	return &e.Event.At, nil
}

// Text is an event whose `changed` tells it apart.
func Text(n int, audience ...gid.ID) *ent.Event {
	return &ent.Event{Changed: []string{fmt.Sprint("n", n)}, Audience: audience, ConversationID: new(gid.Make(gid.Conversation))}
}
