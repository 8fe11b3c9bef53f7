package gate

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"
)

// offer is a re-INVITE or UPDATE of theirs that waits for our answer.
type offer struct {
	req *sip.Request
	tx  *sip.ServerTx
	ok  *fault // the 200 with what the session timer adds
	// asks: it has no SDP, so that the answer of ours is the offer and theirs comes in the ACK.
	asks bool
}

var (
	errGlare    = errors.New("both ends offer at once")
	errNotUp    = errors.New("the dialog does not stand")
	errDeclined = errors.New("the offer was declined")
)

// reoffered takes a re-INVITE (RFC 3261 section 14.2) or an UPDATE (RFC 3311 section 5.2).
func (x *dialog) reoffered(req *sip.Request, tx *sip.ServerTx) {
	sdp := req.Body()
	refresh := req.Method == sip.UPDATE && len(sdp) == 0
	switch {
	case x.offered != nil, x.state == waiting && !refresh, x.state == answered && !refresh:
		// Our answer to an earlier one is pending.
		after := strconv.Itoa(rand.IntN(10))
		x.respond(req, tx, &fault{code: 500, reason: "Another offer is pending", fields: []field{{"Retry-After", after}}}, nil)
		return
	case !refresh && (x.ours || x.state == calling):
		x.respond(req, tx, &fault{code: 491, reason: "Request Pending"}, nil)
		return
	}
	ok := &fault{code: 200, reason: "OK"}
	if f := x.session.asked(req, ok); f != nil {
		x.respond(req, tx, f, nil)
		return
	}
	x.refreshTarget(req)
	x.update = x.update || allowsUpdate(req)
	if refresh {
		x.respond(req, tx, ok, nil)
		x.session.start(x)
		return
	}
	x.offered = &offer{req: req, tx: tx, ok: ok, asks: len(sdp) == 0}
	x.tell(Event{Kind: EventOffer, SDP: sdp})
}

// refreshTarget takes the Contact of a request or response that refreshes the target: section 12.2.
func (x *dialog) refreshTarget(m sip.Message) {
	list, err := parseList(values(m, "Contact"), (*cursor).address)
	if err == nil && len(list) > 0 && isSIP(list[0].uri) {
		x.target = list[0].uri
		x.route.target = x.target
	}
}

// AnswerOffer implements Dialog.
func (x *dialog) AnswerOffer(sdp []byte) {
	sdp = slices.Clone(sdp)
	x.post(func() {
		o := x.offered
		if o == nil || x.state != up {
			return
		}
		x.offered, x.body = nil, sdp
		if o.req.Method == sip.UPDATE {
			x.respond(o.req, o.tx, o.ok, sdp)
			x.session.start(x)
			return
		}
		x.sendOK(o.req, o.tx, o.ok, sdp, func(body []byte) {
			x.session.start(x)
			if o.asks {
				x.tell(Event{Kind: EventConfirmed, SDP: body})
			}
		})
	})
}

// RefuseOffer implements Dialog.
func (x *dialog) RefuseOffer(code int) {
	x.post(func() {
		o := x.offered
		if o == nil || x.state != up {
			return
		}
		if code < 400 || code > 699 {
			code = 488
		}
		x.offered = nil
		x.respond(o.req, o.tx, &fault{code: code, reason: "Not Acceptable Here"}, nil)
	})
}

// Reoffer implements Dialog.
func (x *dialog) Reoffer(ctx context.Context, sdp []byte) ([]byte, error) {
	sdp = slices.Clone(sdp)
	for {
		answer, err := x.offerOnce(ctx, sdp)
		if !errors.Is(err, errGlare) {
			return answer, err
		}
		// Who owns the Call-ID waits longer, so that one is first: section 14.1, in steps of 10 ms.
		pause := time.Duration(rand.IntN(201)) * 10 * time.Millisecond
		if x.outbound {
			pause = 2100*time.Millisecond + time.Duration(rand.IntN(191))*10*time.Millisecond
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, errors.Join(ctx.Err(), err)
		case <-x.done:
			t.Stop()
			return nil, errNotUp
		case <-t.C:
		}
	}
}

type result struct {
	sdp []byte
	err error
}

func (x *dialog) offerOnce(ctx context.Context, sdp []byte) ([]byte, error) {
	out := make(chan result, 1)
	begun := x.post(func() {
		switch {
		case x.state != up:
			out <- result{err: errNotUp}
		case x.ours, x.offered != nil, len(x.waits) > 0:
			out <- result{err: errGlare}
		default:
			x.body = sdp
			x.reinvite(sdp, nil, func(r result) { out <- r })
		}
	})
	if !begun {
		return nil, errNotUp
	}
	select {
	case r := <-out:
		return r.sdp, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-x.done:
		return nil, errNotUp
	}
}

// reinvite sends a re-INVITE; auth is the challenge that it answers. The transaction is ended by its final response; a
// provisional one is of no interest.
func (x *dialog) reinvite(sdp []byte, auth *sip.Response, then func(result)) {
	x.ours = true
	req, find := x.request(sip.INVITE)
	if auth != nil {
		if err := answerChallenge(req, auth, x.route); err != nil {
			x.ours = false
			then(result{err: errors.Join(errDeclined, err)})
			return
		}
	}
	req.AppendHeader(sip.NewHeader("Allow", allowed))
	req.AppendHeader(sip.NewHeader("Supported", "timer"))
	x.session.ask(req)
	if len(sdp) > 0 {
		req.AppendHeader(sip.NewHeader("Content-Type", sdpType))
	}
	req.SetBody(sdp)
	x.sendInvite(req, find, func(hop, []hop) {}, func(res *sip.Response, err error) bool {
		if err == nil && res.IsProvisional() {
			return false
		}
		x.ours = false
		if err == nil && (res.StatusCode == 401 || res.StatusCode == 407) && auth == nil && x.route.user != "" && x.state == up {
			x.reinvite(sdp, res, then)
			return true
		}
		x.reinvited(req, res, err, then)
		return true
	})
}

// reinvited takes the final response to our re-INVITE: section 14.1.
func (x *dialog) reinvited(req *sip.Request, res *sip.Response, err error, then func(result)) {
	switch {
	case err != nil:
		then(result{err: err})
		x.lost("it does not answer")
	case res.IsSuccess():
		x.refreshTarget(res)
		x.acknowledge(req, res)
		if x.state != over {
			x.session.answered(res)
			x.session.start(x)
		}
		then(result{sdp: res.Body()})
	case res.StatusCode == 491:
		then(result{err: errGlare})
	case res.StatusCode == 481 || res.StatusCode == 408: // section 12.2.1.2
		then(result{err: errNotUp})
		x.lost("it knows nothing of the call")
	default:
		then(result{err: errors.Join(errDeclined, errors.New(strconv.Itoa(res.StatusCode)+" "+reasonText(res.Reason)))})
	}
}

// lost ends a dialog whose far end is gone.
func (x *dialog) lost(reason string) {
	if x.state != up && x.state != answered {
		return
	}
	x.bye(reason)
	x.end(Event{Remote: true, Reason: reason})
}
