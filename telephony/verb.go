package telephony

import (
	"context"
	"strings"
	"time"

	"tributary/channels/voice"
	"tributary/telephony/media"
)

type codec = media.Codec

// codec is what the other side of the call speaks, so that nothing need be transcoded.
func (c *call) codec() codec {
	if c.customer != nil && c.customer.link != nil {
		return c.customer.link.Codec()
	}
	if c.agent != nil && c.agent.link != nil {
		return c.agent.link.Codec()
	}
	return media.PCMA
}

// connect is the verb: a browser becomes a leg.
func (x *Exchange) connect(ctx context.Context, to voice.Ref, o voice.ConnectOrder) (string, error) {
	c, err := x.find(to.Call)
	if err != nil {
		return "", err
	}
	prefer, err := ask(ctx, c, func() (codec, error) { return c.codec(), nil })
	if err != nil {
		return "", err
	}
	l, err := ask(ctx, c, func() (*leg, error) { return c.newAgentLeg(to.Leg, o.Agent, to.Version) })
	if err != nil {
		return "", err
	}
	if l == nil {
		return x.connectAgain(ctx, c, to, o.SDPOffer)
	}
	b, answer, err := x.Browser(ctx, o.SDPOffer, prefer)
	if err != nil {
		c.post(func() { c.drop(l, voice.Failed, 488) })
		return "", err
	}
	_, err = ask(ctx, c, func() (bool, error) { return true, c.connected(l, b, o.SDPOffer, answer) })
	if err != nil {
		go func() { _ = b.Close() }()
		return "", err
	}
	return answer, nil
}

// connectAgain is a repeat: the same offer has the same answer, another one replaces it.
func (x *Exchange) connectAgain(ctx context.Context, c *call, to voice.Ref, offer string) (string, error) {
	answer, err := ask(ctx, c, func() (string, error) {
		l := c.legs[to.Leg]
		switch {
		case l == nil:
			return "", voice.ErrNoCall
		case l.browser == nil:
			return "", voice.ErrRefused
		case l.offer == offer:
			return l.answer, nil
		}
		return "", nil
	})
	if err != nil || answer != "" {
		return answer, err
	}
	return x.renew(ctx, to, offer)
}

func (c *call) connected(l *leg, b Browser, offer, answer string) error {
	if l.closed || c.over {
		return voice.ErrNoCall
	}
	l.browser, l.link, l.offer, l.answer = b, b, offer, answer
	c.watchLink(l, b)
	time.AfterFunc(connectWait, func() { c.post(func() { c.unanswered(l) }) })
	return nil
}

// renew is the verb: new media of the same browser.
func (x *Exchange) renew(ctx context.Context, to voice.Ref, offer string) (string, error) {
	c, err := x.find(to.Call)
	if err != nil {
		return "", err
	}
	b, err := ask(ctx, c, func() (Browser, error) {
		if l := c.legs[to.Leg]; l != nil && l.browser != nil {
			return l.browser, nil
		}
		return nil, voice.ErrNoCall
	})
	if err != nil {
		return "", err
	}
	answer, err := b.Renew(ctx, offer)
	if err != nil {
		return "", err
	}
	c.post(func() {
		if l := c.legs[to.Leg]; l != nil {
			l.offer, l.answer = offer, answer
			l.back() // from here on the connection itself tells whether it comes up
		}
	})
	return answer, nil
}

// hold is the verb. It returns when the desk has stored it.
func (x *Exchange) hold(ctx context.Context, to voice.Ref, held bool) error {
	kind := voice.Resumed
	if held {
		kind = voice.Held
	}
	return x.change(ctx, to, kind, func(l *leg) bool {
		was := l.deskHeld
		l.deskHeld = held
		return was != held
	})
}

// mute is the verb. It returns when the desk has stored it.
func (x *Exchange) mute(ctx context.Context, to voice.Ref, muted bool) error {
	kind := voice.Unmuted
	if muted {
		kind = voice.Muted
	}
	return x.change(ctx, to, kind, func(l *leg) bool {
		was := l.muted
		l.muted = muted
		return was != muted
	})
}

// change does something to a leg that is up, tells the desk, and waits until that is stored.
func (x *Exchange) change(ctx context.Context, to voice.Ref, kind voice.FactKind, f func(*leg) bool) error {
	c, err := x.find(to.Call)
	if err != nil {
		return err
	}
	stored := make(chan error, 1)
	_, err = ask(ctx, c, func() (bool, error) {
		l := c.legs[to.Leg]
		if l == nil || c.over || !l.up {
			return false, voice.ErrNoCall
		}
		if !f(l) {
			stored <- nil
			return true, nil
		}
		c.mix()
		c.tell(voice.Fact{Kind: kind, Leg: l.id}, func(_ voice.Answer, err error) { stored <- err })
		return true, nil
	})
	if err != nil {
		return err
	}
	return c.await(ctx, stored)
}

func (c *call) await(ctx context.Context, stored <-chan error) error {
	select {
	case err := <-stored:
		return err
	case <-c.done:
		return voice.ErrNoCall
	case <-ctx.Done():
		return voice.ErrUnreachable
	}
}

// digits is the verb: keys to the customer. It returns when they are sent.
func (x *Exchange) digits(ctx context.Context, to voice.Ref, digits string) error {
	if strings.Trim(digits, voice.Digits) != "" {
		return voice.ErrRefused
	}
	c, err := x.find(to.Call)
	if err != nil {
		return err
	}
	sent, err := ask(ctx, c, func() (<-chan error, error) {
		if k := c.customer; k != nil && k.up && !c.over {
			return k.press(ctx, digits), nil
		}
		return nil, voice.ErrNoCall
	})
	if err != nil {
		return err
	}
	return <-sent
}

// conformTo is the verb. It returns when the call is as it is wanted, and that is stored.
func (x *Exchange) conformTo(ctx context.Context, to voice.Ref, w voice.Wanted) error {
	c, err := x.find(to.Call)
	if err != nil {
		return err
	}
	stored := make(chan error, 1)
	_, err = ask(ctx, c, func() (bool, error) {
		c.conform(w)
		c.report.after(func() { stored <- nil })
		return true, nil
	})
	if err != nil {
		return err
	}
	return c.await(ctx, stored)
}
