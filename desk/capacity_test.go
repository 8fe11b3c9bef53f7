package desk_test

import (
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/assignment"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/offer"
	"tributary/router"
)

// profiled makes an agent with a profile of his own.
func profiled(t *testing.T, w *desktest.World, units int, rules ...desk.CapacityRuleInput) *desktest.Agent {
	t.Helper()
	id, err := w.Desk.CreateCapacityProfile(w.Admin, desk.CapacityProfileCreateInput{Name: w.Unique("profile"), Units: units, Rules: rules}, nil)
	ok(t, err)
	return w.AgentWith(desk.AgentCreateInput{DisplayName: "Ann", RoleID: w.Roles["admin"], CapacityProfileID: &id})
}

func TestUnitsBoundWhatAnAgentCarries(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "admin")
		for range 4 {
			w.Serve(b.Say(w.Unique("t"), w.Unique("u"), "hello"), ann)
		}
		carries(t, ann, 4, 4)
		fifth := b.Say("t", "u", "hello")
		if _, r := w.Offer(fifth, ann); r != router.AgentBusy {
			t.Fatalf("a fifth offer: %v", r)
		}
		_, err := w.Desk.Claim(ann, fifth.ID, nil)
		w.Refused(err, desk.CapacityFull)
		inState(t, w.Interaction(fifth.ID), interaction.StateQUEUED)
	})
}

func TestAnOfferReservesAndItsEndReleases(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := profiled(t, w, 1)
		b := w.Bridge(nil)
		i := b.Say("t1", "u1", "hello")
		o, _ := w.Offer(i, ann)
		carries(t, ann, 1, 1)
		if _, r := w.Offer(b.Say("t2", "u2", "hello"), ann); r != router.AgentBusy {
			t.Fatalf("beside a pending offer: %v", r)
		}
		_, err := w.Desk.DeclineOffer(ann, o.ID, nil, nil)
		ok(t, err)
		carries(t, ann, 0, 0)
	})
}

func TestAKindHasItsOwnBoundAndCost(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := profiled(t, w, 6, desk.CapacityRuleInput{ChannelKind: "custom", UnitsEach: 2, MaxAtOnce: 2})
		b, s := w.Bridge(nil), site(w)
		w.Serve(b.Say("t1", "u1", "hello"), ann)
		w.Serve(b.Say("t2", "u2", "hello"), ann)
		carries(t, ann, 4, 2)
		if _, r := w.Offer(b.Say("t3", "u3", "hello"), ann); r != router.AgentBusy {
			t.Fatalf("a third of a kind that admits two: %v", r)
		}
		w.Serve(w.Visitor(s).Say("hello"), ann)
		carries(t, ann, 5, 3)
	})
}

func TestABlockingKindAdmitsNothingBesideItAndWaitsForNothingBeside(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := profiled(t, w, 4, desk.CapacityRuleInput{ChannelKind: "custom", UnitsEach: 1, BlocksOthers: ptr(true)})
		b, s := w.Bridge(nil), site(w)
		chat := w.Serve(w.Visitor(s).Say("hello"), ann)
		blocking := b.Say("t1", "u1", "hello")
		if _, r := w.Offer(blocking, ann); r != router.AgentBusy {
			t.Fatalf("a blocking one beside a chat: %v", r)
		}
		_, err := w.Desk.End(ann, chat.ID, nil)
		ok(t, err)
		w.Serve(blocking, ann)
		if _, r := w.Offer(w.Visitor(s).Say("hello"), ann); r != router.AgentBusy {
			t.Fatalf("a chat beside a blocking one: %v", r)
		}
		_, err = w.Desk.End(ann, blocking.ID, nil)
		ok(t, err)
		carries(t, ann, 0, 0)
	})
}

