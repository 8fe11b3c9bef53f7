package gate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/emiago/sipgo/sip"
)

// route is how the far end of a dialog is reached.
type route struct {
	// target is the Request-URI of the INVITE, then the remote target.
	target  string
	network string
	// flow is the address that everything goes to, whatever the target says: a phone's. source is one that is used while
	// its connection lives.
	flow, source string
	// server is where the INVITE goes, and host its name.
	server, host   string
	user, password string
}

// hopper finds where the next request goes: the flow, the first route, or the target (RFC 3261 section 12.2.1.1).
func (x *dialog) hopper() hopper {
	r, d := x.route, x.d
	next := x.target
	if len(x.routes) > 0 {
		next = x.routes[0]
	}
	unanswered := x.outbound && x.state == calling
	return func(ctx context.Context) ([]hop, error) {
		if r.flow != "" {
			at, err := netip.ParseAddrPort(r.flow)
			return []hop{{network: r.network, addr: at, flow: true}}, err
		}
		if unanswered && r.server != "" {
			return d.server(ctx, r.server, r.network)
		}
		if at, err := netip.ParseAddrPort(r.source); err == nil {
			if c := d.tp.Pool(r.network).Get(at.String()); c != nil {
				_, err := c.TryClose()
				return []hop{{network: r.network, addr: at}}, err
			}
		}
		return d.resolveURI(ctx, next, r.network)
	}
}

// resolveURI finds where a URI of SIP leads: RFC 3263 section 4.
func (d *door) resolveURI(ctx context.Context, uri, network string) ([]hop, error) {
	u := uriOf(uri)
	if t, ok := u.UriParams.Get("transport"); ok && t != "" {
		network = strings.ToUpper(t)
	}
	if u.IsEncrypted() {
		network = "TLS"
	}
	server := u.Host
	if m, ok := u.UriParams.Get("maddr"); ok && m != "" {
		server = m
	}
	if u.Port > 0 {
		server = strings.Trim(server, "[]")
		if strings.Contains(server, ":") {
			server = "[" + server + "]"
		}
		server += ":" + strconv.Itoa(u.Port)
	}
	return d.resolve(ctx, server, network)
}

// dial makes an outbound dialog and starts its INVITE.
func (g *Gate) dial(ctx context.Context, d *door, r route, o Outgoing, used *account) (Dialog, error) {
	if g.ctx.Err() != nil {
		return nil, errors.New("the gate is closed")
	}
	if r.network == "" {
		r.network = "UDP"
	}
	if d.tp.Pool(r.network) == nil || r.network == "WS" || r.network == "WSS" {
		return nil, fmt.Errorf("%s: %w", r.network, errNoSuch)
	}
	x, err := g.newOutbound(d, r, o, used)
	if err != nil {
		return nil, err
	}
	if !g.enter(x, nil) {
		return nil, errors.New("the gate is closed")
	}
	x.post(func() { x.call(o, nil) })
	stop := context.AfterFunc(ctx, func() { x.post(x.expire) })
	g.begin(func() {
		<-x.done
		stop()
	})
	return x, nil
}

// newOutbound makes the dialog of an INVITE of ours: RFC 3261 section 12.1.2, before the answer.
func (g *Gate) newOutbound(d *door, r route, o Outgoing, used *account) (*dialog, error) {
	x := g.newDialog(d)
	x.outbound, x.state, x.used, x.route, x.network = true, calling, used, r, r.network
	x.callID = random() + random() + "@" + d.host
	x.target = r.target
	x.localSeq = uint32(rand.IntN(10_000))
	from := o.From
	if !isSIP(from) {
		if from == "" {
			from = "anonymous"
		}
		from = "sip:" + escapeUser(from) + "@" + d.host
	}
	if checkURI(from) != nil {
		return nil, fmt.Errorf("from: %w", errValue)
	}
	x.local = address{name: escapeName(o.Name), uri: from}
	x.remote = address{uri: r.target}
	x.session.minimum = g.cfg.Limits.MinSession
	x.body = slices.Clone(o.SDP)
	return x, nil
}

// expire: the caller's context ended; a call that stands is not his to end by it.
func (x *dialog) expire() {
	if x.state == calling {
		x.hangUp("")
	}
}

// attempt is one INVITE of ours.
type attempt struct {
	req    *sip.Request
	hop    hop
	hops   []hop // those left
	tried  bool  // the challenge was answered
	begun  bool  // a response came, so that it can be cancelled
	cancel bool
	cause  string
	hung   atomic.Bool // before it was sent: it need not be sent
	early  []byte      // the SDP of a reliable provisional response
	last   uint32      // the last RSeq
	final  bool
}

// call sends the INVITE; auth answers a challenge.
func (x *dialog) call(o Outgoing, auth *sip.Response) {
	if x.state != calling {
		return
	}
	previous := x.attempt
	req, find := x.request(sip.INVITE)
	x.decorate(req, o)
	if auth != nil {
		if err := answerChallenge(req, auth, x.route); err != nil {
			x.refusedBy(auth)
			return
		}
	}
	a := &attempt{req: req, tried: auth != nil}
	search := find
	find = func(ctx context.Context) ([]hop, error) {
		hops, err := search(ctx)
		if a.hung.Load() {
			return nil, context.Canceled
		}
		return hops, err
	}
	x.attempt = a
	if previous != nil && auth != nil {
		search = func(context.Context) ([]hop, error) { return append([]hop{previous.hop}, previous.hops...), nil }
	} else if previous != nil {
		left := previous.hops
		search = func(context.Context) ([]hop, error) { return left, nil }
	}
	went := func(h hop, left []hop) { a.hop, a.hops = h, left }
	x.sendInvite(req, find, went, func(res *sip.Response, err error) bool {
		if a.final {
			return true
		}
		a.final = err != nil || !res.IsProvisional()
		x.callProgress(o, a, res, err)
		return a.final
	})
}

