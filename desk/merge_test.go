package desk_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/mergecandidate"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
)

// apart is a customer with two open matters, for his channel joins nothing.
func apart(w *desktest.World) (*desktest.Bridge, *ent.Interaction, *ent.Interaction) {
	b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = ptr(false) })
	one := b.Say("t1", "u1", "one")
	w.Clock.Add(time.Minute)
	two := b.Say("t2", "u1", "two")
	w.Clock.Add(time.Minute)
	return b, one, two
}

func TestMergedMattersAreOneAndAnUndoGivesEverythingBack(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob := w.Agent("Ann", "agent"), w.Agent("Bob", "agent")
		b, one, two := apart(w)
		one, two = w.Serve(one, ann), w.Serve(two, bob)
		ann.Reply(one, "from Ann")
		before, shellID := matters(t, w, nil), two.ConversationID
		_, err := w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{two.ConversationID}, nil)
		ok(t, err)
		two = w.Interaction(two.ID)
		if two.ConversationID != one.ConversationID || two.State != interaction.StateACTIVE || !is(two.AgentID, bob.ID) {
			t.Fatalf("%s in %v", two.State, two.ConversationID)
		}
		carries(t, ann, 1, 1)
		carries(t, bob, 1, 1)
		shell := w.Conversation(shellID)
		if shell.State != conversation.StateRESOLVED || !is(shell.MergedIntoID, one.ConversationID) || shell.LastMessageID != nil {
			t.Fatalf("the empty one: %+v", shell)
		}
		for _, a := range []*desktest.Agent{ann, bob} {
			if !w.Sees(a, one.ConversationID) {
				t.Error("who serves in a merged matter sees it")
			}
			bob.Reply(w.Interaction(two.ID), "from Bob, in the merged one")
		}
		if again := b.Say("t2", "u1", "more of two"); again.ConversationID != one.ConversationID {
			t.Fatal("later words of its threads go where its matter went")
		}
		if n, err := w.Store.Ent.TimelineItem.Query().Where(timelineitem.ConversationID(one.ConversationID), timelineitem.Changed("conversation.merged")).Count(w.Sys); err != nil || n != 1 {
			t.Fatalf("%d lines of audit (%v)", n, err)
		}
		_, err = w.Desk.UndoConversationMerge(ann, shell.ID, nil)
		ok(t, err)
		if !w.Sees(bob, shell.ID) || w.Sees(bob, one.ConversationID) {
			t.Error("after the undo each sees his own")
		}
		after := strings.NewReplacer(", from Bob, in the merged one", "", ", more of two", "", `last "more of two", 4 in the timeline of 4`, `last "two", 1 in the timeline of 1`).Replace(matters(t, w, nil))
		if after != before {
			t.Errorf("after:\n%s\nbefore:\n%s", after, before)
		}
		balanced(t, w, ann, bob)
		_, err = w.Desk.UndoConversationMerge(ann, shell.ID, nil)
		w.Refused(err, desk.NotFound)
	})
}

func TestOneServerOfBothMattersCarriesOneOfThem(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		b, one, two := apart(w)
		w.Serve(one, ann)
		w.Serve(two, ann)
		three := b.Say("t3", "u1", "three")
		o, _ := w.Offer(three, ann)
		carries(t, ann, 3, 3)
		_, err := w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{two.ConversationID, three.ConversationID}, nil)
		ok(t, err)
		carries(t, ann, 1, 3)
		_, err = w.Desk.AcceptOffer(ann, o.ID, nil)
		ok(t, err)
		carries(t, ann, 1, 3)
		id, err := w.Desk.SplitConversation(ann, one.ConversationID, []gid.ID{two.ID}, ptr("another matter"), nil)
		ok(t, err)
		carries(t, ann, 2, 3)
		c := w.Conversation(id)
		if !is(c.RelatedID, one.ConversationID) || *c.Subject != "another matter" || !is(c.OwnerID, ann.ID) || w.Interaction(two.ID).JoinedBy != interaction.JoinedByBY_HAND {
			t.Fatalf("the new one: %+v", c)
		}
		for _, i := range []*ent.Interaction{one, two, three} {
			_, err = w.Desk.End(ann, i.ID, nil)
			ok(t, err)
			balanced(t, w, ann)
		}
		carries(t, ann, 0, 0)
	})
}

