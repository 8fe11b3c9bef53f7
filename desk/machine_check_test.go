package desk_test

import (
	"fmt"
	"slices"
	"time"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/assignment"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/job"
	"tributary/ent/message"
	"tributary/internal/gid"
)

// The invariants: each names its rule, and holds after every step whatever it was.

var allowed = golden()

// check judges what is there.
func (m *machine) check(r *rows) {
	wrong := m.wrong
	for _, i := range r.contacts {
		r.checkPlace(i, wrong)
		r.checkServer(i, wrong)
		r.checkConsultants(i, wrong)
	}
	r.checkThreads(wrong)
	for _, c := range r.matters {
		r.checkState(c, wrong)
		m.checkSight(r, c, wrong)
	}
	for _, p := range m.agents {
		m.checkLoad(r, p, wrong)
	}
	r.checkNumbers(wrong)
	failed, err := m.Store.Ent.Job.Query().Where(job.ErrorNotNil()).All(m.Sys)
	m.must(err)
	for _, j := range failed {
		wrong("a job fails: %s: %s", j.Kind, *j.Error)
	}
}

type complain func(format string, args ...any)

// checkPlace: nothing is owed without queue, offer or server (MODEL 2).
func (r *rows) checkPlace(i *ent.Interaction, wrong complain) {
	open, server := len(r.pending(i)), i.AgentID != nil
	want := map[interaction.State][3]bool{ // an open offer, a server, a place in a queue
		interaction.StateQUEUED: {false, false, true}, interaction.StateOFFERED: {true, false, true},
		interaction.StateACTIVE: {false, true, false}, interaction.StateWRAP_UP: {false, true, false},
		interaction.StatePAUSED: {}, interaction.StateENDED: {},
	}[i.State]
	switch {
	case open > 1 || (open == 1) != want[0] || (i.OpenOfferID != nil) != want[0]:
		wrong("MODEL 2: %s is %s with %d pending offers, open offer %v", i.ID, i.State, open, i.OpenOfferID)
	case want[0] && r.offer[*i.OpenOfferID].InteractionID != i.ID:
		wrong("MODEL 2: %s stands on the offer of another contact", i.ID)
	case server != want[1]:
		wrong("MODEL 2: %s is %s with the server %v", i.ID, i.State, i.AgentID)
	case want[2] && (i.QueueID == nil || i.QueuedAt == nil):
		wrong("MODEL 2: %s is %s in queue %v since %v", i.ID, i.State, i.QueueID, i.QueuedAt)
	case ended(i) != (i.EndedAt != nil) || ended(i) && i.Live:
		wrong("MODEL 2: %s is %s, ended at %v, live %v", i.ID, i.State, i.EndedAt, i.Live)
	}
}

// checkServer: the open assignment is the server's, and there is no other (MODEL 1).
func (r *rows) checkServer(i *ent.Interaction, wrong complain) {
	var open []gid.ID
	for _, a := range r.assignments {
		if a.InteractionID == i.ID && a.EndedAt == nil && a.Kind != assignment.KindCONSULT {
			open = append(open, a.AgentID)
		}
	}
	if i.AgentID == nil && len(open) > 0 || i.AgentID != nil && !slices.Equal(open, []gid.ID{*i.AgentID}) {
		wrong("MODEL 1: %s is %s with the server %v, but open assignments of %v", i.ID, i.State, i.AgentID, open)
	}
}

