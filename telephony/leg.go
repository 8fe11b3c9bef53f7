package telephony

import (
	"context"
	"time"

	"tributary/channels/voice"
	"tributary/telephony/gate"
	"tributary/telephony/media"
)

// leg is one end of a call. The call's goroutine owns it; a goroutine of its own watches the dialog and the link.
type leg struct {
	id    voice.ID
	agent voice.ID // empty: the customer's

	link    media.Link // nil: no sound yet
	port    Port       // of a SIP leg
	dialog  gate.Dialog
	browser Browser
	offer   string // of the browser, with the answer it got
	answer  string

	ring *ringing // phones that ring for it

	up       bool // the far end is there
	admitted bool // the desk said yes to an agent's leg
	early    bool // the far end sends its own ringing tone
	// deskHeld is by the verb, remoteHeld by the phone itself.
	deskHeld, remoteHeld, muted bool

	playing *playing
	pressed <-chan struct{} // closed when the keys that were sent to it last are out; nil: there were none
	closed  bool
	// away runs while an agent's browser is gone and may come back.
	away *time.Timer
}

func (l *leg) held() bool { return l.deskHeld || l.remoteHeld }

// forward lets what the leg says go to another link and to the tape. A muted one is heard by nobody.
func (l *leg) forward(to media.Link, tap media.Sink) {
	var sink media.Sink
	switch {
	case l.muted || to == nil && tap == nil:
	case tap == nil:
		sink = to
	case to == nil:
		sink = tap
	default:
		sink = media.Tee(to, tap)
	}
	l.link.Forward(sink)
}

// close hangs up and gives the ports back. It is final.
func (l *leg) close(why string) {
	if l.closed {
		return
	}
	l.closed = true
	l.back()
	l.hush()
	if l.ring != nil {
		l.ring.cancel(why)
	}
	if l.dialog != nil {
		l.dialog.HangUp(why)
	}
	if l.link != nil {
		l.link.Forward(nil)
		go func() { _ = l.link.Close() }() // a WebRTC connection takes its time to end
	}
}

// playing is a sound that a leg hears.
type playing struct {
	sound voice.Sound
	loop  bool
	stop  context.CancelFunc
}

// play lets the leg hear a sound; then runs in the call's goroutine when it has ended by itself. A loop that plays already
// goes on.
func (l *leg) play(c *call, s voice.Sound, loop bool, then func()) {
	if l.link == nil || l.closed {
		return
	}
	if l.playing != nil && loop && l.playing.loop && l.playing.sound == s {
		return
	}
	l.hush()
	ctx, cancel := context.WithCancel(c.ctx)
	p := &playing{sound: s, loop: loop, stop: cancel}
	l.playing = p
	link := l.link
	c.x.live.Add(1) // the call is counted, so nobody has waited yet
	go func() {
		defer c.x.live.Done()
		defer cancel()
		clip, err := c.x.clips.get(ctx, s)
		if err != nil {
			// The caller must get on all the same: what cannot be played has been played.
			c.log.WarnContext(ctx, "a sound cannot be played", "sound", s.Name, "error", err)
			loop = false
		}
		if media.Play(ctx, link, clip, loop) != nil {
			return
		}
		c.post(func() {
			if l.playing != p {
				return
			}
			l.playing = nil
			if then != nil {
				then()
			}
		})
	}()
}

// hush ends what the leg hears.
func (l *leg) hush() {
	if l.playing != nil {
		l.playing.stop()
		l.playing = nil
	}
}

// watchLink tells the call what happens to the sound, until the link is closed.
func (c *call) watchLink(l *leg, link media.Link) {
	go func() {
		for n := range link.Notices() {
			if !c.post(func() { c.noticed(l, n) }) {
				for range link.Notices() { // it must be read to its end
					continue
				}
				return
			}
		}
	}()
}

func (c *call) noticed(l *leg, n media.Notice) {
	if l.closed || c.over {
		return
	}
	switch n.Kind {
	case media.NoticeUp:
		l.back()
		if l.browser != nil && !l.up {
			c.agentUp(l)
		}
	case media.NoticeDigit:
		c.digit(l, n.Digit)
	case media.NoticeSilent:
		c.silent(l)
	case media.NoticeLost:
		c.lost(l, voice.MediaLost)
	case media.NoticeHeard:
	}
}

// lost is a leg whose connection broke: the customer waits for the next agent, or the call is over. A page that is loaded
// again says goodbye as one that is closed does, so an agent's browser has a moment to come back by new media.
func (c *call) lost(l *leg, cause voice.Cause) {
	if l == c.customer {
		c.finish(voice.Failed, 0)
		return
	}
	if l.browser == nil || !l.admitted {
		c.drop(l, cause, 0)
		return
	}
	l.back()
	var t *time.Timer
	t = time.AfterFunc(c.x.BackWithin, func() {
		c.post(func() {
			if l.away == t {
				c.drop(l, cause, 0)
			}
		})
	})
	l.away = t
}

// back ends the wait for a browser that is gone.
func (l *leg) back() {
	if l.away != nil {
		l.away.Stop()
		l.away = nil
	}
}

