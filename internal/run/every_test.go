package run_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tributary/internal/run"
)

// shaky loses its lease once.
type shaky struct{ held atomic.Int64 }

func (s *shaky) Hold(ctx context.Context) (int64, <-chan struct{}, error) {
	n := s.held.Add(1)
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		if n == 1 {
			time.Sleep(time.Second)
			return
		}
		<-ctx.Done()
	}()
	return n, lost, nil
}

func TestLedStopsWithTheLeaseAndStartsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var l shaky
		var running, starts atomic.Int64
		err := run.Led(&l, func(ctx context.Context) error {
			if starts.Add(1); running.Add(1) != 1 {
				t.Error("two at once")
			}
			<-ctx.Done()
			running.Add(-1)
			return nil
		})(ctx)
		if err != nil || starts.Load() != 2 {
			t.Fatal(err, starts.Load())
		}
	})
}

func TestLedReturnsTheError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		want := errors.New("no")
		if err := run.Led(&shaky{}, func(context.Context) error { return want })(t.Context()); !errors.Is(err, want) {
			t.Fatal(err)
		}
	})
}
