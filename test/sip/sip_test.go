package sip_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"tributary/telephony/siptest"
	"tributary/telephony/siptest/tone"
	peers "tributary/test/sip"
)

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hears(t *testing.T, c *siptest.Call, hz float64, d time.Duration) tone.Verdict {
	t.Helper()
	v, err := c.Hears(soon(t), hz, d)
	must(t, err)
	return v
}

// TestSippCalls: sipp calls the trunk, sends its tone and its keys, and hangs up.
func TestSippCalls(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			trunk := siptest.NewTrunk(t, siptest.TrunkConfig{Transport: transport})
			sipp := peers.StartSipp(t, peers.SippOptions{Scenario: "uac_tone.xml", Remote: trunk.Addr().String(), From: "+4930123", To: "bob", Keys: "12#", Talk: 10 * time.Second, Transport: transport})
			c, err := trunk.NextCall(soon(t))
			must(t, err)
			if c.From() != "+4930123" || c.To() != "bob" {
				t.Errorf("%q called %q", c.From(), c.To())
			}
			must(t, c.Ringing())
			must(t, c.Answer())
			hears(t, c, 440, 1500*time.Millisecond)
			must(t, c.AwaitDigits(soon(t), "12#"))
			hears(t, c, 440, time.Second)
			end, err := c.AwaitEnd(soon(t))
			must(t, err)
			if !end.ByPeer || end.Method != "BYE" {
				t.Errorf("%+v", end)
			}
			must(t, sipp.Wait(soon(t)))
			if s := c.Stats(); s.Lost != 0 || s.Sources != 1 || s.Jumps != 0 || s.Foreign != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestSippAnswers: the trunk calls sipp, which sends back what it hears.
func TestSippAnswers(t *testing.T) {
	sipp := peers.StartSipp(t, peers.SippOptions{Scenario: "uas", Echo: true})
	trunk := siptest.NewTrunk(t, siptest.TrunkConfig{Peer: sipp.Addr})
	c, err := trunk.Call(soon(t), siptest.Options{To: "service", Tone: 440, Codecs: []siptest.Codec{siptest.PCMU}})
	must(t, err)
	hears(t, c, 440, 2*time.Second)
	must(t, c.HangUp(soon(t)))
	must(t, sipp.Wait(soon(t)))
}

// TestSippGivesUp: sipp cancels while the trunk rings.
func TestSippGivesUp(t *testing.T) {
	trunk := siptest.NewTrunk(t, siptest.TrunkConfig{})
	sipp := peers.StartSipp(t, peers.SippOptions{Scenario: "uac_cancel.xml", Remote: trunk.Addr().String(), Talk: time.Second})
	c, err := trunk.NextCall(soon(t))
	must(t, err)
	must(t, c.Ringing())
	end, err := c.AwaitEnd(soon(t))
	must(t, err)
	if !end.ByPeer || end.Method != "CANCEL" {
		t.Errorf("%+v", end)
	}
	must(t, sipp.Wait(soon(t)))
}

// TestSippHolds: sipp holds and takes back; it checks the directions of our answers itself.
func TestSippHolds(t *testing.T) {
	trunk := siptest.NewTrunk(t, siptest.TrunkConfig{})
	sipp := peers.StartSipp(t, peers.SippOptions{Scenario: "uac_hold.xml", Remote: trunk.Addr().String(), Talk: 6 * time.Second})
	c, err := trunk.NextCall(soon(t))
	must(t, err)
	must(t, c.Answer())
	hears(t, c, 440, time.Second)
	must(t, c.AwaitPeerDirection(soon(t), siptest.SendOnly))
	must(t, c.Silent(soon(t), time.Second))
	must(t, c.AwaitPeerDirection(soon(t), siptest.SendRecv))
	hears(t, c, 440, time.Second)
	must(t, sipp.Wait(soon(t)))
	if c.Reinvites() != 2 {
		t.Errorf("%d re-INVITEs", c.Reinvites())
	}
}

// TestSippComplains: what does not go as the scenario says fails the run.
func TestSippComplains(t *testing.T) {
	trunk := siptest.NewTrunk(t, siptest.TrunkConfig{})
	trunk.Behave(siptest.DeclineWith(486))
	sipp := peers.StartSipp(t, peers.SippOptions{Scenario: "uac_tone.xml", Remote: trunk.Addr().String(), Args: []string{"-recv_timeout", "2000"}})
	if err := sipp.Wait(soon(t)); err == nil || !strings.Contains(sipp.Log(), "SIP/2.0 486 Busy Here") {
		t.Errorf("a call was refused, and sipp is content: %v\n%s", err, sipp.Log())
	}
}
