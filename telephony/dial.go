package telephony

import (
	"context"
	"time"

	"tributary/channels/voice"
	"tributary/telephony/gate"
)

// dial is the verb: a call of ours, the agent's leg first.
func (x *Exchange) dial(ctx context.Context, to voice.Ref, o voice.DialOrder) (string, error) {
	if to.Epoch != x.Epoch {
		return "", voice.ErrStale
	}
	c, err := x.find(to.Call)
	if err != nil {
		if c = x.newCall(); c == nil {
			return "", voice.ErrUnreachable
		}
		c.post(func() {
			c.dialling, c.waiting = &o, o.Waiting
			c.customer = &leg{id: to.Leg}
			c.legs[to.Leg] = c.customer
		})
		if _, err := ask(ctx, c, func() (bool, error) { c.named(to.Call, to.Version); return true, nil }); err != nil {
			return "", err
		}
	}
	agent := to
	agent.Leg = o.AgentLeg
	if o.Connect != nil {
		return x.connect(ctx, agent, *o.Connect)
	}
	err = x.ring(ctx, agent, *o.Ring)
	return "", err
}

// dialTime is how long a customer's phone rings where the order says nothing.
const dialTime = 60 * time.Second

// dialCustomer rings the customer through the trunk.
func (c *call) dialCustomer() {
	o, k := *c.dialling, c.customer
	prefer := c.codec()
	go func() {
		d, port, err := c.dialOut(o, prefer)
		if !c.post(func() { c.dialled(k, d, port, err) }) && err == nil {
			d.HangUp("the call is over")
			_ = port.Close()
		}
	}()
	wait := time.Duration(o.Seconds) * time.Second
	if wait <= 0 {
		wait = dialTime
	}
	time.AfterFunc(wait, func() {
		c.post(func() {
			if !k.up {
				c.finish(voice.NoAnswer, 0)
			}
		})
	})
}

func (c *call) dialled(k *leg, d gate.Dialog, port Port, err error) {
	if err != nil {
		c.log.Warn("the trunk cannot be dialled", "error", err)
		c.finish(voice.Unreachable, 0)
		return
	}
	k.port, k.link, k.dialog = port, port, d
	c.watchLink(k, port)
	c.watchDialog(k, d)
	if c.over {
		k.closed = false
		k.close("the call is over")
	}
}

// farRings is the customer's phone; what comes with it is the far end's own tone.
func (c *call) farRings(l *leg, sdp []byte) {
	if l != c.customer || l.up {
		return
	}
	c.tell(voice.Fact{Kind: voice.Ringing, Leg: l.id}, nil)
	if sdp == nil || l.port.Accept(sdp) != nil {
		return
	}
	l.early = true
	if c.agent != nil {
		c.agent.hush()
		l.forward(c.agent.link, nil)
	}
}

// farAnswered is the customer who lifts.
func (c *call) farAnswered(l *leg, d gate.Dialog, sdp []byte) {
	if l != c.customer || l.up {
		return
	}
	if err := l.port.Accept(sdp); err != nil {
		d.HangUp("no common audio")
		c.finish(voice.Failed, 488)
		return
	}
	l.up, c.everUp = true, true
	c.tell(voice.Fact{Kind: voice.Answered, Leg: l.id}, nil)
	c.mix()
}

func (c *call) dialOut(o voice.DialOrder, prefer codec) (gate.Dialog, Port, error) {
	port, err := c.x.Port(prefer)
	if err != nil {
		return nil, nil, err
	}
	d, err := c.x.Lines.DialTrunk(c.ctx, o.Trunk, gate.Outgoing{To: o.Number, From: o.From, SDP: port.Offer()})
	if err != nil {
		_ = port.Close()
		return nil, nil, err
	}
	return d, port, nil
}
