package desk_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"tributary/channels/voice"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/assignment"
	"tributary/ent/call"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/gid"
)

func isRefused(err error) bool { return errors.Is(err, voice.ErrRefused) }

// A waiting call that is claimed is an offer to its taker, accepted already: his phone rings.
func TestAWaitingCallIsClaimedByPhone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		ann, bob := w.Agent("Ann", "admin"), w.Agent("Bob", "admin")
		ann.Phone(false)
		c := l.Call(berlin)
		_, err := w.Desk.Claim(bob, c.Interaction().ID, nil)
		w.Refused(err, desk.WrongState)
		o, _ := w.Offer(c.Interaction(), bob)
		_, err = w.Desk.Claim(ann, c.Interaction().ID, nil)
		ok(t, err)
		i := c.Interaction()
		if inState(t, i, interaction.StateOFFERED); !i.Connecting || len(l.Asked("ring")) != 1 {
			t.Error("her phone does not ring")
		}
		carries(t, bob, 0, 0)
		if row, err := w.Store.Ent.Offer.Get(w.Sys, o.ID); err != nil || row.State != offer.StateWITHDRAWN {
			t.Errorf("the other's offer: %v %v", row, err)
		}
		c.Must(voice.Fact{Kind: voice.Up, Leg: c.Legs(ann)[0]})
		inState(t, c.Interaction(), interaction.StateACTIVE)
		as, err := w.Store.Ent.Assignment.Query().Where(assignment.InteractionID(i.ID)).Only(w.Sys)
		ok(t, err)
		if as.Kind != assignment.KindCLAIM {
			t.Errorf("assigned by %s", as.Kind)
		}
		carries(t, ann, 1, 1)
	})
}

// MODEL 2: voice always counts, also in a matter that the agent serves already, and blocks by default.
func TestACallAlwaysCounts(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		ann := profiled(t, w, 4, desk.CapacityRuleInput{ChannelKind: l.Kind, UnitsEach: 1})
		ann.Phone(false)
		one, two := l.Call(berlin), l.Call(berlin)
		if one.Interaction().ConversationID != two.Interaction().ConversationID {
			t.Fatal("two matters")
		}
		one.Talks(ann)
		two.Talks(ann)
		carries(t, ann, 2, 2)
		one.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
		carries(t, ann, 1, 1)
		two.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
		carries(t, ann, 0, 0)
		bob := w.Agent("Bob", "agent")
		bob.Phone(false)
		three, four := l.Call("+4930901821"), l.Call("+4930901822")
		three.Talks(bob)
		if o, _ := w.Offer(four.Interaction(), bob); o != nil {
			t.Error("a second call beside the one that blocks")
		}
		b := w.Bridge(nil)
		if o, _ := w.Offer(b.Say("t", "u", "hello"), bob); o != nil {
			t.Error("a message beside the call that blocks")
		}
	})
}