// decorate adds what an INVITE has more than any request.
func (x *dialog) decorate(req *sip.Request, o Outgoing) {
	req.AppendHeader(sip.NewHeader("Allow", allowed))
	req.AppendHeader(sip.NewHeader("Supported", strings.Join(extensions, ", ")))
	for _, name := range slices.Sorted(mapsKeys(o.Headers)) {
		req.AppendHeader(sip.NewHeader(name, o.Headers[name]))
	}
	if len(o.SDP) > 0 {
		req.AppendHeader(sip.NewHeader("Content-Type", sdpType))
	}
	req.SetBody(x.body)
}

// mapsKeys are the keys in no order.
func mapsKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// callProgress takes a response to the INVITE of a call, or that none came: section 13.2.2.
func (x *dialog) callProgress(o Outgoing, a *attempt, res *sip.Response, err error) {
	switch {
	case err != nil:
		x.attemptFailed(o, a, err)
	case res.IsProvisional():
		x.provisional(a, res)
	case res.IsSuccess():
		x.callAnswered(a, res)
	case (res.StatusCode == 401 || res.StatusCode == 407) && !a.tried && x.route.user != "" && x.state == calling:
		x.call(o, res)
	case res.StatusCode == 503 && len(a.hops) > 0 && x.state == calling: // RFC 3263 section 4.3
		x.call(o, nil)
	default:
		x.refusedBy(res)
	}
}

func (x *dialog) attemptFailed(o Outgoing, a *attempt, err error) {
	if x.state == calling && len(a.hops) > 0 && !errors.Is(err, sip.ErrTransactionTimeout) {
		x.call(o, nil)
		return
	}
	x.attempt = nil
	code := 503
	if errors.Is(err, sip.ErrTransactionTimeout) {
		code = 408
	}
	if errors.Is(err, errNoFlow) {
		code = 480
	}
	x.end(Event{Code: code, Remote: true, Reason: err.Error()})
}

func (x *dialog) refusedBy(res *sip.Response) {
	x.attempt = nil
	reason := reasonOf(values(res, "Reason"))
	if reason == "" {
		reason = res.Reason
	}
	x.end(Event{Code: res.StatusCode, Remote: true, Reason: reason})
}

// provisional takes a 1xx: a CANCEL may go now (section 9.1), and a reliable one wants its PRACK (RFC 3262 section 4).
func (x *dialog) provisional(a *attempt, res *sip.Response) {
	a.begun = true
	if a.cancel {
		x.sendCancel(a)
		a.cancel = false
	}
	if hasWord(res, "Require", "100rel") {
		if !x.prack(a, res) {
			return // a repetition
		}
	}
	if x.state == calling && res.StatusCode >= 180 {
		x.tell(Event{Kind: EventRinging, SDP: sdpOf(res)})
	}
}

func sdpOf(m sip.Message) []byte {
	kind, _, _ := strings.Cut(value(m, "Content-Type"), ";")
	if len(m.Body()) == 0 || !strings.EqualFold(strings.TrimSpace(kind), sdpType) {
		return nil
	}
	return m.Body()
}

// prack acknowledges a reliable provisional response; false: it had been.
func (x *dialog) prack(a *attempt, res *sip.Response) bool {
	n, err := strconv.ParseUint(strings.TrimSpace(value(res, "RSeq")), 10, 32)
	if err != nil || a.last != 0 && uint32(n) != a.last+1 {
		return false
	}
	a.last = uint32(n)
	if sdp := sdpOf(res); sdp != nil {
		a.early = sdp
	}
	tag, target, routes := x.remoteTag, x.target, x.routes
	x.adopt(res) // the early dialog's own ways
	req, find := x.request(sip.PRACK)
	x.restore(tag, target, routes)
	req.AppendHeader(sip.NewHeader("RAck", fmt.Sprintf("%d %d INVITE", n, a.req.CSeq().SeqNo)))
	x.send(req, find, nil)
	return true
}

// adopt takes tag, target and route set from a response: section 12.1.2.
func (x *dialog) adopt(res *sip.Response) {
	tag := ""
	if to := res.To(); to != nil {
		tag = to.Params.GetOr("tag", "")
	}
	var routes []string
	for _, v := range values(res, "Record-Route") {
		if a, err := parseAddress(v); err == nil {
			routes = append(routes, a.uri)
		}
	}
	slices.Reverse(routes)
	x.restore(tag, x.target, routes)
	x.refreshTarget(res)
}

func (x *dialog) restore(tag, target string, routes []string) {
	x.mu.Lock()
	x.remoteTag = tag
	x.mu.Unlock()
	x.target, x.route.target, x.routes = target, target, routes
}

// callAnswered takes the 2xx. One that a CANCEL crossed is acknowledged and hung up: section 9.1 and 15.
func (x *dialog) callAnswered(a *attempt, res *sip.Response) {
	x.attempt = nil
	wasCalling := x.state == calling
	x.adopt(res)
	x.state = up
	x.acknowledge(a.req, res)
	if !wasCalling {
		x.bye(a.cause)
		x.state = over
		return
	}
	x.update = allowsUpdate(res)
	x.session.answered(res)
	x.session.start(x)
	sdp := sdpOf(res)
	if sdp == nil {
		sdp = a.early
	}
	x.tell(Event{Kind: EventAnswered, SDP: sdp})
}
