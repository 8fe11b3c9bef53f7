package router_test

import (
	"encoding/binary"
	"time"

	"tributary/router"
)

var (
	t0 = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	ws = id(9000)
	q1 = id(8001)
	q2 = id(8002)
)

// id makes an id whose order is that of n.
func id(n int) (i router.ID) {
	binary.BigEndian.PutUint64(i[8:], uint64(n))
	return i
}

func num(i router.ID) int { return int(binary.BigEndian.Uint64(i[8:])) }

func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

func item(n, queued int, change ...func(*router.Item)) router.Item {
	it := router.Item{
		ID: id(n), Workspace: ws, Queue: q1, Kind: "chat", Live: true, QueuedAt: at(queued),
		Priority: router.PriorityNormal, Weight: time.Minute, OfferFor: 30 * time.Second, Version: 1,
	}
	for _, f := range change {
		f(&it)
	}
	return it
}

func agent(n, idle int, change ...func(*router.Agent)) router.Agent {
	a := router.Agent{
		ID: id(n), Workspace: ws, Queues: []router.ID{q1, q2}, Available: true, Live: map[string]bool{"": true},
		Units: 1, IdleSince: at(idle), LoadVersion: 1,
		Limits: map[string]router.Limit{"voice": {Blocks: true}},
	}
	for _, f := range change {
		f(&a)
	}
	return a
}

func units(n int) func(*router.Agent) { return func(a *router.Agent) { a.Units = n } }

func used(n int) func(*router.Agent) { return func(a *router.Agent) { a.Used = n } }

func kind(k string) func(*router.Item) { return func(i *router.Item) { i.Kind = k } }

func priority(p int) func(*router.Item) { return func(i *router.Item) { i.Priority = p } }

func refusedBy(n ...int) func(*router.Item) {
	return func(i *router.Item) {
		for _, a := range n {
			i.Refused = append(i.Refused, id(a))
		}
	}
}

func prefer(n, until int) func(*router.Item) {
	return func(i *router.Item) { i.Prefer, i.PreferUntil = id(n), at(until) }
}

func freeFor(n int) func(*router.Item) { return func(i *router.Item) { i.CostFreeFor = id(n) } }

func inQueue(q router.ID) func(*router.Item) { return func(i *router.Item) { i.Queue = q } }

func load(items []router.Item, agents []router.Agent) *router.Core {
	c := router.New(router.Config{})
	c.Load(router.Snapshot{Items: items, Agents: agents})
	return c
}

// pairs shows decisions as item, agent, item, agent …
func pairs(ds []router.Decision) []int {
	out := []int{}
	for _, d := range ds {
		out = append(out, num(d.Item), num(d.Agent))
	}
	return out
}