// MODEL 2: one more contact of the conversation is free; when the paying one ends, the other pays, whatever its kind.
func TestAFurtherContactOfTheConversationIsFreeAndInheritsTheCost(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		ann := w.Agent("Ann", "admin")
		first := w.Serve(b.Say("t1", "u1", "hello"), ann)
		second := w.Serve(b.Say("t2", "u1", "more"), ann)
		if first.Cost != 1 || second.Cost != 0 {
			t.Fatalf("costs %d and %d", first.Cost, second.Cost)
		}
		carries(t, ann, 1, 2)
		_, err := w.Desk.End(ann, first.ID, nil)
		ok(t, err)
		carries(t, ann, 1, 1)
		if c := w.Interaction(second.ID).Cost; c != 1 {
			t.Fatalf("the remaining one costs %d", c)
		}
		_, err = w.Desk.End(ann, second.ID, nil)
		ok(t, err)
		carries(t, ann, 0, 0)
	})
}

func TestTheCostMovesToAContactOfAnotherKindToo(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := profiled(t, w, 6, desk.CapacityRuleInput{ChannelKind: "custom", UnitsEach: 2}, desk.CapacityRuleInput{ChannelKind: "webchat", UnitsEach: 3})
		v := w.Visitor(site(w))
		first := w.Serve(v.Say("hello"), ann)
		carries(t, ann, 3, 1)
		// A contact of the same matter by another kind, put there by hand: the visitor is known to nobody else.
		other := w.Bridge(nil).Say("t1", "u1", "more")
		ok(t, w.Store.Ent.Interaction.UpdateOneID(other.ID).SetConversationID(first.ConversationID).Exec(w.Sys))
		second := w.Serve(other, ann)
		carries(t, ann, 3, 2)
		_, err := w.Desk.End(ann, first.ID, nil)
		ok(t, err)
		carries(t, ann, 2, 1)
		_, err = w.Desk.End(ann, second.ID, nil)
		ok(t, err)
		carries(t, ann, 0, 0)
	})
}

func TestResolveFreesEverythingOfAConversationWithSeveralContacts(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		w.Serve(b.Say("t2", "u1", "more"), ann)
		w.Serve(b.Say("t3", "u1", "and more"), ann)
		_, err := w.Desk.Resolve(ann, i.ConversationID, nil, nil, nil)
		ok(t, err)
		carries(t, ann, 0, 0)
		if n := w.Open(i.ConversationID); n != 0 {
			t.Fatalf("%d contacts go on", n)
		}
		open, err := w.Store.Ent.Assignment.Query().Where(assignment.EndedAtIsNil()).Count(w.Sys)
		ok(t, err)
		if open != 0 {
			t.Fatalf("%d assignments go on", open)
		}
	})
}

// Two offers of one conversation are withdrawn together: neither agent may stay in the audience of its events.
func TestResolveTakesSightFromEveryAgentWhoWasOffered(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann, bob := w.Bridge(nil), w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		first, second := b.Say("t1", "u1", "hello"), b.Say("t2", "u1", "more")
		w.Offer(first, ann)
		w.Offer(second, bob)
		_, err := w.Desk.Resolve(w.Admin, first.ConversationID, nil, nil, nil)
		ok(t, err)
		if c := w.Conversation(first.ConversationID); len(c.Audience) != 0 || len(c.Edges.Access) != 0 {
			t.Fatalf("audience %v, access %v", c.Audience, c.Edges.Access)
		}
		carries(t, ann, 0, 0)
		carries(t, bob, 0, 0)
	})
}

func TestAKindThatCostsNothingIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		in := desk.CapacityProfileCreateInput{Name: "p", Units: 4, Rules: []desk.CapacityRuleInput{{ChannelKind: "custom", UnitsEach: 0, MaxAtOnce: 2}}}
		_, err := w.Desk.CreateCapacityProfile(w.Admin, in, nil)
		w.Refused(err, desk.Invalid)
	})
}

