package desk_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"entgo.io/ent/dialect"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/mergecandidate"
	"tributary/ent/message"
	"tributary/ent/queue"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

func TestOneChatDoesNotOpenARestrictedOne(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		medical := w.Team("medical")
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &medical, Restricted: ptr(true)})
		doc, ann := w.Agent("Doc", "admin", medical), w.Agent("Ann", "admin")
		site := w.SignedSite()
		token := w.TokenOf("c-1", nil)
		known, err := w.Visit(site, func(in *desk.VisitorSessionInput) { in.IdentityToken = &token })
		ok(t, err)
		i := w.Serve(known.Say("hello"), doc)
		_, err = w.Desk.Transfer(doc, i.ID, desk.TransferInput{QueueID: &q}, nil)
		ok(t, err)
		secret := known.Say("my blood is ill")
		if secret.State != interaction.StateQUEUED {
			t.Fatal(secret.State)
		}
		n, err := w.Store.Ent.Message.Query().Where(message.InteractionID(secret.ID)).Count(ann)
		ok(t, err)
		if n != 0 {
			t.Fatal("seen before")
		}
		anon := w.Visitor(site)
		chat := w.Serve(anon.Say("hi"), ann)
		_, err = anon.Identify(token)
		ok(t, err)
		rows, err := w.Store.Ent.Message.Query().Where(message.InteractionID(chat.ID)).All(ann)
		ok(t, err)
		for _, m := range rows {
			if *m.Text == "my blood is ill" {
				t.Errorf("Ann, no member, reads: %s", *m.Text)
			}
		}
	})
}

func TestAMergeIntoAResolvedMatterOpensIt(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		_, one, two := apart(w)
		one, two = w.Serve(one, ann), w.Serve(two, ann)
		ann.Reply(two, "answer")
		_, err := w.Desk.Resolve(ann, one.ConversationID, nil, nil, nil)
		ok(t, err)
		_, err = w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{two.ConversationID}, nil)
		ok(t, err)
		if c := w.Conversation(one.ConversationID); c.State == conversation.StateRESOLVED && w.Open(c.ID) > 0 {
			t.Errorf("RESOLVED with %d contacts going on (%s)", w.Open(c.ID), w.Interaction(two.ID).State)
		}
	})
}

func TestWhatIsPartedFromAResolvedMatterStaysOver(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		b := w.Bridge(nil)
		one := w.Serve(b.Say("t1", "u1", "a"), ann)
		two := w.Serve(b.Say("t2", "u1", "b"), ann)
		_, err := w.Desk.Resolve(ann, one.ConversationID, nil, nil, nil)
		ok(t, err)
		id, err := w.Desk.SplitConversation(ann, one.ConversationID, []gid.ID{two.ID}, nil, nil)
		ok(t, err)
		if c := w.Conversation(id); c.State != conversation.StateRESOLVED {
			t.Errorf("what was resolved is %s with %d open contacts", c.State, w.Open(id))
		}
		if again := b.Say("t3", "u1", "something else"); again.ConversationID == id {
			t.Error("and draws in new contacts by rule 2")
		}
	})
}

func TestASnoozeDoesNotOutliveAMerge(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		_, one, two := apart(w)
		two = w.Serve(two, ann)
		ann.Reply(two, "answer")
		_, err := w.Desk.End(ann, two.ID, nil)
		ok(t, err)
		until := w.Clock.Now().Add(time.Hour)
		_, err = w.Desk.Snooze(ann, two.ConversationID, until, nil)
		ok(t, err)
		_, err = w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{two.ConversationID}, nil)
		ok(t, err)
		if c := w.Conversation(two.ConversationID); c.SnoozedUntil != nil {
			t.Errorf("%s with snoozedUntil", c.State)
		}
		w.Clock.Add(2 * time.Hour)
		w.Work()
		_, err = w.Desk.UndoConversationMerge(w.Admin, two.ConversationID, nil)
		ok(t, err)
		w.Clock.Add(24 * time.Hour)
		w.Work()
		if c := w.Conversation(two.ConversationID); c.State == conversation.StateSNOOZED {
			t.Errorf("sleeps for ever: until %v, now %v", c.SnoozedUntil, w.Clock.Now())
		}
	})
}

