package router_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"tributary/router"
)

// model drives a core and the oracle through the same story and compares every decision.
type model struct {
	*floor
	core *router.Core
	draw func(label string, lo, hi int) int
	next int
	// offers are open or accepted; what they reserve is given back when they end.
	offers []offer
	// history has the older load rows of an agent, to be told again out of order.
	history map[router.ID][]router.Agent
	// untold is what the core will hear only later.
	untold []router.Changes
	// seen is how often each result and rule came up.
	seen map[string]int
	// spoilItem and spoilAgent falsify what the core hears: the negative controls.
	spoilItem  func(*router.Item)
	spoilAgent func(*router.Agent)
}

type offer struct {
	item router.Item
	d    router.Decision
}

func newModel(draw func(string, int, int) int) *model {
	return &model{
		floor: &floor{now: t0, items: map[router.ID]router.Item{}, agents: map[router.ID]*desk{}},
		core:  router.New(router.Config{Patience: time.Hour}), draw: draw, next: 100, seen: map[string]int{},
		history: map[router.ID][]router.Agent{},
	}
}

func (m *model) chance(label string, percent int) bool { return m.draw(label, 1, 100) <= percent }

// tell applies changes to the core, falsified in a negative control.
func (m *model) tell(ch router.Changes) {
	ch.Items, ch.Agents = slices.Clone(ch.Items), slices.Clone(ch.Agents)
	for i := range ch.Items {
		if m.spoilItem != nil {
			m.spoilItem(&ch.Items[i])
		}
	}
	for i := range ch.Agents {
		if m.spoilAgent != nil {
			m.spoilAgent(&ch.Agents[i])
		}
	}
	m.core.Apply(ch)
}

// step does one random thing.
func (m *model) step() error {
	m.now = m.now.Add(time.Duration(m.draw("tick", 0, 5)) * time.Second)
	switch m.draw("action", 0, 13) {
	case 0, 1, 2:
		m.putItem(m.next)
		m.next++
	case 3:
		if it, ok := m.anyItem(); ok {
			m.putItem(num(it.ID))
		}
	case 4:
		if it, ok := m.anyItem(); ok {
			delete(m.items, it.ID)
			m.tell(router.Changes{Removed: []router.ID{it.ID}})
		}
	case 5, 6:
		m.putAgent(m.draw("agent", 1, 7))
	case 7:
		m.someAgent()
	case 8, 9:
		m.endOffer()
	case 10:
		m.catchUp()
	default:
		return m.decide(m.draw("limit", 1, 6))
	}
	return nil
}

func (m *model) anyItem() (router.Item, bool) {
	list := m.waiting()
	if len(list) == 0 {
		return router.Item{}, false
	}
	return list[m.draw("which", 0, len(list)-1)], true
}

// putItem adds or changes an item.
func (m *model) putItem(n int) {
	old := m.items[id(n)]
	it := router.Item{
		ID: id(n), Workspace: ws, Queue: id(8001 + m.draw("queue", 0, 1)), Live: m.chance("live", 50),
		Kind:     []string{"chat", "chat", "mail", "voice"}[m.draw("kind", 0, 3)],
		QueuedAt: m.now.Add(-time.Duration(m.draw("age", 0, 20)) * time.Second), Priority: m.draw("priority", 0, 3),
		Weight: 5 * time.Second, Cost: m.draw("cost", 0, 2), Version: old.Version + 1,
	}
	if m.chance("sticky", 30) {
		it.Prefer, it.PreferUntil = id(m.draw("prefer", 1, 7)), m.now.Add(time.Duration(m.draw("until", 0, 90))*time.Second)
	}
	if m.chance("owned", 30) {
		it.CostFreeFor = id(m.draw("owner", 1, 7))
	}
	for m.chance("refused", 40) && len(it.Refused) < 5 {
		it.Refused = append(it.Refused, id(m.draw("refuser", 1, 7)))
	}
	for k := range 2 {
		if m.chance("asks", 25) {
			it.Needs = append(it.Needs, router.Need{Skill: id(7001 + k), Level: m.draw("least", 1, 3)})
		}
	}
	m.items[it.ID] = it
	m.tell(router.Changes{Items: []router.Item{it}})
}

