package desk_test

import (
	"context"
	"testing"
	"time"

	"tributary/channels/voice"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/call"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/ent/presence"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// desked is a world with a line and an agent who has a phone.
func desked(t *testing.T, w *desktest.World) (*desktest.Line, *desktest.Agent) {
	t.Helper()
	ann := w.Agent("Ann", "agent")
	ann.Phone(false)
	return w.Line(nil), ann
}

// MODEL 2: a leg that is not answered brings the call back with its age; no answer is a miss, a decline is none.
func TestALegThatIsNotAnsweredBringsTheCallBack(t *testing.T) {
	for name, x := range map[string]struct {
		f      voice.Fact
		misses int
		out    offer.Outcome
	}{
		"no answer":     {voice.Fact{Cause: voice.NoAnswer, Code: 408}, 1, offer.OutcomeNO_ANSWER},
		"unreachable":   {voice.Fact{Cause: voice.Unreachable}, 1, offer.OutcomeNO_ANSWER},
		"declined":      {voice.Fact{Cause: voice.Rejected, Code: 603}, 0, offer.OutcomeDECLINED},
		"busy by hand":  {voice.Fact{Cause: voice.Busy, Code: 486}, 0, offer.OutcomeDECLINED},
		"media failure": {voice.Fact{Cause: voice.Failed}, 0, offer.OutcomeNO_ANSWER},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *desktest.World) {
				l, ann := desked(t, w)
				c := l.Call(berlin)
				age := *c.Interaction().QueuedAt
				leg, o := c.Rings(ann)
				w.Clock.Add(5 * time.Second)
				x.f.Kind, x.f.Leg = voice.Missed, leg
				c.Must(x.f)
				i := c.Interaction()
				inState(t, i, interaction.StateQUEUED)
				callIs(t, c, call.StateQUEUED)
				carries(t, ann, 0, 0)
				row, err := w.Store.Ent.Offer.Get(w.Sys, o.ID)
				ok(t, err)
				if !i.QueuedAt.Equal(age) || i.Connecting || ann.Load().Misses != x.misses || row.Outcome == nil || *row.Outcome != x.out || len(i.Refused) != 1 {
					t.Errorf("age %v of %v, misses %d, outcome %v, refused %v", i.QueuedAt, age, ann.Load().Misses, row.Outcome, i.Refused)
				}
				if _, err := c.Tell(voice.Fact{Kind: voice.Up, Leg: leg}); !isRefused(err) {
					t.Errorf("a leg that was missed came up: %v", err)
				}
			})
		})
	}
}

// The process ends between the commit of an accept and the request to ring: the offer's timer brings the call back.
func TestAnAcceptWhosePhoneWasNeverRungIsBroughtBackByItsTimer(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		ok(t, w.Store.Ent.Queue.UpdateOneID(w.Queue).SetRingSeconds(120).Exec(w.Sys))
		c := l.Call(berlin)
		crash := "the process ends here"
		o, _ := w.Offer(c.Interaction(), ann)
		l.Does(func(context.Context, desktest.Asked) error { panic(crash) })
		func() {
			defer func() {
				if got := recover(); got != crash {
					t.Fatalf("no crash: %v", got)
				}
			}()
			_, _ = w.Desk.AcceptOffer(ann, o.ID, nil)
		}()
		l.Does(nil)
		inState(t, c.Interaction(), interaction.StateOFFERED)
		w.Clock.Add(40 * time.Second) // the time of the offer itself is over, that of its leg is not
		w.Work()
		inState(t, c.Interaction(), interaction.StateOFFERED)
		w.Clock.Add(90 * time.Second)
		w.Work()
		i := c.Interaction()
		inState(t, i, interaction.StateQUEUED)
		carries(t, ann, 0, 0)
		if ann.Load().Misses != 1 || len(c.Legs(ann)) != 0 {
			t.Errorf("misses %d, legs %v", ann.Load().Misses, c.Legs(ann))
		}
	})
}

// An offer's own time may be over while its phone rings: the timer of the offer must not take it.
func TestAnOfferLivesWhileItsLegRings(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		ok(t, w.Store.Ent.Queue.UpdateOneID(w.Queue).SetRingSeconds(120).Exec(w.Sys))
		c := l.Call(berlin)
		o, _ := w.Offer(c.Interaction(), ann)
		w.Clock.Add(10 * time.Second)
		_, err := w.Desk.AcceptOffer(ann, o.ID, nil)
		ok(t, err)
		w.Clock.Add(40 * time.Second) // 50 s after the offer of 30 s
		w.Work()
		inState(t, c.Interaction(), interaction.StateOFFERED)
		c.Must(voice.Fact{Kind: voice.Up, Leg: c.Legs(ann)[0]})
		inState(t, c.Interaction(), interaction.StateACTIVE)
	})
}

