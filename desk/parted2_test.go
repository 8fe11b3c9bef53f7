package desk_test

import (
	"slices"
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/interaction"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

func TestAPendingOfferGivesNoLastingSight(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		own := w.Role("own", "OWN", desktest.Serving...)
		doc, ann := w.Agent("Doc", own), w.Agent("Ann", own)
		b := w.Bridge(nil)
		one := w.Serve(b.Say("t1", "u1", "a"), doc)
		two := b.Say("t2", "u1", "b")
		o, _ := w.Offer(two, ann)
		_, err := w.Desk.SplitConversation(ann, one.ConversationID, []gid.ID{one.ID}, nil, nil)
		w.Refused(err, desk.ServedByOthers)
		_, err = w.Desk.SplitConversation(ann, one.ConversationID, []gid.ID{two.ID}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.Follow(ann, one.ConversationID, true, nil, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.DeclineOffer(ann, o.ID, nil, nil)
		ok(t, err)
		if w.Sees(ann, one.ConversationID) {
			t.Error("Ann declined, and sees it for good")
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

func TestHowLongContactsJoinIsBounded(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		for _, in := range []desk.ChannelCreateInput{{ReopenWithinDays: ptr(200000)}, {ReopenWithinDays: ptr(-1)}, {JoinWithinHours: ptr(9000)}, {JoinWithinHours: ptr(-1)}} {
			in.Kind, in.Name, in.Config = "webchat", w.Unique("site"), []byte("{}")
			_, err := w.Desk.CreateChannel(w.Admin, in, nil)
			w.Refused(err, desk.Invalid)
		}
	})
}

func TestOnlyAMemberLiftsARestriction(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		medical := w.Team("medical")
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &medical, Restricted: ptr(true)})
		ops := w.Agent("Ops", w.Role("ops", "ALL", viewer.RoutingRead, viewer.RoutingWrite, viewer.ConversationRead))
		_, err := w.Desk.UpdateQueue(ops, q, desk.QueueUpdateInput{Restricted: ptr(false)}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.UpdateQueue(w.Agent("Doc", "admin", medical), q, desk.QueueUpdateInput{Restricted: ptr(false)}, nil, nil)
		ok(t, err)
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
