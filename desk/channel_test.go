package desk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest/bridge"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/message"
	"tributary/internal/gid"
)

const (
	oldSecret = "the old signing secret, long enough"
	newSecret = "the new signing secret, long enough"
)

// peered is a custom channel whose bridge runs beside the test.
func peered(t *testing.T, w *desktest.World, more string) (*ent.Channel, *bridge.Fake) {
	t.Helper()
	peer := bridge.New(t, w.Clock.Now())
	peer.Secrets = []string{oldSecret}
	config := fmt.Sprintf(`{"callbackUrl":%q,"statusUrl":%q%s}`, peer.CallbackURL(), peer.StatusURL(), more)
	return w.Channel(desk.ChannelCreateInput{
		Kind: "custom", Config: json.RawMessage(config), Secrets: []desk.SecretInput{{Name: "signingSecret", Value: oldSecret}},
	}), peer
}

// post delivers a message signed with a secret; false: the signature was refused.
func post(t *testing.T, w *desktest.World, ch *ent.Channel, peer *bridge.Fake, secret string) bool {
	t.Helper()
	body := fmt.Appendf(nil, `{"id":%q,"kind":"message","thread":"t","from":{"id":"u"},"parts":[{"type":"text","text":"hi"}]}`, w.Unique("e"))
	address, err := w.Desk.WebhookURL(ch)
	ok(t, err)
	_, _, err = w.Desk.Receive(t.Context(), "custom", ch.ID, address[strings.LastIndex(address, "/")+1:], peer.EventAt(body, w.Clock.Now(), secret))
	if r, is := errors.AsType[*channels.Refused](err); is && r.Status == http.StatusUnauthorized {
		return false
	}
	ok(t, err)
	return true
}

func states(t *testing.T, w *desktest.World, id gid.ID) *desk.SecretState {
	t.Helper()
	row, err := w.Store.Ent.Channel.Get(w.Sys, id)
	ok(t, err)
	list, err := w.Desk.SecretStates(row)
	ok(t, err)
	if len(list) != 1 {
		t.Fatalf("secrets are %+v", list)
	}
	return list[0]
}

// While a secret rotates both are taken, we sign with the new one at once, and the old one ends by itself, also on a node
// that has had the channel open all the time.
func TestASecretRotatesWithOverlap(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ch, peer := peered(t, w, "")
		if !post(t, w, ch, peer, oldSecret) || post(t, w, ch, peer, newSecret) {
			t.Fatal("before: the old one alone")
		}
		_, err := w.Desk.SetChannelSecret(w.Admin, ch.ID, desk.SecretInput{Name: "signingSecret", Value: newSecret, KeepPreviousSeconds: ptr(600)}, nil)
		ok(t, err)
		if !post(t, w, ch, peer, oldSecret) || !post(t, w, ch, peer, newSecret) {
			t.Error("meanwhile: both")
		}
		if s := states(t, w, ch.ID); !s.Set || s.PreviousValidUntil == nil || s.PreviousValidUntil.Sub(*s.SetAt) != 10*time.Minute {
			t.Errorf("the rotation is shown as %+v", s)
		}
		peer.Secrets = []string{newSecret} // the bridge has changed over
		w.Work()
		i, err := w.Store.Ent.Interaction.Query().First(w.Sys)
		ok(t, err)
		ann := w.Agent("Ann", "admin")
		m := ann.Reply(w.Serve(i, ann), "yes?")
		w.Work()
		if m, err = w.Store.Ent.Message.Get(w.Sys, m.ID); err != nil || m.Delivery != message.DeliverySENT {
			t.Errorf("what we sign is %v: %v", m.Delivery, err)
		}
		w.Clock.Add(11 * time.Minute)
		if post(t, w, ch, peer, oldSecret) || !post(t, w, ch, peer, newSecret) {
			t.Error("after: the new one alone")
		}
		if s := states(t, w, ch.ID); s.PreviousValidUntil != nil {
			t.Errorf("the rotation is shown as %+v", s)
		}
		_, err = w.Desk.SetChannelSecret(w.Admin, ch.ID, desk.SecretInput{Name: "signingSecret", Value: oldSecret}, nil)
		ok(t, err)
		if post(t, w, ch, peer, newSecret) || !post(t, w, ch, peer, oldSecret) {
			t.Error("without a time to keep it, the one before ends at once")
		}
		_, err = w.Desk.SetChannelSecret(w.Admin, ch.ID, desk.SecretInput{Name: "nonsense", Value: newSecret}, nil)
		w.Refused(err, desk.Invalid)
	})
}

