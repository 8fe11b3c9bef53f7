package gate

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"tributary/channels/voice"
)

// newInbound makes the dialog of an INVITE: RFC 3261 section 12.1.1.
func newInbound(g *Gate, d *door, m *message, req *sip.Request, tx *sip.ServerTx, used *account) *dialog {
	x := g.newDialog(d)
	x.callID, x.remoteTag, x.used = m.callID, m.from.tag(), used
	x.local, x.remote = m.to, m.from
	x.network = strings.ToUpper(req.Transport())
	x.target = m.contacts[0].uri
	for _, v := range m.all("Record-Route") {
		if a, err := parseAddress(v); err == nil {
			x.routes = append(x.routes, a.uri)
		}
	}
	x.route = route{target: x.target, network: x.network}
	if x.network != "UDP" {
		x.route.source = req.Source()
	}
	x.remoteSeq = m.seq
	x.localSeq = uint32(rand.IntN(10_000) + 1)
	x.invite, x.inviteTx = req, tx
	x.delayed = sdpOf(req) == nil
	x.update = allowsUpdate(req)
	x.session.minimum = g.cfg.Limits.MinSession
	g.mu.Lock()
	x.pending = g.pending[m.key()]
	g.mu.Unlock()
	return x
}

// allowsUpdate reads Allow: RFC 3311 section 4.
func allowsUpdate(m sip.Message) bool { return hasWord(m, "Allow", "UPDATE") }

// hasWord looks for a word in a list of words, whatever its case.
func hasWord(m sip.Message, name, word string) bool {
	for _, v := range values(m, name) {
		for w := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(w), word) {
				return true
			}
		}
	}
	return false
}

// Ring implements Dialog.
func (x *dialog) Ring() {
	x.post(func() {
		if x.state != waiting || x.rang {
			return
		}
		x.rang = true
		if !hasWord(x.invite, "Require", "100rel") {
			x.respond(x.invite, x.inviteTx, &fault{code: 180, reason: "Ringing"}, nil)
			return
		}
		if x.delayed {
			return // a reliable response would have to hold the offer (RFC 3262 section 5), which Accept brings
		}
		seq := uint32(rand.IntN(1<<30) + 1)
		f := &fault{code: 180, reason: "Ringing", fields: []field{{"Require", "100rel"}, {"RSeq", strconv.Itoa(int(seq))}}}
		x.ringing = &reliable{seq: seq, res: x.response(x.invite, f, nil), until: time.Now().Add(x.g.cfg.Limits.NoAck)}
		x.repeatRinging(x.ringing, t1)
	})
}

// reliable is a provisional response that waits for its PRACK: RFC 3262 section 3.
type reliable struct {
	seq   uint32
	res   *sip.Response
	until time.Time
}

func (x *dialog) repeatRinging(r *reliable, every time.Duration) {
	if x.ringing != r || x.state != waiting {
		return
	}
	if time.Now().After(r.until) {
		x.ringing = nil
		x.respond(x.invite, x.inviteTx, &fault{code: 504, reason: "No PRACK"}, nil)
		x.end(Event{Reason: "the ringing was not acknowledged"})
		return
	}
	_ = x.inviteTx.Respond(r.res) // repeated until it arrives
	x.after(every, func() { x.repeatRinging(r, 2*every) })
}

// pracked takes a PRACK: RFC 3262 section 3, RAck names RSeq, CSeq and method.
func (x *dialog) pracked(req *sip.Request, tx *sip.ServerTx) {
	words := strings.Fields(value(req, "RAck"))
	r := x.ringing
	if r == nil || len(words) != 3 || words[0] != strconv.Itoa(int(r.seq)) || words[2] != "INVITE" ||
		words[1] != strconv.Itoa(int(x.invite.CSeq().SeqNo)) {
		x.respond(req, tx, gone, nil)
		return
	}
	x.ringing = nil
	x.respond(req, tx, &fault{code: 200, reason: "OK"}, nil)
}

