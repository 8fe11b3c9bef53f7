package router

import (
	"slices"
	"time"
)

// shown is how many candidates a decision keeps.
const shown = 5

// choice is who gets an item, and why.
type choice struct {
	slot     *slot
	owner    *slot // candidate only because the item is free of cost for him
	refused  []ID
	newRound bool
	why      reason
}

// Decide places waiting items, smallest key first, at most limit of them. What it places is in flight and its
// capacity reserved in memory until Settle. Fewer decisions than the limit means that nothing else can be
// placed now.
func (c *Core) Decide(now time.Time, limit int) []Decision {
	c.forget(now)
	var out []Decision
	for len(out) < limit {
		g, solo := c.next()
		if g == nil {
			break
		}
		w := g.items.top().val
		ch, found := c.choose(g, &w.spec, now)
		if found {
			out = append(out, c.place(g, w, &ch, now))
			continue
		}
		// A group leaves only the list that failed: the other one, and what it stands for, is still open.
		if solo && !g.refusedBy(g.owner) {
			c.solo.remove(&g.solo)
			continue
		}
		c.park(g)
	}
	return out
}

// next returns the group with the smallest head that somebody may be able to take.
func (c *Core) next() (g *group, solo bool) {
	r, s := c.ready.top(), c.solo.top()
	switch {
	case r == nil && s == nil:
		return nil, false
	case r == nil || s != nil && (s.key < r.key || s.key == r.key && s.id.Compare(r.id) < 0):
		return s.val, true
	}
	return r.val.groups.top().val, false
}

// choose finds the agent for the first item of a group. The candidates stay in c.slots, best first.
func (c *Core) choose(g *group, it *Item, now time.Time) (choice, bool) {
	cl := g.class
	ch := choice{refused: g.refused}
	if g.newRound() {
		ch.refused, ch.newRound, ch.why = nil, true, whyNewRound
	}
	c.slots, c.front = cl.best(c.slots[:0], c.front, shown, ch.refused)
	if !g.owner.IsZero() {
		if s := cl.slots[g.owner]; s != nil && s.state == slotFull &&
			!contains(ch.refused, g.owner) && s.agent.admits(cl, true) {
			ch.owner = s
			c.slots = addByIdle(c.slots, s)
		}
	}
	if len(c.slots) == 0 {
		return ch, false
	}
	ch.slot = c.slots[0]
	if !it.Prefer.IsZero() {
		c.prefer(&ch, cl, it, now)
	}
	if ch.why&whyPreferred == 0 {
		ch.why |= whyIdle(c.slots)
	}
	return ch, true
}

// prefer gives the item to the preferred agent if he can take it and the preference still holds.
func (c *Core) prefer(ch *choice, cl *class, it *Item, now time.Time) {
	if !now.Before(it.PreferUntil) {
		ch.why |= whyExpired
		return
	}
	p := cl.slots[it.Prefer]
	if p == nil || contains(ch.refused, it.Prefer) || p.state != slotFree && p != ch.owner {
		ch.why |= whyUnreachable
		return
	}
	ch.slot = p
	ch.why |= whyPreferred
	c.slots = toFront(c.slots, p)
}

// addByIdle puts one more candidate where his idle time belongs.
func addByIdle(slots []*slot, s *slot) []*slot {
	i := 0
	for i < len(slots) && !longer(s, slots[i]) {
		i++
	}
	slots = slices.Insert(slots, i, s)
	return slots[:min(len(slots), shown)]
}

// longer reports whether a has been idle longer than b.
func longer(a, b *slot) bool {
	if a.agent.idle != b.agent.idle {
		return a.agent.idle < b.agent.idle
	}
	return a.agent.spec.ID.Compare(b.agent.spec.ID) < 0
}

// toFront shows the chosen candidate first, whether he was among the best or not.
func toFront(slots []*slot, s *slot) []*slot {
	if i := slices.Index(slots, s); i >= 0 {
		slots = slices.Delete(slots, i, i+1)
	}
	slots = slices.Insert(slots, 0, s)
	return slots[:min(len(slots), shown)]
}

// place makes the decision, takes the item out and reserves what it costs.
func (c *Core) place(g *group, w *entry, ch *choice, now time.Time) Decision {
	a, cl, it := ch.slot.agent, g.class, &w.spec
	blocks := a.loads[cl.kind].blocks
	free := a.spec.ID == g.owner && !g.owner.IsZero() && !blocks
	cost := a.cost(cl)
	if free {
		cost = 0
		ch.why |= whySame
	}
	d := Decision{
		Item: it.ID, Version: it.Version, Workspace: it.Workspace, Queue: it.Queue, Agent: a.spec.ID, Kind: it.Kind,
		Cost: cost, Free: free, Blocks: blocks, NewRound: ch.newRound, At: now, Expires: it.OfferFor,
		Reasons: c.explain(ch.why), Candidates: c.candidates(g, it, now), Excluded: cl.excluded(ch),
	}
	// Strictly growing, so that agents who get work in one batch still take turns.
	c.stamp = max(c.stamp+1, now.UnixNano())
	c.take(w)
	w.state, w.agent, w.version, w.at, w.removed = entryInFlight, a.spec.ID, it.Version, now, false
	a.reserve(reservation{item: it.ID, kind: cl.kind, cost: cost, counts: !free, blocks: blocks, stamp: c.stamp})
	c.refresh(a)
	return d
}
