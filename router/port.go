package router

import (
	"context"
	"time"
)

// Position is a place in the stream of changes. The router only hands it back.
type Position any

// Snapshot is everything that waits and every agent, as of Position.
type Snapshot struct {
	Items    []Item
	Agents   []Agent
	Position Position
}

// Changes is what became different between two positions. Rows come whole, as they are now. The core keeps the
// slices and maps of items and agents: the giver does not change them afterwards.
type Changes struct {
	// Items wait now: new ones and changed ones.
	Items []Item
	// Removed are items that no longer wait, whatever they do instead.
	Removed []ID
	// Agents are new or changed.
	Agents []Agent
	// Gone are agents who no longer exist.
	Gone []ID
	// Position is where the next call continues.
	Position Position
	// Resync says that the changes cannot be told any more; a snapshot has to be taken.
	Resync bool
}

// Floor is the port to the truth: it reads the floor and commits decisions. Package desk implements it.
type Floor interface {
	// Snapshot returns everything that waits and every agent. A change committed after it was read must come
	// through Changes from its position; one that comes twice does no harm.
	Snapshot(ctx context.Context) (Snapshot, error)
	// Changes blocks until something changed after from, or until ctx ends. It includes what Commit did: the item
	// as removed, the agent with his new load. It does not return for what concerns no item and no agent: an
	// empty answer makes the loop wait a little, so that a broken floor cannot keep it spinning.
	Changes(ctx context.Context, from Position) (Changes, error)
	// Commit makes each decision true, or not, by conditional updates of its own, and returns one outcome for
	// each in the same order. An error says that nothing is known about any of them.
	Commit(ctx context.Context, d []Decision) ([]Outcome, error)
}

// Lease is the port to leadership.
type Lease interface {
	// Hold waits until this process leads, and keeps the lease until ctx ends. The channel is closed when the
	// lease is lost before that.
	Hold(ctx context.Context) (epoch int64, lost <-chan struct{}, err error)
}

// Clock tells the time and rings.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f in a goroutine of its own after d, unless stop is called before.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// ClockOf makes a Clock of a source of time, such as time.Now; it rings by the runtime's timers.
func ClockOf(now func() time.Time) Clock { return clock(now) }

type clock func() time.Time

func (c clock) Now() time.Time { return c() }

func (c clock) AfterFunc(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
