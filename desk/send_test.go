package desk_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/message"
	"tributary/internal/gid"
)

func jwtOf(t *testing.T, w *desktest.World, s *ent.Channel, secret, sub, phone string) string {
	t.Helper()
	now := w.Clock.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": sub, "aud": s.PublicKey, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "phone": phone,
	}).SignedString([]byte(secret))
	ok(t, err)
	return token
}

// provider is a bridge's other side; answer decides about each call.
func provider(t *testing.T, w *desktest.World, answer http.HandlerFunc) *desktest.Bridge {
	t.Helper()
	srv := httptest.NewServer(answer)
	t.Cleanup(srv.Close)
	return w.Bridge(func(in *desk.ChannelCreateInput) { in.Config = []byte(`{"callbackUrl":"` + srv.URL + `"}`) })
}

func taken(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{"externalId":"x1"}`) }

// broken takes the request and says nothing: whether it sent is open.
func broken(rw http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	c, _, err := rw.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

func read(t *testing.T, w *desktest.World, id gid.ID) *ent.Message {
	t.Helper()
	m, err := w.Store.Ent.Message.Get(w.Sys, id)
	ok(t, err)
	return m
}

func receipt(w *desktest.World, id, state string) desktest.M {
	return desktest.M{"id": w.Unique("receipt"), "kind": "delivery", "message": id, "state": state}
}

func TestReceiptsNeverGoBack(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := provider(t, w, taken), w.Agent("Ann", "admin")
		m := ann.Reply(w.Serve(b.Say("t1", "u1", "hello"), ann), "yes?")
		if m.Delivery != message.DeliveryQUEUED {
			t.Fatalf("answered at once as %s", m.Delivery)
		}
		w.Work()
		if got := read(t, w, m.ID); got.Delivery != message.DeliverySENT || got.ExternalID == nil || *got.ExternalID != "x1" || got.Sends != 1 || got.SentAt == nil {
			t.Fatalf("%s, %v, %d calls", got.Delivery, got.ExternalID, got.Sends)
		}
		for _, step := range []struct {
			by   string
			what string
			want message.Delivery
		}{
			{"x1", "read", message.DeliveryREAD}, {m.ID.String(), "delivered", message.DeliveryREAD}, {"x1", "failed", message.DeliveryREAD},
		} {
			ok(t, b.Deliver(receipt(w, step.by, step.what)))
			w.Work()
			if got := read(t, w, m.ID); got.Delivery != step.want {
				t.Fatalf("after %q: %s", step.what, got.Delivery)
			}
		}
	})
}

func TestAnOpenOutcomeIsUncertainAndSettledByAReceiptOrAPerson(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := provider(t, w, broken), w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		byReceipt, byHand, refused := ann.Reply(i, "one"), ann.Reply(i, "two"), ann.Reply(i, "three")
		w.Work()
		for _, m := range []*ent.Message{byReceipt, byHand, refused} {
			if got := read(t, w, m.ID); got.Delivery != message.DeliveryUNCERTAIN || got.Sends != 1 || got.DeliveryError == nil {
				t.Fatalf("%s after %d calls", got.Delivery, got.Sends)
			}
		}
		ok(t, b.Deliver(receipt(w, byReceipt.ID.String(), "delivered")))
		w.Work()
		if got := read(t, w, byReceipt.ID); got.Delivery != message.DeliveryDELIVERED || got.DeliveryError != nil {
			t.Fatalf("a receipt settles: %s, %v", got.Delivery, got.DeliveryError)
		}
		_, err := w.Desk.SettleMessage(ann, byHand.ID, true, nil)
		ok(t, err)
		_, err = w.Desk.SettleMessage(ann, byHand.ID, false, nil)
		w.Refused(err, desk.WrongState)
		ok(t, b.Deliver(receipt(w, refused.ID.String(), "failed")))
		w.Work()
		if got := read(t, w, refused.ID); got.Delivery != message.DeliveryFAILED {
			t.Fatalf("a failure settles: %s", got.Delivery)
		}
	})
}

func TestSentAgainByAPersonsChoiceOnly(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		var down atomic.Bool // read by the server's goroutine
		down.Store(true)
		b, ann := provider(t, w, func(rw http.ResponseWriter, r *http.Request) {
			if down.Load() {
				broken(rw, r)
				return
			}
			taken(rw, r)
		}), w.Agent("Ann", "admin")
		m := ann.Reply(w.Serve(b.Say("t1", "u1", "hello"), ann), "one")
		w.Work()
		w.Clock.Add(time.Hour)
		w.Work()
		if got := read(t, w, m.ID); got.Delivery != message.DeliveryUNCERTAIN || got.Sends != 1 {
			t.Fatalf("never silently again: %s after %d calls", got.Delivery, got.Sends)
		}
		down.Store(false)
		_, err := w.Desk.SendAgain(ann, m.ID, nil)
		ok(t, err)
		w.Work()
		if got := read(t, w, m.ID); got.Delivery != message.DeliverySENT || got.Sends != 2 {
			t.Fatalf("%s after %d calls", got.Delivery, got.Sends)
		}
		_, err = w.Desk.SendAgain(ann, m.ID, nil)
		w.Refused(err, desk.WrongState)
	})
}

func TestWhatCameMeanwhileIsShownBeforeSending(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "admin")
		i := w.Serve(b.Say("t1", "u1", "hello"), ann)
		seen, err := w.Store.Ent.Message.Query().Only(w.Sys)
		ok(t, err)
		b.Say("t1", "u1", "wait, I was wrong")
		got, err := w.Desk.SendMessage(ann, i.ID, desk.MessageInput{Text: ptr("done"), SeenUpTo: &seen.ID}, nil)
		w.Refused(err, desk.UnseenMessages)
		if len(got.Missed) != 1 {
			t.Fatalf("missed %v", got.Missed)
		}
		_, err = w.Desk.SendMessage(ann, i.ID, desk.MessageInput{Text: ptr("done"), SeenUpTo: &seen.ID, SendAnyway: ptr(true)}, nil)
		ok(t, err)
	})
}

func TestWhatNobodyServesIsNotWrittenTo(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, ann := w.Bridge(nil), w.Agent("Ann", "admin")
		i := b.Say("t1", "u1", "hello")
		say := func() error {
			_, err := w.Desk.SendMessage(ann, i.ID, desk.MessageInput{Text: ptr("hi")}, nil)
			return err
		}
		w.Refused(say(), desk.WrongState)
		w.Offer(i, ann)
		w.Refused(say(), desk.WrongState)
		resolved(t, w, i)
		w.Refused(say(), desk.WrongState)
	})
}
