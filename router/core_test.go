package router_test

import (
	"slices"
	"testing"
	"time"

	"tributary/router"
)

// decide expects these pairs of item and agent.
func decide(t *testing.T, c *router.Core, now int, want ...int) []router.Decision {
	t.Helper()
	ds := c.Decide(at(now), 100)
	if got := pairs(ds); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		t.Fatalf("item, agent: %v, want %v", got, want)
	}
	return ds
}

func settle(c *router.Core, n int, r router.Result, loadVersion int) {
	c.Settle(router.Outcome{Item: id(n), Result: r, LoadVersion: loadVersion})
}

func TestReservationLastsUntilTheRowShowsIt(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0), item(2, 1)}, []router.Agent{agent(11, 0)})
	decide(t, c, 5, 1, 11)
	settle(c, 1, router.Committed, 2)
	decide(t, c, 5)
	// A row from before the commit, with a new status: the reservation stays.
	c.Apply(router.Changes{Agents: []router.Agent{agent(11, 0)}})
	decide(t, c, 6)
	row := agent(11, 5, used(1), units(2))
	row.LoadVersion = 2
	c.Apply(router.Changes{Agents: []router.Agent{row}})
	decide(t, c, 7, 2, 11) // counted once: one of two units is left
}

func TestOldLoadDoesNotReplaceNewer(t *testing.T) {
	t.Parallel()
	row := agent(11, 0, used(1))
	row.LoadVersion = 7
	c := load([]router.Item{item(1, 0)}, []router.Agent{row})
	old := agent(11, 0)
	old.LoadVersion = 6
	c.Apply(router.Changes{Agents: []router.Agent{old}})
	decide(t, c, 1)
	old.LoadVersion = 8
	c.Apply(router.Changes{Agents: []router.Agent{old}})
	decide(t, c, 1, 1, 11)
}

func TestCommittedWithoutVersionEndsWithTheNextRow(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0), item(2, 1)}, []router.Agent{agent(11, 0)})
	decide(t, c, 5, 1, 11)
	settle(c, 1, router.Committed, 0)
	decide(t, c, 5)
	row := agent(11, 0)
	row.LoadVersion = 2
	c.Apply(router.Changes{Agents: []router.Agent{row}})
	decide(t, c, 6, 2, 11)
}

func TestPlacedItemDoesNotComeBackByAnOldRow(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0)}, []router.Agent{agent(11, 0, units(5))})
	decide(t, c, 5, 1, 11)
	settle(c, 1, router.Committed, 2)
	c.Apply(router.Changes{Items: []router.Item{item(1, 0)}})
	decide(t, c, 5)
	again := item(1, 0, refusedBy(11))
	again.Version = 3
	c.Apply(router.Changes{Items: []router.Item{again}})
	decide(t, c, 5, 1, 11) // declined, and nobody else is able
}

func TestTakenItemIsHeldUntilToldAbout(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0), item(2, 1)}, []router.Agent{agent(11, 0)})
	decide(t, c, 5, 1, 11)
	settle(c, 1, router.Taken, 0)
	decide(t, c, 5, 2, 11) // his capacity is free again, the item is not offered again
	settle(c, 2, router.Committed, 2)
	row := agent(11, 5, units(2), used(1))
	row.LoadVersion = 2
	c.Apply(router.Changes{Agents: []router.Agent{row}})
	decide(t, c, 6)
	if when, ok := c.NextTimer(at(6)); !ok || !when.Equal(at(7)) {
		t.Errorf("timer %v %v, want 2 s after the decision", when, ok)
	}
	if c.Overdue(at(6)) || !c.Overdue(at(7)) {
		t.Error("overdue at the wrong time")
	}
	next := item(1, 0)
	next.Version = 2
	c.Apply(router.Changes{Items: []router.Item{next}})
	if _, ok := c.NextTimer(at(6)); ok || c.Overdue(at(9)) {
		t.Error("still in doubt after the change came")
	}
	decide(t, c, 6, 1, 11)
}