func TestPauseReleasesAndTheCustomersWordBringsItBackToTheLastAgent(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{StickySeconds: ptr(90)})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		ann := w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		ann.Reply(i, "wait for the parcel")
		_, err := w.Desk.Pause(ann, i.ID, nil)
		ok(t, err)
		carries(t, ann, 0, 0)
		if i = w.Interaction(i.ID); i.State != interaction.StatePAUSED || i.AgentID != nil || !is(i.PreviousAgentID, ann.ID) {
			t.Fatalf("%s, agent %v, before %v", i.State, i.AgentID, i.PreviousAgentID)
		}
		if c := w.Conversation(i.ConversationID); c.State != conversation.StatePENDING {
			t.Fatalf("the conversation is %s", c.State)
		}
		w.Clock.Add(time.Hour)
		again := b.Say("t1", "u1", "it did not come")
		if again.ID != i.ID || again.State != interaction.StateQUEUED || !is(again.PreferID, ann.ID) || again.PreferUntil.Sub(*again.QueuedAt) != 90*time.Second {
			t.Fatalf("%s, prefers %v until %v, queued at %v", again.State, again.PreferID, again.PreferUntil, again.QueuedAt)
		}
		if c := w.Conversation(i.ConversationID); c.State != conversation.StateOPEN || c.WaitingSince == nil {
			t.Fatalf("the conversation is %s, waiting since %v", c.State, c.WaitingSince)
		}
	})
}

func TestAnAnsweredContactPausesByItselfUnlessTheCustomerWrites(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{PauseAfterReplySeconds: ptr(60)})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		ann := w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		ann.Reply(i, "yes?")
		w.Clock.Add(50 * time.Second)
		b.Say("t1", "u1", "a question")
		w.Clock.Add(20 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StateACTIVE)
		ann.Reply(i, "an answer")
		w.Clock.Add(61 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StatePAUSED)
		carries(t, ann, 0, 0)
	})
}

// A chat does not pause while its visitor is there; when he has gone it is asynchronous and must not be held for ever.
func TestAnAnsweredChatPausesAfterItsVisitorHasGone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{PauseAfterReplySeconds: ptr(60)})
		v := w.Visitor(w.Channel(desk.ChannelCreateInput{Kind: "webchat", QueueID: &q}))
		ann := w.Agent("Ann", "admin")
		gone := w.Connect(v.Viewer())
		i := w.Serve(v.Say("hello"), ann)
		ann.Reply(i, "yes?")
		_, err := w.Desk.Pause(ann, i.ID, nil)
		w.Refused(err, desk.WrongState)
		w.Clock.Add(61 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StateACTIVE)
		gone()
		w.Clock.Add(61 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StatePAUSED)
	})
}

func TestWrapUpHoldsCapacityUntilItIsDoneOrItsTimeIsOver(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{WrapUpSeconds: ptr(60)})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		ann := w.Agent("Ann", "admin")
		byHand, byTime := w.Serve(b.Say("t1", "u1", "hello"), ann), w.Serve(b.Say("t2", "u2", "hello"), ann)
		for _, i := range []*ent.Interaction{byHand, byTime} {
			_, err := w.Desk.End(ann, i.ID, nil)
			ok(t, err)
			inState(t, w.Interaction(i.ID), interaction.StateWRAP_UP)
		}
		carries(t, ann, 2, 2)
		_, err := w.Desk.WrapUp(ann, byHand.ID, nil)
		ok(t, err)
		inState(t, w.Interaction(byHand.ID), interaction.StateENDED)
		carries(t, ann, 1, 1)
		w.Clock.Add(61 * time.Second)
		w.Work()
		inState(t, w.Interaction(byTime.ID), interaction.StateENDED)
		carries(t, ann, 0, 0)
	})
}

