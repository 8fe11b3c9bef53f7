package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tributary/ent"
	"tributary/ent/job"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/viewer"
)

var quiet = slog.New(slog.DiscardHandler)

// enqueue writes one job in a transaction of its own.
func enqueue(t *testing.T, s *store.Store, ctx context.Context, n jobs.New) gid.ID {
	t.Helper()
	var id gid.ID
	err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) (err error) {
		id, _, err = jobs.Enqueue(ctx, tx, n)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// run starts a runner and returns what stops it and waits.
func run(t *testing.T, s *store.Store, c jobs.Config, register func(*jobs.Runner)) (stop func()) {
	t.Helper()
	if c.Log == nil {
		c.Log = quiet
	}
	r := jobs.NewRunner(s, c)
	register(r)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("run: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("the runner does not stop")
		}
	})
	t.Cleanup(stop)
	return stop
}

// until waits for the database to say so: the runner's own effect, seen from outside.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func state(t *testing.T, s *store.Store, id gid.ID) *ent.Job {
	t.Helper()
	j, err := s.Ent.Job.Get(viewer.Global(context.Background()), id)
	if err != nil {
		t.Fatal(err)
	}
	if finished := j.State == job.StateDone || j.State == job.StateDead || j.State == job.StateDiscarded; finished != (j.FinishedAt != nil) {
		t.Errorf("state %s with finished_at %v", j.State, j.FinishedAt)
	}
	return j
}

func is(t *testing.T, s *store.Store, id gid.ID, want job.State) func() bool {
	return func() bool { return state(t, s, id).State == want }
}

func TestEnqueueIsPartOfItsTransaction(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, w := storetest.Workspace(t)
		boom := errors.New("boom")
		err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
			if _, _, err := jobs.Enqueue(ctx, tx, jobs.New{Kind: "k"}); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) || s.Ent.Job.Query().CountX(ctx) != 0 {
			t.Errorf("a job of a transaction that rolled back is there (%v)", err)
		}
		subject, runAt := gid.Make(gid.Message), time.Now().Add(time.Hour)
		id := enqueue(t, s, ctx, jobs.New{Kind: "k", Group: "g", Args: map[string]int{"n": 1}, RunAt: runAt, MaxAttempts: 3, Subject: subject})
		j := state(t, s, id)
		if j.WorkspaceID != w || j.Kind != "k" || j.GroupKey != "g" || string(j.Args) == "" || j.MaxAttempts != 3 || *j.SubjectID != subject ||
			!j.RunAt.Equal(runAt.Truncate(time.Microsecond)) || j.State != job.StateReady {
			t.Errorf("the row is %+v", j)
		}
		err = s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
			_, _, err := jobs.Enqueue(ctx, tx, jobs.New{Kind: "k", Workspace: gid.Make(gid.Workspace)})
			return err
		})
		if err == nil {
			t.Error("a job was put into another workspace")
		}
	})
}

