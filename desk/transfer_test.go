package desk_test

import (
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/agentstatus"
	"tributary/ent/assignment"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/gid"
	"tributary/router"
)

func available(t *testing.T, w *desktest.World, agents ...*desktest.Agent) {
	t.Helper()
	for _, a := range agents {
		_, err := w.Desk.SetStatus(a, nil, desk.AgentStatusInput{State: agentstatus.StateAVAILABLE}, nil)
		ok(t, err)
		w.Connect(a.Viewer())
	}
}

// sees asks whether an agent reaches a conversation, by the same query as everything else.
func sees(t *testing.T, w *desktest.World, a *desktest.Agent, id gid.ID) bool {
	t.Helper()
	q, err := w.Desk.Conversation(a, id)
	ok(t, err)
	there, err := q.Exist(a)
	ok(t, err)
	return there
}

// MODEL 2: ACTIVE, transfer to a queue: QUEUED there with the age it has, capacity released, sight moved.
func TestATransferToAQueueKeepsTheAgeAndMovesSight(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		sales, service := w.Team("sales"), w.Team("service")
		from := w.QueueOf(desk.QueueCreateInput{Name: "sales", TeamID: &sales})
		to := w.QueueOf(desk.QueueCreateInput{Name: "service", TeamID: &service})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &from })
		ann, bob, cat := w.Agent("Ann", "agent", sales), w.Agent("Bob", "agent", service), w.Agent("Cat", "agent", sales)
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		age := *i.QueuedAt
		if sees(t, w, bob, i.ConversationID) || !sees(t, w, cat, i.ConversationID) {
			t.Fatal("before the transfer the first queue's team sees it, and no other")
		}
		_, err := w.Desk.Transfer(ann, i.ID, desk.TransferInput{QueueID: &to, Reason: ptr("a repair"), Priority: ptr(interaction.PriorityHIGH)}, nil)
		ok(t, err)
		i = w.Interaction(i.ID)
		if i.State != interaction.StateQUEUED || !is(i.QueueID, to) || !i.QueuedAt.Equal(age) || i.AgentID != nil || !is(i.PreviousAgentID, ann.ID) || i.Priority != interaction.PriorityHIGH {
			t.Fatalf("after the transfer: %+v", i)
		}
		if l := ann.Load(); l.Used != 0 || l.Count != 0 {
			t.Fatalf("the giver carries %d units", l.Used)
		}
		if !sees(t, w, bob, i.ConversationID) || sees(t, w, cat, i.ConversationID) || !sees(t, w, ann, i.ConversationID) {
			t.Fatal("the new team sees it, the old one no more, who served it does")
		}
		if _, r := w.OfferAs(router.Decision{Item: router.ID(i.ID), Workspace: router.ID(w.ID), Agent: router.ID(ann.ID), Expires: time.Minute, Epoch: 1}); r != router.Taken {
			t.Fatalf("who gave it away was asked next: %v", r)
		}
		if c := w.Conversation(i.ConversationID); !is(c.OwnerID, ann.ID) {
			t.Fatal("the matter goes along only when it is said")
		}
	})
}

// MODEL 2: ACTIVE, transfer to an agent: OFFERED to him, capacity moves; declined it waits with its age.
func TestATransferToAnAgentIsAnOffer(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		available(t, w, bob)
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		age := *i.QueuedAt
		give := func() *ent.Offer {
			_, err := w.Desk.Transfer(ann, i.ID, desk.TransferInput{AgentID: &bob.ID, Reason: ptr("yours")}, nil)
			ok(t, err)
			i = w.Interaction(i.ID)
			o, err := w.Store.Ent.Offer.Get(w.Sys, *i.OpenOfferID)
			ok(t, err)
			if i.State != interaction.StateOFFERED || o.AgentID != bob.ID || o.State != offer.StatePENDING || i.AgentID != nil {
				t.Fatalf("%s, offer %+v", i.State, o)
			}
			if ann.Load().Used != 0 || bob.Load().Used != 1 {
				t.Fatalf("capacity did not move: %d and %d", ann.Load().Used, bob.Load().Used)
			}
			return o
		}
		o := give()
		if !sees(t, w, bob, i.ConversationID) {
			t.Fatal("the offer gives sight")
		}
		_, err := w.Desk.DeclineOffer(bob, o.ID, nil, nil)
		ok(t, err)
		if i = w.Interaction(i.ID); i.State != interaction.StateQUEUED || !i.QueuedAt.Equal(age) || bob.Load().Used != 0 {
			t.Fatalf("declined: %s", i.State)
		}
		i = w.Serve(i, ann)
		_, err = w.Desk.AcceptOffer(bob, give().ID, nil)
		ok(t, err)
		if i = w.Interaction(i.ID); i.State != interaction.StateACTIVE || !is(i.AgentID, bob.ID) {
			t.Fatalf("accepted: %s by %v", i.State, i.AgentID)
		}
		why, err := w.Store.Ent.RoutingDecision.Query().All(w.Sys)
		ok(t, err)
		if n := len(why); n != 4 || why[n-1].Outcome != "ASSIGNED_BY_HAND" {
			t.Fatalf("%d decisions, the last %+v", n, why[len(why)-1])
		}
	})
}

