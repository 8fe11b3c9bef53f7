package gate

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"tributary/channels/voice"
	"tributary/internal/clean"
)

// How long a registration may live, in seconds: RFC 3261 section 10.2.8 lets us shorten it and refuse too short a one.
const (
	minExpires = 60
	maxExpires = 3600
	// bindingsMax bounds how many phones are remembered for the order of their requests.
	bindingsMax = 50_000
)

// bindings remember the last request of each phone that registered here: RFC 3261 section 10.3, step 7.
type bindings struct {
	mu sync.Mutex
	of map[voice.ID]*binding
}

// binding is one phone's; its lock makes the phone's requests take effect one after the other.
type binding struct {
	mu   sync.Mutex
	last voice.Registration
}

func (b *bindings) get(phone voice.ID) *binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of == nil {
		b.of = map[voice.ID]*binding{}
	}
	x := b.of[phone]
	if x == nil {
		if len(b.of) >= bindingsMax {
			for k := range b.of {
				delete(b.of, k)
				break
			}
		}
		x = &binding{}
		b.of[phone] = x
	}
	return x
}

// sweep forgets phones that are long gone: after an hour nothing of theirs can be under way.
func (b *bindings) sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, x := range b.of {
		if x.mu.TryLock() {
			if !x.last.Expires.IsZero() && now.Sub(x.last.Expires) > time.Hour {
				delete(b.of, k)
			}
			x.mu.Unlock()
		}
	}
}

// register is the registrar: RFC 3261 section 10.3.
func (g *Gate) register(d *door, req *sip.Request, tx *sip.ServerTx) {
	phone, ok := g.authenticated(g.ctx, d, req, tx)
	if !ok {
		return
	}
	to, err := parseAddress(value(req, "To"))
	if err != nil || userPart(to.uri) != phone.Username {
		g.finish(d, req, tx, &fault{code: 403, reason: "Not your address"}) // step 4
		return
	}
	r, f := g.wanted(phone, req)
	if f != nil {
		g.finish(d, req, tx, f)
		return
	}
	b := g.bindings.get(phone.ID)
	b.mu.Lock()
	defer b.mu.Unlock()
	if r != nil {
		if b.last.CallID == r.CallID && r.Seq <= b.last.Seq {
			g.finish(d, req, tx, &fault{code: 500, reason: "Out of order"})
			return
		}
		ctx, cancel := context.WithTimeout(g.ctx, 10*time.Second)
		defer cancel()
		if err := g.cfg.Desk.Register(ctx, *r); err != nil {
			g.log.Warn("a registration could not be stored", "phone", phone.ID, "error", err)
			g.finish(d, req, tx, &fault{code: 500, reason: "Server Internal Error", fields: []field{{"Retry-After", "5"}}})
			return
		}
		b.last = *r
	}
	g.finish(d, req, tx, g.registered(b.last))
}

// registered is the 200 with what holds now: step 8.
func (g *Gate) registered(r voice.Registration) *fault {
	now := g.cfg.Now()
	f := &fault{code: 200, reason: "OK", fields: []field{{"Date", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")}}}
	if left := int(r.Expires.Sub(now).Round(time.Second).Seconds()); left > 0 {
		f.fields = append(f.fields, field{"Contact", "<" + r.Contact + ">;expires=" + strconv.Itoa(left)})
	}
	return f
}

// wanted reads what a REGISTER asks for; nil: it only asks what holds.
func (g *Gate) wanted(phone voice.Phone, req *sip.Request) (*voice.Registration, *fault) {
	contacts, err := parseList(values(req, "Contact"), (*cursor).address)
	if err != nil && len(values(req, "Contact")) > 0 {
		return nil, bad("Malformed Contact")
	}
	if len(contacts) == 0 {
		return nil, nil
	}
	now := g.cfg.Now()
	r := &voice.Registration{
		Phone: phone.ID, Node: g.cfg.Node, Source: req.Source(), Transport: strings.ToLower(req.Transport()),
		CallID: value(req, "Call-ID"), Seq: req.CSeq().SeqNo, UserAgent: clean.Line(value(req, "User-Agent"), 120), Expires: now,
	}
	general, told := seconds(value(req, "Expires"))
	for _, c := range contacts {
		if c.uri == "*" {
			if len(contacts) > 1 || !told || general != 0 {
				return nil, bad("Wrong Contact: *") // step 6
			}
			return r, nil
		}
	}
	// One place for one phone: of several contacts the last one that stays is the newest.
	for _, c := range contacts {
		for_, own := seconds(paramOr(c.params, "expires"))
		if !own {
			for_ = general
			if !told {
				for_ = maxExpires
			}
		}
		if for_ > 0 && for_ < minExpires {
			return nil, &fault{code: 423, reason: "Interval Too Brief", fields: []field{{"Min-Expires", strconv.Itoa(minExpires)}}}
		}
		if !isSIP(c.uri) {
			return nil, bad("Contact of another scheme")
		}
		if for_ > 0 || r.Contact == "" {
			r.Contact = c.uri
			r.Expires = now.Add(time.Duration(min(for_, maxExpires)) * time.Second)
		}
	}
	return r, nil
}

func paramOr(p params, name string) string {
	v, _ := p.get(name)
	return v
}

// seconds reads a delta-seconds; what is malformed counts as the longest (section 20.19), what is not there as not told.
func seconds(s string) (int, bool) {
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
	if errors.Is(err, strconv.ErrRange) || err == nil && n > maxExpires {
		return maxExpires, true
	}
	if err != nil {
		return maxExpires, true
	}
	return int(n), true
}
