package siptest

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// requestTime bounds what is sent after a call's end.
const requestTime = 10 * time.Second

// Hold puts the far end on hold by a re-INVITE with sendonly; nothing is sent meanwhile, as by a phone without music.
func (c *Call) Hold(ctx context.Context) error { return c.offer(ctx, SendOnly, false) }

// HoldOldWay holds with the address 0.0.0.0 (RFC 3264 section 8.4).
func (c *Call) HoldOldWay(ctx context.Context) error { return c.offer(ctx, SendRecv, true) }

// Resume takes the far end back.
func (c *Call) Resume(ctx context.Context) error { return c.offer(ctx, SendRecv, false) }

// Reinvite offers any direction; an error may be a *StatusError, as 491 when both sides offer at once.
func (c *Call) Reinvite(ctx context.Context, direction string) error {
	return c.offer(ctx, direction, false)
}

// offer sends a re-INVITE and takes the answer (RFC 3261 section 14.1).
func (c *Call) offer(ctx context.Context, direction string, nowhere bool) error {
	c.mu.Lock()
	if closed(c.ended) || c.offering {
		c.mu.Unlock()
		return ErrState
	}
	ours := c.ours
	ours.version++
	ours.direction, ours.codecs = direction, c.options.describe(c.media, c.e.local.Addr()).codecs
	if real := c.options.describe(c.media, c.e.local.Addr()).audio; nowhere {
		ours.audio = netip.AddrPortFrom(netip.IPv4Unspecified(), real.Port())
	} else {
		ours.audio = real
	}
	c.ours, c.offering = ours, true
	c.mu.Unlock()
	defer func() { c.mu.Lock(); c.offering = false; c.mu.Unlock() }()

	req := c.build(sip.INVITE, 0)
	req.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	req.SetBody(ours.text())
	res, err := c.offered(ctx, req)
	if err != nil {
		return err
	}
	if !res.IsSuccess() {
		return &StatusError{Method: "re-INVITE", Code: res.StatusCode, Reason: res.Reason, RetryAfter: headerOf(res, "Retry-After")}
	}
	theirs, err := parse(res.Body())
	if err != nil {
		return fmt.Errorf("the answer to a re-INVITE: %w", err)
	}
	held := direction == SendOnly || direction == Inactive || nowhere
	c.mu.Lock()
	c.theirs, c.held = theirs, held
	c.mu.Unlock()
	c.agree(ours, theirs, c.options.NoRTP || held)
	return nil
}

// offered sends the re-INVITE and acknowledges its 200, as often as it comes.
func (c *Call) offered(ctx context.Context, req *sip.Request) (*sip.Response, error) {
	tx, err := c.e.client.TransactionRequest(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("re-INVITE: %w", err)
	}
	number := req.CSeq().SeqNo
	tx.OnRetransmission(func(*sip.Response) { _ = c.e.client.WriteRequest(c.build(sip.ACK, number)) })
	for {
		select {
		case res := <-tx.Responses():
			switch {
			case res.IsProvisional():
				continue
			case res.IsSuccess():
				if h := res.Contact(); h != nil {
					c.mu.Lock()
					c.target = *h.Address.Clone()
					c.mu.Unlock()
				}
				if err := c.e.client.WriteRequest(c.build(sip.ACK, number)); err != nil {
					return nil, fmt.Errorf("ACK of a re-INVITE: %w", err)
				}
			}
			return res, nil
		case <-tx.Done():
			return nil, fmt.Errorf("re-INVITE: %w", tx.Err())
		case <-ctx.Done():
			return nil, fmt.Errorf("re-INVITE: %w", ctx.Err())
		}
	}
}

// takeReinvite answers an offer of the far end within the call.
func (c *Call) takeReinvite(req *sip.Request, tx sip.ServerTransaction) {
	c.mu.Lock()
	c.reinvites++
	busy, refuse := c.offering, c.options.RefuseReinvite
	c.mu.Unlock()
	if busy {
		refuse = sip.StatusRequestPending
	}
	if refuse != 0 {
		respond(req, tx, refuse)
		return
	}
	res := sip.NewResponseFromRequest(req, sip.StatusOK, "OK", nil)
	res.AppendHeader(c.e.contact())
	body, err := c.counter(req)
	if err != nil {
		respond(req, tx, sip.StatusNotAcceptableHere)
		return
	}
	res.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	res.SetBody(body)
	c.untilAck(req.CSeq().SeqNo, func() { _ = tx.Respond(res) })
}

// counter is our answer to an offer in the call, or our offer when there was none.
func (c *Call) counter(req *sip.Request) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	want := SendRecv
	if c.held {
		want = SendOnly
	}
	ours := c.ours
	ours.version++
	ours.direction = want
	if len(req.Body()) > 0 {
		theirs, err := parse(req.Body())
		if err != nil {
			return nil, err
		}
		c.theirs = theirs
		ours = answerTo(ours, theirs, want)
		c.agree(ours, theirs, c.options.NoRTP || c.held)
	}
	if h := req.Contact(); h != nil {
		c.target = *h.Address.Clone()
	}
	c.ours = ours
	return ours.text(), nil
}

// untilAck says something again and again until the ACK of that number comes, or 32 s have passed.
func (c *Call) untilAck(number uint32, say func()) {
	came := make(chan struct{})
	c.mu.Lock()
	c.waiting[number] = came
	c.mu.Unlock()
	say()
	deadline := time.NewTimer(64 * sip.T1)
	defer deadline.Stop()
	for pause := sip.T1; ; pause = min(2*pause, sip.T2) {
		again := time.NewTimer(pause)
		select {
		case <-again.C:
			say()
			continue
		case <-came:
		case <-c.ended:
		case <-deadline.C:
		}
		again.Stop()
		return
	}
}

func headerOf(res *sip.Response, name string) string {
	if h := res.GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

// asItIs sends a request without adding to it.
func asItIs(*sipgo.Client, *sip.Request) error { return nil }
