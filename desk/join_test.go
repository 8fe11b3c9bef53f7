package desk_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
)

func signedSite(w *desktest.World, secret string) *ent.Channel {
	return w.Channel(desk.ChannelCreateInput{Kind: "webchat", Secrets: []desk.SecretInput{{Name: "identitySecret", Value: secret}}})
}

// signedVisit begins a visit as a customer of the operator's own system.
func signedVisit(t *testing.T, w *desktest.World, s *ent.Channel, secret, customer string) *desktest.Visitor {
	t.Helper()
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(customer))
	token, err := json.Marshal(map[string]string{"externalId": customer, "hash": hex.EncodeToString(mac.Sum(nil))})
	ok(t, err)
	v, err := w.Visit(s, func(in *desk.VisitorSessionInput) { in.IdentityToken = ptr(string(token)) })
	ok(t, err)
	return v
}

func resolved(t *testing.T, w *desktest.World, c *ent.Interaction) {
	t.Helper()
	_, err := w.Desk.Resolve(w.Admin, c.ConversationID, &desk.ResolveInput{EndOthers: ptr(true)}, nil, nil)
	ok(t, err)
}

// MODEL 4, rule 1.
func TestAnOpenThreadTakesTheMessage(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		first := b.Say("t1", "u1", "hello")
		if again := b.Say("t1", "u1", "more"); again.ID != first.ID {
			t.Fatal("an open thread is continued")
		}
		// Another person in the same thread speaks in the same contact, as a third party.
		if other := b.Say("t1", "u2", "me too"); other.ID != first.ID {
			t.Fatal("the thread decides, not the person")
		}
		ps, err := w.Store.Ent.Participant.Query().All(w.Sys)
		ok(t, err)
		if len(ps) != 2 || ps[0].Role == ps[1].Role {
			t.Fatalf("participants %v", ps)
		}
	})
}

func TestAnEndedThreadOfAnOpenMatterGoesOnThere(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = ptr(false) }), w.Agent("Ann", "admin")
		first := w.Serve(b.Say("t1", "u1", "hello"), ann)
		_, err := w.Desk.End(ann, first.ID, nil)
		ok(t, err)
		w.Clock.Add(100 * 24 * time.Hour) // the matter was never closed: days do not count
		again := b.Say("t1", "u1", "more")
		if again.ID == first.ID || again.ConversationID != first.ConversationID || again.JoinedBy != interaction.JoinedByTHREAD || !is(again.PreferID, ann.ID) {
			t.Fatalf("joined by %s, prefers %v", again.JoinedBy, again.PreferID)
		}
	})
}

func TestAResolvedThreadReopensWithinItsDaysAndIsFollowedLater(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(func(in *desk.ChannelCreateInput) { in.ReopenWithinDays = ptr(7) }), w.Agent("Ann", "admin")
		first := w.Serve(b.Say("t1", "u1", "hello"), ann)
		resolved(t, w, first)
		w.Clock.Add(7*24*time.Hour - time.Minute)
		again := b.Say("t1", "u1", "it broke again")
		if again.ConversationID != first.ConversationID || !is(again.PreferID, ann.ID) {
			t.Fatal("within its days the matter reopens, its owner first")
		}
		c := w.Conversation(first.ConversationID)
		if c.State != conversation.StateOPEN || c.ResolvedAt != nil || !is(c.OwnerID, ann.ID) {
			t.Fatalf("%s, resolved at %v, owner %v", c.State, c.ResolvedAt, c.OwnerID)
		}
		resolved(t, w, again)
		w.Clock.Add(7*24*time.Hour + time.Minute)
		late := b.Say("t1", "u1", "once more")
		n := w.Conversation(late.ConversationID)
		if n.ID == c.ID || !is(n.RelatedID, c.ID) || late.JoinedBy != interaction.JoinedByNEW || n.OwnerID != nil {
			t.Fatalf("conversation %v related to %v, joined by %s", n.ID, n.RelatedID, late.JoinedBy)
		}
		if c = w.Conversation(c.ID); c.State != conversation.StateRESOLVED {
			t.Fatalf("the old one is %s", c.State)
		}
	})
}

func TestAnArchivedMatterIsFollowedByANewOne(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		first := b.Say("t1", "u1", "hello")
		resolved(t, w, first)
		ok(t, w.Store.Ent.Conversation.UpdateOneID(first.ConversationID).SetState(conversation.StateARCHIVED).Exec(w.Sys))
		next := w.Conversation(b.Say("t1", "u1", "again").ConversationID)
		if next.ID == first.ConversationID || !is(next.RelatedID, first.ConversationID) {
			t.Fatalf("related to %v", next.RelatedID)
		}
	})
}

