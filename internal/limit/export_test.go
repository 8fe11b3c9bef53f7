package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// Len counts the buckets held.
func (m *Memory) Len() (n int) {
	for i := range m.shard {
		m.shard[i].mu.Lock()
		n += len(m.shard[i].full)
		m.shard[i].mu.Unlock()
	}
	return n
}

// SetPatience changes how long an answer may take.
func (r *Redis) SetPatience(d time.Duration) { r.patience = d }

// Away tells if the limiter leaves Redis alone.
func (r *Redis) Away() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.away.IsZero()
}

// Name is the key in Redis.
func (r *Redis) Name(key string) string { return r.name(key) }

// handClock stands before the script where a test turns the clock: seconds and nanoseconds come from keys. The grace is
// long, because keys end by the real time.
const handClock = `local hand = redis.call('MGET', '%[1]s:s', '%[1]s:ns')
local now, part, grace = tonumber(hand[1]), tonumber(hand[2]), 600000
`

// Turned is a Redis limiter by a clock that the test turns.
type Turned struct {
	*Redis
	clock func() time.Time

	mu   sync.Mutex
	last time.Time
}

// NewTurned makes one with buckets of its own. It never falls back: what local is asked, it refuses.
func NewTurned(client *goredis.Client, clock func() time.Time) *Turned {
	r := NewRedis(client, refusal{}, RedisOptions{Prefix: fmt.Sprint("turned", turned.Add(1))})
	r.patience, r.script = time.Minute, goredis.NewScript(fmt.Sprintf(handClock, r.prefix)+takeScript)
	return &Turned{Redis: r, clock: clock}
}

var turned atomic.Int64

// Take sets the clock, then takes.
func (c *Turned) Take(ctx context.Context, key string, cost int, rate Rate) (Result, error) {
	if err := c.set(ctx); err != nil && ctx.Err() == nil {
		return Result{}, err
	}
	return c.Redis.Take(ctx, key, cost, rate)
}

func (c *Turned) set(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	if now.Equal(c.last) {
		return nil
	}
	c.last = now
	return c.client.MSet(ctx, c.prefix+":s", now.Unix(), c.prefix+":ns", now.Nanosecond()).Err()
}

type refusal struct{}

func (refusal) Take(context.Context, string, int, Rate) (Result, error) {
	return Result{}, errors.New("Redis was left alone")
}
