package siptest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"

	"tributary/telephony/siptest"
	"tributary/telephony/siptest/tone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds everything that a test waits for.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refusedWith(t *testing.T, err error, code int) {
	t.Helper()
	var status *siptest.StatusError
	if !errors.As(err, &status) || status.Code != code {
		t.Fatalf("%v, not a refusal with %d", err, code)
	}
}

// pair is two ends that know each other.
func pair(t *testing.T, transport string) (caller, called *siptest.Trunk) {
	t.Helper()
	called = siptest.NewTrunk(t, siptest.TrunkConfig{Transport: transport, User: "bob"})
	caller = siptest.NewTrunk(t, siptest.TrunkConfig{Transport: transport, User: "ann", Peer: called.Addr().String()})
	return caller, called
}

// connect makes a call of both that is up and acknowledged.
func connect(t *testing.T, caller, called *siptest.Trunk, o, answer siptest.Options) (out, in *siptest.Call) {
	t.Helper()
	if o.To == "" {
		o.To = "bob"
	}
	called.AnswerWith(answer)
	out, err := caller.Dial(soon(t), o)
	must(t, err)
	in, err = called.NextCall(soon(t))
	must(t, err)
	must(t, in.Ringing())
	must(t, out.AwaitRinging(soon(t)))
	must(t, in.Answer())
	must(t, out.AwaitAnswer(soon(t)))
	if !o.NoAck {
		must(t, in.AwaitConfirmed(soon(t)))
	}
	return out, in
}

func hears(t *testing.T, c *siptest.Call, hz float64, d time.Duration) tone.Verdict {
	t.Helper()
	v, err := c.Hears(soon(t), hz, d)
	must(t, err)
	return v
}

func silent(t *testing.T, c *siptest.Call) {
	t.Helper()
	must(t, c.Silent(soon(t), time.Second))
}

func endsByPeer(t *testing.T, c *siptest.Call, method sip.RequestMethod) {
	t.Helper()
	end, err := c.AwaitEnd(soon(t))
	must(t, err)
	if !end.ByPeer || end.Method != method {
		t.Errorf("ended by %+v", end)
	}
}

func TestCall(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		for _, codec := range []siptest.Codec{siptest.PCMA, siptest.PCMU} {
			t.Run(transport+" "+codec.String(), func(t *testing.T) {
				t.Parallel()
				caller, called := pair(t, transport)
				out, in := connect(t, caller, called, siptest.Options{From: "+4930123", Name: "Ann", PAI: "+4930999", Codecs: []siptest.Codec{codec}, Tone: 440}, siptest.Options{Tone: 660})
				if in.From() != "+4930123" || in.To() != "bob" || !strings.Contains(in.Header("P-Asserted-Identity"), "+4930999") || in.Invite().From().DisplayName != "Ann" {
					t.Errorf("called %q by %q: %s", in.To(), in.From(), in.Invite())
				}
				hears(t, in, 440, 2*time.Second)
				hears(t, out, 660, 2*time.Second)
				if out.Codec() != codec || in.Codec() != codec {
					t.Errorf("%s and %s", out.Codec(), in.Codec())
				}
				must(t, out.Digits(soon(t), "123#"))
				must(t, in.AwaitDigits(soon(t), "123#"))
				must(t, in.Digits(soon(t), "1100*D"))
				must(t, out.AwaitDigits(soon(t), "1100*D"))
				must(t, out.InfoDigits(soon(t), "4*"))
				if got := in.InfoReceived(); got != "4*" {
					t.Errorf("by INFO came %q", got)
				}
				must(t, out.HangUp(soon(t)))
				endsByPeer(t, in, sip.BYE)
				for name, s := range map[string]siptest.Stats{"out": out.Stats(), "in": in.Stats()} {
					if s.Lost != 0 || s.Repeated != 0 || s.Jumps != 0 || s.Foreign != 0 || s.Garbage != 0 || s.Sources != 1 || s.Received < 100 || s.Sent < 100 {
						t.Errorf("%s: %+v", name, s)
					}
				}
			})
		}
	}
}

