// Package live serves the event log as streams: the subscriptions `events` and `visitorEvents`, and their pull twins.
//
// A transport hands each subscription to Join. Subscriptions of one document, the same variables (but for the cursor)
// and one viewer class form a group: the document is executed once for an event and encoded once, and each member gets
// a reference to the same bytes if Sees says that its viewer may see the event. A member that is behind what the group
// remembers runs an execution of its own until it has caught up, and then enters the group. Visitors are always alone.
//
// Neighbours: the log is a port (Log), read by position and never by a query for a viewer; the executor is the one the
// transport was given, so its limits and directives hold here, too; what to write where is the Sink's business.
//
// Invariants: within a stream an event comes once and in the log's order, and none is lost between two stages of a
// stream (ring, own execution, group). A Sink is never waited for while others are served. Pull, Frames and groups ask
// one predicate, Sees. Everything in a stream is executed under viewer.Live, so personal values stay masked. A group
// that stands in the registry has a member: joining and the last leaving are decided under one lock, so nobody enters a
// group that is about to end.
//
// Goroutines: one for each group, one for each member that is not in a group, one for each call of Frames or
// VisitorFrames outside Join. They end with their context, their last member, or Close, which waits for them.
package live

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"tributary/desk"
	"tributary/ent"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// Log is the numbered log of a workspace. Since gives the events after a position, at most limit of them, together with
// the log's head and a channel that is closed when the head has moved on from there. With an error that Config.Expired
// or Config.Unknown knows, head and more are valid, too.
type Log interface {
	Since(ctx context.Context, workspace gid.ID, pos int64, limit int) (evs []*ent.Event, head int64, more <-chan struct{}, err error)
}

// Config is what a Live needs. Log, Expired and Unknown must be set.
type Config struct {
	Log Log
	// Expired tells that a position is older than the log's memory, Unknown that it is ahead of its head.
	Expired, Unknown func(err error) bool
	// Head gives the log's head. If nil, the log is asked for what follows the largest position.
	Head func(ctx context.Context, workspace gid.ID) (int64, error)
	// Oldest gives the position before the oldest event that is kept; if nil, 0.
	Oldest func(ctx context.Context, workspace gid.ID) (int64, error)

	// Visitor makes of the log's events what the context's visitor sees of them; what he may not see is left out.
	Visitor func(ctx context.Context, evs []*ent.Event) ([]*desk.VisitorEvent, error)
	// VisitorSees says in memory whether an event may concern a visitor at all, so that Visitor is not asked for each
	// event of the workspace. If nil: events of his identity, and those of him as a customer that name no identity.
	VisitorSees func(v *viewer.Viewer, e *ent.Event) bool
	// Ack is told the place that a visitor presents: everything before it has reached him.
	Ack func(ctx context.Context, seq int64)

	Logger    *slog.Logger
	Heartbeat time.Duration // an empty frame moves the cursor; 25 s if zero
	Batch     int           // events in a frame while catching up; 100 if zero
	Ring      int           // events a group remembers for those who come back; 256 if zero
	Deadline  time.Duration // of one encoding; 10 s if zero
}

// Live is the streams of this node.
type Live struct {
	cfg Config

	// Runs counts executions of a document for a frame.
	Runs atomic.Int64

	mu     sync.Mutex // taken before a group's
	groups map[string]*group
	tasks  map[*task]struct{}
	closed bool
	wg     sync.WaitGroup
}

// task is a goroutine that Close can end.
type task struct{ cancel context.CancelFunc }

// errClosed ends what is asked of a Live that was closed.
var errClosed = errors.New("live streams are closed")

// New makes a Live. Close ends it.
func New(cfg Config) *Live {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 25 * time.Second
	}
	if cfg.Batch == 0 {
		cfg.Batch = 100
	}
	if cfg.Ring == 0 {
		cfg.Ring = 256
	}
	if cfg.Deadline == 0 {
		cfg.Deadline = 10 * time.Second
	}
	if cfg.VisitorSees == nil {
		cfg.VisitorSees = visitorSees
	}
	return &Live{cfg: cfg, groups: map[string]*group{}, tasks: map[*task]struct{}{}}
}

// Close ends all streams and waits for their goroutines, at most until ctx ends. Sinks are not told: close what holds
// them first.
func (l *Live) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	for t := range l.tasks {
		t.cancel()
	}
	l.mu.Unlock()
	done := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start runs f in a goroutine that Close ends and waits for; false if it is too late for that.
func (l *Live) start(ctx context.Context, f func(ctx context.Context)) (context.CancelFunc, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.startLocked(ctx, f)
}

func (l *Live) startLocked(ctx context.Context, f func(ctx context.Context)) (context.CancelFunc, bool) {
	if l.closed {
		return func() {}, false
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &task{cancel}
	l.tasks[t] = struct{}{}
	l.wg.Go(func() {
		defer func() {
			cancel()
			l.mu.Lock()
			delete(l.tasks, t)
			l.mu.Unlock()
		}()
		f(ctx)
	})
	return cancel, true
}

// Cursor is the head of the viewer's log: ask it before a snapshot, then subscribe after it.
func (l *Live) Cursor(ctx context.Context) (*page.EventCursor, error) {
	v := viewer.From(ctx)
	if v == nil {
		return nil, viewer.ErrNone
	}
	n, err := l.head(ctx, v.Workspace)
	return &page.EventCursor{Workspace: v.Workspace, Seq: n}, err
}

func (l *Live) head(ctx context.Context, workspace gid.ID) (int64, error) {
	if l.cfg.Head != nil {
		return l.cfg.Head(ctx, workspace)
	}
	_, n, _, err := l.cfg.Log.Since(ctx, workspace, math.MaxInt64, 1)
	if err != nil && l.cfg.Unknown(err) {
		err = nil
	}
	return n, err
}
