package desk_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"tributary/channels/voice"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/conversation"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/ent/mergecandidate"
	"tributary/ent/offer"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

const (
	berlin  = "030 901820"
	berlin2 = "+4930901820"
)

// callIs asserts where a call stands.
func callIs(t *testing.T, c *desktest.Caller, want call.State) *ent.Call {
	t.Helper()
	row := c.Row()
	if row.State != want {
		t.Fatalf("the call is %s, want %s", row.State, want)
	}
	return row
}

// known makes a customer whose number is confirmed.
func known(t *testing.T, w *desktest.World, number string) (gid.ID, gid.ID) {
	t.Helper()
	c, err := w.Store.Ent.Customer.Create().SetDisplayName("Known").Save(w.Sys)
	ok(t, err)
	i, err := w.Store.Ent.Identity.Create().SetCustomerID(c.ID).SetKind("phone").SetValue(personal.Of(number)).SetVerification(identity.VerificationCHANNEL_PROVED).Save(w.Sys)
	ok(t, err)
	return c.ID, i.ID
}

func TestACallIsGreetedOnceWhateverIsRepeated(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		a := l.Arrive(berlin)
		var all sync.WaitGroup
		got := make([]voice.Greeting, 6)
		for n := range got {
			all.Go(func() {
				g, err := w.Desk.Voice().Greet(t.Context(), a)
				if err != nil {
					t.Error(err)
				}
				got[n] = g
			})
		}
		all.Wait()
		for _, g := range got {
			if g.Call != got[0].Call || g.Leg != got[0].Leg {
				t.Fatalf("%v and %v", g, got[0])
			}
		}
		if n := w.Store.Ent.Call.Query().CountX(w.Sys); n != 1 {
			t.Fatalf("%d calls", n)
		}
		c := l.Of(got[0])
		row, i := c.Row(), c.Interaction()
		inState(t, i, interaction.StateQUEUED)
		if row.From.Clear() != berlin2 || row.CallerProof != call.CallerProofCLAIMED || row.Headers["X-Account"] != "A-1" || !i.Live || got[0].Waiting == nil || got[0].Flow != nil {
			t.Errorf("%+v, %+v", row, got[0])
		}
		items, err := w.Store.Ent.TimelineItem.Query().Where(timelineitem.ConversationID(i.ConversationID), timelineitem.TypeEQ(timelineitem.TypeCALL)).All(w.Sys)
		ok(t, err)
		if len(items) != 1 || !is(items[0].CallID, c.ID) {
			t.Errorf("the timeline says %v", items)
		}
		seen := map[string]int{}
		for _, e := range w.Log() {
			seen[e.Type]++
		}
		if seen["CALL_CREATED"] != 1 || seen["INTERACTION_STARTED"] != 1 || seen["CONVERSATION_CREATED"] != 1 {
			t.Errorf("events: %v", seen)
		}
	})
}

func TestACallByASwitchedOffOrUnknownTrunkIsRefused(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		ok(t, w.Store.Ent.Channel.UpdateOneID(l.ID).SetEnabled(false).Exec(w.Sys))
		a := l.Arrive(berlin)
		if _, err := w.Desk.Voice().Greet(t.Context(), a); !errors.Is(err, voice.ErrRefused) {
			t.Errorf("switched off: %v", err)
		}
		a.Trunk = voice.ID(gid.Make(gid.Channel).String())
		if _, err := w.Desk.Voice().Greet(t.Context(), a); !errors.Is(err, voice.ErrRefused) {
			t.Errorf("unknown: %v", err)
		}
	})
}

// MODEL 5: a caller's number never merges. Only where the trunk asserts it and one customer has it confirmed does the call
// stand under him; the offer says so.
func TestACallersNumberIsAClaimUnlessTheTrunkAssertsAConfirmedOne(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := w.Line(nil), w.Agent("Ann", "agent")
		customer, id := known(t, w, berlin2)
		claimed := l.Call(berlin)
		if i := claimed.Interaction(); i.CustomerID == customer {
			t.Error("a claim made the caller the known customer")
		}
		if n := w.Store.Ent.MergeCandidate.Query().Where(mergecandidate.StateEQ(mergecandidate.StateOPEN)).CountX(w.Sys); n != 1 {
			t.Errorf("%d candidates, want the known customer suggested once", n)
		}
		claimed.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
		a := l.Arrive(berlin)
		a.Asserted = true
		c := l.Greet(a)
		if i := c.Interaction(); i.CustomerID != customer || !is(i.IdentityID, id) {
			t.Error("asserted and confirmed: the call stands elsewhere")
		}
		o, _ := w.Offer(c.Interaction(), ann)
		if o == nil || len(o.Reasons) == 0 || o.Reasons[len(o.Reasons)-1] != "caller_confirmed" {
			t.Errorf("the offer does not say how we know: %v", o)
		}
		if n := w.Store.Ent.CustomerMerge.Query().CountX(w.Sys); n != 0 {
			t.Errorf("%d merges", n)
		}
	})
}

