package siptest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"
)

// Dial begins a call and returns when the INVITE is out.
func (e *endpoint) Dial(ctx context.Context, o Options) (*Call, error) {
	c, err := newCall(e, o, true)
	if err != nil {
		return nil, err
	}
	if err := c.prepare(); err != nil {
		c.close()
		return nil, err
	}
	if !e.add(c) {
		c.close()
		return nil, ErrEnded
	}
	if err := c.send(ctx); err != nil {
		c.finish(Ending{})
		return nil, err
	}
	e.wg.Go(c.follow)
	return c, nil
}

// Call begins a call and waits until it is answered; a refusal is a *StatusError.
func (e *endpoint) Call(ctx context.Context, o Options) (*Call, error) {
	c, err := e.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := c.AwaitAnswer(ctx); err != nil {
		c.finish(Ending{})
		return nil, err
	}
	return c, nil
}

// prepare writes the INVITE (RFC 3261 section 13.2.1).
func (c *Call) prepare() error {
	var err error
	if c.options.From == "" {
		c.options.From = c.e.user
	}
	if c.us, err = c.e.address(c.options.From); err != nil {
		return err
	}
	if c.them, err = c.e.address(c.options.To); err != nil {
		return err
	}
	c.target, c.callID = *c.them.Clone(), sip.GenerateTagN(20)
	c.invite = c.build(sip.INVITE, 0)
	if c.options.PAI != "" {
		pai, err := c.e.address(c.options.PAI)
		if err != nil {
			return err
		}
		c.invite.AppendHeader(sip.NewHeader("P-Asserted-Identity", "<"+pai.String()+">"))
	}
	for name, value := range c.options.Headers {
		c.invite.AppendHeader(sip.NewHeader(name, value))
	}
	c.e.mu.Lock()
	c.invite.SetDestination(c.e.peer)
	c.e.mu.Unlock()
	if !c.options.Late {
		c.describe(c.invite)
	}
	return nil
}

// describe puts our description into a message.
func (c *Call) describe(m interface {
	AppendHeader(sip.Header)
	SetBody([]byte)
},
) {
	body := c.options.SDP
	if body == nil {
		body = c.ours.text()
	}
	m.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	m.SetBody(body)
}

func (c *Call) send(ctx context.Context) error {
	tx, err := c.e.client.TransactionRequest(ctx, c.invite)
	if err != nil {
		return fmt.Errorf("INVITE: %w", err)
	}
	c.client = tx
	// A 200 that comes again was not acknowledged over there; one with another tag is a fork (RFC 3261 section 13.2.2.4).
	tx.OnRetransmission(c.takeAgain)
	return nil
}

// follow reads what comes until the transaction ends.
func (c *Call) follow() {
	for {
		select {
		case res := <-c.client.Responses():
			if c.take(res) {
				continue
			}
			return
		case <-c.client.Done():
			if !closed(c.answered) {
				c.finish(Ending{})
			}
			return
		case <-c.ended:
			// A CANCEL's 487, and a 200 that crossed it, still come.
			if res := c.last(); res != nil && res.IsSuccess() {
				c.refuseLate(res)
			}
			return
		}
	}
}

// last waits for a final answer after the call's end.
func (c *Call) last() *sip.Response {
	for {
		select {
		case res := <-c.client.Responses():
			if !res.IsProvisional() {
				c.mu.Lock()
				c.status = res.StatusCode
				c.mu.Unlock()
				return res
			}
		case <-c.client.Done():
			return nil
		}
	}
}

// take handles one answer and reports whether more is to come.
func (c *Call) take(res *sip.Response) bool {
	c.mu.Lock()
	c.status = res.StatusCode
	c.mu.Unlock()
	switch {
	case res.IsProvisional():
		c.takeProgress(res)
		return true
	case res.IsSuccess():
		if err := c.takeAnswer(res); err != nil {
			c.e.tb.Logf("siptest: the answer to %s: %v", c.callID, err)
			c.finish(Ending{ByPeer: true, Code: res.StatusCode, Reason: err.Error()})
		}
		return true
	case (res.StatusCode == sip.StatusUnauthorized || res.StatusCode == sip.StatusProxyAuthRequired) && c.e.password != "" && c.invite.GetHeader("Authorization") == nil && c.invite.GetHeader("Proxy-Authorization") == nil:
		err := c.authorize(res)
		if err == nil {
			return true
		}
		c.e.tb.Logf("siptest: digest: %v", err)
		fallthrough
	default:
		c.finish(Ending{ByPeer: true, Code: res.StatusCode, Reason: res.Reason})
		return false
	}
}

func (c *Call) takeProgress(res *sip.Response) {
	if res.StatusCode == sip.StatusTrying {
		return
	}
	c.learn(res)
	if len(res.Body()) > 0 && !c.options.Late { // early media
		if d, err := parse(res.Body()); err == nil {
			c.mu.Lock()
			c.theirs = d
			c.mu.Unlock()
			c.agree(c.ours, d, c.options.NoRTP)
		}
	}
	c.mu.Lock()
	closeOnce(c.rang)
	c.mu.Unlock()
}

