package desk_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/interaction"
	"tributary/internal/gid"
)

// telephone makes a channel that is a trunk.
func telephone(w *desktest.World, change ...func(*desk.ChannelCreateInput)) *ent.Channel {
	in := desk.ChannelCreateInput{
		Kind: "voice", Config: json.RawMessage(`{"addresses":["192.0.2.1"],"username":"in","country":"CN","callerId":"+862112345678"}`),
		Secrets: []desk.SecretInput{{Name: "password", Value: "secret"}},
	}
	for _, f := range change {
		f(&in)
	}
	return w.Channel(in)
}

// ringIn makes the interaction of a call that waits, without its call: what is tested here asks the interaction alone.
func ringIn(t *testing.T, w *desktest.World, trunk *ent.Channel) *ent.Interaction {
	t.Helper()
	i := w.Bridge(nil).Say(w.Unique("t"), w.Unique("u"), "hello")
	_, err := w.Store.DB.ExecContext(t.Context(), w.Store.SQL("UPDATE interactions SET channel_kind = $1, channel_id = $2, live = $3 WHERE id = $4"), trunk.Kind, trunk.ID, true, i.ID)
	ok(t, err)
	return w.Interaction(i.ID)
}

func trunks(t *testing.T, w *desktest.World) map[voice.ID]voice.Trunk {
	t.Helper()
	list, err := w.Desk.Voice().Trunks(t.Context())
	ok(t, err)
	out := map[voice.ID]voice.Trunk{}
	for _, x := range list {
		out[x.ID] = x
	}
	if len(out) != len(list) {
		t.Errorf("a trunk stands twice: %v", list)
	}
	return out
}

func asVoice(id gid.ID) voice.ID { return voice.ID(id.String()) }

// TestTrunksAreThoseOfAllWorkspaces: each with its settings as they are now; paused ones are marked, and no other kind of
// channel is among them.
func TestTrunksAreThoseOfAllWorkspaces(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		a, b := telephone(w), telephone(w.Another())
		w.Bridge(nil)
		site(w)
		got := trunks(t, w)
		if len(got) != 2 || got[asVoice(b.ID)].ID == "" {
			t.Fatalf("trunks are %v", got)
		}
		x := got[asVoice(a.ID)]
		if x.Version != 1 || x.Paused || x.Username != "in" || x.Password != "secret" || x.Country != "CN" || x.CallerID != "+862112345678" || len(x.Addresses) != 1 {
			t.Errorf("the trunk is %+v", x)
		}
		_, err := w.Desk.SetChannelSecret(w.Admin, a.ID, desk.SecretInput{Name: "password", Value: "newer"}, nil)
		ok(t, err)
		_, err = w.Desk.PauseChannel(w.Admin, a.ID, nil, nil)
		ok(t, err)
		if x := trunks(t, w)[asVoice(a.ID)]; x.Password != "newer" || !x.Paused || x.Version != 3 {
			t.Errorf("after the change it is %+v", x)
		}
		_, err = w.Desk.DeleteChannel(w.Admin, a.ID, nil, nil)
		ok(t, err)
		if got := trunks(t, w); len(got) != 1 {
			t.Errorf("after the deletion there are %v", got)
		}
	})
}

// TestATrunkThatCannotBeOpenedShowsWhy and keeps no other away.
func TestATrunkThatCannotBeOpenedShowsWhy(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		bad, good := telephone(w), telephone(w)
		ok(t, w.Store.Ent.Channel.UpdateOneID(bad.ID).SetConfig(json.RawMessage(`{"addresses":["0.0.0.0/0"]}`)).AddVersion(1).Exec(w.Sys))
		for range 2 {
			if got := trunks(t, w); len(got) != 1 || got[asVoice(good.ID)].ID == "" {
				t.Fatalf("trunks are %v", got)
			}
		}
		row, err := w.Store.Ent.Channel.Get(w.Sys, bad.ID)
		ok(t, err)
		if row.LastError == nil {
			t.Error("its health shows nothing")
		}
		if n := healthTold(w, bad.ID); n != 1 {
			t.Errorf("%d events tell of it", n)
		}
	})
}

func healthTold(w *desktest.World, id gid.ID) (n int) {
	for _, e := range w.Log() {
		if e.Type == string(desk.ChannelHealthChanged) && e.SubjectID == id {
			n++
		}
	}
	return n
}

// TestTheHealthOfATrunkIsWrittenOnChange: told when it fails and when it answers again; another reason is shown, and the
// same word again writes nothing.
func TestTheHealthOfATrunkIsWrittenOnChange(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		x := telephone(w)
		v, id := w.Desk.Voice(), asVoice(x.ID)
		say := func(err error, want string, events int) {
			t.Helper()
			w.Clock.Add(time.Second)
			ok(t, v.TrunkHealth(t.Context(), id, err))
			row, err := w.Store.Ent.Channel.Get(w.Sys, x.ID)
			ok(t, err)
			if row.LastError == nil && want != "" || row.LastError != nil && *row.LastError != want {
				t.Errorf("the last error is %v, want %q", row.LastError, want)
			}
			if n := healthTold(w, x.ID); n != events || row.Version != 1 {
				t.Errorf("%d events, want %d; version %d", n, events, row.Version)
			}
		}
		refused := channels.ConfigError(errors.New("403")).WithText("The trunk refuses us.")
		say(nil, "", 0)
		say(refused, "The trunk refuses us.", 1)
		before, err := w.Store.Ent.Channel.Get(w.Sys, x.ID)
		ok(t, err)
		say(refused, "The trunk refuses us.", 1)
		after, err := w.Store.Ent.Channel.Get(w.Sys, x.ID)
		ok(t, err)
		if !after.LastErrorAt.Equal(*before.LastErrorAt) {
			t.Error("the same word again was written")
		}
		say(errors.New("no answer\r\nfrom it"), "no answer from it", 1)
		say(nil, "no answer from it", 2)
		say(nil, "no answer from it", 2)
		say(refused, "The trunk refuses us.", 3)
		for _, other := range []voice.ID{"", "nonsense", asVoice(gid.Make(gid.Channel)), asVoice(w.Queue), asVoice(w.Bridge(nil).ID)} {
			if err := v.TrunkHealth(t.Context(), other, refused); !errors.Is(err, voice.ErrUnknown) {
				t.Errorf("%q is answered by %v", other, err)
			}
		}
	})
}

// TestNothingIsWrittenIntoACall: whoever serves it is told that the channel cannot, whether the caller is known or not.
func TestNothingIsWrittenIntoACall(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, trunk := w.Agent("Ann", "agent"), telephone(w)
		i := w.Serve(ringIn(t, w, trunk), ann)
		inState(t, i, interaction.StateACTIVE)
		text := "hello"
		for range 2 {
			_, err := w.Desk.SendMessage(ann, i.ID, desk.MessageInput{Text: &text}, nil)
			if r := w.Refused(err, desk.NotSupported); len(r.Field) != 1 || r.Field[0] != "interactionId" {
				t.Errorf("the refusal is about %v", r.Field)
			}
			_, err = w.Store.DB.ExecContext(t.Context(), w.Store.SQL("UPDATE interactions SET identity_id = NULL WHERE id = $1"), i.ID)
			ok(t, err)
		}
	})
}