// Accept implements Dialog.
func (x *dialog) Accept(sdp []byte) {
	sdp = slices.Clone(sdp)
	x.post(func() {
		if x.state != waiting {
			return
		}
		f := &fault{code: 200, reason: "OK"}
		if refusal := x.session.asked(x.invite, f); refusal != nil {
			x.respond(x.invite, x.inviteTx, refusal, nil)
			x.end(Event{Remote: true, Reason: "its session interval is too short"})
			return
		}
		x.state, x.ringing, x.body = answered, nil, sdp
		x.sendOK(x.invite, x.inviteTx, f, sdp, func(body []byte) {
			if x.state == answered {
				x.state = up
				x.session.start(x)
			}
			if !x.delayed {
				body = nil
			}
			x.tell(Event{Kind: EventConfirmed, SDP: body})
		})
	})
}

// ack is a 2xx of ours to an INVITE that waits for its ACK: RFC 3261 section 13.3.1.4.
type ack struct {
	res   *sip.Response
	tx    *sip.ServerTx
	until time.Time
	then  func(body []byte)
}

func (x *dialog) sendOK(req *sip.Request, tx *sip.ServerTx, f *fault, body []byte, then func([]byte)) {
	a := &ack{tx: tx, until: time.Now().Add(x.g.cfg.Limits.NoAck), then: then}
	a.res = x.respond(req, tx, f, body)
	seq := req.CSeq().SeqNo
	x.waits[seq] = a
	x.after(t1, func() { x.repeatOK(seq, a, 2*t1) })
}

func (x *dialog) repeatOK(seq uint32, a *ack, every time.Duration) {
	if x.waits[seq] != a {
		return
	}
	if time.Now().After(a.until) {
		delete(x.waits, seq)
		a.tx.TerminateGracefully()
		x.bye("No ACK")
		x.end(Event{Reason: "the answer was not acknowledged"})
		return
	}
	_ = a.tx.Respond(a.res) // repeated until it arrives
	x.after(min(every, time.Until(a.until)+time.Millisecond), func() { x.repeatOK(seq, a, min(2*every, t2)) })
}

// acked takes the ACK of a 2xx.
func (x *dialog) acked(seq uint32, body []byte) {
	a := x.waits[seq]
	if a == nil {
		return
	}
	delete(x.waits, seq)
	a.tx.TerminateGracefully()
	if x.byeAtAck != "" {
		x.bye(x.byeAtAck)
		x.byeAtAck = ""
	}
	if x.state != over {
		a.then(body)
	}
}

// Refuse implements Dialog.
func (x *dialog) Refuse(code int, reason string) {
	x.post(func() {
		if x.state != waiting {
			return
		}
		if code < 300 || code > 699 {
			code, reason = 480, "Temporarily Unavailable"
		}
		x.ringing = nil
		x.respond(x.invite, x.inviteTx, &fault{code: code, reason: reason}, nil)
		x.end(Event{Reason: reason})
	})
}

// cancelled takes a CANCEL; it may come from any goroutine.
func (x *dialog) cancelled(reason string) {
	x.post(func() {
		if x.state != waiting {
			return // our answer was first: section 9.2
		}
		x.ringing = nil
		x.respond(x.invite, x.inviteTx, &fault{code: 487, reason: "Request Terminated"}, nil)
		x.end(Event{Remote: true, Reason: reason})
	})
}

