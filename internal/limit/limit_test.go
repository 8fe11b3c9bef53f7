package limit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tributary/internal/limit"
)

// hand is a clock that moves when told.
type hand struct{ ns atomic.Int64 }

func (h *hand) now() time.Time       { return time.Unix(1_800_000_000, h.ns.Load()) }
func (h *hand) pass(d time.Duration) { h.ns.Add(int64(d)) }

func take(t interface {
	Helper()
	Fatal(args ...any)
}, l limit.Limiter, key string, cost int, r limit.Rate,
) limit.Result {
	t.Helper()
	got, err := l.Take(context.Background(), key, cost, r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// maker makes a limiter with no bucket used, by a clock.
type maker func(clock func() time.Time) limit.Limiter

func TestMemory(t *testing.T) {
	t.Parallel()
	contract(t, func(clock func() time.Time) limit.Limiter { return limit.NewMemory(clock, 10_000) })
}

// contract is what every Limiter keeps.
func contract(t *testing.T, with maker) {
	t.Helper()
	for name, f := range map[string]func(*testing.T, maker){
		"takes, refuses and refills":     testTake,
		"gives the whole burst":          testWholeBurst,
		"refuses nonsense":               testRefusesNonsense,
		"promise":                        testPromise,
		"says exactly how long to wait":  testRetryAfterIsExact,
		"grants no more to many at once": testParallelTakes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f(t, with)
		})
	}
}