func healthEvents(w *desktest.World, id gid.ID) (n int) {
	for _, e := range w.Log() {
		if e.Type == string(desk.ChannelHealthChanged) && e.SubjectID == id {
			n++
		}
	}
	return n
}

// Paused: nothing is taken in or sent, the reason stands, what waits is counted and goes on afterwards. Each change of
// health is told once.
func TestAPausedChannelSaysWhyAndWhatWaits(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ch, peer := peered(t, w, "")
		post(t, w, ch, peer, oldSecret)
		w.Work()
		i, err := w.Store.Ent.Interaction.Query().First(w.Sys)
		ok(t, err)
		ann := w.Agent("Ann", "admin")
		i = w.Serve(i, ann)
		_, err = w.Desk.PauseChannel(w.Admin, ch.ID, ptr("  the platform\nmoves "), nil)
		ok(t, err)
		_, err = w.Desk.PauseChannel(w.Admin, ch.ID, ptr("the platform moves"), nil) // no change of health
		ok(t, err)
		row, err := w.Store.Ent.Channel.Get(w.Sys, ch.ID)
		ok(t, err)
		if row.Enabled || row.PausedBecause == nil || *row.PausedBecause != "the platform moves" {
			t.Errorf("enabled %v because of %v", row.Enabled, row.PausedBecause)
		}
		_, err = w.Desk.PauseChannel(w.Admin, ch.ID, ptr(strings.Repeat("x", 501)), nil)
		w.Refused(err, desk.TooLong)
		m := ann.Reply(i, "yes?")
		w.Work()
		if b, err := w.Desk.Backlog(w.Admin, ch.ID); err != nil || b != (desk.Backlog{Out: 1}) {
			t.Errorf("the backlog is %+v: %v", b, err)
		}
		if n := healthEvents(w, ch.ID); n != 1 {
			t.Errorf("%d changes of health are told", n)
		}
		peer.Play(bridge.Unavailable(0))
		_, err = w.Desk.EnableChannel(w.Admin, ch.ID, true, nil)
		ok(t, err)
		for range 2 { // fails once, goes through later
			w.Clock.Add(4 * time.Minute)
			peer.Clock.Advance(4 * time.Minute)
			w.Work()
		}
		if m, err = w.Store.Ent.Message.Get(w.Sys, m.ID); err != nil || m.Delivery != message.DeliverySENT {
			t.Errorf("what waited is %v: %v", m.Delivery, err)
		}
		if n := healthEvents(w, ch.ID); n != 4 { // paused, on again, failing, works again
			t.Errorf("%d changes of health are told", n)
		}
		row, err = w.Store.Ent.Channel.Get(w.Sys, ch.ID)
		ok(t, err)
		if row.PausedBecause != nil || row.LastError == nil {
			t.Errorf("because of %v, last error %v", row.PausedBecause, row.LastError)
		}
		if b, err := w.Desk.Backlog(w.Admin, ch.ID); err != nil || b != (desk.Backlog{}) {
			t.Errorf("the backlog is %+v: %v", b, err)
		}
		all, err := w.Desk.Backlogs(w.Another().Admin)
		if err != nil || len(all) != 0 {
			t.Errorf("another workspace counts %v: %v", all, err)
		}
	})
}

func TestAChannelWithAHistoryStays(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b, site := w.Bridge(nil), w.Channel(desk.ChannelCreateInput{Kind: "webchat"})
		w.Visitor(site)
		b.Say("t", "u", "hello")
		for _, id := range []gid.ID{b.ID, site.ID} {
			_, err := w.Desk.DeleteChannel(w.Admin, id, nil, nil)
			if r := w.Refused(err, desk.InUse); !strings.Contains(r.Message, "pause") {
				t.Errorf("it says %q", r.Message)
			}
		}
		fresh, peer := peered(t, w, "")
		_, err := w.Desk.DeleteChannel(w.Admin, fresh.ID, nil, nil)
		ok(t, err)
		address, err := w.Desk.WebhookURL(fresh)
		ok(t, err)
		_, _, err = w.Desk.Receive(t.Context(), "custom", fresh.ID, address[strings.LastIndex(address, "/")+1:], peer.EventAt([]byte(`{}`), w.Clock.Now(), oldSecret))
		if !errors.Is(err, desk.ErrNoHook) {
			t.Errorf("a deleted channel answers %v", err)
		}
	})
}

// steps spells a trial: each step with + or - or ~ for skipped.
func steps(c *desk.ChannelTest) string {
	var out []string
	for _, s := range c.Steps {
		mark := "-"
		switch {
		case s.Skipped:
			mark = "~"
		case s.Ok:
			mark = "+"
		}
		out = append(out, mark+s.Name)
	}
	return strings.Join(out, " ")
}