// MODEL 2: warm, the giver stays as consultant until the taker is ACTIVE.
func TestAWarmTransferKeepsTheGiverBesideUntilTheTakerServes(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		available(t, w, bob)
		for name, in := range map[string]desk.TransferInput{"agent": {AgentID: &bob.ID}, "queue": {QueueID: ptr(w.QueueOf(desk.QueueCreateInput{Name: "second"}))}} {
			t.Run(name, func(t *testing.T) {
				i := w.Serve(w.Bridge(nil).Say("t-"+name, "u-"+name, "hello"), ann)
				in.Mode = ptr(desk.Warm)
				_, err := w.Desk.Transfer(ann, i.ID, in, nil)
				ok(t, err)
				ann.Reply(i, "my colleague comes at once")
				if i = w.Interaction(i.ID); i.AgentID != nil || consultants(t, w, i) != 1 {
					t.Fatalf("%s, %d consultants", i.State, consultants(t, w, i))
				}
				if i.State == interaction.StateOFFERED {
					_, err = w.Desk.AcceptOffer(bob, *i.OpenOfferID, nil)
					ok(t, err)
				} else {
					w.Serve(i, bob)
				}
				if i = w.Interaction(i.ID); !is(i.AgentID, bob.ID) || consultants(t, w, i) != 0 {
					t.Fatalf("after the taker serves: %v, %d consultants", i.AgentID, consultants(t, w, i))
				}
				_, err = w.Desk.SendMessage(ann, i.ID, desk.MessageInput{Text: ptr("still here")}, nil)
				w.Refused(err, desk.ServedByOthers)
				open, err := w.Store.Ent.Assignment.Query().Where(assignment.InteractionID(i.ID), assignment.EndedAtIsNil()).All(w.Sys)
				ok(t, err)
				if len(open) != 1 || open[0].AgentID != bob.ID {
					t.Fatalf("open assignments: %v", open)
				}
			})
		}
	})
}

func consultants(t *testing.T, w *desktest.World, i *ent.Interaction) int {
	t.Helper()
	n, err := i.QueryConsultants().Count(w.Sys)
	ok(t, err)
	return n
}

// MODEL 1: the matter goes along only by withOwner, and only when somebody takes it.
func TestTheMatterGoesAlongWhenItIsSaidAndTaken(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		available(t, w, bob)
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		in := desk.TransferInput{AgentID: &bob.ID, WithOwner: ptr(true)}
		_, err := w.Desk.Transfer(ann, i.ID, in, nil)
		ok(t, err)
		if c := w.Conversation(i.ConversationID); !is(c.OwnerID, ann.ID) {
			t.Fatal("nobody has taken it yet")
		}
		_, err = w.Desk.AcceptOffer(bob, *w.Interaction(i.ID).OpenOfferID, nil)
		ok(t, err)
		c := w.Conversation(i.ConversationID)
		if !is(c.OwnerID, bob.ID) {
			t.Fatalf("owner %v, want Bob", c.OwnerID)
		}
		for _, a := range c.Edges.Access {
			if a.Reason == access.ReasonOWNER && a.SubjectID != bob.ID {
				t.Fatal("the giver keeps an owner's access")
			}
		}
	})
}

