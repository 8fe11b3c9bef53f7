package desk_test

import (
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

func TestAnInvitationOfOneWhoMayMoreIsNotGiven(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		hr := w.Agent("HR", w.Role("hr", "OWN", viewer.PeopleRead, viewer.PeopleWrite))
		_, secret, err := w.Desk.InviteAgent(hr, w.Admin.ID, nil)
		w.Refused(err, desk.NotAllowed)
		if secret != "" {
			t.Error("the invitation of an admin is in the hands of one who is none")
		}
	})
}

func TestWhoMayLessDoesNotSwitchOffWhoMayMore(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		hr := w.Agent("HR", w.Role("hr", "OWN", viewer.PeopleRead, viewer.PeopleWrite))
		_, err := w.Desk.UpdateAgent(hr, w.Admin.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		w.Refused(err, desk.NotAllowed)
	})
}

// Whose sight ends at his teams gives nobody, and not himself, the sight of others.
func TestTeamsAreGivenByWhoSeesThem(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		medical := w.Team("medical")
		hr := w.Agent("HR", w.Role("hr", "TEAMS", viewer.PeopleRead, viewer.PeopleWrite, viewer.ConversationRead))
		_, err := w.Desk.UpdateAgent(hr, hr.ID, desk.AgentUpdateInput{TeamIds: &[]gid.ID{medical}}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.UpdateTeam(hr, medical, desk.TeamUpdateInput{MemberIds: &[]gid.ID{hr.ID}}, nil, nil)
		w.Refused(err, desk.NotAllowed)
	})
}

func TestWhatIsWithheldIsNotMoved(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		medical := w.Team("medical")
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &medical, Restricted: ptr(true)})
		doc, all := w.Agent("Doc", "admin", medical), w.Agent("All", "admin")
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q; in.JoinOpen = ptr(true) })
		one := w.Serve(b.Say("t1", "u1", "my blood"), doc)
		two := b.Say("t2", "u1", "more")
		_, err := w.Desk.SplitConversation(all, one.ConversationID, []gid.ID{two.ID}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		apart, err := w.Desk.SplitConversation(doc, one.ConversationID, []gid.ID{two.ID}, nil, nil)
		ok(t, err)
		_, err = w.Desk.MergeConversations(all, one.ConversationID, []gid.ID{apart}, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.MergeConversations(doc, one.ConversationID, []gid.ID{apart}, nil)
		ok(t, err)
		_, err = w.Desk.UndoConversationMerge(all, apart, nil)
		w.Refused(err, desk.NotAllowed)
	})
}

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