// checkConsultants: beside a server, or beside what its giver handed over warmly and nobody took yet (MODEL 2 and 7).
func (r *rows) checkConsultants(i *ent.Interaction, wrong complain) {
	var rowsOf, open []gid.ID
	for _, c := range r.consultants {
		if c.InteractionID == i.ID {
			rowsOf = append(rowsOf, c.AgentID)
		}
	}
	for _, a := range r.assignments {
		if a.InteractionID == i.ID && a.EndedAt == nil && a.Kind == assignment.KindCONSULT {
			open = append(open, a.AgentID)
		}
	}
	sortIDs(rowsOf)
	sortIDs(open)
	switch {
	case !slices.Equal(rowsOf, open):
		wrong("MODEL 7: %s (%s) has consultants %v, but open consultations of %v", i.ID, i.State, rowsOf, open)
	case len(rowsOf) == 0 || serves(i):
	case i.State != interaction.StateQUEUED && i.State != interaction.StateOFFERED || len(rowsOf) > 1 || !is(i.PreviousAgentID, rowsOf[0]):
		wrong("MODEL 7: %s is %s with consultants %v, given by %v", i.ID, i.State, rowsOf, i.PreviousAgentID)
	}
	if i.AgentID != nil && slices.Contains(rowsOf, *i.AgentID) {
		wrong("MODEL 7: %s helps himself in %s", i.AgentID, i.ID)
	}
}

// checkThreads: at most one contact that is not over per channel and thread (MODEL 4).
func (r *rows) checkThreads(wrong complain) {
	open := map[string]gid.ID{}
	for _, i := range r.contacts {
		if ended(i) || i.ChannelID == nil {
			continue
		}
		key := i.ChannelID.String() + i.ThreadKey
		if other, there := open[key]; there {
			wrong("MODEL 4: %s and %s are open on one thread", other, i.ID)
		}
		open[key] = i.ID
	}
}

// checkState: the conversation's state follows from its contacts (MODEL 3).
func (r *rows) checkState(c *ent.Conversation, wrong complain) {
	owed, going := false, 0
	var since *time.Time
	for _, i := range r.of(c) {
		if ended(i) {
			continue
		}
		going++
		owed = owed || i.State == interaction.StateQUEUED || i.State == interaction.StateOFFERED || i.State == interaction.StateACTIVE && i.UnansweredSince != nil
		if i.UnansweredSince != nil && (since == nil || i.UnansweredSince.Before(*since)) {
			since = i.UnansweredSince
		}
	}
	switch {
	case owed != (c.State == conversation.StateOPEN):
		wrong("MODEL 3: %s is %s, owed: %v", c.ID, c.State, owed)
	case c.State == conversation.StateRESOLVED && going > 0:
		wrong("MODEL 3: %s is RESOLVED with %d contacts going on", c.ID, going)
	case (c.State == conversation.StateRESOLVED) != (c.ResolvedAt != nil), (c.State == conversation.StateSNOOZED) != (c.SnoozedUntil != nil):
		wrong("MODEL 3: %s is %s, resolved at %v, snoozed until %v", c.ID, c.State, c.ResolvedAt, c.SnoozedUntil)
	case (c.WaitingSince == nil) != (since == nil) || since != nil && !c.WaitingSince.Equal(*since):
		wrong("MODEL 3: %s waits since %v, its contacts since %v", c.ID, c.WaitingSince, since)
	}
}

// checkSight: the access rows are those that the reasons of MODEL 6 give, and the audience of events is the same.
func (m *machine) checkSight(r *rows, c *ent.Conversation, wrong complain) {
	want := map[string]bool{}
	add := func(id gid.ID, why access.Reason) { want[fmt.Sprint(id, why)] = true }
	if c.OwnerID != nil {
		add(*c.OwnerID, access.ReasonOWNER)
	}
	if c.TeamID != nil {
		add(*c.TeamID, access.ReasonTEAM)
	}
	for _, f := range r.followers {
		if f.ConversationID == c.ID {
			add(f.AgentID, access.ReasonFOLLOWS)
		}
	}
	for _, i := range r.of(c) {
		if q := m.queueOf(i); q != nil && q.team != nil {
			add(*q.team, access.ReasonQUEUE)
		}
		for _, o := range r.pending(i) {
			add(o.AgentID, access.ReasonOFFER)
		}
		for _, a := range r.assignments {
			if a.InteractionID == i.ID {
				add(a.AgentID, access.ReasonSERVED)
			}
		}
	}
	var audience []gid.ID
	for _, a := range c.Edges.Access {
		if key := fmt.Sprint(a.SubjectID, a.Reason); !want[key] {
			wrong("MODEL 6: %s is seen by %s for %s without a reason", c.ID, a.SubjectID, a.Reason)
		} else {
			delete(want, key)
		}
		audience = append(audience, a.SubjectID)
	}
	for key := range want {
		wrong("MODEL 6: %s lacks the access row %s", c.ID, key)
	}
	sortIDs(audience)
	audience = slices.Compact(audience)
	if !slices.Equal(audience, c.Audience) {
		wrong("MODEL 8: %s has the audience %v, but access of %v", c.ID, c.Audience, audience)
	}
}