func TestMergingAndPartingNeedReachAndOneCustomer(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		own := w.Role("own", "OWN", desktest.Serving...)
		ann, bob := w.Agent("Ann", own), w.Agent("Bob", own)
		b, one, two := apart(w)
		w.Serve(one, ann)
		_, err := w.Desk.MergeConversations(ann, one.ConversationID, []gid.ID{two.ConversationID}, nil)
		w.Refused(err, desk.NotFound)
		_, err = w.Desk.SplitConversation(bob, one.ConversationID, []gid.ID{one.ID}, nil, nil)
		w.Refused(err, desk.NotFound)
		_, err = w.Desk.SplitConversation(ann, one.ConversationID, []gid.ID{one.ID}, nil, nil)
		w.Refused(err, desk.Invalid)
		_, err = w.Desk.SplitConversation(ann, one.ConversationID, []gid.ID{two.ID}, nil, nil)
		w.Refused(err, desk.NotFound)
		other := b.Say("t9", "u2", "somebody else")
		_, err = w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{other.ConversationID}, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{one.ConversationID}, nil)
		w.Refused(err, desk.Invalid)
		_, err = w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{two.ConversationID}, nil)
		ok(t, err)
		_, err = w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{two.ConversationID}, nil)
		w.Refused(err, desk.WrongState)
		_, err = w.Desk.UndoConversationMerge(bob, two.ConversationID, nil)
		w.Refused(err, desk.NotFound)
		// Who parts sees what he made.
		id, err := w.Desk.SplitConversation(ann, one.ConversationID, []gid.ID{two.ID}, nil, nil)
		ok(t, err)
		if !w.Sees(ann, id) || w.Sees(bob, id) {
			t.Fatal("sight of the new one")
		}
		apiOnly := w.Agent("Reader", w.Role("reader", "ALL", "CONVERSATION_READ"))
		var f *desk.Forbidden
		if _, err := w.Desk.MergeConversations(apiOnly, one.ConversationID, []gid.ID{id}, nil); !errors.As(err, &f) {
			t.Fatalf("without the right: %v", err)
		}
	})
}

// A message that comes while its conversation is merged and taken back again is said once, where its contact is.
func TestMergeAgainstNewMessages(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		b, one, two := apart(w)
		w.Serve(two, ann)
		var all sync.WaitGroup
		const words = 20
		for n := range words {
			ok(t, b.Deliver(b.Text(fmt.Sprint("e", n), fmt.Sprint("t", 1+n%2), "u1", "more")))
		}
		all.Go(w.Work)
		for n := range 4 {
			all.Go(func() {
				text := fmt.Sprint("answer ", n)
				if _, err := w.Desk.SendMessage(ann, two.ID, desk.MessageInput{Text: &text}, nil); err != nil {
					t.Error("send: ", err)
				}
			})
		}
		all.Go(func() {
			for range 5 {
				if _, err := w.Desk.MergeConversations(w.Admin, one.ConversationID, []gid.ID{two.ConversationID}, nil); err != nil {
					t.Error("merge: ", err)
				}
				if _, err := w.Desk.UndoConversationMerge(w.Admin, two.ConversationID, nil); err != nil {
					t.Error("undo: ", err)
				}
			}
		})
		all.Wait()
		w.Eventually("all are taken in", func() bool {
			n, err := w.Store.Ent.Message.Query().Where().Count(w.Sys)
			ok(t, err)
			if n < words+6 {
				w.Clock.Add(2 * time.Second)
				w.Work()
			}
			return n == words+6
		})
		for _, i := range []*ent.Interaction{one, two} {
			if n := w.Interaction(i.ID); n.ConversationID != i.ConversationID {
				t.Error("not where it was")
			}
		}
		balanced(t, w, ann)
		matters(t, w, nil)
	})
}

