package desk_test

import (
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/agentstatus"
	"tributary/ent/assignment"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/gid"
	"tributary/internal/viewer"
	"tributary/router"
)

// MODEL 1: the first accept sets the owner; serving one more contact of the matter never does.
func TestFirstAcceptSetsTheOwnerAndALaterOneKeepsHim(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		ann, bob := w.Agent("Ann", "admin"), w.Agent("Bob", "admin")
		first := w.Serve(b.Say("t1", "u1", "hello"), ann)
		if c := w.Conversation(first.ConversationID); !is(c.OwnerID, ann.ID) {
			t.Fatalf("owner %v, want Ann", c.OwnerID)
		}
		second := b.Say("t2", "u1", "one more thing")
		if second.ConversationID != first.ConversationID {
			t.Fatal("the second contact must join the one open conversation")
		}
		if !is(second.PreferID, ann.ID) || second.PreferUntil == nil || second.JoinedBy != interaction.JoinedByOPEN_CONVERSATION {
			t.Fatalf("preferred %v until %v by %s, want the owner", second.PreferID, second.PreferUntil, second.JoinedBy)
		}
		w.Serve(second, bob)
		if c := w.Conversation(first.ConversationID); !is(c.OwnerID, ann.ID) {
			t.Fatalf("owner %v after Bob served one more, want Ann", c.OwnerID)
		}
	})
}

func TestTheFirstClaimOfAnOwnerlessMatterSetsTheOwner(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "admin")
		i := w.Bridge(nil).Say("t1", "u1", "hello")
		_, err := w.Desk.Claim(ann, i.ID, nil)
		ok(t, err)
		if c := w.Conversation(i.ConversationID); !is(c.OwnerID, ann.ID) {
			t.Fatalf("owner %v, want the claimer", c.OwnerID)
		}
		as, err := w.Store.Ent.Assignment.Query().Only(w.Sys)
		ok(t, err)
		if as.Kind != assignment.KindCLAIM || as.AgentID != ann.ID || as.EndedAt != nil {
			t.Fatalf("assignment %+v", as)
		}
	})
}

// returns are all ways back into the queue; each keeps the age.
var returns = map[string]func(t *testing.T, w *desktest.World, i *ent.Interaction, a *desktest.Agent){
	"decline": func(t *testing.T, w *desktest.World, i *ent.Interaction, a *desktest.Agent) {
		o, _ := w.Offer(i, a)
		_, err := w.Desk.DeclineOffer(a, o.ID, ptr("lunch"), nil)
		ok(t, err)
	},
	"expiry": func(t *testing.T, w *desktest.World, i *ent.Interaction, a *desktest.Agent) {
		w.Offer(i, a)
		w.Clock.Add(31 * time.Second)
		w.Work()
	},
	"agent gone while offered": func(t *testing.T, w *desktest.World, i *ent.Interaction, a *desktest.Agent) {
		w.Connect(a.Viewer())
		w.Offer(i, a)
		w.Clock.Add(desk.LostAfter + time.Second)
		ok(t, w.Desk.Sweep(t.Context()))
	},
	"release": func(t *testing.T, w *desktest.World, i *ent.Interaction, a *desktest.Agent) {
		w.Serve(i, a)
		_, err := w.Desk.Release(a, i.ID, ptr("not mine"), nil)
		ok(t, err)
	},
	"agent lost while serving": func(t *testing.T, w *desktest.World, i *ent.Interaction, a *desktest.Agent) {
		w.Connect(a.Viewer())
		w.Serve(i, a)
		w.Clock.Add(desk.LostAfter + time.Second)
		ok(t, w.Desk.Sweep(t.Context()))
	},
	"agent switched off": func(t *testing.T, w *desktest.World, i *ent.Interaction, a *desktest.Agent) {
		w.Serve(i, a)
		_, err := w.Desk.UpdateAgent(w.Admin, a.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		ok(t, err)
		w.Work()
	},
}

func TestEveryReturnToTheQueueKeepsTheAgeAndFreesTheAgent(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		for name, back := range returns {
			a := w.Agent("Ann", "admin")
			i := b.Say(w.Unique("t"), w.Unique("u"), "hello")
			w.Clock.Add(5 * time.Second)
			back(t, w, i, a)
			now := w.Interaction(i.ID)
			if now.State != interaction.StateQUEUED || !now.QueuedAt.Equal(*i.QueuedAt) || now.AgentID != nil || now.OpenOfferID != nil || now.Cost != 0 {
				t.Errorf("%s: %s queued at %v (was %v), agent %v, offer %v, cost %d", name, now.State, now.QueuedAt, i.QueuedAt, now.AgentID, now.OpenOfferID, now.Cost)
			}
			if l := a.Load(); l.Used != 0 || l.Count != 0 || len(l.UsedBy) != 0 {
				t.Errorf("%s: the agent still carries %d units, %d contacts, %v", name, l.Used, l.Count, l.UsedBy)
			}
			if c := w.Conversation(i.ConversationID); c.State != conversation.StateOPEN {
				t.Errorf("%s: the conversation is %s", name, c.State)
			}
			open, err := w.Store.Ent.Assignment.Query().Where(assignment.InteractionID(i.ID), assignment.EndedAtIsNil()).Count(w.Sys)
			ok(t, err)
			if open != 0 {
				t.Errorf("%s: %d assignments go on", name, open)
			}
		}
	})
}

