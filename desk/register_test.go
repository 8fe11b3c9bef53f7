package desk_test

import (
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/callleg"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/cluster"
	"tributary/internal/gid"
	"tributary/internal/personal"
	"tributary/router"
)

const hour = time.Hour

// registration is a request of a phone, the one with number seq of its Call-ID.
func registration(w *desktest.World, a desk.SIPAccount, seq int, lasts time.Duration) voice.Registration {
	return voice.Registration{
		Phone: asVoice(a.Phone), Node: "test", Contact: "sip:x@192.0.2.7:5062", Source: "192.0.2.7:5062", Transport: "udp",
		CallID: "first@phone", Seq: uint32(seq), UserAgent: "Yealink\r\nT54W", Expires: w.Clock.Now().Add(lasts), //nolint:gosec // small
	}
}

func register(t *testing.T, w *desktest.World, a desk.SIPAccount, seq int, lasts time.Duration, change ...func(*voice.Registration)) {
	t.Helper()
	r := registration(w, a, seq, lasts)
	for _, f := range change {
		f(&r)
	}
	ok(t, w.Desk.Voice().Register(t.Context(), r))
}

func registered(t *testing.T, w *desktest.World, a desk.SIPAccount) bool {
	t.Helper()
	_, there, err := w.Desk.RegisteredPhone(w.Admin, a.Phone)
	ok(t, err)
	return there
}

// TestRegistrationsAreOrdered as RFC 3261 section 10.3, step 7 says: by CSeq within a Call-ID, and a new Call-ID wins.
func TestRegistrationsAreOrdered(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		a := account(t, w, w.Agent("Ann", "agent"), "desk")
		v := w.Desk.Voice()
		fifth := registration(w, a, 5, hour)
		ok(t, v.Register(t.Context(), fifth))
		ok(t, v.Register(t.Context(), fifth)) // the answer was lost
		name, there, err := w.Desk.RegisteredPhone(w.Admin, a.Phone)
		if err != nil || !there || name != "Yealink T54W" {
			t.Errorf("the phone is %q, %v, %v", name, there, err)
		}
		for what, r := range map[string]voice.Registration{
			"an older one":          registration(w, a, 4, hour),
			"an older farewell":     registration(w, a, 4, 0),
			"the same with another": func() voice.Registration { r := fifth; r.Contact = "sip:evil@198.51.100.1"; return r }(),
			"the same as farewell":  func() voice.Registration { r := fifth; r.Expires = w.Clock.Now(); return r }(),
		} {
			if err := v.Register(t.Context(), r); !errors.Is(err, voice.ErrRefused) {
				t.Errorf("%s is answered by %v", what, err)
			}
		}
		row, err := w.Store.Ent.PhoneContact.Query().Only(w.Sys)
		ok(t, err)
		if row.Contact != fifth.Contact || row.Seq != 5 || row.Node != "test" {
			t.Errorf("stored is %+v", row)
		}
		register(t, w, a, 1, hour, func(r *voice.Registration) { r.CallID, r.Contact = "second@phone", "sip:x@192.0.2.8" })
		if row = w.Store.Ent.PhoneContact.Query().OnlyX(w.Sys); row.Contact != "sip:x@192.0.2.8" || row.Seq != 1 {
			t.Errorf("after a restart of the phone stored is %+v", row)
		}
		for range 2 { // a farewell, and its repeat
			register(t, w, a, 2, 0, func(r *voice.Registration) { r.CallID = "second@phone" })
			if registered(t, w, a) {
				t.Error("it is still registered")
			}
		}
		for _, other := range []voice.ID{"", asVoice(gid.Make(gid.AgentPhone)), asVoice(w.Queue)} {
			r := fifth
			r.Phone = other
			if err := v.Register(t.Context(), r); !errors.Is(err, voice.ErrUnknown) {
				t.Errorf("%q is answered by %v", other, err)
			}
		}
	})
}

