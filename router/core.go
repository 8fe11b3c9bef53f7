package router

import (
	"slices"
	"time"
)

// Config tunes a Core.
type Config struct {
	// Patience is how long memory may disagree with what the floor answered before Overdue asks for a snapshot;
	// zero means 2 s. Changes normally settle it within milliseconds.
	Patience time.Duration
}

const defaultPatience = 2 * time.Second

// entry is an item in memory.
type entry struct {
	spec  Item
	node  node[*entry]
	group *group
	state entryState
	// agent, version and at belong to the decision in flight.
	agent   ID
	version int
	at      time.Time
	// removed says that it stopped waiting while its decision was in flight.
	removed bool
}

type entryState uint8

const (
	entryWaiting entryState = iota
	entryInFlight
	// entryHeld: the floor said it no longer waits, and we have not been told why.
	entryHeld
)

// doubt is something the changes still owe us. A zero item means that the agent's row is owed.
type doubt struct {
	until time.Time
	item  ID
	agent ID
}

// tomb keeps an item that was just placed from coming back by a row read before its placement.
type tomb struct {
	until   time.Time
	item    ID
	version int
}

// Core is the matching core: a copy of the floor and the heaps over it. It belongs to one goroutine.
type Core struct {
	patience   time.Duration
	workspaces map[ID]*workspace
	queues     map[queueKey]*queue
	classes    map[classKey]*class
	agents     map[ID]*agent
	items      map[ID]*entry
	kinds      []string
	kindOf     map[string]int
	// ready has the classes with an item and a free agent, by the key of their first item.
	ready heap[*class]
	// solo has the groups whose owner has no room in general but takes these items free of cost.
	solo heap[*group]
	// own finds the groups of an owner when he changes.
	own map[ID][]*group
	// waiting counts the items in the groups.
	waiting int

	doubts  []doubt
	tombs   []tomb
	tombOf  map[ID]int
	stamp   int64
	reasons [reasonEnd][]string
	slots   []*slot
	front   []int
}

// New makes an empty core.
func New(cfg Config) *Core {
	if cfg.Patience <= 0 {
		cfg.Patience = defaultPatience
	}
	c := &Core{patience: cfg.Patience}
	c.Load(Snapshot{})
	return c
}

// Load replaces everything by a snapshot. Decisions in flight are forgotten: the snapshot knows what became of
// them.
func (c *Core) Load(s Snapshot) {
	c.workspaces = map[ID]*workspace{}
	c.queues = map[queueKey]*queue{}
	c.classes = map[classKey]*class{}
	c.agents = make(map[ID]*agent, len(s.Agents))
	c.items = make(map[ID]*entry, len(s.Items))
	c.kinds, c.kindOf = nil, map[string]int{}
	c.ready, c.solo, c.own = heap[*class]{}, heap[*group]{}, map[ID][]*group{}
	c.doubts, c.tombs, c.tombOf, c.waiting = nil, nil, map[ID]int{}, 0
	c.Apply(Changes{Items: s.Items, Agents: s.Agents})
}

// Apply takes changes. The core keeps the slices and maps of items and agents. An id both removed and listed
// waits. A row older than what is known is ignored.
func (c *Core) Apply(ch Changes) {
	for _, id := range ch.Gone {
		c.dropAgent(id)
	}
	for i := range ch.Agents {
		c.setAgent(ch.Agents[i])
	}
	for _, id := range ch.Removed {
		c.dropItem(id)
	}
	for i := range ch.Items {
		c.setItem(ch.Items[i])
	}
}

// Waiting returns how many items wait to be decided about, those in flight not counted.
func (c *Core) Waiting() int { return c.waiting }

func (c *Core) setAgent(spec Agent) {
	a := c.agents[spec.ID]
	if a != nil && a.spec.Workspace != spec.Workspace {
		c.dropAgent(spec.ID)
		a = nil
	}
	if a == nil {
		a = &agent{}
		c.agents[spec.ID] = a
		c.workspace(spec.Workspace).agents++
		a.update(spec, c.kinds)
		c.join(a)
		return
	}
	moved := !slices.Equal(a.spec.Queues, spec.Queues)
	if moved {
		c.leave(a)
	}
	a.update(spec, c.kinds)
	if moved {
		c.join(a)
		return
	}
	c.refresh(a)
}

func (c *Core) dropAgent(id ID) {
	a := c.agents[id]
	if a == nil {
		return
	}
	c.leave(a)
	c.workspace(a.spec.Workspace).agents--
	delete(c.agents, id)
}