func TestLostAndSilentAgentsRaiseThePriority(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{SilentAfterSeconds: ptr(60)})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		ann := w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		w.Clock.Add(61 * time.Second)
		w.Work()
		now := w.Interaction(i.ID)
		if now.State != interaction.StateQUEUED || now.Priority != interaction.PriorityHIGH {
			t.Fatalf("%s with priority %s, want QUEUED and HIGH", now.State, now.Priority)
		}
		carries(t, ann, 0, 0)
	})
}

// A second word of the customer must not excuse the agent's silence.
func TestASilentAgentLosesTheContactEvenIfTheCustomerWritesAgain(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{SilentAfterSeconds: ptr(60)})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		ann := w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		w.Clock.Add(30 * time.Second)
		b.Say("t1", "u1", "anybody there?")
		w.Clock.Add(31 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StateQUEUED)
	})
}

func TestAnAgentWhoFallsSilentLaterLosesTheContact(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{SilentAfterSeconds: ptr(60)})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		ann := w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		ann.Reply(i, "yes?")
		w.Clock.Add(61 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StateACTIVE) // answered: nobody is silent
		b.Say("t1", "u1", "a question")
		w.Clock.Add(59 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StateACTIVE)
		w.Clock.Add(2 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StateQUEUED)
	})
}

// MODEL 2: a refuser is not offered the same again before everybody else has refused.
func TestARefuserIsNotedUntilANewRound(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "admin")
		i := w.Bridge(nil).Say("t1", "u1", "hello")
		o, _ := w.Offer(i, ann)
		_, err := w.Desk.DeclineOffer(ann, o.ID, nil, nil)
		ok(t, err)
		if i = w.Interaction(i.ID); len(i.Refused) != 1 || i.Refused[0] != ann.ID {
			t.Fatalf("refused by %v", i.Refused)
		}
		d := router.Decision{Item: router.ID(i.ID), Workspace: router.ID(w.ID), Agent: router.ID(ann.ID), Expires: time.Minute, Epoch: 1}
		if _, r := w.OfferAs(d); r != router.Taken {
			t.Fatalf("a decision that overlooks the refusal: %v", r)
		}
		d.NewRound = true
		if _, r := w.OfferAs(d); r != router.Committed {
			t.Fatalf("a new round: %v", r)
		}
		if i = w.Interaction(i.ID); len(i.Refused) != 0 {
			t.Fatalf("a new round forgets: %v", i.Refused)
		}
	})
}

func TestDecisionsOfAnOldLeaderAndForAbsentAgentsComeToNothing(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "admin")
		i := w.Bridge(nil).Say("t1", "u1", "hello")
		d := router.Decision{Item: router.ID(i.ID), Workspace: router.ID(w.ID), Agent: router.ID(ann.ID), Expires: time.Minute, Epoch: 7}
		if _, r := w.OfferAs(d); r != router.Lost {
			t.Fatalf("another's epoch: %v", r)
		}
		_, err := w.Desk.SetStatus(ann, nil, desk.AgentStatusInput{State: agentstatus.StateBREAK}, nil)
		ok(t, err)
		if _, r := w.Offer(i, ann); r != router.AgentBusy {
			t.Fatalf("an agent on a break: %v", r)
		}
	})
}

func TestMissesInARowMakeABreakAndAnAcceptForgetsThem(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "admin")
		i := w.Bridge(nil).Say("t1", "u1", "hello")
		miss := func() {
			if o, r := w.Offer(i, ann); o == nil {
				t.Fatalf("no offer: %v", r)
			}
			w.Clock.Add(31 * time.Second)
			w.Work()
		}
		miss()
		miss()
		w.Serve(i, ann)
		_, err := w.Desk.Release(ann, i.ID, nil, nil)
		ok(t, err)
		miss()
		miss()
		if s := stateOf(t, w, ann.ID); s != agentstatus.StateAVAILABLE {
			t.Fatalf("after two misses in a row: %s", s)
		}
		miss()
		if s := stateOf(t, w, ann.ID); s != agentstatus.StateBREAK {
			t.Fatalf("after three misses in a row: %s", s)
		}
	})
}

