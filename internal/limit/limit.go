// Package limit says whether somebody may do something again yet: queries per token, logins per address, sends per
// channel. It is GCRA, the leaky bucket that keeps one time per key instead of a counter and a timer.
//
// Memory is the implementation for one node. Redis has the same contract for several nodes that share their limits; when
// its server is away each node goes on alone.
//
// Neighbours: graph, auth and channels choose keys and rates; this room knows neither, nor what is limited. A key is used
// with one rate at a time; a changed rate holds from the next Take on.
//
// Invariants: for every key and every span of time t no more than Burst + PerSecond·t is taken, by one node or, while
// Redis keeps its data, by all that share it; what is refused costs nothing; memory is bounded, whatever keys strangers
// invent; a Take never waits longer than 50 ms for Redis. No goroutines, no timers.
package limit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"
)

var (
	// ErrRate is returned for a rate that limits nothing or everything.
	ErrRate = errors.New("rate must have a burst and a refill above zero")
	// ErrCost is returned for a negative cost, and for one above the burst, which no waiting would ever allow.
	ErrCost = errors.New("cost is outside the burst")
)

// Rate is how much at once and how much for long.
type Rate struct {
	Burst     int     // most at once, and the size of the bucket
	PerSecond float64 // refill
}

// Result is an answer. Being refused is no error.
type Result struct {
	OK         bool
	Remaining  int           // what could be taken now, after this Take
	RetryAfter time.Duration // how long to wait until the same Take succeeds if nobody else takes; 0 when OK
}

// Limiter takes cost from the bucket of key, or refuses and takes nothing. A cost of 0 only looks.
type Limiter interface {
	Take(ctx context.Context, key string, cost int, rate Rate) (Result, error)
}

const (
	shards   = 64 // so that keys rarely wait for each other
	sample   = 16 // buckets looked at to make room
	maxBurst = 1 << 30
)

// Memory is a Limiter in the memory of one process. Safe for concurrent use.
type Memory struct {
	clock func() time.Time
	start time.Time
	seed  maphash.Seed
	limit int // buckets in a shard
	shard [shards]shard
}

// shard maps a key to the time, since start, at which its bucket is full again. A full bucket and none are the same.
type shard struct {
	mu   sync.Mutex
	full map[string]time.Duration
}

// NewMemory makes a Limiter that holds about as many buckets as capacity says, by the time of clock. When more keys are
// in use at once, the bucket nearest to full among a few is forgotten first: its owner gains the least.
func NewMemory(clock func() time.Time, capacity int) *Memory {
	m := &Memory{clock: clock, start: clock(), seed: maphash.MakeSeed(), limit: max((capacity+shards-1)/shards, 1)}
	for i := range m.shard {
		m.shard[i].full = map[string]time.Duration{}
	}
	return m
}

// Take implements Limiter. It fails only for a rate or a cost that makes no sense, and when ctx has ended.
func (m *Memory) Take(ctx context.Context, key string, cost int, rate Rate) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	unit, window, err := rate.check(cost)
	if err != nil {
		return Result{}, err
	}
	s := &m.shard[maphash.String(m.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	// Under the lock, or a late arrival with an earlier time would see a bucket from its future.
	now := m.clock().Sub(m.start)
	full, known := s.full[key]
	if !known || full < now {
		full = now
	}
	next := full + time.Duration(cost)*unit
	if wait := next - now - window; wait > 0 {
		return Result{Remaining: room(now+window-full, unit), RetryAfter: wait}, nil
	}
	if cost > 0 {
		if !known {
			s.makeRoom(now, m.limit)
		}
		s.full[key] = next
	}
	return Result{OK: true, Remaining: room(now+window-next, unit)}, nil
}

// makeRoom forgets full buckets among a few looked at, and when the shard is at its limit at least one bucket. Go's maps
// are walked from a random place, which makes the few a sample.
func (s *shard) makeRoom(now time.Duration, limit int) {
	crowded := len(s.full) >= limit
	look, nearest, at := 2, "", time.Duration(math.MaxInt64)
	if crowded {
		look = sample
	}
	for key, full := range s.full {
		if full <= now {
			delete(s.full, key)
		} else if full < at {
			nearest, at = key, full
		}
		if look--; look == 0 {
			break
		}
	}
	if len(s.full) >= limit {
		delete(s.full, nearest)
	}
}

// check is span for a cost that the bucket can hold.
func (r Rate) check(cost int) (unit, window time.Duration, err error) {
	if unit, window, err = r.span(); err != nil {
		return 0, 0, err
	}
	if cost < 0 || cost > r.Burst {
		return 0, 0, fmt.Errorf("%w: %d of %d", ErrCost, cost, r.Burst)
	}
	return unit, window, nil
}

// span gives the time that one unit takes to come back and the time that the whole bucket takes. Whole nanoseconds keep
// sums exact; rounding up keeps the promise.
func (r Rate) span() (unit, window time.Duration, err error) {
	if r.Burst <= 0 || r.Burst > maxBurst || math.IsNaN(r.PerSecond) || r.PerSecond <= 0 {
		return 0, 0, fmt.Errorf("%w: %+v", ErrRate, r)
	}
	ns := math.Ceil(float64(time.Second) / r.PerSecond)
	// A bucket that takes a century to fill would overflow sums with the time since start.
	if ns*float64(r.Burst) > float64(100*365*24*time.Hour) {
		return 0, 0, fmt.Errorf("%w: %+v", ErrRate, r)
	}
	unit = max(time.Duration(ns), 1)
	return unit, unit * time.Duration(r.Burst), nil
}

func room(left, unit time.Duration) int { return int(max(left, 0) / unit) }
