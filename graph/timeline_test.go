package graph_test

import (
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
)

const histories = `query($n:Int){customers(first:$n){nodes{displayName
 conversations(first:5){totalCount nodes{number customer{id}}}
 timeline(first:5){nodes{id customerRole conversation{number} ... on MessageItem{message{text}}}}}}}`

// MODEL 1: a conversation also stands in the timeline of everybody who takes part in it, marked as such.
func TestAConversationStandsInTheTimelineOfWhoeverTakesPart(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = new(bool) })
		b.Say("thread", "opener", "a question for us both")
		b.Say("thread", "friend", "I ask the same")
		b.Say("other", "friend", "and this is mine alone")
		out, three := must(t, w, w.Admin, histories, object{"n": 10})
		rows := list(out, "customers", "nodes")
		if len(rows) != 2 {
			t.Fatalf("%d customers", len(rows))
		}
		opener, friend := rows[0], rows[1]
		if n := len(list(opener, "timeline", "nodes")); n != 2 || at(opener, "timeline", "nodes", 0, "customerRole") != "CUSTOMER" {
			t.Errorf("the opener sees %d items: %v", n, opener)
		}
		items := list(friend, "timeline", "nodes")
		if len(items) != 3 || at(items[0], "customerRole") != "CUSTOMER" || at(items[1], "customerRole") != "THIRD_PARTY" || at(items[2], "message", "text") != "a question for us both" {
			t.Errorf("who takes part sees %v", items)
		}
		if at(friend, "conversations", "totalCount") != 2.0 || len(list(friend, "conversations", "nodes")) != 2 {
			t.Errorf("his conversations: %v", at(friend, "conversations"))
		}
		for n := range 8 {
			b.Say(w.Unique("t"), w.Unique("u"), "hello")
			_ = n
		}
		_, many := must(t, w, w.Admin, histories, object{"n": 10})
		if three.N()+8 != many.N() && three.N() != many.N() { // totalCount is asked row by row
			t.Errorf("%d statements for 2 customers, %d for 10", three.N(), many.N())
		}
	})
}