func stateOf(t *testing.T, w *desktest.World, id gid.ID) agentstatus.State {
	t.Helper()
	s, err := w.Store.Ent.AgentStatus.Query().Where(agentstatus.AgentID(id), agentstatus.EndedAtIsNil()).Only(w.Sys)
	ok(t, err)
	return s.State
}

// MODEL 6: an offer belongs to the offered agent alone; a claim withdraws it, and the loser learns who won.
func TestAClaimWithdrawsTheOfferAndTellsTheLoser(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "admin")
		i := w.Bridge(nil).Say("t1", "u1", "hello")
		o, _ := w.Offer(i, ann)
		_, err := w.Desk.AcceptOffer(bob, o.ID, nil)
		w.Refused(err, desk.NotFound)
		_, err = w.Desk.Claim(bob, i.ID, nil)
		ok(t, err)
		row, err := w.Store.Ent.Offer.Get(w.Sys, o.ID)
		ok(t, err)
		if row.State != offer.StateWITHDRAWN || row.Outcome == nil || *row.Outcome != offer.OutcomeWITHDRAWN {
			t.Fatalf("the offer is %s, %v", row.State, row.Outcome)
		}
		carries(t, ann, 0, 0)
		carries(t, bob, 1, 1)
		_, err = w.Desk.AcceptOffer(ann, o.ID, nil)
		if r := w.Refused(err, desk.AlreadyTaken); r.ConflictID != bob.ID {
			t.Fatalf("the winner is %v", r.ConflictID)
		}
		_, err = w.Desk.Claim(w.Admin, i.ID, nil)
		if r := w.Refused(err, desk.AlreadyTaken); r.ConflictID != bob.ID {
			t.Fatalf("the winner is %v", r.ConflictID)
		}
		_, err = w.Desk.Claim(bob, i.ID, nil)
		w.Refused(err, desk.WrongState)
	})
}

func TestALateAcceptIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		i := w.Bridge(nil).Say("t1", "u1", "hello")
		o, _ := w.Offer(i, ann)
		w.Clock.Add(31 * time.Second)
		_, err := w.Desk.AcceptOffer(ann, o.ID, nil)
		w.Refused(err, desk.OfferExpired)
		w.Work()
		_, err = w.Desk.AcceptOffer(ann, o.ID, nil)
		w.Refused(err, desk.OfferExpired)
		_, err = w.Desk.DeclineOffer(ann, o.ID, nil, nil)
		w.Refused(err, desk.OfferExpired)
	})
}

// Exactly one of many takers wins, whatever the interleaving.
func TestOfManyClaimersOneWins(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		i := w.Bridge(nil).Say("t1", "u1", "hello")
		agents := make([]*desktest.Agent, 8)
		for n := range agents {
			agents[n] = w.Agent("A", "admin")
		}
		errs := make(chan error, len(agents))
		for _, a := range agents {
			go func() {
				_, err := w.Desk.Claim(a, i.ID, nil)
				errs <- err
			}()
		}
		won := 0
		for range agents {
			if err := <-errs; err == nil {
				won++
			} else {
				w.Refused(err, desk.AlreadyTaken)
			}
		}
		count := 0
		for _, a := range agents {
			count += a.Load().Count
		}
		if won != 1 || count != 1 {
			t.Fatalf("%d won, %d carry it", won, count)
		}
	})
}

func TestOnlyWhoServesMayGiveBackPauseOrEnd(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		plain := w.Role("all", "ALL", desktest.Serving...)
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", plain)
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		for name, f := range map[string]func() error{
			"release": func() error { _, err := w.Desk.Release(bob, i.ID, nil, nil); return err },
			"pause":   func() error { _, err := w.Desk.Pause(bob, i.ID, nil); return err },
			"end":     func() error { _, err := w.Desk.End(bob, i.ID, nil); return err },
			"send": func() error {
				_, err := w.Desk.SendMessage(bob, i.ID, desk.MessageInput{Text: ptr("hi")}, nil)
				return err
			},
		} {
			if r := w.Refused(f(), desk.ServedByOthers); r.ConflictID != ann.ID {
				t.Errorf("%s: names %v", name, r.ConflictID)
			}
		}
		inState(t, w.Interaction(i.ID), interaction.StateACTIVE)
		if !w.Admin.Viewer().Has(viewer.Supervise) {
			t.Fatal("the admin supervises")
		}
		_, err := w.Desk.Pause(w.Admin, i.ID, nil)
		ok(t, err)
		inState(t, w.Interaction(i.ID), interaction.StatePAUSED)
	})
}
