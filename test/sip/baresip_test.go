package sip_test

import (
	"testing"
	"time"

	"tributary/telephony/siptest"
	"tributary/telephony/siptest/tone"
	peers "tributary/test/sip"
)

// heard judges what baresip recorded after its call was closed.
func heard(t *testing.T, b *peers.Baresip, hz float64, seconds float64) {
	t.Helper()
	_, err := b.Await(soon(t), "CALL_CLOSED", 1)
	must(t, err)
	pcm, err := b.Heard()
	must(t, err)
	if v := tone.Judge(pcm, hz); !v.Heard(seconds) {
		t.Errorf("baresip heard: %s", v)
	} else {
		t.Log(v)
	}
}

// TestBaresipIsCalled: the trunk calls baresip, each hears the other, and baresip holds.
func TestBaresipIsCalled(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		for _, codec := range []siptest.Codec{siptest.PCMA, siptest.PCMU} {
			t.Run(transport+" "+codec.String(), func(t *testing.T) {
				b := peers.StartBaresip(t, peers.BaresipOptions{Transport: transport})
				trunk := siptest.NewTrunk(t, siptest.TrunkConfig{Peer: b.Addr, Transport: transport})
				c, err := trunk.Call(soon(t), siptest.Options{To: b.URI, Tone: 440, Codecs: []siptest.Codec{codec}})
				must(t, err)
				hears(t, c, 660, 2*time.Second)
				if _, err := b.Await(soon(t), "CALL_ESTABLISHED", 1); err != nil {
					t.Error(err)
				}
				must(t, c.Digits(soon(t), "12#"))
				must(t, b.AwaitDigits(soon(t), "12#"))
				must(t, b.Digits(soon(t), "42#"))
				must(t, c.AwaitDigits(soon(t), "42#"))
				must(t, b.Hold(soon(t)))
				must(t, c.AwaitPeerDirection(soon(t), siptest.SendOnly))
				must(t, b.Resume(soon(t)))
				must(t, c.AwaitPeerDirection(soon(t), siptest.SendRecv))
				hears(t, c, 660, time.Second)
				must(t, c.HangUp(soon(t)))
				heard(t, b, 440, 2)
				if s := c.Stats(); s.Lost != 0 || s.Foreign != 0 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// TestBaresipCalls: baresip calls the trunk, and hangs up.
func TestBaresipCalls(t *testing.T) {
	trunk := siptest.NewTrunk(t, siptest.TrunkConfig{})
	trunk.AnswerWith(siptest.Options{Tone: 440})
	b := peers.StartBaresip(t, peers.BaresipOptions{Username: "ann", Hz: 880})
	must(t, b.Dial(soon(t), "sip:bob@"+trunk.Addr().String()))
	c, err := trunk.NextCall(soon(t))
	must(t, err)
	if c.From() != "ann" || c.To() != "bob" {
		t.Errorf("%q called %q", c.From(), c.To())
	}
	must(t, c.Ringing())
	_, err = b.Await(soon(t), "CALL_RINGING", 1)
	must(t, err)
	must(t, c.Answer())
	hears(t, c, 880, 2*time.Second)
	must(t, b.HangUp(soon(t)))
	end, err := c.AwaitEnd(soon(t))
	must(t, err)
	if !end.ByPeer || end.Method != "BYE" {
		t.Errorf("%+v", end)
	}
	heard(t, b, 440, 1)
}

// TestBaresipRings: it rings until it is told to answer, and can decline.
func TestBaresipRings(t *testing.T) {
	b := peers.StartBaresip(t, peers.BaresipOptions{Manual: true})
	trunk := siptest.NewTrunk(t, siptest.TrunkConfig{Peer: b.Addr})
	c, err := trunk.Dial(soon(t), siptest.Options{To: b.URI})
	must(t, err)
	must(t, c.AwaitRinging(soon(t)))
	must(t, b.Accept(soon(t)))
	must(t, c.AwaitAnswer(soon(t)))
	must(t, c.HangUp(soon(t)))
	c, err = trunk.Dial(soon(t), siptest.Options{To: b.URI})
	must(t, err)
	must(t, c.AwaitRinging(soon(t)))
	must(t, b.HangUp(soon(t)))
	end, err := c.AwaitEnd(soon(t))
	must(t, err)
	if !end.ByPeer || end.Code < 400 {
		t.Errorf("%+v", end)
	}
}

// TestBaresipRegisters: by digest, and it can be called where it is registered; with a wrong password it is not.
func TestBaresipRegisters(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			r := siptest.NewRegistrar(t, transport, "secret")
			b := peers.StartBaresip(t, peers.BaresipOptions{Registrar: r.Addr, Username: "ann", Password: "secret", Transport: transport})
			must(t, b.AwaitRegistered(soon(t)))
			if r.Proved() == 0 {
				t.Error("registered without a proof")
			}
			trunk := siptest.NewTrunk(t, siptest.TrunkConfig{Peer: b.Addr, Transport: transport})
			c, err := trunk.Call(soon(t), siptest.Options{To: r.Binding("ann")})
			must(t, err)
			hears(t, c, 660, time.Second)
			must(t, c.HangUp(soon(t)))
			wrong := peers.StartBaresip(t, peers.BaresipOptions{Registrar: r.Addr, Username: "bob", Password: "wrong", Transport: transport})
			must(t, wrong.AwaitRefused(soon(t)))
			if at := r.Binding("bob"); at != "" {
				t.Errorf("bob is registered at %s", at)
			}
		})
	}
}
