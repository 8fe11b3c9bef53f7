package run_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"tributary/internal/run"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func untilStopped(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestFirstErrorStopsAll(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	g := run.New(quiet(), time.Minute)
	var cause error
	g.Add("api", func(ctx context.Context) error {
		<-ctx.Done()
		cause = context.Cause(ctx)
		return nil
	})
	g.Add("relay", func(context.Context) error { return boom })
	g.Add("jobs", untilStopped)
	err := g.Run(t.Context())
	if !errors.Is(err, boom) || err.Error() != "relay: boom" {
		t.Errorf("Run returned %v", err)
	}
	if !errors.Is(cause, boom) {
		t.Errorf("the other parts see the cause %v", cause)
	}
}

func TestErrorsWhileStoppingAreJoined(t *testing.T) {
	t.Parallel()
	g := run.New(quiet(), time.Minute)
	g.Add("a", func(context.Context) error { return errors.New("first") })
	g.Add("b", func(ctx context.Context) error {
		<-ctx.Done()
		return errors.New("second")
	})
	if err := g.Run(t.Context()); err == nil || err.Error() != "a: first\nb: second" {
		t.Errorf("Run returned %v", err)
	}
}

func TestEndOfWork(t *testing.T) {
	t.Parallel()
	g := run.New(quiet(), time.Minute)
	first := make(chan struct{})
	g.Add("once", func(context.Context) error { close(first); return nil })
	g.Add("after", func(ctx context.Context) error {
		<-first
		return ctx.Err()
	})
	if err := g.Run(t.Context()); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if err := run.New(quiet(), time.Minute).Run(t.Context()); err != nil {
		t.Errorf("an empty group returned %v", err)
	}
}

func TestEndOfContextIsNoError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	g := run.New(quiet(), time.Minute)
	g.Add("a", untilStopped)
	g.Add("b", func(context.Context) error { cancel(); return nil })
	if err := g.Run(ctx); err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func TestGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := run.New(quiet(), 10*time.Second)
		release := make(chan struct{})
		g.Add("stuck", func(context.Context) error { <-release; return nil })
		g.Add("slow", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(9 * time.Second)
			return nil
		})
		g.Add("bad", func(context.Context) error { return errors.New("boom") })
		start := time.Now()
		err := g.Run(t.Context())
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("Run took %s", took)
		}
		if err == nil || err.Error() != "bad: boom\nstuck: did not end within 10s" {
			t.Errorf("Run returned %v", err)
		}
		close(release)
	})
}

func TestPanicIsAnErrorWithItsStackInTheLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	g := run.New(run.NewLogger(&log, "text", slog.LevelInfo), time.Minute)
	g.Add("a", untilStopped)
	g.Add("b", func(context.Context) error { panic("ouch") })
	if err := g.Run(t.Context()); err == nil || err.Error() != "b: panic: ouch" {
		t.Errorf("Run returned %v", err)
	}
	if !strings.Contains(log.String(), "part=b") || !strings.Contains(log.String(), "group_test.go") {
		t.Errorf("no stack in the log: %s", log.String())
	}
}

func TestGoexitIsAnError(t *testing.T) {
	t.Parallel()
	g := run.New(quiet(), time.Minute)
	g.Add("a", untilStopped)
	g.Add("b", func(context.Context) error { runtime.Goexit(); return nil })
	if err := g.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "b: left by runtime.Goexit") {
		t.Errorf("Run returned %v", err)
	}
}

// Signals reach the whole process, so these cases may not run beside others.
func TestSignals(t *testing.T) {
	g := run.New(quiet(), time.Minute)
	var cause error
	g.Add("a", func(ctx context.Context) error {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		cause = context.Cause(ctx)
		return ctx.Err()
	})
	if err := g.Run(t.Context()); err != nil || !errors.Is(cause, run.ErrSignal) {
		t.Errorf("Run returned %v, the cause is %v", err, cause)
	}

	release := make(chan struct{})
	defer close(release)
	g = run.New(quiet(), time.Minute)
	g.Add("stuck", func(ctx context.Context) error {
		for ctx.Err() == nil {
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGINT)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGINT)
		<-release
		return nil
	})
	if err := g.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "second signal") {
		t.Errorf("Run returned %v", err)
	}
}
