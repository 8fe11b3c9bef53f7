package calls_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"tributary/telephony/siptest"
	"tributary/telephony/siptest/tone"
	"tributary/test/rig"
)

const (
	fromCaller = 440.0
	fromAgent  = 660.0
	// stands is how long a tone has to stand without a break.
	stands = 5 * time.Second
)

// hear waits until a tone stands at one end.
func hear(t *testing.T, who string, c *siptest.Call, hz float64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	v, err := c.Hears(ctx, hz, stands)
	if err != nil {
		t.Fatalf("%s: %v", who, err)
	}
	t.Logf("%s: %s", who, v)
}

// ringIn is a call of the carrier's that the program has answered.
func (d *desk) ringIn(o siptest.Options) *siptest.Call {
	d.t.Helper()
	if o.From == "" {
		o.From, o.PAI = "13800138000", "+8613800138000"
	}
	o.To = "02112345678"
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	c, err := d.carry.Call(ctx, o)
	if err != nil {
		d.t.Fatal(err)
	}
	ok(d.t, c.AwaitAnswer(ctx))
	return c
}

// music waits until the caller hears something that is no voice of ours.
func music(t *testing.T, c *siptest.Call) {
	t.Helper()
	rig.Eventually(t, patience, "the caller hears music", func() bool {
		v := tone.Judge(c.Received(time.Second), fromAgent)
		return v.Silent < 0.5 && !v.Heard(0.2)
	})
}

func TestACallOnADeskPhone(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string) {
		d := open(t, url, nil)
		a := d.agent("Ann")
		caller := d.ringIn(siptest.Options{Tone: fromCaller})
		music(t, caller)
		offer := a.offer(t)
		t.Log(offer.JSON())
		if kind := offer.At("interaction", "channelKind").String(); kind != "voice" {
			t.Errorf("the offer is of kind %q", kind)
		}
		id := offer.At("interaction", "call", "id").String()
		desk := a.accept(t, offer.At("id").String())
		if got := a.Must(t, `query($c:ID!){call(id:$c){state interaction{state connecting}}}`, rig.M{"c": id}).At("call"); got.At("state").String() != "RINGING" || !got.At("interaction", "connecting").Bool() {
			t.Errorf("while the phone rings: %s", got.JSON())
		}
		if err := desk.Answer(); err != nil {
			t.Fatal(err, desk.Ending(), d.call(id).JSON())
		}
		desk.Tone(fromAgent)
		hear(t, "the agent", desk, fromCaller)
		hear(t, "the caller", caller, fromAgent)
		if got := d.call(id); got.At("state").String() != "ACTIVE" || got.At("interaction", "state").String() != "ACTIVE" || got.At("recordingState").String() != "RECORDING" {
			t.Errorf("while they talk: %s", got.JSON())
		}
		ok(t, caller.Digits(t.Context(), "123#"))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		ok(t, desk.AwaitDigits(ctx, "123#"))
		d.eventually("the keys are told", func() bool {
			v := a.Must(t, `query($c:ID!){call(id:$c){digits{text masked}}}`, rig.M{"c": id}).At("call", "digits")
			return !v.Nil()
		})
		a.hold(t, id, true)
		music(t, caller)
		ok(t, desk.Silent(ctx, time.Second))
		a.hold(t, id, false)
		hear(t, "the agent after the hold", desk, fromCaller)
		hear(t, "the caller after the hold", caller, fromAgent)
		ok(t, desk.Hold(ctx)) // by the phone's own key
		music(t, caller)
		ok(t, desk.Resume(ctx))
		hear(t, "the caller after the phone's hold", caller, fromAgent)
		ok(t, caller.HangUp(ctx))
		_, err := desk.AwaitEnd(ctx)
		ok(t, err)
		d.eventually("the call is over", func() bool { return d.call(id).At("state").String() == "ENDED" })
		got := d.call(id)
		if got.At("endCause").String() != "CUSTOMER_HUNG_UP" || got.At("holdSeconds").Int() < 1 {
			t.Errorf("afterwards: %s", got.JSON())
		}
		d.recorded(id)
		if used := d.work.Used(t, a.ID); used != 0 {
			t.Errorf("the agent carries %d units", used)
		}
	})
}

