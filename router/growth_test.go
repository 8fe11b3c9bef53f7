package router_test

import (
	"container/heap"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"
)

const (
	growthRounds = 9
	growthEach   = 20_000 // decisions of a turn
)

// BenchmarkGrowth measures decisions of life under load (an agent becomes free and gets the most urgent item of his
// queues, the commit is settled, a new item arrives) among 10,000 and among 100,000 that wait, in turns, by processor
// time; the collector rests meanwhile, for it would charge one side with what the other left. decisions/s is of one core
// at 10,000; growth is the cost at 100,000 by that at 10,000: a logarithm grows 1.25 times, caches that are missed more
// often do the rest. The floor is 20 bare heaps without rules: pop the more urgent of two, push a new one; of-floor is
// the share of its speed at 10,000.
func BenchmarkGrowth(b *testing.B) {
	small, large := newCycle(10_000, 2), newCycle(100_000, 2)
	bareSmall, bareLarge := newBare(10_000), newBare(100_000)
	var rate, growth, share, bare []float64
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range growthRounds {
		runtime.GC()
		s, l, f, g := small.turn(b), large.turn(b), bareSmall.turn(b), bareLarge.turn(b)
		rate = append(rate, 1/s.Seconds())
		growth = append(growth, float64(l)/float64(s))
		share = append(share, float64(f)/float64(s))
		bare = append(bare, float64(g)/float64(f))
	}
	b.ReportMetric(middle(rate), "decisions/s")
	b.ReportMetric(middle(growth), "growth")
	b.ReportMetric(middle(bare), "floor-growth")
	b.ReportMetric(middle(share), "of-floor")
	b.ReportMetric(0, "ns/op")
}

func middle(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }

// turn returns the time of one decision.
func (c *cycle) turn(b *testing.B) time.Duration {
	began := worked(b)
	for range growthEach {
		c.step(b)
	}
	return (worked(b) - began) / growthEach
}

// worked is the processor time of this process so far: what others do on the machine does not count.
func worked(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// bare are heaps of due times, one for each queue.
type bare struct {
	queues [benchQueues]dues
	rand   *rand.Rand
	now    int64
}

type dues []int64

func (d dues) Len() int           { return len(d) }
func (d dues) Less(i, j int) bool { return d[i] < d[j] }
func (d dues) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *dues) Push(x any)        { *d = append(*d, x.(int64)) }
func (d *dues) Pop() any {
	old := *d
	x := old[len(old)-1]
	*d = old[:len(old)-1]
	return x
}

func newBare(n int) *bare {
	f := &bare{rand: rand.New(rand.NewPCG(1, 2))}
	for range n {
		q := &f.queues[f.rand.IntN(benchQueues)]
		*q = append(*q, int64(f.rand.IntN(3600))*1e9)
	}
	for k := range f.queues {
		heap.Init(&f.queues[k])
	}
	return f
}

// turn returns the time of one decision.
func (f *bare) turn(b *testing.B) time.Duration {
	began := worked(b)
	for range growthEach {
		p, q := &f.queues[f.rand.IntN(benchQueues)], &f.queues[f.rand.IntN(benchQueues)]
		if len(*p) == 0 || len(*q) > 0 && (*q)[0] < (*p)[0] {
			p = q
		}
		heap.Pop(p)
		f.now += 1e6
		heap.Push(&f.queues[f.rand.IntN(benchQueues)], 3600*int64(1e9)+f.now)
	}
	return (worked(b) - began) / growthEach
}
