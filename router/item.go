package router

import (
	"slices"
	"time"
)

// setItem takes a row of an item that waits.
func (c *Core) setItem(it Item) {
	if v, placed := c.tombOf[it.ID]; placed && it.Version <= v {
		return
	}
	w := c.items[it.ID]
	if w == nil {
		w = &entry{}
		w.node.val, w.node.id = w, it.ID
		c.items[it.ID] = w
	} else if it.Version < w.spec.Version {
		return
	} else if w.state == entryInFlight {
		w.spec, w.removed = it, false
		return
	} else if w.state == entryWaiting {
		c.take(w)
	}
	w.spec = it
	c.insert(w)
}

func (c *Core) dropItem(id ID) {
	w := c.items[id]
	switch {
	case w == nil:
		return
	case w.state == entryInFlight:
		w.removed = true
		return
	case w.state == entryWaiting:
		c.take(w)
	}
	delete(c.items, id)
}

// insert lets the item wait in its group.
func (c *Core) insert(w *entry) {
	w.state = entryWaiting
	c.waiting++
	w.node.key = nanos(w.spec.QueuedAt) - int64(w.spec.Priority)*int64(w.spec.Weight)
	g := c.class(&w.spec).group(&w.spec)
	w.group = g
	if g.items.len() == 0 && !g.owner.IsZero() {
		c.own[g.owner] = append(c.own[g.owner], g)
	}
	g.items.set(&w.node)
	if g.items.top() == &w.node {
		c.headChanged(g)
	}
}

// take removes a waiting item from its group.
func (c *Core) take(w *entry) {
	g := w.group
	first := g.items.top() == &w.node
	g.items.remove(&w.node)
	w.group = nil
	c.waiting--
	if first {
		c.headChanged(g)
	}
}

// headChanged follows a new first item of a group through the heaps above, or forgets the group with its last.
func (c *Core) headChanged(g *group) {
	cl := g.class
	if g.items.len() > 0 {
		if !g.parked {
			c.setPlace(g)
			c.setSolo(g)
			c.sync(cl)
		}
		return
	}
	cl.groups.remove(&g.place)
	c.solo.remove(&g.solo)
	if g.parked {
		g.parked = false
		cl.parked = slices.DeleteFunc(cl.parked, func(p *group) bool { return p == g })
	}
	if g != &cl.plain {
		delete(cl.others, g.key)
	}
	if !g.owner.IsZero() {
		left := slices.DeleteFunc(c.own[g.owner], func(o *group) bool { return o == g })
		if c.own[g.owner] = left; len(left) == 0 {
			delete(c.own, g.owner)
		}
	}
	c.sync(cl)
}

// class finds or makes the class of an item. A class, once made, stays until the next snapshot: there are no
// more of them than queues times kinds times what the queues have asked for, and making one looks at every member of the queue.
func (c *Core) class(it *Item) *class {
	asked, text := needs(it.Needs)
	key := classKey{queueKey{it.Workspace, it.Queue}, it.Kind, it.Live, max(it.Cost, 0), text}
	if key.cost == 0 {
		key.cost = 1
	}
	cl := c.classes[key]
	if cl != nil {
		return cl
	}
	kind, known := c.kindOf[it.Kind]
	if !known {
		kind = len(c.kinds)
		c.kindOf[it.Kind] = kind
		c.kinds = append(c.kinds, it.Kind)
		for _, a := range c.agents {
			a.learn(c.kinds)
		}
	}
	q := c.queue(key.queue)
	cl = newClass(key, q, kind, asked)
	c.classes[key] = cl
	q.classes = append(q.classes, cl)
	for a := range q.members {
		c.moveSlot(cl.seat(a), a.state(cl))
	}
	return cl
}

// Settle tells what became of a decision: memory keeps what was committed and takes the rest back.
func (c *Core) Settle(o Outcome) {
	w := c.items[o.Item]
	if w == nil || w.state != entryInFlight {
		return
	}
	a, until := c.agents[w.agent], w.at.Add(c.patience)
	changed := w.spec.Version > w.version
	if o.Result == Committed {
		c.confirm(a, o, until)
		if !changed {
			delete(c.items, o.Item)
			c.bury(tomb{until, o.Item, w.version})
			return
		}
	} else if a != nil {
		if o.Result == AgentBusy {
			a.held = true
			c.doubts = append(c.doubts, doubt{until: until, agent: w.agent})
		}
		a.release(o.Item, c.kinds)
		c.refresh(a)
	}
	switch {
	case w.removed:
		delete(c.items, o.Item)
	case o.Result == Taken && !changed:
		w.state = entryHeld
		c.doubts = append(c.doubts, doubt{until: until, item: o.Item})
	default:
		c.insert(w)
	}
}

// confirm keeps a committed reservation until the agent's row shows it.
func (c *Core) confirm(a *agent, o Outcome, until time.Time) {
	if a == nil {
		return
	}
	r := a.find(o.Item)
	if r == nil {
		return
	}
	r.committed, r.version, r.base = true, o.LoadVersion, a.spec.LoadVersion
	if r.shownIn(a.spec.LoadVersion) {
		a.release(o.Item, c.kinds)
		c.refresh(a)
		return
	}
	c.doubts = append(c.doubts, doubt{until, o.Item, a.spec.ID})
}

func (c *Core) bury(t tomb) {
	c.tombs = append(c.tombs, t)
	c.tombOf[t.item] = t.version
}

// forget drops the tombs whose time has passed.
func (c *Core) forget(now time.Time) {
	n := 0
	for n < len(c.tombs) && !c.tombs[n].until.After(now) {
		t := c.tombs[n]
		if c.tombOf[t.item] == t.version {
			delete(c.tombOf, t.item)
		}
		n++
	}
	c.tombs = c.tombs[n:]
}

// open reports whether the changes still owe what the doubt is about.
func (c *Core) open(d doubt) bool {
	if d.agent.IsZero() {
		w := c.items[d.item]
		return w != nil && w.state == entryHeld
	}
	a := c.agents[d.agent]
	if a == nil {
		return false
	}
	if d.item.IsZero() {
		return a.held
	}
	return a.find(d.item) != nil
}

// settled drops the doubts at the front that were cleared. Their times grow with the decisions', so the first
// one left is the earliest.
func (c *Core) settled() {
	n := 0
	for n < len(c.doubts) && !c.open(c.doubts[n]) {
		n++
	}
	c.doubts = c.doubts[n:]
}

// NextTimer returns when the core has to be looked at again although nothing changed: when a disagreement with
// the floor becomes overdue. PreferUntil needs no timer: an item never waits for a preferred agent who cannot
// take it, so the end of a preference gives nobody anything he could not have had before.
func (c *Core) NextTimer(now time.Time) (time.Time, bool) {
	c.settled()
	if len(c.doubts) == 0 {
		return time.Time{}, false
	}
	at := c.doubts[0].until
	if at.Before(now) {
		at = now
	}
	return at, true
}

// Overdue reports whether the floor still owes an explanation that should have come, so that memory can no
// longer be trusted and a snapshot is due.
func (c *Core) Overdue(now time.Time) bool {
	c.settled()
	return len(c.doubts) > 0 && !c.doubts[0].until.After(now)
}