// What a customer writes while his agent wraps up is owed an answer like any other word.
func TestAWordDuringWrapUpIsServedOn(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{WrapUpSeconds: ptr(60)})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		ann := w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.End(ann, i.ID, nil)
		ok(t, err)
		again := b.Say("t1", "u1", "one more thing")
		if again.ID != i.ID || again.State != interaction.StateACTIVE || !is(again.AgentID, ann.ID) || again.WrapUpUntil != nil {
			t.Fatalf("%s, agent %v, wrap-up until %v", again.State, again.AgentID, again.WrapUpUntil)
		}
		if c := w.Conversation(i.ConversationID); c.State != conversation.StateOPEN {
			t.Fatalf("the conversation is %s: the question is owed", c.State)
		}
		carries(t, ann, 1, 1)
		w.Clock.Add(40 * time.Second)
		_, err = w.Desk.End(ann, i.ID, nil)
		ok(t, err)
		w.Clock.Add(30 * time.Second) // the first timer is over, the second is not
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StateWRAP_UP)
		w.Clock.Add(31 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StateENDED)
		carries(t, ann, 0, 0)
	})
}

func TestAVisitorWhoEndsBeforeAnyoneServesIsAbandoned(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s, ann := site(w), w.Agent("Ann", "agent")
		queued, offered := w.Visitor(s), w.Visitor(s)
		first, second := queued.Say("hello"), offered.Say("hello")
		o, _ := w.Offer(second, ann)
		ok(t, w.Desk.VisitorLeaves(queued, nil))
		ok(t, w.Desk.VisitorLeaves(offered, nil))
		for _, i := range []*ent.Interaction{first, second} {
			row := w.Interaction(i.ID)
			if row.State != interaction.StateENDED || !row.Abandoned || row.EndedAt == nil || row.Live {
				t.Errorf("%s, abandoned %v, live %v", row.State, row.Abandoned, row.Live)
			}
		}
		row, err := w.Store.Ent.Offer.Get(w.Sys, o.ID)
		ok(t, err)
		if row.State != offer.StateWITHDRAWN {
			t.Errorf("the offer is %s", row.State)
		}
		carries(t, ann, 0, 0)
		ok(t, w.Desk.VisitorLeaves(queued, nil)) // once more: nothing to leave
	})
}

func TestAVisitorWhoHasWrittenAndGoesOfflineIsOwedAnAnswer(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		v := w.Visitor(site(w))
		gone := w.Connect(v.Viewer())
		i := v.Say("hello")
		if !i.Live {
			t.Fatal("a visitor with a socket waits at the other end")
		}
		gone()
		if i = w.Interaction(i.ID); i.State != interaction.StateQUEUED || i.Live {
			t.Fatalf("%s, live %v", i.State, i.Live)
		}
		back := w.Connect(v.Viewer())
		if i = w.Interaction(i.ID); !i.Live {
			t.Fatal("who comes back is live again")
		}
		back()
	})
}

func TestAVisitorWhoEndsAServedChatEndsIt(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		v, ann := w.Visitor(site(w)), w.Agent("Ann", "agent")
		i := w.Serve(v.Say("hello"), ann)
		ok(t, w.Desk.VisitorLeaves(v, nil))
		if i = w.Interaction(i.ID); i.State != interaction.StateENDED || i.Abandoned {
			t.Fatalf("%s, abandoned %v", i.State, i.Abandoned)
		}
		carries(t, ann, 0, 0)
	})
}

// The two sites of one shop share its customers, not their chats.
func TestLeavingOneSiteLeavesTheChatOfAnotherAlone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		secret := "an identity secret of thirty-two bytes or more"
		one, two := signedSite(w, secret), signedSite(w, secret)
		first, second := signedVisit(t, w, one, secret, "c-1"), signedVisit(t, w, two, secret, "c-1")
		if first.Viewer().Identity != second.Viewer().Identity {
			t.Fatal("one external id is one identity")
		}
		a, b := first.Say("hello"), second.Say("hello")
		ok(t, w.Desk.VisitorLeaves(second, nil))
		inState(t, w.Interaction(a.ID), interaction.StateQUEUED)
		inState(t, w.Interaction(b.ID), interaction.StateENDED)
	})
}

