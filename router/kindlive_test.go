package router_test

import (
	"slices"
	"testing"

	"tributary/router"
)

// reached says for which kinds an agent can be reached.
func reached(live map[string]bool) func(*router.Agent) {
	return func(a *router.Agent) { a.Live = live }
}

// Liveness is by kind: whoever has only a phone is given calls and nothing else, however long he is idle, and a screen
// alone does where no entry says otherwise.
func TestLivenessIsByKind(t *testing.T) {
	t.Parallel()
	agents := []router.Agent{
		agent(1, 0, reached(map[string]bool{"": false, "voice": true})),  // a phone
		agent(2, 1, reached(map[string]bool{"": true, "voice": true})),   // both
		agent(3, 2, reached(map[string]bool{"": true, "voice": false})),  // a screen that takes no calls
		agent(4, 3, reached(map[string]bool{"": false, "voice": false})), // gone
	}
	c := load([]router.Item{item(101, 0), item(102, 1, kind("voice")), item(103, 2), item(104, 3), item(105, 4, kind("voice"))}, agents)
	got := c.Decide(at(10), 10)
	if want := []int{101, 2, 102, 1, 103, 3}; !slices.Equal(pairs(got), want) {
		t.Fatalf("decided %v, want %v", pairs(got), want)
	}
	for n, what := range map[int]string{0: "a chat", 1: "a call"} {
		if k := got[n].Excluded[router.NotLive]; k != 2 {
			t.Errorf("%d are not live for %s: %v", k, what, got[n].Excluded)
		}
	}
}

// A phone that is registered, or no more, is felt by what waits without anything else having changed; also by a kind that
// the router meets for the first time after the agent.
func TestAPhoneIsFeltByWhatWaits(t *testing.T) {
	t.Parallel()
	nobody, phone := map[string]bool{"": false, "voice": false}, map[string]bool{"": false, "voice": true}
	c := load(nil, []router.Agent{agent(1, 0, reached(nobody))})
	c.Apply(router.Changes{Items: []router.Item{item(101, 0, kind("voice")), item(102, 1)}})
	if got := c.Decide(at(10), 10); len(got) > 0 {
		t.Fatalf("decided %v", pairs(got))
	}
	c.Apply(router.Changes{Agents: []router.Agent{agent(1, 0, reached(phone))}})
	if got := pairs(c.Decide(at(11), 10)); !slices.Equal(got, []int{101, 1}) {
		t.Fatalf("decided %v with a phone", got)
	}
	c = load([]router.Item{item(101, 0, kind("voice"))}, []router.Agent{agent(1, 0, reached(phone))})
	c.Apply(router.Changes{Agents: []router.Agent{agent(1, 0, reached(nobody))}})
	if got := c.Decide(at(10), 10); len(got) > 0 {
		t.Errorf("decided %v for a phone that is gone", pairs(got))
	}
}