func TestATransferIsRefusedWithItsReason(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob, cat := w.Agent("Ann", "agent"), w.Agent("Bob", "agent"), w.Agent("Cat", "agent")
		q := w.QueueOf(desk.QueueCreateInput{Name: "second"})
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		refusal := func(a *desktest.Agent, in desk.TransferInput, code desk.Code) *desk.Refusal {
			t.Helper()
			_, err := w.Desk.Transfer(a, i.ID, in, nil)
			r := w.Refused(err, code)
			if n := w.Interaction(i.ID); n.State != interaction.StateACTIVE || !is(n.AgentID, ann.ID) || ann.Load().Used != 1 || bob.Load().Used != 0 {
				t.Fatal("a refused transfer left something behind")
			}
			return r
		}
		try := func(a *desktest.Agent, in desk.TransferInput, code desk.Code) {
			t.Helper()
			if r := refusal(a, in, code); len(r.Field) == 0 {
				t.Fatal("the refusal names no field")
			}
		}
		try(ann, desk.TransferInput{}, desk.Invalid)
		try(ann, desk.TransferInput{AgentID: &bob.ID, QueueID: &q}, desk.Invalid)
		try(ann, desk.TransferInput{AgentID: &bob.ID}, desk.CapacityFull) // he is OFFLINE
		available(t, w, bob)
		try(ann, desk.TransferInput{AgentID: ptr(gid.Make(gid.Agent))}, desk.NotFound)
		try(ann, desk.TransferInput{QueueID: ptr(gid.Make(gid.Queue))}, desk.NotFound)
		try(ann, desk.TransferInput{AgentID: &ann.ID}, desk.WrongState)
		try(w.Admin, desk.TransferInput{AgentID: &ann.ID}, desk.WrongState)
		_, err := w.Desk.Follow(ann, i.ConversationID, true, []gid.ID{cat.ID}, nil)
		ok(t, err)
		if r := refusal(cat, desk.TransferInput{QueueID: &q}, desk.ServedByOthers); r.ConflictID != ann.ID {
			t.Fatal("the refusal names who serves it")
		}
		full := w.Agent("Full", "agent")
		available(t, w, full)
		for n := range 4 {
			w.Serve(w.Bridge(nil).Say(w.Unique("t"), w.Unique("u"), "hello"), full)
			_ = n
		}
		try(ann, desk.TransferInput{AgentID: &full.ID}, desk.CapacityFull)
	})
}

// MODEL 7: sending in what another agent serves needs to join it as consultant.
func TestAConsultantWritesBesideTheServerAndCarriesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.Join(bob, i.ID, nil)
		w.Refused(err, desk.NotFound) // not within his reach
		_, err = w.Desk.Follow(ann, i.ConversationID, true, []gid.ID{bob.ID}, nil)
		ok(t, err)
		_, err = w.Desk.SendMessage(bob, i.ID, desk.MessageInput{Text: ptr("hi")}, nil)
		if r := w.Refused(err, desk.ServedByOthers); r.ConflictID != ann.ID {
			t.Fatal("the refusal names who serves it")
		}
		for range 2 { // a second join changes nothing
			_, err = w.Desk.Join(bob, i.ID, nil)
			ok(t, err)
		}
		bob.Reply(i, "I know this one")
		if consultants(t, w, i) != 1 || bob.Load().Used != 0 || bob.Load().Count != 0 {
			t.Fatalf("%d consultants, %d units", consultants(t, w, i), bob.Load().Used)
		}
		if n := w.Interaction(i.ID); !is(n.AgentID, ann.ID) {
			t.Fatal("helping changes no server")
		}
		_, err = w.Desk.Leave(bob, i.ID, nil)
		ok(t, err)
		_, err = w.Desk.Leave(bob, i.ID, nil)
		w.Refused(err, desk.WrongState)
		_, err = w.Desk.SendMessage(bob, i.ID, desk.MessageInput{Text: ptr("again")}, nil)
		w.Refused(err, desk.ServedByOthers)
		_, err = w.Desk.Join(bob, i.ID, nil)
		ok(t, err)
		_, err = w.Desk.End(ann, i.ID, nil)
		ok(t, err)
		open, err := w.Store.Ent.Assignment.Query().Where(assignment.EndedAtIsNil()).Count(w.Sys)
		ok(t, err)
		if open != 0 || consultants(t, w, i) != 0 {
			t.Fatal("the end of the contact ends the help")
		}
		_, err = w.Desk.Join(bob, i.ID, nil)
		w.Refused(err, desk.WrongState)
	})
}
