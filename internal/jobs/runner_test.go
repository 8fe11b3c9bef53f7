package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"entgo.io/ent/dialect"

	"tributary/ent"
	"tributary/ent/job"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/testdb"
)

// Three runners, some of them stores of their own, share 400 jobs: every job has its effect once.
func TestEveryJobHasItsEffectOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		ctx, _ := storetest.Workspace(t)
		var running, most atomic.Int64
		var s *store.Store
		for range 3 {
			s = storetest.Open(t, store.Config{URL: url})
			run(t, s, jobs.Config{Poll: 50 * time.Millisecond}, func(r *jobs.Runner) {
				r.Register("k", func(ctx context.Context, c *jobs.Claim) error {
					if n := running.Add(1); n > most.Load() {
						most.Store(n)
					}
					defer running.Add(-1)
					return s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
						if err := tx.Counter.Create().SetName(c.ID.String()).Exec(ctx); err != nil {
							return err
						}
						return c.Complete(ctx, tx)
					})
				}, jobs.Options{Concurrency: 3})
			})
		}
		for range 40 {
			err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
				for range 10 {
					if _, _, err := jobs.Enqueue(ctx, tx, jobs.New{Kind: "k"}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		until(t, "all done", func() bool { return s.Ent.Job.Query().Where(job.StateEQ(job.StateDone)).CountX(ctx) == 400 })
		if n := s.Ent.Counter.Query().CountX(ctx); n != 400 {
			t.Errorf("%d effects of 400 jobs", n)
		}
		if n := s.Ent.Job.Query().Where(job.AttemptGT(1)).CountX(ctx); n != 0 {
			t.Errorf("%d jobs ran twice", n)
		}
		if most.Load() > 9 {
			t.Errorf("%d at a time, 9 places", most.Load())
		}
	}, storetest.Template)
}

// Jobs of a group run in order and alone, over runners, through failures and Retry; dead ones let the next go.
func TestGroupsRunInOrderOneAtATime(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		ctx, _ := storetest.Workspace(t)
		const groups, each = 5, 12
		var mu sync.Mutex
		busy, order := map[string]bool{}, map[string][]gid.ID{}
		want := map[string][]gid.ID{}
		var s *store.Store
		for range 3 {
			s = storetest.Open(t, store.Config{URL: url})
			run(t, s, jobs.Config{Poll: 20 * time.Millisecond}, func(r *jobs.Runner) {
				r.Register("k", func(ctx context.Context, c *jobs.Claim) error {
					mu.Lock()
					if busy[c.Group] {
						t.Errorf("two of group %s at a time", c.Group)
					}
					busy[c.Group] = true
					mu.Unlock()
					time.Sleep(time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					busy[c.Group] = false
					var n int
					if err := c.Decode(&n); err != nil {
						return err
					}
					if n%4 == 1 && c.Attempt == 1 {
						return errors.New("once more")
					}
					order[c.Group] = append(order[c.Group], c.ID)
					if n%5 == 2 {
						return jobs.Permanent(errors.New("dead"))
					}
					return nil
				}, jobs.Options{Concurrency: 4, BackoffBase: 5 * time.Millisecond})
			})
		}
		for n := range each {
			for g := range groups {
				group := fmt.Sprint("g", g)
				want[group] = append(want[group], enqueue(t, s, ctx, jobs.New{Kind: "k", Group: group, Args: n}))
			}
		}
		until(t, "all ended", func() bool { return s.Ent.Job.Query().Where(job.FinishedAtIsNil()).CountX(ctx) == 0 })
		mu.Lock()
		defer mu.Unlock()
		for g := range want {
			if !slices.Equal(order[g], want[g]) {
				t.Errorf("%s ran in order %v, want %v", g, order[g], want[g])
			}
		}
	}, storetest.Template)
}

