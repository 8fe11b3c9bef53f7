package siptest

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// PhoneConfig is how a phone is set up.
type PhoneConfig struct {
	// Registrar is host:port of who takes REGISTER; calls of the phone go there, too.
	Registrar string
	// Domain of addresses; "": the registrar's host.
	Domain string
	// Username is the account and the user of its address; Password its secret.
	Username, Password string
	// Transport is "udp" (or "") or "tcp".
	Transport string
	// Local is the ip:port to bind; "": a free port of 127.0.0.1.
	Local string
}

// Phone is a desk phone: it registers, rings and calls.
type Phone struct {
	*endpoint

	callID   sip.CallIDHeader
	sequence uint32
	tag      string
}

// NewPhone makes a phone that lives as long as the test. It is not registered yet.
func NewPhone(tb testing.TB, c PhoneConfig) *Phone {
	tb.Helper()
	if c.Domain == "" {
		host, _, err := sip.ParseAddr(c.Registrar)
		if err != nil {
			tb.Fatalf("siptest: the registrar %q: %v", c.Registrar, err)
		}
		c.Domain = host
	}
	return &Phone{
		endpoint: newEndpoint(tb, endpointConfig{local: c.Local, peer: c.Registrar, transport: c.Transport, user: c.Username, username: c.Username, password: c.Password, domain: c.Domain}),
		callID:   sip.CallIDHeader(sip.GenerateTagN(20)), tag: sip.GenerateTagN(12),
	}
}

// Register binds the phone's address for as long as asked, and returns for how long it was granted. A refusal is a
// *StatusError. Call it again to refresh.
func (p *Phone) Register(ctx context.Context, expires time.Duration) (time.Duration, error) {
	res, err := p.register(ctx, p.contact(), expires)
	if err != nil {
		return 0, err
	}
	return p.granted(res, expires), nil
}

// Unregister takes the binding back.
func (p *Phone) Unregister(ctx context.Context) error {
	_, err := p.register(ctx, p.contact(), 0)
	return err
}

// Bindings asks what the registrar holds for the address (RFC 3261 section 10.2.3).
func (p *Phone) Bindings(ctx context.Context) ([]string, error) {
	res, err := p.register(ctx, nil, 0)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, h := range res.GetHeaders("Contact") {
		out = append(out, h.Value())
	}
	return out, nil
}

func (p *Phone) register(ctx context.Context, contact *sip.ContactHeader, expires time.Duration) (*sip.Response, error) {
	address := sip.Uri{Scheme: "sip", User: p.user, Host: p.domain}
	req := sip.NewRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: p.domain})
	from := &sip.FromHeader{Address: address}
	from.Params.Add("tag", p.tag)
	req.AppendHeader(from)
	req.AppendHeader(&sip.ToHeader{Address: address})
	req.AppendHeader(&p.callID)
	p.mu.Lock()
	p.sequence++
	req.AppendHeader(&sip.CSeqHeader{SeqNo: p.sequence, MethodName: sip.REGISTER})
	p.mu.Unlock()
	if contact != nil {
		req.AppendHeader(contact)
		seconds := sip.ExpiresHeader(expires / time.Second)
		req.AppendHeader(&seconds)
	}
	req.SetDestination(p.peer)
	res, err := p.exchange(ctx, req)
	p.mu.Lock()
	p.sequence = max(p.sequence, req.CSeq().SeqNo)
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if !res.IsSuccess() {
		return nil, &StatusError{Method: "REGISTER", Code: res.StatusCode, Reason: res.Reason, RetryAfter: headerOf(res, "Retry-After")}
	}
	return res, nil
}

// granted is the time of our binding in an answer (RFC 3261 section 10.2.4).
func (p *Phone) granted(res *sip.Response, asked time.Duration) time.Duration {
	for _, h := range res.GetHeaders("Contact") {
		contact, ok := h.(*sip.ContactHeader)
		if !ok || contact.Address.User != p.user || contact.Address.Port != int(p.local.Port()) {
			continue
		}
		if text, ok := contact.Params.Get("expires"); ok {
			if seconds, err := strconv.Atoi(text); err == nil {
				return time.Duration(seconds) * time.Second
			}
		}
	}
	if seconds, err := strconv.Atoi(headerOf(res, "Expires")); err == nil {
		return time.Duration(seconds) * time.Second
	}
	return asked
}

// AnswerAfter is a behaviour: ring, and answer a while later.
func AnswerAfter(d time.Duration) func(*Call) {
	return func(c *Call) {
		if c.Ringing() != nil {
			return
		}
		select {
		case <-time.After(d):
			_ = c.Answer() // the caller may be gone by now
		case <-c.Ended():
		}
	}
}

// DeclineWith is a behaviour: refuse at once, with 486 or 603.
func DeclineWith(code int) func(*Call) { return func(c *Call) { _ = c.Decline(code) } }

// NeverAnswer is a behaviour: ring for ever.
func NeverAnswer(c *Call) { _ = c.Ringing() }

// SayNothing is a behaviour: not even ring.
func SayNothing(*Call) {}

// String names it in failures.
func (p *Phone) String() string {
	return fmt.Sprintf("phone %s at %s/%s", p.user, p.local, p.transport)
}
