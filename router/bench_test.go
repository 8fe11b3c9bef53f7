package router_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"tributary/router"
)

const (
	benchAgents = 1000
	benchQueues = 20
)

// benchFloor has every agent in some of the queues, all of them busy, and n items waiting.
func benchFloor(n, queuesEach int) (items []router.Item, agents []router.Agent) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range benchAgents {
		a := agent(i+1, i%60, used(1), func(a *router.Agent) { a.Queues = nil })
		for _, q := range r.Perm(benchQueues)[:queuesEach] {
			a.Queues = append(a.Queues, id(8001+q))
		}
		agents = append(agents, a)
	}
	for i := range n {
		items = append(items, benchItem(r, 100_000+i))
	}
	return items, agents
}

// benchItem has its queue by its number.
func benchItem(r *rand.Rand, n int) router.Item {
	kinds := [...]string{"chat", "mail"}
	return item(n, r.IntN(3600), inQueue(id(8001+n%benchQueues)), priority(r.IntN(4)), kind(kinds[r.IntN(2)]))
}

// BenchmarkDecide measures whole decisions. "cycle" is life under load: an agent becomes free, gets the most urgent
// item, the commit is settled and a new item arrives, so it includes what Apply and Settle cost. "decide" is Decide alone,
// with all the agents free.
func BenchmarkDecide(b *testing.B) {
	for _, each := range []int{2, 5, 20} {
		for _, n := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("cycle/queues=%d/waiting=%d", each, n), func(b *testing.B) { benchCycle(b, n, each) })
		}
	}
	for _, each := range []int{2, 20} {
		for _, n := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("decide/queues=%d/waiting=%d", each, n), func(b *testing.B) { benchAlone(b, n, each) })
		}
	}
}

func benchCycle(b *testing.B, n, each int) {
	c := newCycle(n, each)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		c.step(b)
	}
}

// cycle is a floor in use: all agents serve, one after the other becomes free.
type cycle struct {
	core   *router.Core
	agents []router.Agent
	rand   *rand.Rand
	now    time.Time
	steps  int
}

func newCycle(n, each int) *cycle {
	items, agents := benchFloor(n, each)
	return &cycle{core: load(items, agents), agents: agents, rand: rand.New(rand.NewPCG(3, 4)), now: at(3600)}
}

// step makes the next agent free, decides, settles the commit and lets a new item arrive in the same queue: they keep
// their lengths, however long it goes on.
func (c *cycle) step(b *testing.B) {
	k := c.steps % benchAgents
	a := &c.agents[k]
	a.Used, a.LoadVersion = 0, a.LoadVersion+1
	c.core.Apply(router.Changes{Agents: c.agents[k : k+1]})
	ds := c.core.Decide(c.now, 1)
	if len(ds) == 0 {
		b.Fatal("nothing decided")
	}
	a.Used, a.LoadVersion, a.IdleSince = 1, a.LoadVersion+1, c.now
	c.core.Settle(router.Outcome{Item: ds[0].Item, Result: router.Committed, LoadVersion: a.LoadVersion})
	c.core.Apply(router.Changes{Agents: c.agents[k : k+1], Items: []router.Item{benchItem(c.rand, (1_000_000+c.steps)*benchQueues+num(ds[0].Item)%benchQueues)}})
	c.now = c.now.Add(time.Millisecond)
	c.steps++
}

// benchAlone takes its thousand decisions back outside the clock.
func benchAlone(b *testing.B, n, each int) {
	items, agents := benchFloor(n, each)
	for i := range agents {
		agents[i].Used = 0
	}
	c := load(items, agents)
	now := at(3600)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; {
		ds := c.Decide(now, min(500, b.N-i))
		i += len(ds)
		b.StopTimer()
		for _, d := range ds {
			c.Settle(router.Outcome{Item: d.Item, Result: router.Lost})
		}
		b.StartTimer()
	}
}
