package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"tributary/channels/voice"
	"tributary/internal/clean"
)

// Incoming is a call that a trunk brings. It is to be answered by Accept or Refuse.
type Incoming struct {
	Dialog
	Trunk voice.ID
	// Key is unique for ever: node, epoch, Call-ID and both tags.
	Key string
	// From is the caller's number or user, "" when withheld; Name is the display name, cleaned; To is what was dialled.
	From, Name, To string
	// Asserted: From is the trunk's own word (RFC 3325) and the trunk is one whose word counts.
	Asserted bool
	// Headers are those that the trunk's settings name.
	Headers map[string]string
	// SDP is the offer; nil: we are to offer, in Accept.
	SDP []byte
	At  time.Time
}

// openTrunks opens the door at which only configured addresses are heard.
func (g *Gate) openTrunks(ctx context.Context) (*door, error) {
	d := g.newDoor("trunk")
	seen := &met{}
	d.met = seen
	d.admits = func(ip netip.Addr) bool { return g.table.Load().knows(ip) || seen.knows(ip) }
	d.route = func(m *message, src source) *fault { return g.routeTrunk(d, m, src) }
	if err := d.listen(ctx, g.cfg.Trunk); err != nil {
		return d, err
	}
	secure := &listener{d: d, network: "tls", at: g.cfg.TrunkTLS}
	if g.cfg.TrunkTLS != "" {
		pair, err := tls.LoadX509KeyPair(g.cfg.Certificate, g.cfg.Key)
		if err != nil {
			return d, fmt.Errorf("certificate of the TLS listener: %w", err)
		}
		secure.config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	if err := secure.bind(ctx); err != nil {
		return d, err
	}
	d.listeners = append(d.listeners, secure)
	return d, nil
}

// routeTrunk says what becomes of a valid request.
func (g *Gate) routeTrunk(d *door, m *message, src source) *fault {
	if m.to.tag() != "" {
		return g.routeKnown(d, m, src)
	}
	switch m.method {
	case "REGISTER":
		return &fault{code: 405, reason: "Method Not Allowed", fields: []field{{"Allow", allowed}}}
	case "OPTIONS":
		return g.options(allowed)
	case "INVITE":
		return g.routeInvite(m, src)
	}
	return g.routeKnown(d, m, src)
}

// options answers whether we take calls: RFC 3261 section 11.2.
func (g *Gate) options(methods string) *fault {
	if g.draining.Load() {
		return busy("Draining", "60")
	}
	return &fault{code: 200, reason: "OK", fields: []field{
		{"Allow", methods}, {"Accept", sdpType}, {"Supported", strings.Join(extensions, ", ")},
	}}
}

// pending is an INVITE from its arrival until no repetition of it can come.
type pending struct {
	m      *message
	branch string
	// dialog is set with the gate's lock once there is one; cancelled: a CANCEL came before.
	dialog    *dialog
	cancelled bool
	until     time.Time // zero: it is not over
}

func (m *message) key() string {
	return fmt.Sprintf("%s\x00%s\x00%d", m.callID, m.from.tag(), m.seq)
}

// routeInvite takes a new INVITE in, so that a CANCEL right behind finds it.
func (g *Gate) routeInvite(m *message, src source) *fault {
	if m.from.tag() == "" {
		return bad("From has no tag") // RFC 2543 knew none; the transactions of the SIP library need it
	}
	trunks := g.table.Load().at(src.addr.Addr())
	if len(trunks) == 0 {
		return &fault{code: 403, reason: "Forbidden"}
	}
	open := false
	for _, t := range trunks {
		open = open || t.Username == ""
	}
	if !open {
		if f := g.auth.admit(m, src.addr.Addr()); f != nil {
			return f
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if p := g.pending[m.key()]; p != nil {
		if p.branch != m.via[0].branch() {
			return &fault{code: 482, reason: "Loop Detected"} // section 8.2.2.2
		}
		return nil
	}
	switch {
	case g.draining.Load():
		return busy("Draining", "60")
	case len(g.pending) >= g.cfg.Limits.Pending, len(g.dialogs) >= g.cfg.Limits.Dialogs:
		return busy("Service Unavailable", "5")
	}
	g.pending[m.key()] = &pending{m: m, branch: m.via[0].branch(), until: time.Now().Add(2 * linger)}
	return nil
}

// arrive takes an INVITE from its transaction on.
func (g *Gate) arrive(d *door, req *sip.Request, tx *sip.ServerTx) {
	key := fmt.Sprintf("%s\x00%s\x00%d", value(req, "Call-ID"), req.From().Params.GetOr("tag", ""), req.CSeq().SeqNo)
	g.mu.Lock()
	p := g.pending[key]
	known := p != nil && p.dialog == nil && p.m != nil
	g.mu.Unlock()
	if !known {
		g.finish(d, req, tx, &fault{code: 482, reason: "Loop Detected"})
		return
	}
	trunk, f := g.choose(p.m, sourceIP(req))
	var used *account
	if f == nil && trunk.Paused {
		f = busy("Paused", "60")
	}
	if f == nil {
		used = g.account(trunk.ID)
		f = used.take(trunk, g.cfg.Now())
	}
	if f != nil {
		g.finish(d, req, tx, f)
		return
	}
	in := &Incoming{Trunk: trunk.ID, At: g.cfg.Now(), To: userPart(p.m.uri), Headers: map[string]string{}}
	in.From, in.Name, in.Asserted = caller(p.m, trunk.TrustsCaller)
	in.SDP = sdpOf(req)
	for _, name := range trunk.Headers {
		if v := p.m.get(longName(name)); v != "" {
			in.Headers[name] = clean.Line(v, 500)
		}
	}
	x := newInbound(g, d, p.m, req, tx, used)
	if f := x.session.asked(req, &fault{}); f != nil {
		used.give()
		g.finish(d, req, tx, f)
		return
	}
	in.Dialog = x
	in.Key = strings.Join([]string{g.cfg.Node, fmt.Sprint(g.cfg.Epoch), x.callID, p.m.from.tag(), x.tag}, "/")
	if !g.enter(x, p) {
		used.give()
		g.finish(d, req, tx, busy("Service Unavailable", "5"))
		return
	}
	// The library would say so after 200 ms, and a late one would take the place of our final answer in its repetitions.
	x.post(func() {
		if x.state == waiting && !x.rang {
			x.respond(req, tx, &fault{code: 100, reason: "Trying"}, nil)
		}
	})
	go g.cfg.Incoming(in)
}

// enter makes a dialog known and starts it; a CANCEL that came first takes effect at once.
func (g *Gate) enter(x *dialog, p *pending) bool {
	g.mu.Lock()
	if g.closed || g.dialogs[x.key()] != nil {
		g.mu.Unlock()
		return false
	}
	g.dialogs[x.key()] = x
	cancelled := false
	if p != nil {
		p.dialog, cancelled, p.until, p.m = x, p.cancelled, time.Time{}, nil
	}
	g.life.Go(x.run)
	g.mu.Unlock()
	if cancelled {
		x.cancelled("")
	}
	return true
}

// choose finds the trunk of an INVITE: by its address, then by its user where several share one.
func (g *Gate) choose(m *message, ip netip.Addr) (voice.Trunk, *fault) {
	trunks := g.table.Load().at(ip)
	c := credentials(m.all("Authorization"))
	for _, t := range trunks {
		switch {
		case t.Username == "" && c == nil:
			return t, nil
		case c == nil || t.Username != c.Username:
			continue
		}
		known, fresh := g.auth.check(c.Nonce, ip)
		if !known || !fresh {
			return t, g.auth.challenge(ip, known, m.get("User-Agent"))
		}
		algorithm := strings.ToUpper(c.Algorithm)
		if algorithm == "" {
			algorithm = "MD5"
		}
		if !verify(c, "INVITE", ha1(algorithm, t.Username, t.Password)) {
			g.auth.wrong(c.Username, ip)
			return t, g.auth.challenge(ip, false, m.get("User-Agent"))
		}
		if !g.auth.use(c.Nonce, c.Nc) {
			return t, g.auth.challenge(ip, true, m.get("User-Agent"))
		}
		g.auth.right(c.Username, ip)
		return t, nil
	}
	for _, t := range trunks { // credentials that are not for us do no harm
		if t.Username == "" {
			return t, nil
		}
	}
	if len(trunks) == 0 {
		return voice.Trunk{}, &fault{code: 403, reason: "Forbidden"}
	}
	return voice.Trunk{}, g.auth.challenge(ip, false, m.get("User-Agent"))
}

// caller is who calls: P-Asserted-Identity (RFC 3325) of a trunk whose word counts, else From. Who wants to be unknown is.
func caller(m *message, trusts bool) (number, name string, asserted bool) {
	who := m.from
	if list, err := parseList(m.all("P-Asserted-Identity"), (*cursor).address); trusts && err == nil && len(list) > 0 {
		who, asserted = list[0], true
	}
	name = clean.Line(unquote(who.name), 120)
	number = clean.Line(userPart(who.uri), 120)
	hidden := false
	for _, v := range m.all("Privacy") { // RFC 3323 section 4.2
		for word := range strings.SplitSeq(strings.ToLower(v), ";") {
			word = strings.TrimSpace(word)
			hidden = hidden || word == "id" || word == "user" || word == "header" && !asserted
		}
	}
	_, host, _ := strings.Cut(who.uri, "@")
	anonymous := strings.EqualFold(number, "anonymous") || strings.EqualFold(number, "unavailable") ||
		strings.HasPrefix(strings.ToLower(host), "anonymous.invalid") || strings.EqualFold(name, "anonymous")
	if hidden || anonymous {
		return "", "", asserted
	}
	return number, name, asserted
}

// DialTrunk calls a number over a trunk. The error tells what cannot be sent; what becomes of the call is told by events.
// When ctx ends before it is answered, it is cancelled.
func (g *Gate) DialTrunk(ctx context.Context, trunk voice.ID, o Outgoing) (Dialog, error) {
	if g.trunks == nil {
		return nil, errors.New("the door of trunks is closed")
	}
	t, ok := g.table.Load().trunks[trunk]
	if !ok {
		return nil, fmt.Errorf("trunk %s: %w", trunk, voice.ErrUnknown)
	}
	if t.Server == "" {
		return nil, fmt.Errorf("trunk %s has no server to call", trunk)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	host, _, _ := splitServer(t.Server)
	target := o.To
	if !isSIP(target) {
		target = "sip:" + escapeUser(o.To) + "@" + t.Server
	}
	used := g.account(t.ID)
	if f := used.take(t, g.cfg.Now()); f != nil {
		return nil, fmt.Errorf("trunk %s: %s: %w", trunk, f.reason, voice.ErrRefused)
	}
	x, err := g.dial(ctx, g.trunks, route{
		target: target, network: strings.ToUpper(t.Transport), server: t.Server, host: host,
		user: t.AuthUser, password: t.AuthPassword,
	}, o, used)
	if err != nil {
		used.give()
	}
	return x, err
}

// ping asks each trunk's server whether it lives.
func (g *Gate) ping(ctx context.Context) {
	if g.trunks == nil {
		return
	}
	tick := time.NewTicker(g.cfg.Limits.Ping)
	defer tick.Stop()
	for {
		var all sync.WaitGroup
		slots := make(chan struct{}, 16)
		for _, t := range g.table.Load().trunks {
			if t.Server == "" || t.Paused {
				continue
			}
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				err := g.alive(ctx, t)
				if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
					g.tellHealth(ctx, t.ID, err)
				}
			})
		}
		all.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (g *Gate) tellHealth(ctx context.Context, id voice.ID, health error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := g.cfg.Desk.TrunkHealth(ctx, id, health); err != nil {
		g.log.Warn("a trunk's health could not be told", "trunk", id, "error", err)
	}
}

// alive sends OPTIONS; any answer but 408 and 503 means that somebody is there.
func (g *Gate) alive(ctx context.Context, t voice.Trunk) error {
	hops, err := g.trunks.server(ctx, t.Server, strings.ToUpper(t.Transport))
	if err != nil {
		return err
	}
	req := sip.NewRequest(sip.OPTIONS, uriOf("sip:"+t.Server))
	host := g.trunks.host
	req.AppendHeader(g.trunks.via(hops[0].network, g.branch()))
	req.AppendHeader(sip.NewHeader("From", "<sip:"+host+">;tag="+random()))
	req.AppendHeader(sip.NewHeader("To", "<sip:"+t.Server+">"))
	req.AppendHeader(sip.NewHeader("Call-ID", random()+"@"+host))
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.OPTIONS})
	req.AppendHeader(sip.NewHeader("Contact", "<"+g.trunks.contact(hops[0].network)+">"))
	req.AppendHeader(sip.NewHeader("Max-Forwards", "70"))
	req.AppendHeader(sip.NewHeader("User-Agent", product))
	req.SetBody(nil)
	res, err := g.trunks.do(ctx, hops[0], req)
	if err != nil {
		return fmt.Errorf("the trunk's server does not answer: %w", err)
	}
	if res.StatusCode == 408 || res.StatusCode == 503 {
		return fmt.Errorf("the trunk's server answers %d %s", res.StatusCode, clean.Line(res.Reason, 80))
	}
	return nil
}
