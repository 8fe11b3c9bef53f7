package gate

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"tributary/channels/voice"
	"tributary/internal/limit"
)

// openPhones opens the door at which anybody may knock, but slowly, and only a phone that proves itself is heard.
func (g *Gate) openPhones(ctx context.Context) (*door, error) {
	d := g.newDoor("phone")
	d.forceRport = true
	buckets := limit.NewMemory(g.cfg.Now, 100_000)
	rate := limit.Rate{Burst: g.cfg.Limits.Burst, PerSecond: float64(g.cfg.Limits.Rate)}
	d.admits = func(ip netip.Addr) bool {
		r, err := buckets.Take(g.ctx, ip.String(), 1, rate)
		return err == nil && r.OK
	}
	d.route = func(m *message, src source) *fault { return g.routePhone(d, m, src) }
	return d, d.listen(ctx, g.cfg.Phone)
}

// routePhone says what becomes of a valid request. Until the sender has shown that he gets what we send him, he is answered
// without being remembered.
func (g *Gate) routePhone(d *door, m *message, src source) *fault {
	switch m.method {
	case "REGISTER":
		return g.auth.admit(m, src.addr.Addr())
	case "INVITE":
		if m.to.tag() == "" {
			return g.auth.admit(m, src.addr.Addr())
		}
	case "OPTIONS":
		if m.to.tag() == "" {
			return g.options(allowedPhone)
		}
	}
	return g.routeKnown(d, m, src)
}

// authenticated finds the account that a request proves, or answers it. The 401 is the same whether the user, the password
// or the count was wrong, and so is the work.
func (g *Gate) authenticated(ctx context.Context, d *door, req *sip.Request, tx *sip.ServerTx) (voice.Phone, bool) {
	ip := sourceIP(req)
	c := credentials(values(req, "Authorization"))
	if c == nil {
		g.finish(d, req, tx, g.auth.challenge(ip, false, value(req, "User-Agent")))
		return voice.Phone{}, false
	}
	if known, fresh := g.auth.check(c.Nonce, ip); !known || !fresh {
		g.finish(d, req, tx, g.auth.challenge(ip, known, value(req, "User-Agent")))
		return voice.Phone{}, false
	}
	select {
	case g.lookups <- struct{}{}:
		defer func() { <-g.lookups }()
	default:
		g.finish(d, req, tx, busy("Service Unavailable", "5"))
		return voice.Phone{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	phone, err := g.cfg.Desk.Phone(ctx, c.Username)
	if err != nil && !errors.Is(err, voice.ErrUnknown) {
		g.log.Warn("a phone could not be looked up", "error", err)
		g.finish(d, req, tx, &fault{code: 503, reason: "Service Unavailable", fields: []field{{"Retry-After", "5"}}})
		return voice.Phone{}, false
	}
	ok := verify(c, string(req.Method), secretOf(phone, c))
	if err != nil || !ok {
		g.auth.wrong(c.Username, ip)
		g.finish(d, req, tx, g.auth.challenge(ip, false, value(req, "User-Agent")))
		return voice.Phone{}, false
	}
	if !g.auth.use(c.Nonce, c.Nc) {
		g.finish(d, req, tx, g.auth.challenge(ip, true, value(req, "User-Agent")))
		return voice.Phone{}, false
	}
	g.auth.right(c.Username, ip)
	return phone, true
}

// secretOf is the account's secret for the algorithm that was chosen; for no account, one that nobody knows.
func secretOf(p voice.Phone, c *digest.Credentials) string {
	algorithm := strings.ToUpper(c.Algorithm)
	if algorithm == "" {
		algorithm = "MD5"
	}
	nobody := ha1(algorithm, c.Username, random()) // made in any case: the time tells nothing
	if s := p.HA1[algorithm]; s != "" {
		return strings.ToLower(s)
	}
	return nobody
}

// phoneInvite answers a phone that wants to call: for now it cannot.
func (g *Gate) phoneInvite(d *door, req *sip.Request, tx *sip.ServerTx) {
	if _, ok := g.authenticated(g.ctx, d, req, tx); ok {
		g.finish(d, req, tx, &fault{code: 403, reason: "Calls are started by the desk"})
	}
}

// DialPhone calls a phone where it registered, over the flow that it registered with. The error tells what cannot be sent;
// what becomes of the call is told by events. When ctx ends before the phone answers, the call is cancelled.
func (g *Gate) DialPhone(ctx context.Context, r voice.Registration, o Outgoing) (Dialog, error) {
	if g.phones == nil {
		return nil, errors.New("the door of phones is closed")
	}
	if checkURI(r.Contact) != nil || !isSIP(r.Contact) {
		return nil, fmt.Errorf("the contact of phone %s is no URI of SIP", r.Phone)
	}
	if _, err := netip.ParseAddrPort(r.Source); err != nil {
		return nil, fmt.Errorf("the source of phone %s: %w", r.Phone, err)
	}
	if o.To == "" {
		o.To = userPart(r.Contact)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	network := strings.ToUpper(r.Transport)
	if network == "" {
		network = "UDP"
	}
	return g.dial(ctx, g.phones, route{target: r.Contact, network: network, flow: r.Source}, o, nil)
}

func hexString(b []byte) string { return hex.EncodeToString(b) }

// sourceIP is where a request came from.
func sourceIP(req *sip.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(req.Source())
	return ap.Addr().Unmap().WithZone("")
}

// values are those of every field of that name.
func values(m sip.Message, name string) (out []string) {
	for _, h := range m.GetHeaders(name) {
		out = append(out, h.Value())
	}
	return out
}

// value is that of the first field of that name.
func value(m sip.Message, name string) string {
	if v := values(m, name); len(v) > 0 {
		return v[0]
	}
	return ""
}