func TestAPhoneThatCannotBeRungIsRefusedAndTheCallGoesBack(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		c := l.Call(berlin)
		o, _ := w.Offer(c.Interaction(), ann)
		l.Does(func(_ context.Context, a desktest.Asked) error {
			if a.Verb == "ring" {
				return voice.ErrUnreachable
			}
			return nil
		})
		_, err := w.Desk.AcceptOffer(ann, o.ID, nil)
		if r := w.Refused(err, desk.ChannelUnavailable); !r.Retryable {
			t.Error("another try may succeed")
		}
		inState(t, c.Interaction(), interaction.StateQUEUED)
		carries(t, ann, 0, 0)
		if ann.Load().Misses != 0 {
			t.Error("the agent has missed nothing")
		}
	})
}

func TestANodeThatDoesNotAnswerEndsByItsDeadline(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		c := l.Call(berlin)
		o, _ := w.Offer(c.Interaction(), ann)
		l.Does(func(ctx context.Context, _ desktest.Asked) error {
			<-ctx.Done()
			return voice.ErrUnreachable
		})
		gone, leave := context.WithCancel(ann.Context)
		leave() // the browser that asked is gone: what was begun is taken back nevertheless
		_, err := w.Desk.AcceptOffer(ann, o.ID, nil)
		w.Refused(err, desk.ChannelUnavailable)
		inState(t, c.Interaction(), interaction.StateQUEUED)
		_ = gone
	})
}

func TestWithoutAPhoneACallIsAnsweredInTheBrowser(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, bob := w.Line(nil), w.Agent("Bob", "agent")
		c := l.Call(berlin)
		o, _ := w.Offer(c.Interaction(), bob)
		_, err := w.Desk.AcceptOffer(bob, o.ID, nil)
		w.Refused(err, desk.WrongState)
		inState(t, c.Interaction(), interaction.StateOFFERED)
		key := "answer"
		for range 2 {
			got, err := w.Desk.AnswerCall(bob, c.ID, "offer", &key)
			ok(t, err)
			if got.SDPAnswer != "answer to offer" {
				t.Errorf("answered %q", got.SDPAnswer)
			}
		}
		legs := c.Legs(bob)
		asked := l.Asked("connect")
		if len(legs) != 1 || len(asked) != 2 || asked[0].To.Leg != legs[0] || asked[1].To.Leg != legs[0] {
			t.Fatalf("legs %v, asked %+v", legs, asked)
		}
		c.Must(voice.Fact{Kind: voice.Up, Leg: legs[0]})
		inState(t, c.Interaction(), interaction.StateACTIVE)
		if got, err := w.Desk.AnswerCall(bob, c.ID, "offer", &key); err != nil || got.SDPAnswer != "answer to offer" {
			t.Errorf("a late repeat: %v, %v", got, err)
		}
		_, err = w.Desk.AnswerCall(bob, c.ID, "another", nil)
		w.Refused(err, desk.WrongState)
		got, err := w.Desk.RenewMedia(bob, c.ID, "restart")
		ok(t, err)
		if got.SDPAnswer != "answer to restart" {
			t.Errorf("renewed with %q", got.SDPAnswer)
		}
	})
}

func TestTheBrowserTakesOverFromAPhoneThatRings(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		c := l.Call(berlin)
		phone, _ := c.Rings(ann)
		_, err := w.Desk.AnswerCall(ann, c.ID, "offer", nil)
		ok(t, err)
		legs := c.Legs(ann)
		if len(legs) != 1 || legs[0] == phone {
			t.Fatalf("legs %v", legs)
		}
		if _, err := c.Tell(voice.Fact{Kind: voice.Up, Leg: phone}); !isRefused(err) {
			t.Errorf("the phone that was given up came up: %v", err)
		}
		c.Must(voice.Fact{Kind: voice.Missed, Leg: phone, Cause: voice.Dropped})
		c.Must(voice.Fact{Kind: voice.Up, Leg: legs[0]})
		inState(t, c.Interaction(), interaction.StateACTIVE)
		carries(t, ann, 1, 1)
	})
}

