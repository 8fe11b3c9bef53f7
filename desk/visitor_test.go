package desk_test

import (
	"errors"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/internal/page"
)

func texts(t *testing.T, w *desktest.World, v *desktest.Visitor) (out []string) {
	t.Helper()
	c, err := w.Desk.VisitorMessages(v, page.Args{})
	ok(t, err)
	for n, m := range c.Nodes {
		if m.Number != n+1 {
			t.Errorf("message %d has the number %d", n+1, m.Number)
		}
		out = append(out, m.Text)
	}
	return out
}

// MODEL 6: a wrong join must not show a stranger's words, whatever the conversation holds.
func TestAWrongJoinShowsNothingOfTheStranger(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s, b, ann := site(w), w.Bridge(nil), w.Agent("Ann", "admin")
		v := w.Visitor(s)
		mine := w.Serve(v.Say("my question"), ann)
		theirs := b.Say("t1", "stranger", "the stranger's secret")
		ok(t, w.Store.Ent.Interaction.UpdateOneID(theirs.ID).SetConversationID(mine.ConversationID).SetCustomerID(mine.CustomerID).Exec(w.Sys))
		ok(t, w.Store.Ent.Message.Update().Where(message.InteractionID(theirs.ID)).SetConversationID(mine.ConversationID).Exec(w.Sys))
		w.Serve(w.Interaction(theirs.ID), ann)
		ann.Reply(theirs, "an answer to the stranger")
		b.Say("t1", "stranger", "a second secret")
		ann.Reply(mine, "an answer to you")
		if got := texts(t, w, v); len(got) != 2 || got[0] != "my question" || got[1] != "an answer to you" {
			t.Fatalf("the visitor reads %q", got)
		}
		foreign, err := w.Store.Ent.Message.Query().Where(message.InteractionID(theirs.ID)).All(w.Sys)
		ok(t, err)
		for _, m := range foreign {
			if got, err := w.Desk.VisitorMessage(v, m.ID); err != nil || got != nil {
				t.Errorf("by id: %v, %v", got, err)
			}
		}
		evs := w.Log()
		told, err := w.Desk.VisitorEvents(v, evs)
		ok(t, err)
		heard := 0
		for _, e := range told {
			if e == nil {
				continue
			}
			heard++
			if !is(e.Event.InteractionID, mine.ID) {
				t.Errorf("the visitor hears of %s of another contact", e.Event.Type)
			}
			if e.Message != nil && e.Message.Text != "my question" && e.Message.Text != "an answer to you" {
				t.Errorf("the visitor hears %q", e.Message.Text)
			}
		}
		if heard == 0 {
			t.Error("the visitor hears nothing at all: the test proves nothing")
		}
		chat, err := w.Desk.VisitorChat(v)
		ok(t, err)
		if chat.UnreadCount != 1 {
			t.Errorf("%d unread", chat.UnreadCount)
		}
	})
}

func TestAVisitorSeesHowHisChatStands(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		v, ann := w.Visitor(site(w)), w.Agent("Ann", "agent")
		stands := func(want desk.VisitorState) {
			t.Helper()
			c, err := w.Desk.VisitorChat(v)
			ok(t, err)
			if c == nil || c.State != want {
				t.Fatalf("%+v, want %s", c, want)
			}
		}
		if c, err := w.Desk.VisitorChat(v); err != nil || c != nil {
			t.Fatalf("before the first word: %v, %v", c, err)
		}
		i := v.Say("hello")
		stands(desk.VisitorWaiting)
		w.Serve(i, ann)
		stands(desk.VisitorWithAgent)
		m := ann.Reply(i, "yes?")
		stands(desk.VisitorWaitingForYou)
		if m.Delivery != message.DeliverySENT {
			t.Fatalf("on our own surface a commit is a send: %s", m.Delivery)
		}
		_, err := w.Desk.End(ann, i.ID, nil)
		ok(t, err)
		stands(desk.VisitorEnded)
		next := v.Say("one more thing")
		if next.ID == i.ID || next.ConversationID != i.ConversationID {
			t.Fatal("the next word begins a new contact of the same matter")
		}
		inState(t, next, interaction.StateQUEUED)
	})
}

