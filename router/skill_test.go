package router_test

import (
	"slices"
	"testing"

	"tributary/router"
)

// An item goes past the longest idle agent to the one who has what the queue needs, and waits rather than go to somebody
// who has not.
func TestAnItemGoesToWhoeverHasWhatItNeeds(t *testing.T) {
	t.Parallel()
	french, returns := id(7001), id(7002)
	needs := func(i *router.Item) { i.Needs = []router.Need{{Skill: returns, Level: 1}, {Skill: french, Level: 3}} }
	with := func(levels map[router.ID]int) func(*router.Agent) { return func(a *router.Agent) { a.Skills = levels } }
	agents := []router.Agent{
		agent(1, 0), agent(2, 1, with(map[router.ID]int{french: 2, returns: 5})), agent(3, 2, with(map[router.ID]int{french: 3})),
		agent(4, 3, with(map[router.ID]int{french: 3, returns: 1})),
	}
	c := load([]router.Item{item(101, 0, needs), item(102, 1, needs), item(103, 2)}, agents)
	got := c.Decide(at(10), 10)
	if want := []int{101, 4, 103, 1}; !slices.Equal(pairs(got), want) {
		t.Fatalf("decided %v, want %v", pairs(got), want)
	}
	if n := got[0].Excluded[router.MissingSkill]; n != 3 {
		t.Errorf("%d lack a skill: %v", n, got[0].Excluded)
	}
	// Somebody learns it: what waited goes to him without anything else having changed.
	learned := agent(2, 1, with(map[router.ID]int{french: 4, returns: 5}))
	c.Apply(router.Changes{Agents: []router.Agent{learned}})
	if again := pairs(c.Decide(at(11), 10)); !slices.Equal(again, []int{102, 2}) {
		t.Errorf("decided %v after the lesson", again)
	}
}

// The preferred agent is passed over when he lacks a skill, and his refusal holds up nobody.
func TestPreferenceAndRoundsAskForSkillsToo(t *testing.T) {
	t.Parallel()
	needs := func(i *router.Item) { i.Needs = []router.Need{{Skill: id(7001), Level: 1}} }
	can := func(a *router.Agent) { a.Skills = map[router.ID]int{id(7001): 1} }
	c := load([]router.Item{item(101, 0, needs, prefer(1, 100), refusedBy(2))}, []router.Agent{agent(1, 0), agent(2, 1, can)})
	got := c.Decide(at(10), 10)
	if !slices.Equal(pairs(got), []int{101, 2}) || !got[0].NewRound {
		t.Errorf("decided %v, new round %v", pairs(got), len(got) > 0 && got[0].NewRound)
	}
}