func TestANumberThatTwoHaveConfirmedIsNobodys(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		one, _ := known(t, w, berlin2)
		other, err := w.Store.Ent.Customer.Create().Save(w.Sys)
		ok(t, err)
		ok(t, w.Store.Ent.Identity.Create().SetCustomerID(other.ID).SetKind("phone").SetScope("another").SetValue(personal.Of(berlin2)).SetVerification(identity.VerificationSTRONG).Exec(w.Sys))
		a := l.Arrive(berlin)
		a.Asserted = true
		c := l.Greet(a)
		if i := c.Interaction(); i.CustomerID == one || i.CustomerID == other.ID || c.Row().CallerProof != call.CallerProofASSERTED {
			t.Error("one of two was chosen")
		}
	})
}

func TestWhoWithholdsHisNumberIsNobodyKnown(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		one, two := l.Call(""), l.Call("")
		i, j := one.Interaction(), two.Interaction()
		if i.CustomerID == j.CustomerID || i.ConversationID == j.ConversationID || one.Row().CallerProof != call.CallerProofWITHHELD {
			t.Error("two strangers became one")
		}
	})
}

func TestACallerWithTheSameNumberJoinsHisOpenMatter(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		one, two := l.Call(berlin), l.Call("+49 30 901820")
		i, j := one.Interaction(), two.Interaction()
		if i.ConversationID != j.ConversationID || i.ID == j.ID || j.JoinedBy != interaction.JoinedByOPEN_CONVERSATION {
			t.Errorf("%v and %v", i, j)
		}
		odd := l.Call("extension-17")
		if got := odd.Row().From.Clear(); got != "extension-17" {
			t.Errorf("a number that cannot be read became %q", got)
		}
	})
}

// flowOf gives a channel a flow with a published version.
func flowOf(t *testing.T, w *desktest.World, l *desktest.Line, to gid.ID) gid.ID {
	t.Helper()
	doc, err := json.Marshal(voice.Flow{Start: "menu", Nodes: map[string]voice.Node{
		"menu":  {Kind: voice.NodePrompt, Sound: &voice.Sound{Name: voice.SoundWelcome}, Exits: map[string]string{voice.ExitDone: "queue"}},
		"queue": {Kind: voice.NodeQueue, Queue: voice.ID(to.String())},
	}})
	ok(t, err)
	f, err := w.Store.Ent.Flow.Create().SetName(w.Unique("flow")).Save(w.Sys)
	ok(t, err)
	v, err := w.Store.Ent.FlowVersion.Create().SetFlowID(f.ID).SetNumber(3).SetDocument(doc).Save(w.Sys)
	ok(t, err)
	ok(t, f.Update().SetPublishedID(v.ID).Exec(w.Sys))
	ok(t, w.Store.Ent.Channel.UpdateOneID(l.ID).SetFlowID(f.ID).Exec(w.Sys))
	return v.ID
}

func TestAFlowServesFirstAndHandsOverToItsQueue(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		team := w.Team("second")
		l, to := w.Line(nil), w.QueueOf(desk.QueueCreateInput{TeamID: &team})
		version := flowOf(t, w, l, to)
		a := l.Arrive(berlin)
		c := l.Greet(a)
		inState(t, c.Interaction(), interaction.StateIN_FLOW)
		if c.Flow == nil || c.Flow.Version != 3 || !is(c.Row().FlowVersionID, version) || c.Interaction().QueuedAt != nil {
			t.Fatalf("greeted with %+v", c.Greeting)
		}
		if again := l.Known(a); again.Flow == nil || again.Flow.ID != c.Flow.ID {
			t.Error("the same greeting, without its flow")
		}
		c.Must(voice.Fact{Kind: voice.Stepped, Step: "menu", Input: "1", Exit: "done"})
		w.Clock.Add(time.Minute)
		got := c.Must(voice.Fact{Kind: voice.Queued, Queue: voice.ID(to.String())})
		i := c.Interaction()
		inState(t, i, interaction.StateQUEUED)
		callIs(t, c, call.StateQUEUED)
		if !is(i.QueueID, to) || i.QueuedAt == nil || i.QueuedAt.Sub(i.StartedAt) < 50*time.Second || got.Waiting == nil {
			t.Errorf("handed over to %v at %v, waiting %v", i.QueueID, i.QueuedAt, got.Waiting)
		}
		gone := l.Call("+4930901821")
		inState(t, gone.Interaction(), interaction.StateIN_FLOW)
		gone.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
		if i := gone.Interaction(); i.State != interaction.StateENDED || !i.Abandoned {
			t.Error("who hung up in the flow has not abandoned")
		}
	})
}