func TestReadAndDeliveredNeverGoBack(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		v, ann := w.Visitor(site(w)), w.Agent("Ann", "agent")
		i := w.Serve(v.Say("hello"), ann)
		one, two := ann.Reply(i, "one"), ann.Reply(i, "two")
		delivery := func(m message.Delivery, id interface{ String() string }) {
			t.Helper()
			rows, err := w.Store.Ent.Message.Query().All(w.Sys)
			ok(t, err)
			for _, r := range rows {
				if r.ID.String() == id.String() && r.Delivery != m {
					t.Fatalf("%s, want %s", r.Delivery, m)
				}
			}
		}
		ok(t, w.Desk.VisitorReads(v, 99, nil)) // beyond the last message: nothing
		delivery(message.DeliverySENT, one.ID)
		evs := w.Log()
		ok(t, w.Desk.VisitorGot(v, evs[len(evs)-1].Seq))
		delivery(message.DeliveryDELIVERED, one.ID)
		delivery(message.DeliveryDELIVERED, two.ID)
		ok(t, w.Desk.VisitorReads(v, 2, nil))
		delivery(message.DeliveryREAD, one.ID)
		delivery(message.DeliveryDELIVERED, two.ID)
		ok(t, w.Desk.VisitorReads(v, 3, nil))
		ok(t, w.Desk.VisitorReads(v, 1, nil))
		delivery(message.DeliveryREAD, two.ID)
	})
}

func TestAReturningBrowserGoesOnAndAnEndedVisitIsVoid(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s := site(w)
		v := w.Visitor(s)
		v.Say("hello")
		back, err := w.Visit(s, func(in *desk.VisitorSessionInput) { in.VisitorToken = &v.Secret })
		ok(t, err)
		if back.Viewer().Identity != v.Viewer().Identity {
			t.Fatal("the secret brings the visitor back")
		}
		elsewhere, err := w.Visit(site(w), func(in *desk.VisitorSessionInput) { in.VisitorToken = &v.Secret })
		ok(t, err)
		if elsewhere.Viewer().Identity == v.Viewer().Identity {
			t.Fatal("a secret is good for its own site alone")
		}
		ok(t, w.Desk.EndVisit(v))
		w.Clock.Add(6 * time.Second)
		if _, err := w.Desk.Authenticate(t.Context(), v.Token); !errors.Is(err, desk.ErrUnauthenticated) {
			t.Fatalf("an ended visit: %v", err)
		}
		again, err := w.Visit(s, func(in *desk.VisitorSessionInput) { in.VisitorToken = &v.Secret })
		ok(t, err)
		if again.Viewer().Identity == v.Viewer().Identity {
			t.Fatal("the secret is void, too")
		}
		w.Clock.Add(16 * time.Minute)
		if _, err := w.Desk.Authenticate(t.Context(), back.Token); !errors.Is(err, desk.ErrUnauthenticated) {
			t.Fatalf("a token past its time: %v", err)
		}
	})
}

func TestASwitchedOffOrUnknownSiteTakesNobody(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		s := site(w)
		v := w.Visitor(s)
		_, err := w.Desk.EnableChannel(w.Admin, s.ID, false, nil)
		ok(t, err)
		_, err = w.Visit(s, nil)
		w.Refused(err, desk.NotFound)
		_, err = w.Desk.VisitorSays(v, desk.VisitorMessageInput{Text: ptr("hello")}, nil)
		w.Refused(err, desk.ChannelUnavailable)
		_, err = w.Desk.StartVisit(t.Context(), desk.VisitorSessionInput{SiteKey: "site_nothing"}, "192.0.2.1", "")
		w.Refused(err, desk.NotFound)
	})
}
