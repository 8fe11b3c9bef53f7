package desk_test

import (
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/internal/gid"
)

// MODEL 6: interactions of restricted queues are placeholders to everybody but the queue's members, whatever his reach.
func TestARestrictedQueueHidesItsContentFromAllButItsMembers(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		medical := w.Team("medical")
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &medical, Restricted: ptr(true)})
		doc, all := w.Agent("Doc", "agent", medical), w.Agent("All", "admin")
		secret := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		plain := w.Bridge(nil)
		one := w.Serve(secret.Say("t1", "u1", "my blood"), doc)
		_, err := w.Desk.CreateNote(doc, desk.NoteCreateInput{InteractionID: &one.ID, Text: "a diagnosis"}, nil)
		ok(t, err)
		two := plain.Say("t2", "u2", "my parcel")

		count := func(a *desktest.Agent, i gid.ID) (messages, notes, items int) {
			t.Helper()
			q, err := w.Desk.Interaction(a, i)
			ok(t, err)
			row, err := q.Only(a)
			ok(t, err)
			messages, err = row.QueryMessages().Count(a)
			ok(t, err)
			c, err := row.QueryConversation().Only(a)
			ok(t, err)
			notes, err = c.QueryNotes().Count(a)
			ok(t, err)
			items, err = c.QueryTimeline().Count(a)
			ok(t, err)
			return messages, notes, items
		}
		if m, n, _ := count(doc, one.ID); m != 1 || n != 1 {
			t.Fatalf("a member sees %d messages and %d notes", m, n)
		}
		if m, n, items := count(all, one.ID); m != 0 || n != 0 || items != 2 {
			t.Fatalf("reach ALL, no member: %d messages, %d notes, %d places in the timeline (message and assignment keep theirs)", m, n, items)
		}
		if m, _, _ := count(all, two.ID); m != 1 {
			t.Fatal("other queues are hidden, too")
		}
		answer := doc.Reply(one, "take these")
		ok(t, w.Store.Ent.Message.UpdateOneID(answer.ID).SetDelivery(message.DeliveryFAILED).Exec(w.Sys))
		unsettled := func(a *desktest.Agent) int {
			t.Helper()
			q, _, err := w.Desk.UnsettledMessages(a, []message.Delivery{message.DeliveryFAILED})
			ok(t, err)
			n, err := q.Count(a)
			ok(t, err)
			return n
		}
		if unsettled(doc) != 1 || unsettled(all) != 0 {
			t.Errorf("unsettled: the member sees %d, the other one %d", unsettled(doc), unsettled(all))
		}
		inbound, err := w.Store.Ent.Message.Query().Where(message.InteractionID(one.ID), message.DirectionEQ(message.DirectionINBOUND)).Only(w.Sys)
		ok(t, err)
		mq, err := w.Desk.Message(all, inbound.ID)
		ok(t, err)
		if there, err := mq.Exist(all); err != nil || there {
			t.Fatalf("node by id: %v %v", there, err)
		}

		_, err = w.Desk.SendMessage(all, one.ID, desk.MessageInput{Text: ptr("hi")}, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.End(all, one.ID, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.Resolve(all, one.ConversationID, &desk.ResolveInput{EndOthers: ptr(true)}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.CreateNote(all, desk.NoteCreateInput{InteractionID: &one.ID, Text: "x"}, nil)
		w.Refused(err, desk.NotAllowed)
		waitsHere := secret.Say("t3", "u3", "hello")
		_, err = w.Desk.Claim(all, waitsHere.ID, nil)
		w.Refused(err, desk.NotAllowed)
	})
}

func TestRestrictionIsSetAndLiftedLive(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		team := w.Team("team")
		_, err := w.Desk.CreateQueue(w.Admin, desk.QueueCreateInput{Name: "open", Restricted: ptr(true)}, nil)
		w.Refused(err, desk.Invalid)
		q := w.QueueOf(desk.QueueCreateInput{Name: "q", TeamID: &team})
		i := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q }).Say("t1", "u1", "hello")
		hidden := func() bool {
			t.Helper()
			a := w.Admin.Again()
			n, err := w.Store.Ent.Message.Query().Where(message.InteractionID(i.ID)).Count(a)
			ok(t, err)
			return n == 0
		}
		if hidden() {
			t.Fatal("nothing is restricted yet")
		}
		_, err = w.Desk.UpdateQueue(w.Admin, q, desk.QueueUpdateInput{Restricted: ptr(true)}, nil, nil)
		ok(t, err)
		if !hidden() {
			t.Fatal("restricted, and seen")
		}
		_, err = w.Desk.UpdateQueue(w.Agent("Member", "admin", team), q, desk.QueueUpdateInput{Restricted: ptr(false)}, nil, nil)
		ok(t, err)
		if hidden() {
			t.Fatal("lifted, and hidden")
		}
	})
}

// MODEL 6: whose team a queue is decides who sees its conversations, also those that were there before.
func TestSightFollowsAQueueWhoseTeamChanges(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		old, young := w.Team("old"), w.Team("young")
		q := w.QueueOf(desk.QueueCreateInput{Name: "q", TeamID: &old})
		ann, bob := w.Agent("Ann", "agent", old), w.Agent("Bob", "agent", young)
		i := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q }).Say("t1", "u1", "hello")
		in := desk.QueueUpdateInput{}
		in.TeamID.Set, in.TeamID.V = true, &young
		_, err := w.Desk.UpdateQueue(w.Admin, q, in, nil, nil)
		ok(t, err)
		w.Work()
		if sees(t, w, ann, i.ConversationID) || !sees(t, w, bob, i.ConversationID) {
			t.Fatal("the old team sees it, or the new one does not")
		}
		if n := w.Interaction(i.ID); n.State != interaction.StateQUEUED {
			t.Fatalf("%s", n.State)
		}
	})
}
