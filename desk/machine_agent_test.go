package desk_test

import (
	"context"
	"slices"
	"time"

	"pgregory.net/rapid"

	"tributary/desk"
	"tributary/ent"
	"tributary/ent/agentstatus"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/internal/gid"
	"tributary/router"
)

// actions are the operations that a sequence is made of.
func (m *machine) actions() map[string]func(*rapid.T) {
	end, wrapUp := m.onContact("end", m.sayEnd, m.Desk.End), m.onContact("wrap up", m.hold(interaction.StateWRAP_UP), m.Desk.WrapUp)
	join, leave := m.onContact("join", m.sayJoin, m.Desk.Join), m.onContact("leave", m.sayLeave, m.Desk.Leave)
	return map[string]func(*rapid.T){
		"visitor says": m.visitorSays, "visitor moves": m.visitorMoves, "visitor leaves": m.visitorLeaves, "visitor reads": m.visitorReads,
		"bridge says": m.bridgeSays, "bridge says 2": m.bridgeSays, "receipt": m.receipt,
		"offer": m.offer, "accept": m.accept, "decline": m.decline,
		"serve": m.then("offer", m.offer, "accept", m.accept), "serve 2": m.then("offer", m.offer, "accept", m.accept),
		"serve 3": m.then("offer", m.offer, "accept", m.accept), "take and give": m.then("accept", m.accept, "transfer", m.transfer),
		"refuse": m.then("offer", m.offer, "decline", m.decline),
		"claim":  m.onContact("claim", m.sayClaim, m.Desk.Claim), "pause": m.onContact("pause", m.sayPause, m.Desk.Pause),
		"release": m.onContact("release", m.hold(interaction.StateACTIVE), func(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
			return m.Desk.Release(ctx, id, ptr("not mine"), key)
		}),
		"end": end, "wrap up": wrapUp, "finish": m.then("end", end, "wrap up", wrapUp),
		"join": join, "leave": leave, "help": m.then("join", join, "leave", leave),
		"send": m.send, "send 2": m.send, "settle message": m.settleMessage, "send again": m.sendAgain,
		"lose and settle": m.then("send", m.lose, "settle message", m.settleMessage),
		"lose and repeat": m.then("send", m.lose, "send again", m.sendAgain),
		"transfer":        m.transfer, "transfer 2": m.transfer, "resolve": m.resolve, "reopen": m.reopen, "start": m.start, "snooze": m.snooze,
		"close and open": m.closeAndOpen,
		"owner":          m.owner, "follow": m.follow, "note": m.note, "urgency": m.urgency,
		"status": m.setStatus, "socket": m.socket, "dismiss": m.dismiss, "time": m.time, "node dies": m.nodeDies,
	}
}

// onContact is an operation of an agent on a contact.
func (m *machine) onContact(op string, say func(*player, *ent.Interaction) codes, f func(context.Context, gid.ID, *string) (gid.ID, error)) func(*rapid.T) {
	return func(*rapid.T) {
		x, there := m.choose(say)
		if !there {
			return
		}
		m.owned = op == "claim" && x.i.TakesMatter // handed over with the matter, and not taken yet
		m.try(op, x.want, func(key *string) (gid.ID, error) { return f(x.p, x.i.ID, key) })
	}
}

// eligible are the agents whom the router may ask: members of the queue.
func (m *machine) eligible(i *ent.Interaction) []*player {
	q := m.queueOf(i)
	return slices.DeleteFunc(slices.Clone(m.agents), func(p *player) bool { return q == nil || q.team != nil && !slices.Contains(p.teams, *q.team) })
}