func TestAnUndoAfterAProofLeavesEveryContactWithItsCustomer(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		site := w.SignedSite()
		token := w.TokenOf("c-1", nil)
		known, err := w.Visit(site, func(in *desk.VisitorSessionInput) { in.IdentityToken = &token })
		ok(t, err)
		kw, err := w.Store.Ent.Identity.Get(w.Sys, known.Viewer().Identity)
		ok(t, err)
		anon := w.Visitor(site)
		i := anon.Say("hi")
		m, err := w.Desk.MergeCustomers(w.Admin, kw.CustomerID, []gid.ID{i.CustomerID}, nil, nil, nil)
		ok(t, err)
		_, err = anon.Identify(token)
		ok(t, err)
		_, err = w.Desk.UndoCustomerMerge(w.Admin, m, nil, nil)
		if err != nil {
			t.Logf("refused: %v", err)
			return
		}
		n := w.Interaction(i.ID)
		c := w.Conversation(n.ConversationID)
		if !is(n.IdentityID, kw.ID) || c.CustomerID != n.CustomerID {
			t.Errorf("conversation of %v holds only contacts of %v (identity %v of %v)", c.CustomerID, n.CustomerID, n.IdentityID, kw.CustomerID)
		}
	})
}

func TestWhatCameSinceAMergeGoesBackWithIt(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		one, two := b.Say("t1", "u1", "a"), b.Say("t2", "u2", "b")
		m, err := w.Desk.MergeCustomers(w.Admin, two.CustomerID, []gid.ID{one.CustomerID}, nil, nil, nil)
		ok(t, err)
		write := func() {
			ev := b.Text(w.Unique("event"), "t1", "u1", "late")
			ev["from"] = desktest.M{"id": "u1", "name": "u1", "customerId": "c-1"}
			ok(t, b.Deliver(ev))
			w.Work()
		}
		write()
		_, err = w.Desk.UndoCustomerMerge(w.Admin, m, ptr("two people"), nil)
		ok(t, err)
		if whose(w, one) == whose(w, two) {
			t.Fatal("not parted")
		}
		write()
		if whose(w, one) == whose(w, two) {
			t.Error("u1's next message makes them one again by itself: c-1, which u1 brought, stayed with u2")
		}
	})
}

func TestCandidatesFollowAMerge(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		say := func(id string) gid.ID {
			ev := b.Text(w.Unique("event"), "t"+id, id, "x")
			ev["from"] = desktest.M{"id": id, "name": id, "phone": "+8613800000000"}
			ok(t, b.Deliver(ev))
			w.Work()
			i, err := w.Store.Ent.Interaction.Query().Order(interaction.ByStartedAt()).All(w.Sys)
			ok(t, err)
			return i[len(i)-1].CustomerID
		}
		a, bb := say("u1"), say("u2")
		list := candidates(t, w, mergecandidate.StateOPEN)
		if len(list) != 1 {
			t.Fatalf("%d candidates", len(list))
		}
		c := b.Say("t9", "u9", "third").CustomerID
		_, err := w.Desk.MergeCustomers(w.Admin, c, []gid.ID{a}, nil, nil, nil)
		ok(t, err)
		row, err := w.Store.Ent.Customer.Get(w.Admin, c)
		ok(t, err)
		if mine, err := row.MergeCandidates(w.Admin); err != nil || len(desk.OpenCandidates(mine)) == 0 {
			t.Errorf("who stays shows %d candidates (%v); one waits", len(mine), err)
		}
		_, err = w.Desk.MergeCustomers(w.Admin, c, []gid.ID{bb}, nil, nil, nil)
		ok(t, err)
		if left := candidates(t, w, mergecandidate.StateOPEN); len(left) != 0 {
			_, e1 := w.Desk.AcceptCandidate(w.Admin, left[0].ID, nil)
			_, e2 := w.Desk.DismissCandidate(w.Admin, left[0].ID, nil, nil)
			t.Errorf("stays OPEN though they are one; accept: %v; dismiss: %v", e1, e2)
		}
	})
}

