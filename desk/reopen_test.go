package desk_test

import (
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/internal/gid"
)

// MODEL 3: reopen brings the owner's last asynchronous interaction back as PAUSED.
func TestReopenBringsTheOwnersLastContactBackPaused(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		b := w.Bridge(nil)
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		ann.Reply(i, "hi")
		_, err := w.Desk.Reopen(ann, i.ConversationID, nil)
		w.Refused(err, desk.WrongState)
		_, err = w.Desk.Resolve(ann, i.ConversationID, &desk.ResolveInput{Outcome: ptr("refunded")}, nil, nil)
		ok(t, err)
		_, err = w.Desk.Reopen(ann, i.ConversationID, nil)
		ok(t, err)
		c := w.Conversation(i.ConversationID)
		if i = w.Interaction(i.ID); i.State != interaction.StatePAUSED || i.AgentID != nil || i.EndedAt != nil || c.State != conversation.StatePENDING || c.ResolvedAt != nil || c.Outcome != nil {
			t.Fatalf("interaction %s of %v, conversation %s", i.State, i.AgentID, c.State)
		}
		if ann.Load().Used != 0 {
			t.Fatal("what is PAUSED costs nothing")
		}
		// The customer's next word queues it again, the last agent first.
		if n := b.Say("t1", "u1", "one more thing"); n.ID != i.ID || n.State != interaction.StateQUEUED || !is(n.PreferID, ann.ID) {
			t.Fatalf("%s, prefers %v", n.State, n.PreferID)
		}
	})
}

// MODEL 3: where none can be continued, interactionStart opens one.
func TestAContactIsBegunWhereNoneCanBeContinued(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "admin")
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.ReopenWithinDays = ptr(0) })
		other := w.Bridge(nil)
		first := w.Serve(b.Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.StartInteraction(ann, first.ConversationID, b.ID, nil, nil)
		if r := w.Refused(err, desk.InUse); r.ConflictID != first.ID {
			t.Fatal("the refusal names the open contact")
		}
		_, err = w.Desk.Resolve(ann, first.ConversationID, nil, nil, nil)
		ok(t, err)
		_, err = w.Desk.StartInteraction(ann, first.ConversationID, other.ID, nil, nil)
		w.Refused(err, desk.IdentityUnreachable)
		key := "start"
		id, err := w.Desk.StartInteraction(ann, first.ConversationID, b.ID, nil, &key)
		ok(t, err)
		again, err := w.Desk.StartInteraction(ann, first.ConversationID, b.ID, nil, &key)
		ok(t, err)
		i := w.Interaction(id)
		if id != again || i.State != interaction.StateACTIVE || !is(i.AgentID, ann.ID) || i.Direction != interaction.DirectionOUTBOUND || ann.Load().Used != 1 {
			t.Fatalf("%+v, %d units", i, ann.Load().Used)
		}
		if c := w.Conversation(i.ConversationID); c.State != conversation.StatePENDING {
			t.Fatalf("conversation %s", c.State)
		}
		ann.Reply(i, "are you there?")
		if n := b.Say("t1", "u1", "yes"); n.ID != i.ID {
			t.Fatal("the answer went elsewhere")
		}
	})
}

// MODEL 3: SNOOZED until a time or the next message.
func TestASnoozeEndsByTimeOrByTheCustomersWord(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		b := w.Bridge(nil)
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		until := w.Clock.Now().Add(time.Hour)
		_, err := w.Desk.Snooze(ann, i.ConversationID, until, nil)
		w.Refused(err, desk.WrongState) // he waits for an answer
		ann.Reply(i, "tomorrow")
		_, err = w.Desk.Snooze(ann, i.ConversationID, w.Clock.Now().Add(-time.Second), nil)
		w.Refused(err, desk.Invalid)
		snooze := func() {
			t.Helper()
			_, err := w.Desk.Snooze(ann, i.ConversationID, w.Clock.Now().Add(time.Hour), nil)
			ok(t, err)
			if c := w.Conversation(i.ConversationID); c.State != conversation.StateSNOOZED || c.SnoozedUntil == nil {
				t.Fatalf("conversation %s", c.State)
			}
		}
		snooze()
		b.Say("t1", "u1", "today, please")
		if c := w.Conversation(i.ConversationID); c.State != conversation.StateOPEN || c.SnoozedUntil != nil {
			t.Fatalf("after a word: %s until %v", c.State, c.SnoozedUntil)
		}
		ann.Reply(i, "as you like")
		snooze()
		w.Clock.Add(2 * time.Hour)
		w.Work()
		if c := w.Conversation(i.ConversationID); c.State != conversation.StatePENDING || c.SnoozedUntil != nil {
			t.Fatalf("after its time: %s until %v", c.State, c.SnoozedUntil)
		}
	})
}

// MODEL 1: only a transfer of the matter changes its owner.
func TestTheOwnerIsSetByHimselfOrASupervisor(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		team := w.Team("team")
		q := w.QueueOf(desk.QueueCreateInput{Name: "q", TeamID: &team})
		ann, bob := w.Agent("Ann", "agent", team), w.Agent("Bob", "agent", team)
		i := w.Serve(w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q }).Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.SetOwner(bob, i.ConversationID, &bob.ID, nil)
		if r := w.Refused(err, desk.NotAllowed); r.ConflictID != ann.ID {
			t.Fatal("the refusal names the owner")
		}
		_, err = w.Desk.SetOwner(ann, i.ConversationID, &bob.ID, nil)
		ok(t, err)
		if c := w.Conversation(i.ConversationID); !is(c.OwnerID, bob.ID) {
			t.Fatal("the owner did not give it")
		}
		_, err = w.Desk.SetOwner(w.Admin, i.ConversationID, nil, nil)
		ok(t, err)
		_, err = w.Desk.SetOwner(w.Admin, i.ConversationID, ptr(gid.Make(gid.Agent)), nil)
		w.Refused(err, desk.NotFound)
		if c := w.Conversation(i.ConversationID); c.OwnerID != nil {
			t.Fatal("the supervisor did not take it")
		}
	})
}

// MODEL 6: who follows sees it, whatever his reach; no more when he follows no more.
func TestFollowingGivesSightUntilItEnds(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.Follow(bob, i.ConversationID, true, nil, nil)
		w.Refused(err, desk.NotFound)
		_, err = w.Desk.Follow(ann, i.ConversationID, true, []gid.ID{bob.ID}, nil)
		ok(t, err)
		if !sees(t, w, bob, i.ConversationID) {
			t.Fatal("a follower does not see it")
		}
		_, err = w.Desk.Follow(bob, i.ConversationID, false, nil, nil)
		ok(t, err)
		if sees(t, w, bob, i.ConversationID) {
			t.Fatal("he sees it yet")
		}
	})
}
