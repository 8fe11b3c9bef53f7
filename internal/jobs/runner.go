package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"tributary/ent"
	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/store"
)

// Handler does one attempt. Its context carries the system's viewer of the job's workspace and the attempt's deadline.
// nil ends the job (if Complete did not already); Permanent, RetryAfter and Snooze say otherwise what comes next than
// the usual back-off. A panic is a failed attempt.
type Handler func(ctx context.Context, c *Claim) error

// Options of a kind.
type Options struct {
	Concurrency int           // jobs at a time on this node; 4 when zero
	Timeout     time.Duration // of one attempt; a minute when zero
	MaxAttempts int           // cuts what the job itself allows; zero: cuts nothing
	BackoffBase time.Duration // pause after the first failure, doubled after each further one; a second when zero
	BackoffCap  time.Duration // the longest pause; ten minutes when zero
	// OnDead runs in the transaction that marks the job dead, so that what waits for the job learns of it. When it fails
	// the job is buried again later, and after a few times without it.
	OnDead func(ctx context.Context, tx *ent.Tx, c *Claim, err error) error
}

// Outcome is how an attempt ended, for metrics.
type Outcome string

// The outcomes.
const (
	Done     Outcome = "done"
	Retried  Outcome = "retried"
	Dead     Outcome = "dead"
	Snoozed  Outcome = "snoozed"
	Released Outcome = "released" // given back at the stop, no attempt
	Lost     Outcome = "lost"     // the lease ended first
)

// Config of a Runner; every field may be zero.
type Config struct {
	// Node is a name that no other living process has and that this one has again after a restart: what a crashed run of
	// the node held is taken up at once. Empty: leases have to end first.
	Node    string
	Lease   time.Duration    // how long a crashed node's jobs wait; 30 s when zero
	Poll    time.Duration    // the net beneath the bus; a second when zero
	Grace   time.Duration    // what running attempts get at the stop before they are cancelled; 10 s when zero
	Clock   func() time.Time // for tests; nil: PostgreSQL's own time, this machine's on SQLite
	Log     *slog.Logger
	Observe func(kind string, o Outcome, took time.Duration) // called once for each attempt
}

// Runner claims jobs and runs them. Register all kinds, then call Run once.
type Runner struct {
	store  *store.Store
	config Config
	clock  clock
	holder string
	log    *slog.Logger
	kinds  map[string]*kind
	names  []string
	kick   chan struct{}
	work   sync.WaitGroup

	mu   sync.Mutex
	held map[gid.ID]*Claim
}

// kind is a registered handler.
type kind struct {
	name    string
	handle  Handler
	options Options
	running atomic.Int64
	full    atomic.Bool // the last claim filled every place: there may be more
}

// NewRunner makes a Runner without kinds.
func NewRunner(s *store.Store, c Config) *Runner {
	c.Lease, c.Poll, c.Grace = or(c.Lease, 30*time.Second), or(c.Poll, time.Second), or(c.Grace, 10*time.Second)
	r := &Runner{
		store: s, config: c, clock: clock{s.Dialect, c.Clock}, holder: c.Node + "/" + uuid.NewString(), log: c.Log,
		kinds: map[string]*kind{}, kick: make(chan struct{}, 1), held: map[gid.ID]*Claim{},
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	return r
}

func or[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Register names the handler of a kind. Jobs of kinds that nobody registered wait in the table. It panics on a second
// handler of a kind: that is a mistake in wiring.
func (r *Runner) Register(name string, h Handler, o Options) {
	if _, taken := r.kinds[name]; taken {
		panic("jobs: a second handler of " + name)
	}
	o.Concurrency, o.Timeout = or(o.Concurrency, 4), or(o.Timeout, time.Minute)
	o.BackoffBase, o.BackoffCap = or(o.BackoffBase, time.Second), or(o.BackoffCap, 10*time.Minute)
	r.kinds[name] = &kind{name: name, handle: h, options: o}
	r.names = append(r.names, name)
	slices.Sort(r.names)
}

// Run claims and runs jobs until the context ends; then it claims no more, lets running attempts finish within the
// grace, cancels and gives back the rest, and returns nil. The database being away is not an error: Run goes on when
// it is back.
func (r *Runner) Run(ctx context.Context) error {
	notes := r.store.Bus.Listen(bus.Jobs)
	defer notes.Close()
	// Attempts and heartbeats outlive the context's end by the grace.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	kept := make(chan struct{})
	stopKeeping := make(chan struct{})
	go func() {
		defer close(kept)
		r.keep(base, stopKeeping)
	}()
	if err := r.recover(ctx); err != nil && ctx.Err() == nil {
		r.log.Warn("jobs: take up what a crashed run left", "err", err)
	}
	for ctx.Err() == nil {
		r.wait(ctx, notes, r.pass(ctx, base))
	}
	r.drain(cancel)
	close(stopKeeping)
	<-kept
	cancel(nil)
	return nil
}

// pass claims what is due and tells how long nothing more will be.
func (r *Runner) pass(ctx, base context.Context) time.Duration {
	for ctx.Err() == nil {
		more, err := r.claim(ctx, base)
		if err != nil {
			if ctx.Err() == nil {
				r.log.Error("jobs: claim", "err", err)
			}
			return r.config.Poll
		}
		if !more {
			break
		}
	}
	next, err := r.nextDue(ctx)
	if err != nil {
		return r.config.Poll
	}
	return min(next, r.config.Poll)
}

func (r *Runner) wait(ctx context.Context, notes *bus.Listener, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-r.kick:
	case <-notes.C():
		notes.Take()
	}
}

// drain waits for the running attempts, first with patience, then without.
func (r *Runner) drain(cancel context.CancelCauseFunc) {
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.work.Wait()
	}()
	t := time.NewTimer(r.config.Grace)
	defer t.Stop()
	select {
	case <-finished:
		return
	case <-t.C:
	}
	cancel(errStopping)
	// A handler that does not listen to its context is waited for no longer: its lease ends, and the fence keeps it from
	// doing harm.
	t.Reset(5 * time.Second)
	select {
	case <-finished:
	case <-t.C:
		r.log.Error("jobs: attempts do not end", "count", r.count())
	}
}

func (r *Runner) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.held)
}

func (r *Runner) poke() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// start gives a claim to its handler in a goroutine of its own.
func (r *Runner) start(base context.Context, k *kind, c *Claim) {
	ctx, cancel := context.WithCancelCause(base)
	c.cancel = cancel
	r.mu.Lock()
	if old := r.held[c.ID]; old != nil {
		// Our own earlier claim hangs and its lease has ended.
		old.lose()
	}
	r.held[c.ID] = c
	r.mu.Unlock()
	k.running.Add(1)
	r.work.Go(func() {
		defer cancel(nil)
		began := time.Now()
		o := r.attempt(ctx, k, c)
		r.mu.Lock()
		if r.held[c.ID] == c {
			delete(r.held, c.ID)
		}
		r.mu.Unlock()
		k.running.Add(-1)
		// Others may be free now, or this one has a new time to wait for.
		if c.Group != "" || k.full.Load() || o != Done {
			r.poke()
		}
		if r.config.Observe != nil {
			r.config.Observe(k.name, o, time.Since(began))
		}
	})
}

// String names the runner in logs.
func (r *Runner) String() string { return fmt.Sprintf("jobs of %s", r.holder) }