func testTake(t *testing.T, with maker) {
	var h hand
	m := with(h.now)
	r := limit.Rate{Burst: 10, PerSecond: 5}
	for _, c := range []struct {
		pass time.Duration
		cost int
		want limit.Result
	}{
		{0, 0, limit.Result{OK: true, Remaining: 10}},
		{0, 4, limit.Result{OK: true, Remaining: 6}},
		{0, 7, limit.Result{Remaining: 6, RetryAfter: 200 * time.Millisecond}},
		{0, 6, limit.Result{OK: true}},
		{0, 0, limit.Result{OK: true}},
		{0, 1, limit.Result{RetryAfter: 200 * time.Millisecond}},
		{0, 10, limit.Result{RetryAfter: 2 * time.Second}},
		{199 * time.Millisecond, 1, limit.Result{RetryAfter: time.Millisecond}},
		{time.Millisecond, 1, limit.Result{OK: true}},
		{time.Second, 0, limit.Result{OK: true, Remaining: 5}},
		{time.Hour, 10, limit.Result{OK: true}},
		{-time.Minute, 1, limit.Result{RetryAfter: time.Minute + 200*time.Millisecond}}, // a clock that was set back
		{time.Minute + 200*time.Millisecond, 1, limit.Result{OK: true}},
	} {
		h.pass(c.pass)
		if got := take(t, m, "k", c.cost, r); got != c.want {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
	if got := take(t, m, "other", 10, r); !got.OK {
		t.Error("one key limits another")
	}
}

// Thirds of a second do not add up in binary fractions; the whole burst must still be there.
func testWholeBurst(t *testing.T, with maker) {
	var h hand
	m := with(h.now)
	for _, perSecond := range []float64{1. / 3600, 0.1, 1. / 3, 1, 3, 7, 500, 1e6, 1e9, 3e9, math.Inf(1)} {
		for _, burst := range []int{1, 3, 7, 100} {
			key, r := fmt.Sprint(perSecond, burst), limit.Rate{Burst: burst, PerSecond: perSecond}
			for i := range burst {
				if got := take(t, m, key, 1, r); !got.OK || got.Remaining != burst-i-1 {
					t.Errorf("%s: take %d gives %+v", key, i+1, got)
				}
			}
			got := take(t, m, key, burst, r)
			if got.OK {
				t.Errorf("%s: burst taken twice", key)
			}
			h.pass(got.RetryAfter)
			if got := take(t, m, key, burst, r); !got.OK {
				t.Errorf("%s: refused after waiting as told: %+v", key, got)
			}
		}
	}
}

func testRefusesNonsense(t *testing.T, with maker) {
	var h hand
	m := with(h.now)
	for _, r := range []limit.Rate{{}, {Burst: 1}, {PerSecond: 1}, {-1, 1}, {1, -1}, {1, math.NaN()}, {1, 1e-300}, {1 << 30, 1e-9}, {math.MaxInt, 1}, {1, math.Inf(-1)}} {
		if _, err := m.Take(t.Context(), "k", 1, r); !errors.Is(err, limit.ErrRate) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, cost := range []int{-1, 6, math.MaxInt} {
		if _, err := m.Take(t.Context(), "k", cost, limit.Rate{Burst: 5, PerSecond: 1}); !errors.Is(err, limit.ErrCost) {
			t.Errorf("cost %d: %v", cost, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Take(ended, "k", 1, limit.Rate{Burst: 5, PerSecond: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := take(t, m, "k", 5, limit.Rate{Burst: 5, PerSecond: 1}); !got.OK {
		t.Error("a refused call took something")
	}
}

// testPromise: whatever is asked when, every span of time holds at most burst + rate·t, and a refusal happens only when a
// bucket filled drop by drop could not have given it either.
func testPromise(t *testing.T, with maker) {
	rapid.Check(t, func(t *rapid.T) {
		r := limit.Rate{Burst: rapid.IntRange(1, 50).Draw(t, "burst"), PerSecond: rapid.Float64Range(0.01, 5000).Draw(t, "rate")}
		var h hand
		m := with(h.now)
		type taken struct {
			at   int64
			cost int
		}
		var all []taken
		level := float64(r.Burst) // the model: a bucket
		last := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "takes") {
			h.pass(time.Duration(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, int64(3*float64(time.Second)/r.PerSecond))).Draw(t, "pass")))
			cost := rapid.IntRange(0, r.Burst).Draw(t, "cost")
			now := h.ns.Load()
			level = min(float64(r.Burst), level+float64(now-last)/1e9*r.PerSecond)
			last = now
			got := take(t, m, "k", cost, r)
			slack := 1e-4 * float64(r.Burst) // rounding of a unit to whole nanoseconds
			if got.OK {
				all = append(all, taken{now, cost})
				level -= float64(cost)
			} else if float64(cost) < level-slack {
				t.Fatalf("%d refused with %f in the bucket: %+v", cost, level, got)
			}
			if float64(got.Remaining) > level+slack || float64(got.Remaining) < math.Floor(level-slack) {
				t.Fatalf("remaining %d with %f in the bucket", got.Remaining, level)
			}
		}
		for i := range all {
			sum := 0
			for _, x := range all[i:] {
				sum += x.cost
				if most := float64(r.Burst) + float64(x.at-all[i].at)/1e9*r.PerSecond; float64(sum) > most+1e-9*most {
					t.Fatalf("%d taken within %v, at most %f allowed", sum, time.Duration(x.at-all[i].at), most)
				}
			}
		}
	})
}

func testRetryAfterIsExact(t *testing.T, with maker) {
	rapid.Check(t, func(t *rapid.T) {
		r := limit.Rate{Burst: rapid.IntRange(1, 50).Draw(t, "burst"), PerSecond: rapid.Float64Range(0.01, 5000).Draw(t, "rate")}
		var h hand
		m := with(h.now)
		take(t, m, "k", rapid.IntRange(1, r.Burst).Draw(t, "first"), r)
		cost := rapid.IntRange(1, r.Burst).Draw(t, "second")
		got := take(t, m, "k", cost, r)
		if got.OK {
			return
		}
		h.pass(got.RetryAfter - 1)
		if again := take(t, m, "k", cost, r); again.OK || again.RetryAfter != 1 {
			t.Fatalf("a nanosecond early: %+v", again)
		}
		h.pass(1)
		if again := take(t, m, "k", cost, r); !again.OK {
			t.Fatalf("refused after waiting as told: %+v", again)
		}
	})
}

func testParallelTakes(t *testing.T, with maker) {
	var h hand
	m := with(h.now)
	r := limit.Rate{Burst: 500, PerSecond: 1}
	var granted [4]atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 400 {
				got, err := m.Take(t.Context(), fmt.Sprint(i%4), 1, r)
				if err != nil {
					t.Error(err)
				}
				if got.OK {
					granted[i%4].Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i := range granted {
		if n := granted[i].Load(); n != 500 {
			t.Errorf("key %d: %d granted, want the burst", i, n)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	var h hand
	const capacity = 6400
	m := limit.NewMemory(h.now, capacity)
	r := limit.Rate{Burst: 10, PerSecond: 1}
	for i := range 100_000 { // strangers who never come back
		take(t, m, fmt.Sprint(i), 1, r)
	}
	if n := m.Len(); n > capacity {
		t.Errorf("%d buckets, capacity %d", n, capacity)
	}
	h.pass(time.Hour) // all full again: a trickle of new keys must clear them away
	for i := range 10_000 {
		take(t, m, fmt.Sprint("new", i), 1, r)
		h.pass(time.Second)
	}
	if n := m.Len(); n > 1000 {
		t.Errorf("%d buckets are held, nearly all of them full", n)
	}
	for range 100_000 {
		take(t, m, "only looked at", 0, r)
	}
}

// Somebody who has used up his bucket does not get a new one because strangers crowd in.
func TestCrowdDoesNotFreeTheEmptied(t *testing.T) {
	t.Parallel()
	var h hand
	m := limit.NewMemory(h.now, 6400)
	r := limit.Rate{Burst: 100, PerSecond: 0.001}
	if !take(t, m, "greedy", 100, r).OK {
		t.Fatal("burst refused")
	}
	for i := range 100_000 {
		take(t, m, fmt.Sprint(i), 1, r)
		if i%100 == 0 && take(t, m, "greedy", 1, r).OK {
			t.Fatalf("free again after %d strangers", i)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	m := limit.NewMemory(time.Now, 100_000)
	r := limit.Rate{Burst: 10_000, PerSecond: 500}
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := m.Take(context.Background(), "key", 1, r); err != nil {
				b.Error(err)
			}
		}
	})
}
