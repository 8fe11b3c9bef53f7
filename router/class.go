package router

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// workspace counts the agents of a tenant, for the explanation of decisions.
type workspace struct{ agents int }

type queueKey struct{ workspace, queue ID }

// queue knows its members and the classes that exist in it.
type queue struct {
	workspace *workspace
	members   map[*agent]struct{}
	classes   []*class
}

type classKey struct {
	queue queueKey
	kind  string
	live  bool
	cost  int
	needs string // the needs as one text, sorted; empty for none
}

// class is one set of requirements: every item in it asks the same of an agent.
type class struct {
	key   classKey
	queue *queue
	kind  int
	cost  int
	needs []Need
	slots map[ID]*slot
	// counts has the number of slots by state; explanations and the question "is anybody free" read it.
	counts [slotFree + 1]int
	idle   heap[*slot]
	groups heap[*group]
	// parked are groups that every free agent has refused. They come back when that may have changed.
	parked []*group
	plain  group
	others map[groupKey]*group
	ready  node[*class]
}

// groupKey has the refusals as one string of sorted ids.
type groupKey struct {
	owner   ID
	refused string
}

// group holds the items of a class that also agree in who refused them and for whom they are free of cost, so
// one look at its head answers for all of them: a refused item never hides what stands behind it.
type group struct {
	class   *class
	key     groupKey
	owner   ID
	refused []ID
	items   heap[*entry]
	place   node[*group] // in class.groups
	solo    node[*group] // in Core.solo
	parked  bool
}

func newClass(key classKey, q *queue, kind int, needs []Need) *class {
	cl := &class{key: key, queue: q, kind: kind, cost: key.cost, needs: needs, slots: make(map[ID]*slot, len(q.members))}
	cl.ready.val = cl
	cl.plain.init(cl, groupKey{}, ID{}, nil)
	return cl
}

func (g *group) init(cl *class, key groupKey, owner ID, refused []ID) {
	g.class, g.key, g.owner, g.refused = cl, key, owner, refused
	g.place.val, g.solo.val = g, g
}

// needs spells the needs of an item, so that items that ask for the same share a class. Each is 16 bytes of skill and
// 8 of level, in the order of the skills.
func needs(list []Need) ([]Need, string) {
	if len(list) == 0 {
		return nil, ""
	}
	sorted := slices.Clone(list)
	slices.SortFunc(sorted, func(a, b Need) int { return cmp.Or(a.Skill.Compare(b.Skill), cmp.Compare(a.Level, b.Level)) })
	flat := make([]byte, 0, len(sorted)*(len(ID{})+8))
	for _, n := range sorted {
		flat = append(flat, n.Skill[:]...)
		flat = binary.BigEndian.AppendUint64(flat, uint64(n.Level)) //nolint:gosec // only told apart
	}
	return sorted, string(flat)
}

// refusedBy reports whether the agent declined or missed the group's items in this round.
func (g *group) refusedBy(id ID) bool { return contains(g.refused, id) }

// contains looks an id up in a sorted list.
func contains(sorted []ID, id ID) bool {
	if len(sorted) == 0 {
		return false
	}
	_, ok := slices.BinarySearchFunc(sorted, id, ID.Compare)
	return ok
}

// newRound reports whether every able agent has refused, so that the refusals no longer count.
func (g *group) newRound() bool {
	able := g.class.counts[slotFull] + g.class.counts[slotFree]
	if len(g.refused) == 0 || len(g.refused) < able {
		return false
	}
	n := 0
	for _, id := range g.refused {
		if s := g.class.slots[id]; s != nil && s.state.able() {
			n++
		}
	}
	return n == able
}

// group finds or makes the group of an item.
func (cl *class) group(it *Item) *group {
	if it.CostFreeFor.IsZero() && len(it.Refused) == 0 {
		return &cl.plain
	}
	refused := slices.Clone(it.Refused)
	slices.SortFunc(refused, ID.Compare)
	refused = slices.Compact(refused)
	flat := make([]byte, 0, len(refused)*len(ID{}))
	for i := range refused {
		flat = append(flat, refused[i][:]...)
	}
	key := groupKey{it.CostFreeFor, string(flat)}
	g := cl.others[key]
	if g == nil {
		g = new(group)
		g.init(cl, key, it.CostFreeFor, refused)
		if cl.others == nil {
			cl.others = map[groupKey]*group{}
		}
		cl.others[key] = g
	}
	return g
}

// best appends up to n free agents in order of idle time, leaving out those in refused. It walks the heap from
// the top and looks at no more entries than it returns or leaves out; what it finds out of place it corrects,
// which each placement pays for once.
func (cl *class) best(dst []*slot, front []int, n int, refused []ID) ([]*slot, []int) {
	start := len(dst)
again:
	dst, front = dst[:start], front[:0]
	if cl.idle.len() > 0 {
		front = append(front, 0)
	}
	for len(front) > 0 && len(dst)-start < n {
		k := 0
		for j := 1; j < len(front); j++ {
			if cl.idle.s[front[j]].before(cl.idle.s[front[k]]) {
				k = j
			}
		}
		i := front[k]
		s := cl.idle.s[i].n.val
		if s.state != slotFree {
			cl.idle.remove(&s.idle)
			goto again
		}
		if s.idle.key != s.agent.idle {
			s.idle.key = s.agent.idle
			cl.idle.set(&s.idle)
			goto again
		}
		if !contains(refused, s.agent.spec.ID) {
			dst = append(dst, s)
		}
		front[k] = front[len(front)-1]
		front = front[:len(front)-1]
		for child := 2*i + 1; child <= 2*i+2 && child < cl.idle.len(); child++ {
			front = append(front, child)
		}
	}
	return dst, front
}

// move records what an agent can do for the class now and reports whether parked groups may have become
// placeable: a free agent who has not refused them, or one fewer whose turn they would have to wait for.
func (s *slot) move(to slotState) (stir bool) {
	from := s.state
	if to == slotFree && (!s.idle.in() || s.idle.key > s.agent.idle) {
		s.idle.key = s.agent.idle
		s.class.idle.set(&s.idle)
	}
	if from == to {
		return false
	}
	s.class.counts[from]--
	s.class.counts[to]++
	s.state = to
	return to == slotFree || from.able() && !to.able()
}