// putAgent adds an agent or changes his status, profile or queues.
func (m *model) putAgent(n int) {
	a := m.agents[id(n)]
	if a == nil {
		a = &desk{row: router.Agent{ID: id(n), Workspace: ws, IdleSince: m.now.Add(-time.Duration(m.draw("idle", 0, 9)) * time.Second), UsedBy: map[string]int{}}}
		m.agents[id(n)] = a
	}
	row := a.row
	row.Used = 0 // whatever else made him busy has ended
	for _, o := range m.offers {
		if o.d.Agent == row.ID {
			row.Used += o.d.Cost
		}
	}
	if m.chance("idle again", 30) {
		row.IdleSince = m.now.Add(-time.Duration(m.draw("idle", 0, 60)) * time.Second)
	}
	row.Available = m.chance("available", 75)
	row.Units = m.draw("units", 0, 4)
	row.Live = map[string]bool{"": true, "voice": m.chance("phone", 60)}
	if m.chance("offline", 15) {
		row.Live[""] = false
	}
	row.Skills = map[router.ID]int{id(7001): m.draw("level", 0, 3), id(7002): m.draw("level", 0, 3)}
	row.Limits = map[string]router.Limit{"voice": {Blocks: true}}
	if m.chance("priced", 40) {
		row.Limits["mail"] = router.Limit{UnitsEach: m.draw("each", 0, 2), MaxAtOnce: m.draw("most", 0, 2)}
	}
	row.Queues = [][]router.ID{{q1, q2}, {q1}, {q2}, {q2, q1, q1}, nil}[m.draw("queues", 0, 4)]
	m.setRow(a, row)
}

// setRow writes a row and tells the core at once.
func (m *model) setRow(a *desk, row router.Agent) {
	m.history[row.ID] = append(m.history[row.ID], a.row)
	row.LoadVersion++
	a.row, a.held = row, false
	m.tell(router.Changes{Agents: []router.Agent{row}})
}

// someAgent tells about an agent without a change: as he is, with an older load, or that he is gone.
func (m *model) someAgent() {
	a := m.agents[id(m.draw("agent", 1, 7))]
	if a == nil {
		return
	}
	old := m.history[a.row.ID]
	switch what := m.draw("told", 0, 5); {
	case what == 0:
		delete(m.agents, a.row.ID)
		delete(m.history, a.row.ID)
		m.offers = slices.DeleteFunc(m.offers, func(o offer) bool { return o.d.Agent == a.row.ID })
		m.tell(router.Changes{Gone: []router.ID{a.row.ID}})
	case what <= 3 && len(old) > 0 && !a.held:
		row, o := a.row, old[m.draw("older", 0, len(old)-1)]
		row.Used, row.UsedBy, row.Blocker, row.Pending = o.Used, o.UsedBy, o.Blocker, o.Pending
		row.IdleSince, row.LoadVersion = o.IdleSince, o.LoadVersion
		m.seen["stale row"]++
		m.tell(router.Changes{Agents: []router.Agent{row}})
	default:
		a.held = false
		m.tell(router.Changes{Agents: []router.Agent{a.row}})
	}
}

// endOffer ends an offer: declined, it waits again with one more refusal; else it was served.
func (m *model) endOffer() {
	if len(m.offers) == 0 {
		return
	}
	i := m.draw("offer", 0, len(m.offers)-1)
	o := m.offers[i]
	m.offers = slices.Delete(m.offers, i, i+1)
	a := m.agents[o.d.Agent]
	row := a.row
	row.UsedBy = maps.Clone(row.UsedBy)
	row.Used -= o.d.Cost
	row.Pending--
	if !o.d.Free {
		row.UsedBy[o.item.Kind]--
	}
	if o.d.Blocks {
		row.Blocker = ""
	}
	m.setRow(a, row)
	if m.chance("declined", 60) {
		it := o.item
		it.Version += 2
		if o.d.NewRound {
			it.Refused = nil
		}
		it.Refused = append(slices.Clone(it.Refused), o.d.Agent)
		m.items[it.ID] = it
		m.tell(router.Changes{Items: []router.Item{it}})
	}
}

// catchUp tells what is owed, or starts again from a snapshot.
func (m *model) catchUp() {
	for _, ch := range m.untold {
		for _, it := range ch.Items {
			m.items[it.ID] = it
		}
		m.tell(ch)
	}
	m.untold = nil
	if !m.chance("snapshot", 20) {
		return
	}
	s := router.Snapshot{Items: m.waiting()}
	for _, a := range m.agents {
		a.held = false
		s.Agents = append(s.Agents, a.row)
	}
	m.core.Load(router.Snapshot{})
	m.tell(router.Changes{Items: s.Items, Agents: s.Agents})
}