func TestMediaThatTheBrowserCannotSpeakTakesTheOfferBack(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		c := l.Call(berlin)
		_, _ = w.Offer(c.Interaction(), ann)
		l.Does(func(context.Context, desktest.Asked) error { return voice.ErrMedia })
		_, err := w.Desk.AnswerCall(ann, c.ID, "offer", nil)
		w.Refused(err, desk.Invalid)
		inState(t, c.Interaction(), interaction.StateQUEUED)
		bob := w.Agent("Bob", "agent")
		_, err = w.Desk.AnswerCall(bob, c.ID, "offer", nil)
		w.Refused(err, desk.NotFound)
	})
}

func TestACallerWhoHangsUpWhileThePhoneRingsHasAbandoned(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		c := l.Call(berlin)
		leg, o := c.Rings(ann)
		c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
		i := c.Interaction()
		if inState(t, i, interaction.StateENDED); !i.Abandoned {
			t.Error("not abandoned")
		}
		carries(t, ann, 0, 0)
		if row, err := w.Store.Ent.Offer.Get(w.Sys, o.ID); err != nil || row.State != offer.StateWITHDRAWN {
			t.Errorf("%v %v", row, err)
		}
		if _, err := c.Tell(voice.Fact{Kind: voice.Up, Leg: leg}); !isRefused(err) {
			t.Errorf("up after the end: %v", err)
		}
	})
}

// MODEL 2: who loses the socket but has a live leg keeps the call; who loses the leg does not.
func TestWhoLosesTheSocketKeepsTheCallWithALiveLeg(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		leave := w.Connect(ann.Viewer())
		c := l.Call(berlin)
		leg := c.Talks(ann)
		leave()
		w.Clock.Add(desk.LostAfter + time.Second)
		beat(t, w, c)
		ok(t, w.Desk.Sweep(viewer.Global(t.Context())))
		if n := w.Store.Ent.Presence.Query().Where(presence.SubjectID(ann.ID)).CountX(w.Sys); n != 0 {
			t.Fatal("she is not lost: the test shows nothing")
		}
		inState(t, c.Interaction(), interaction.StateACTIVE)
		carries(t, ann, 1, 1)
		c.Must(voice.Fact{Kind: voice.Left, Leg: leg, Cause: voice.MediaLost})
		i := c.Interaction()
		inState(t, i, interaction.StateQUEUED)
		carries(t, ann, 0, 0)
		if i.Priority != interaction.PriorityHIGH || callIs(t, c, call.StateQUEUED).AnsweredAt == nil {
			t.Errorf("priority %s", i.Priority)
		}
	})
}

func beat(t *testing.T, w *desktest.World, calls ...*desktest.Caller) map[voice.ID]voice.Wanted {
	t.Helper()
	var ids []voice.ID
	for _, c := range calls {
		ids = append(ids, c.Call)
	}
	got, err := w.Desk.Voice().Pulse(t.Context(), desktest.Node, desktest.Epoch, ids)
	ok(t, err)
	return got
}

func TestASwitchedOffAgentDoesNotStayOnTheLine(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		c := l.Call(berlin)
		leg := c.Talks(ann)
		_, err := w.Desk.UpdateAgent(w.Admin, ann.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		ok(t, err)
		w.Work()
		inState(t, c.Interaction(), interaction.StateQUEUED)
		if got := beat(t, w, c)[c.Call]; got.Over || len(got.Legs) != 1 || got.Legs[0] != c.Leg {
			t.Errorf("wanted %+v, without the leg %s", got, leg)
		}
	})
}