// A head that waits for its next attempt holds up its group; other groups and free jobs go on.
func TestAWaitingHeadHoldsUpItsGroupAlone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		foreign, _ := storetest.Workspace(t)
		head := enqueue(t, s, ctx, jobs.New{Kind: "k", Group: "g", RunAt: time.Now().Add(time.Hour)})
		behind := enqueue(t, s, ctx, jobs.New{Kind: "k", Group: "g"})
		others := []gid.ID{
			enqueue(t, s, ctx, jobs.New{Kind: "k", Group: "h"}), enqueue(t, s, ctx, jobs.New{Kind: "k"}),
			enqueue(t, s, foreign, jobs.New{Kind: "k", Group: "g"}),
		}
		run(t, s, jobs.Config{Poll: 20 * time.Millisecond}, func(r *jobs.Runner) {
			r.Register("k", func(context.Context, *jobs.Claim) error { return nil }, jobs.Options{Concurrency: 1})
		})
		for _, id := range others {
			until(t, "the others are done", is(t, s, id, job.StateDone))
		}
		if got := state(t, s, behind).State; got != job.StateReady {
			t.Errorf("behind the head: %s", got)
		}
		err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
			_, err := jobs.Discard(ctx, tx, head)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the next runs", is(t, s, behind, job.StateDone))
	})
}

// The database itself refuses a second running job of a group, whoever claims and whatever it saw.
func TestTheIndexKeepsAGroupAlone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		a, b := enqueue(t, s, ctx, jobs.New{Kind: "k", Group: "g"}), enqueue(t, s, ctx, jobs.New{Kind: "k", Group: "g"})
		s.Ent.Job.UpdateOneID(a).SetState(job.StateRunning).ExecX(ctx)
		if err := s.Ent.Job.UpdateOneID(b).SetState(job.StateRunning).Exec(ctx); !store.Unique(err) {
			t.Errorf("a second running job: %v", err)
		}
	})
}

// What a crashed node held comes back: at once to the node itself, after the lease to others. What the dead still try is
// fenced off.
func TestCrashedWorkComesBackAndIsFenced(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		crash := func(kind, node string, lease time.Duration) (gid.ID, *jobs.Claim) {
			t.Helper()
			id := enqueue(t, s, ctx, jobs.New{Kind: kind})
			claimed := make(chan *jobs.Claim, 1)
			hang := make(chan struct{})
			t.Cleanup(func() { close(hang) })
			// A crash: the runner is stopped with no grace and the handler never answers.
			r := jobs.NewRunner(s, jobs.Config{Node: node, Lease: lease, Grace: time.Millisecond, Log: quiet})
			r.Register(kind, func(context.Context, *jobs.Claim) error { return nil }, jobs.Options{})
			c := jobs.Abandon(t, r, kind)
			claimed <- c
			return id, <-claimed
		}
		own, ownClaim := crash("own", "node-1", time.Hour)
		foreign, foreignClaim := crash("foreign", "node-2", 200*time.Millisecond)
		live, _ := crash("live", "node-3", time.Hour)
		began := time.Now()
		var mu sync.Mutex
		after := map[string]time.Duration{}
		run(t, s, jobs.Config{Node: "node-1", Lease: 2 * time.Second}, func(r *jobs.Runner) {
			for _, kind := range []string{"own", "foreign", "live"} {
				r.Register(kind, func(_ context.Context, c *jobs.Claim) error {
					mu.Lock()
					defer mu.Unlock()
					after[kind] = time.Since(began)
					if c.Attempt != 2 {
						t.Errorf("%s: attempt %d, want 2", kind, c.Attempt)
					}
					return nil
				}, jobs.Options{})
			}
		})
		until(t, "own is done", is(t, s, own, job.StateDone))
		until(t, "foreign is done", is(t, s, foreign, job.StateDone))
		if got := state(t, s, live); got.State != job.StateRunning || got.Attempt != 1 {
			t.Errorf("a job whose lease has not ended: %s, attempt %d", got.State, got.Attempt)
		}
		for _, c := range []*jobs.Claim{ownClaim, foreignClaim} {
			err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
				if err := tx.Counter.Create().SetName("late effect").Exec(ctx); err != nil {
					return err
				}
				return c.Complete(ctx, tx)
			})
			if !errors.Is(err, jobs.ErrLost) {
				t.Errorf("the dead completed: %v", err)
			}
		}
		if n := s.Ent.Counter.Query().CountX(ctx); n != 0 {
			t.Errorf("%d late effects", n)
		}
	})
}