func sortIDs(ids []gid.ID) {
	slices.SortFunc(ids, func(a, b gid.ID) int { return slices.Compare(a[:], b[:]) })
}

func (m *machine) queueOf(i *ent.Interaction) *line {
	for _, q := range m.queues {
		if is(i.QueueID, q.id) {
			return q
		}
	}
	return nil
}

// checkLoad: what an agent carries is recomputed from his contacts by his profile, and stays within it but for a contact
// that took over the cost of another one that ended (MODEL 2).
func (m *machine) checkLoad(r *rows, p *player, wrong complain) {
	l, mine := r.loads[p.ID], r.carries(p.ID)
	used, by, count, heirs, heirsBy := 0, map[string]int{}, len(mine), 0, map[string]int{}
	var blocker *carried
	for n, i := range mine {
		used += i.cost
		if i.cost == 0 {
			if !m.paidBeside(mine, i) {
				wrong("MODEL 2: %s carries %s (%s) for nothing, and nothing else of its conversation", p.name, i.ID, i.State)
			}
			continue
		}
		by[i.ChannelKind]++
		if i.cost != p.profile.of(i.ChannelKind).UnitsEach {
			wrong("MODEL 2: %s pays %d for %s of kind %s", p.name, i.cost, i.ID, i.ChannelKind)
		}
		if m.heirs[i.ID] {
			heirs += i.cost
			heirsBy[i.ChannelKind]++
		}
		if p.profile.blocks(i.ChannelKind) && !m.heirs[i.ID] {
			blocker = &mine[n]
		}
	}
	if l.Used != used || l.Count != count || !sameCounts(l.UsedBy, by) || (l.BlockerID == nil) != (blocker == nil) || blocker != nil && *l.BlockerID != blocker.ID {
		wrong("MODEL 2: %s carries used %d, count %d, %v, blocker %v; his contacts say %d, %d, %v, %v", p.name, l.Used, l.Count, l.UsedBy, l.BlockerID, used, count, by, blocker)
	}
	if used-heirs > p.profile.units {
		wrong("MODEL 2: %s carries %d of %d units", p.name, used, p.profile.units)
	}
	for kind, n := range by {
		if limit := p.profile.of(kind).MaxAtOnce; limit > 0 && n-heirsBy[kind] > limit {
			wrong("MODEL 2: %s has %d of kind %s, at most %d", p.name, n, kind, limit)
		}
	}
	for _, i := range mine {
		if blocker != nil && i.ConversationID != blocker.ConversationID {
			wrong("MODEL 2: %s has %s beside the blocking %s", p.name, i.ID, blocker.ID)
		}
	}
}

// paidBeside reports whether something else of the conversation that the agent carries pays.
func (m *machine) paidBeside(mine []carried, i carried) bool {
	return slices.ContainsFunc(mine, func(o carried) bool { return o.ID != i.ID && o.ConversationID == i.ConversationID && o.cost > 0 })
}

func sameCounts(a, b map[string]int) bool {
	for k, n := range a {
		if b[k] != n {
			return false
		}
	}
	for k, n := range b {
		if a[k] != n {
			return false
		}
	}
	return true
}

