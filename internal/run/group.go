// Package run is the one lifecycle of everything that runs, and its log.
//
// A part is a named func(ctx) error that works until its context ends. A
// Group starts all parts together; the first error, a signal or the end of
// the caller's context stops all of them; then each has a grace period to
// finish what it holds. main.go waits for the group and closes what the parts
// shared only after Run has returned.
//
// Neighbours: main.go builds the group; parts know nothing of it.
//
// Invariants: Run returns only after every part has returned or its grace has
// passed; a panic of a part becomes an error with its stack in the log and
// stops the others like any error, so that no half of a process stays alive
// alone. One goroutine per part, owned by Run.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// ErrSignal is the cause of the context's end when a signal asked for it.
var ErrSignal = errors.New("stopped by a signal")

// Group is a set of parts that live and end together. Fill it with Add, then
// call Run once.
type Group struct {
	log     *slog.Logger
	grace   time.Duration
	signals []os.Signal
	parts   []part
}

type part struct {
	name string
	run  func(context.Context) error
}

type outcome struct {
	name string
	err  error
}

// New makes an empty group. After the stop each part has grace to end.
func New(log *slog.Logger, grace time.Duration) *Group {
	return &Group{log: log, grace: grace, signals: []os.Signal{syscall.SIGINT, syscall.SIGTERM}}
}

// Add puts a part into the group. A part that returns nil before the stop has
// done its work and the others go on; one that must not end returns an error.
func (g *Group) Add(name string, run func(ctx context.Context) error) {
	g.parts = append(g.parts, part{name, run})
}

// Run starts all parts and waits for the end of all. It returns nil after a
// signal, after the end of ctx, and when all parts have done their work; else
// the errors of the parts, joined. A second signal does not wait for anyone.
func (g *Group) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, g.signals...)
	defer signal.Stop(signals)

	// The buffer lets a part that is given up end without a reader.
	outcomes := make(chan outcome, len(g.parts))
	running := map[string]int{}
	for _, p := range g.parts {
		running[p.name]++
		go g.guard(ctx, p, outcomes)
	}
	w := watch{Group: g, running: running, stop: stop}
	for left := len(g.parts); left > 0; {
		select {
		case o := <-outcomes:
			left--
			w.ended(ctx, o)
		case s := <-signals:
			if w.signalled(ctx, s) {
				return errors.Join(append(w.errs, fmt.Errorf("stopped at once by a second signal (%s)", s))...)
			}
		case <-w.stopping(ctx):
			w.startGrace()
		case <-w.late:
			return errors.Join(append(w.errs, w.overdue()...)...)
		}
	}
	return errors.Join(w.errs...)
}

// watch is what Run knows while it waits.
type watch struct {
	*Group
	running map[string]int
	stop    context.CancelCauseFunc
	errs    []error
	late    <-chan time.Time
	asked   bool
}

// ended takes one part's end. What a part returns because it was stopped is
// no error of its own.
func (w *watch) ended(ctx context.Context, o outcome) {
	w.running[o.name]--
	stopped := ctx.Err() != nil && (errors.Is(o.err, context.Canceled) || errors.Is(o.err, ctx.Err()) || errors.Is(o.err, context.Cause(ctx)))
	if o.err == nil || stopped {
		w.log.Debug("part ended", "part", o.name)
		return
	}
	err := fmt.Errorf("%s: %w", o.name, o.err)
	w.errs = append(w.errs, err)
	w.stop(err)
}

// signalled tells if this is the second signal.
func (w *watch) signalled(ctx context.Context, s os.Signal) bool {
	if w.asked {
		return true
	}
	w.asked = true
	if ctx.Err() == nil {
		w.log.Info("stopping", "signal", s.String(), "grace", w.grace)
		w.stop(fmt.Errorf("%w: %s", ErrSignal, s))
	}
	return false
}

// stopping is ready once, when the parts have been told to stop.
func (w *watch) stopping(ctx context.Context) <-chan struct{} {
	if w.late != nil {
		return nil
	}
	return ctx.Done()
}

func (w *watch) startGrace() { w.late = time.After(w.grace) }

// overdue names the parts that did not end in time.
func (w *watch) overdue() []error {
	var errs []error
	for _, p := range w.parts {
		if w.running[p.name] > 0 {
			w.running[p.name]--
			errs = append(errs, fmt.Errorf("%s: did not end within %s", p.name, w.grace))
		}
	}
	return errs
}

// guard runs one part and reports its end, also an end by panic or Goexit.
func (g *Group) guard(ctx context.Context, p part, outcomes chan<- outcome) {
	// runtime.Goexit, called for instance by a test's FailNow in a part, leaves
	// this in place.
	err := errors.New("left by runtime.Goexit")
	defer func() {
		if r := recover(); r != nil {
			g.log.Error("part panicked", "part", p.name, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
		outcomes <- outcome{p.name, err}
	}()
	err = p.run(ctx)
}
