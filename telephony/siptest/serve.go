package siptest

import (
	"github.com/emiago/sipgo/sip"
)

// handle names what answers each kind of request.
func (e *endpoint) handle() {
	for method, f := range map[sip.RequestMethod]func(*sip.Request, sip.ServerTransaction){
		sip.INVITE: e.onInvite, sip.ACK: e.onAck, sip.BYE: e.onBye, sip.CANCEL: e.onCancel, sip.INFO: e.onInfo, sip.UPDATE: e.onUpdate, sip.OPTIONS: e.onOptions,
		sip.NOTIFY: e.onNotify,
	} {
		e.server.OnRequest(method, func(req *sip.Request, tx sip.ServerTransaction) {
			e.mu.Lock()
			e.requests = append(e.requests, req)
			e.mu.Unlock()
			f(req, tx)
		})
	}
}

// respond answers a request; that the far end is gone is its own affair.
func respond(req *sip.Request, tx sip.ServerTransaction, code int, headers ...sip.Header) {
	res := sip.NewResponseFromRequest(req, code, reasonOf(code), nil)
	for _, h := range headers {
		res.AppendHeader(h)
	}
	_ = tx.Respond(res)
}

func reasonOf(code int) string {
	known := map[int]string{
		180: "Ringing", 183: "Session Progress", 200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
		407: "Proxy Authentication Required", 408: "Request Timeout", 415: "Unsupported Media Type", 480: "Temporarily Unavailable",
		481: "Call/Transaction Does Not Exist", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here", 491: "Request Pending",
		500: "Server Internal Error", 503: "Service Unavailable", 603: "Decline",
	}
	if text := known[code]; text != "" {
		return text
	}
	return "Status"
}

// callOf is the dialog that a request belongs to.
func (e *endpoint) callOf(req *sip.Request) *Call {
	id, to := req.CallID(), req.To()
	if id == nil || to == nil {
		return nil
	}
	tag, _ := to.Params.Get("tag")
	return e.find(id.Value(), tag)
}

func (e *endpoint) onInvite(req *sip.Request, tx sip.ServerTransaction) {
	if to := req.To(); to != nil && to.Params.Has("tag") {
		if c := e.callOf(req); c != nil {
			c.takeReinvite(req, tx)
			return
		}
		respond(req, tx, sip.StatusCallTransactionDoesNotExists)
		return
	}
	c, err := newIncoming(e, req, tx)
	if err != nil {
		respond(req, tx, sip.StatusNotAcceptableHere)
		return
	}
	if !e.add(c) {
		c.finish(Ending{})
		return
	}
	if !tx.OnCancel(c.takeCancel) {
		c.takeCancel(nil)
	}
	e.mu.Lock()
	behave := e.behave
	e.mu.Unlock()
	if behave != nil {
		e.wg.Go(func() { behave(c) })
	} else {
		select {
		case e.incoming <- c:
		default:
			_ = c.Decline(sip.StatusServiceUnavailable)
		}
	}
	// sipgo ends the transaction when this returns.
	<-c.settled
}

func (e *endpoint) onAck(req *sip.Request, _ sip.ServerTransaction) {
	if c := e.callOf(req); c != nil {
		c.takeAck(req)
	}
}

func (e *endpoint) onBye(req *sip.Request, tx sip.ServerTransaction) {
	c := e.callOf(req)
	if c == nil {
		respond(req, tx, sip.StatusCallTransactionDoesNotExists)
		return
	}
	respond(req, tx, sip.StatusOK)
	if !c.outgoing && c.claim() == nil {
		// A request that still waits gets its answer all the same (RFC 3261 section 15.1.2).
		_ = c.server.Respond(c.response(sip.StatusRequestTerminated))
	}
	c.finish(Ending{ByPeer: true, Method: sip.BYE, Reason: reasonHeader(req)})
}

// onCancel answers those that match no INVITE; sipgo answers the others.
func (e *endpoint) onCancel(req *sip.Request, tx sip.ServerTransaction) {
	respond(req, tx, sip.StatusCallTransactionDoesNotExists)
}

func (e *endpoint) onInfo(req *sip.Request, tx sip.ServerTransaction) {
	c := e.callOf(req)
	if c == nil {
		respond(req, tx, sip.StatusCallTransactionDoesNotExists)
		return
	}
	respond(req, tx, c.takeInfo(req))
}

func (e *endpoint) onUpdate(req *sip.Request, tx sip.ServerTransaction) {
	if e.callOf(req) == nil {
		respond(req, tx, sip.StatusCallTransactionDoesNotExists)
		return
	}
	respond(req, tx, sip.StatusOK)
}

func (e *endpoint) onNotify(req *sip.Request, tx sip.ServerTransaction) {
	respond(req, tx, sip.StatusOK)
}

func (e *endpoint) onOptions(req *sip.Request, tx sip.ServerTransaction) {
	e.mu.Lock()
	code := e.options
	e.mu.Unlock()
	respond(req, tx, code, sip.NewHeader("Allow", "INVITE, ACK, BYE, CANCEL, INFO, UPDATE, OPTIONS"))
}

func reasonHeader(req *sip.Request) string {
	if req == nil {
		return ""
	}
	if h := req.GetHeader("Reason"); h != nil {
		return h.Value()
	}
	return ""
}
