package limit

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed" // the script
	"encoding/base64"
	"fmt"
	"log/slog"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// patience is what a request pays at most for a Redis that does not answer.
	patience = 50 * time.Millisecond
	// restLeast and restMost bound how long Redis is left alone after a failure; the pause doubles while it lasts.
	restLeast = 100 * time.Millisecond
	restMost  = time.Second
	// calm is how long Redis must have answered for its failures to be forgotten.
	calm = 10 * time.Second
)

var (
	//go:embed take.lua
	takeScript string
	// serverClock is one clock for all nodes. A second of grace, because time is measured by two clocks of the server.
	serverClock = `local time = redis.call('TIME')
local now, part, grace = tonumber(time[1]), tonumber(time[2]) * 1000, 1000
`
)

// RedisOptions may all be left empty.
type RedisOptions struct {
	Prefix string       // tells installations on one server apart; "tributary" where empty
	Log    *slog.Logger // the default logger where nil
}

// Redis is a Limiter that nodes share: their takes come out of the same buckets, by the server's clock. Safe for
// concurrent use.
//
// While Redis is away or slow each node goes on with its local Limiter: nobody is locked out, and no node alone gives
// more than the rate. One request in a while pays for looking whether Redis is back. What Redis grants through this node
// is counted locally as well, so an outage fills nobody's bucket.
type Redis struct {
	client   *goredis.Client
	local    Limiter
	script   *goredis.Script
	prefix   string
	log      *slog.Logger
	patience time.Duration

	mu    sync.Mutex
	away  time.Time     // since when Redis does not answer, zero if it does
	back  time.Time     // when the last outage ended
	rest  time.Duration // the pause between probes
	until time.Time     // when the next request may look
}

// NewRedis makes a Limiter over the client, which stays its owner's to close, with local for the time without Redis.
func NewRedis(client *goredis.Client, local Limiter, o RedisOptions) *Redis {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Redis{
		client: client, local: local, script: goredis.NewScript(serverClock + takeScript), log: o.Log, patience: patience,
		prefix: cmp.Or(o.Prefix, "tributary") + ":limit:",
	}
}

// Take implements Limiter. It fails as Memory does; that Redis is away is no failure.
func (r *Redis) Take(ctx context.Context, key string, cost int, rate Rate) (Result, error) {
	if err := ctx.Err(); err != nil {
		return Result{}, err
	}
	unit, window, err := rate.check(cost)
	if err != nil {
		return Result{}, err
	}
	may, probe := r.mayAsk()
	if !may {
		return r.local.Take(ctx, key, cost, rate)
	}
	res, err := r.ask(ctx, key, time.Duration(cost)*unit, unit, window)
	switch {
	case err != nil && over(ctx) != nil:
		// The caller gave up. That says nothing of Redis, or whoever hangs up soon enough would set nodes apart.
		return Result{}, over(ctx)
	case err != nil:
		r.failed(ctx, err)
		return r.local.Take(ctx, key, cost, rate)
	case probe:
		r.answered(ctx)
	}
	if res.OK && cost > 0 {
		_, _ = r.local.Take(ctx, key, cost, rate) // only to have counted it
	}
	return res, nil
}

func (r *Redis) ask(ctx context.Context, key string, price, unit, window time.Duration) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	a, err := r.script.Run(ctx, r.client, []string{r.name(key)},
		int64(price/time.Second), int64(price%time.Second), int64(window/time.Second), int64(window%time.Second)).Int64Slice()
	if err != nil {
		return Result{}, err
	}
	if len(a) != 5 {
		return Result{}, fmt.Errorf("the script gave %d numbers", len(a))
	}
	ahead := time.Duration(a[1])*time.Second + time.Duration(a[2])
	return Result{
		OK: a[0] == 1, Remaining: room(window-ahead, unit),
		RetryAfter: time.Duration(a[3])*time.Second + time.Duration(a[4]),
	}, nil
}

// over is ctx.Err, which a connection's own timer for the same moment may be ahead of.
func over(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(d) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// name is short, whatever strangers invent, and tells nobody who reads Redis whose address or token it is.
func (r *Redis) name(key string) string {
	sum := sha256.Sum256([]byte(key))
	return r.prefix + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// mayAsk lets everybody through while Redis answers. While it does not, one caller after each rest is the probe.
func (r *Redis) mayAsk() (may, probe bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away.IsZero() {
		return true, false
	}
	now := time.Now()
	if now.Before(r.until) {
		return false, false
	}
	r.rest = min(2*r.rest, restMost)
	r.until = now.Add(r.rest)
	return true, true
}

// failed begins a rest. Those who were under way when it began change nothing any more.
func (r *Redis) failed(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.away.IsZero() {
		return
	}
	now := time.Now()
	// A server that fails again and again gets the long rests at once, and the log fewer lines.
	if now.Sub(r.back) > calm {
		r.rest = restLeast
	}
	r.away, r.until = now, now.Add(r.rest)
	r.log.WarnContext(ctx, "limit: Redis does not answer, this node counts alone", "err", err)
}

func (r *Redis) answered(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away.IsZero() {
		return
	}
	r.back = time.Now()
	r.log.InfoContext(ctx, "limit: nodes count together again", "away", r.back.Sub(r.away).Round(time.Millisecond))
	r.away = time.Time{}
}