// MODEL 2: voice is OFFERED connecting until the agent's leg is up, then ACTIVE.
func TestACallIsConnectingUntilTheAgentsLegIsUp(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := w.Line(nil), w.Agent("Ann", "agent")
		phone := ann.Phone(false)
		c := l.Call(berlin)
		leg, o := c.Rings(ann)
		i := c.Interaction()
		inState(t, i, interaction.StateOFFERED)
		row := callIs(t, c, call.StateRINGING)
		carries(t, ann, 1, 1)
		ringing := l.Asked("ring")
		if !i.Connecting || len(ringing) != 1 || ringing[0].To.Leg != leg || len(ringing[0].Ring.At) != 1 || ringing[0].Ring.At[0].Phone != voice.ID(phone.String()) ||
			ringing[0].Ring.From == berlin2 || ringing[0].To.Version != row.Version || ringing[0].To.Node != desktest.Node || ringing[0].To.Epoch != desktest.Epoch {
			t.Errorf("connecting %v, rings %+v", i.Connecting, ringing)
		}
		c.Must(voice.Fact{Kind: voice.Ringing, Leg: leg})
		if a := c.Must(voice.Fact{Kind: voice.Up, Leg: leg}); a.Record {
			t.Error("the queue records nothing")
		}
		i = c.Interaction()
		inState(t, i, interaction.StateACTIVE)
		row = callIs(t, c, call.StateACTIVE)
		if i.Connecting || !is(i.AgentID, ann.ID) || row.AnsweredAt == nil || row.RingingAt == nil {
			t.Errorf("%+v", row)
		}
		carries(t, ann, 1, 1)
		if got, err := w.Store.Ent.Offer.Get(w.Sys, o.ID); err != nil || got.State != offer.StateACCEPTED || got.Connecting {
			t.Errorf("the offer is %v (%v)", got, err)
		}
		if conv := w.Conversation(i.ConversationID); !is(conv.OwnerID, ann.ID) || conv.State != conversation.StatePENDING {
			t.Errorf("owner %v, %s", conv.OwnerID, conv.State)
		}
		c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp, Quality: &voice.Quality{LossRate: 0.25, JitterMs: 3, Packets: 9}})
		row = callIs(t, c, call.StateENDED)
		if *row.EndCause != call.EndCauseCUSTOMER_HUNG_UP || *row.LossRate != 0.25 || row.EndedAt == nil {
			t.Errorf("%+v", row)
		}
		inState(t, c.Interaction(), interaction.StateENDED)
		carries(t, ann, 0, 0)
		for _, leg := range row.Edges.Legs {
			if leg.State != callleg.StateENDED {
				t.Errorf("a leg of an ended call is %s", leg.State)
			}
		}
	})
}

func TestWhatIsRecordedIsKeptEvenAfterTheEnd(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		ann.Phone(false)
		l := w.Line(nil)
		ok(t, w.Store.Ent.Queue.UpdateOneID(w.Queue).SetRecording("ALWAYS").SetWrapUpSeconds(60).Exec(w.Sys))
		c := l.Call(berlin)
		leg, _ := c.Rings(ann)
		up := voice.Fact{Kind: voice.Up, Leg: leg}
		if a := c.Must(up); !a.Record || c.Row().RecordingState != call.RecordingStateRECORDING {
			t.Error("the queue records always")
		}
		c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.AgentHungUp})
		inState(t, c.Interaction(), interaction.StateWRAP_UP)
		carries(t, ann, 1, 1)
		f := c.Next(voice.Fact{Kind: voice.Recorded, Recording: &voice.Recording{Blob: "r/1.wav", Bytes: 44, SHA256: "ab", Seconds: 1.5, StartedAt: w.Clock.Now()}})
		for range 3 {
			if _, err := w.Desk.Voice().Report(t.Context(), f); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(c.Row().Edges.Recordings); n != 1 {
			t.Errorf("%d recordings", n)
		}
		_, err := w.Desk.WrapUp(ann, c.Interaction().ID, nil)
		ok(t, err)
		carries(t, ann, 0, 0)
	})
}

