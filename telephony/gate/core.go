package gate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"tributary/internal/clean"
)

// state is where a dialog stands.
type state int

const (
	waiting  state = iota // inbound: not answered
	calling               // outbound: not answered
	answered              // inbound: 200 is out, ACK is not in
	up
	over // nothing more is told; what is under way may finish
)

// dialog is one SIP dialog (RFC 3261 section 12). One goroutine, run, owns all but what stands under mu; everybody else
// posts to it.
type dialog struct {
	g *Gate
	d *door
	// Identity, never changed but remoteTag by the answer to our INVITE.
	callID, tag, remoteTag string
	outbound               bool
	pending                *pending
	used                   *account

	// Where requests go.
	local, remote address
	target        string
	routes        []string
	route         route
	network       string
	localSeq      uint32
	remoteSeq     uint32

	state    state
	invite   *sip.Request  // inbound: the INVITE that is not answered
	inviteTx *sip.ServerTx // its transaction
	ringing  *reliable     // inbound: the reliable 180 that is under way
	rang     bool
	delayed  bool            // inbound: we made the offer
	waits    map[uint32]*ack // our 2xx that wait for their ACK, by CSeq
	byeAtAck string          // hung up while the 200 waits: the cause to send

	attempt *attempt // outbound: the INVITE under way
	offered *offer   // theirs, to be answered by us
	ours    bool     // our re-INVITE is under way
	session session
	body    []byte // our last SDP
	update  bool   // the far end takes UPDATE

	timers map[*time.Timer]struct{}
	events chan Event
	told   bool // EventEnded is out

	mu    sync.Mutex
	queue []func()
	dead  bool
	wake  chan struct{}
	done  chan struct{}
}

// eventRoom is how many events wait to be read; one more has room for EventEnded.
const eventRoom = 64

func (g *Gate) newDialog(d *door) *dialog {
	return &dialog{
		g: g, d: d, tag: random(), waits: map[uint32]*ack{}, timers: map[*time.Timer]struct{}{}, network: "UDP",
		events: make(chan Event, eventRoom+1), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

func dialogKey(callID, tag string) string { return callID + "\x00" + tag }

func (x *dialog) key() string { return dialogKey(x.callID, x.tag) }

// ID implements Dialog.
func (x *dialog) ID() string { return x.callID + ";" + x.tag }

// Events implements Dialog.
func (x *dialog) Events() <-chan Event { return x.events }

// post gives the dialog something to do; false: it is no more.
func (x *dialog) post(f func()) bool {
	x.mu.Lock()
	if x.dead {
		x.mu.Unlock()
		return false
	}
	x.queue = append(x.queue, f)
	x.mu.Unlock()
	select {
	case x.wake <- struct{}{}:
	default:
	}
	return true
}

// run is the dialog's goroutine.
func (x *dialog) run() {
	defer close(x.done)
	for {
		select {
		case <-x.wake:
		case <-x.g.ctx.Done():
			x.drain()
			x.end(Event{Reason: "the gate closed"})
			x.leave()
			return
		}
		x.drain()
		if x.finished() {
			x.leave()
			return
		}
	}
}

func (x *dialog) drain() {
	for {
		x.mu.Lock()
		list := x.queue
		x.queue = nil
		x.mu.Unlock()
		if list == nil {
			return
		}
		for _, f := range list {
			f()
		}
	}
}

// finished: it is over and no request of ours and no 200 of ours waits.
func (x *dialog) finished() bool {
	return x.state == over && len(x.waits) == 0 && x.attempt == nil && x.ringing == nil
}

// leave takes the dialog out of the gate. What came in the meantime finds a dialog that is over.
func (x *dialog) leave() {
	for t := range x.timers {
		t.Stop()
	}
	g := x.g
	g.mu.Lock()
	delete(g.dialogs, x.key())
	g.gone[x.key()] = time.Now().Add(linger)
	if x.pending != nil {
		x.pending.until = time.Now().Add(linger)
	}
	g.mu.Unlock()
	x.mu.Lock()
	list := x.queue
	x.queue, x.dead = nil, true
	x.mu.Unlock()
	for _, f := range list {
		f()
	}
	if x.used != nil {
		x.used.give()
	}
}

// after posts f in a while, unless the dialog is no more by then.
func (x *dialog) after(d time.Duration, f func()) *time.Timer {
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		x.post(func() {
			delete(x.timers, t)
			f()
		})
	})
	x.timers[t] = struct{}{}
	return t
}

// tell hands an event over. Who does not read loses the dialog: everything in it waits for him.
func (x *dialog) tell(e Event) {
	if x.told {
		return
	}
	if len(x.events) >= eventRoom {
		x.g.log.Error("nobody reads the events of a dialog: it is hung up", "dialog", x.ID())
		x.hangUp("internal error")
		return
	}
	x.events <- e
}