// TestAnExpiredRegistrationOrdersNothing: a phone that comes back with its old numbers is taken.
func TestAnExpiredRegistrationOrdersNothing(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		a := account(t, w, w.Agent("Ann", "agent"), "desk")
		register(t, w, a, 9, time.Minute)
		w.Clock.Add(2 * time.Minute)
		if registered(t, w, a) {
			t.Error("it is registered beyond its time")
		}
		register(t, w, a, 1, hour)
		if !registered(t, w, a) {
			t.Error("it is not registered")
		}
	})
}

// TestRegistrationsAtOnce: of many that arrive together the newest stands.
func TestRegistrationsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		a := account(t, w, w.Agent("Ann", "agent"), "desk")
		var all sync.WaitGroup
		for seq := 1; seq <= 8; seq++ {
			r := registration(w, a, seq, hour)
			all.Go(func() {
				if err := w.Desk.Voice().Register(t.Context(), r); err != nil && !errors.Is(err, voice.ErrRefused) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if row := w.Store.Ent.PhoneContact.Query().OnlyX(w.Sys); row.Seq != 8 {
			t.Errorf("number %d stands", row.Seq)
		}
	})
}

// moves are what the log tells of an agent's liveness, oldest first, from an event on.
func moves(w *desktest.World, a *desktest.Agent, from *int64) (out [][]string) {
	for _, e := range w.Log() {
		if e.Seq <= *from {
			continue
		}
		*from = e.Seq
		if e.Type == string(desk.AgentStatusChanged) && e.AgentID != nil && *e.AgentID == a.ID {
			out = append(out, e.Changed)
		}
	}
	return out
}

var (
	phonesOnly  = []string{"phones"}
	liveChanged = []string{"live", "phones"}
)

// TestLivenessFollowsThePhone, and is told when it changes: not at a renewal, and not beside a socket or another phone.
func TestLivenessFollowsThePhone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		one, two := account(t, w, ann, "desk"), account(t, w, ann, "home")
		var from int64
		moves(w, ann, &from)
		want := func(what string, live bool, told ...[]string) {
			t.Helper()
			if got := moves(w, ann, &from); !slices.EqualFunc(got, told, slices.Equal) {
				t.Errorf("%s: told is %v, want %v", what, got, told)
			}
			if got, err := w.Desk.AgentAlive(w.Admin, ann.ID); err != nil || got != live {
				t.Errorf("%s: live is %v, %v", what, got, err)
			}
		}
		want("at first", false)
		register(t, w, one, 1, hour)
		want("the first phone", true, liveChanged)
		register(t, w, one, 2, hour)
		want("a renewal", true)
		register(t, w, two, 1, hour)
		want("a second phone", true, phonesOnly)
		register(t, w, one, 3, 0)
		want("one of two goes", true, phonesOnly)
		register(t, w, two, 2, 0)
		want("the last one goes", false, liveChanged)
		release := w.Connect(ann.Viewer())
		moves(w, ann, &from)
		register(t, w, one, 4, hour)
		want("beside a socket", true, phonesOnly)
		register(t, w, one, 5, 0)
		want("away beside a socket", true, phonesOnly)
		release()
		w.Clock.Add(desk.LostAfter + time.Second)
		ok(t, w.Desk.Sweep(t.Context()))
		moves(w, ann, &from)
		register(t, w, one, 6, time.Minute)
		want("again", true, liveChanged)
		ok(t, w.Desk.Sweep(t.Context()))
		want("the sweep leaves it", true)
		w.Clock.Add(2 * time.Minute)
		ok(t, w.Desk.Sweep(t.Context()))
		want("its time is over", false, liveChanged)
		if n := w.Store.Ent.PhoneContact.Query().CountX(w.Sys); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		register(t, w, one, 7, hour)
		moves(w, ann, &from)
		_, err := w.Desk.RemovePhone(ann, one.Phone, nil)
		ok(t, err)
		want("the account ends", false, liveChanged)
	})
}

// floorOf is what the router is told of an agent.
func floorOf(t *testing.T, w *desktest.World, a *desktest.Agent) router.Agent {
	t.Helper()
	s, err := w.Desk.Floor().Snapshot(t.Context())
	ok(t, err)
	for _, x := range s.Agents {
		if gid.ID(x.ID) == a.ID {
			return x
		}
	}
	t.Fatal("the agent is not on the floor")
	return router.Agent{}
}