// MODEL 2, last row: the calls of a node that is gone are over, their agents free, and who redials has the old place.
func TestTheCallsOfALostNodeEndAndTheirCallersKeepTheirPlace(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		bob, cat := w.Agent("Bob", "agent"), w.Agent("Cat", "agent")
		bob.Phone(false)
		talking, waiting, alive := l.Call("+4930901821"), l.Call(berlin), l.Call("+4930901822")
		talking.Talks(ann)
		leg, o := waiting.Rings(bob)
		_, _ = w.Offer(alive.Interaction(), cat)
		old := *waiting.Interaction().QueuedAt
		beat(t, w, talking) // the clock goes on while a busy machine works
		w.Clock.Add(desk.CallLostAfter / 2)
		beat(t, w, alive)
		ok(t, w.Desk.Sweep(viewer.Global(t.Context())))
		callIs(t, talking, call.StateACTIVE)
		w.Clock.Add(desk.CallLostAfter)
		beat(t, w, alive)
		ok(t, w.Desk.Sweep(viewer.Global(t.Context())))
		callIs(t, talking, call.StateACTIVE) // the first look that misses them: the database may have been away
		w.Clock.Add(desk.CallLostAfter)
		beat(t, w, alive)
		ok(t, w.Desk.Sweep(viewer.Global(t.Context())))
		for _, c := range []*desktest.Caller{talking, waiting} {
			if row := callIs(t, c, call.StateENDED); *row.EndCause != call.EndCauseLOST {
				t.Errorf("ended by %s", *row.EndCause)
			}
			inState(t, c.Interaction(), interaction.StateENDED)
		}
		inState(t, alive.Interaction(), interaction.StateOFFERED)
		carries(t, ann, 0, 0)
		carries(t, bob, 0, 0)
		if row, err := w.Store.Ent.Offer.Get(w.Sys, o.ID); err != nil || row.State != offer.StateWITHDRAWN || *row.Outcome != offer.OutcomeLOST {
			t.Errorf("%v %v", row, err)
		}
		// The node comes back: what it knew is over.
		if _, err := waiting.Tell(voice.Fact{Kind: voice.Up, Leg: leg}); !isRefused(err) {
			t.Errorf("%v", err)
		}
		if got := beat(t, w, waiting)[waiting.Call]; !got.Over {
			t.Error("the node goes on with a lost call")
		}
		again := l.Call(berlin)
		i := again.Interaction()
		if !i.QueuedAt.Equal(old) || !is(again.Row().ResumedFromID, waiting.ID) {
			t.Errorf("place %v of %v", i.QueuedAt, old)
		}
		if third := l.Call(berlin); third.Row().ResumedFromID != nil {
			t.Error("one place was given twice")
		}
		back := l.Call("+4930901821")
		if i := back.Interaction(); !is(i.PreferID, ann.ID) || !is(back.Row().ResumedFromID, talking.ID) {
			t.Errorf("prefers %v", i.PreferID)
		}
	})
}

// A database that was away kept everybody's signs away: who comes back with it has lost nothing.
func TestADatabaseThatWasAwayLosesNoCall(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		c := l.Call(berlin)
		c.Talks(ann)
		w.Clock.Add(2 * desk.CallLostAfter) // nobody could write
		ok(t, w.Desk.Sweep(viewer.Global(t.Context())))
		w.Clock.Add(time.Second)
		ok(t, w.Desk.Sweep(viewer.Global(t.Context())))
		beat(t, w, c)
		w.Clock.Add(desk.CallLostAfter / 2)
		ok(t, w.Desk.Sweep(viewer.Global(t.Context())))
		callIs(t, c, call.StateACTIVE)
		inState(t, c.Interaction(), interaction.StateACTIVE)
	})
}

func TestWhoRedialsLateBeginsAnew(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		c := l.Call(berlin)
		c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.Failed})
		w.Clock.Add(desk.RedialWithin + time.Second)
		if again := l.Call(berlin); again.Row().ResumedFromID != nil {
			t.Error("resumed after its time")
		}
		one := l.Call("+4930901821")
		one.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
		if again := l.Call("+4930901821"); again.Row().ResumedFromID != nil {
			t.Error("who hung up himself keeps no place")
		}
	})
}

func TestTheCallsOfAnEarlierLifeAreLostAtTheStart(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		a := l.Arrive(berlin)
		a.Epoch--
		old, now := l.Known(a), l.Call("+4930901821")
		ok(t, w.Desk.Recover(t.Context()))
		callIs(t, old, call.StateENDED)
		callIs(t, now, call.StateQUEUED)
	})
}

