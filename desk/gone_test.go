package desk_test

import (
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/interaction"
	"tributary/ent/job"
	"tributary/ent/offer"
)

func switchOff(t *testing.T, w *desktest.World, a *desktest.Agent) {
	t.Helper()
	_, err := w.Desk.UpdateAgent(w.Admin, a.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
	ok(t, err)
	w.Work()
	failed, err := w.Store.Ent.Job.Query().Where(job.ErrorNotNil()).All(w.Sys)
	ok(t, err)
	for _, j := range failed {
		t.Errorf("the job %s fails: %s", j.Kind, *j.Error)
	}
}

// MODEL 2: OFFERED, agent gone: QUEUED with the age it has. Who is switched off has no viewer any more, and still loses
// sight in good order.
func TestTheOffersOfASwitchedOffAgentGoBack(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, b := w.Agent("Ann", "agent"), w.Bridge(nil)
		offered, served := b.Say("t1", "u1", "hello"), w.Serve(b.Say("t2", "u2", "hello"), ann)
		o, _ := w.Offer(offered, ann)
		switchOff(t, w, ann)
		inState(t, w.Interaction(offered.ID), interaction.StateQUEUED)
		inState(t, w.Interaction(served.ID), interaction.StateQUEUED)
		if row := w.Store.Ent.Offer.GetX(w.Sys, o.ID); row.State != offer.StateWITHDRAWN {
			t.Fatalf("the offer is %s", row.State)
		}
		carries(t, ann, 0, 0)
		if c := w.Conversation(offered.ConversationID); len(c.Audience) != 0 {
			t.Fatalf("he stays in the audience: %v", c.Audience)
		}
	})
}

// MODEL 1: a matter can be given on when its owner is gone.
func TestTheMatterOfASwitchedOffOwnerCanBeGivenOn(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		c := w.Store.Ent.Conversation.GetX(w.Sys, w.Bridge(nil).Say("t1", "u1", "hello").ConversationID)
		for _, to := range []*desktest.Agent{ann, bob} { // Ann owns it and never served it
			_, err := w.Desk.SetOwner(w.Admin, c.ID, &to.ID, nil)
			ok(t, err)
			switchOff(t, w, ann)
		}
		if got := w.Conversation(c.ID); !is(got.OwnerID, bob.ID) {
			t.Fatalf("the owner is %v", got.OwnerID)
		}
	})
}

// A contact that ended has no server, however it ended: who served it stands as the one before.
func TestWhatAResolveEndedHasNoServer(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		resolved(t, w, i)
		if i = w.Interaction(i.ID); i.AgentID != nil || i.Cost != 0 || !is(i.PreviousAgentID, ann.ID) {
			t.Fatalf("%s, served by %v, cost %d, before by %v", i.State, i.AgentID, i.Cost, i.PreviousAgentID)
		}
	})
}

// MODEL 2: one more contact of the conversation is free while another one is paid for. An offer that was free when it was
// made pays from the moment when what paid is over.
func TestAFreeOfferInheritsTheCostToo(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "agent")
		first := w.Serve(b.Say("t1", "u1", "hello"), ann)
		second := b.Say("t2", "u1", "more")
		o, _ := w.Offer(second, ann)
		carries(t, ann, 1, 2)
		_, err := w.Desk.End(ann, first.ID, nil)
		ok(t, err)
		carries(t, ann, 1, 1)
		_, err = w.Desk.AcceptOffer(ann, o.ID, nil)
		ok(t, err)
		carries(t, ann, 1, 1)
		_, err = w.Desk.End(ann, second.ID, nil)
		ok(t, err)
		carries(t, ann, 0, 0)
	})
}

// MODEL 6: a pending offer gives sight, whatever became of another one of the same conversation.
func TestOneOfTwoOffersThatEndsLeavesTheSightOfTheOther(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "agent")
		first, second := b.Say("t1", "u1", "hello"), b.Say("t2", "u1", "more")
		one, _ := w.Offer(first, ann)
		two, _ := w.Offer(second, ann)
		_, err := w.Desk.DeclineOffer(ann, one.ID, nil, nil)
		ok(t, err)
		if !sees(t, w, ann, first.ConversationID) {
			t.Fatal("the other offer is pending and shows him nothing")
		}
		_, err = w.Desk.DeclineOffer(ann, two.ID, nil, nil)
		ok(t, err)
		if sees(t, w, ann, first.ConversationID) {
			t.Fatal("both are declined, and he sees it still")
		}
	})
}
