package channels

import (
	"context"
	"io"
	"net"
	"time"
)

// Host is all a kind gets from us: no database, no logger, no clock of its own.
type Host struct {
	Tokens Tokens
	Lock   Lock
	Blob   Blob
	Clock  Clock
	Dial   Dialer
}

// Token is a provider's access token.
type Token struct {
	// Value is secret: never in an error, never in a log.
	Value string
	// Refresh is the rotating refresh token, empty where there is none.
	Refresh string
	// ExpiresAt is when the provider stops taking Value; zero: never.
	ExpiresAt time.Time
	// Version rises with each write of the row.
	Version int64
}

// Refresh asks the provider for a token that replaces old.
type Refresh func(ctx context.Context, old Token) (Token, error)

// Tokens shares provider tokens over nodes: one sealed row per (provider,
// credential). Only one refresh per credential runs at a time, over all nodes;
// the others wait up to 3 s and read again.
type Tokens interface {
	// Use returns a token with at least 5 minutes of life, refreshing it
	// where it has less. credential is a hash, never the credential itself.
	Use(ctx context.Context, provider, credential string, refresh Refresh) (Token, error)
	// Renew is called after the provider refused failed. When another node has
	// replaced it already, that token comes back without a refresh: a token
	// is never dropped without comparing it to the one that failed.
	Renew(ctx context.Context, provider, credential string, failed Token, refresh Refresh) (Token, error)
}

// Lock gives named leases over all nodes.
type Lock interface {
	// Acquire waits until the lease is free or ctx ends. The lease is renewed
	// by the host until Release.
	Acquire(ctx context.Context, name string) (Lease, error)
}

// Lease is a held lock.
type Lease interface {
	// Fence rises with each holder, so that a write of an older one is told.
	Fence() int64
	// Lost is closed when the lease could not be kept.
	Lost() <-chan struct{}
	// Release gives it back.
	Release(ctx context.Context) error
}

// Blob is the file store, streamed both ways. What a Fetch puts with its context and no event of its batch names is deleted.
type Blob interface {
	// Put stores r and returns its key and size in bytes.
	Put(ctx context.Context, r io.Reader, contentType string) (key string, size int64, err error)
	// Get opens what Put stored; the caller closes it.
	Get(ctx context.Context, key string) (io.ReadCloser, error)
}

// Clock is the only source of time for a kind, so that a test owns it.
type Clock interface {
	// Now is the time in UTC.
	Now() time.Time
	// After sends once when d has passed.
	After(d time.Duration) <-chan time.Time
}

// Dialer opens guarded outbound connections. The purpose ("callback", "media",
// "api") selects the allow-list; an address it forbids is an error before any
// byte is sent.
type Dialer interface {
	DialContext(ctx context.Context, purpose, network, addr string) (net.Conn, error)
}

// WithTimeout is context.WithTimeout on the host's clock: the context ends with
// the cause context.DeadlineExceeded after d. The returned function must be
// called; it returns when the timer's goroutine is gone.
func WithTimeout(ctx context.Context, clock Clock, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer, gone := clock.After(d), make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-timer:
			cancel(context.DeadlineExceeded)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		<-gone
	}
}
