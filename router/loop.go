package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// LoopConfig joins a Loop with the world. All but Batch and Log are required.
type LoopConfig struct {
	Floor Floor
	Core  *Core
	Clock Clock
	Lease Lease
	// Batch is the largest number of decisions in one commit; zero means 64.
	Batch int
	// Log takes one line for each failure the loop recovers from; nil drops them.
	Log *slog.Logger
}

const (
	defaultBatch = 64
	// Errors of the floor or the lease wait this long, doubling.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	// An answer of Changes without any change waits a little as well, so a broken floor cannot make us spin.
	firstIdle = time.Millisecond
	lastIdle  = 100 * time.Millisecond
)

var (
	errNoPort  = errors.New("router: a loop needs a floor, a core, a clock and a lease")
	errLost    = errors.New("lease lost")
	errResync  = errors.New("changes cannot be followed")
	errOverdue = errors.New("floor owes changes")
	errTimer   = errors.New("timer")
)

// Loop leads a Core: it holds the lease, follows the floor, decides and commits.
type Loop struct {
	floor Floor
	core  *Core
	clock Clock
	lease Lease
	batch int
	log   *slog.Logger
	pause pause
}

// NewLoop makes a loop. The core belongs to it from now on.
func NewLoop(cfg LoopConfig) (*Loop, error) {
	if cfg.Floor == nil || cfg.Core == nil || cfg.Clock == nil || cfg.Lease == nil {
		return nil, errNoPort
	}
	l := &Loop{
		floor: cfg.Floor, core: cfg.Core, clock: cfg.Clock, lease: cfg.Lease, batch: cfg.Batch, log: cfg.Log,
		pause: pause{first: firstPause, last: lastPause},
	}
	if l.batch <= 0 {
		l.batch = defaultBatch
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l, nil
}

// Run leads again and again until ctx ends, and returns nil then. It returns no other way.
func (l *Loop) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		start := l.clock.Now()
		err := l.lead(ctx)
		// Whoever leads now changes the floor; what we know is worth nothing.
		l.core.Load(Snapshot{})
		if ctx.Err() != nil {
			break
		}
		l.log.Warn("router leads no longer", "error", err)
		l.rest(ctx, start)
	}
	return nil //nolint:nilerr // the end of ctx is the one way to end, and no failure
}

// lead is one leadership: from getting the lease until losing it.
func (l *Loop) lead(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	epoch, lost, err := l.lease.Hold(ctx)
	if err != nil {
		return fmt.Errorf("hold lease: %w", err)
	}
	watch.Go(func() {
		select {
		case <-lost:
			cancel(errLost)
		case <-ctx.Done():
		}
	})
	for {
		start := l.clock.Now()
		err := l.follow(ctx, epoch)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, errLost) {
			return err
		}
		l.log.Warn("router starts again from a snapshot", "error", err)
		l.rest(ctx, start)
	}
}

// follow takes a snapshot and works on changes until it cannot trust what it knows. It always returns an error.
func (l *Loop) follow(ctx context.Context, epoch int64) error {
	snap, err := l.floor.Snapshot(ctx)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	l.core.Load(snap)
	at, idle := snap.Position, pause{first: firstIdle, last: lastIdle}
	for {
		if err := l.place(ctx, epoch); err != nil {
			return err
		}
		if l.core.Overdue(l.clock.Now()) {
			return errOverdue
		}
		ch, err := l.await(ctx, at)
		switch {
		case errors.Is(err, errTimer):
			continue
		case err != nil:
			return fmt.Errorf("follow changes: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case ch.Resync:
			return errResync
		}
		at = ch.Position
		if ch.empty() {
			l.sleep(ctx, idle.next())
			continue
		}
		// Only a change that came proves that the floor works: a snapshot can succeed forever beside it.
		idle.reset()
		l.pause.reset()
		l.core.Apply(ch)
	}
}

// place decides and commits until nothing more can be placed.
func (l *Loop) place(ctx context.Context, epoch int64) error {
	for ctx.Err() == nil {
		start := l.clock.Now()
		ds := l.core.Decide(start, l.batch)
		if len(ds) == 0 {
			return nil
		}
		took := l.clock.Now().Sub(start) / time.Duration(len(ds))
		for i := range ds {
			ds[i].Epoch, ds[i].Took = epoch, took
		}
		if err := l.commit(ctx, ds); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (l *Loop) commit(ctx context.Context, ds []Decision) error {
	outs, err := l.floor.Commit(ctx, ds)
	if err != nil {
		return fmt.Errorf("commit %d decisions: %w", len(ds), err)
	}
	if len(outs) != len(ds) {
		return fmt.Errorf("commit %d decisions: %d outcomes", len(ds), len(outs))
	}
	for i, o := range outs {
		switch {
		case o.Item != ds[i].Item:
			return fmt.Errorf("commit %d decisions: outcome %d is of another item", len(ds), i)
		case o.Result == Lost:
			return errLost
		case o.Result < Committed || o.Result > Lost:
			return fmt.Errorf("commit %d decisions: result %d is unknown", len(ds), o.Result)
		}
		l.core.Settle(o)
	}
	return nil
}

// await waits for changes, no longer than until the core wants to be looked at.
func (l *Loop) await(ctx context.Context, from Position) (Changes, error) {
	now := l.clock.Now()
	at, ok := l.core.NextTimer(now)
	if !ok {
		return l.floor.Changes(ctx, from)
	}
	timed, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := l.clock.AfterFunc(at.Sub(now), func() { cancel(errTimer) })
	defer stop()
	ch, err := l.floor.Changes(timed, from)
	// A floor may say "nothing" or an error when its context ends; here both mean that it is time to look.
	if ctx.Err() == nil && errors.Is(context.Cause(timed), errTimer) && (err != nil || ch.empty() && !ch.Resync) {
		return Changes{}, errTimer
	}
	return ch, err
}

// rest waits after a failure of what began at start. What went well for a while was no part of a series.
func (l *Loop) rest(ctx context.Context, start time.Time) {
	if l.clock.Now().Sub(start) > 2*lastPause {
		l.pause.reset()
	}
	l.sleep(ctx, l.pause.next())
}

// sleep waits by the clock, or until ctx ends.
func (l *Loop) sleep(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer l.clock.AfterFunc(d, cancel)()
	<-ctx.Done()
}

func (c *Changes) empty() bool {
	return len(c.Items)+len(c.Removed)+len(c.Agents)+len(c.Gone) == 0
}

// pause doubles from first to last; half of each is chance, so nodes do not come back in step.
type pause struct{ first, last, now time.Duration }

func (p *pause) next() time.Duration {
	p.now = min(max(2*p.now, p.first), p.last)
	return p.now/2 + rand.N(p.now/2+1)
}

func (p *pause) reset() { p.now = 0 }
