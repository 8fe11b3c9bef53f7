package telephony

import (
	"context"
	"errors"
	"time"

	"tributary/channels/voice"
	"tributary/telephony/gate"
)

// greetPatience is how long a caller hears ringing while the desk cannot take him in.
const greetPatience = 8 * time.Second

// Incoming takes an INVITE of a trunk: the caller is greeted, then answered. It may block; the gate gives each one a
// goroutine of its own.
func (x *Exchange) Incoming(in *gate.Incoming) {
	port, err := x.Port(0)
	if err != nil {
		x.Log.Warn("no port for a call", "error", err)
		in.Refuse(503, "Service Unavailable")
		return
	}
	sdp := port.Offer
	if in.SDP != nil {
		answer, err := port.Answer(in.SDP)
		if err != nil {
			_ = port.Close()
			in.Refuse(488, "Not Acceptable Here")
			return
		}
		sdp = func() []byte { return answer }
	}
	c := x.newCall()
	if c == nil {
		_ = port.Close()
		in.Refuse(503, "Service Unavailable")
		return
	}
	l := &leg{dialog: in.Dialog, port: port, link: port}
	c.post(func() { c.customer, c.tasks = l, 1 }) // the greeting is a task: what the desk has named must be told of the end
	c.watchDialog(l, in.Dialog)
	c.watchLink(l, port)
	in.Ring()
	g, err := x.greet(c.ctx, in)
	c.post(func() { c.greeted(l, g, err, sdp) })
}

// greet asks until the desk has answered; a caller who is gone meanwhile is told of later.
func (x *Exchange) greet(ctx context.Context, in *gate.Incoming) (voice.Greeting, error) {
	a := voice.Arrival{
		Key: in.Key, Node: x.Node, Epoch: x.Epoch, Trunk: in.Trunk, From: in.From, Name: in.Name, To: in.To, Asserted: in.Asserted,
		At: in.At, Headers: in.Headers,
	}
	give, cancel := context.WithTimeout(ctx, greetPatience)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		tryCtx, done := context.WithTimeout(give, deskWait)
		g, err := x.Desk.Greet(tryCtx, a)
		done()
		if err == nil || isFinal(err) {
			return g, err
		}
		x.Log.WarnContext(give, "greet a caller", "error", err)
		select {
		case <-give.Done():
			return g, err
		case <-time.After(wait):
		}
	}
}

// greeted answers the caller, or refuses him.
func (c *call) greeted(l *leg, g voice.Greeting, err error, sdp func() []byte) {
	c.tasks--
	switch {
	case errors.Is(err, voice.ErrRefused):
		c.turnAway(l, 603, "Declined")
		return
	case err != nil:
		c.turnAway(l, 503, "Service Unavailable")
		return
	}
	c.named(g.Call, g.Version)
	l.id, c.legs[g.Leg], c.waiting, c.plan = g.Leg, l, g.Waiting, g.Flow
	if c.over { // he hung up meanwhile
		c.tell(voice.Fact{Kind: voice.Ended, Cause: voice.Abandoned}, nil)
		return
	}
	l.dialog.Accept(sdp())
}

// turnAway ends a call that never became one.
func (c *call) turnAway(l *leg, code int, reason string) {
	if l.dialog != nil {
		l.dialog.Refuse(code, reason)
	}
	l.close(reason)
	c.over = true
}

// confirmed is the caller's ACK: now he hears us.
func (c *call) confirmed(l *leg, sdp []byte) {
	if l.up || c.over {
		return
	}
	if sdp != nil { // the answer to our offer
		if err := l.port.Accept(sdp); err != nil {
			c.finish(voice.Failed, 488)
			return
		}
	}
	l.up = true
	c.tell(voice.Fact{Kind: voice.Answered, Leg: l.id}, nil)
	c.startFlow(c.plan)
}