// silent is a leg of which nothing came for long. One that holds or is held may be silent.
func (c *call) silent(l *leg) {
	if l.held() || c.agent != nil && c.agent.held() || !l.up {
		return
	}
	if l == c.customer {
		c.log.Info("the customer's line is dead: nothing came for long")
		c.finish(voice.Failed, 0)
		return
	}
	c.drop(l, voice.MediaLost, 0)
}

// digit is a key on a leg: the flow takes it, and it is told. Packets of keys go through the bridge by themselves.
func (c *call) digit(l *leg, d byte) {
	c.tell(voice.Fact{Kind: voice.Digit, Leg: l.id, Digit: string(d)}, nil)
	if l == c.customer && c.flow != nil {
		c.flow.pressed(c, d)
	}
}

// watchDialog tells the call what the far end does, until the dialog has ended.
func (c *call) watchDialog(l *leg, d gate.Dialog) {
	go func() {
		for e := range d.Events() {
			if !c.post(func() { c.dialogEvent(l, d, e) }) {
				d.HangUp("the call is over")
				for range d.Events() {
					continue
				}
				return
			}
		}
	}()
}

func (c *call) dialogEvent(l *leg, d gate.Dialog, e gate.Event) {
	if l.closed && e.Kind != gate.EventOffer {
		return
	}
	switch e.Kind {
	case gate.EventConfirmed:
		c.confirmed(l, e.SDP)
	case gate.EventRinging:
		c.farRings(l, e.SDP)
	case gate.EventAnswered:
		c.farAnswered(l, d, e.SDP)
	case gate.EventOffer:
		c.reoffered(l, d, e.SDP)
	case gate.EventDigit:
		c.infoDigit(l, e.Digit)
	case gate.EventEnded:
		c.hungUp(l, e)
	}
}

// infoDigit is a key that came by INFO: unlike packets it does not reach the other side by itself.
func (c *call) infoDigit(l *leg, d byte) {
	c.digit(l, d)
	other := c.agent
	if l == c.agent {
		other = c.customer
	}
	if c.agent == nil || other == nil || other.link == nil {
		return
	}
	other.press(c.ctx, string(d))
}

// press sends keys to the far end, after those that are on their way: keys that overlap would be other keys there. It is
// called in the call's goroutine; the channel tells when they are out, or why they are not.
func (l *leg) press(ctx context.Context, digits string) <-chan error {
	before, out, told := l.pressed, make(chan struct{}), make(chan error, 1)
	l.pressed = out
	link := l.link
	go func() {
		defer close(out)
		if before != nil {
			<-before // it has an end of its own
		}
		if err := ctx.Err(); err != nil {
			told <- err
			return
		}
		told <- media.SendDigits(ctx, link, digits)
	}()
	return told
}

// reoffered is a hold, a resume or another change by a phone.
func (c *call) reoffered(l *leg, d gate.Dialog, sdp []byte) {
	if l.closed || l.port == nil {
		d.RefuseOffer(488)
		return
	}
	if sdp == nil {
		d.AnswerOffer(l.port.Offer())
		return
	}
	answer, err := l.port.Answer(sdp)
	if err != nil {
		d.RefuseOffer(488)
		return
	}
	d.AnswerOffer(answer)
	c.remoteHold(l)
}

// remoteHold takes over what the far end's description says of hold.
func (c *call) remoteHold(l *leg) {
	if l.port.RemoteHolds() == l.remoteHeld {
		return
	}
	l.remoteHeld = !l.remoteHeld
	kind := voice.Resumed
	if l.remoteHeld {
		kind = voice.Held
	}
	c.tell(voice.Fact{Kind: kind, Leg: l.id}, nil)
	c.mix()
}

// hungUp is the end of a dialog by the far end, or by us.
func (c *call) hungUp(l *leg, e gate.Event) {
	l.dialog = nil
	switch {
	case l == c.customer && !l.up && c.dialling != nil:
		c.finish(causeOf(e.Code), e.Code)
	case l == c.customer && c.everUp:
		c.finish(voice.CustomerHungUp, e.Code)
	case l == c.customer:
		c.finish(voice.Abandoned, e.Code)
	case l.admitted && e.Remote:
		c.finish(voice.AgentHungUp, e.Code)
	default:
		c.drop(l, voice.MediaLost, 0)
	}
}

// causeOf reads a final status of an INVITE (RFC 3261 section 21).
func causeOf(code int) voice.Cause {
	switch code {
	case 486, 600:
		return voice.Busy
	case 603, 403:
		return voice.Rejected
	case 0, 408, 480, 487:
		return voice.NoAnswer
	case 404, 410, 484, 604:
		return voice.Unreachable
	}
	return voice.Failed
}

// Times of a leg.
const (
	// SilentAfter is how long nothing may come before a line counts as dead.
	SilentAfter = 60 * time.Second
	// DefaultBackWithin is how long an agent's browser that is gone may take to come back.
	DefaultBackWithin = 10 * time.Second
	// connectWait is how long a browser has to stand after its offer was answered.
	connectWait = 20 * time.Second
)
