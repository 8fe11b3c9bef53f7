package desk_test

import (
	"maps"
	"slices"
	"time"

	"pgregory.net/rapid"

	"tributary/desk"
	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/agentstatus"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/offer"
	"tributary/internal/gid"
)

// What the model says of an operation before it is done: the codes with which it may be refused. None: it must succeed.
// Where several rules refuse, any of them may speak.
type codes []desk.Code

// try does an operation and holds it to what the model says. What is refused must have changed no row of the workspace;
// what succeeded under a key is repeated, with the same answer and without a second effect (MODEL 9).
func (m *machine) try(op string, want codes, f func(key *string) (gid.ID, error)) {
	var key *string
	if rapid.IntRange(0, 3).Draw(m.rt, "keyed") == 0 {
		key = ptr(m.Unique("key"))
	}
	m.told("%s: the model says %v", op, want)
	if len(want) > 0 {
		m.refused(op, want, func() error { _, err := f(key); return err })
		return
	}
	id, err := f(key)
	if err != nil {
		m.fatal("%s: the model allows it: %v", op, err)
	}
	m.did(op, "ok")
	if key == nil {
		return
	}
	m.settled()
	before := m.digest()
	again, err := f(key)
	if err != nil || again != id {
		m.fatal("%s again under its key: %s instead of %s, %v", op, again, id, err)
	}
	m.unchanged(op, before)
}

func (m *machine) refused(op string, want codes, f func() error) {
	before := m.digest()
	err := f()
	r, refused := desk.RefusalOf(err)
	if !refused || !slices.Contains(want, r.Code) {
		m.fatal("%s: got %v, the model says %v", op, err, want)
	}
	m.did(op, string(r.Code))
	m.unchanged(op, before)
}

func (m *machine) unchanged(op string, before map[string][]string) {
	after := m.digest()
	for _, table := range slices.Sorted(maps.Keys(before)) {
		if slices.Equal(before[table], after[table]) {
			continue
		}
		for _, line := range after[table] {
			if !slices.Contains(before[table], line) {
				m.told("in %s is now: %s", table, line)
			}
		}
		m.fatal("%s had no effect to have, but changed %s", op, table)
	}
}

// pair is an agent with a contact, and what the model says of them.
type pair struct {
	p    *player
	i    *ent.Interaction
	want codes
}

// choose draws an agent and a contact, mostly such as the model lets succeed.
func (m *machine) choose(say func(p *player, i *ent.Interaction) codes) (pair, bool) {
	var all, good, bound []pair
	for _, p := range m.there() {
		for _, i := range m.was.contacts {
			x := pair{p, i, say(p, i)}
			all = append(all, x)
			if len(x.want) == 0 {
				good = append(good, x)
			}
			if full(x.want) {
				bound = append(bound, x)
			}
		}
	}
	x, there := drawn(m.rt, all, good, bound...)
	if there {
		m.told("%s, %s, %s", x.p.name, x.i.ID, x.i.State)
	}
	return x, there
}

// full is a choice that only the agent's capacity forbids: such are rare among all.
func full(want codes) bool { return slices.Equal(want, codes{desk.CapacityFull}) }

// drawn draws one of all, mostly of those that succeed, and of those that stand at the bound of capacity if there are any.
func drawn[T any](rt *rapid.T, all, good []T, bound ...T) (T, bool) {
	switch n := rapid.IntRange(0, 7).Draw(rt, "aimed"); {
	case n < 2:
	case n < 4 && len(bound) > 0:
		all = bound
	default:
		all = good
	}
	if len(all) == 0 {
		var none T
		return none, false
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(rt, "which")], true
}

// matterPair is an agent with a conversation.
type matterPair struct {
	p    *player
	c    *ent.Conversation
	want codes
}

func (m *machine) chooseMatter(say func(p *player, c *ent.Conversation) codes) (matterPair, bool) {
	var all, good []matterPair
	for _, p := range m.there() {
		for _, c := range m.was.matters {
			x := matterPair{p, c, say(p, c)}
			all = append(all, x)
			if len(x.want) == 0 {
				good = append(good, x)
			}
		}
	}
	x, there := drawn(m.rt, all, good)
	if there {
		m.told("%s, %s, %s", x.p.name, x.c.ID, x.c.State)
	}
	return x, there
}

// there are the agents who have a session.
func (m *machine) there() []*player {
	return slices.DeleteFunc(slices.Clone(m.agents), func(p *player) bool { return p.dismissed })
}

// sees: MODEL 6, by the access rows.
func (m *machine) sees(p *player, c *ent.Conversation) bool {
	return p.all || slices.ContainsFunc(c.Edges.Access, func(a *ent.Access) bool { return slices.Contains(p.subjects, a.SubjectID) })
}

// stands: by more than a pending offer.
func (m *machine) stands(p *player, c *ent.Conversation) bool {
	return p.all || slices.ContainsFunc(c.Edges.Access, func(a *ent.Access) bool {
		return a.Reason != access.ReasonOFFER && slices.Contains(p.subjects, a.SubjectID)
	})
}

func (m *machine) withheld(p *player, i *ent.Interaction) bool {
	q := m.queueOf(i)
	return q != nil && q.restricted && !slices.Contains(p.teams, *q.team)
}

// touch is what every operation on a contact asks for.
func (m *machine) touch(p *player, i *ent.Interaction) codes {
	if !m.sees(p, m.was.matter[i.ConversationID]) {
		return codes{desk.NotFound}
	}
	if m.withheld(p, i) {
		return codes{desk.NotAllowed}
	}
	return nil
}

// hold asks that the agent serves the contact, or supervises, and that it stands where it must.
func (m *machine) hold(states ...interaction.State) func(*player, *ent.Interaction) codes {
	return func(p *player, i *ent.Interaction) codes {
		if want := m.touch(p, i); want != nil {
			return want
		}
		var want codes
		if !is(i.AgentID, p.ID) && !p.boss {
			want = append(want, desk.ServedByOthers)
		}
		if !slices.Contains(states, i.State) {
			want = append(want, desk.WrongState)
		}
		return want
	}
}

// room: whether the profile admits one more contact (MODEL 2).
func (m *machine) room(p *player, i *ent.Interaction) bool {
	rule, blocks := p.profile.of(i.ChannelKind), p.profile.blocks(i.ChannelKind)
	used, ofKind, count := 0, 0, 0
	for _, o := range m.was.carries(p.ID) {
		if o.ID == i.ID { // his own offer of it is given back first
			continue
		}
		if !blocks && !o.offered && o.ConversationID == i.ConversationID {
			return true
		}
		if o.cost > 0 && p.profile.blocks(o.ChannelKind) {
			used += p.profile.units
		}
		used, count = used+o.cost, count+1
		if o.cost > 0 && o.ChannelKind == i.ChannelKind {
			ofKind++
		}
	}
	return used+rule.UnitsEach <= p.profile.units && (rule.MaxAtOnce == 0 || ofKind < rule.MaxAtOnce) && (!blocks || count == 0)
}

func (m *machine) sayClaim(p *player, i *ent.Interaction) codes {
	if want := m.touch(p, i); want != nil {
		return want
	}
	switch {
	case serves(i) && is(i.AgentID, p.ID), ended(i):
		return codes{desk.WrongState}
	case serves(i):
		return codes{desk.AlreadyTaken}
	case !m.room(p, i):
		return codes{desk.CapacityFull}
	}
	return nil
}

func (m *machine) sayAnswer(p *player, o *ent.Offer) codes {
	i := m.was.contact[o.InteractionID]
	switch {
	case o.AgentID != p.ID:
		return codes{desk.NotFound}
	case o.State == offer.StatePENDING:
		return nil
	case o.State == offer.StateEXPIRED:
		return codes{desk.OfferExpired}
	case o.State == offer.StateWITHDRAWN && i.AgentID != nil && *i.AgentID != p.ID:
		return codes{desk.AlreadyTaken}
	}
	return codes{desk.WrongState}
}

func (m *machine) sayPause(p *player, i *ent.Interaction) codes {
	want := m.hold(interaction.StateACTIVE)(p, i)
	if len(want) == 0 && i.Live {
		return codes{desk.WrongState}
	}
	return append(want, only(len(want) > 0 && i.Live && want[0] != desk.NotFound, desk.WrongState)...)
}

func only(yes bool, c desk.Code) codes {
	if yes {
		return codes{c}
	}
	return nil
}

func (m *machine) sayEnd(p *player, i *ent.Interaction) codes {
	if i.State == interaction.StatePAUSED {
		return m.touch(p, i)
	}
	return m.hold(interaction.StateACTIVE)(p, i)
}

func (m *machine) sayResolve(p *player, c *ent.Conversation, endOthers bool) codes {
	if !m.sees(p, c) {
		return codes{desk.NotFound}
	}
	want := only(c.State == conversation.StateRESOLVED, desk.WrongState)
	for _, i := range m.was.of(c) {
		if ended(i) {
			continue
		}
		if m.withheld(p, i) {
			want = append(want, desk.NotAllowed)
		}
		if i.AgentID != nil && *i.AgentID != p.ID && !endOthers {
			want = append(want, desk.ServedByOthers)
		}
	}
	return want
}

// sayTransfer judges a transfer to an agent, or to a queue if the agent is nil.
func (m *machine) sayTransfer(p *player, i *ent.Interaction, to *player) codes {
	want := m.hold(interaction.StateACTIVE)(p, i)
	if to == nil || len(want) == 1 && want[0] == desk.NotFound {
		return want
	}
	switch {
	case !m.was.active[to.ID]:
		return append(want, desk.NotFound)
	case is(i.AgentID, to.ID):
		return append(want, desk.WrongState)
	case m.was.status[to.ID] != agentstatus.StateAVAILABLE, !m.was.live[to.ID]:
		return append(want, desk.CapacityFull)
	case m.withheld(to, i):
		return append(want, desk.NotAllowed)
	case !m.room(to, i):
		return append(want, desk.CapacityFull)
	}
	return want
}

// sayMatter: the matter goes along by its owner's word, or a supervisor's.
func (m *machine) sayMatter(p *player, i *ent.Interaction, along bool) codes {
	owner := m.was.matter[i.ConversationID].OwnerID
	return only(along && owner != nil && !is(owner, p.ID) && !p.boss, desk.NotAllowed)
}

func (m *machine) sayJoin(p *player, i *ent.Interaction) codes {
	if want := m.touch(p, i); want != nil {
		return want
	}
	return only(i.State != interaction.StateACTIVE || is(i.AgentID, p.ID), desk.WrongState)
}

func (m *machine) sayLeave(p *player, i *ent.Interaction) codes {
	if want := m.touch(p, i); want != nil {
		return want
	}
	return only(!m.was.consults(i, p.ID), desk.WrongState)
}

func (m *machine) saySend(p *player, i *ent.Interaction) codes {
	if want := m.touch(p, i); want != nil {
		return want
	}
	beside := m.was.consults(i, p.ID)
	switch {
	case i.State == interaction.StatePAUSED, beside:
		return nil
	case serves(i):
		return only(!is(i.AgentID, p.ID) && !p.boss, desk.ServedByOthers)
	}
	return codes{desk.WrongState}
}

func (m *machine) sayStart(p *player, c *ent.Conversation, channel gid.ID) codes {
	if !m.sees(p, c) {
		return codes{desk.NotFound}
	}
	last := m.lastBy(channel, c.CustomerID)
	if last == nil {
		return codes{desk.IdentityUnreachable}
	}
	var want codes
	for _, i := range m.was.contacts {
		if !ended(i) && is(i.ChannelID, channel) && i.ThreadKey == last.ThreadKey {
			want = append(want, desk.InUse)
		}
	}
	// What was handed to a restricted queue stays there: what follows it, too.
	q := m.channelQueue(channel)
	if of := m.queueOf(last); of != nil && of.restricted {
		q = of.id
	}
	fresh := &ent.Interaction{ConversationID: c.ID, ChannelKind: last.ChannelKind, QueueID: &q}
	if m.withheld(p, fresh) {
		want = append(want, desk.NotAllowed)
	}
	return append(want, only(!m.room(p, fresh), desk.CapacityFull)...)
}

// lastBy is the last contact by which a channel reached a customer.
func (m *machine) lastBy(channel, customer gid.ID) (last *ent.Interaction) {
	for _, i := range m.was.contacts {
		if is(i.ChannelID, channel) && i.CustomerID == customer && (last == nil || !i.StartedAt.Before(last.StartedAt)) {
			last = i
		}
	}
	return last
}

func (m *machine) saySnooze(p *player, c *ent.Conversation, d time.Duration) codes {
	if !m.sees(p, c) {
		return codes{desk.NotFound}
	}
	return append(only(d <= 0, desk.Invalid), only(c.State != conversation.StatePENDING && c.State != conversation.StateSNOOZED, desk.WrongState)...)
}

func (m *machine) sayOwner(p *player, c *ent.Conversation, to *player) codes {
	if !m.sees(p, c) {
		return codes{desk.NotFound}
	}
	want := only(c.OwnerID != nil && !is(c.OwnerID, p.ID) && !p.boss, desk.NotAllowed)
	return append(want, only(to != nil && !m.was.active[to.ID], desk.NotFound)...)
}

// sayMessage judges what is done with a message that was sent.
func (m *machine) sayMessage(p *player, x *ent.Message, from ...message.Delivery) codes {
	i := m.was.contact[x.InteractionID]
	if m.touch(p, i) != nil {
		return codes{desk.NotFound}
	}
	return only(!slices.Contains(from, x.Delivery), desk.WrongState)
}
