package gate

import (
	"strings"

	"github.com/emiago/sipgo/sip"

	"tributary/internal/clean"
)

// request of the transaction layer that no dialog has seen yet: every one is answered here or given to its dialog.
func (g *Gate) request(d *door, req *sip.Request, tx *sip.ServerTx) {
	if req.To() == nil || req.From() == nil || req.CSeq() == nil || req.CallID() == nil {
		tx.Terminate()
		return
	}
	tag := req.To().Params.GetOr("tag", "")
	switch {
	case req.Method == sip.ACK:
		tx.Terminate() // those of a 2xx are given to the dialog before
	case tag != "":
		g.mu.Lock()
		x := g.dialogs[dialogKey(value(req, "Call-ID"), tag)]
		g.mu.Unlock()
		if x == nil || !x.post(func() { x.handle(req, tx) }) {
			g.finish(d, req, tx, gone)
		}
	case req.Method == sip.INVITE && d.name == "trunk":
		g.arrive(d, req, tx)
	case req.Method == sip.INVITE:
		g.phoneInvite(d, req, tx)
	case req.Method == sip.REGISTER:
		g.register(d, req, tx)
	default:
		g.finish(d, req, tx, gone)
	}
}

var gone = &fault{code: 481, reason: "Call/Transaction Does Not Exist"}

// finish answers a request outside of any dialog.
func (g *Gate) finish(_ *door, req *sip.Request, tx *sip.ServerTx, f *fault) {
	res := sip.NewResponseFromRequest(req, f.code, reasonText(f.reason), nil)
	if to := res.To(); to != nil && !req.To().Params.Has("tag") {
		to.Params.Add("tag", g.tagFor(value(req, "Call-ID"), req.From().Params.GetOr("tag", ""), req.CSeq().SeqNo))
	}
	for _, h := range f.fields {
		res.AppendHeader(sip.NewHeader(h.name, h.value))
	}
	res.AppendHeader(sip.NewHeader("Server", product))
	_ = tx.Respond(res) // the request is repeated if this is lost
	tx.TerminateGracefully()
}

// routeKnown is for requests that belong to something that we hold, at either door.
func (g *Gate) routeKnown(_ *door, m *message, src source) *fault {
	g.mu.Lock()
	x := g.dialogs[dialogKey(m.callID, m.to.tag())]
	_, late := g.gone[dialogKey(m.callID, m.to.tag())]
	p := g.pending[m.key()]
	g.mu.Unlock()
	switch {
	case m.method == "CANCEL":
		return g.cancel(m, src, p)
	case m.method == "ACK":
		if p != nil && p.branch == m.via[0].branch() {
			return nil // it belongs to the transaction, since it is no 2xx
		}
		if x != nil {
			x.post(func() { x.acked(m.seq, m.body) })
		}
		return dropped
	case x == nil && !late:
		return gone
	case x != nil && m.from.tag() != x.farTag():
		return gone
	}
	return nil
}

// farTag is the far end's tag of a dialog that stands, for comparison.
func (x *dialog) farTag() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.remoteTag
}

// cancel answers a CANCEL here, where no answer of ours to the INVITE can overtake it: section 9.2.
func (g *Gate) cancel(m *message, src source, p *pending) *fault {
	if p == nil || p.branch != m.via[0].branch() {
		return gone
	}
	g.mu.Lock()
	p.cancelled = true
	x := p.dialog
	g.mu.Unlock()
	g.refuse(m, src, &fault{code: 200, reason: "OK"})
	if x != nil {
		x.cancelled(reasonOf(m.all("Reason")))
	}
	return dropped
}

// reasonOf is the text of a Reason field (RFC 3326), or its cause.
func reasonOf(values []string) string {
	for _, v := range values {
		c := cursor{s: v}
		c.space()
		proto := c.while(isTokenByte)
		p, err := c.params()
		if err != nil || proto == "" {
			continue
		}
		if text, ok := p.get("text"); ok {
			return clean.Line(unquote(strings.Trim(text, `"`)), 200)
		}
		if cause, ok := p.get("cause"); ok {
			return clean.Line(proto+" "+cause, 200)
		}
	}
	return ""
}