func TestResolveIsRefusedWhileOthersServeUnlessTheyAreEnded(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann, bob := w.Bridge(nil), w.Agent("Ann", "admin"), w.Agent("Bob", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		j := w.Serve(b.Say("t2", "u1", "more"), bob)
		got, err := w.Desk.Resolve(ann, i.ConversationID, nil, nil, ptr("k"))
		w.Refused(err, desk.ServedByOthers)
		if len(got.ServedBy) != 1 || got.ServedBy[0] != bob.ID {
			t.Fatalf("named are %v", got.ServedBy)
		}
		inState(t, w.Interaction(i.ID), interaction.StateACTIVE)
		_, err = w.Desk.Resolve(ann, i.ConversationID, &desk.ResolveInput{EndOthers: ptr(true), Outcome: ptr("refunded")}, nil, ptr("k"))
		ok(t, err)
		inState(t, w.Interaction(i.ID), interaction.StateENDED)
		inState(t, w.Interaction(j.ID), interaction.StateENDED)
		carries(t, ann, 0, 0)
		carries(t, bob, 0, 0)
		c := w.Conversation(i.ConversationID)
		if c.State != conversation.StateRESOLVED || c.ResolvedAt == nil || c.Outcome == nil || *c.Outcome != "refunded" || c.WaitingSince != nil {
			t.Fatalf("%s at %v, %v", c.State, c.ResolvedAt, c.Outcome)
		}
		_, err = w.Desk.Resolve(ann, i.ConversationID, nil, nil, nil)
		w.Refused(err, desk.WrongState)
	})
}

// MODEL 3: OPEN while something is owed, PENDING while it is the customer's turn.
func TestTheConversationsStateFollowsFromItsContacts(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "admin")
		i := b.Say("t1", "u1", "hello")
		want := func(s conversation.State) {
			t.Helper()
			if c := w.Conversation(i.ConversationID); c.State != s {
				t.Fatalf("the conversation is %s, want %s", c.State, s)
			}
		}
		want(conversation.StateOPEN)
		w.Serve(i, ann)
		want(conversation.StateOPEN) // accepted, not answered
		ann.Reply(i, "yes?")
		want(conversation.StatePENDING)
		j := b.Say("t2", "u1", "another thread")
		want(conversation.StateOPEN)
		w.Serve(j, ann)
		ann.Reply(j, "that, too")
		want(conversation.StatePENDING)
		b.Say("t1", "u1", "still there?")
		want(conversation.StateOPEN)
		_, err := w.Desk.End(ann, i.ID, nil)
		ok(t, err)
		want(conversation.StatePENDING)
	})
}

func TestAnAutomaticMessageNeverReopensNorQueues(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "admin")
		machine := func(id string) {
			m := b.Text(id, "t1", "u1", "I am away until Monday")
			m["automatic"] = true
			ok(t, b.Deliver(m))
			w.Work()
		}
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.Pause(ann, i.ID, nil)
		ok(t, err)
		machine("a1")
		inState(t, w.Interaction(i.ID), interaction.StatePAUSED)
		_, err = w.Desk.Resolve(ann, i.ConversationID, nil, nil, nil)
		ok(t, err)
		machine("a2")
		if c := w.Conversation(i.ConversationID); c.State != conversation.StateRESOLVED || w.Open(c.ID) != 0 {
			t.Fatalf("%s with %d open contacts", c.State, w.Open(c.ID))
		}
		n, err := w.Store.Ent.Message.Query().Where(message.InteractionID(i.ID), message.Automatic(true)).Count(w.Sys)
		ok(t, err)
		if n != 2 {
			t.Fatalf("%d automatic messages are kept, want both", n)
		}
	})
}
