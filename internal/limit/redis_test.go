package limit_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"tributary/internal/limit"
	"tributary/internal/redis"
	"tributary/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, address string) *goredis.Client {
	t.Helper()
	c, err := redis.Open(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// node is a limiter of one node. lines counts what it logs.
func node(t *testing.T, c *goredis.Client) (l *limit.Redis, lines *atomic.Int64) {
	t.Helper()
	w := &counter{}
	l = limit.NewRedis(c, limit.NewMemory(time.Now, 1000), limit.RedisOptions{Log: slog.New(slog.NewTextHandler(w, nil))})
	return l, &w.n
}

type counter struct{ n atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) { c.n.Add(1); return len(p), nil }

// slow is for tests in which Redis is there, however busy this machine is.
const slow = 20 * time.Second

func TestRedis(t *testing.T) {
	t.Parallel()
	c := client(t, testdb.Redis(t))
	contract(t, func(clock func() time.Time) limit.Limiter { return limit.NewTurned(c, clock) })
}

// The server's own clock, which the contract replaces.
func TestRedisRefills(t *testing.T) {
	t.Parallel()
	l, _ := node(t, client(t, testdb.Redis(t)))
	l.SetPatience(slow)
	r := limit.Rate{Burst: 5, PerSecond: 20}
	if got := take(t, l, "k", 5, r); got != (limit.Result{OK: true}) {
		t.Errorf("the burst gives %+v", got)
	}
	began := time.Now()
	for {
		got := take(t, l, "k", 5, r)
		if got.OK {
			break
		}
		if got.RetryAfter <= 0 || got.RetryAfter > 250*time.Millisecond {
			t.Fatalf("full again in %v", got.RetryAfter)
		}
		time.Sleep(got.RetryAfter)
	}
	if d := time.Since(began); d < 150*time.Millisecond {
		t.Errorf("full again after %v", d)
	}
}

func TestNodesShareABucket(t *testing.T) {
	t.Parallel()
	address := testdb.Redis(t)
	r := limit.Rate{Burst: 50, PerSecond: 0.001}
	var granted atomic.Int64
	var wg sync.WaitGroup
	for range 2 {
		l, _ := node(t, client(t, address))
		l.SetPatience(slow)
		for range 4 {
			wg.Go(func() {
				for range 25 {
					if take(t, l, "shared", 1, r).OK {
						granted.Add(1)
					}
				}
			})
		}
	}
	wg.Wait()
	if n := granted.Load(); n != 50 {
		t.Errorf("two nodes granted %d of 50", n)
	}
}

func TestKeysInRedisAreShortAndEnd(t *testing.T) {
	t.Parallel()
	c := client(t, testdb.Redis(t))
	l, _ := node(t, c)
	l.SetPatience(slow)
	long := "lena@example.com" + strings.Repeat("x", 100_000)
	take(t, l, long, 3, limit.Rate{Burst: 5, PerSecond: 1})
	name := l.Name(long)
	if len(name) > 100 || strings.Contains(name, "lena") {
		t.Errorf("the key is %.200s", name)
	}
	if d, err := c.PTTL(t.Context(), name).Result(); err != nil || d <= 0 || d > 4100*time.Millisecond {
		t.Errorf("the key of a bucket that is full in 3 s ends in %v, %v", d, err)
	}
	take(t, l, "only looked at", 0, limit.Rate{Burst: 5, PerSecond: 1})
	if n, err := c.Exists(t.Context(), l.Name("only looked at")).Result(); err != nil || n != 0 {
		t.Errorf("a look left a key: %d, %v", n, err)
	}
	if err := c.Set(t.Context(), l.Name("spoilt"), "what?", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := take(t, l, "spoilt", 5, limit.Rate{Burst: 5, PerSecond: 1}); !got.OK || l.Away() {
		t.Errorf("a key with foreign text gives %+v", got)
	}
}

// TestWithoutRedis: limits hold in each node, nobody waits, and when Redis is back the nodes share again.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	address, server := testdb.PrivateRedis(t)
	a, lines := node(t, client(t, address))
	b, _ := node(t, client(t, address))
	a.SetPatience(slow)
	b.SetPatience(slow)
	r := limit.Rate{Burst: 10, PerSecond: 0.001}
	if !take(t, a, "k", 4, r).OK {
		t.Fatal("refused at first")
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	began, granted := time.Now(), 0
	for range 200 {
		if take(t, a, "k", 1, r).OK {
			granted++
		}
	}
	if granted != 6 {
		t.Errorf("%d granted beside the 4 that Redis had granted; the burst is 10", granted)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("200 takes without Redis took %v", d)
	}
	if !take(t, b, "k", 10, r).OK {
		t.Error("another node's people are locked out")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	for a.Away() || b.Away() {
		if time.Since(back) > 20*time.Second {
			t.Fatal("Redis is back and left alone")
		}
		take(t, a, "look", 0, r)
		take(t, b, "look", 0, r)
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("shared again after %v", time.Since(back))
	if !take(t, a, "again", 10, r).OK || take(t, b, "again", 1, r).OK {
		t.Error("the nodes do not share")
	}
	if n := lines.Load(); n != 2 {
		t.Errorf("%d lines in the log, want one when Redis went and one when it came", n)
	}
}

// TestSlowRedis: one request pays the deadline, the others do not.
func TestSlowRedis(t *testing.T) {
	t.Parallel()
	address, _ := testdb.PrivateRedis(t)
	l, _ := node(t, client(t, address))
	r := limit.Rate{Burst: 1000, PerSecond: 1}
	if err := client(t, address).Do(t.Context(), "CLIENT", "PAUSE", "30000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 500 {
		if !take(t, l, "k", 1, r).OK {
			t.Fatal("refused")
		}
	}
	// Each alone would pay 50 ms: 25 s.
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("500 takes took %v", d)
	}
	if !l.Away() {
		t.Error("Redis does not answer and is asked each time")
	}
}

// Who hangs up does not set the node apart from the others.
func TestCallerWhoHangsUp(t *testing.T) {
	t.Parallel()
	address, _ := testdb.PrivateRedis(t)
	l, _ := node(t, client(t, address))
	l.SetPatience(slow)
	if err := client(t, address).Do(t.Context(), "CLIENT", "PAUSE", "30000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if _, err := l.Take(ctx, "k", 1, limit.Rate{Burst: 1, PerSecond: 1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a take without an answer gives %v", err)
		}
		cancel()
	}
	if l.Away() {
		t.Error("one caller's deadline counts as Redis' failure")
	}
}

func BenchmarkRedis(b *testing.B) {
	c, err := redis.Open(testdb.Redis(b))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	l := limit.NewRedis(c, limit.NewMemory(time.Now, 1000), limit.RedisOptions{})
	r := limit.Rate{Burst: 10_000, PerSecond: 500}
	for b.Loop() {
		if _, err := l.Take(b.Context(), "key", 1, r); err != nil {
			b.Error(err)
		}
	}
}