// Whatever comes first, the other learns of it, and nothing is left over.
func TestRacesOfCalls(t *testing.T) {
	type play func(w *desktest.World, c *desktest.Caller, ann *desktest.Agent, leg voice.ID, o gid.ID) (a, b func() error)
	up := func(c *desktest.Caller, leg voice.ID) func() error {
		f := c.Next(voice.Fact{Kind: voice.Up, Leg: leg})
		return func() error { return told(c, f) }
	}
	for name, race := range map[string]play{
		"up against the caller's end": func(_ *desktest.World, c *desktest.Caller, _ *desktest.Agent, leg voice.ID, _ gid.ID) (a, b func() error) {
			end := c.Next(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
			return up(c, leg), func() error { return told(c, end) }
		},
		"up against a resolve": func(w *desktest.World, c *desktest.Caller, _ *desktest.Agent, leg voice.ID, _ gid.ID) (a, b func() error) {
			conv, yes := c.Interaction().ConversationID, true
			return up(c, leg), func() error {
				_, err := w.Desk.Resolve(w.Admin, conv, &desk.ResolveInput{EndOthers: &yes}, nil, nil)
				return err
			}
		},
		"up against a decline": func(w *desktest.World, c *desktest.Caller, ann *desktest.Agent, leg voice.ID, o gid.ID) (a, b func() error) {
			return up(c, leg), func() error { _, err := w.Desk.DeclineOffer(ann, o, nil, nil); return err }
		},
		"up against the answer in a browser": func(w *desktest.World, c *desktest.Caller, ann *desktest.Agent, leg voice.ID, _ gid.ID) (a, b func() error) {
			return up(c, leg), func() error { _, err := w.Desk.AnswerCall(ann, c.ID, "offer", nil); return err }
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *desktest.World) {
				l, ann := desked(t, w)
				for n := range 20 {
					c := l.Call("")
					leg, o := c.Rings(ann)
					a, b := race(w, c, ann, leg, o.ID)
					if n%2 == 1 {
						a, b = b, a
					}
					var both sync.WaitGroup
					for _, f := range []func() error{a, b} {
						both.Go(func() {
							_, refused := desk.RefusalOf(f())
							_ = refused
						})
					}
					both.Wait()
					i, row := c.Interaction(), c.Row()
					switch i.State {
					case interaction.StateACTIVE:
						carries(t, ann, 1, 1)
						if row.State != call.StateACTIVE || len(c.Legs(ann)) != 1 {
							t.Errorf("served, and the call is %s with legs %v", row.State, c.Legs(ann))
						}
						c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
					case interaction.StateOFFERED: // the browser took over
						carries(t, ann, 1, 1)
						if len(c.Legs(ann)) != 1 || !i.Connecting {
							t.Errorf("offered with legs %v", c.Legs(ann))
						}
						c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
					case interaction.StateQUEUED:
						if len(c.Legs(ann)) != 0 || row.State != call.StateQUEUED {
							t.Errorf("waits with legs %v, %s", c.Legs(ann), row.State)
						}
						c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
					case interaction.StateENDED:
						if !beat(t, w, c)[c.Call].Over {
							t.Error("over, and the node goes on")
						}
					default:
						t.Errorf("the contact is %s", i.State)
					}
					carries(t, ann, 0, 0)
				}
			})
		})
	}
}

// told reports a fact whose number is given.
func told(c *desktest.Caller, f voice.Fact) error {
	_, err := c.Report(f)
	return err
}

func TestOfTwoWhoClaimACallOneRings(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		ann, bob := w.Agent("Ann", "admin"), w.Agent("Bob", "admin")
		ann.Phone(false)
		bob.Phone(false)
		for range 10 {
			c := l.Call("")
			var both sync.WaitGroup
			for _, a := range []*desktest.Agent{ann, bob} {
				both.Go(func() { _, _ = w.Desk.Claim(a, c.Interaction().ID, nil) })
			}
			both.Wait()
			if n := len(c.Legs(ann)) + len(c.Legs(bob)); n != 1 || ann.Load().Count+bob.Load().Count != 1 {
				t.Errorf("%d legs ring", n)
			}
			c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
			carries(t, ann, 0, 0)
			carries(t, bob, 0, 0)
		}
	})
}

// dialling is a matter whose customer can be called.
func dialling(t *testing.T, w *desktest.World, l *desktest.Line, ann *desktest.Agent) (gid.ID, desk.CallStartInput) {
	t.Helper()
	before := l.Call(berlin)
	before.Talks(ann)
	before.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
	conv := before.Interaction().ConversationID
	return conv, desk.CallStartInput{ConversationID: &conv}
}

func TestAnAgentCallsACustomer(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		ok(t, w.Store.Ent.Queue.UpdateOneID(w.Queue).SetWrapUpSeconds(60).Exec(w.Sys))
		conv, in := dialling(t, w, l, ann)
		_, err := w.Desk.WrapUp(ann, w.Store.Ent.Interaction.Query().OnlyX(w.Sys).ID, nil)
		ok(t, err)
		in.SDPOffer = ptr("offer")
		key := "start"
		got, err := w.Desk.StartCall(ann, in, &key)
		ok(t, err)
		c := l.Begun(got.Call)
		i := c.Interaction()
		inState(t, i, interaction.StateACTIVE)
		row := callIs(t, c, call.StateRINGING)
		carries(t, ann, 1, 1)
		dial := l.Asked("dial")
		if got.SDPAnswer != "answer to offer" || i.ConversationID != conv || i.Direction != interaction.DirectionOUTBOUND || len(dial) != 1 || dial[0].Dial.Number != berlin2 ||
			dial[0].Dial.From != "+4930111111" || dial[0].To.Leg != c.Leg || len(row.Edges.Legs) != 2 {
			t.Fatalf("%+v, %+v", got, dial)
		}
		again, err := w.Desk.StartCall(ann, in, &key)
		if err != nil || again.Call != got.Call || again.SDPAnswer != got.SDPAnswer || len(l.Asked("dial")) != 1 {
			t.Errorf("a repeat: %+v, %v", again, err)
		}
		_, err = w.Desk.StartCall(ann, in, nil)
		w.Refused(err, desk.CapacityFull)
		c.Must(voice.Fact{Kind: voice.Up, Leg: dial[0].Dial.AgentLeg})
		callIs(t, c, call.StateRINGING)
		c.Must(voice.Fact{Kind: voice.Ringing, Leg: c.Leg})
		c.Must(voice.Fact{Kind: voice.Answered, Leg: c.Leg})
		if row := callIs(t, c, call.StateACTIVE); row.AnsweredAt == nil {
			t.Error("answered")
		}
		c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.AgentHungUp})
		inState(t, c.Interaction(), interaction.StateWRAP_UP)
	})
}

