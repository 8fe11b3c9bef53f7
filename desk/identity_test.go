package desk_test

import (
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/identity"
)

// from delivers a word of a person with more than the bridge's own id.
func from(t *testing.T, w *desktest.World, b *desktest.Bridge, thread string, who desktest.M) *ent.Interaction {
	t.Helper()
	m := b.Text(w.Unique("event"), thread, who["id"].(string), "hello")
	m["from"] = who
	ok(t, b.Deliver(m))
	w.Work()
	rows, err := w.Store.Ent.Interaction.Query().Order(ent.Desc("id")).All(w.Sys)
	ok(t, err)
	for _, i := range rows {
		if i.Thread.Clear() == thread {
			return i
		}
	}
	t.Fatalf("thread %s did not come in", thread)
	return nil
}

// MODEL 5: the same proved value joins, a claim never does.
func TestTheSameProvedValueIsOneCustomerOverChannels(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		one, two := w.Bridge(nil), w.Bridge(nil)
		const phone = "+8613800138000"
		a := from(t, w, one, "t1", desktest.M{"id": "a", "phone": phone, "phoneVerified": true})
		b := from(t, w, two, "t2", desktest.M{"id": "b", "phone": phone, "phoneVerified": true})
		if a.CustomerID != b.CustomerID || a.ConversationID != b.ConversationID {
			t.Fatal("a number proved on both sides is one person")
		}
		c := from(t, w, two, "t3", desktest.M{"id": "c", "phone": phone})
		if c.CustomerID == a.CustomerID {
			t.Fatal("a claimed number joins nobody")
		}
		claim, err := w.Store.Ent.Identity.Query().Where(identity.CustomerID(c.CustomerID), identity.Kind("phone")).Only(w.Sys)
		ok(t, err)
		if claim.Verification != identity.VerificationCLAIMED {
			t.Fatalf("the claim is kept as %s", claim.Verification)
		}
		q, err := w.Desk.CustomerByIdentity(w.Admin, "phone", phone, nil)
		ok(t, err)
		found, err := q.Only(w.Admin)
		ok(t, err)
		if found.ID != a.CustomerID {
			t.Fatal("the number belongs to whom it is proved for")
		}
	})
}

func TestTheSameIdOnTwoChannelsIsTwoPeople(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		a, b := w.Bridge(nil).Say("t1", "same", "hello"), w.Bridge(nil).Say("t1", "same", "hello")
		if a.CustomerID == b.CustomerID {
			t.Fatal("an id means something in its channel only")
		}
	})
}

func TestAClaimFirstAndTheProofLaterStayTwoPeople(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		const phone = "+8613800138001"
		claimed := from(t, w, b, "t1", desktest.M{"id": "a", "phone": phone})
		proved := from(t, w, b, "t2", desktest.M{"id": "b", "phone": phone, "phoneVerified": true})
		if claimed.CustomerID == proved.CustomerID {
			t.Fatal("who claims a number gets nothing of its owner")
		}
	})
}

func TestOneExternalIdIsOneCustomerWhereverItIsSigned(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		const secret = "an identity secret of thirty-two bytes or more"
		v := signedVisit(t, w, signedSite(w, secret), secret, "c-1")
		chat := v.Say("hello")
		i := from(t, w, w.Bridge(nil), "t1", desktest.M{"id": "a", "customerId": "c-1"})
		if i.CustomerID != chat.CustomerID || i.ConversationID != chat.ConversationID {
			t.Fatal("the operator's own id joins")
		}
	})
}

// Two ids of the operator's system are two people, even if they share a telephone.
func TestTwoExternalIdsNeverJoinByASharedNumber(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		const phone = "+8613800138002"
		a := from(t, w, b, "t1", desktest.M{"id": "a", "customerId": "c-1", "phone": phone, "phoneVerified": true})
		c := from(t, w, b, "t2", desktest.M{"id": "b", "customerId": "c-2", "phone": phone, "phoneVerified": true})
		if a.CustomerID == c.CustomerID {
			t.Fatal("two values of a single-valued namespace became one customer")
		}
		for _, i := range []*ent.Interaction{a, c} {
			n, err := w.Store.Ent.Identity.Query().Where(identity.CustomerID(i.CustomerID), identity.Kind("external_id")).Count(w.Sys)
			ok(t, err)
			if n != 1 {
				t.Errorf("a customer with %d external ids", n)
			}
		}
	})
}

func TestAVisitOfAnotherExternalIdWithASharedNumberBegins(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		const phone = "+8613800138003"
		a := from(t, w, b, "t1", desktest.M{"id": "a", "customerId": "c-1", "phone": phone, "phoneVerified": true})
		const secret = "an identity secret of thirty-two bytes or more"
		s := signedSite(w, secret)
		v, err := w.Visit(s, func(in *desk.VisitorSessionInput) { in.IdentityToken = ptr(jwtOf(t, w, s, secret, "c-2", phone)) })
		ok(t, err)
		if v.Viewer().Actor == a.CustomerID {
			t.Fatal("two values of a single-valued namespace became one customer")
		}
	})
}