func TestATrialAsksTheProviderAndSendsToWhomAPersonNames(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ch, peer := peered(t, w, "")
		try := func(id gid.ID, to *desk.ChannelTestTarget) *desk.ChannelTest {
			t.Helper()
			out, err := w.Desk.TestChannel(w.Admin, id, to)
			ok(t, err)
			return out
		}
		to := &desk.ChannelTestTarget{IdentityKind: "custom_id", Value: "u-1", Text: ptr("Does this arrive?")}
		_, err := w.Desk.PauseChannel(w.Admin, ch.ID, nil, nil) // a paused one is tried, too
		ok(t, err)
		if c := try(ch.ID, nil); !c.Ok || steps(c) != "+settings +credentials" {
			t.Errorf("without sending: %v %s", c.Ok, steps(c))
		}
		if c := try(ch.ID, to); !c.Ok || steps(c) != "+settings +credentials +send" {
			t.Errorf("with sending: %v %s", c.Ok, steps(c))
		}
		sent := string(sentBodies(peer)[0])
		if !strings.Contains(sent, `"to":[{"id":"u-1"}]`) || !strings.Contains(sent, "Does this arrive?") {
			t.Errorf("sent %s", sent)
		}
		peer.Play(bridge.Refuse("blocked", "She has blocked us."))
		if c := try(ch.ID, to); c.Ok || steps(c) != "+settings +credentials -send" || *c.Steps[2].Detail != "She has blocked us." {
			t.Errorf("refused: %v %s %v", c.Ok, steps(c), *c.Steps[2].Detail)
		}
		peer.Secrets = []string{newSecret}
		if c := try(ch.ID, to); c.Ok || steps(c) != "+settings -credentials" || *c.Steps[1].Detail != "The bridge refuses our signature." {
			t.Errorf("with a wrong secret: %v %s", c.Ok, steps(c))
		}
		if n, err := w.Store.Ent.Message.Query().Count(w.Sys); err != nil || n != 0 {
			t.Errorf("%d messages are stored: %v", n, err)
		}
		w.Refused(trial(w, ch.ID, &desk.ChannelTestTarget{IdentityKind: "openid", Value: "u"}), desk.Invalid)
		w.Refused(trial(w, ch.ID, &desk.ChannelTestTarget{IdentityKind: "phone", Value: " "}), desk.Required)
		w.Refused(trial(w, gid.Make(gid.Channel), nil), desk.NotFound)
		w.Refused(trial(w.Another(), ch.ID, nil), desk.NotFound)
	})
}

func trial(w *desktest.World, id gid.ID, to *desk.ChannelTestTarget) error {
	_, err := w.Desk.TestChannel(w.Admin, id, to)
	return err
}

func sentBodies(peer *bridge.Fake) (out [][]byte) {
	for len(peer.Reached) > 0 {
		for _, c := range peer.Calls(<-peer.Reached) {
			out = append(out, c.Body)
		}
	}
	return out
}

// Kinds and settings that cannot be asked or sent by say so.
func TestATrialSaysWhatIsNotPossible(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		site, receiving := w.Channel(desk.ChannelCreateInput{Kind: "webchat"}), w.Bridge(nil)
		for _, c := range []struct {
			id   gid.ID
			kind string
			says string
		}{{site.ID, "external_id", "no provider"}, {receiving.ID, "custom_id", "only takes in"}} {
			out, err := w.Desk.TestChannel(w.Admin, c.id, nil)
			ok(t, err)
			if !out.Ok || steps(out) != "+settings ~credentials" || out.Steps[1].Detail == nil {
				t.Errorf("%v %s", out.Ok, steps(out))
			}
			r := w.Refused(trial(w, c.id, &desk.ChannelTestTarget{IdentityKind: c.kind, Value: "u"}), desk.NotSupported)
			if !strings.Contains(r.Message, c.says) || !slices.Equal(r.Field, []string{"sendTo"}) {
				t.Errorf("it says %q at %v", r.Message, r.Field)
			}
		}
		ok(t, w.Store.Ent.Channel.UpdateOneID(receiving.ID).SetConfig(json.RawMessage(`{"callbackUrl":"no address"}`)).AddVersion(1).Exec(w.Sys))
		out, err := w.Desk.TestChannel(w.Admin, receiving.ID, nil)
		ok(t, err)
		if out.Ok || steps(out) != "-settings" || !strings.HasPrefix(*out.Steps[0].Detail, "callbackUrl: ") {
			t.Errorf("%v %s %v", out.Ok, steps(out), *out.Steps[0].Detail)
		}
		for range 10 {
			err = trial(w, site.ID, nil)
		}
		w.Refused(err, desk.LimitReached)
	})
}
