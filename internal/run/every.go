package run

import (
	"context"
	"time"
)

// Every calls f at once and then again and again until ctx ends.
func Every(ctx context.Context, d time.Duration, f func(context.Context)) error {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		f(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// Lease is the leadership of a piece of work. Hold waits for it and keeps it until ctx ends; lost is closed when it is
// over.
type Lease interface {
	Hold(ctx context.Context) (epoch int64, lost <-chan struct{}, err error)
}

// Led makes a part of f that runs only while this process leads.
func Led(l Lease, f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for ctx.Err() == nil {
			if err := leadOnce(ctx, l, f); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	}
}

func leadOnce(ctx context.Context, l Lease, f func(context.Context) error) error {
	ctx, release := context.WithCancel(ctx)
	_, lost, err := l.Hold(ctx)
	if err != nil {
		release()
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err = <-done:
		release()
	case <-lost:
		release()
		err = <-done
	}
	<-lost // the lease is given back
	return err
}