// A job that kills its process every time ends as dead, without being run once more.
func TestAKillerIsBuried(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		id := enqueue(t, s, ctx, jobs.New{Kind: "killer", MaxAttempts: 3})
		for range 3 {
			r := jobs.NewRunner(s, jobs.Config{Node: "n", Lease: time.Hour, Log: quiet})
			r.Register("killer", func(context.Context, *jobs.Claim) error { return nil }, jobs.Options{})
			jobs.Recover(t, r)
			jobs.Abandon(t, r, "killer")
		}
		var calls atomic.Int32
		var cause atomic.Value
		run(t, s, jobs.Config{Node: "n"}, func(r *jobs.Runner) {
			r.Register("killer", func(context.Context, *jobs.Claim) error { calls.Add(1); return nil }, jobs.Options{
				OnDead: func(_ context.Context, _ *ent.Tx, _ *jobs.Claim, err error) error {
					cause.Store(err.Error())
					return nil
				},
			})
		})
		until(t, "dead", is(t, s, id, job.StateDead))
		if calls.Load() != 0 || cause.Load() == nil || state(t, s, id).Attempt != 3 {
			t.Errorf("%d more calls, cause %v, attempt %d", calls.Load(), cause.Load(), state(t, s, id).Attempt)
		}
	})
}

// Long work lives by its heartbeat; work that ignores its deadline loses its claim.
func TestHeartbeatAndDeadline(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		const lease = time.Second // a loaded machine stalls for longer than a third of a short one
		var attempts atomic.Int32
		hang := make(chan struct{})
		stop := run(t, s, jobs.Config{Lease: lease, Poll: 20 * time.Millisecond}, func(r *jobs.Runner) {
			r.Register("long", func(ctx context.Context, c *jobs.Claim) error {
				attempts.Add(1)
				time.Sleep(4 * lease)
				return ctx.Err()
			}, jobs.Options{})
			r.Register("deaf", func(ctx context.Context, c *jobs.Claim) error {
				if c.Attempt > 1 {
					return nil
				}
				<-hang
				return nil
			}, jobs.Options{Timeout: 50 * time.Millisecond})
		})
		long := enqueue(t, s, ctx, jobs.New{Kind: "long"})
		deaf := enqueue(t, s, ctx, jobs.New{Kind: "deaf"})
		until(t, "long work is done", is(t, s, long, job.StateDone))
		if attempts.Load() != 1 {
			t.Errorf("long work ran %d times", attempts.Load())
		}
		until(t, "deaf work is done by another attempt", is(t, s, deaf, job.StateDone))
		if got := state(t, s, deaf).Attempt; got != 2 {
			t.Errorf("deaf work: attempt %d", got)
		}
		close(hang)
		stop()
	})
}

func TestStopFinishesOrGivesBack(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		started := make(chan struct{}, 2)
		stop := run(t, s, jobs.Config{Grace: 300 * time.Millisecond}, func(r *jobs.Runner) {
			r.Register("short", func(ctx context.Context, c *jobs.Claim) error {
				started <- struct{}{}
				time.Sleep(100 * time.Millisecond)
				return ctx.Err()
			}, jobs.Options{})
			r.Register("long", func(ctx context.Context, c *jobs.Claim) error {
				started <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			}, jobs.Options{})
		})
		short, long := enqueue(t, s, ctx, jobs.New{Kind: "short"}), enqueue(t, s, ctx, jobs.New{Kind: "long"})
		<-started
		<-started
		stop()
		if j := state(t, s, short); j.State != job.StateDone {
			t.Errorf("short work: %s", j.State)
		}
		if j := state(t, s, long); j.State != job.StateReady || j.Attempt != 0 {
			t.Errorf("long work: %s, attempt %d", j.State, j.Attempt)
		}
	})
}

// A handler that says it is done although its transaction rolled back is not believed.
func TestCompletionNeedsItsCommit(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		run(t, s, jobs.Config{}, func(r *jobs.Runner) {
			r.Register("k", func(ctx context.Context, c *jobs.Claim) error {
				err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
					if err := tx.Counter.Create().SetName(fmt.Sprint(c.Attempt)).Exec(ctx); err != nil {
						return err
					}
					if err := c.Complete(ctx, tx); err != nil {
						return err
					}
					if c.Attempt == 1 {
						return errors.New("roll back")
					}
					return nil
				})
				if c.Attempt == 1 {
					return nil
				}
				return err
			}, jobs.Options{BackoffBase: time.Millisecond})
		})
		id := enqueue(t, s, ctx, jobs.New{Kind: "k"})
		until(t, "done", is(t, s, id, job.StateDone))
		if j := state(t, s, id); j.Attempt != 2 || s.Ent.Counter.Query().CountX(ctx) != 1 {
			t.Errorf("attempt %d, %d effects", j.Attempt, s.Ent.Counter.Query().CountX(ctx))
		}
	})
}