func (a *agentAt) hold(t *testing.T, call string, held bool) {
	t.Helper()
	v := a.Must(t, `mutation($c:ID!,$h:Boolean!){callHold(id:$c,held:$h){call{state legs{role held}} userErrors{code message}}}`, rig.M{"c": call, "h": held}).At("callHold", "call")
	want := "ACTIVE"
	if held {
		want = "HELD"
	}
	if v.At("state").String() != want {
		t.Errorf("after callHold(%v) the call is %s", held, v.JSON())
	}
}

// recorded checks that the recording holds both tones, each on its own channel.
func (d *desk) recorded(call string) {
	d.t.Helper()
	var r rig.Value
	d.eventually("the recording is there", func() bool {
		r = d.call(call).At("recordings", 0)
		return !r.Nil()
	})
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, r.At("url").String(), nil)
	ok(d.t, err)
	res, err := http.DefaultClient.Do(req)
	ok(d.t, err)
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		d.t.Fatalf("the recording: %s", res.Status)
	}
	sound, err := tone.ReadWAV(res.Body)
	ok(d.t, err)
	if len(sound.Channels) != 2 {
		d.t.Fatalf("the recording has %d channels", len(sound.Channels))
	}
	for n, hz := range []float64{fromCaller, fromAgent} {
		v := tone.Judge(sound.Channels[n], hz)
		if !v.Heard(stands.Seconds()) {
			d.t.Errorf("channel %d of the recording: %s", n, v)
		}
		d.t.Logf("channel %d: %s", n, v)
	}
}

func TestACallerWhoIsGoneWhileHeWaits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string) {
		d := open(t, url, nil)
		a := d.agent("Ann")
		caller := d.ringIn(siptest.Options{})
		offer := a.offer(t)
		desk := a.accept(t, offer.At("id").String())
		ok(t, caller.HangUp(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := desk.AwaitEnd(ctx)
		ok(t, err)
		id := offer.At("interaction", "call", "id").String()
		d.eventually("the call is abandoned", func() bool {
			c := d.call(id)
			return c.At("state").String() == "ENDED" && c.At("endCause").String() == "ABANDONED" && c.At("interaction", "state").String() == "ENDED"
		})
		d.eventually("the agent is free", func() bool { return d.work.Used(t, a.ID) == 0 })
	})
}

func TestAPhoneThatIsNotLiftedGivesTheCallToTheNext(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string) {
		d := open(t, url, rig.M{"ringSeconds": 5})
		a, b := d.agent("Ann"), d.agent("Bob")
		caller := d.ringIn(siptest.Options{Tone: fromCaller})
		first, second := a, b
		var offer rig.Value
		d.eventually("one of them is offered it", func() bool {
			for _, x := range []*agentAt{a, b} {
				v := x.Must(t, `{offers{id interaction{call{id}}}}`, nil).At("offers", 0)
				if !v.Nil() {
					offer, first = v, x
					return true
				}
			}
			return false
		})
		if first == b {
			second = a
		}
		first.accept(t, offer.At("id").String()) // and nobody lifts
		next := second.offer(t)
		if next.At("interaction", "call", "id").String() != offer.At("interaction", "call", "id").String() {
			t.Fatal("another call")
		}
		desk := second.accept(t, next.At("id").String())
		ok(t, desk.Answer())
		desk.Tone(fromAgent)
		hear(t, "the caller", caller, fromAgent)
		ok(t, desk.HangUp(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := caller.AwaitEnd(ctx)
		ok(t, err)
		id := offer.At("interaction", "call", "id").String()
		d.eventually("the agent hung up", func() bool { return d.call(id).At("endCause").String() == "AGENT_HUNG_UP" })
	})
}