// Each fact has one effect, however often it is told, and the answer is the same.
func TestARepeatedFactDoesNothingAgain(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := w.Line(nil), w.Agent("Ann", "agent")
		ann.Phone(false)
		c := l.Call(berlin)
		leg, _ := c.Rings(ann)
		twice := func(f voice.Fact) {
			t.Helper()
			f = c.Next(f)
			one, err := w.Desk.Voice().Report(t.Context(), f)
			ok(t, err)
			before := c.Row()
			two, err := w.Desk.Voice().Report(t.Context(), f)
			ok(t, err)
			after := c.Row()
			if one != two || before.Version != after.Version || len(before.Edges.Facts) != len(after.Edges.Facts) {
				t.Errorf("%s told twice: %+v and %+v, version %d and %d", f.Kind, one, two, before.Version, after.Version)
			}
		}
		for _, f := range []voice.Fact{
			{Kind: voice.Ringing, Leg: leg},
			{Kind: voice.Up, Leg: leg},
			{Kind: voice.Digit, Leg: c.Leg, Digit: "5"},
			{Kind: voice.Held, Leg: leg},
			{Kind: voice.Resumed, Leg: leg},
			{Kind: voice.Muted, Leg: leg},
			{Kind: voice.Unmuted, Leg: leg},
			{Kind: voice.Left, Leg: leg, Cause: voice.MediaLost},
			{Kind: voice.Ended, Cause: voice.CustomerHungUp},
		} {
			twice(f)
		}
		carries(t, ann, 0, 0)
	})
}

func TestFactsOfAnotherNodeOrLifeAreStale(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		c := w.Line(nil).Call(berlin)
		for _, change := range []func(*voice.Fact){
			func(f *voice.Fact) { f.Epoch-- }, func(f *voice.Fact) { f.Node = "other" }, func(f *voice.Fact) { f.Call = voice.ID(gid.Make(gid.Call).String()) },
		} {
			f := c.Next(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
			change(&f)
			if _, err := w.Desk.Voice().Report(t.Context(), f); !errors.Is(err, voice.ErrStale) {
				t.Errorf("%+v: %v", f, err)
			}
		}
		callIs(t, c, call.StateQUEUED)
	})
}

func TestHoldsAndMutesAreShownAndCounted(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		l, ann := w.Line(nil), w.Agent("Ann", "agent")
		ann.Phone(false)
		c := l.Call(berlin)
		leg := c.Talks(ann)
		l.Does(func(_ context.Context, a desktest.Asked) error {
			switch a.Verb {
			case "hold":
				kind := voice.Resumed
				if a.On {
					kind = voice.Held
				}
				c.Must(voice.Fact{Kind: kind, Leg: a.To.Leg})
			case "mute":
				c.Must(voice.Fact{Kind: voice.Muted, Leg: a.To.Leg})
			}
			return nil
		})
		_, err := w.Desk.HoldCall(ann, c.ID, true, nil)
		ok(t, err)
		callIs(t, c, call.StateHELD)
		w.Clock.Add(90 * time.Second)
		_, err = w.Desk.HoldCall(ann, c.ID, false, nil)
		ok(t, err)
		if row := callIs(t, c, call.StateACTIVE); row.HeldTotal < 89 || row.HeldTotal > 200 || row.HeldSince != nil {
			t.Errorf("held for %d s", row.HeldTotal)
		}
		_, err = w.Desk.MuteCall(ann, c.ID, true, nil)
		ok(t, err)
		for _, got := range c.Row().Edges.Legs {
			if voice.ID(got.ID.String()) == leg && !got.Muted {
				t.Error("not muted")
			}
		}
		bob := w.Agent("Bob", "admin")
		_, err = w.Desk.HoldCall(bob, c.ID, true, nil)
		w.Refused(err, desk.ServedByOthers)
		key := "once"
		for range 2 {
			_, err = w.Desk.SendDigits(ann, c.ID, "12#", &key)
			ok(t, err)
		}
		if n := len(l.Asked("digits")); n != 1 {
			t.Errorf("one key sent digits %d times", n)
		}
		_, err = w.Desk.SendDigits(ann, c.ID, "12x", nil)
		w.Refused(err, desk.Invalid)
		l.Does(func(context.Context, desktest.Asked) error { return voice.ErrUnreachable })
		other := "again"
		_, err = w.Desk.SendDigits(ann, c.ID, "3", &other)
		if r := w.Refused(err, desk.ChannelUnavailable); !r.Retryable {
			t.Error("may be tried again")
		}
		l.Does(nil)
		_, err = w.Desk.SendDigits(ann, c.ID, "3", &other)
		ok(t, err)
		if n := len(l.Asked("digits")); n != 3 {
			t.Errorf("what failed is not tried again: %d", n)
		}
	})
}
