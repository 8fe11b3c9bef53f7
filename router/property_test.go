package router_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"tributary/router"
)

// TestCoreAgreesWithOracle drives random stories: order, capacity, refusals, preference, work conservation and
// explanations are compared with a scan of everything after every decision.
func TestCoreAgreesWithOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(func(label string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, label) })
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			if err := m.step(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// story plays steps from a seed.
func story(seed uint64, steps int, prepare func(*model)) (*model, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	m := newModel(func(_ string, lo, hi int) int { return lo + r.IntN(hi-lo+1) })
	if prepare != nil {
		prepare(m)
	}
	for i := range steps {
		if err := m.step(); err != nil {
			return m, fmt.Errorf("seed %d, step %d: %w", seed, i, err)
		}
	}
	return m, nil
}

// TestLongStories plays evenly distributed stories, and proves that they touch every rule.
func TestLongStories(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	for seed := range uint64(40) {
		m, err := story(seed, 1500, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, n := range m.seen {
			seen[k] += n
		}
	}
	for _, k := range []string{
		"decisions", router.ReasonPreferred, router.ReasonLongestIdle, router.ReasonOnlyCandidate, router.ReasonSameConversation,
		router.ReasonPreferredUnreachable, router.ReasonPreferenceExpired, router.ReasonNewRound, "blocks", "stale row",
		"passes what nobody can take", "result 1", "result 2", "result 3", "result 4",
	} {
		if seen[k] < 50 {
			t.Errorf("%q came up %d times in %d decisions", k, seen[k], seen["decisions"])
		}
	}
}

// TestOracleFindsBrokenRules is the negative control: a core that is told something false, so that it breaks one
// rule, is found out.
func TestOracleFindsBrokenRules(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*model){
		"priority":     func(m *model) { m.spoilItem = func(i *router.Item) { i.Priority = 0 } },
		"age":          func(m *model) { m.spoilItem = func(i *router.Item) { i.QueuedAt = t0 } },
		"refusals":     func(m *model) { m.spoilItem = func(i *router.Item) { i.Refused = nil } },
		"preference":   func(m *model) { m.spoilItem = func(i *router.Item) { i.Prefer = router.ID{} } },
		"conversation": func(m *model) { m.spoilItem = func(i *router.Item) { i.CostFreeFor = router.ID{} } },
		"capacity":     func(m *model) { m.spoilAgent = func(a *router.Agent) { a.Units++ } },
		"blocker":      func(m *model) { m.spoilAgent = func(a *router.Agent) { a.Blocker = "" } },
		"at once":      func(m *model) { m.spoilAgent = func(a *router.Agent) { a.UsedBy = nil } },
		"idle":         func(m *model) { m.spoilAgent = func(a *router.Agent) { a.IdleSince = t0 } },
		"status":       func(m *model) { m.spoilAgent = func(a *router.Agent) { a.Available = true } },
		"idleness":     func(m *model) { m.spoilAgent = func(a *router.Agent) { a.Available = a.Available && a.Used == 0 } },
		"liveness":     func(m *model) { m.spoilAgent = func(a *router.Agent) { a.Live = map[string]bool{"": true} } },
		"needs":        func(m *model) { m.spoilItem = func(i *router.Item) { i.Needs = nil } },
		"levels":       func(m *model) { m.spoilAgent = func(a *router.Agent) { a.Skills = map[router.ID]int{id(7001): 1} } },
		"membership":   func(m *model) { m.spoilAgent = func(a *router.Agent) { a.Queues = []router.ID{q1, q2} } },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(50) {
				if _, err := story(seed, 1000, spoil); err != nil {
					return
				}
			}
			t.Error("nobody noticed")
		})
	}
}
