package tokens_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tributary/internal/tokens"
)

func TestALockHasOneHolderOverAllNodes(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a, b := tokens.NewLock(r.store[0], "a"), tokens.NewLock(r.store[1], "b")
		ctx, leave := context.WithCancel(t.Context())
		first, err := a.Acquire(ctx, "stream")
		if err != nil {
			t.Fatal(err)
		}
		leave() // the wait for it, not the lease
		wait, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		for _, l := range []*tokens.Lock{a, b} {
			if _, err := l.Acquire(wait, "stream"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a second holder: %v", err)
			}
		}
		select {
		case <-first.Lost():
			t.Error("the lease ended with its caller's context")
		default:
		}
		if err := first.Release(t.Context()); err != nil {
			t.Error(err)
		}
		second, err := b.Acquire(t.Context(), "stream")
		if err != nil || second.Fence() <= first.Fence() {
			t.Fatalf("fence %d after %d, %v", second.Fence(), first.Fence(), err)
		}
		// Released by who has left, it is released nevertheless.
		if err := second.Release(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-second.Lost()
		third, err := a.Acquire(t.Context(), "stream")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(third.Release(t.Context()), third.Release(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestALockIsRenewedAndItsLossIsTold(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		a, b := tokens.NewLock(r.store[0], "a"), tokens.NewLock(r.store[1], "b")
		a.Short(time.Second)
		held, err := a.Acquire(t.Context(), "stream")
		if err != nil {
			t.Fatal(err)
		}
		// Longer than it lasts unless it is renewed.
		wait, cancel := context.WithTimeout(t.Context(), 1300*time.Millisecond)
		defer cancel()
		if _, err := b.Acquire(wait, "stream"); err == nil {
			t.Fatal("a lease that is renewed was taken")
		}
		r.exec("UPDATE leases SET holder = 'thief', epoch = epoch + 1 WHERE name = $1", "channel/lock/stream")
		<-held.Lost()
		if err := held.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestALockCollidesWithNothingOfTheProduct(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		l := tokens.NewLock(r.store[0], "a")
		ctx, resign := context.WithCancel(t.Context())
		_, over, err := r.store[0].Lease("router", "product", time.Minute).Hold(ctx)
		if err != nil {
			t.Fatal(err)
		}
		wait, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		held, err := l.Acquire(wait, "router")
		if err != nil {
			t.Fatal(err)
		}
		token, err := l.Acquire(wait, "../token/acme/"+hash)
		if err != nil {
			t.Fatal(err)
		}
		r.use(1)
		if err := errors.Join(held.Release(t.Context()), token.Release(t.Context())); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"", "a\x00b", "\xff"} {
			if _, err := l.Acquire(t.Context(), name); err == nil {
				t.Errorf("a lock is named %q", name)
			}
		}
		resign()
		<-over
	})
}