func whose(w *desktest.World, i *ent.Interaction) gid.ID { return w.Interaction(i.ID).CustomerID }

func candidates(t *testing.T, w *desktest.World, states ...mergecandidate.State) []*ent.MergeCandidate {
	t.Helper()
	q, _, err := w.Desk.MergeCandidates(w.Admin, states)
	ok(t, err)
	rows, err := q.WithCustomers().All(w.Admin)
	ok(t, err)
	return rows
}

// MODEL 5: what is claimed only suggests.
func TestAClaimedValueRaisesACandidateAndJoinsNobody(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		const phone = "+8613800138000"
		proved := from(t, w, b, "t1", desktest.M{"id": "a", "phone": phone, "phoneVerified": true})
		claims := from(t, w, b, "t2", desktest.M{"id": "b", "phone": phone})
		if proved.CustomerID == claims.CustomerID {
			t.Fatal("a claim joined")
		}
		list := candidates(t, w, mergecandidate.StateOPEN)
		if len(list) != 1 || len(list[0].Edges.Customers) != 2 || len(list[0].Evidence) != 1 {
			t.Fatalf("%d candidates: %+v", len(list), list)
		}
		e := list[0].Evidence[0]
		if e.Kind != "SHARED_PHONE" || !strings.Contains(e.Detail, "CLAIMED") || !strings.Contains(e.Detail, "CHANNEL_PROVED") || strings.Contains(e.Detail, phone) {
			t.Fatalf("evidence %+v", e)
		}
		if !slices.ContainsFunc(w.Log(), func(e *ent.Event) bool {
			return e.Type == string(desk.MergeCandidateFound) && e.SubjectID == list[0].ID
		}) {
			t.Error("nobody was told")
		}
		_, err := w.Desk.DismissCandidate(w.Admin, list[0].ID, ptr("a shared phone"), nil)
		ok(t, err)
		from(t, w, b, "t3", desktest.M{"id": "b", "phone": phone})
		if n := candidates(t, w, mergecandidate.StateOPEN); len(n) != 0 {
			t.Fatal("a dismissed pair is raised by the same evidence")
		}
		_, err = w.Desk.AcceptCandidate(w.Admin, list[0].ID, nil)
		w.Refused(err, desk.WrongState)
		// Other evidence raises it again.
		from(t, w, b, "t5", desktest.M{"id": "a", "email": "li@example.com"})
		from(t, w, b, "t6", desktest.M{"id": "b", "email": "li@example.com"})
		list = candidates(t, w, mergecandidate.StateOPEN)
		if len(list) != 1 || len(list[0].Evidence) != 2 {
			t.Fatalf("%d candidates", len(list))
		}
		id, err := w.Desk.AcceptCandidate(w.Admin, list[0].ID, nil)
		ok(t, err)
		if whose(w, claims) != whose(w, proved) {
			t.Fatal("an accepted candidate merges")
		}
		if n := candidates(t, w, mergecandidate.StateACCEPTED); len(n) != 1 || !is(n[0].DecidedByID, w.Admin.ID) {
			t.Fatalf("%+v", n)
		}
		_, err = w.Desk.UndoCustomerMerge(w.Admin, id, nil, nil)
		ok(t, err)
		if whose(w, claims) == whose(w, proved) {
			t.Fatal("an undo parts them")
		}
	})
}

// What a person has refused is not asked again when one of the two proves the value that both had claimed.
func TestADismissedPairIsNotRaisedByTheSameValue(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		const phone = "+8613800138000"
		from(t, w, b, "t1", desktest.M{"id": "a", "phone": phone})
		from(t, w, b, "t2", desktest.M{"id": "b", "phone": phone})
		list := candidates(t, w, mergecandidate.StateOPEN)
		if len(list) != 1 {
			t.Fatalf("%d candidates", len(list))
		}
		_, err := w.Desk.DismissCandidate(w.Admin, list[0].ID, nil, nil)
		ok(t, err)
		from(t, w, b, "t3", desktest.M{"id": "a", "phone": phone, "phoneVerified": true})
		if list := candidates(t, w, mergecandidate.StateOPEN); len(list) != 0 {
			t.Fatalf("raised again: %+v", list[0].Evidence)
		}
	})
}