func TestUniqueWhileUnfinished(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		other, _ := storetest.Workspace(t)
		first := enqueue(t, s, ctx, jobs.New{Kind: "k", Unique: "u"})
		again := func(ctx context.Context) (id gid.ID, inserted bool) {
			err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) (err error) {
				id, inserted, err = jobs.Enqueue(ctx, tx, jobs.New{Kind: "k", Unique: "u"})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return id, inserted
		}
		if id, inserted := again(ctx); inserted || id != first {
			t.Errorf("a second one: %v %v, want %v", id, inserted, first)
		}
		if _, inserted := again(other); !inserted {
			t.Error("another workspace's key is in the way")
		}
		stop := run(t, s, jobs.Config{}, func(r *jobs.Runner) {
			r.Register("k", func(context.Context, *jobs.Claim) error { return jobs.Permanent(errors.New("no")) }, jobs.Options{})
		})
		until(t, "dead", is(t, s, first, job.StateDead))
		stop()
		// Dead work must not keep out new work for ever; but then it cannot come back beside it.
		second, inserted := again(ctx)
		if !inserted || second == first {
			t.Errorf("after the first is dead: %v %v", second, inserted)
		}
		change := func(f func(context.Context, *ent.Tx, ...gid.ID) (int, error), id gid.ID, want int) {
			t.Helper()
			err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
				n, err := f(ctx, tx, id)
				if n != want {
					t.Errorf("changed %d, want %d", n, want)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		change(jobs.Retry, first, 0)
		change(jobs.Discard, second, 1)
		change(jobs.Retry, first, 1)
		if j := state(t, s, first); j.State != job.StateReady || j.Attempt != 0 {
			t.Errorf("retried: %+v", j)
		}
	})
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, w := storetest.Workspace(t)
		var mu sync.Mutex
		calls := map[string][]time.Time{}
		seen := map[string]jobs.Outcome{}
		first := func(kind string, then error) jobs.Handler {
			return func(ctx context.Context, c *jobs.Claim) error {
				if v := viewer.From(ctx); v == nil || v.Workspace != w || v.IsGlobal() {
					t.Errorf("the handler's viewer is %+v", v)
				}
				if _, ok := ctx.Deadline(); !ok {
					t.Error("the handler has no deadline")
				}
				mu.Lock()
				defer mu.Unlock()
				calls[kind] = append(calls[kind], time.Now())
				if len(calls[kind]) == 1 {
					if kind == "panics" {
						panic("boom\x00")
					}
					return then
				}
				return nil
			}
		}
		boom := errors.New("boom " + strings.Repeat("长", 2000) + "\x00\xff")
		kinds := map[string]error{
			"fine": nil, "fails": boom, "panics": nil, "later": jobs.RetryAfter(boom, 300*time.Millisecond), "early": jobs.Snooze(200 * time.Millisecond),
			"never": fmt.Errorf("wrapped: %w", jobs.Permanent(boom)),
		}
		run(t, s, jobs.Config{Poll: time.Hour, Observe: func(kind string, o jobs.Outcome, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			seen[kind] = o
		}}, func(r *jobs.Runner) {
			for kind, err := range kinds {
				r.Register(kind, first(kind, err), jobs.Options{BackoffBase: 20 * time.Millisecond})
			}
		})
		for kind := range kinds {
			id := enqueue(t, s, ctx, jobs.New{Kind: kind})
			want, attempts, pause := expected(kind)
			until(t, kind+" ends", is(t, s, id, want))
			j := state(t, s, id)
			if j.Attempt != attempts {
				t.Errorf("%s: %d attempts, want %d", kind, j.Attempt, attempts)
			}
			if kind == "fails" && (j.Error == nil || len(*j.Error) > 2048 || len(*j.Error) < 2000 || strings.ContainsRune(*j.Error, 0)) {
				t.Errorf("the error is kept as %v", j.Error)
			}
			mu.Lock()
			if n := len(calls[kind]); n == 2 && calls[kind][1].Sub(calls[kind][0]) < pause {
				t.Errorf("%s came again after %s", kind, calls[kind][1].Sub(calls[kind][0]))
			}
			mu.Unlock()
		}
		until(t, "all are observed", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == len(kinds) })
	})
}

// expected is how a kind of TestOutcomes ends, after how many attempts, and how long it waits at least between two.
func expected(kind string) (want job.State, attempts int, pause time.Duration) {
	switch kind {
	case "fine":
		return job.StateDone, 1, 0
	case "never":
		return job.StateDead, 1, 0
	case "later":
		return job.StateDone, 2, 300 * time.Millisecond
	case "early":
		return job.StateDone, 1, 200 * time.Millisecond
	}
	return job.StateDone, 2, 0
}

