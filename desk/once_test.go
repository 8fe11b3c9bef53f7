package desk_test

import (
	"context"
	"sync"
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/idempotencykey"
	"tributary/ent/message"
	"tributary/internal/gid"
)

// MODEL 9.
func TestFiftyCallsWithOneKeyHaveOneEffectAndOneAnswer(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "admin")
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), ann)
		ids := make([]gid.ID, 50)
		var all sync.WaitGroup
		for n := range ids {
			all.Go(func() {
				sent, err := w.Desk.SendMessage(ann, i.ID, desk.MessageInput{Text: ptr("once")}, ptr("key"))
				if err != nil {
					t.Error(err)
				}
				ids[n] = sent.Message
			})
		}
		all.Wait()
		for _, id := range ids {
			if id != ids[0] || id.IsZero() {
				t.Fatalf("answers differ: %v and %v", id, ids[0])
			}
		}
		n, err := w.Store.Ent.Message.Query().Where(message.DirectionEQ(message.DirectionOUTBOUND)).Count(w.Sys)
		ok(t, err)
		if now := w.Interaction(i.ID); n != 1 || now.LastNumber != i.LastNumber+1 {
			t.Fatalf("%d messages, the last has number %d", n, now.LastNumber)
		}
	})
}

func TestOtherInputUnderAUsedKeyIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "admin")
		b := w.Bridge(nil)
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		say := func(ctx context.Context, text string) error {
			_, err := w.Desk.SendMessage(ctx, i.ID, desk.MessageInput{Text: &text}, ptr("key"))
			return err
		}
		ok(t, say(ann, "a"))
		w.Refused(say(ann, "b"), desk.IdempotencyReused)
		ok(t, say(ann, "a"))
		_, err := w.Desk.Pause(ann, i.ID, ptr("key"))
		w.Refused(err, desk.IdempotencyReused)
		// The key of another actor is another key.
		ok(t, say(w.Admin, "b"))
		_, err = w.Desk.Release(ann, i.ID, ptr("first reason"), ptr("release"))
		ok(t, err)
		_, err = w.Desk.Release(ann, i.ID, ptr("another reason"), ptr("release"))
		w.Refused(err, desk.IdempotencyReused)
		o, _ := w.Offer(i, ann)
		_, err = w.Desk.DeclineOffer(ann, o.ID, ptr("lunch"), ptr("decline"))
		ok(t, err)
		_, err = w.Desk.DeclineOffer(ann, o.ID, ptr("dinner"), ptr("decline"))
		w.Refused(err, desk.IdempotencyReused)
	})
}

func TestARefusalStoresNothing(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "admin")
		b := w.Bridge(nil)
		i := b.Say("t1", "u1", "hello")
		_, err := w.Desk.SendMessage(ann, i.ID, desk.MessageInput{Text: ptr("hi")}, ptr("key"))
		w.Refused(err, desk.WrongState)
		if n, err := w.Store.Ent.IdempotencyKey.Query().Where(idempotencykey.Key("key")).Count(w.Sys); err != nil || n != 0 {
			t.Fatalf("%d keys are kept (%v)", n, err)
		}
		w.Serve(i, ann)
		_, err = w.Desk.SendMessage(ann, i.ID, desk.MessageInput{Text: ptr("hi")}, ptr("key"))
		ok(t, err)
	})
}

func TestAKeyHasABoundedLength(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		for _, k := range []string{"", string(make([]byte, 201))} {
			_, err := w.Desk.CreateTeam(w.Admin, desk.TeamCreateInput{Name: "team"}, &k)
			w.Refused(err, desk.Invalid)
		}
	})
}

func TestSecretsAreShownToTheFirstCallAlone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		app, err := w.Desk.CreateApp(w.Admin, desk.AppCreateInput{DisplayName: "App"}, nil)
		ok(t, err)
		in := desk.APIKeyInput{AppID: app, Kind: "APP"}
		id, secret, err := w.Desk.CreateAPIKey(w.Admin, in, ptr("key"))
		ok(t, err)
		again, hidden, err := w.Desk.CreateAPIKey(w.Admin, in, ptr("key"))
		ok(t, err)
		if secret == "" || hidden != "" || again != id {
			t.Fatalf("%q, then %q of %v and %v", secret, hidden, id, again)
		}
	})
}

func TestAStaleVersionIsRefusedWithTheRow(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		i := w.Bridge(nil).Say("t1", "u1", "hello")
		c, err := w.Store.Ent.Customer.Get(w.Sys, i.CustomerID)
		ok(t, err)
		_, err = w.Desk.UpdateCustomer(w.Admin, c.ID, desk.CustomerUpdateInput{DisplayName: ptr("Li")}, &c.Version, nil)
		ok(t, err)
		id, err := w.Desk.UpdateCustomer(w.Admin, c.ID, desk.CustomerUpdateInput{DisplayName: ptr("Late")}, &c.Version, nil)
		w.Refused(err, desk.StaleVersion)
		if id != c.ID {
			t.Fatal("the refusal comes with the row to show")
		}
		c, err = w.Store.Ent.Customer.Get(w.Sys, c.ID)
		ok(t, err)
		if c.DisplayName != "Li" {
			t.Fatalf("the name is %q", c.DisplayName)
		}
	})
}
