package tokens

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"tributary/channels"
	"tributary/internal/store"
)

// hold is how long a lease outlives a holder that died.
const hold = 5 * time.Second

// longest is the longest name of a lock, provider or credential, in bytes.
const longest = 200

// Leases of channels stand in one table with the leaderships of the product, whose names have no slash.
const (
	ofKinds  = "channel/lock/"
	ofTokens = "channel/token/"
)

// Lock gives channel kinds named leases over all nodes. It implements channels.Lock.
type Lock struct {
	store  *store.Store
	holder string
	ttl    time.Duration
}

// NewLock makes the locks of a node; holder is its name, for people who look.
func NewLock(s *store.Store, holder string) *Lock { return &Lock{store: s, holder: holder, ttl: hold} }

// Acquire waits until the lease is free or ctx ends; the lease outlives ctx. Of two nodes that wait, and of two callers
// on one node, one has it at a time.
func (l *Lock) Acquire(ctx context.Context, name string) (channels.Lease, error) {
	if err := plain("lock", name); err != nil {
		return nil, err
	}
	held, err := l.acquire(ctx, ofKinds+name)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return held, nil
}

func (l *Lock) acquire(ctx context.Context, name string) (*Lease, error) {
	// The lease lives until Release, the wait for it until ctx ends.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	fence, over, err := l.store.Lease(name, l.holder, l.ttl).Hold(life)
	if !stop() || err != nil {
		end()
		if err == nil {
			<-over
		}
		return nil, context.Cause(ctx)
	}
	return &Lease{fence: fence, over: over, end: end}, nil
}

// Lease is a held lock. It implements channels.Lease.
type Lease struct {
	fence int64
	over  <-chan struct{}
	end   context.CancelFunc
}

// Fence rises with each holder.
func (l *Lease) Fence() int64 { return l.fence }

// Lost is closed when the lease could not be kept, and after Release, so that who waits for it ends.
func (l *Lease) Lost() <-chan struct{} { return l.over }

// Release gives the lease back and waits until that is done, or until ctx ends: then it is given back nevertheless. A
// lost lease has nothing to be given back.
func (l *Lease) Release(ctx context.Context) error {
	l.end()
	select {
	case <-l.over:
		return nil
	default:
	}
	select {
	case <-l.over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of a lease: %w", ctx.Err())
	}
}

// plain refuses names that a database refuses, which would be waited for without end.
func plain(what, name string) error {
	if name == "" || len(name) > longest || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return errors.New("the name of a " + what + " must have 1 to 200 bytes of UTF-8 and no NUL")
	}
	return nil
}
