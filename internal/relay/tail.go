package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"tributary/ent"
	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/store"
)

const (
	kept     = 1024             // newest events of a workspace in memory
	page     = 500              // events in one read
	headsMax = 500              // workspaces in one look at the heads
	tailPoll = time.Second      // the net beneath the bus
	tailIdle = 10 * time.Minute // a workspace that nobody asks for so long is dropped
)

// Tail is the end of every workspace's log that somebody on this node follows, read from the database once.
type Tail struct {
	log   *Log
	store *store.Store
	slog  *slog.Logger
	poll  time.Duration
	idle  time.Duration

	mu    sync.Mutex
	lines map[gid.ID]*line
}

// line is the end of one workspace's log.
type line struct {
	workspace gid.ID
	load      sync.Mutex // one reader of the table at a time

	mu           sync.Mutex
	loaded       bool
	events       []*ent.Event // contiguous, ending at head
	head, pruned int64
	more         chan struct{}
	used         time.Time
}

// NewTail makes a tail that follows nothing yet.
func NewTail(s *store.Store) *Tail {
	return &Tail{log: NewLog(s), store: s, slog: slog.Default(), poll: tailPoll, idle: tailIdle, lines: map[gid.ID]*line{}}
}

// Since returns up to limit events after the place, in order and without a gap, from memory or from the table; the head;
// and a channel that is closed when the head moves on (or the workspace was long quiet: ask again). The events may end
// before the head: ask again at once then.
//
// ErrPruned and ErrAhead say that the place is not in the log; other errors are the database's.
func (t *Tail) Since(ctx context.Context, workspace gid.ID, pos int64, limit int) (evs []*ent.Event, head int64, more <-chan struct{}, err error) {
	if limit <= 0 {
		limit = page
	}
	l := t.line(workspace)
	evs, head, more, known := l.since(pos, limit)
	if !known {
		// Not loaded yet, or ahead of what this node has heard of.
		if err := t.catchUp(ctx, l); err != nil {
			return nil, 0, nil, err
		}
		if evs, head, more, known = l.since(pos, limit); !known {
			return nil, head, nil, ErrAhead
		}
	}
	if evs != nil || pos == head {
		return evs, head, more, nil
	}
	evs, err = t.older(ctx, l, pos, limit)
	return evs, head, more, err
}

// since answers from memory. known is false where the place is beyond the head; evs is nil where memory does not reach
// back to it.
func (l *line) since(pos int64, limit int) (evs []*ent.Event, head int64, more <-chan struct{}, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded || pos > l.head {
		return nil, l.head, nil, false
	}
	first := l.head - int64(len(l.events)) // the place before the oldest in memory
	if pos < first || pos == l.head || pos < l.pruned {
		return nil, l.head, l.more, true
	}
	rest := l.events[pos-first:]
	// A copy: the line goes on growing its own.
	return append([]*ent.Event(nil), rest[:min(limit, len(rest))]...), l.head, l.more, true
}

// older reads what memory no longer has.
func (t *Tail) older(ctx context.Context, l *line, pos int64, limit int) ([]*ent.Event, error) {
	evs, err := t.log.Read(ctx, l.workspace, pos, limit)
	if err != nil {
		return nil, err
	}
	// Pruning marks first and deletes then: read in the other order, a gap cannot be missed.
	_, pruned, err := t.log.Head(ctx, l.workspace)
	if err != nil {
		return nil, err
	}
	if pos < pruned {
		return nil, ErrPruned
	}
	for i, e := range evs {
		if e.Seq != pos+int64(i)+1 {
			return nil, fmt.Errorf("the log of %s has a gap after %d", l.workspace, pos+int64(i))
		}
	}
	return evs, nil
}

func (t *Tail) line(workspace gid.ID) *line {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[workspace]
	if l == nil {
		l = &line{workspace: workspace, more: make(chan struct{})}
		t.lines[workspace] = l
	}
	// Under both locks, so that drop cannot forget a line that is about to be used.
	l.mu.Lock()
	l.used = time.Now()
	l.mu.Unlock()
	return l
}

// Run follows the log until the context ends. Without it Since answers, but nobody is woken.
func (t *Tail) Run(ctx context.Context) error {
	notes := t.store.Bus.Listen(bus.Log)
	defer notes.Close()
	poll := time.NewTicker(t.poll)
	defer poll.Stop()
	for {
		var all bool
		var heard map[bus.Key]int64
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
			all = true
			t.drop()
		case <-notes.C():
			heard, all = notes.Take()
		}
		if err := t.follow(ctx, heard, all); err != nil && ctx.Err() == nil {
			t.slog.Error("relay: follow the log", "err", err)
		}
	}
}