// offer commits a decision of the router, which may be stale: of an old epoch, of what waits no more, of an agent who is
// full or away.
func (m *machine) offer(rt *rapid.T) {
	type choice struct {
		p *player
		i *ent.Interaction
	}
	epoch, round := int64(oneOf(rt, []int{1, 1, 1, 1, 1, 0}, "epoch")), rapid.Bool().Draw(rt, "round")
	says := func(p *player, i *ent.Interaction) router.Result {
		switch {
		case epoch != 1:
			return router.Lost
		case i.State != interaction.StateQUEUED, slices.Contains(i.Refused, p.ID) && !round:
			return router.Taken
		case !m.was.active[p.ID], m.was.status[p.ID] != agentstatus.StateAVAILABLE, !m.room(p, i):
			return router.AgentBusy
		}
		return router.Committed
	}
	var all, good, bound []choice
	for _, i := range m.was.contacts {
		for _, p := range m.eligible(i) {
			x, r := choice{p, i}, says(p, i)
			all = append(all, x)
			if r == router.Committed {
				good = append(good, x)
			}
			if r == router.AgentBusy && !m.room(p, i) {
				bound = append(bound, x)
			}
		}
	}
	x, there := drawn(rt, all, good, bound...)
	if !there {
		return
	}
	before := m.digest()
	_, got := m.OfferAs(router.Decision{Item: router.ID(x.i.ID), Workspace: router.ID(m.ID), Agent: router.ID(x.p.ID), Expires: 30 * time.Second, Epoch: epoch, NewRound: round})
	if want := says(x.p, x.i); got != want {
		m.fatal("offer of a contact %s to %s: %v, want %v", x.i.State, x.p.name, got, want)
	}
	if got != router.Committed {
		m.did("offer", [...]string{router.Taken: "taken", router.AgentBusy: "busy", router.Lost: "lost"}[got])
		m.unchanged("offer", before)
		return
	}
	m.did("offer", "ok")
}

// then is an operation with the one that it makes possible, which draws on their own would seldom bring together.
func (m *machine) then(first string, f func(*rapid.T), second string, g func(*rapid.T)) func(*rapid.T) {
	return func(rt *rapid.T) {
		f(rt)
		m.settled()
		m.judge(first)
		m.owned = false
		g(rt)
		m.settled()
		m.judge(second)
	}
}

func (m *machine) answer(op string, f func(p *player, o *ent.Offer, key *string) (gid.ID, error)) {
	type choice struct {
		p    *player
		o    *ent.Offer
		want codes
	}
	var all, good []choice
	for _, p := range m.there() {
		for _, o := range m.was.offers {
			x := choice{p, o, m.sayAnswer(p, o)}
			all = append(all, x)
			if len(x.want) == 0 {
				good = append(good, x)
			}
		}
	}
	x, there := drawn(m.rt, all, good)
	if !there {
		return
	}
	m.owned = op == "accept" && m.was.contact[x.o.InteractionID].TakesMatter
	m.try(op, x.want, func(key *string) (gid.ID, error) { return f(x.p, x.o, key) })
}

func (m *machine) accept(*rapid.T) {
	m.answer("accept", func(p *player, o *ent.Offer, key *string) (gid.ID, error) { return m.Desk.AcceptOffer(p, o.ID, key) })
}

func (m *machine) decline(*rapid.T) {
	m.answer("decline", func(p *player, o *ent.Offer, key *string) (gid.ID, error) {
		return m.Desk.DeclineOffer(p, o.ID, ptr("busy"), key)
	})
}

// words are what is said; the provider does with each as it says.
var words = []string{"take", "take", "refuse", "lose"}

func (m *machine) send(rt *rapid.T) { m.says(rt, oneOf(rt, words, "word")) }

// lose sends what the provider does not confirm.
func (m *machine) lose(rt *rapid.T) { m.says(rt, "lose") }

func (m *machine) says(rt *rapid.T, word string) {
	x, there := m.choose(m.saySend)
	if !there {
		return
	}
	in := desk.MessageInput{Text: &word}
	want := x.want
	if seen := m.firstWord(x.i); seen != nil && rapid.IntRange(0, 3).Draw(rt, "seen") == 0 {
		in.SeenUpTo = &seen.ID
		if len(want) == 0 && m.newer(x.i, seen) {
			want = codes{desk.UnseenMessages}
		}
	}
	m.try("send", want, func(key *string) (gid.ID, error) {
		sent, err := m.Desk.SendMessage(x.p, x.i.ID, in, key)
		return sent.Message, err
	})
}

func (m *machine) firstWord(i *ent.Interaction) *ent.Message {
	for _, x := range m.was.messages {
		if x.InteractionID == i.ID {
			return x
		}
	}
	return nil
}