func TestAPulseSaysWhatIsWanted(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		c, unknown := l.Call(berlin), voice.ID(gid.Make(gid.Call).String())
		if got := beat(t, w, c)[c.Call]; got.Over || len(got.Legs) != 1 {
			t.Errorf("waiting: %+v", got)
		}
		leg, _ := c.Rings(ann)
		if got := beat(t, w, c)[c.Call]; got.Over || len(got.Legs) != 2 || got.Version != c.Row().Version {
			t.Errorf("ringing: %+v", got)
		}
		c.Must(voice.Fact{Kind: voice.Up, Leg: leg})
		_, err := w.Desk.Resolve(ann, c.Interaction().ConversationID, nil, nil, nil)
		ok(t, err)
		if got := beat(t, w, c)[c.Call]; !got.Over {
			t.Errorf("resolved: %+v", got)
		}
		got, err := w.Desk.Voice().Pulse(t.Context(), desktest.Node, desktest.Epoch, []voice.ID{unknown, "nonsense"})
		ok(t, err)
		if !got[unknown].Over || !got["nonsense"].Over {
			t.Errorf("unknown: %+v", got)
		}
		other, err := w.Desk.Voice().Pulse(t.Context(), "elsewhere", desktest.Epoch, []voice.ID{c.Call})
		ok(t, err)
		if !other[c.Call].Over {
			t.Error("another node keeps a call that is not its own")
		}
	})
}

// After every commit that moves a call, its node hears what is wanted, with a version that never goes back.
func TestEveryMoveIsToldToTheNode(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Desk.ConformCalls(ctx) }()
		defer func() {
			stop()
			ok(t, <-done)
		}()
		wanted := func(what string, f func(voice.Wanted) bool) {
			t.Helper()
			w.Eventually(what, func() bool {
				list := l.Asked("conform")
				return len(list) > 0 && f(list[len(list)-1].Wanted)
			})
		}
		c := l.Call(berlin)
		leg := c.Talks(ann)
		wanted("both legs live", func(x voice.Wanted) bool { return !x.Over && len(x.Legs) == 2 })
		_, err := w.Desk.Transfer(ann, c.Interaction().ID, desk.TransferInput{QueueID: &w.Queue}, nil)
		ok(t, err)
		wanted("the customer alone after a transfer", func(x voice.Wanted) bool { return !x.Over && len(x.Legs) == 1 && x.Legs[0] == c.Leg })
		c.Must(voice.Fact{Kind: voice.Left, Leg: leg, Cause: voice.Dropped})
		inState(t, c.Interaction(), interaction.StateQUEUED)
		_, err = w.Desk.Resolve(w.Admin, c.Interaction().ConversationID, nil, nil, nil)
		ok(t, err)
		wanted("over after a resolve", func(x voice.Wanted) bool { return x.Over })
		last := 0
		for _, a := range l.Asked("conform") {
			if a.Wanted.Version < last {
				t.Errorf("version %d after %d", a.Wanted.Version, last)
			}
			last = a.Wanted.Version
		}
	})
}

func TestACallIsHandedOverCold(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		bob := w.Agent("Bob", "agent")
		bob.Phone(false)
		defer w.Connect(bob.Viewer())()
		c := l.Call(berlin)
		c.Talks(ann)
		warm := desk.Warm
		_, err := w.Desk.Transfer(ann, c.Interaction().ID, desk.TransferInput{AgentID: &bob.ID, Mode: &warm}, nil)
		w.Refused(err, desk.NotSupported)
		_, err = w.Desk.Transfer(ann, c.Interaction().ID, desk.TransferInput{AgentID: &bob.ID}, nil)
		ok(t, err)
		inState(t, c.Interaction(), interaction.StateOFFERED)
		callIs(t, c, call.StateQUEUED)
		carries(t, ann, 0, 0)
		_, err = w.Desk.AcceptOffer(bob, *c.Interaction().OpenOfferID, nil)
		ok(t, err)
		c.Must(voice.Fact{Kind: voice.Up, Leg: c.Legs(bob)[0]})
		if i := c.Interaction(); i.State != interaction.StateACTIVE || !is(i.AgentID, bob.ID) {
			t.Errorf("%s by %v", i.State, i.AgentID)
		}
		carries(t, bob, 1, 1)
		_, err = w.Desk.EndCall(ann, c.ID, nil)
		w.Refused(err, desk.ServedByOthers)
		l.Does(func(_ context.Context, a desktest.Asked) error {
			if a.Verb == "conform" && a.Wanted.Over {
				c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.AgentHungUp})
			}
			return nil
		})
		_, err = w.Desk.EndCall(bob, c.ID, nil)
		ok(t, err)
		callIs(t, c, call.StateENDED)
		if conv := w.Conversation(c.Interaction().ConversationID); conv.State != conversation.StatePENDING {
			t.Errorf("the matter is %s", conv.State)
		}
	})
}
