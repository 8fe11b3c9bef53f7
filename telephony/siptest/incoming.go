package siptest

import (
	"context"
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

// newIncoming reads an INVITE (RFC 3261 section 12.1.1).
func newIncoming(e *endpoint, req *sip.Request, tx sip.ServerTransaction) (*Call, error) {
	from, to, id, contact := req.From(), req.To(), req.CallID(), req.Contact()
	if from == nil || to == nil || id == nil || contact == nil {
		return nil, fmt.Errorf("%w: the INVITE lacks a header", ErrState)
	}
	e.mu.Lock()
	o := e.answer
	e.mu.Unlock()
	c, err := newCall(e, o, false)
	if err != nil {
		return nil, err
	}
	c.invite, c.server, c.callID = req, tx, id.Value()
	c.theirTag, _ = from.Params.Get("tag")
	c.us, c.them, c.target = *to.Address.Clone(), *from.Address.Clone(), *contact.Address.Clone()
	c.options.Name = ""
	c.route = routes(req.GetHeaders("Record-Route"))
	if len(req.Body()) > 0 {
		if c.theirs, err = parse(req.Body()); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// response begins an answer to the INVITE, with our tag.
func (c *Call) response(code int) *sip.Response {
	res := sip.NewResponseFromRequest(c.invite, code, reasonOf(code), nil)
	if to := res.To(); to != nil {
		to.Params.Remove("tag")
		to.Params.Add("tag", c.ourTag)
	}
	res.AppendHeader(c.e.contact())
	return res
}

// Ringing says 180.
func (c *Call) Ringing() error { return c.provisional(sip.StatusRinging, false) }

// Progress says 183 with SDP, and sends early media.
func (c *Call) Progress() error { return c.provisional(sip.StatusSessionInProgress, true) }

func (c *Call) provisional(code int, withMedia bool) error {
	if c.outgoing || closed(c.ended) || closed(c.answered) {
		return ErrState
	}
	res := c.response(code)
	if withMedia {
		c.settleMedia()
		c.describe(res)
	}
	c.mu.Lock()
	c.status = code
	closeOnce(c.rang)
	c.mu.Unlock()
	if err := c.server.Respond(res); err != nil {
		return fmt.Errorf("answer %d: %w", code, err)
	}
	return nil
}

// settleMedia narrows our description to what the offer can have; without an offer, ours is one.
func (c *Call) settleMedia() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.theirs.audio.IsValid() {
		return
	}
	c.ours = answerTo(c.ours, c.theirs, c.ours.direction)
	c.agree(c.ours, c.theirs, c.options.NoRTP)
}

// answerTo narrows our description to an offer (RFC 3264 section 6).
func answerTo(ours, offer description, want string) description {
	ours.codecs = []Codec{offer.codec(ours)}
	ours.direction = mirrored(offer.direction, want)
	if ours.event != 0 {
		ours.event = offer.event
	}
	return ours
}

// Answer says 200 and repeats it until the ACK (RFC 3261 section 13.3.1.4). It returns when the first one is out.
func (c *Call) Answer() error {
	if err := c.claim(); err != nil {
		return err
	}
	c.settleMedia()
	res := c.response(sip.StatusOK)
	c.describe(res)
	c.mu.Lock()
	c.status, c.accepted = sip.StatusOK, res
	closeOnce(c.answered)
	c.mu.Unlock()
	if err := c.server.Respond(res); err != nil {
		c.finish(Ending{})
		return fmt.Errorf("answer 200: %w", err)
	}
	c.e.wg.Go(c.insist)
	return nil
}

// claim makes sure that there is one final answer.
func (c *Call) claim() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outgoing || c.claimed || closed(c.ended) {
		return ErrState
	}
	c.claimed = true
	return nil
}

// insist repeats the 200 with growing pauses until the ACK; without one the call ends after 32 s by BYE.
func (c *Call) insist() {
	deadline := time.NewTimer(64 * sip.T1)
	defer deadline.Stop()
	for pause := sip.T1; ; pause = min(2*pause, sip.T2) {
		again := time.NewTimer(pause)
		select {
		case <-again.C:
			if c.e.transport == "udp" || c.options.NoAck {
				_ = c.server.Respond(c.accepted)
			}
			continue
		case <-c.confirmed:
		case <-c.ended:
		case <-deadline.C:
			ctx, cancel := context.WithTimeout(context.Background(), requestTime)
			_ = c.Bye(ctx) // the far end may well be gone
			cancel()
		}
		again.Stop()
		c.mu.Lock()
		c.settle()
		c.mu.Unlock()
		return
	}
}

// AnswerTwice answers as two phones behind a forking proxy do: a second 200 with another tag follows when the first is
// acknowledged, or 2 s after it. So it is certain which one came first.
func (c *Call) AnswerTwice() (secondTag string, err error) {
	if err := c.Answer(); err != nil {
		return "", err
	}
	select {
	case <-c.confirmed:
	case <-time.After(2 * time.Second):
	case <-c.ended:
		return "", ErrEnded
	}
	other := c.response(sip.StatusOK)
	other.To().Params.Remove("tag")
	secondTag = sip.GenerateTagN(12)
	other.To().Params.Add("tag", secondTag)
	c.describe(other)
	if err := c.server.Respond(other); err != nil {
		return "", fmt.Errorf("answer a second time: %w", err)
	}
	return secondTag, nil
}

// RepeatAnswer sends the 200 n times more.
func (c *Call) RepeatAnswer(n int) error {
	c.mu.Lock()
	res := c.accepted
	c.mu.Unlock()
	if res == nil {
		return ErrState
	}
	for range n {
		if err := c.server.Respond(res); err != nil {
			return fmt.Errorf("repeat the answer: %w", err)
		}
	}
	return nil
}

// Decline answers with a final status that refuses, such as 486 or 603.
func (c *Call) Decline(code int, headers ...sip.Header) error {
	if err := c.claim(); err != nil {
		return err
	}
	res := c.response(code)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	c.mu.Lock()
	c.status = code
	c.mu.Unlock()
	err := c.server.Respond(res)
	c.finish(Ending{Code: code})
	return err
}

func (c *Call) takeCancel(req *sip.Request) {
	c.mu.Lock()
	c.claimed, c.status = true, sip.StatusRequestTerminated
	c.mu.Unlock()
	// The transaction answers 487 when this returns, and must not be waited for in here.
	go c.finish(Ending{ByPeer: true, Method: sip.CANCEL, Reason: reasonHeader(req)})
}

// takeAck confirms the answer, and takes the description that an INVITE without one left to the ACK.
func (c *Call) takeAck(req *sip.Request) {
	var theirs description
	if len(req.Body()) > 0 {
		var err error
		if theirs, err = parse(req.Body()); err != nil {
			c.e.tb.Logf("siptest: the SDP of an ACK: %v", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	number := req.CSeq().SeqNo
	if came := c.waiting[number]; came != nil {
		closeOnce(came)
	}
	if number == c.invite.CSeq().SeqNo {
		c.acks++
	}
	if theirs.audio.IsValid() {
		c.theirs = theirs
		c.agree(c.ours, theirs, c.options.NoRTP)
	}
	if !c.options.NoAck && number == c.invite.CSeq().SeqNo && closed(c.answered) {
		closeOnce(c.confirmed)
	}
}