func TestACallThatNobodyAnsweredLeavesNoWork(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := desked(t, w)
		_, in := dialling(t, w, l, ann)
		ok(t, w.Store.Ent.Queue.UpdateOneID(w.Queue).SetWrapUpSeconds(60).Exec(w.Sys))
		start := func() *desktest.Caller {
			got, err := w.Desk.StartCall(ann, in, nil)
			ok(t, err)
			return l.Begun(got.Call)
		}
		over := func(c *desktest.Caller, cause call.EndCause) {
			t.Helper()
			if row := callIs(t, c, call.StateENDED); *row.EndCause != cause {
				t.Errorf("ended by %s", *row.EndCause)
			}
			inState(t, c.Interaction(), interaction.StateENDED)
			carries(t, ann, 0, 0)
		}
		busy := start()
		busy.Must(voice.Fact{Kind: voice.Up, Leg: busy.Legs(ann)[0]})
		busy.Must(voice.Fact{Kind: voice.Missed, Leg: busy.Leg, Cause: voice.Busy, Code: 486})
		over(busy, call.EndCauseBUSY)
		busy.Must(voice.Fact{Kind: voice.Ended, Cause: voice.Busy})
		own := start()
		own.Must(voice.Fact{Kind: voice.Missed, Leg: own.Legs(ann)[0], Cause: voice.NoAnswer})
		over(own, call.EndCauseNO_ANSWER)
		given := start()
		_, err := w.Desk.EndCall(ann, given.ID, nil)
		ok(t, err)
		inState(t, given.Interaction(), interaction.StateENDED)
		carries(t, ann, 0, 0)
		given.Must(voice.Fact{Kind: voice.Ended, Cause: voice.AgentHungUp})
		l.Does(func(_ context.Context, a desktest.Asked) error {
			if a.Verb == "dial" {
				return voice.ErrUnreachable
			}
			return nil
		})
		_, err = w.Desk.StartCall(ann, in, nil)
		if r := w.Refused(err, desk.ChannelUnavailable); !r.Retryable {
			t.Error("may be tried again")
		}
		carries(t, ann, 0, 0)
		in.Number = ptr("+4930555555")
		_, err = w.Desk.StartCall(ann, in, nil)
		w.Refused(err, desk.IdentityUnreachable)
	})
}

// MODEL 6: of a call that somebody cannot see he can do nothing, and learns nothing.
func TestACallOutOfSightIsAbsent(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		mine := w.Team("mine")
		q := w.QueueOf(desk.QueueCreateInput{TeamID: &mine})
		l := w.Line(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		ann, bob := w.Agent("Ann", "agent", mine), w.Agent("Bob", "agent")
		ann.Phone(false)
		c := l.Call(berlin)
		c.Talks(ann)
		for _, err := range []error{
			second(w.Desk.HoldCall(bob, c.ID, true, nil)), second(w.Desk.MuteCall(bob, c.ID, true, nil)), second(w.Desk.EndCall(bob, c.ID, nil)),
			second(w.Desk.SendDigits(bob, c.ID, "1", nil)), second(w.Desk.AnswerCall(bob, c.ID, "offer", nil)), second(w.Desk.RenewMedia(bob, c.ID, "offer")),
		} {
			w.Refused(err, desk.NotFound)
		}
		q1, _, err := w.Desk.Calls(bob, nil)
		ok(t, err)
		if n := q1.CountX(bob); n != 0 {
			t.Errorf("he sees %d calls", n)
		}
		if n := len(l.Asked("hold")) + len(l.Asked("digits")); n != 0 {
			t.Error("the node was asked")
		}
	})
}

func second[T any](_ T, err error) error { return err }
