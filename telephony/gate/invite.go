package gate

import (
	"context"
	"errors"
	"fmt"

	"github.com/emiago/sipgo/sip"
)

// sendInvite sends an INVITE and posts each response; on says by true that it wants no more. It is called a last time with
// an error when no final response came.
func (x *dialog) sendInvite(req *sip.Request, find hopper, went func(hop, []hop), on func(*sip.Response, error) bool) {
	fail := func(err error) { x.post(func() { on(nil, err) }) }
	ok := x.g.begin(func() {
		hops, err := find(x.g.ctx)
		if err == nil && len(hops) == 0 {
			err = errors.New("no way to go")
		}
		if err == nil {
			h := hops[0]
			err = x.d.prepare(x.g.ctx, &h, req)
			x.post(func() { went(h, hops[1:]) })
		}
		if err != nil {
			fail(err)
			return
		}
		tx, err := x.d.tx.Request(x.g.ctx, req)
		if err != nil {
			fail(fmt.Errorf("send INVITE: %w", err))
			return
		}
		tx.OnRetransmission(func(res *sip.Response) { x.again(req, res) })
		for {
			select {
			case res := <-tx.Responses():
				if !x.post(func() { on(res, nil) }) || !res.IsProvisional() {
					return
				}
			case <-tx.Done():
				fail(fmt.Errorf("INVITE: %w", tx.Err()))
				return
			case <-x.done:
				tx.Terminate()
				return
			}
		}
	})
	if !ok {
		fail(context.Canceled)
	}
}

// acknowledge sends the ACK of a 2xx: section 13.2.2.4.
func (x *dialog) acknowledge(invite *sip.Request, res *sip.Response) {
	req, find := x.requestSeq(sip.ACK, invite.CSeq().SeqNo)
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		if v := value(invite, name); v != "" {
			req.AppendHeader(sip.NewHeader(name, v))
		}
	}
	x.g.begin(func() { _ = x.d.sendAck(x.g.ctx, find, req) }) // the 2xx comes again if this is lost
}

func (d *door) sendAck(ctx context.Context, find hopper, req *sip.Request) error {
	hops, err := find(ctx)
	if err != nil || len(hops) == 0 {
		return fmt.Errorf("no way for ACK: %w", err)
	}
	if err := d.prepare(ctx, &hops[0], req); err != nil {
		return err
	}
	return d.tp.WriteMsg(req)
}

// again takes a 2xx that came after the first: a repetition is acknowledged again; one of another branch of a fork is
// acknowledged and hung up (section 13.2.2.4).
func (x *dialog) again(invite *sip.Request, res *sip.Response) {
	to := res.To()
	if to == nil {
		return
	}
	if x.post(func() {
		if to.Params.GetOr("tag", "") == x.remoteTag {
			x.acknowledge(invite, res)
			return
		}
		x.dropFork(invite, res)
	}) {
		return
	}
	// The dialog is gone: its ACK was lost, and its BYE may be as well.
	x.dropFork(invite, res)
}

// dropFork acknowledges and hangs up another answer to our INVITE, by a dialog of its own that nobody sees.
func (x *dialog) dropFork(invite *sip.Request, res *sip.Response) {
	y := x.g.newDialog(x.d)
	y.callID, y.tag, y.outbound, y.network = x.callID, x.tag, true, x.network
	y.local, y.remote, y.route = x.local, x.remote, x.route
	y.target = x.route.target
	y.localSeq = invite.CSeq().SeqNo + 1
	y.state = over
	y.adopt(res)
	y.acknowledge(invite, res)
	y.bye("answered elsewhere")
}

// cancelOurs cancels our INVITE, as soon as something answered it: section 9.1.
func (x *dialog) cancelOurs(cause string) {
	a := x.attempt
	if a == nil {
		return
	}
	a.cause = cause
	if a.begun {
		x.sendCancel(a)
	} else {
		a.cancel = true
		a.hung.Store(true)
	}
	// Without a final answer the transaction is given up (section 9.1, last paragraph).
	x.after(linger, func() {
		if x.attempt == a {
			x.attempt = nil
		}
	})
}

func (x *dialog) sendCancel(a *attempt) {
	req := sip.NewRequest(sip.CANCEL, *a.req.Recipient.Clone())
	req.AppendHeader(a.req.Via().Clone())
	for _, name := range []string{"Route", "From", "To", "Call-ID"} {
		for _, v := range values(a.req, name) {
			req.AppendHeader(sip.NewHeader(name, v))
		}
	}
	req.AppendHeader(&sip.CSeqHeader{SeqNo: a.req.CSeq().SeqNo, MethodName: sip.CANCEL})
	req.AppendHeader(sip.NewHeader("Max-Forwards", "70"))
	for _, f := range reasonField(a.cause) {
		req.AppendHeader(sip.NewHeader(f.name, f.value))
	}
	req.SetBody(nil)
	h := a.hop
	x.g.fly(func() {
		ctx, cancel := context.WithTimeout(x.g.ctx, linger)
		defer cancel()
		_, _ = x.d.do(ctx, h, req) // what counts is the answer to the INVITE
	})
}