func TestBusyAgentIsHeldUntilToldAbout(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0)}, []router.Agent{agent(11, 0), agent(12, 1)})
	decide(t, c, 5, 1, 11)
	settle(c, 1, router.AgentBusy, 0)
	decide(t, c, 5, 1, 12) // at once to the next
	settle(c, 1, router.AgentBusy, 0)
	decide(t, c, 5)
	if !c.Overdue(at(8)) {
		t.Error("nobody asks for the agents' rows")
	}
	c.Apply(router.Changes{Agents: []router.Agent{agent(11, 0), agent(12, 1)}})
	if c.Overdue(at(8)) {
		t.Error("still in doubt after the rows came")
	}
	decide(t, c, 6, 1, 11)
}

func TestCommittedRowThatNeverComesIsOverdue(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0)}, []router.Agent{agent(11, 0)})
	if _, ok := c.NextTimer(at(0)); ok {
		t.Error("a timer although nothing is in doubt")
	}
	decide(t, c, 5, 1, 11)
	settle(c, 1, router.Committed, 2)
	if !c.Overdue(at(7)) {
		t.Error("his row is owed")
	}
	c.Apply(router.Changes{Gone: []router.ID{id(11)}})
	if c.Overdue(at(7)) {
		t.Error("nothing is owed of an agent who is gone")
	}
}

func TestChangesWhileInFlight(t *testing.T) {
	t.Parallel()
	newer := item(1, 0, priority(router.PriorityHigh))
	newer.Version = 2
	tests := []struct {
		name   string
		change router.Changes
		result router.Result
		want   []int
	}{
		{"lost: waits again", router.Changes{}, router.Lost, []int{1, 11}},
		{"removed, taken", router.Changes{Removed: []router.ID{id(1)}}, router.Taken, nil},
		{"removed, busy", router.Changes{Removed: []router.ID{id(1)}}, router.Lost, nil},
		{"changed, taken: waits in its new version", router.Changes{Items: []router.Item{newer}}, router.Taken, []int{1, 11}},
		{"changed and committed before: waits again", router.Changes{Items: []router.Item{newer}}, router.Committed, []int{1, 11}},
		{"agent gone", router.Changes{Gone: []router.ID{id(11)}}, router.AgentBusy, nil},
		{"agent leaves the queue", router.Changes{Agents: []router.Agent{agent(11, 0, func(a *router.Agent) { a.Queues = nil })}}, router.AgentBusy, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := load([]router.Item{item(1, 0)}, []router.Agent{agent(11, 0, units(3))})
			decide(t, c, 5, 1, 11)
			c.Apply(tt.change)
			settle(c, 1, tt.result, 2)
			decide(t, c, 5, tt.want...)
		})
	}
}

func TestSettleTwiceDoesNothing(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0), item(2, 1)}, []router.Agent{agent(11, 0)})
	decide(t, c, 5, 1, 11)
	settle(c, 1, router.Committed, 2)
	settle(c, 1, router.Lost, 0)
	settle(c, 99, router.Committed, 2)
	decide(t, c, 5)
	if c.Waiting() != 1 {
		t.Errorf("%d wait, want 1", c.Waiting())
	}
}

func TestItemMoves(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0), item(2, 1), item(3, 2)}, nil)
	moved := item(1, 0, inQueue(id(8003)))
	moved.Version = 2
	older := item(2, 90)
	older.Version = 0
	c.Apply(router.Changes{Items: []router.Item{moved, older}, Removed: []router.ID{id(3), id(77)}})
	c.Apply(router.Changes{Agents: []router.Agent{agent(11, 0, units(5))}, Gone: []router.ID{id(66)}})
	decide(t, c, 5, 2, 11)
}

func TestAgentMovesToAnotherWorkspace(t *testing.T) {
	t.Parallel()
	c := load([]router.Item{item(1, 0)}, []router.Agent{agent(11, 0)})
	c.Apply(router.Changes{Agents: []router.Agent{agent(11, 0, func(a *router.Agent) { a.Workspace = id(9001) })}})
	decide(t, c, 5)
}

func TestTombsAreForgotten(t *testing.T) {
	t.Parallel()
	c := router.New(router.Config{Patience: time.Second})
	c.Load(router.Snapshot{Items: []router.Item{item(1, 0)}, Agents: []router.Agent{agent(11, 0, units(5))}})
	decide(t, c, 5, 1, 11)
	settle(c, 1, router.Committed, 2)
	decide(t, c, 6)
	c.Apply(router.Changes{Items: []router.Item{item(1, 0)}})
	decide(t, c, 6, 1, 11)
}