func TestHangUpByTheCalled(t *testing.T) {
	caller, called := pair(t, "udp")
	out, in := connect(t, caller, called, siptest.Options{}, siptest.Options{})
	must(t, in.HangUp(soon(t)))
	endsByPeer(t, out, sip.BYE)
	if err := out.Hold(soon(t)); !errors.Is(err, siptest.ErrState) {
		t.Errorf("hold after the end: %v", err)
	}
}

func TestHold(t *testing.T) {
	for name, hold := range map[string]func(*siptest.Call, context.Context) error{"sendonly": (*siptest.Call).Hold, "0.0.0.0": (*siptest.Call).HoldOldWay} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caller, called := pair(t, "udp")
			out, in := connect(t, caller, called, siptest.Options{Tone: 440}, siptest.Options{Tone: 660})
			hears(t, in, 440, time.Second)
			must(t, hold(out, soon(t)))
			must(t, in.AwaitPeerDirection(soon(t), siptest.SendOnly))
			if name == "sendonly" && out.PeerDirection() != siptest.RecvOnly {
				t.Errorf("hold was answered with %s (RFC 3264 section 6.1)", out.PeerDirection())
			}
			silent(t, in)
			silent(t, out)
			must(t, out.Resume(soon(t)))
			hears(t, in, 440, time.Second)
			hears(t, out, 660, time.Second)
			must(t, in.Hold(soon(t)))
			silent(t, out)
			must(t, in.Resume(soon(t)))
			hears(t, out, 660, time.Second)
			if in.Reinvites() != 2 || out.Reinvites() != 2 {
				t.Errorf("%d and %d re-INVITEs", in.Reinvites(), out.Reinvites())
			}
			must(t, out.HangUp(soon(t)))
		})
	}
}

func TestRefusals(t *testing.T) {
	caller, called := pair(t, "udp")
	for _, code := range []int{sip.StatusBusyHere, sip.StatusGlobalDecline, sip.StatusServiceUnavailable} {
		called.Behave(siptest.DeclineWith(code))
		_, err := caller.Call(soon(t), siptest.Options{To: "bob"})
		refusedWith(t, err, code)
	}
	called.Behave(nil)
	called.AnswerWith(siptest.Options{RefuseReinvite: sip.StatusRequestPending})
	out, err := caller.Dial(soon(t), siptest.Options{To: "bob"})
	must(t, err)
	in, err := called.NextCall(soon(t))
	must(t, err)
	must(t, in.Answer())
	must(t, out.AwaitAnswer(soon(t)))
	refusedWith(t, out.Hold(soon(t)), sip.StatusRequestPending)
	if _, err := out.Request(soon(t), sip.OPTIONS, nil); err != nil {
		t.Error(err)
	}
	called.OptionsStatus(sip.StatusServiceUnavailable)
	if code, err := caller.Ping(soon(t)); err != nil || code != sip.StatusServiceUnavailable {
		t.Error(code, err)
	}
	must(t, out.HangUp(soon(t)))
}

func TestCancel(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			caller, called := pair(t, transport)
			out, err := caller.Dial(soon(t), siptest.Options{To: "bob"})
			must(t, err)
			in, err := called.NextCall(soon(t))
			must(t, err)
			must(t, in.Ringing())
			must(t, out.AwaitRinging(soon(t)))
			must(t, out.HangUp(soon(t)))
			endsByPeer(t, in, sip.CANCEL)
			if end := out.Ending(); end.Code != sip.StatusRequestTerminated || out.Status() != sip.StatusRequestTerminated {
				t.Errorf("%+v", end)
			}
			if err := in.Answer(); !errors.Is(err, siptest.ErrState) {
				t.Errorf("answered a cancelled call: %v", err)
			}
		})
	}
}

func TestByeWhileRinging(t *testing.T) {
	caller, called := pair(t, "udp")
	out, err := caller.Dial(soon(t), siptest.Options{To: "bob"})
	must(t, err)
	in, err := called.NextCall(soon(t))
	must(t, err)
	must(t, in.Ringing())
	must(t, out.AwaitRinging(soon(t)))
	must(t, out.Bye(soon(t)))
	endsByPeer(t, in, sip.BYE)
	await(t, "the INVITE is answered as well", func() bool { return out.Status() == sip.StatusRequestTerminated })
}

