package desk

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"tributary/channels"
	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/store"
)

// Share tells how many of a total of streams are this node's part.
type Share func(ctx context.Context, total int) (int, error)

// Puller fetches on this node: its fair share of all streams, each in goroutines of its own that end when the stream is
// lost, given back or the node stops.
type Puller struct {
	desk  *Desk
	holds *store.Holds
	share Share

	mu   sync.Mutex
	held map[gid.ID]*pulling
}

// pulling is a stream that this node fetches.
type pulling struct {
	store.Held
	stop context.CancelFunc
	done chan struct{}
	// wake is pulled when there may be something; force when settings may work now that did not, also in the pause after a
	// failure.
	wake, force chan struct{}

	mu      sync.Mutex
	unwatch context.CancelFunc // ends the watching connection, which has old settings
}

// ended reports whether the stream's goroutines have ended, by themselves or by a fault.
func (x *pulling) ended() bool {
	select {
	case <-x.done:
		return true
	default:
		return false
	}
}

// poke makes the stream look at once, unless it rests after a failure.
func (x *pulling) poke() { signal(x.wake) }

// renew makes the stream look at once, with new settings.
func (x *pulling) renew() {
	x.mu.Lock()
	if x.unwatch != nil {
		x.unwatch()
	}
	x.mu.Unlock()
	signal(x.force)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// NewPuller makes the part.
func (d *Desk) NewPuller(share Share) *Puller {
	return &Puller{desk: d, holds: d.Store.Holds(d.Node, PullLease), share: share, held: map[gid.ID]*pulling{}}
}

// Run fetches until ctx ends; then it gives all streams back, so that another node goes on at once.
func (p *Puller) Run(ctx context.Context) error {
	notes := p.desk.Store.Bus.Listen(bus.Pulls)
	defer notes.Close()
	defer p.leave(ctx)
	if err := p.holds.ReleaseAll(ctx); err != nil && ctx.Err() == nil {
		p.desk.Log.WarnContext(ctx, "give back an earlier run's streams", "error", err)
	}
	tick := time.NewTicker(PullLease / 5)
	defer tick.Stop()
	renewed := time.Now()
	for {
		if err := p.round(ctx, &renewed); err != nil && ctx.Err() == nil {
			p.desk.Log.WarnContext(ctx, "hold streams", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-notes.C():
			p.changed(notes.Take())
		}
	}
}

// round renews what is held, ends what was lost, and brings the number to this node's share.
func (p *Puller) round(ctx context.Context, renewed *time.Time) error {
	total, counted := p.desk.activePulls(ctx)
	if counted == nil && total+p.count() == 0 {
		return nil
	}
	began := time.Now()
	ours, err := p.holds.Renew(ctx)
	if err != nil {
		// Nobody answers: another may have them once the lease is over, so we stop before.
		if time.Since(*renewed) > PullLease*4/5 {
			p.keep(nil)
		}
		return err
	}
	*renewed = began
	for _, h := range p.keep(ours) {
		p.begin(ctx, h)
	}
	if counted != nil {
		return counted
	}
	share, err := p.share(ctx, total)
	if err != nil {
		return err
	}
	switch have := len(ours); {
	case have < share:
		more, err := p.holds.Take(ctx, share-have)
		if err != nil {
			return err
		}
		for _, h := range more {
			p.begin(ctx, h)
		}
	case have > share:
		return p.give(ctx, have-share)
	}
	return nil
}

func (p *Puller) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

// changed wakes the streams of workspaces whose channels were changed: settings may work now that did not.
func (p *Puller) changed(notes map[bus.Key]int64, missed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.held {
		if _, heard := notes[bus.Key{Topic: bus.Pulls, Workspace: x.Workspace}]; heard || missed {
			x.renew()
		}
	}
}

// keep ends every stream that is not among ours, and tells which of ours do not run: they were ended while the database
// did not answer, or by a fault.
func (p *Puller) keep(ours []store.Held) (idle []store.Held) {
	still := map[gid.ID]int64{}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range ours {
		still[h.ID] = h.Epoch
		if x := p.held[h.ID]; x == nil || x.Epoch != h.Epoch || x.ended() {
			idle = append(idle, h)
		}
	}
	for id, x := range p.held {
		if still[id] != x.Epoch {
			x.stop()
			delete(p.held, id)
		}
	}
	return idle
}

func (p *Puller) begin(ctx context.Context, h store.Held) {
	ctx, stop := context.WithCancel(ctx)
	x := &pulling{Held: h, stop: stop, done: make(chan struct{}), wake: make(chan struct{}, 1), force: make(chan struct{}, 1)}
	p.mu.Lock()
	p.held[h.ID] = x
	p.mu.Unlock()
	go func() {
		defer close(x.done)
		defer stop()
		p.fetch(ctx, x)
	}()
}

// give hands n streams to whoever has fewer.
func (p *Puller) give(ctx context.Context, n int) error {
	p.mu.Lock()
	var out []*pulling
	for id, x := range p.held {
		if len(out) == n {
			break
		}
		out = append(out, x)
		delete(p.held, id)
	}
	p.mu.Unlock()
	return p.end(ctx, out)
}

// endFor is how long a stream may take to end before it is given back all the same: what it still stores is fenced.
const endFor = PullLease / 3

// end stops streams, waits a while for what is being stored, and gives them back.
func (p *Puller) end(ctx context.Context, all []*pulling) error {
	given := make([]store.Held, len(all))
	for n, x := range all {
		x.stop()
		given[n] = x.Held
	}
	late := time.NewTimer(endFor)
	defer late.Stop()
	for _, x := range all {
		select {
		case <-x.done:
		case <-late.C:
			return p.holds.Release(ctx, given...)
		}
	}
	return p.holds.Release(ctx, given...)
}

// leave gives everything back at the stop.
func (p *Puller) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), PullLease)
	defer cancel()
	p.mu.Lock()
	var all []*pulling
	for _, x := range p.held {
		all = append(all, x)
	}
	clear(p.held)
	p.mu.Unlock()
	if err := p.end(ctx, all); err != nil {
		p.desk.Log.WarnContext(ctx, "give streams back", "error", err)
	}
}

