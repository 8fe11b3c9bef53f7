package desk_test

import (
	"encoding/json"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/participant"
)

// MODEL 1: who takes part stands there once per identity, with his role.
func TestEveryIdentityTakesPartOnce(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		one, two := w.Bridge(nil), w.Bridge(nil)
		who := desktest.M{"id": "a", "customerId": "c-1"}
		i := from(t, w, one, "t1", who)
		from(t, w, one, "t1", who)
		if j := from(t, w, two, "t2", desktest.M{"id": "b", "customerId": "c-1"}); j.ConversationID != i.ConversationID {
			t.Fatal("one customer, one open matter")
		}
		rows, err := w.Store.Ent.Participant.Query().Where(participant.ConversationID(i.ConversationID)).WithIdentity().All(w.Sys)
		ok(t, err)
		seen := map[string]int{}
		for _, p := range rows {
			seen[p.IdentityID.String()]++
			if p.Role != participant.RoleCUSTOMER || p.CustomerID != i.CustomerID {
				t.Errorf("%s takes part as %s of %s", p.Edges.Identity.Kind, p.Role, p.CustomerID)
			}
		}
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s takes part %d times", id, n)
			}
		}
		if len(seen) != 2 {
			t.Errorf("%d identities take part, want one of each bridge", len(seen))
		}
	})
}

// MODEL 1: a kind declares itself live, and then nobody sets its contact to wait, by hand or by time.
func TestAContactOfALiveKindDoesNotPause(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		q := w.QueueOf(desk.QueueCreateInput{PauseAfterReplySeconds: ptr(60)})
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID, in.Config = &q, json.RawMessage(`{"live":true}`) })
		ann := w.Agent("Ann", "agent")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		if !i.Live {
			t.Fatal("the kind says that it is live")
		}
		ann.Reply(i, "yes?")
		_, err := w.Desk.Pause(ann, i.ID, nil)
		w.Refused(err, desk.WrongState)
		w.Clock.Add(61 * time.Second)
		w.Work()
		inState(t, w.Interaction(i.ID), interaction.StateACTIVE)
	})
}

// MODEL 2: each workspace has a default queue, in which waits what its channel sends nowhere else.
func TestAContactOfAChannelWithoutAQueueWaitsInTheDefaultOne(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		if i := w.Bridge(nil).Say("t1", "u1", "hello"); !is(i.QueueID, w.Queue) {
			t.Errorf("a letter waits in %v", i.QueueID)
		}
		if i := w.Visitor(site(w)).Say("hello"); !is(i.QueueID, w.Queue) {
			t.Errorf("a chat waits in %v", i.QueueID)
		}
	})
}

// MODEL 3: a receipt never reopens, nor wakes what is put aside.
func TestAReceiptNeverReopens(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "agent")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		sent := ann.Reply(i, "yes")
		receipt := func(kind, state string) {
			e := desktest.M{"id": w.Unique("receipt"), "kind": kind, "message": sent.ID.String()}
			if state != "" {
				e["state"] = state
			}
			ok(t, b.Deliver(e))
			w.Work()
		}
		_, err := w.Desk.Snooze(ann, i.ConversationID, w.Clock.Now().Add(time.Hour), nil)
		ok(t, err)
		receipt("delivery", "delivered")
		if c := w.Conversation(i.ConversationID); c.State != conversation.StateSNOOZED {
			t.Fatalf("a receipt woke the matter: %s", c.State)
		}
		_, err = w.Desk.Resolve(ann, i.ConversationID, nil, nil, nil)
		ok(t, err)
		receipt("read", "")
		if c := w.Conversation(i.ConversationID); c.State != conversation.StateRESOLVED || w.Open(c.ID) != 0 {
			t.Fatalf("a receipt reopened the matter: %s", c.State)
		}
		m, err := w.Store.Ent.Message.Get(w.Sys, sent.ID)
		ok(t, err)
		if m.Delivery != "READ" {
			t.Fatalf("the receipts did not come in: %s", m.Delivery)
		}
	})
}

// MODEL 3: reopening begins with what the owner had last: a contact that somebody else served stays over.
func TestReopenLeavesWhatOthersServed(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann, bob := w.Bridge(nil), w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		mine := w.Serve(b.Say("t1", "u1", "hello"), ann) // she owns the matter
		other := w.Serve(b.Say("t2", "u1", "more"), bob)
		resolved(t, w, mine)
		_, err := w.Desk.Reopen(ann, mine.ConversationID, nil)
		ok(t, err)
		inState(t, w.Interaction(mine.ID), interaction.StatePAUSED)
		inState(t, w.Interaction(other.ID), interaction.StateENDED)
		if c := w.Conversation(mine.ConversationID); c.State != conversation.StatePENDING || c.ResolvedAt != nil {
			t.Fatalf("%s, resolved at %v", c.State, c.ResolvedAt)
		}
	})
}

// MODEL 1: a transfer of the matter that nobody took is over when the matter is resolved. What is reopened belongs to its
// owner, whoever serves the contact next.
func TestAReopenedContactDoesNotTakeTheMatterAlong(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "agent")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.Transfer(ann, i.ID, desk.TransferInput{QueueID: &w.Queue, WithOwner: ptr(true)}, nil)
		ok(t, err)
		resolved(t, w, i)
		_, err = w.Desk.Reopen(ann, i.ConversationID, nil)
		ok(t, err)
		_, err = w.Desk.Claim(w.Admin, i.ID, nil)
		ok(t, err)
		if c := w.Conversation(i.ConversationID); !is(c.OwnerID, ann.ID) {
			t.Fatalf("the owner is %v, want the one from before", c.OwnerID)
		}
	})
}