// TestTheRouterIsToldByKind: a phone does for calls alone, a socket for everything.
func TestTheRouterIsToldByKind(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		a := account(t, w, ann, "desk")
		want := func(what string, screen, phone bool) {
			t.Helper()
			live := floorOf(t, w, ann).Live
			if live[""] != screen || live["voice"] != phone {
				t.Errorf("%s: %v", what, live)
			}
			for kind, alive := range live { // other kinds follow the screen, and are not listed
				if k, _ := channels.Lookup(kind); kind != "" && (k.Live != channels.Live || alive != phone) {
					t.Errorf("%s: %s in %v", what, kind, live)
				}
			}
		}
		want("neither", false, false)
		register(t, w, a, 1, hour)
		want("a phone", false, true)
		release := w.Connect(ann.Viewer())
		want("both", true, true)
		register(t, w, a, 2, 0)
		want("a socket", true, true)
		release()
		want("neither again", false, false)
	})
}

// talkingLeg writes that an agent talks in a call of an interaction.
func talkingLeg(t *testing.T, w *desktest.World, i *ent.Interaction, a *desktest.Agent) {
	t.Helper()
	c, err := w.Store.Ent.Call.Create().SetInteractionID(i.ID).SetNillableChannelID(i.ChannelID).SetDirection("INBOUND").SetState("ACTIVE").
		SetFrom(personal.Of("+8613800138000")).SetTo(personal.Of("+862112345678")).SetNode("test").SetEpoch(1).SetArrival(w.Unique("arrival")).SetCallerProof("CLAIMED").SetBeatAt(w.Clock.Now().Add(24 * time.Hour)).Save(w.Sys)
	ok(t, err)
	ok(t, w.Store.Ent.CallLeg.Create().SetCallID(c.ID).SetRole(callleg.RoleAGENT).SetAgentID(a.ID).SetState(callleg.StateACTIVE).Exec(w.Sys))
}

// TestWhoHasAPhoneIsNotLostForCalls: his socket is gone for good, so chats go back, and calls stay with him.
func TestWhoHasAPhoneIsNotLostForCalls(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := profiled(t, w, 10, desk.CapacityRuleInput{ChannelKind: "voice", UnitsEach: 1, MaxAtOnce: 5})
		a, trunk := account(t, w, ann, "desk"), telephone(w)
		release := w.Connect(ann.Viewer())
		chat := w.Serve(w.Bridge(nil).Say("t", "u", "hello"), ann)
		offered, _ := w.Offer(ringIn(t, w, trunk), ann)
		register(t, w, a, 1, hour)
		release()
		w.Clock.Add(desk.LostAfter + time.Second)
		ok(t, w.Desk.Sweep(t.Context()))
		inState(t, w.Interaction(chat.ID), interaction.StateQUEUED)
		if o := w.Store.Ent.Offer.GetX(w.Sys, offered.ID); o.State != offer.StatePENDING {
			t.Errorf("the offered call is %s", o.State)
		}
		// The phone is lost, too: the offer goes back.
		w.Clock.Add(2 * hour)
		ok(t, w.Desk.Sweep(t.Context()))
		if o := w.Store.Ent.Offer.GetX(w.Sys, offered.ID); o.State != offer.StateWITHDRAWN || *o.Outcome != offer.OutcomeLOST {
			t.Errorf("the offered call is %s", o.State)
		}
		inState(t, w.Interaction(offered.InteractionID), interaction.StateQUEUED)
		carries(t, ann, 0, 0)
	})
}