func (m *machine) newer(i *ent.Interaction, than *ent.Message) bool {
	return slices.ContainsFunc(m.was.messages, func(x *ent.Message) bool {
		return x.InteractionID == i.ID && x.Number > than.Number && x.Direction == message.DirectionINBOUND
	})
}

func (m *machine) onMessage(op string, f func(p *player, x *ent.Message, key *string) (gid.ID, error), from ...message.Delivery) {
	type choice struct {
		p    *player
		x    *ent.Message
		want codes
	}
	var all, good []choice
	for _, p := range m.there() {
		for _, x := range m.was.messages {
			if x.Direction == message.DirectionINBOUND {
				continue
			}
			c := choice{p, x, m.sayMessage(p, x, from...)}
			all = append(all, c)
			if len(c.want) == 0 {
				good = append(good, c)
			}
		}
	}
	if c, there := drawn(m.rt, all, good); there {
		m.try(op, c.want, func(key *string) (gid.ID, error) { return f(c.p, c.x, key) })
	}
}

func (m *machine) settleMessage(rt *rapid.T) {
	arrived := rapid.Bool().Draw(rt, "arrived")
	m.onMessage("settle message", func(p *player, x *ent.Message, key *string) (gid.ID, error) {
		return m.Desk.SettleMessage(p, x.ID, arrived, key)
	}, message.DeliveryUNCERTAIN)
}

func (m *machine) sendAgain(*rapid.T) {
	m.onMessage("send again", func(p *player, x *ent.Message, key *string) (gid.ID, error) { return m.Desk.SendAgain(p, x.ID, key) },
		message.DeliveryUNCERTAIN, message.DeliveryFAILED)
}

func (m *machine) transfer(rt *rapid.T) {
	mode := oneOf(rt, []desk.TransferMode{desk.Cold, desk.Warm}, "mode")
	in := desk.TransferInput{Mode: &mode, WithOwner: ptr(rapid.Bool().Draw(rt, "matter"))}
	var to *player
	switch rapid.IntRange(0, 3).Draw(rt, "to") {
	case 0:
		q := oneOf(rt, m.queues, "queue")
		in.QueueID = &q.id
	case 1:
		in.TeamID = oneOf(rt, m.queues[:3], "team").team
	default:
		to = oneOf(rt, m.agents, "agent")
		in.AgentID = &to.ID
	}
	x, there := m.choose(func(p *player, i *ent.Interaction) codes {
		return append(m.sayTransfer(p, i, to), m.sayMatter(p, i, *in.WithOwner)...)
	})
	if !there {
		return
	}
	op := "transfer to a queue"
	if to != nil {
		op = "transfer to an agent"
	}
	m.try(op, x.want, func(key *string) (gid.ID, error) { return m.Desk.Transfer(x.p, x.i.ID, in, key) })
}

func (m *machine) resolve(rt *rapid.T) {
	others := rapid.Bool().Draw(rt, "others")
	x, there := m.chooseMatter(func(p *player, c *ent.Conversation) codes { return m.sayResolve(p, c, others) })
	if !there {
		return
	}
	m.try("resolve", x.want, func(key *string) (gid.ID, error) {
		got, err := m.Desk.Resolve(x.p, x.c.ID, &desk.ResolveInput{EndOthers: &others}, nil, key)
		return got.Conversation, err
	})
}

func (m *machine) reopen(*rapid.T) {
	x, there := m.chooseMatter(func(p *player, c *ent.Conversation) codes {
		if !m.sees(p, c) {
			return codes{desk.NotFound}
		}
		return only(c.State != conversation.StateRESOLVED, desk.WrongState)
	})
	if there {
		m.try("reopen", x.want, func(key *string) (gid.ID, error) { return m.Desk.Reopen(x.p, x.c.ID, key) })
	}
}

// closeAndOpen ends a matter, and takes one up again in one of the two ways.
func (m *machine) closeAndOpen(rt *rapid.T) {
	if rapid.Bool().Draw(rt, "reopen") {
		m.then("resolve", m.resolve, "reopen", m.reopen)(rt)
		return
	}
	m.then("resolve", m.resolve, "start", m.start)(rt)
}

