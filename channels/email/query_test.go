package email

import (
	"testing"

	"tributary/channels"
)

func TestSentFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t, settings{"sentFolder": "Sent"})
	asks := as[channels.DeliveryQuerier](t, d.channel)
	if got, err := asks.Query(t.Context(), "msg_1"); err != nil || got.State != channels.DeliveryUnknown {
		t.Errorf("before: %+v, %v", got, err)
	}
	for range 2 { // The second time it is there, as where a server keeps its own copies.
		if _, err := d.send(t, outbound("msg_1")); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.size(t, "Sent"); n != 1 {
		t.Errorf("%d copies", n)
	}
	if got, err := asks.Query(t.Context(), "msg_1"); err != nil || got.State != channels.DeliverySent {
		t.Errorf("after: %+v, %v", got, err)
	}
	for _, other := range []string{"msg_2", "", "\r\n"} {
		if got, err := asks.Query(t.Context(), other); err != nil || got.State != channels.DeliveryUnknown {
			t.Errorf("%q: %+v, %v", other, got, err)
		}
	}
	kept := w.open(t, settings{"folder": "Sent"})
	events, _ := kept.all(t, channels.Cursor{})
	if len(events) != 1 || events[0].RefID != "m7.abcdefghij@desk.example" {
		t.Errorf("the copy is %+v", events)
	}
	// A copy that fails does not make the mail unsent.
	if _, err := w.open(t, settings{"sentFolder": "Nowhere"}).send(t, outbound("msg_3")); err != nil {
		t.Error(err)
	}
	if _, is := w.open(t).channel.(channels.DeliveryQuerier); is {
		t.Error("a mailbox without a folder can be asked")
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	check := func(s settings) error {
		return as[channels.HealthChecker](t, w.open(t, s).channel).CheckHealth(t.Context())
	}
	class(t, check(settings{"sentFolder": "Sent", "afterFetch": "move", "moveTo": "Done"}), "")
	class(t, check(settings{"sentFolder": "Nowhere"}), channels.ClassConfig)
	class(t, check(settings{"smtpPort": 1}), channels.ClassRetry)
	class(t, check(settings{"imapPort": 1}), channels.ClassRetry)
	class(t, check(settings{"imapSecurity": "starttls"}), channels.ClassRetry)
	class(t, check(settings{"smtpSecurity": "starttls"}), channels.ClassConfig)
	if w.count() != 0 {
		t.Error("the check sent something")
	}
}