// A goroutine that a handler left behind cannot complete the next claim, whose attempt has the same number.
func TestWhatAHandlerLeftBehindCompletesNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		claims := make(chan *jobs.Claim, 2)
		again, end := make(chan struct{}), make(chan struct{})
		run(t, s, jobs.Config{}, func(r *jobs.Runner) {
			var calls atomic.Int32
			r.Register("k", func(ctx context.Context, c *jobs.Claim) error {
				claims <- c
				if calls.Add(1) == 1 {
					return jobs.Snooze(time.Millisecond)
				}
				close(again)
				<-end
				return nil
			}, jobs.Options{})
		})
		id := enqueue(t, s, ctx, jobs.New{Kind: "k"})
		<-again
		left := <-claims
		err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error { return left.Complete(ctx, tx) })
		if !errors.Is(err, jobs.ErrLost) || left.Attempt != 1 || (<-claims).Attempt != 1 {
			t.Errorf("what was left behind completed the next claim: %v", err)
		}
		close(end)
		until(t, "done", is(t, s, id, job.StateDone))
	})
}

// A job that becomes due between the claim's look and the look for the next time is not left to the poll.
func TestShortPausesDoNotWaitForThePoll(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		var calls atomic.Int32
		run(t, s, jobs.Config{Poll: time.Hour}, func(r *jobs.Runner) {
			r.Register("k", func(context.Context, *jobs.Claim) error {
				if n := calls.Add(1); n < 120 {
					return jobs.Snooze(time.Duration(n%40) * 100 * time.Microsecond)
				}
				return nil
			}, jobs.Options{})
		})
		id := enqueue(t, s, ctx, jobs.New{Kind: "k"})
		until(t, "done", is(t, s, id, job.StateDone))
	})
}

// Whoever ends in a full kind makes room for the next at once.
func TestFullKindsGoOnWithoutThePoll(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		const n = 120
		for i := range n {
			enqueue(t, s, ctx, jobs.New{Kind: "k", Group: map[bool]string{true: "g"}[i%10 == 0]})
		}
		run(t, s, jobs.Config{Poll: time.Hour}, func(r *jobs.Runner) {
			r.Register("k", func(context.Context, *jobs.Claim) error { return nil }, jobs.Options{Concurrency: 3})
		})
		until(t, "all done", func() bool { return s.Ent.Job.Query().Where(job.StateEQ(job.StateDone)).CountX(ctx) == n })
	})
}

// The clock can be given: what is due tomorrow is done when tomorrow comes.
func TestClock(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		var offset atomic.Int64
		run(t, s, jobs.Config{Poll: 10 * time.Millisecond, Clock: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }}, func(r *jobs.Runner) {
			r.Register("k", func(context.Context, *jobs.Claim) error { return nil }, jobs.Options{})
		})
		later := enqueue(t, s, ctx, jobs.New{Kind: "k", RunAt: time.Now().Add(24 * time.Hour)})
		first := enqueue(t, s, ctx, jobs.New{Kind: "k"})
		until(t, "today's is done", is(t, s, first, job.StateDone))
		if got := state(t, s, later).State; got != job.StateReady {
			t.Errorf("tomorrow's is %s", got)
		}
		offset.Store(int64(25 * time.Hour))
		until(t, "tomorrow's is done", is(t, s, later, job.StateDone))
	})
}

// The claim stays on its index with a backlog of other kinds and of finished jobs.
func TestClaimUsesItsIndex(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, store.Config{URL: testdb.SQLite(t, storetest.Template)})
	if s.Dialect != dialect.SQLite {
		t.Fatal("not SQLite")
	}
	plan := jobs.Plan(t, s, "a", "b")
	if len(plan) == 0 {
		t.Fatal("no plan")
	}
	for _, line := range plan {
		if len(line) > 4 && line[:4] == "SCAN" && line != "SCAN due" && line != "SCAN k0" && line != "SCAN k1" {
			t.Errorf("the claim reads a whole table: %s", line)
		}
	}
}