// Timers are due to the millisecond, not to the next poll.
func TestRunAtIsKept(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		ran := make(chan time.Time, 1)
		run(t, s, jobs.Config{Poll: time.Hour}, func(r *jobs.Runner) {
			r.Register("k", func(context.Context, *jobs.Claim) error { ran <- time.Now(); return nil }, jobs.Options{})
		})
		// After this one the runner sleeps for its poll, and only the bus can tell it of the next.
		first := enqueue(t, s, ctx, jobs.New{Kind: "k"})
		<-ran
		until(t, "the first is done", is(t, s, first, job.StateDone))
		time.Sleep(200 * time.Millisecond)
		at := time.Now().Add(400 * time.Millisecond)
		enqueue(t, s, ctx, jobs.New{Kind: "k", RunAt: at})
		select {
		case got := <-ran:
			// PostgreSQL's clock is this machine's here.
			if late := got.Sub(at); late < -2*time.Millisecond || late > 5*time.Second {
				t.Errorf("it ran %s after its time", late)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("it never ran")
		}
	})
}

func TestAfterTheLastAttemptDeadWithItsConsequence(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		failed := 0
		run(t, s, jobs.Config{}, func(r *jobs.Runner) {
			r.Register("k", func(context.Context, *jobs.Claim) error { return errors.New("no luck") }, jobs.Options{
				BackoffBase: time.Millisecond,
				OnDead: func(ctx context.Context, tx *ent.Tx, c *jobs.Claim, err error) error {
					if !c.Last() || err.Error() != "no luck" && failed == 0 {
						t.Errorf("dead at attempt %d of %d: %v", c.Attempt, c.MaxAttempts, err)
					}
					if err := tx.Counter.Create().SetName(c.ID.String()).Exec(ctx); err != nil {
						return err
					}
					if failed++; failed == 1 {
						return errors.New("OnDead fails at first")
					}
					if failed == 2 {
						panic("and panics then")
					}
					return nil
				},
			})
			r.Register("hopeless", func(context.Context, *jobs.Claim) error { return jobs.Permanent(errors.New("no")) }, jobs.Options{
				BackoffBase: time.Millisecond,
				OnDead:      func(context.Context, *ent.Tx, *jobs.Claim, error) error { return errors.New("never") },
			})
		})
		id := enqueue(t, s, ctx, jobs.New{Kind: "k", MaxAttempts: 3})
		until(t, "dead", is(t, s, id, job.StateDead))
		if j := state(t, s, id); j.Attempt != 3 || j.Error == nil {
			t.Errorf("attempt %d, error %v", j.Attempt, j.Error)
		}
		// Twice it failed and its row went with it.
		if n := s.Ent.Counter.Query().CountX(ctx); n != 1 {
			t.Errorf("%d rows of OnDead, want 1", n)
		}
		id = enqueue(t, s, ctx, jobs.New{Kind: "hopeless"})
		until(t, "dead without OnDead", is(t, s, id, job.StateDead))
	})
}

func TestPruneKeepsTheDead(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, w := storetest.Workspace(t)
		var left []string
		for _, st := range []job.State{job.StateReady, job.StateDone, job.StateDead, job.StateDiscarded} {
			for _, age := range []time.Duration{time.Minute, 3 * time.Hour} {
				c := s.Ent.Job.Create().SetWorkspaceID(w).SetKind("k").SetArgs([]byte("{}")).SetState(st)
				if st != job.StateReady {
					c.SetFinishedAt(time.Now().UTC().Add(-age))
				}
				c.ExecX(ctx)
				if age < time.Hour || st == job.StateReady || st == job.StateDead {
					left = append(left, string(st))
				}
			}
		}
		n, err := jobs.Prune(ctx, s, time.Hour)
		if err != nil || n != 2 {
			t.Errorf("pruned %d, %v", n, err)
		}
		got := s.Ent.Job.Query().Select(job.FieldState).StringsX(ctx)
		slices.Sort(got)
		slices.Sort(left)
		if !slices.Equal(got, left) {
			t.Errorf("left %v, want %v", got, left)
		}
	})
}