// TestWhoTalksKeepsHisCall though socket and phone are gone; a call in which he does not talk goes back.
func TestWhoTalksKeepsHisCall(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		wide := profiled(t, w, 10, desk.CapacityRuleInput{ChannelKind: "voice", UnitsEach: 1, MaxAtOnce: 5})
		trunk := telephone(w)
		a := account(t, w, wide, "desk")
		talks, silent := w.Serve(ringIn(t, w, trunk), wide), w.Serve(ringIn(t, w, trunk), wide)
		talkingLeg(t, w, talks, wide)
		release := w.Connect(wide.Viewer())
		register(t, w, a, 1, time.Second)
		release()
		w.Clock.Add(desk.LostAfter + time.Second)
		ok(t, w.Desk.Sweep(t.Context()))
		inState(t, w.Interaction(talks.ID), interaction.StateACTIVE)
		inState(t, w.Interaction(silent.ID), interaction.StateQUEUED)
		// Switched off, he serves nothing any more.
		_, err := w.Desk.UpdateAgent(w.Admin, wide.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		ok(t, err)
		w.Work()
		inState(t, w.Interaction(talks.ID), interaction.StateQUEUED)
	})
}

// TestAnAgentWithAPhoneIsGivenCallsAlone by a colleague's hand, too.
func TestAnAgentWithAPhoneIsGivenCallsAlone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, ben := profiled(t, w, 10, desk.CapacityRuleInput{ChannelKind: "voice", UnitsEach: 1, MaxAtOnce: 5}), w.Agent("Ben", "agent")
		register(t, w, account(t, w, ben, "desk"), 1, hour)
		chat, c := w.Serve(w.Bridge(nil).Say("t", "u", "hello"), ann), w.Serve(ringIn(t, w, telephone(w)), ann)
		_, err := w.Desk.Transfer(ann, chat.ID, desk.TransferInput{AgentID: &ben.ID}, nil)
		w.Refused(err, desk.CapacityFull)
		_, err = w.Desk.Transfer(ann, c.ID, desk.TransferInput{AgentID: &ben.ID}, nil)
		ok(t, err)
	})
}

// TestRegistrationsOfADeadNodeEnd: only that node held the way to the phone.
func TestRegistrationsOfADeadNodeEnd(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		ann := w.Agent("Ann", "agent")
		here, beside, gone := account(t, w, ann, "here"), account(t, w, ann, "beside"), account(t, w, ann, "gone")
		at := func(node string) func(*voice.Registration) { return func(r *voice.Registration) { r.Node = node } }
		register(t, w, here, 1, hour)
		register(t, w, beside, 1, hour, at("beside"))
		register(t, w, gone, 1, hour, at("gone"))
		ok(t, w.Desk.Sweep(t.Context())) // who knows no cluster believes every node
		if !registered(t, w, gone) {
			t.Fatal("without a cluster a registration ended")
		}
		ok(t, cluster.Join(w.Store, cluster.Node{Name: "beside"}, log).Beat(t.Context()))
		w.Desk.Cluster.Member = cluster.Join(w.Store, cluster.Node{Name: "test"}, log) // its own row is not written yet
		ok(t, w.Desk.Sweep(t.Context()))
		if !registered(t, w, here) || !registered(t, w, beside) || registered(t, w, gone) {
			t.Errorf("registered are %v, %v, %v", registered(t, w, here), registered(t, w, beside), registered(t, w, gone))
		}
	})
}

// TestAfterARestartConnectionsAreGone: a phone over TCP must come again, one over UDP is reached as before.
func TestAfterARestartConnectionsAreGone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		udp, tcp, other := account(t, w, ann, "udp"), account(t, w, ann, "tcp"), account(t, w, ann, "other")
		over := func(r *voice.Registration) { r.Transport = "tcp" }
		register(t, w, udp, 1, hour)
		register(t, w, tcp, 1, hour, over)
		register(t, w, other, 1, hour, over, func(r *voice.Registration) { r.Node = "other" })
		ok(t, w.Desk.Recover(t.Context()))
		if !registered(t, w, udp) || registered(t, w, tcp) || !registered(t, w, other) {
			t.Errorf("registered are %v, %v, %v", registered(t, w, udp), registered(t, w, tcp), registered(t, w, other))
		}
		ok(t, w.Desk.Sweep(t.Context()))
		var told int
		for _, e := range w.Log() {
			if e.Type == string(desk.AgentStatusChanged) && slices.Equal(e.Changed, phonesOnly) {
				told++
			}
		}
		if told != 3 { // the second and third that came, the one that went
			t.Errorf("%d events tell of phones", told)
		}
	})
}