// handle takes a request within the dialog: section 12.2.2.
func (x *dialog) handle(req *sip.Request, tx *sip.ServerTx) {
	seq := req.CSeq().SeqNo
	switch {
	case x.state == over:
		x.respond(req, tx, gone, nil)
		return
	case seq <= x.remoteSeq:
		x.respond(req, tx, &fault{code: 500, reason: "Out of order", fields: []field{{"Retry-After", "0"}}}, nil)
		return
	}
	x.remoteSeq = seq
	switch req.Method {
	case sip.BYE:
		x.respond(req, tx, &fault{code: 200, reason: "OK"}, nil)
		if x.state == waiting {
			x.ringing = nil
			x.respond(x.invite, x.inviteTx, &fault{code: 487, reason: "Request Terminated"}, nil)
		}
		x.forget()
		x.end(Event{Remote: true, Reason: reasonOf(values(req, "Reason"))})
	case sip.INVITE, sip.UPDATE:
		x.reoffered(req, tx)
	case sip.PRACK:
		x.pracked(req, tx)
	case sip.INFO:
		x.informed(req, tx)
	case sip.OPTIONS:
		x.respond(req, tx, &fault{code: 200, reason: "OK", fields: []field{{"Accept", sdpType}}}, nil)
	default:
		x.respond(req, tx, &fault{code: 405, reason: "Method Not Allowed"}, nil)
	}
}

// forget lets go of 2xx that nobody will acknowledge any more.
func (x *dialog) forget() {
	for seq, a := range x.waits {
		a.tx.TerminateGracefully()
		delete(x.waits, seq)
	}
}

// informed takes an INFO: a key in one of its two old forms, or something that we need not know (RFC 6086 section 4.2.2).
func (x *dialog) informed(req *sip.Request, tx *sip.ServerTx) {
	kind, _, _ := strings.Cut(value(req, "Content-Type"), ";")
	digit := byte(0)
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/dtmf-relay":
		for line := range strings.Lines(string(req.Body())) {
			name, v, _ := strings.Cut(line, "=")
			if strings.EqualFold(strings.TrimSpace(name), "Signal") {
				digit = digitOf(v)
			}
		}
	case "application/dtmf":
		digit = digitOf(string(req.Body()))
	case "":
		x.respond(req, tx, &fault{code: 200, reason: "OK"}, nil)
		return
	default:
		x.respond(req, tx, &fault{code: 415, reason: "Unsupported Media Type", fields: []field{{"Accept", "application/dtmf-relay, application/dtmf"}}}, nil)
		return
	}
	if digit == 0 {
		x.respond(req, tx, bad("No such key"), nil)
		return
	}
	x.respond(req, tx, &fault{code: 200, reason: "OK"}, nil)
	x.tell(Event{Kind: EventDigit, Digit: digit})
}

// digitOf reads a key by its name, or by its number as some phones send it.
func digitOf(s string) byte {
	s = strings.ToUpper(strings.TrimSpace(s))
	switch s {
	case "10":
		return '*'
	case "11":
		return '#'
	}
	if len(s) == 1 && strings.Contains(voice.Digits, s) {
		return s[0]
	}
	return 0
}

// HangUp implements Dialog.
func (x *dialog) HangUp(cause string) {
	x.post(func() { x.hangUp(cause) })
}

func (x *dialog) hangUp(cause string) {
	switch x.state {
	case waiting:
		x.ringing = nil
		f := &fault{code: 480, reason: "Temporarily Unavailable", fields: reasonField(cause)}
		x.respond(x.invite, x.inviteTx, f, nil)
	case calling:
		x.cancelOurs(cause)
	case answered: // a BYE may not overtake the ACK: section 15
		x.byeAtAck = cause
		if cause == "" {
			x.byeAtAck = "hung up"
		}
	case up:
		x.bye(cause)
	case over:
		return
	}
	x.end(Event{Reason: cause})
}

// bye sends BYE and does not wait for what is said to it.
func (x *dialog) bye(cause string) {
	req, find := x.request(sip.BYE)
	for _, f := range reasonField(cause) {
		req.AppendHeader(sip.NewHeader(f.name, f.value))
	}
	x.send(req, find, nil)
}

// reasonField is a cause as RFC 3326 writes it; 16 is "normal call clearing" of Q.850.
func reasonField(cause string) []field {
	if cause = reasonText(cause); cause == "" {
		return nil
	}
	return []field{{"Reason", `Q.850;cause=16;text="` + cause + `"`}}
}