func TestATeamIsToldWhatASplitTakesFromIt(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		red, blue := w.Team("red"), w.Team("blue")
		qr, qb := w.QueueOf(desk.QueueCreateInput{TeamID: &red}), w.QueueOf(desk.QueueCreateInput{TeamID: &blue})
		rita := w.Agent("Rita", "agent", red)
		_ = w.Agent("Bob", "agent", blue)
		r := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &qr; in.JoinOpen = ptr(false) })
		bl := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &qb })
		one := r.Say("t1", "u1", "a")
		two := bl.Say("t2", "u2", "b")
		_, err := w.Desk.MergeCustomers(w.Admin, one.CustomerID, []gid.ID{two.CustomerID}, nil, nil, nil)
		ok(t, err)
		_, err = w.Desk.MergeConversations(w.Admin, two.ConversationID, []gid.ID{one.ConversationID}, nil)
		ok(t, err)
		if !w.Sees(rita, two.ConversationID) {
			t.Fatal("Rita")
		}
		w.Log()
		_, err = w.Desk.SplitConversation(w.Admin, two.ConversationID, []gid.ID{one.ID}, nil, nil)
		ok(t, err)
		if w.Sees(rita, two.ConversationID) {
			t.Fatal("Rita sees still")
		}
		told := false
		for _, e := range w.Log() {
			if e.Type == string(desk.ConversationRemoved) && (slices.Contains(e.Audience, rita.ID) || slices.Contains(e.Audience, red)) {
				told = true
			}
		}
		if !told {
			t.Error("Rita lost the conversation without CONVERSATION_REMOVED")
		}
	})
}

func TestAChatThatWasServedIsNotFoldedAway(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		doc, ann := w.Agent("Doc", "agent"), w.Agent("Ann", "agent")
		team := w.Team("x")
		q := w.QueueOf(desk.QueueCreateInput{Name: "x", TeamID: &team})
		site := w.SignedSite()
		token := w.TokenOf("c-1", nil)
		known, err := w.Visit(site, func(in *desk.VisitorSessionInput) { in.IdentityToken = &token })
		ok(t, err)
		i := w.Serve(known.Say("hello"), doc)
		doc.Reply(i, "how can I help")
		warm := desk.Warm
		_, err = w.Desk.Transfer(doc, i.ID, desk.TransferInput{QueueID: &q, Mode: &warm}, nil)
		ok(t, err)
		anon := w.Visitor(site)
		chat := w.Serve(anon.Say("hi"), ann)
		_, err = anon.Identify(token)
		ok(t, err)
		n := w.Interaction(i.ID)
		cs, err := w.Store.Ent.Consultant.Query().All(w.Sys)
		ok(t, err)
		for _, c := range cs {
			t.Logf("consultant %+v", c)
		}
		if n.State == interaction.StateENDED {
			t.Errorf("what Doc served and gave on is %s, abandoned %t; its words are in %v (chat of Ann %v); consultants %d; Doc sees %t", n.State, n.Abandoned, n.LastNumber, w.Interaction(chat.ID).LastNumber, len(cs), w.Sees(doc, w.Interaction(chat.ID).ConversationID))
		}
	})
}

// A contact that commits between the undo's two locks.
func TestAnUndoSeesWhatCommitsBetweenItsLocks(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		if w.Store.Dialect != dialect.Postgres {
			t.Skip("one writer at a time")
		}
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = ptr(false) })
		one, two := b.Say("t1", "u1", "a"), b.Say("t2", "u2", "b")
		m, err := w.Desk.MergeCustomers(w.Admin, two.CustomerID, []gid.ID{one.CustomerID}, nil, nil, nil)
		ok(t, err)
		done := make(chan error, 1)
		var late *ent.Interaction
		err = w.Store.Tx(w.Sys, func(ctx context.Context, tx *ent.Tx) error { // what arrive does
			who, err := tx.Identity.UpdateOneID(*one.IdentityID).AddVisibleCount(1).Save(ctx)
			if err != nil {
				return err
			}
			c, err := tx.Conversation.Create().SetCustomerID(who.CustomerID).SetNumber(99).Save(ctx)
			if err != nil {
				return err
			}
			q, err := tx.Queue.Query().Order(queue.ByID()).FirstID(ctx)
			if err != nil {
				return err
			}
			late, err = tx.Interaction.Create().SetConversationID(c.ID).SetCustomerID(who.CustomerID).SetChannelID(b.ID).SetChannelKind("custom").SetIdentityID(who.ID).
				SetThreadKey("x").SetThread(personal.Of("x")).SetState(interaction.StateQUEUED).SetQueueID(q).SetJoinedBy(interaction.JoinedByNEW).Save(ctx)
			if err != nil {
				return err
			}
			go func() { _, err := w.Desk.UndoCustomerMerge(w.Admin, m, nil, nil); done <- err }()
			w.Waiting(1)
			return nil
		})
		ok(t, err)
		ok(t, <-done)
		n := w.Interaction(late.ID)
		if c := w.Conversation(late.ConversationID); c.CustomerID != n.CustomerID {
			t.Errorf("after the undo the conversation is %v's, its only contact %v's", c.CustomerID, n.CustomerID)
		}
	})
}
