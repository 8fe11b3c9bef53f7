package telephony

import (
	"context"
	"time"

	"tributary/channels/voice"
	"tributary/telephony/gate"
)

// ringing is the phones that ring for one leg; the first that is lifted wins.
type ringing struct {
	attempts []*attempt
	left     int // that may still be lifted
	told     bool
	timer    *time.Timer
	cause    voice.Cause // of the last one that refused
	code     int
}

type attempt struct {
	dialog gate.Dialog
	port   Port
	over   bool
}

// cancel ends what still rings.
func (r *ringing) cancel(why string) {
	if r.timer != nil {
		r.timer.Stop()
	}
	for _, a := range r.attempts {
		r.end(a, why)
	}
}

func (r *ringing) end(a *attempt, why string) {
	if a.over {
		return
	}
	a.over = true
	r.left--
	a.dialog.HangUp(why)
	go func() { _ = a.port.Close() }()
}

// Ring is the verb, on this node.
func (x *Exchange) ring(ctx context.Context, to voice.Ref, o voice.RingOrder) error {
	c, err := x.find(to.Call)
	if err != nil {
		return err
	}
	var prefer codec
	l, err := ask(ctx, c, func() (*leg, error) {
		prefer = c.codec()
		return c.newAgentLeg(to.Leg, o.Agent, to.Version)
	})
	if err != nil || l == nil {
		return err
	}
	return c.ringPhones(ctx, l, o, prefer)
}

// newAgentLeg makes a leg that is on its way; nil: it is there already.
func (c *call) newAgentLeg(id, agent voice.ID, version int) (*leg, error) {
	if c.over {
		return nil, voice.ErrNoCall
	}
	if c.legs[id] != nil {
		return nil, nil
	}
	if version < c.version { // the desk has changed its mind meanwhile
		return nil, voice.ErrRefused
	}
	c.version = version
	l := &leg{id: id, agent: agent}
	c.legs[id] = l
	return l, nil
}

// ringPhones sends the INVITEs and returns when they are out.
func (c *call) ringPhones(ctx context.Context, l *leg, o voice.RingOrder, prefer codec) error {
	type out struct {
		a   *attempt
		err error
	}
	results := make(chan out, len(o.At))
	for _, r := range o.At {
		go func() {
			a, err := c.dialPhone(r, o, prefer)
			results <- out{a, err}
		}()
	}
	var got []*attempt
	err := voice.ErrUnreachable
	for range o.At {
		if r := <-results; r.err == nil {
			got = append(got, r.a)
		} else {
			c.x.Log.WarnContext(ctx, "a phone cannot be rung", "call", c.id, "error", r.err)
		}
	}
	if !c.post(func() { c.rings(l, got, time.Duration(o.Seconds)*time.Second) }) {
		for _, a := range got {
			a.dialog.HangUp("the call is over")
			_ = a.port.Close()
		}
		return voice.ErrNoCall
	}
	if len(got) > 0 {
		err = nil
	}
	return err
}

func (c *call) dialPhone(r voice.Registration, o voice.RingOrder, prefer codec) (*attempt, error) {
	port, err := c.x.Port(prefer)
	if err != nil {
		return nil, err
	}
	// The context is the dialog's until it is answered: one that ended here would cancel it.
	d, err := c.x.phone(c.ctx, r, gate.Outgoing{From: o.From, Name: o.Name, SDP: port.Offer()})
	if err != nil {
		_ = port.Close()
		return nil, err
	}
	return &attempt{dialog: d, port: port}, nil
}

// rings takes the phones in and waits for one to be lifted.
func (c *call) rings(l *leg, got []*attempt, d time.Duration) {
	r := &ringing{attempts: got, left: len(got), cause: voice.Unreachable}
	if l.closed || c.over {
		r.cancel("withdrawn")
		return
	}
	l.ring = r
	if r.left == 0 {
		c.drop(l, voice.Unreachable, 0)
		return
	}
	r.timer = time.AfterFunc(d, func() { c.post(func() { c.unanswered(l) }) })
	for _, a := range got {
		c.watchAttempt(l, a)
	}
}

func (c *call) unanswered(l *leg) {
	if !l.up && !l.closed {
		c.drop(l, voice.NoAnswer, 0)
	}
}

func (c *call) watchAttempt(l *leg, a *attempt) {
	go func() {
		for e := range a.dialog.Events() {
			if !c.post(func() { c.attemptEvent(l, a, e) }) {
				a.dialog.HangUp("the call is over")
				for range a.dialog.Events() {
					continue
				}
				return
			}
		}
	}()
}

func (c *call) attemptEvent(l *leg, a *attempt, e gate.Event) {
	if l.dialog == a.dialog && a.dialog != nil {
		c.dialogEvent(l, a.dialog, e)
		return
	}
	switch e.Kind {
	case gate.EventRinging:
		if !l.ring.told && !l.closed {
			l.ring.told = true
			c.tell(voice.Fact{Kind: voice.Ringing, Leg: l.id}, nil)
		}
	case gate.EventAnswered:
		c.lifted(l, a, e.SDP)
	case gate.EventEnded:
		c.refused(l, a, e)
	case gate.EventOffer:
		a.dialog.RefuseOffer(491)
	case gate.EventConfirmed, gate.EventDigit:
	}
}

// lifted is the phone that wins.
func (c *call) lifted(l *leg, a *attempt, sdp []byte) {
	r := l.ring
	if l.closed || l.up || a.over {
		a.dialog.HangUp("answered elsewhere")
		return
	}
	if err := a.port.Accept(sdp); err != nil {
		r.end(a, "no common audio")
		c.refused(l, a, gate.Event{Code: 488})
		return
	}
	l.dialog, l.port, l.link = a.dialog, a.port, a.port
	a.over = true // it is the leg's now
	r.cancel("answered elsewhere")
	c.watchLink(l, a.port)
	c.agentUp(l)
}

// refused is a phone that rings no more; with the last one the leg is missed.
func (c *call) refused(l *leg, a *attempt, e gate.Event) {
	r := l.ring
	r.end(a, "refused")
	if e.Code != 0 {
		r.cause, r.code = causeOf(e.Code), e.Code
	}
	if r.left == 0 && !l.up && !l.closed {
		c.drop(l, r.cause, r.code)
	}
}

// agentUp is an agent's leg that stands: the desk is asked whether it may speak, before anybody hears anybody.
func (c *call) agentUp(l *leg) {
	l.up = true
	c.tell(voice.Fact{Kind: voice.Up, Leg: l.id}, func(a voice.Answer, err error) {
		switch {
		case c.over || l.closed:
		case err != nil:
			c.forget(l, voice.Dropped)
			c.mix()
		default:
			c.admitted(l, a.Record)
		}
	})
}

// admitted joins the agent with the customer, or begins to dial him.
func (c *call) admitted(l *leg, record bool) {
	if c.agent != nil && c.agent != l { // another agent's leg was replaced
		c.drop(c.agent, voice.Dropped, 0)
	}
	l.admitted = true
	c.agent = l
	c.stopFlow()
	if record {
		c.startTape()
	}
	if c.dialling != nil && c.customer.dialog == nil && !c.customer.up {
		c.dialCustomer()
	} else {
		c.everUp = true
	}
	c.mix()
}