// join gives the agent a slot in every class of his queues.
func (c *Core) join(a *agent) {
	for _, id := range a.spec.Queues {
		q := c.queue(queueKey{a.spec.Workspace, id})
		if _, twice := q.members[a]; twice {
			continue
		}
		q.members[a] = struct{}{}
		for _, cl := range q.classes {
			cl.seat(a)
		}
	}
	c.refresh(a)
}

// leave takes the agent out of all his queues.
func (c *Core) leave(a *agent) {
	for _, id := range a.spec.Queues {
		delete(c.queue(queueKey{a.spec.Workspace, id}).members, a)
	}
	slots := a.slots
	a.slots = nil
	for _, s := range slots {
		c.moveSlot(s, slotAbsent)
		s.class.idle.remove(&s.idle)
		delete(s.class.slots, a.spec.ID)
	}
	c.refresh(a)
}

// seat makes the agent's slot in the class; refresh fills it.
func (cl *class) seat(a *agent) *slot {
	s := &slot{agent: a, class: cl}
	s.idle.id, s.idle.val = a.spec.ID, s
	cl.slots[a.spec.ID] = s
	a.slots = append(a.slots, s)
	return s
}

// refresh brings every class of the agent up to date with him.
func (c *Core) refresh(a *agent) {
	for _, s := range a.slots {
		c.moveSlot(s, a.state(s.class))
	}
	if len(c.own) == 0 {
		return
	}
	for _, g := range c.own[a.spec.ID] {
		c.revive(g)
		c.setSolo(g)
	}
}

func (c *Core) moveSlot(s *slot, to slotState) {
	cl, from := s.class, s.state
	stir := s.move(to)
	if stir && len(cl.parked) > 0 {
		c.unpark(cl, s.agent.spec.ID)
		c.sync(cl)
		return
	}
	if from != to && (from == slotFree || to == slotFree) {
		c.sync(cl)
	}
}

// unpark brings back the groups for which a change of this agent matters: those he has not refused.
func (c *Core) unpark(cl *class, id ID) {
	kept := cl.parked[:0]
	for _, g := range cl.parked {
		if g.refusedBy(id) {
			kept = append(kept, g)
			continue
		}
		g.parked = false
		c.setPlace(g)
		c.setSolo(g)
	}
	clear(cl.parked[len(kept):])
	cl.parked = kept
}

// revive brings back a parked group whose owner has become able to take its items free of cost. To the class
// nothing changed by that, so unpark does not see it.
func (c *Core) revive(g *group) {
	cl := g.class
	s := cl.slots[g.owner]
	if !g.parked || s == nil || s.state != slotFull || g.refusedBy(g.owner) || !s.agent.admits(cl, true) {
		return
	}
	cl.parked = slices.DeleteFunc(cl.parked, func(p *group) bool { return p == g })
	g.parked = false
	c.setPlace(g)
	c.sync(cl)
}

// park puts a group aside that nobody can take now, so that it hides nothing.
func (c *Core) park(g *group) {
	g.parked = true
	g.class.parked = append(g.class.parked, g)
	g.class.groups.remove(&g.place)
	c.solo.remove(&g.solo)
	c.sync(g.class)
}

// setPlace puts the group where its head belongs among the groups of the class.
func (c *Core) setPlace(g *group) {
	top := g.items.top()
	g.place.key, g.place.id = top.key, top.id
	g.class.groups.set(&g.place)
}

// setSolo lists the group by itself while only its owner could take its items, free of cost.
func (c *Core) setSolo(g *group) {
	if g.owner.IsZero() {
		return
	}
	s := g.class.slots[g.owner]
	top := g.items.top()
	if top == nil || g.parked || s == nil || s.state != slotFull || !s.agent.admits(g.class, true) {
		c.solo.remove(&g.solo)
		return
	}
	g.solo.key, g.solo.id = top.key, top.id
	c.solo.set(&g.solo)
}

// sync puts the class where its first item belongs among the classes, or takes it out while it has no item or
// no free agent.
func (c *Core) sync(cl *class) {
	top := cl.groups.top()
	if top == nil || cl.counts[slotFree] == 0 {
		c.ready.remove(&cl.ready)
		return
	}
	if cl.ready.in() && cl.ready.key == top.key && cl.ready.id == top.id {
		return
	}
	cl.ready.key, cl.ready.id = top.key, top.id
	c.ready.set(&cl.ready)
}

func (c *Core) workspace(id ID) *workspace {
	ws := c.workspaces[id]
	if ws == nil {
		ws = &workspace{}
		c.workspaces[id] = ws
	}
	return ws
}

func (c *Core) queue(key queueKey) *queue {
	q := c.queues[key]
	if q == nil {
		q = &queue{workspace: c.workspace(key.workspace), members: map[*agent]struct{}{}}
		c.queues[key] = q
	}
	return q
}
