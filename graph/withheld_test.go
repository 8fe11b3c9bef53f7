package graph_test

import (
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
)

// MODEL 6: why a contact of a restricted queue was declined is content, too.
func TestWhyARestrictedContactWasDeclinedIsForMembersAlone(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		team, yes, why := w.Team("medical"), true, "not my field"
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &team, Restricted: &yes})
		doc, member, other := w.Agent("Doc", "agent", team), w.Agent("Member", "admin", team), w.Agent("Other", "admin")
		i := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q }).Say("t1", "u1", "hello")
		o, _ := w.Offer(i, doc)
		if _, err := w.Desk.DeclineOffer(doc, o.ID, &why, nil); err != nil {
			t.Fatal(err)
		}
		const query = `query($o:ID!,$i:ID!){offer(id:$o){declineReason} interaction(id:$i){offers(first:1){nodes{declineReason}}}}`
		vars := object{"o": o.ID.String(), "i": i.ID.String()}
		out, _ := must(t, w, member, query, vars)
		if at(out, "offer", "declineReason") != why || at(out, "interaction", "offers", "nodes", 0, "declineReason") != why {
			t.Errorf("a member reads %v", out)
		}
		out, _ = must(t, w, other, query, vars)
		if at(out, "offer", "declineReason") != nil || at(out, "interaction", "offers", "nodes", 0, "declineReason") != nil || at(out, "offer") == nil {
			t.Errorf("who is no member reads %v", out)
		}
	})
}