// decide compares one call of Decide with the oracle, checks the promises, and settles by chance.
func (m *model) decide(limit int) error {
	wanted := m.clone().decide(limit)
	ds := m.core.Decide(m.now, limit)
	if err := compare(ds, wanted); err != nil {
		return err
	}
	if err := m.promises(ds, limit); err != nil {
		return err
	}
	for _, d := range ds {
		m.settle(d)
	}
	if got := m.core.Waiting(); got != len(m.items) {
		return fmt.Errorf("%d items wait, want %d", got, len(m.items))
	}
	return nil
}

func compare(ds []router.Decision, wanted []want) error {
	if len(ds) != len(wanted) {
		return fmt.Errorf("%d decisions %v, want %d: %+v", len(ds), pairs(ds), len(wanted), wanted)
	}
	for i, d := range ds {
		w := wanted[i]
		got := want{d.Item, d.Agent, d.Cost, d.Free, d.Blocks, d.NewRound, nil, d.Excluded}
		for _, c := range d.Candidates {
			got.candidates = append(got.candidates, c.Agent)
		}
		if fmt.Sprint(got) != fmt.Sprint(w) {
			return fmt.Errorf("decision %d is\n%+v, want\n%+v", i, got, w)
		}
	}
	return nil
}

// promises checks what users were promised, decision by decision, whatever the oracle says.
func (m *model) promises(ds []router.Decision, limit int) error {
	f := m.clone()
	for _, d := range ds {
		it, waits := f.items[d.Item]
		a := f.agents[d.Agent]
		switch {
		case !waits:
			return fmt.Errorf("item %d does not wait", num(d.Item))
		case !room(it, a.row):
			return fmt.Errorf("no room for item %d at agent %d", num(d.Item), num(d.Agent))
		case f.barred(it, a.row):
			return fmt.Errorf("item %d goes to refuser %d before the others had their turn", num(d.Item), num(d.Agent))
		}
		for _, o := range f.items {
			same := o.Queue == it.Queue && o.Kind == it.Kind && o.Live == it.Live && max(o.Cost, 1) == max(it.Cost, 1)
			if same && before(o, it) && f.canTake(o, a) {
				return fmt.Errorf("item %d passes item %d at agent %d", num(it.ID), num(o.ID), num(d.Agent))
			}
		}
		m.count(f, it, d)
		f.give(it, a)
	}
	if len(ds) == limit {
		return nil
	}
	for _, it := range f.items {
		if t := f.takers(it); len(t) > 0 {
			return fmt.Errorf("item %d waits although agent %d can take it", num(it.ID), num(t[0].row.ID))
		}
	}
	return nil
}

// count notes which rules the story has touched, so that a property that tests nothing is seen.
func (m *model) count(f *floor, it router.Item, d router.Decision) {
	m.seen["decisions"]++
	for _, r := range d.Reasons {
		m.seen[r]++
	}
	if d.Blocks {
		m.seen["blocks"]++
	}
	if first := f.waiting()[0]; first.ID != it.ID {
		m.seen["passes what nobody can take"]++
	}
}

// settle lets the decision become true, or not.
func (m *model) settle(d router.Decision) {
	it, a := m.items[d.Item], m.agents[d.Agent]
	o := router.Outcome{Item: d.Item, Result: router.Committed}
	switch m.draw("result", 1, 20) {
	case 1:
		o.Result = router.Taken
		ch := router.Changes{Removed: []router.ID{d.Item}}
		if m.chance("changed", 50) {
			it.Version++
			it.Priority = 3 - it.Priority
			ch = router.Changes{Items: []router.Item{it}}
		}
		m.untold = append(m.untold, ch)
		delete(m.items, d.Item)
	case 2:
		o.Result = router.AgentBusy
		m.history[a.row.ID] = append(m.history[a.row.ID], a.row)
		a.row.Used++
		a.row.LoadVersion++
		a.held = true
	case 3:
		o.Result = router.Lost
	default:
		m.history[a.row.ID] = append(m.history[a.row.ID], a.row)
		m.give(it, a)
		o.LoadVersion = a.row.LoadVersion
		m.offers = append(m.offers, offer{it, d})
	}
	if o.Result != router.Committed {
		m.stamp = max(m.stamp+1, m.now.UnixNano()) // the turn was given, only the offer was not
	}
	m.seen[fmt.Sprint("result ", o.Result)]++
	m.core.Settle(o)
	if o.Result == router.Committed && m.chance("late row", 20) {
		m.tell(router.Changes{Items: []router.Item{it}})
	}
}
