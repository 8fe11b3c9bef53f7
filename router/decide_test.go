package router_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"tributary/router"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	for _, tt := range decideTests() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := pairs(load(tt.items, tt.agents).Decide(at(30), 10))
			if !slices.Equal(got, tt.want) {
				t.Errorf("item, agent: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestDecideStopsAtLimit(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0), item(2, 1), item(3, 2)}, []router.Agent{agent(11, 0, units(9))})
	if got := pairs(c.Decide(at(5), 2)); !slices.Equal(got, []int{1, 11, 2, 11}) {
		t.Errorf("first two: %v", got)
	}
	if got := pairs(c.Decide(at(5), 2)); !slices.Equal(got, []int{3, 11}) {
		t.Errorf("what is in flight was decided again: %v", got)
	}
}

func TestDecisionIsComplete(t *testing.T) {
	t.Parallel()
	agents := []router.Agent{
		agent(11, 0, units(4), used(1), func(a *router.Agent) { a.Pending = 1 }), agent(12, 1), agent(13, 2), agent(14, 3), agent(15, 4), agent(16, 5), agent(17, 6),
		agent(21, 0, used(1)),
		agent(22, 0, func(a *router.Agent) { a.Available = false }),
		agent(23, 0, func(a *router.Agent) { a.Live = map[string]bool{"chat": false, "": true} }),
		agent(24, 0, func(a *router.Agent) { a.Queues = nil }),
		agent(25, 0), agent(26, 0, used(1)),
	}
	c := load([]router.Item{item(1, 0, refusedBy(25, 26, 22, 99), prefer(21, 60))}, agents)
	ds := c.Decide(at(10), 5)
	if len(ds) != 1 {
		t.Fatalf("%d decisions", len(ds))
	}
	d := ds[0]
	if d.Item != id(1) || d.Version != 1 || d.Workspace != ws || d.Queue != q1 || d.Agent != id(11) || d.Kind != "chat" ||
		d.Cost != 1 || d.Free || d.Blocks || d.NewRound || !d.At.Equal(at(10)) || d.Expires != 30*time.Second {
		t.Errorf("decision %+v", d)
	}
	if want := []string{router.ReasonLongestIdle, router.ReasonPreferredUnreachable}; !slices.Equal(d.Reasons, want) {
		t.Errorf("reasons %v, want %v", d.Reasons, want)
	}
	want := map[router.Exclusion]int{router.NoCapacity: 1, router.NotAvailable: 1, router.NotLive: 1, router.NotMember: 1, router.RefusedBefore: 2}
	if !maps.Equal(d.Excluded, want) {
		t.Errorf("excluded %v, want %v", d.Excluded, want)
	}
	if len(d.Candidates) != 5 {
		t.Fatalf("%d candidates", len(d.Candidates))
	}
	if got, want := d.Candidates[0], (router.Candidate{Agent: id(11), IdleFor: 10 * time.Second, Cost: 1, Used: 1, Units: 4, Pending: 1}); got != want {
		t.Errorf("first candidate %+v, want %+v", got, want)
	}
	for i, n := range []int{11, 12, 13, 14, 15} {
		if d.Candidates[i].Agent != id(n) {
			t.Errorf("candidate %d is %d, want %d", i, num(d.Candidates[i].Agent), n)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	two := []router.Agent{agent(11, 0), agent(12, 1)}
	tests := []struct {
		name   string
		item   router.Item
		agents []router.Agent
		want   []string
	}{
		{"longest idle", item(1, 0), two, []string{"longest_idle"}},
		{"only one", item(1, 0), two[:1], []string{"only_candidate"}},
		{"preferred", item(1, 0, prefer(12, 60)), two, []string{"preferred_last_agent"}},
		{"expired", item(1, 0, prefer(12, 10)), two, []string{"longest_idle", "preference_expired"}},
		{"unreachable", item(1, 0, prefer(13, 60)), two, []string{"longest_idle", "preferred_unreachable"}},
		{"same conversation", item(1, 0, freeFor(11)), two, []string{"longest_idle", "same_conversation"}},
		{"new round", item(1, 0, refusedBy(11, 12)), two, []string{"longest_idle", "new_round"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ds := load([]router.Item{tt.item}, tt.agents).Decide(at(30), 1)
			if len(ds) != 1 || !slices.Equal(ds[0].Reasons, tt.want) {
				t.Errorf("decisions %+v, want reasons %v", ds, tt.want)
			}
		})
	}
}

func TestPreferredComesFirstAmongCandidates(t *testing.T) {
	t.Parallel()
	var agents []router.Agent
	for n := 11; n < 20; n++ {
		agents = append(agents, agent(n, n))
	}
	d := load([]router.Item{item(1, 0, prefer(19, 60))}, agents).Decide(at(30), 1)[0]
	var got []int
	for _, c := range d.Candidates {
		got = append(got, num(c.Agent))
	}
	if !slices.Equal(got, []int{19, 11, 12, 13, 14}) || !d.Candidates[0].Preferred || d.Candidates[1].Preferred {
		t.Errorf("candidates %+v", d.Candidates)
	}
}

// TestIdleTimeMovesBack has more agents than a decision looks at, so the one who moved is found by order alone.
func TestIdleTimeMovesBack(t *testing.T) {
	t.Parallel()
	var agents []router.Agent
	for n := 11; n < 40; n++ {
		agents = append(agents, agent(n, n))
	}
	c := load([]router.Item{item(1, 0)}, agents)
	c.Apply(router.Changes{Agents: []router.Agent{agent(39, 1)}})
	if got := pairs(c.Decide(at(60), 1)); !slices.Equal(got, []int{1, 39}) {
		t.Errorf("item, agent: %v, want the longest idle: 39", got)
	}
}

type decideTest struct {
	name   string
	items  []router.Item
	agents []router.Agent
	want   []int // item, agent, …
}

// decideTests has one case for each rule and each of its edges.
func decideTests() []decideTest {
	items := func(i ...router.Item) []router.Item { return i }
	agents := func(a ...router.Agent) []router.Agent { return a }
	voiceOnly := func(a *router.Agent) { a.Live = map[string]bool{"voice": true} }
	return []decideTest{
		{"oldest first", items(item(1, 5), item(2, 3)), agents(agent(11, 0)), []int{2, 11}},
		{"a step of priority is worth its weight", items(item(1, 0), item(2, 59, priority(router.PriorityHigh))), agents(agent(11, 0)), []int{2, 11}},
		{"and no more than its weight", items(item(1, 0), item(2, 61, priority(router.PriorityHigh))), agents(agent(11, 0)), []int{1, 11}},
		{"equal keys go by id", items(item(2, 0), item(1, 0)), agents(agent(11, 0)), []int{1, 11}},
		{"smallest key over all classes of an agent", items(item(1, 5), item(2, 4, inQueue(q2)), item(3, 3, kind("mail"))), agents(agent(11, 0, units(3))), []int{3, 11, 2, 11, 1, 11}},
		{"longest idle agent", items(item(1, 0)), agents(agent(11, 9), agent(12, 3), agent(13, 5)), []int{1, 12}},
		{"equally idle agents go by id", items(item(1, 0)), agents(agent(12, 3), agent(11, 3)), []int{1, 11}},
		{"who got something is no longer idle", items(item(1, 0), item(2, 1), item(3, 2), item(4, 3)), agents(agent(11, 1, units(2)), agent(12, 2, units(2))), []int{1, 11, 2, 12, 3, 11, 4, 12}},
		{"not a member", items(item(1, 0)), agents(agent(11, 0, func(a *router.Agent) { a.Queues = []router.ID{q2} })), []int{}},
		{"another workspace", items(item(1, 0, func(i *router.Item) { i.Workspace = id(9001) })), agents(agent(11, 0)), []int{}},
		{"not available", items(item(1, 0)), agents(agent(11, 0, func(a *router.Agent) { a.Available = false })), []int{}},
		{"not live for the kind", items(item(1, 0), item(2, 1, kind("voice"))), agents(agent(11, 0, voiceOnly)), []int{2, 11}},
		{"no room", items(item(1, 0)), agents(agent(11, 0, used(1))), []int{}},
		{"cost decides by itself", items(item(1, 0, func(i *router.Item) { i.Cost = 3 }), item(2, 1, func(i *router.Item) { i.Cost = 2 })), agents(agent(11, 0, units(2))), []int{2, 11}},
		{"the profile prices a kind", items(item(1, 0), item(2, 1)), agents(agent(11, 0, units(3), func(a *router.Agent) { a.Limits = map[string]router.Limit{"chat": {UnitsEach: 2}} })), []int{1, 11}},
		{"at most so many of a kind", items(item(1, 0), item(2, 1), item(3, 2, kind("mail"))), agents(agent(11, 0, units(9), func(a *router.Agent) { a.Limits = map[string]router.Limit{"chat": {MaxAtOnce: 1}} })), []int{1, 11, 3, 11}},
		{"what is in use counts towards the kind", items(item(1, 0)), agents(agent(11, 0, units(9), used(1), func(a *router.Agent) {
			a.Limits, a.UsedBy = map[string]router.Limit{"chat": {MaxAtOnce: 1}}, map[string]int{"chat": 1}
		})), []int{}},
		{"nothing beside a blocking kind", items(item(1, 0, kind("voice")), item(2, 1)), agents(agent(11, 0, units(4))), []int{1, 11}},
		{"a blocking kind needs an empty desk", items(item(1, 0), item(2, 1, kind("voice"))), agents(agent(11, 0, units(4))), []int{1, 11}},
		{"nothing beside a blocker", items(item(1, 0), item(2, 1, freeFor(11))), agents(agent(11, 0, units(4), func(a *router.Agent) { a.Blocker = "voice" })), []int{}},
		{"the same conversation is free", items(item(1, 0), item(2, 1, freeFor(11))), agents(agent(11, 0, used(1))), []int{2, 11}},
		{"free for him only", items(item(2, 1, freeFor(12))), agents(agent(11, 0, used(1)), agent(12, 5, used(1))), []int{2, 12}},
		{"voice of the same conversation counts", items(item(1, 0, kind("voice"), freeFor(11))), agents(agent(11, 0, units(4), used(1))), []int{}},
		{"free does not make a member", items(item(1, 0, freeFor(11), inQueue(id(8003)))), agents(agent(11, 0)), []int{}},
		{"a refuser is left out", items(item(1, 0, refusedBy(11))), agents(agent(11, 0), agent(12, 5)), []int{1, 12}},
		{"a refused item does not hide the next", items(item(1, 0, refusedBy(11)), item(2, 1)), agents(agent(11, 0), agent(12, 5, used(1))), []int{2, 11}},
		{"several refusers", items(item(1, 0, refusedBy(11, 12)), item(2, 1, refusedBy(12)), item(3, 2)), agents(agent(11, 0), agent(12, 1), agent(13, 2, used(1))), []int{2, 11, 3, 12}},
		{"a new round when every able agent has refused", items(item(1, 0, refusedBy(12, 11))), agents(agent(11, 0), agent(12, 5)), []int{1, 11}},
		{"a busy agent still has to have his turn", items(item(1, 0, refusedBy(11))), agents(agent(11, 0), agent(12, 5, used(1))), []int{}},
		{"an absent agent need not", items(item(1, 0, refusedBy(11))), agents(agent(11, 0), agent(12, 5, func(a *router.Agent) { a.Available = false })), []int{1, 11}},
		{"nor one not live", items(item(1, 0, refusedBy(11))), agents(agent(11, 0), agent(12, 5, voiceOnly)), []int{1, 11}},
		{"the preferred agent", items(item(1, 0, prefer(12, 60))), agents(agent(11, 0), agent(12, 5)), []int{1, 12}},
		{"until his time has passed", items(item(1, 0, prefer(12, 30))), agents(agent(11, 0), agent(12, 5)), []int{1, 11}},
		{"anyone at once if he has no room", items(item(1, 0, prefer(12, 60))), agents(agent(11, 0), agent(12, 5, used(1))), []int{1, 11}},
		{"anyone at once if he is away", items(item(1, 0, prefer(13, 60))), agents(agent(11, 0), agent(12, 5)), []int{1, 11}},
		{"anyone if he has refused", items(item(1, 0, prefer(12, 60), refusedBy(12))), agents(agent(11, 9), agent(12, 5)), []int{1, 11}},
		{"he takes smaller keys first all the same", items(item(1, 0), item(2, 1, prefer(11, 60))), agents(agent(11, 0), agent(12, 5)), []int{1, 11, 2, 12}},
		{"preferred and free of cost", items(item(1, 0, prefer(12, 60), freeFor(12))), agents(agent(11, 0), agent(12, 5, used(1))), []int{1, 12}},
	}
}