// fetch reads one stream for as long as it is ours: at once, when it is woken, and after a pause in any case. After the
// first good look a connection is watched.
func (p *Puller) fetch(ctx context.Context, x *pulling) {
	defer p.fault(ctx, x)
	var watching sync.WaitGroup
	defer watching.Wait()
	ctx, stop := context.WithCancel(ctx) // ends the watching, too, when this ends by a fault
	defer stop()
	watch := sync.OnceFunc(func() {
		watching.Go(func() {
			defer p.fault(ctx, x)
			defer stop()
			p.watch(ctx, x)
		})
	})
	pause := pullFirst
	for ctx.Err() == nil {
		wait, wake := pullPoll, x.wake
		switch err := p.desk.PullNow(ctx, x.Held); {
		case err == nil:
			pause = pullFirst
			watch()
		case ctx.Err() != nil || errors.Is(err, errNotOurs):
			return
		default:
			wait, wake = max(pause, channels.RetryAfterOf(err)), nil
			pause = min(2*pause, pullLast)
			p.failed(ctx, x, err)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-wake:
		case <-x.force:
			pause = pullFirst
		}
		t.Stop()
	}
}

// fault keeps a panic in a kind from ending the program; the stream is begun anew at the next look.
func (p *Puller) fault(ctx context.Context, x *pulling) {
	if r := recover(); r != nil {
		p.desk.Log.ErrorContext(ctx, "a kind of channel failed", "channel", x.Channel, "panic", r, "stack", string(debug.Stack()))
		ctx = context.WithoutCancel(ctx)
		p.failed(ctx, x, fmt.Errorf("panic: %v", r))
		p.watches(ctx, x, false)
	}
}

func (p *Puller) failed(ctx context.Context, x *pulling, err error) {
	p.desk.Log.WarnContext(ctx, "fetch from a channel", "channel", x.Channel, "error", err)
	if err := p.desk.pullFailed(ctx, x.Held, err); err != nil && ctx.Err() == nil {
		p.desk.Log.WarnContext(ctx, "note a failure to fetch", "channel", x.Channel, "error", err)
	}
}

// watch holds the connection that wakes, and makes it again when it breaks or has old settings. Where a kind cannot watch,
// the stream is looked at more often.
func (p *Puller) watch(ctx context.Context, x *pulling) {
	pause := pullFirst
	for ctx.Err() == nil {
		began := time.Now()
		can, err := p.watchOnce(ctx, x)
		if ctx.Err() != nil || errors.Is(err, errNotOurs) {
			return
		}
		wait := pause
		switch {
		case !can:
			wait = pullBlind
		case errors.Is(err, context.Canceled): // new settings
			wait, pause = 0, pullFirst
		case time.Since(began) > time.Minute:
			pause = pullFirst
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
		pause = min(2*pause, pullLast)
		x.poke() // what came while nobody watched
	}
}

// watchOnce watches until the connection breaks.
func (p *Puller) watchOnce(ctx context.Context, x *pulling) (can bool, err error) {
	wctx, unwatch := context.WithCancel(ctx)
	defer unwatch()
	x.mu.Lock()
	x.unwatch = unwatch
	x.mu.Unlock()
	connected := sync.OnceFunc(func() { p.watches(ctx, x, true) })
	can, err = p.desk.watch(wctx, x.Held, func() { connected(); x.poke() })
	if can && ctx.Err() == nil {
		p.watches(ctx, x, false)
	}
	if wctx.Err() != nil {
		return can, context.Canceled
	}
	if can && err != nil {
		p.desk.Log.InfoContext(ctx, "watch a channel", "channel", x.Channel, "error", err)
	}
	return can, err
}

func (p *Puller) watches(ctx context.Context, x *pulling, on bool) {
	if err := p.desk.setWatching(ctx, x.Held, on); err != nil && ctx.Err() == nil {
		p.desk.Log.WarnContext(ctx, "note watching", "channel", x.Channel, "error", err)
	}
}