func TestAnswersTwice(t *testing.T) {
	caller, called := pair(t, "udp")
	out, err := caller.Dial(soon(t), siptest.Options{To: "bob", Tone: 440})
	must(t, err)
	in, err := called.NextCall(soon(t))
	must(t, err)
	second, err := in.AnswerTwice()
	must(t, err)
	must(t, in.AwaitConfirmed(soon(t)))
	await(t, "the fork is ended by BYE", func() bool {
		for _, bye := range called.Requests(sip.BYE) {
			if tag, _ := bye.To().Params.Get("tag"); tag == second {
				return out.Forks() == 1
			}
		}
		return false
	})
	hears(t, in, 440, time.Second)
	must(t, out.HangUp(soon(t)))
}

func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	ctx := soon(t)
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("not so: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestNeverAcknowledges(t *testing.T) {
	caller, called := pair(t, "udp")
	out, in := connect(t, caller, called, siptest.Options{NoAck: true}, siptest.Options{})
	await(t, "the 200 is repeated", func() bool { return out.Repeats() >= 2 })
	if in.Acks() != 0 {
		t.Error("an ACK came")
	}
	must(t, out.HangUp(soon(t)))
	endsByPeer(t, in, sip.BYE)
}

func TestRepeats(t *testing.T) {
	caller, called := pair(t, "udp")
	out, in := connect(t, caller, called, siptest.Options{}, siptest.Options{})
	must(t, out.RepeatInvite(3))
	must(t, in.RepeatAnswer(3))
	await(t, "each repeated 200 is acknowledged", func() bool { return in.Acks() >= 4 })
	must(t, out.RepeatAck(2))
	await(t, "the repeated ACKs came", func() bool { return in.Acks() >= 6 })
	if calls := len(called.Calls()); calls != 1 {
		t.Errorf("%d calls came of one", calls)
	}
	must(t, out.HangUp(soon(t)))
}

func TestLateOffer(t *testing.T) {
	caller, called := pair(t, "udp")
	out, in := connect(t, caller, called, siptest.Options{Late: true, Tone: 440}, siptest.Options{Tone: 660})
	if len(in.Invite().Body()) != 0 {
		t.Error("the INVITE has a body")
	}
	hears(t, in, 440, time.Second)
	hears(t, out, 660, time.Second)
	must(t, out.HangUp(soon(t)))
}

func TestEarlyMedia(t *testing.T) {
	caller, called := pair(t, "udp")
	called.AnswerWith(siptest.Options{Tone: 425})
	out, err := caller.Dial(soon(t), siptest.Options{To: "bob", Tone: 440})
	must(t, err)
	in, err := called.NextCall(soon(t))
	must(t, err)
	must(t, in.Progress())
	hears(t, out, 425, time.Second)
	hears(t, in, 440, time.Second)
	if out.Status() != sip.StatusSessionInProgress {
		t.Error(out.Status())
	}
	must(t, in.Answer())
	must(t, out.AwaitAnswer(soon(t)))
	must(t, out.HangUp(soon(t)))
}

func TestNoRTP(t *testing.T) {
	caller, called := pair(t, "udp")
	out, in := connect(t, caller, called, siptest.Options{NoRTP: true, Tone: 440}, siptest.Options{Tone: 660})
	hears(t, out, 660, time.Second)
	if s := in.Stats(); s.Received != 0 {
		t.Errorf("%+v", s)
	}
	if err := out.Digits(soon(t), "1"); err == nil {
		t.Error("a key was pressed")
	}
	must(t, out.HangUp(soon(t)))
}