func TestCustomersWithDifferentSingleValuesAreNotMerged(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		one := from(t, w, b, "t1", desktest.M{"id": "a", "customerId": "c-1"})
		two := from(t, w, b, "t2", desktest.M{"id": "b", "customerId": "c-2"})
		_, err := w.Desk.MergeCustomers(w.Admin, one.CustomerID, []gid.ID{two.CustomerID}, nil, nil, nil)
		if r := w.Refused(err, desk.Duplicate); r.ConflictID.Kind() != gid.Identity {
			t.Fatalf("in conflict: %v", r.ConflictID)
		}
		_, err = w.Desk.MergeCustomers(w.Admin, one.CustomerID, []gid.ID{gid.Make(gid.Customer)}, nil, nil, nil)
		w.Refused(err, desk.NotFound)
		other := w.Another()
		_, err = w.Desk.MergeCustomers(other.Admin, one.CustomerID, []gid.ID{two.CustomerID}, nil, nil, nil)
		w.Refused(err, desk.NotFound)
	})
}

// A wrong merge of customers, after which both went on writing and one joined the other's matter, comes apart whole.
func TestAnUndoneMergeOfCustomersPartsWhatWasSaidSince(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, bob, b := w.Agent("Ann", "agent"), w.Agent("Bob", "agent"), w.Bridge(nil)
		li := w.Serve(from(t, w, b, "t1", desktest.M{"id": "li", "name": "Li"}), ann)
		wang := w.Serve(from(t, w, b, "t2", desktest.M{"id": "wang", "name": "Wang"}), bob)
		before := matters(t, w, nil)
		m, err := w.Desk.MergeCustomers(w.Admin, li.CustomerID, []gid.ID{wang.CustomerID}, ptr("the same voice"), nil, nil)
		ok(t, err)
		if whose(w, wang) != li.CustomerID {
			t.Fatal("not one")
		}
		carries(t, ann, 1, 1)
		carries(t, bob, 1, 1)
		sug, err := w.Store.Ent.MergeSuggestion.Query().Count(w.Sys)
		ok(t, err)
		if sug != 2 {
			t.Fatalf("%d suggestions", sug)
		}
		// Both matters are made one, and Wang opens one more contact, which joins it.
		_, err = w.Desk.MergeConversations(w.Admin, li.ConversationID, []gid.ID{wang.ConversationID}, nil)
		ok(t, err)
		more := from(t, w, b, "t3", desktest.M{"id": "wang", "name": "Wang"})
		if more.ConversationID != li.ConversationID {
			t.Fatal("rule 2")
		}
		_, err = w.Desk.UndoCustomerMerge(w.Admin, m, nil, nil)
		ok(t, err)
		if whose(w, wang) != wang.CustomerID || whose(w, more) != wang.CustomerID || whose(w, li) != li.CustomerID {
			t.Fatal("whose contacts")
		}
		got := w.Conversation(w.Interaction(more.ID).ConversationID)
		if got.CustomerID != wang.CustomerID {
			t.Fatal("what was said since stays with the stranger")
		}
		after := matters(t, w, nil)
		var extra []string
		for _, line := range strings.Split(after, "\n") {
			if !strings.Contains(before, line) {
				extra = append(extra, line)
			}
		}
		if len(extra) != 1 || !strings.Contains(extra[0], "custom QUEUED by custom_id served by nobody offered false: hello") || strings.Count(after, "\n") != strings.Count(before, "\n")+1 {
			t.Errorf("after:\n%s\nbefore:\n%s", after, before)
		}
		balanced(t, w, ann, bob)
		_, err = w.Desk.UndoCustomerMerge(w.Admin, m, nil, nil)
		w.Refused(err, desk.WrongState)
		if n, err := w.Store.Ent.MergeSuggestion.Query().Count(w.Sys); err != nil || n != 0 {
			t.Errorf("%d suggestions between strangers (%v)", n, err)
		}
	})
}