func (c *Call) takeAnswer(res *sip.Response) error {
	c.learn(res)
	d, err := parse(res.Body())
	if err != nil {
		_ = c.acknowledge(res)
		return err
	}
	c.mu.Lock()
	c.theirs = d
	c.mu.Unlock()
	c.agree(c.ours, d, c.options.NoRTP)
	if !c.options.NoAck {
		if err := c.acknowledge(res); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	closeOnce(c.answered)
	if !c.options.NoAck {
		closeOnce(c.confirmed)
	}
	return nil
}

// acknowledge sends the ACK of a 200: a request of its own with the INVITE's number and credentials.
func (c *Call) acknowledge(res *sip.Response) error {
	ack := c.build(sip.ACK, res.CSeq().SeqNo)
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		if h := c.invite.GetHeader(name); h != nil {
			ack.AppendHeader(sip.HeaderClone(h))
		}
	}
	if c.options.Late && res.CSeq().SeqNo == c.invite.CSeq().SeqNo {
		c.describe(ack)
	}
	c.mu.Lock()
	c.ack = ack
	c.mu.Unlock()
	if err := c.e.client.WriteRequest(ack); err != nil {
		return fmt.Errorf("ACK: %w", err)
	}
	return nil
}

// takeAgain acknowledges a repeated 200 again, and a fork's, which it ends.
func (c *Call) takeAgain(res *sip.Response) {
	c.mu.Lock()
	c.repeats++
	c.mu.Unlock()
	if c.options.NoAck || !res.IsSuccess() {
		return
	}
	c.mu.Lock()
	tag, _ := res.To().Params.Get("tag")
	ack, fork := c.ack, tag != c.theirTag
	if fork {
		c.forks++
	}
	c.mu.Unlock()
	if fork {
		c.refuseLate(res)
	} else if ack != nil {
		_ = c.repeat(ack, 1)
	}
}

// Repeats counts how often a 200 of the far end came again.
func (c *Call) Repeats() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.repeats
}

// Forks counts answers of a second branch, which were acknowledged and ended.
func (c *Call) Forks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.forks
}

// refuseLate ends the dialog of a 200 that nobody wants: ACK, then BYE.
func (c *Call) refuseLate(res *sip.Response) {
	c.mu.Lock()
	other := &Call{e: c.e, options: Options{Name: c.options.Name}, invite: c.invite, callID: c.callID, ourTag: c.ourTag, us: c.us, them: c.them, sequence: c.sequence + 100}
	c.mu.Unlock()
	other.learn(res)
	_ = other.acknowledge(res)
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	_, _ = other.request(ctx, sip.BYE, nil)
}

// authorize answers a challenge with a new INVITE of the same call.
func (c *Call) authorize(res *sip.Response) error {
	asks, answers := "WWW-Authenticate", "Authorization"
	if res.StatusCode == sip.StatusProxyAuthRequired {
		asks, answers = "Proxy-Authenticate", "Proxy-Authorization"
	}
	h := res.GetHeader(asks)
	if h == nil {
		return errors.New("a challenge without its header")
	}
	challenge, err := digest.ParseChallenge(h.Value())
	if err != nil {
		return fmt.Errorf("the challenge %q: %w", h.Value(), err)
	}
	credentials, err := digest.Digest(challenge, digest.Options{Method: "INVITE", URI: c.invite.Recipient.Addr(), Username: c.e.username, Password: c.e.password})
	if err != nil {
		return fmt.Errorf("answer the challenge: %w", err)
	}
	again := c.invite.Clone()
	again.RemoveHeader("Via")
	again.AppendHeader(sip.NewHeader(answers, credentials.String()))
	c.mu.Lock()
	c.sequence++
	again.ReplaceHeader(&sip.CSeqHeader{SeqNo: c.sequence, MethodName: sip.INVITE})
	c.invite = again
	c.mu.Unlock()
	c.client.Terminate()
	return c.send(context.Background())
}

// Cancel gives up a call that is not answered (RFC 3261 section 9.1). It waits for a first sign of the far end, without
// which nothing may be cancelled, and returns when the call has ended.
func (c *Call) Cancel(ctx context.Context) error {
	if err := c.await(ctx, "a provisional answer", func() bool { return c.Status() != 0 }); err != nil {
		return err
	}
	res, err := c.e.client.Do(ctx, c.cancelRequest(), asItIs)
	if err != nil {
		return fmt.Errorf("CANCEL: %w", err)
	}
	if !res.IsSuccess() {
		return &StatusError{Method: "CANCEL", Code: res.StatusCode, Reason: res.Reason}
	}
	select {
	case <-c.answered:
		return c.Bye(ctx) // it crossed the 200, which may come after the answer to CANCEL
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("CANCEL: %w", ctx.Err())
	}
}

// RepeatInvite sends the same INVITE n times more, as over a net that repeats datagrams.
func (c *Call) RepeatInvite(n int) error { return c.repeat(c.Invite(), n) }

// RepeatAck sends the ACK n times more.
func (c *Call) RepeatAck(n int) error {
	c.mu.Lock()
	ack := c.ack
	c.mu.Unlock()
	if ack == nil {
		return ErrState
	}
	return c.repeat(ack, n)
}

// cancelRequest bears the INVITE's own Via, which is how it is found.
func (c *Call) cancelRequest() *sip.Request {
	invite := c.Invite()
	req := sip.NewRequest(sip.CANCEL, *invite.Recipient.Clone())
	for _, name := range []string{"Via", "From", "To", "Call-ID", "Max-Forwards", "Route"} {
		sip.CopyHeaders(name, invite, req)
	}
	req.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL})
	req.SetTransport(strings.ToUpper(c.e.transport))
	req.SetBody(nil) // with its length, which a stream needs
	req.SetDestination(invite.Destination())
	req.Laddr = invite.Laddr
	return req
}
