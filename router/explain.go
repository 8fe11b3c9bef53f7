package router

import "time"

// Reasons for a decision: short machine keys which front ends translate.
const (
	// ReasonPreferred: the preferred agent was reachable in time.
	ReasonPreferred = "preferred_last_agent"
	// ReasonLongestIdle: of several candidates he was idle longest.
	ReasonLongestIdle = "longest_idle"
	// ReasonOnlyCandidate: nobody else could have taken it.
	ReasonOnlyCandidate = "only_candidate"
	// ReasonSameConversation: he serves the conversation already, so it costs him nothing.
	ReasonSameConversation = "same_conversation"
	// ReasonPreferredUnreachable: somebody else was preferred and could not take it.
	ReasonPreferredUnreachable = "preferred_unreachable"
	// ReasonPreferenceExpired: somebody else had been preferred until a time that has passed.
	ReasonPreferenceExpired = "preference_expired"
	// ReasonNewRound: every able agent had refused it, so it starts again.
	ReasonNewRound = "new_round"
)

// Exclusion is why an agent could not have an item.
type Exclusion string

// The causes of exclusion, in the order in which they are looked at: an agent counts for the first that holds.
const (
	// NotMember: he does not belong to the queue.
	NotMember Exclusion = "NOT_MEMBER"
	// MissingSkill: he lacks what the queue needs.
	MissingSkill Exclusion = "MISSING_SKILL"
	// NotAvailable: his status says no.
	NotAvailable Exclusion = "NOT_AVAILABLE"
	// NotLive: he cannot be reached for the kind.
	NotLive Exclusion = "NOT_LIVE"
	// RefusedBefore: he declined or missed it in this round.
	RefusedBefore Exclusion = "REFUSED_BEFORE"
	// NoCapacity: what he holds leaves no room for it.
	NoCapacity Exclusion = "NO_CAPACITY"
)

// Candidate is an agent who could have had the item, with the parts of his score.
type Candidate struct {
	Agent     ID
	Preferred bool
	IdleFor   time.Duration
	// Cost is what the item would have cost him; Used, Units and Pending are his load before it.
	Cost    int
	Used    int
	Units   int
	Pending int
}

// reason is a set of reasons, one bit each in the order of reasonNames.
type reason uint8

const (
	whyPreferred reason = 1 << iota
	whyLongest
	whyOnly
	whySame
	whyUnreachable
	whyExpired
	whyNewRound
	reasonEnd
)

// explain spells a set of reasons. Each set is spelt once and shared: decisions are made a million times a second.
func (c *Core) explain(why reason) []string {
	if c.reasons[why] == nil {
		names := [...]string{
			ReasonPreferred, ReasonLongestIdle, ReasonOnlyCandidate, ReasonSameConversation,
			ReasonPreferredUnreachable, ReasonPreferenceExpired, ReasonNewRound,
		}
		var list []string
		for i, name := range names {
			if why&(1<<i) != 0 {
				list = append(list, name)
			}
		}
		c.reasons[why] = list[:len(list):len(list)]
	}
	return c.reasons[why]
}

func whyIdle(candidates []*slot) reason {
	if len(candidates) == 1 {
		return whyOnly
	}
	return whyLongest
}

// candidates writes down those that choose left in c.slots.
func (c *Core) candidates(g *group, it *Item, now time.Time) []Candidate {
	list := make([]Candidate, len(c.slots))
	for i, s := range c.slots {
		a := s.agent
		cost := a.cost(g.class)
		if a.spec.ID == g.owner && !a.loads[g.class.kind].blocks {
			cost = 0
		}
		list[i] = Candidate{
			Agent:     a.spec.ID,
			Preferred: a.spec.ID == it.Prefer && now.Before(it.PreferUntil),
			IdleFor:   time.Duration(max(now.UnixNano()-a.idle, 0)),
			Cost:      cost, Used: a.used, Units: a.spec.Units, Pending: a.pending,
		}
	}
	return list
}

// excluded counts by cause, from the counters of the class; only the item's own refusers are looked at one by one.
func (cl *class) excluded(ch *choice) map[Exclusion]int {
	full, refused := cl.counts[slotFull], 0
	if ch.owner != nil {
		full--
	}
	for _, id := range ch.refused {
		s := cl.slots[id]
		if s == nil || !s.state.able() {
			continue
		}
		refused++
		if s.state == slotFull {
			full--
		}
	}
	m := make(map[Exclusion]int, 6)
	for _, e := range [...]struct {
		cause Exclusion
		n     int
	}{
		{NotMember, cl.queue.workspace.agents - len(cl.slots)},
		{MissingSkill, cl.counts[slotUnskilled]},
		{NotAvailable, cl.counts[slotUnavailable]},
		{NotLive, cl.counts[slotNotLive]},
		{RefusedBefore, refused},
		{NoCapacity, full},
	} {
		if e.n > 0 {
			m[e.cause] = e.n
		}
	}
	return m
}
