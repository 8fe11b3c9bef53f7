package relay

import (
	"context"
	"time"
)

// ErrDeposed is the answer to a relay that no longer holds its lease.
var ErrDeposed = errDeposed

// Number numbers one batch as the holder of the epoch.
func Number(ctx context.Context, r *Relay, epoch int64) (int, error) { return r.number(ctx, epoch) }

// Quicken shortens the poll and the time after which quiet workspaces are dropped.
func Quicken(t *Tail, poll, idle time.Duration) *Tail {
	t.poll, t.idle = poll, idle
	return t
}

// Lines is how many workspaces the tail holds.
func Lines(t *Tail) int { return len(t.current()) }

// Kept is how many events of a workspace stay in memory.
const Kept = kept
