package router_test

import (
	"maps"
	"slices"
	"time"

	"tributary/router"
)

// floor is the truth of the model: rows as a database would hold them. The oracle below reads it by scanning
// everything, in the words of the rules and with none of the core's structures.
type floor struct {
	now    time.Time
	stamp  int64
	items  map[router.ID]router.Item
	agents map[router.ID]*desk
}

// desk is an agent's row, and whether the core was told "busy" without having seen why.
type desk struct {
	row  router.Agent
	held bool
}

func (f *floor) clone() *floor {
	c := &floor{now: f.now, stamp: f.stamp, items: maps.Clone(f.items), agents: map[router.ID]*desk{}}
	for k, a := range f.agents {
		b := *a
		b.row.UsedBy = maps.Clone(b.row.UsedBy)
		c.agents[k] = &b
	}
	return c
}

// want is a decision as the oracle makes it.
type want struct {
	item, agent            router.ID
	cost                   int
	free, blocks, newRound bool
	candidates             []router.ID
	excluded               map[router.Exclusion]int
}

func key(it router.Item) time.Time {
	return it.QueuedAt.Add(-time.Duration(it.Priority) * it.Weight)
}

func before(a, b router.Item) bool {
	if c := key(a).Compare(key(b)); c != 0 {
		return c < 0
	}
	return a.ID.Compare(b.ID) < 0
}

func member(it router.Item, a router.Agent) bool {
	return a.Workspace == it.Workspace && slices.Contains(a.Queues, it.Queue)
}

func live(it router.Item, a router.Agent) bool {
	if l, ok := a.Live[it.Kind]; ok {
		return l
	}
	return a.Live[""]
}

func skilled(it router.Item, a router.Agent) bool {
	return !slices.ContainsFunc(it.Needs, func(n router.Need) bool { return a.Skills[n.Skill] < n.Level })
}

func able(it router.Item, a router.Agent) bool {
	return member(it, a) && skilled(it, a) && a.Available && live(it, a)
}

// cost is what the item costs the agent, and whether it is the free further one of a conversation.
func cost(it router.Item, a router.Agent) (int, bool) {
	lim := a.Limits[it.Kind]
	switch {
	case it.CostFreeFor == a.ID && !lim.Blocks:
		return 0, true
	case lim.UnitsEach > 0:
		return lim.UnitsEach, false
	case it.Cost > 0:
		return it.Cost, false
	}
	return 1, false
}

// room is the capacity rule alone, as the conditional update of a commit would have it.
func room(it router.Item, a router.Agent) bool {
	n, free := cost(it, a)
	lim := a.Limits[it.Kind]
	switch {
	case a.Blocker != "":
		return false
	case free:
		return true
	case lim.Blocks && a.Used > 0:
		return false
	case lim.MaxAtOnce > 0 && a.UsedBy[it.Kind] >= lim.MaxAtOnce:
		return false
	}
	return a.Used+n <= a.Units
}

// newRound is the rule of refusals: no able agent is left who has not refused.
func (f *floor) newRound(it router.Item) bool {
	if len(it.Refused) == 0 {
		return false
	}
	for _, a := range f.agents {
		if able(it, a.row) && !slices.Contains(it.Refused, a.row.ID) {
			return false
		}
	}
	return true
}

func (f *floor) barred(it router.Item, a router.Agent) bool {
	return slices.Contains(it.Refused, a.ID) && !f.newRound(it)
}

func (f *floor) canTake(it router.Item, a *desk) bool {
	return able(it, a.row) && !a.held && room(it, a.row) && !f.barred(it, a.row)
}

// waiting returns the items in order.
func (f *floor) waiting() []router.Item {
	list := slices.Collect(maps.Values(f.items))
	slices.SortFunc(list, func(a, b router.Item) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	return list
}

// takers returns who can take the item, longest idle first.
func (f *floor) takers(it router.Item) []*desk {
	var list []*desk
	for _, a := range f.agents {
		if f.canTake(it, a) {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b *desk) int {
		if c := a.row.IdleSince.Compare(b.row.IdleSince); c != 0 {
			return c
		}
		return a.row.ID.Compare(b.row.ID)
	})
	return list
}

// decide is the oracle: scan for the first item that anybody can take, give it away, scan again. It works on f.
func (f *floor) decide(limit int) []want {
	var out []want
	for len(out) < limit {
		found := false
		for _, it := range f.waiting() {
			takers := f.takers(it)
			if len(takers) == 0 {
				continue
			}
			if i := slices.IndexFunc(takers, func(a *desk) bool { return a.row.ID == it.Prefer }); i >= 0 && f.now.Before(it.PreferUntil) {
				p := takers[i]
				takers = slices.Insert(slices.Delete(takers, i, i+1), 0, p)
			}
			w := want{item: it.ID, agent: takers[0].row.ID, newRound: f.newRound(it), excluded: f.excluded(it)}
			w.cost, w.free = cost(it, takers[0].row)
			w.blocks = takers[0].row.Limits[it.Kind].Blocks
			for _, a := range takers[:min(5, len(takers))] {
				w.candidates = append(w.candidates, a.row.ID)
			}
			f.give(it, takers[0])
			out = append(out, w)
			found = true
			break
		}
		if !found {
			break
		}
	}
	return out
}

func (f *floor) excluded(it router.Item) map[router.Exclusion]int {
	m := map[router.Exclusion]int{}
	for _, a := range f.agents {
		switch {
		case a.row.Workspace != it.Workspace:
		case !member(it, a.row):
			m[router.NotMember]++
		case !skilled(it, a.row):
			m[router.MissingSkill]++
		case !a.row.Available:
			m[router.NotAvailable]++
		case !live(it, a.row):
			m[router.NotLive]++
		case f.barred(it, a.row):
			m[router.RefusedBefore]++
		case a.held || !room(it, a.row):
			m[router.NoCapacity]++
		}
	}
	return m
}

// give writes the rows of an offer.
func (f *floor) give(it router.Item, a *desk) {
	f.stamp = max(f.stamp+1, f.now.UnixNano())
	n, free := cost(it, a.row)
	a.row.Used += n
	a.row.Pending++
	if !free {
		a.row.UsedBy = maps.Clone(a.row.UsedBy)
		if a.row.UsedBy == nil {
			a.row.UsedBy = map[string]int{}
		}
		a.row.UsedBy[it.Kind]++
	}
	if a.row.Limits[it.Kind].Blocks {
		a.row.Blocker = it.Kind
	}
	a.row.IdleSince = time.Unix(0, f.stamp).UTC()
	a.row.LoadVersion++
	delete(f.items, it.ID)
}
