package siptest

import (
	"context"
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// build makes a request within the dialog (RFC 3261 section 12.2.1.1). A number of 0 takes the next one.
func (c *Call) build(method sip.RequestMethod, number uint32) *sip.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if number == 0 {
		c.sequence++
		number = c.sequence
	}
	req := sip.NewRequest(method, *c.target.Clone())
	from := &sip.FromHeader{Address: *c.us.Clone(), DisplayName: c.options.Name}
	from.Params.Add("tag", c.ourTag)
	to := &sip.ToHeader{Address: *c.them.Clone()}
	if c.theirTag != "" {
		to.Params.Add("tag", c.theirTag)
	}
	id := sip.CallIDHeader(c.callID)
	req.AppendHeader(from)
	req.AppendHeader(to)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: number, MethodName: method})
	req.AppendHeader(c.e.contact())
	for _, hop := range c.route {
		req.AppendHeader(&sip.RouteHeader{Address: *hop.Clone()})
	}
	req.SetTransport(strings.ToUpper(c.e.transport))
	return req
}

// learn takes tag, target and route of the far end from its first answer with a tag (RFC 3261 section 12.1.2).
func (c *Call) learn(res *sip.Response) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to := res.To(); to != nil {
		c.theirTag, _ = to.Params.Get("tag")
	}
	if h := res.Contact(); h != nil {
		c.target = *h.Address.Clone()
	}
	c.route = routes(res.GetHeaders("Record-Route"))
	for a, b := 0, len(c.route)-1; a < b; a, b = a+1, b-1 {
		c.route[a], c.route[b] = c.route[b], c.route[a]
	}
}

func routes(headers []sip.Header) (out []sip.Uri) {
	for _, h := range headers {
		for _, part := range strings.Split(h.Value(), ",") {
			var uri sip.Uri
			if _, err := sip.ParseAddressValue(strings.TrimSpace(part), &uri, &sip.HeaderParams{}); err == nil {
				out = append(out, uri)
			}
		}
	}
	return out
}

// request sends a request within the dialog and waits for its final answer.
func (c *Call) request(ctx context.Context, method sip.RequestMethod, body []byte, headers ...sip.Header) (*sip.Response, error) {
	req := c.build(method, 0)
	for _, h := range headers {
		req.AppendHeader(h)
	}
	req.SetBody(body)
	res, err := c.e.exchange(ctx, req)
	c.mu.Lock()
	c.sequence = max(c.sequence, req.CSeq().SeqNo) // a challenge takes one more
	c.mu.Unlock()
	return res, err
}

// HangUp ends the call by what fits: CANCEL while theirs rings, 603 while ours does, BYE when it is up.
func (c *Call) HangUp(ctx context.Context) error {
	switch {
	case closed(c.ended):
		return nil
	case closed(c.answered):
		return c.Bye(ctx)
	case c.outgoing:
		return c.Cancel(ctx)
	default:
		return c.Decline(sip.StatusGlobalDecline)
	}
}

// Bye ends the call by BYE in whatever state: before the answer as well, which a caller may do (RFC 3261 section 15). The
// call counts as ended even if the far end does not answer.
func (c *Call) Bye(ctx context.Context) error {
	if closed(c.ended) {
		return ErrEnded
	}
	if c.outgoing {
		// The far end's tag names the dialog.
		if err := c.await(ctx, "an answer with a tag", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.theirTag != "" }); err != nil {
			return err
		}
	}
	res, err := c.request(ctx, sip.BYE, nil)
	c.finish(Ending{Method: sip.BYE})
	if err == nil && !res.IsSuccess() {
		err = &StatusError{Method: "BYE", Code: res.StatusCode, Reason: res.Reason}
	}
	return err
}

// Request sends any request within the call, and returns the final status.
func (c *Call) Request(ctx context.Context, method sip.RequestMethod, body []byte, headers ...sip.Header) (int, error) {
	res, err := c.request(ctx, method, body, headers...)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, nil
}

// repeat sends n times the very same request, as over a net that repeats datagrams.
func (c *Call) repeat(req *sip.Request, n int) error {
	for range n {
		again := req.Clone()
		again.Laddr = req.Laddr
		again.SetDestination(req.Destination())
		if err := c.e.client.WriteRequest(again, asItIs); err != nil {
			return fmt.Errorf("repeat %s: %w", req.Method, err)
		}
	}
	return nil
}