// MODEL 4, rule 2.
func TestWithoutAThreadAContactJoinsTheOneOpenMatter(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		none := b.Say("t1", "u1", "hello")
		if none.JoinedBy != interaction.JoinedByNEW {
			t.Fatalf("joined by %s", none.JoinedBy)
		}
		w.Clock.Add(1000 * time.Hour) // one open: the time limit is for guesses only
		one := b.Say("t2", "u1", "more")
		if one.ConversationID != none.ConversationID || one.JoinedBy != interaction.JoinedByOPEN_CONVERSATION {
			t.Fatalf("joined by %s", one.JoinedBy)
		}
		resolved(t, w, one)
		if after := b.Say("t3", "u1", "new matter"); after.ConversationID == one.ConversationID || after.JoinedBy != interaction.JoinedByNEW {
			t.Fatalf("a resolved matter is joined by its threads alone: %s", after.JoinedBy)
		}
	})
}

func TestOfSeveralOpenMattersTheOneActiveLastIsAGuess(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		apart := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = ptr(false) })
		first := apart.Say("t1", "u1", "one matter")
		w.Clock.Add(time.Hour)
		second := apart.Say("t2", "u1", "another matter")
		if second.ConversationID == first.ConversationID || second.JoinedBy != interaction.JoinedByNEW {
			t.Fatal("with joinOpen off nothing joins")
		}
		w.Clock.Add(time.Hour)
		apart.Say("t1", "u1", "back to the first")
		_, err := w.Desk.UpdateChannel(w.Admin, apart.ID, desk.ChannelUpdateInput{JoinOpen: ptr(true), JoinWithinHours: ptr(10)}, nil, nil)
		ok(t, err)
		w.Clock.Add(9 * time.Hour)
		third := apart.Say("t3", "u1", "which?")
		if third.ConversationID != first.ConversationID || third.JoinedBy != interaction.JoinedByGUESS {
			t.Fatalf("joined by %s", third.JoinedBy)
		}
		w.Clock.Add(11 * time.Hour)
		if fourth := apart.Say("t4", "u1", "too late to guess"); fourth.JoinedBy != interaction.JoinedByNEW {
			t.Fatalf("joined by %s", fourth.JoinedBy)
		}
	})
}

func TestAnotherCustomersMatterIsNeverJoined(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		one, two := b.Say("t1", "u1", "hello"), b.Say("t2", "u2", "hello")
		if one.ConversationID == two.ConversationID || one.CustomerID == two.CustomerID {
			t.Fatal("two people are two customers")
		}
	})
}

// However many deliveries come at once: one contact per thread, one message per id.
func TestFiftyDeliveriesAtOnceOpenOneContactPerThread(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		var all sync.WaitGroup
		for n := range 50 {
			all.Go(func() {
				// Five people in two threads: no order by person keeps them apart.
				if err := b.Deliver(b.Text(fmt.Sprint("e", n), fmt.Sprint("t", n%2), fmt.Sprint("u", n%5), "hello")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		w.Work()
		w.Eventually("all are taken in", func() bool {
			n, err := w.Store.Ent.Message.Query().Count(w.Sys)
			ok(t, err)
			if n < 50 { // who lost a race too often comes again a moment later
				w.Clock.Add(2 * time.Second)
				w.Work()
			}
			return n == 50
		})
		rows, err := w.Store.Ent.Interaction.Query().WithMessages().All(w.Sys)
		ok(t, err)
		if len(rows) != 2 {
			t.Fatalf("%d contacts for two threads", len(rows))
		}
		for _, i := range rows {
			seen := map[int]bool{}
			for _, m := range i.Edges.Messages {
				seen[m.Number] = true
			}
			if len(seen) != 25 || i.LastNumber != 25 || !seen[1] || !seen[25] {
				t.Errorf("numbers %v of %d", seen, i.LastNumber)
			}
		}
		if n, err := w.Store.Ent.Customer.Query().Count(w.Sys); err != nil || n != 5 {
			t.Errorf("%d customers for five people (%v)", n, err)
		}
	})
}

func TestFiftyDeliveriesOfOneEventAreOneMessage(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if err := b.Deliver(b.Text("same", "t1", "u1", "hello")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		w.Work()
		ok(t, b.Deliver(b.Text("same", "t1", "u1", "hello"), b.Text("same", "t1", "u1", "hello")))
		w.Work()
		n, err := w.Store.Ent.Message.Query().Where(message.ChannelID(b.ID)).Count(w.Sys)
		ok(t, err)
		if n != 1 {
			t.Fatalf("%d messages", n)
		}
	})
}
