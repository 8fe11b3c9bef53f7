package jobs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"tributary/ent"
	"tributary/ent/job"
	"tributary/internal/store"
	"tributary/internal/viewer"
)

// errStopping is the cause when an attempt is cancelled because the process ends.
var errStopping = errors.New("the process is stopping")

// errSilent is the error of a job whose last attempt never answered: its process died.
var errSilent = errors.New("the last attempt ended without an answer")

// burials is how often OnDead may fail before the job is marked dead without it.
const burials = 3

// attempt runs the handler once and writes down what came of it.
func (r *Runner) attempt(ctx context.Context, k *kind, c *Claim) Outcome {
	ctx = viewer.System(ctx, c.Workspace)
	var err error
	if c.Attempt > c.MaxAttempts {
		// It comes back from attempts that nobody finished. Trying on could kill process after process.
		err = Permanent(errSilent)
	} else {
		err = r.call(ctx, k, c)
	}
	lost, tried, complete := c.finish()
	switch {
	case complete:
		if err != nil {
			r.log.Warn("jobs: error after completion", "job", c.ID, "kind", c.Kind, "err", err)
		}
		return Done
	case lost || errors.Is(err, ErrLost):
		r.log.Warn("jobs: claim lost", "job", c.ID, "kind", c.Kind, "attempt", c.Attempt)
		return Lost
	case err == nil && tried:
		err = errors.New("the job was completed in a transaction that did not commit")
	}
	stopping := errors.Is(context.Cause(ctx), errStopping)
	// What is written now must be written although the attempt's time is over.
	ctx = context.WithoutCancel(ctx)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		o, failed := r.settle(ctx, k, c, err, stopping)
		if failed == nil {
			return o
		}
		r.log.Error("jobs: write the outcome", "job", c.ID, "kind", c.Kind, "err", failed)
		if c.isLost() || stopping {
			return Lost
		}
		time.Sleep(pause)
	}
}

// call runs the handler under its deadline and turns a panic into an error.
func (r *Runner) call(ctx context.Context, k *kind, c *Claim) (err error) {
	ctx, cancel := context.WithTimeout(ctx, k.options.Timeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("jobs: panic", "job", c.ID, "kind", c.Kind, "attempt", c.Attempt, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return k.handle(ctx, c)
}

// settle decides what the attempt's end means and writes it. failed is the database's error: nothing was written.
func (r *Runner) settle(ctx context.Context, k *kind, c *Claim, err error, stopping bool) (o Outcome, failed error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var early snooze
	var later retryAfter
	var final permanent
	switch {
	case err == nil:
		return r.end(ctx, c, Done, "state = 'done', lease_until = NULL, finished_at = "+r.clock.at(0))
	case errors.As(err, &early):
		return r.end(ctx, c, Snoozed, "state = 'ready', lease_until = NULL, attempt = attempt - 1, run_at = "+r.clock.at(time.Duration(early)))
	case stopping && !errors.As(err, &final):
		return r.end(ctx, c, Released, "state = 'ready', lease_until = NULL, attempt = attempt - 1, run_at = "+r.clock.at(0))
	case errors.As(err, &final) || c.Last():
		return r.bury(ctx, k, c, err)
	}
	pause := k.options.backoff(c.Attempt)
	if errors.As(err, &later) {
		// Never sooner than asked; spread, because many were asked at the same moment.
		pause = later.after + rand.N(later.after/10+time.Millisecond)
	}
	r.log.Info("jobs: attempt failed", "job", c.ID, "kind", c.Kind, "attempt", c.Attempt, "again_in", pause, "err", err)
	return r.end(ctx, c, Retried, "state = 'ready', lease_until = NULL, error = $4, run_at = "+r.clock.at(pause), text(err))
}

// end writes the end of a claim, if it is still ours.
func (r *Runner) end(ctx context.Context, c *Claim, o Outcome, set string, args ...any) (Outcome, error) {
	query := r.store.SQL("UPDATE jobs SET " + set + " WHERE id = $1 AND attempt = $2 AND holder = $3 AND state = 'running'")
	res, err := r.store.DB.ExecContext(ctx, query, append([]any{c.ID, c.Attempt, c.holder}, args...)...)
	if err != nil {
		return o, fmt.Errorf("end job %s: %w", c.ID, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return Lost, err
	}
	return o, nil
}

// bury marks the job dead together with what OnDead writes.
func (r *Runner) bury(ctx context.Context, k *kind, c *Claim, cause error) (Outcome, error) {
	onDead := k.options.OnDead
	if c.Attempt > c.MaxAttempts+burials {
		onDead = nil
	}
	err := r.store.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
		n, err := tx.Job.Update().
			Where(job.ID(c.ID), job.StateEQ(job.StateRunning), job.Attempt(c.Attempt), job.Holder(c.holder)).
			SetState(job.StateDead).SetFinishedAt(now()).SetError(text(cause)).SetAttempt(min(c.Attempt, c.MaxAttempts)).ClearLeaseUntil().Save(ctx)
		if err != nil {
			return fmt.Errorf("bury job %s: %w", c.ID, err)
		}
		if n == 0 {
			return ErrLost
		}
		if onDead == nil {
			return nil
		}
		return mourn(ctx, tx, onDead, c, cause)
	})
	if errors.Is(err, ErrLost) {
		return Lost, nil
	}
	var m mourning
	if errors.As(err, &m) {
		r.log.Error("jobs: OnDead failed", "job", c.ID, "kind", c.Kind, "err", err)
		// The next claim finds all attempts used and buries again.
		used := max(c.Attempt, c.MaxAttempts)
		return r.end(ctx, c, Retried, fmt.Sprintf("state = 'ready', lease_until = NULL, error = $4, attempt = %d, run_at = %s",
			used, r.clock.at(k.options.backoff(used-c.MaxAttempts+1))), text(cause))
	}
	if err != nil {
		return Dead, err
	}
	r.log.Error("jobs: dead", "job", c.ID, "kind", c.Kind, "attempt", c.Attempt, "err", cause)
	return Dead, nil
}

// mourning is an error or panic of OnDead, told apart from the database's own.
type mourning struct{ error }

func (m mourning) Unwrap() error { return m.error }

func mourn(ctx context.Context, tx *ent.Tx, f func(context.Context, *ent.Tx, *Claim, error) error, c *Claim, cause error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = mourning{fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	if err := f(ctx, tx, c, cause); err != nil && !store.Again(err) {
		return mourning{err}
	} else if err != nil {
		return err
	}
	return nil
}

// backoff is the pause after the n-th failure: doubled each time up to the cap, spread by a fifth to both sides.
func (o Options) backoff(n int) time.Duration {
	d := o.BackoffCap
	if n < 31 {
		d = min(o.BackoffBase<<(max(n, 1)-1), o.BackoffCap)
	}
	if d <= 0 {
		d = o.BackoffCap
	}
	return d*4/5 + rand.N(d*2/5+1)
}