// TestLossIsCountedAndHeard: what a test drops, repeats and turns shows in the counts, and a lost packet is silence at its place.
func TestLossIsCountedAndHeard(t *testing.T) {
	caller, called := pair(t, "udp")
	out, in := connect(t, caller, called, siptest.Options{Tone: 440}, siptest.Options{})
	hears(t, in, 440, time.Second)
	before := in.Stats()
	n := 0
	from := time.Now()
	out.Alter(func(raw []byte) []byte {
		if n++; n%10 == 0 {
			return nil
		}
		return raw
	})
	must(t, in.AwaitPackets(soon(t), 90))
	out.Alter(nil)
	must(t, in.AwaitPackets(soon(t), 25))
	if lost := in.Stats().Lost - before.Lost; lost < 9 || lost > 12 {
		t.Errorf("%d lost", lost)
	}
	v := tone.Judge(in.ReceivedBetween(from, from.Add(1800*time.Millisecond)), 440)
	if v.Silent < 0.05 || v.Silent > 0.15 || v.Heard(0.5) {
		t.Errorf("every tenth packet is missing: %s", v)
	}
	out.Alter(func(raw []byte) []byte { raw[5] ^= 0xff; return raw }) // the timestamp's second byte: far off
	await(t, "a jump is counted", func() bool { return in.Stats().Jumps > 0 })
	must(t, out.HangUp(soon(t)))
}

func TestWrongToneIsNotHeard(t *testing.T) {
	caller, called := pair(t, "udp")
	out, in := connect(t, caller, called, siptest.Options{Tone: 440}, siptest.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if v, err := in.Hears(ctx, 660, time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("660 Hz was heard where 440 is sent: %s %v", v, err)
	}
	silent(t, out)
	must(t, out.HangUp(soon(t)))
}

func TestPhone(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := siptest.NewRegistrar(t, transport, "secret")
			p := siptest.NewPhone(t, siptest.PhoneConfig{Registrar: r.Addr, Username: "ann", Password: "secret", Transport: transport})
			granted, err := p.Register(soon(t), time.Hour)
			must(t, err)
			if granted != 2*time.Minute {
				t.Errorf("granted %s", granted)
			}
			if _, err := p.Register(soon(t), time.Hour); err != nil {
				t.Error("the second time:", err)
			}
			bindings, err := p.Bindings(soon(t))
			must(t, err)
			if len(bindings) != 1 || !strings.Contains(bindings[0], p.Addr().String()) {
				t.Errorf("%q, and the phone is at %s", bindings, p.Addr())
			}

			// Someone calls it where it is registered.
			p.Behave(siptest.AnswerAfter(50 * time.Millisecond))
			p.AnswerWith(siptest.Options{Tone: 660})
			caller := siptest.NewTrunk(t, siptest.TrunkConfig{Transport: transport, Peer: p.Addr().String()})
			c, err := caller.Call(soon(t), siptest.Options{To: r.Binding("ann")})
			must(t, err)
			hears(t, c, 660, time.Second)
			must(t, c.HangUp(soon(t)))

			must(t, p.Unregister(soon(t)))
			if b := r.Binding("ann"); b != "" {
				t.Errorf("still bound to %s", b)
			}
			wrong := siptest.NewPhone(t, siptest.PhoneConfig{Registrar: r.Addr, Username: "ann", Password: "wrong", Transport: transport})
			_, err = wrong.Register(soon(t), time.Hour)
			refusedWith(t, err, sip.StatusForbidden)
		})
	}
}

// TestPhoneCalls: a phone answers the challenge to its INVITE, and repeats the proof in nothing but a new request.
func TestPhoneCalls(t *testing.T) {
	r := siptest.NewRegistrar(t, "udp", "secret")
	p := siptest.NewPhone(t, siptest.PhoneConfig{Registrar: r.Addr, Username: "ann", Password: "secret"})
	_, err := p.Call(soon(t), siptest.Options{To: "+4930123"})
	refusedWith(t, err, sip.StatusNotFound)
	if r.Proved() != 1 {
		t.Errorf("proved %d times", r.Proved())
	}
	wrong := siptest.NewPhone(t, siptest.PhoneConfig{Registrar: r.Addr, Username: "ann", Password: "wrong"})
	_, err = wrong.Call(soon(t), siptest.Options{To: "+4930123"})
	refusedWith(t, err, sip.StatusForbidden)
}