// end tells that it is over, once, and lets go of what only a living dialog needs.
func (x *dialog) end(e Event) {
	if x.told {
		return
	}
	x.told, x.state = true, over
	e.Kind = EventEnded
	e.Reason = clean.Line(e.Reason, 200)
	x.events <- e
	close(x.events)
	x.session.stop()
	if x.offered != nil {
		x.respond(x.offered.req, x.offered.tx, &fault{code: 487, reason: "Request Terminated"}, nil)
		x.offered = nil
	}
}

// respond answers a request of the dialog and lets its transaction finish.
func (x *dialog) respond(req *sip.Request, tx *sip.ServerTx, f *fault, body []byte) *sip.Response {
	res := x.response(req, f, body)
	_ = tx.Respond(res) // a response that is lost is asked for again
	if f.code >= 300 || f.code >= 200 && req.Method != sip.INVITE {
		tx.TerminateGracefully()
	}
	return res
}

// response is one of the dialog's: RFC 3261 section 12.1.1.
func (x *dialog) response(req *sip.Request, f *fault, body []byte) *sip.Response {
	res := sip.NewResponseFromRequest(req, f.code, reasonText(f.reason), nil)
	if to := res.To(); to != nil && f.code > 100 {
		to.Params.Add("tag", x.tag)
	}
	if f.code > 100 && f.code < 300 {
		res.AppendHeader(sip.NewHeader("Contact", "<"+x.d.contact(x.network)+">"))
		res.AppendHeader(sip.NewHeader("Allow", allowed))
		if f.code >= 200 {
			res.AppendHeader(sip.NewHeader("Supported", strings.Join(extensions, ", ")))
		}
	}
	for _, h := range f.fields {
		res.AppendHeader(sip.NewHeader(h.name, h.value))
	}
	res.AppendHeader(sip.NewHeader("Server", product))
	if len(body) > 0 {
		res.AppendHeader(sip.NewHeader("Content-Type", sdpType))
	}
	res.SetBody(body)
	return res
}

// request is a new one within the dialog: section 12.2.1.1.
func (x *dialog) request(method sip.RequestMethod) (*sip.Request, hopper) {
	x.localSeq++
	return x.requestSeq(method, x.localSeq)
}

func (x *dialog) requestSeq(method sip.RequestMethod, seq uint32) (*sip.Request, hopper) {
	uri, routes := x.target, x.routes
	if len(routes) > 0 && !isLoose(routes[0]) { // a strict router wants to be the Request-URI
		uri, routes = routes[0], append(slices.Clone(routes[1:]), x.target)
	}
	req := sip.NewRequest(method, uriOf(uri))
	req.AppendHeader(x.d.via(x.network, x.g.branch()))
	for _, r := range routes {
		req.AppendHeader(sip.NewHeader("Route", "<"+r+">"))
	}
	req.AppendHeader(sip.NewHeader("From", withTag(x.local, x.tag)))
	req.AppendHeader(sip.NewHeader("To", withTag(x.remote, x.remoteTag)))
	req.AppendHeader(sip.NewHeader("Call-ID", x.callID))
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
	req.AppendHeader(sip.NewHeader("Contact", "<"+x.d.contact(x.network)+">"))
	req.AppendHeader(sip.NewHeader("Max-Forwards", "70"))
	req.AppendHeader(sip.NewHeader("User-Agent", product))
	req.SetBody(nil)
	return req, x.hopper()
}

func withTag(a address, tag string) string {
	a.params = slices.DeleteFunc(slices.Clone(a.params), func(p param) bool { return p.name == "tag" })
	if tag != "" {
		a.params = append(a.params, param{"tag", tag})
	}
	return a.String()
}

func isLoose(uri string) bool {
	for p := range strings.SplitSeq(strings.ToLower(uri), ";") {
		if p == "lr" || strings.HasPrefix(p, "lr=") {
			return true
		}
	}
	return false
}

// hopper finds the next hops of a request; it may ask the DNS, so it runs outside of the dialog's goroutine.
type hopper func(ctx context.Context) ([]hop, error)

// send sends a request that is no INVITE, answers a challenge once, and posts what came of it.
func (x *dialog) send(req *sip.Request, find hopper, then func(*sip.Response, error)) {
	seq := x.localSeq + 1 // for the answer to a challenge
	ok := x.g.fly(func() {
		ctx, cancel := context.WithTimeout(x.g.ctx, linger)
		defer cancel()
		res, err := x.d.exchange(ctx, find, req)
		if err == nil && (res.StatusCode == 401 || res.StatusCode == 407) && x.route.user != "" {
			if again, e := authorize(req, res, x.route, seq, x.g.branch()); e == nil {
				res, err = x.d.exchange(ctx, find, again)
			}
		}
		if then != nil {
			x.post(func() { then(res, err) })
		}
	})
	if x.route.user != "" {
		x.localSeq++ // kept free for the second try
	}
	if !ok && then != nil {
		x.post(func() { then(nil, context.Canceled) })
	}
}

func (d *door) exchange(ctx context.Context, find hopper, req *sip.Request) (*sip.Response, error) {
	hops, err := find(ctx)
	if err != nil || len(hops) == 0 {
		return nil, fmt.Errorf("no way to go: %w", err)
	}
	return d.do(ctx, hops[0], req)
}