// follow reads what is new: of the workspaces heard of, or of all in use.
func (t *Tail) follow(ctx context.Context, heard map[bus.Key]int64, all bool) error {
	lines := t.current()
	var moved []*line
	if all {
		heads, err := t.heads(ctx, lines)
		if err != nil {
			return err
		}
		for w, l := range lines {
			if l.behind(heads[w][0], heads[w][1]) {
				moved = append(moved, l)
			}
		}
	} else {
		for k, seq := range heard {
			if l := lines[k.Workspace]; l != nil && l.behind(seq, 0) {
				moved = append(moved, l)
			}
		}
	}
	var errs []error
	for _, l := range moved {
		errs = append(errs, t.catchUp(ctx, l))
	}
	return errors.Join(errs...)
}

func (t *Tail) current() map[gid.ID]*line {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[gid.ID]*line, len(t.lines))
	for w, l := range t.lines {
		out[w] = l
	}
	return out
}

// behind reports whether the database is further than memory, and notes what was pruned.
func (l *line) behind(seq, pruned int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pruned = max(l.pruned, pruned)
	return l.loaded && seq > l.head
}

// heads reads head and pruned of all lines.
func (t *Tail) heads(ctx context.Context, lines map[gid.ID]*line) (map[gid.ID][2]int64, error) {
	out := make(map[gid.ID][2]int64, len(lines))
	var args []any
	flush := func() error {
		if len(args) == 0 {
			return nil
		}
		marks := make([]string, len(args))
		for i := range args {
			marks[i] = fmt.Sprintf("$%d", i+1)
		}
		rows, err := t.store.DB.QueryContext(ctx, t.store.SQL("SELECT workspace_id, seq, pruned FROM log_heads WHERE workspace_id IN ("+strings.Join(marks, ", ")+")"), args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			var w gid.ID
			var h [2]int64
			if err := rows.Scan(&w, &h[0], &h[1]); err != nil {
				return errors.Join(err, rows.Close())
			}
			out[w] = h
		}
		args = args[:0]
		return errors.Join(rows.Err(), rows.Close())
	}
	for w := range lines {
		if args = append(args, w); len(args) == headsMax {
			if err := flush(); err != nil {
				return nil, fmt.Errorf("read the heads: %w", err)
			}
		}
	}
	if err := flush(); err != nil {
		return nil, fmt.Errorf("read the heads: %w", err)
	}
	return out, nil
}

// catchUp reads from the table what the line does not have yet, and wakes those who wait.
func (t *Tail) catchUp(ctx context.Context, l *line) error {
	l.load.Lock()
	defer l.load.Unlock()
	head, pruned, err := t.log.Head(ctx, l.workspace)
	if err != nil {
		return err
	}
	l.mu.Lock()
	from := l.head
	l.mu.Unlock()
	// More than memory holds is not worth reading; neither is what is gone.
	from = max(from, head-kept, pruned)
	var fresh []*ent.Event
	for at := from; at < head; {
		evs, err := t.log.Read(ctx, l.workspace, at, page)
		if err != nil {
			return err
		}
		if len(evs) == 0 {
			// Pruned meanwhile: the next look will know.
			break
		}
		fresh = append(fresh, evs...)
		at = evs[len(evs)-1].Seq
	}
	l.extend(head, pruned, fresh)
	return nil
}

// extend takes new events in. Memory stays contiguous up to its head whatever it is given.
func (l *line) extend(head, pruned int64, fresh []*ent.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(fresh); n > 0 {
		head = max(head, fresh[n-1].Seq)
		if fresh[n-1].Seq < head || fresh[0].Seq != fresh[n-1].Seq-int64(n)+1 {
			fresh = nil
		}
	}
	switch {
	case len(fresh) > 0 && fresh[0].Seq == l.head+1:
		l.events = append(l.events, fresh...)
	case head > l.head:
		l.events = fresh
	}
	if over := len(l.events) - kept; over > 0 {
		// A new array now and then, or the old one would keep every event alive.
		l.events = append(make([]*ent.Event, 0, 2*kept), l.events[over:]...)
	}
	moved := l.loaded && head > l.head
	l.head, l.pruned, l.loaded = max(l.head, head), max(l.pruned, pruned), true
	if moved {
		close(l.more)
		l.more = make(chan struct{})
	}
}

// drop forgets workspaces that nobody has asked for. Who still waits is woken and asks again.
func (t *Tail) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w, l := range t.lines {
		l.mu.Lock()
		idle := time.Since(l.used) > t.idle
		if idle {
			close(l.more)
			l.more = make(chan struct{})
		}
		l.mu.Unlock()
		if idle {
			delete(t.lines, w)
		}
	}
}
