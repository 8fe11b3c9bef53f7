package graph_test

import (
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
)

// context is what an agent reads in the seconds that an offer stands: who it is and how we know, what else is open, what
// was said last, with pictures.
const offerContext = `{offers{id expiresAt reasons interaction{id state channelKind live joinedBy queuedAt withheld
 identity{kind verification value{text masked}}
 customer{displayName locale lastContactAt identities{kind verification value{text}} conversations(first:5){nodes{id number state subject owner{displayName}}}}
 conversation{number subject state waitingSince owner{displayName} followers{displayName} participants(first:5){nodes{role identity{kind}}}
  timeline(first:5){nodes{__typename at customerRole ... on MessageItem{message{text direction author{displayName} attachments{name kind contentType url}}}
   ... on NoteItem{note{text author{displayName} mentions{displayName}}}}}}
 consultants{displayName} previousAgent{displayName} queue{name restricted}}}}`

func TestAnOfferBringsItsContextInStatementsThatDoNotGrow(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		if _, err := w.Desk.SetStatus(ann, nil, desk.AgentStatusInput{State: "AVAILABLE"}, nil); err != nil {
			t.Fatal(err)
		}
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = new(bool) })
		offer := func(n int) {
			for range n {
				i := b.Say(w.Unique("t"), w.Unique("u"), "where is my parcel?")
				if _, err := w.Desk.CreateNote(w.Admin, desk.NoteCreateInput{InteractionID: &i.ID, Text: "calls often"}, nil); err != nil {
					t.Fatal(err)
				}
				if o, r := w.Offer(w.Interaction(i.ID), ann); o == nil {
					t.Fatal(r)
				}
			}
		}
		offer(1)
		out, one := must(t, w, ann, offerContext, nil)
		in := at(out, "offers", 0, "interaction")
		if at(in, "customer", "conversations", "nodes", 0, "state") != "OPEN" || at(in, "identity", "verification") == nil ||
			at(in, "conversation", "timeline", "nodes", 0, "note", "text") != "calls often" || at(in, "conversation", "timeline", "nodes", 1, "message", "text") != "where is my parcel?" {
			t.Fatalf("the context: %v", in)
		}
		offer(3)
		out, four := must(t, w, ann, offerContext, nil)
		if len(list(out, "offers")) != 4 || one.N() != four.N() {
			t.Errorf("%d statements for one offer, %d for %d", one.N(), four.N(), len(list(out, "offers")))
			for _, s := range four.Statements() {
				t.Log(s[:min(len(s), 160)])
			}
		}
		t.Logf("offers with context: %d statements", four.N())
	})
}
