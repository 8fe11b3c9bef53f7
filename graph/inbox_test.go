package graph_test

import (
	"fmt"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/customer"
	"tributary/ent/interaction"
	"tributary/internal/personal"
)

// lastFive is an inbox: conversations with customer, owner and the last five things that happened, messages with their
// authors among them.
const lastFive = `query($n:Int){conversations(first:$n){pageInfo{hasNextPage} nodes{id number state subject updatedAt
 customer{id displayName} owner{id displayName}
 timeline(first:5){pageInfo{hasNextPage} nodes{__typename id at ... on MessageItem{message{id number direction text delivery createdAt author{__typename displayName}}}}}}}}`

// inboxBudget is the most statements that an inbox may cost, however long it is.
const inboxBudget = 8

// TestAnInboxCostsEightStatementsAtMost holds for 5 rows and for 100: the last five of all conversations come with one
// statement, newest first, and no page holds a row of another conversation.
func TestAnInboxCostsEightStatementsAtMost(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		a := chatty(t, w, 100)
		got := map[int]int{}
		for _, n := range []int{5, 100} {
			out, c := must(t, w, a, lastFive, object{"n": n})
			if rows := list(out, "conversations", "nodes"); len(rows) != n {
				t.Fatalf("%d rows of %d", len(rows), n)
			}
			for k, row := range list(out, "conversations", "nodes") {
				lastWords(t, k, row)
			}
			if got[n] = c.N(); c.N() > inboxBudget || c.N() != got[5] {
				t.Errorf("%d rows cost %d statements, 5 cost %d:", n, c.N(), got[5])
				for _, s := range c.Statements() {
					t.Log(s[:min(len(s), 160)])
				}
			}
			t.Logf("an inbox of %d: %d statements", n, c.N())
		}
	})
}

// chatty makes conversations of one word, six of which get seven words more and one of those an answer.
func chatty(t *testing.T, w *desktest.World, n int) *desktest.Agent {
	t.Helper()
	if _, err := w.Desk.SetStatus(w.Admin, nil, desk.AgentStatusInput{State: "AVAILABLE"}, nil); err != nil {
		t.Fatal(err)
	}
	b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = new(bool) })
	for word := range 8 {
		var events []object
		for k := range n {
			if word == 0 || k < 6 {
				events = append(events, b.Text(w.Unique("e"), fmt.Sprint("t", k), fmt.Sprint("u", k), fmt.Sprintf("u%d says %d", k, word)))
			}
		}
		if err := b.Deliver(events...); err != nil {
			t.Fatal(err)
		}
		w.Work()
		w.Clock.Add(time.Second)
	}
	answerOne(t, w)
	return w.Admin
}

// answerOne lets the admin serve and answer the first customer, whose matter is his from then on.
func answerOne(t *testing.T, w *desktest.World) {
	t.Helper()
	i, err := w.Store.Ent.Interaction.Query().Where(interaction.HasCustomerWith(customer.DisplayName("u0"))).Only(w.Sys)
	if err != nil {
		t.Fatal(err)
	}
	w.Admin.Reply(w.Serve(i, w.Admin), "yes?")
}

// lastWords looks at one row: the words of its own customer and owner alone, newest first. The six with more words were
// changed last, so they lead the list.
func lastWords(t *testing.T, k int, row any) {
	t.Helper()
	who := at(row, "customer", "displayName")
	var words []any
	for _, item := range list(row, "timeline", "nodes") {
		if at(item, "__typename") == "MessageItem" {
			words = append(words, at(item, "message", "text"))
			if got := at(item, "message", "author", "displayName"); got != who && got != at(row, "owner", "displayName") {
				t.Errorf("row %d of %v has a word of %v", k, who, got)
			}
		}
	}
	want := []any{fmt.Sprint(who, " says 0")}
	switch {
	case at(row, "owner") != nil: // with the answer came an assignment and a change
		want = []any{"yes?", fmt.Sprint(who, " says 7"), fmt.Sprint(who, " says 6")}
	case k < 6:
		want = nil
		for word := 7; word > 2; word-- {
			want = append(want, fmt.Sprintf("%v says %d", who, word))
		}
	}
	if fmt.Sprint(words) != fmt.Sprint(want) {
		t.Errorf("row %d: %v, want %v", k, words, want)
	}
	if more := at(row, "timeline", "pageInfo", "hasNextPage"); more != (k < 6) {
		t.Errorf("row %d: more is %v", k, more)
	}
}

// TestManyParentsAreOneStatement asks for the messages of more interactions than SQLite takes arms of one statement.
func TestManyParentsAreOneStatement(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		if _, err := w.Desk.SetStatus(w.Admin, nil, desk.AgentStatusInput{State: "AVAILABLE"}, nil); err != nil {
			t.Fatal(err)
		}
		a, all := crowd(t, w, 100)
		var more []*ent.InteractionCreate
		for _, i := range all {
			for range 6 {
				more = append(more, w.Store.Ent.Interaction.Create().SetConversationID(i.ConversationID).SetCustomerID(i.CustomerID).SetChannelKind("custom").
					SetThread(personal.Value{}).SetState(interaction.StateENDED).SetJoinedBy(interaction.JoinedByBY_HAND))
			}
		}
		if err := w.Store.Ent.Interaction.CreateBulk(more...).Exec(w.Sys); err != nil {
			t.Fatal(err)
		}
		out, c := must(t, w, a, `{conversations(first:100){nodes{interactions(first:7){nodes{messages(first:1){nodes{text}}}}}}}`, nil)
		words := 0
		for _, row := range list(out, "conversations", "nodes") {
			for _, i := range list(row, "interactions", "nodes") {
				words += len(list(i, "messages", "nodes"))
			}
		}
		if words < 100 || c.N() != 3 {
			t.Errorf("%d words by %d statements", words, c.N())
		}
	})
}