func (m *machine) channelQueue(channel gid.ID) gid.ID {
	for n, b := range m.bridges {
		if b.ID == channel {
			return m.queues[n].id
		}
	}
	return m.queues[0].id
}

func (m *machine) start(rt *rapid.T) {
	all := []gid.ID{m.site.ID}
	for _, b := range m.bridges {
		all = append(all, b.ID)
	}
	channel := oneOf(rt, all, "channel")
	x, there := m.chooseMatter(func(p *player, c *ent.Conversation) codes { return m.sayStart(p, c, channel) })
	if there {
		m.try("start", x.want, func(key *string) (gid.ID, error) { return m.Desk.StartInteraction(x.p, x.c.ID, channel, nil, key) })
	}
}

func (m *machine) snooze(rt *rapid.T) {
	d := oneOf(rt, []time.Duration{-time.Second, 20 * time.Second, time.Hour}, "until")
	x, there := m.chooseMatter(func(p *player, c *ent.Conversation) codes { return m.saySnooze(p, c, d) })
	if there {
		m.try("snooze", x.want, func(key *string) (gid.ID, error) { return m.Desk.Snooze(x.p, x.c.ID, m.hall.now().Add(d), key) })
	}
}

// anyone is an agent, or nobody.
func (m *machine) anyone(rt *rapid.T) *player {
	return oneOf(rt, append([]*player{nil}, m.agents...), "anyone")
}

func (m *machine) owner(rt *rapid.T) {
	to := m.anyone(rt)
	x, there := m.chooseMatter(func(p *player, c *ent.Conversation) codes { return m.sayOwner(p, c, to) })
	if !there {
		return
	}
	m.owned = true
	m.try("owner", x.want, func(key *string) (gid.ID, error) { return m.Desk.SetOwner(x.p, x.c.ID, idOf(to), key) })
}

func idOf(p *player) *gid.ID {
	if p == nil {
		return nil
	}
	return &p.ID
}

func (m *machine) follow(rt *rapid.T) {
	whom, yes := m.anyone(rt), rapid.Bool().Draw(rt, "follow")
	var list []gid.ID
	if whom != nil {
		list = []gid.ID{whom.ID}
	}
	x, there := m.chooseMatter(func(p *player, c *ent.Conversation) codes {
		if !m.sees(p, c) {
			return codes{desk.NotFound}
		}
		if yes {
			want := only(whom != nil && !m.was.active[whom.ID], desk.NotFound)
			return append(want, only(!m.stands(p, c), desk.NotAllowed)...)
		}
		others := whom != nil && whom.ID != p.ID
		return only(others && c.OwnerID != nil && !is(c.OwnerID, p.ID) && !p.boss, desk.NotAllowed)
	})
	if there {
		m.try("follow", x.want, func(key *string) (gid.ID, error) { return m.Desk.Follow(x.p, x.c.ID, yes, list, key) })
	}
}

func (m *machine) note(rt *rapid.T) {
	in := desk.NoteCreateInput{Text: "remember"}
	whom := m.anyone(rt)
	if whom != nil {
		in.MentionIds = []gid.ID{whom.ID}
	}
	x, there := m.choose(func(p *player, i *ent.Interaction) codes {
		want := m.touch(p, i)
		return append(want, only(whom != nil && !m.was.active[whom.ID], desk.NotFound)...)
	})
	if !there {
		return
	}
	in.InteractionID = &x.i.ID
	m.try("note", x.want, func(key *string) (gid.ID, error) { return m.Desk.CreateNote(x.p, in, key) })
}

func (m *machine) urgency(rt *rapid.T) {
	to := oneOf(rt, []conversation.Priority{conversation.PriorityLOW, conversation.PriorityURGENT}, "urgency")
	x, there := m.chooseMatter(func(p *player, c *ent.Conversation) codes { return only(!m.sees(p, c), desk.NotFound) })
	if there {
		m.try("urgency", x.want, func(key *string) (gid.ID, error) {
			return m.Desk.UpdateConversation(x.p, x.c.ID, desk.ConversationUpdateInput{Priority: &to}, nil, key)
		})
	}
}