// checkNumbers: messages are numbered without a gap in their contact, and for their visitor.
func (r *rows) checkNumbers(wrong complain) {
	inContact, visible := map[gid.ID][]int{}, map[gid.ID][]int{}
	for _, x := range r.messages {
		inContact[x.InteractionID] = append(inContact[x.InteractionID], x.Number)
		if x.IdentityID != nil {
			visible[*x.IdentityID] = append(visible[*x.IdentityID], *x.VisibleNumber)
		}
	}
	for id, list := range inContact {
		if !dense(list) || r.contact[id].LastNumber != len(list) {
			wrong("messages of %s are numbered %v, the last is %d", id, list, r.contact[id].LastNumber)
		}
	}
	for id, list := range visible {
		if !dense(list) {
			wrong("messages of %s are seen as %v", id, list)
		}
	}
}

func dense(list []int) bool {
	slices.Sort(list)
	for n, v := range list {
		if v != n+1 {
			return false
		}
	}
	return true
}

// compare judges what a step changed.
func (m *machine) compare(was, now *rows, name string) {
	for _, i := range now.contacts {
		before := was.contact[i.ID]
		if before == nil {
			if i.State != interaction.StateQUEUED && (name != "start" || i.State != interaction.StateACTIVE) {
				m.wrong("MODEL 2: %s makes a contact %s", name, i.State)
			}
			continue
		}
		if before.State != i.State && !allowed[[2]interaction.State{before.State, i.State}] {
			m.wrong("MODEL 2: %s takes a contact from %s to %s", name, before.State, i.State)
		}
		m.inherits(was, now, before, i)
		if before.QueuedAt != nil && before.State != interaction.StatePAUSED && !ended(before) && !ended(i) && (i.QueuedAt == nil || !i.QueuedAt.Equal(*before.QueuedAt)) {
			m.wrong("MODEL 2: %s changes the age of %s from %v to %v", name, i.ID, before.QueuedAt, i.QueuedAt)
		}
	}
	for _, c := range now.matters {
		m.compareMatter(was, c, name)
	}
	for _, x := range was.messages {
		if x.Direction == message.DirectionINBOUND && !slices.ContainsFunc(now.messages, func(y *ent.Message) bool { return y.ID == x.ID }) {
			m.wrong("%s loses the message %s", name, x.ID)
		}
	}
}

// inherits notes what took a cost over while it was served or offered: it may stand above the profile's bounds as long as
// the agent has it.
func (m *machine) inherits(was, now *rows, before, i *ent.Interaction) {
	costOf := func(r *rows, i *ent.Interaction) (gid.ID, int) {
		switch {
		case serves(i):
			return *i.AgentID, i.Cost
		case i.State == interaction.StateOFFERED:
			return r.offer[*i.OpenOfferID].AgentID, r.offer[*i.OpenOfferID].Cost
		}
		return gid.ID{}, 0
	}
	first, paid := costOf(was, before)
	second, pays := costOf(now, i)
	switch {
	case first != second || second.IsZero():
		delete(m.heirs, i.ID)
	case paid == 0 && pays > 0:
		m.heirs[i.ID] = true
	}
}

// compareMatter: a matter closes and changes hands by the operations that say so alone (MODEL 1 and 3).
func (m *machine) compareMatter(was *rows, c *ent.Conversation, name string) {
	before := was.matter[c.ID]
	if before == nil {
		return
	}
	if before.State != c.State && (c.State == conversation.StateRESOLVED && name != "resolve" || c.State == conversation.StateSNOOZED && name != "snooze") {
		m.wrong("MODEL 3: %s makes %s %s", name, c.ID, c.State)
	}
	if before.State == conversation.StateRESOLVED && c.State != before.State && !slices.Contains([]string{"reopen", "start", "bridge says", "visitor says"}, name) {
		m.wrong("MODEL 3: %s reopens %s", name, c.ID)
	}
	if before.OwnerID != nil && !same(before.OwnerID, c.OwnerID) && !m.owned {
		m.wrong("MODEL 1: %s gives %s to %v", name, c.ID, c.OwnerID)
	}
}

func same(a, b *gid.ID) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }
