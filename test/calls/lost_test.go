package calls_test

import (
	"context"
	"testing"
	"time"

	"tributary/telephony/siptest"
	"tributary/test/rig"
)

// A node that dies takes the sound of its calls with it. What it must not take: the agent's freedom, the record, and the
// place of the caller.
func TestAKilledNodeFreesTheAgentAndKeepsTheCallersPlace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string) {
		d := open(t, url, nil)
		a := d.agent("Ann")
		first := d.ringIn(siptest.Options{From: "13800138001", PAI: "+8613800138001", Tone: fromCaller})
		offer := a.offer(t)
		id := offer.At("interaction", "call", "id").String()
		desk := a.accept(t, offer.At("id").String())
		ok(t, desk.Answer())
		desk.Tone(fromAgent)
		hear(t, "the caller", first, fromAgent)
		d.ringIn(siptest.Options{From: "13800138002", PAI: "+8613800138002"}) // waits behind him
		d.eventually("the second waits", func() bool {
			return len(d.work.Admin.Must(t, `{calls(filter:{states:[QUEUED]},first:5){nodes{id}}}`, nil).At("calls", "nodes").List()) == 1
		})
		a.SetStatus(t, "BREAK")
		d.node.Restart()
		d.eventually("the call is lost", func() bool {
			c := d.call(id)
			return c.At("endCause").String() == "LOST" && c.At("interaction", "state").String() == "ENDED"
		})
		d.eventually("the agent is free", func() bool { return d.work.Used(t, a.ID) == 0 })
		// They call again, the second one first: whose place is older?
		d.ringIn(siptest.Options{From: "13800138002", PAI: "+8613800138002"})
		d.ringIn(siptest.Options{From: "13800138001", PAI: "+8613800138001"})
		d.eventually("both wait", func() bool {
			return len(d.work.Admin.Must(t, `{calls(filter:{states:[QUEUED]},first:5){nodes{id}}}`, nil).At("calls", "nodes").List()) == 2
		})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := a.phone.Register(ctx, 5*time.Minute)
		ok(t, err)
		a.SetStatus(t, "AVAILABLE")
		again := a.offer(t).At("interaction", "call", "id").String()
		v := a.Must(t, `query($c:ID!){call(id:$c){resumedFrom{id} interaction{conversation{id}}}}`, rig.M{"c": again}).At("call")
		if v.At("resumedFrom", "id").String() != id {
			t.Errorf("who redials is not first, or without his earlier call: %s", v.JSON())
		}
		if got, want := v.At("interaction", "conversation", "id").String(), d.call(id).At("interaction", "conversation", "id").String(); got != want {
			t.Errorf("the conversation is %s, was %s", got, want)
		}
	})
}

func TestACallOfOurs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, url string) {
		d := open(t, url, nil)
		a := d.agent("Ann")
		d.ringIn(siptest.Options{}) // there must be somebody to call back
		offer := a.offer(t)
		a.Must(t, `mutation($o:ID!){offerDecline(id:$o){offer{id} userErrors{code}}}`, rig.M{"o": offer.At("id").String()})
		for _, c := range d.carry.Calls() {
			ok(t, c.HangUp(t.Context()))
		}
		d.eventually("nothing waits", func() bool {
			return d.work.Used(t, a.ID) == 0 && d.call(offer.At("interaction", "call", "id").String()).At("state").String() == "ENDED"
		})
		called := make(chan *siptest.Call, 1)
		d.carry.Behave(func(c *siptest.Call) {
			_ = c.Ringing()
			called <- c
		})
		d.eventually("the agent may call", func() bool { return d.work.Used(t, a.ID) == 0 })
		d.work.Admin.Must(t, `mutation($c:ID!,$a:ID!){conversationOwnerSet(id:$c,agentId:$a){conversation{id} userErrors{code message}}}`, rig.M{
			"c": offer.At("interaction", "conversation", "id").String(), "a": a.ID,
		})
		v := a.Must(t, `mutation($i:CallStartInput!,$k:Key!){callStart(input:$i,idempotencyKey:$k){call{id state direction} userErrors{code message field}}}`, rig.M{
			"i": rig.M{"conversationId": offer.At("interaction", "conversation", "id").String()}, "k": rig.Unique("start"),
		}).At("callStart", "call")
		id := v.At("id").String()
		if v.At("direction").String() != "OUTBOUND" || v.At("state").String() != "RINGING" {
			t.Errorf("at first: %s", v.JSON())
		}
		var desk, customer *siptest.Call
		select {
		case desk = <-a.rings:
		case <-time.After(patience):
			t.Fatal("the agent's own phone does not ring")
		}
		ok(t, desk.Answer())
		desk.Tone(fromAgent)
		select {
		case customer = <-called:
		case <-time.After(patience):
			t.Fatal("the customer's phone does not ring")
		}
		if to := customer.To(); to != "+8613800138000" {
			t.Errorf("dialled %s", to)
		}
		ok(t, customer.Answer())
		customer.Tone(fromCaller)
		hear(t, "the agent", desk, fromCaller)
		hear(t, "the customer", customer, fromAgent)
		if got := d.call(id); got.At("state").String() != "ACTIVE" {
			t.Errorf("while they talk: %s", got.JSON())
		}
		a.Must(t, `mutation($c:ID!){callEnd(id:$c){call{state} userErrors{code message}}}`, rig.M{"c": id})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := customer.AwaitEnd(ctx)
		ok(t, err)
		_, err = desk.AwaitEnd(ctx)
		ok(t, err)
		d.eventually("the call is over", func() bool { return d.call(id).At("endCause").String() == "AGENT_HUNG_UP" })
	})
}
