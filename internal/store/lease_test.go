package store_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/ent"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/testdb"
)

func TestLeaseHasOneHolderAtATime(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		var inside, terms atomic.Int32
		var mu sync.Mutex
		seen := map[int64]bool{}
		var wg sync.WaitGroup
		for range 4 {
			s := storetest.Open(t, store.Config{URL: url, MaxOpen: 4})
			wg.Go(func() {
				for range 5 {
					ctx, resign := context.WithCancel(t.Context())
					epoch, lost, err := s.Lease("work", "one", time.Second).Hold(ctx)
					if err != nil {
						t.Error(err)
						resign()
						return
					}
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d hold the lease", n)
					}
					mu.Lock()
					if seen[epoch] {
						t.Errorf("epoch %d was given twice", epoch)
					}
					seen[epoch] = true
					mu.Unlock()
					terms.Add(1)
					time.Sleep(2 * time.Millisecond)
					inside.Add(-1)
					resign()
					<-lost
				}
			})
		}
		wg.Wait()
		if terms.Load() != 20 || len(seen) != 20 {
			t.Errorf("%d terms, %d epochs", terms.Load(), len(seen))
		}
	}, storetest.Template)
}

func TestLeaseIsKeptAndReleased(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		const ttl = 300 * time.Millisecond
		ctx, resign := context.WithCancel(t.Context())
		epoch, lost, err := s.Lease("work", "a", ttl).Hold(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// Three times its length: it lives by renewal.
		waitCtx, cancel := context.WithTimeout(t.Context(), 3*ttl)
		defer cancel()
		if _, _, err := s.Lease("work", "b", ttl).Hold(waitCtx); err == nil {
			t.Fatal("a lease that is renewed was taken")
		}
		select {
		case <-lost:
			t.Fatal("the lease was lost")
		default:
		}
		held(t, s, epoch, true)
		resign()
		<-lost
		held(t, s, epoch, false)
		began := time.Now()
		next, stop := context.WithCancel(t.Context())
		second, lost, err := s.Lease("work", "b", time.Hour).Hold(next)
		if err != nil || second <= epoch || time.Since(began) > 5*time.Second {
			t.Errorf("after the release: epoch %d after %d, %v, %v", second, epoch, time.Since(began), err)
		}
		stop()
		<-lost
	})
}

func TestLeaseOfACrashedHolderIsTakenAndItsEpochFenced(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		// A crash is a holder that renews no more: its row is written as it left it.
		ctx, stop := context.WithCancel(t.Context())
		first, lost, err := s.Lease("work", "dead", 400*time.Millisecond).Hold(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// Another takes the row from under a living holder: he must notice at his next renewal.
		if _, err := s.DB.ExecContext(t.Context(), "UPDATE leases SET epoch = epoch + 1, holder = 'thief'"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-lost:
		case <-time.After(10 * time.Second):
			t.Fatal("the holder did not notice")
		}
		stop()
		held(t, s, first, false)
		// The thief never renews, so the third comes in when his time is over.
		next, stopNext := context.WithCancel(t.Context())
		third, lost, err := s.Lease("work", "third", 400*time.Millisecond).Hold(next)
		if err != nil || third != first+2 {
			t.Errorf("epoch %d after %d, %v", third, first, err)
		}
		held(t, s, first+1, false)
		held(t, s, third, true)
		stopNext()
		<-lost
	})
}

// A transaction that has seen the lease keeps a successor out until it ends, even beyond the lease's time.
func TestHeldInKeepsTheSuccessorOut(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		a, b := storetest.Open(t, store.Config{URL: url}), storetest.Open(t, store.Config{URL: url})
		ctx, resign := context.WithCancel(t.Context())
		epoch, lost, err := a.Lease("work", "a", 300*time.Millisecond).Hold(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var ended atomic.Bool
		taken := make(chan struct{})
		next, stop := context.WithCancel(t.Context())
		err = a.Tx(t.Context(), func(ctx context.Context, tx *ent.Tx) error {
			ok, err := a.HeldIn(ctx, tx, "work", epoch)
			if err != nil || !ok {
				t.Errorf("held: %v, %v", ok, err)
			}
			go func() {
				defer close(taken)
				if _, over, err := b.Lease("work", "b", 300*time.Millisecond).Hold(next); err != nil {
					t.Error(err)
				} else {
					if !ended.Load() {
						t.Error("the lease was taken beneath a transaction that relied on it")
					}
					stop()
					<-over
				}
			}()
			// The holder's own renewal waits for the transaction too, so the lease runs out.
			select {
			case <-lost:
			case <-time.After(10 * time.Second):
				t.Error("the lease was not lost")
			}
			time.Sleep(100 * time.Millisecond)
			ended.Store(true)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		<-taken
		stop()
		resign()
	}, storetest.Template)
}

func held(t *testing.T, s *store.Store, epoch int64, want bool) {
	t.Helper()
	err := s.Tx(t.Context(), func(ctx context.Context, tx *ent.Tx) error {
		ok, err := s.HeldIn(ctx, tx, "work", epoch)
		if ok != want {
			t.Errorf("epoch %d held: %v, want %v", epoch, ok, want)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
