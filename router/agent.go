package router

import "time"

// load is what an agent holds of one kind and what his profile says about it, with the kind interned.
type load struct {
	live   bool
	each   int
	most   int
	blocks bool
	used   int
}

// reservation is capacity taken in memory that the agent's row does not show yet.
type reservation struct {
	item   ID
	kind   int
	cost   int
	counts bool
	blocks bool
	stamp  int64
	// committed and version tell from which row on the reservation is part of the row itself. Version zero, when
	// the floor did not say, means the next row after base.
	committed bool
	version   int
	base      int
}

// agent is an agent with all that is reserved for him on top of his row.
type agent struct {
	spec     Agent
	loads    []load
	used     int
	pending  int
	blocked  bool
	idle     int64
	reserved []reservation
	// held says that the floor refused him for a reason we do not see yet: no capacity until his row comes.
	held  bool
	slots []*slot
}

// slotState is where an agent stands towards a class; the first that holds, as in the causes of exclusion.
type slotState uint8

const (
	slotAbsent slotState = iota
	slotUnskilled
	slotUnavailable
	slotNotLive
	slotFull
	slotFree
)

// able is the rule of refusals: a member with the skills, available and live; capacity does not matter.
func (s slotState) able() bool { return s >= slotFull }

// slot is one agent in one class. His place in the heap of idle agents is corrected only when somebody looks at
// it, since most of what happens to him only moves him back; his state is always true.
type slot struct {
	agent *agent
	class *class
	state slotState
	idle  node[*slot]
}

// admits reports whether the agent has room for one item of the class; free is the further interaction of a
// conversation he serves already.
func (a *agent) admits(cl *class, free bool) bool {
	if a.held || a.blocked {
		return false
	}
	l := &a.loads[cl.kind]
	if free && !l.blocks {
		return true
	}
	if l.blocks && a.used > 0 {
		return false
	}
	if l.most > 0 && l.used >= l.most {
		return false
	}
	return a.used+a.cost(cl) <= a.spec.Units
}

// cost is what an item of the class costs him when it is not free.
func (a *agent) cost(cl *class) int {
	if each := a.loads[cl.kind].each; each > 0 {
		return each
	}
	return cl.cost
}

// skilled reports whether the agent has all that the class needs.
func (a *agent) skilled(cl *class) bool {
	for _, n := range cl.needs {
		if a.spec.Skills[n.Skill] < n.Level {
			return false
		}
	}
	return true
}

// state finds the first cause that keeps the agent from an ordinary item of the class.
func (a *agent) state(cl *class) slotState {
	switch {
	case !a.skilled(cl):
		return slotUnskilled
	case !a.spec.Available:
		return slotUnavailable
	case !a.loads[cl.kind].live:
		return slotNotLive
	case !a.admits(cl, false):
		return slotFull
	}
	return slotFree
}

// learn reads the agent's profile for kinds that became known after he did.
func (a *agent) learn(kinds []string) {
	for k := len(a.loads); k < len(kinds); k++ {
		name := kinds[k]
		live, known := a.spec.Live[name]
		if !known {
			live = a.spec.Live[""]
		}
		lim := a.spec.Limits[name]
		l := load{live: live, each: lim.UnitsEach, most: lim.MaxAtOnce, blocks: lim.Blocks, used: a.spec.UsedBy[name]}
		for i := range a.reserved {
			if r := &a.reserved[i]; r.kind == k && r.counts {
				l.used++
			}
		}
		a.loads = append(a.loads, l)
	}
}

// update takes a new row. Status and profile are always taken; the load only when it is not older than what is
// known, because rows of one agent can be read before and told after a commit.
func (a *agent) update(spec Agent, kinds []string) {
	if spec.LoadVersion < a.spec.LoadVersion {
		old := &a.spec
		spec.Used, spec.UsedBy, spec.Blocker = old.Used, old.UsedBy, old.Blocker
		spec.Pending, spec.IdleSince, spec.LoadVersion = old.Pending, old.IdleSince, old.LoadVersion
	}
	a.spec = spec
	a.held = false
	kept := a.reserved[:0]
	for _, r := range a.reserved {
		if !r.shownIn(spec.LoadVersion) {
			kept = append(kept, r)
		}
	}
	a.reserved = kept
	a.recount(kinds)
}

// shownIn reports whether a row of this version contains the reservation.
func (r *reservation) shownIn(version int) bool {
	if !r.committed {
		return false
	}
	if r.version == 0 {
		return version > r.base
	}
	return version >= r.version
}

// recount puts the reservations on top of the row.
func (a *agent) recount(kinds []string) {
	a.used, a.pending, a.blocked = a.spec.Used, a.spec.Pending, a.spec.Blocker != ""
	a.idle = nanos(a.spec.IdleSince)
	for i := range a.reserved {
		r := &a.reserved[i]
		a.used += r.cost
		a.pending++
		a.blocked = a.blocked || r.blocks
		a.idle = max(a.idle, r.stamp)
	}
	a.loads = a.loads[:0]
	a.learn(kinds)
}

// reserve takes capacity at once; recount would give the same.
func (a *agent) reserve(r reservation) {
	a.reserved = append(a.reserved, r)
	a.used += r.cost
	a.pending++
	a.blocked = a.blocked || r.blocks
	a.idle = max(a.idle, r.stamp)
	if r.counts {
		a.loads[r.kind].used++
	}
}

// find returns the reservation of an item, or nil.
func (a *agent) find(item ID) *reservation {
	for i := range a.reserved {
		if a.reserved[i].item == item {
			return &a.reserved[i]
		}
	}
	return nil
}

// release gives back the reservation of an item that was not offered after all.
func (a *agent) release(item ID, kinds []string) {
	for i := range a.reserved {
		if a.reserved[i].item == item {
			a.reserved = append(a.reserved[:i], a.reserved[i+1:]...)
			break
		}
	}
	a.recount(kinds)
}

// nanos is a time as a key; the zero time is the oldest.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
