package gate

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"tributary/channels/voice"
)

// outbound is a world with a trunk whose server is a peer.
func outbound(t *testing.T, change func(*voice.Trunk)) (*world, *peer) {
	t.Helper()
	w := open(t, nil)
	p := peerAt(t, "127.0.0.1:0", w.Addr("trunk", "udp"))
	trunk := voice.Trunk{ID: testTrunk, Server: p.at(), Transport: "udp"}
	if change != nil {
		change(&trunk)
	}
	w.desk.setTrunks(trunk)
	if err := w.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w, p
}

func (w *world) dialTrunk(ctx context.Context, o Outgoing) Dialog {
	w.t.Helper()
	if o.To == "" {
		o.To = "+4930123"
	}
	if o.SDP == nil {
		o.SDP = []byte(offerSDP)
	}
	d, err := w.DialTrunk(ctx, testTrunk, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func TestOutboundCall(t *testing.T) {
	w, p := outbound(t, nil)
	d := w.dialTrunk(t.Context(), Outgoing{From: "+49170555", Name: "Desk", Headers: map[string]string{"X-Queue": "support", "P-Asserted-Identity": "<sip:+49170555@example.com>"}})
	m := p.asked("INVITE")
	if m.uri != "sip:+4930123@"+p.at() || userPart(m.from.uri) != "+49170555" || m.get("X-Queue") != "support" || m.get("P-Asserted-Identity") == "" ||
		string(m.body) != offerSDP || m.get("Content-Type") != sdpType || len(m.contacts) != 1 || m.get("Max-Forwards") != "70" {
		t.Errorf("INVITE %s: %v", m.uri, m.fields)
	}
	p.answer(m, 100, "", "")
	p.answer(m, 183, "t1", answerSDP)
	if e := event(t, d, EventRinging); string(e.SDP) != answerSDP {
		t.Errorf("early %q", e.SDP)
	}
	p.answer(m, 200, "t1", answerSDP, "Record-Route: <sip:two.example.com;lr>, <sip:"+p.at()+";lr>")
	if e := event(t, d, EventAnswered); string(e.SDP) != answerSDP {
		t.Errorf("answer %q", e.SDP)
	}
	ack := p.asked("ACK")
	if ack.seq != m.seq || strings.Join(ack.all("Route"), " ") != "<sip:"+p.at()+";lr> <sip:two.example.com;lr>" {
		t.Errorf("ACK %d: %v", ack.seq, ack.fields)
	}
	// The 200 comes again: so does the ACK.
	p.answer(m, 200, "t1", answerSDP)
	p.asked("ACK")
	d.HangUp("")
	bye := p.asked("BYE")
	if bye.seq <= m.seq || bye.to.tag() != "t1" {
		t.Errorf("BYE %d to %+v", bye.seq, bye.to)
	}
	p.answer(bye, 200, "", "")
	event(t, d, EventEnded)
	w.settle()
}

func TestOutboundRefused(t *testing.T) {
	w, p := outbound(t, nil)
	for _, code := range []int{302, 404, 486, 603} {
		d := w.dialTrunk(t.Context(), Outgoing{})
		m := p.asked("INVITE")
		p.answer(m, code, "t", "", `Reason: Q.850;cause=17;text="User busy"`)
		if e := event(t, d, EventEnded); e.Code != code || !e.Remote || e.Reason != "User busy" {
			t.Errorf("%d: %+v", code, e)
		}
		p.asked("ACK")
		w.settle()
	}
}

func TestOutboundDigest(t *testing.T) {
	for _, code := range []int{401, 407} {
		w, p := outbound(t, func(x *voice.Trunk) { x.AuthUser, x.AuthPassword = "line1", "pw" })
		d := w.dialTrunk(t.Context(), Outgoing{})
		first := p.asked("INVITE")
		ask, answer := "WWW-Authenticate", "Authorization"
		if code == 407 {
			ask, answer = "Proxy-Authenticate", "Proxy-Authorization"
		}
		const rest = `Digest realm="carrier", nonce="abc", qop="auth,auth-int", algorithm=`
		p.answer(first, code, "t", "", ask+": "+rest+"AKAv1-MD5", ask+": "+rest+"SHA-256")
		p.asked("ACK")
		m := p.asked("INVITE")
		v := m.get(answer)
		if m.seq != first.seq+1 || m.callID != first.callID || m.from.tag() != first.from.tag() || m.via[0].branch() == first.via[0].branch() ||
			!strings.Contains(v, `username="line1"`) || !strings.Contains(v, "algorithm=SHA-256") || !strings.Contains(v, "qop=auth,") {
			t.Errorf("again: %v", m.fields)
		}
		p.answer(m, code, "t", "", ask+": "+rest+"SHA-256") // wrong: once is enough
		if e := event(t, d, EventEnded); e.Code != code {
			t.Errorf("ended: %+v", e)
		}
		p.asked("ACK")
		w.settle()
	}
}

// A trunk that challenges requests within the dialog, too.
func TestDigestWithinDialog(t *testing.T) {
	w, p := outbound(t, func(x *voice.Trunk) { x.AuthUser, x.AuthPassword = "line1", "pw" })
	d := w.dialTrunk(t.Context(), Outgoing{})
	p.answer(p.asked("INVITE"), 200, "t", answerSDP)
	event(t, d, EventAnswered)
	p.asked("ACK")
	const ask = `Proxy-Authenticate: Digest realm="carrier", nonce="abc", qop="auth", algorithm=MD5`
	got := make(chan error, 1)
	go func() {
		_, err := d.Reoffer(t.Context(), []byte(offerSDP))
		got <- err
	}()
	first := p.asked("INVITE")
	p.answer(first, 407, "", "", ask)
	p.asked("ACK")
	again := p.asked("INVITE")
	if again.get("Proxy-Authorization") == "" || again.seq <= first.seq {
		t.Errorf("again: %v", again.fields)
	}
	p.answer(again, 200, "", answerSDP)
	p.asked("ACK")
	if err := <-got; err != nil {
		t.Error(err)
	}
	d.HangUp("")
	first = p.asked("BYE")
	p.answer(first, 407, "", "", ask)
	if again = p.asked("BYE"); again.get("Proxy-Authorization") == "" || again.seq <= first.seq {
		t.Errorf("again: %v", again.fields)
	}
	p.answer(again, 200, "", "")
	event(t, d, EventEnded)
	w.settle()
}

// The context ends while it rings: CANCEL.
func TestOutboundCancel(t *testing.T) {
	w, p := outbound(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	d := w.dialTrunk(ctx, Outgoing{})
	m := p.asked("INVITE")
	cancel()
	if e := event(t, d, EventEnded); e.Code != 0 || e.Remote {
		t.Errorf("ended: %+v", e)
	}
	// Before anything answered there is nothing to cancel: RFC 3261 section 9.1.
	p.silent("an early CANCEL", func(m *message) bool { return m.method == "CANCEL" })
	p.answer(m, 180, "t", "")
	c := p.asked("CANCEL")
	if c.via[0].branch() != m.via[0].branch() || c.seq != m.seq {
		t.Errorf("CANCEL: %v", c.fields)
	}
	p.answer(c, 200, "t", "")
	p.answer(m, 487, "t", "")
	p.asked("ACK")
	w.settle()
}

// A 200 that a CANCEL crossed is acknowledged and hung up: RFC 3261 section 9.1.
func TestAnswerCrossesCancel(t *testing.T) {
	w, p := outbound(t, nil)
	d := w.dialTrunk(t.Context(), Outgoing{})
	m := p.asked("INVITE")
	p.answer(m, 180, "t", "")
	event(t, d, EventRinging)
	d.HangUp("changed my mind")
	c := p.asked("CANCEL")
	p.answer(c, 200, "t", "")
	p.answer(m, 200, "t", answerSDP)
	p.asked("ACK")
	p.answer(p.asked("BYE"), 200, "", "")
	event(t, d, EventEnded)
	w.settle()
}

// Two answers of a fork: the second is acknowledged and hung up, by its own tag.
func TestForkedAnswer(t *testing.T) {
	w, p := outbound(t, nil)
	q := peerAt(t, "127.0.0.1:0", w.Addr("trunk", "udp"))
	d := w.dialTrunk(t.Context(), Outgoing{})
	m := p.asked("INVITE")
	p.answer(m, 200, "one", answerSDP)
	event(t, d, EventAnswered)
	if a := p.asked("ACK"); a.to.tag() != "one" {
		t.Errorf("ACK to %q", a.to.tag())
	}
	q.answer(m, 200, "two", answerSDP)
	if a := q.asked("ACK"); a.to.tag() != "two" {
		t.Errorf("ACK to %q", a.to.tag())
	}
	bye := q.asked("BYE")
	if bye.to.tag() != "two" {
		t.Errorf("BYE to %q", bye.to.tag())
	}
	q.answer(bye, 200, "", "")
	quiet(t, d)
	d.HangUp("")
	if bye := p.asked("BYE"); bye.to.tag() != "one" {
		t.Errorf("BYE to %q", bye.to.tag())
	}
}

func TestOutboundReliable(t *testing.T) {
	w, p := outbound(t, nil)
	d := w.dialTrunk(t.Context(), Outgoing{})
	m := p.asked("INVITE")
	if !strings.Contains(m.get("Supported"), "100rel") {
		t.Errorf("Supported: %q", m.get("Supported"))
	}
	p.answer(m, 183, "t", answerSDP, "Require: 100rel", "RSeq: 41")
	k := p.asked("PRACK")
	if f := strings.Fields(k.get("RAck")); len(f) != 3 || f[0] != "41" || f[2] != "INVITE" || k.to.tag() != "t" {
		t.Errorf("PRACK: %v", k.fields)
	}
	p.answer(k, 200, "", "")
	event(t, d, EventRinging)
	p.answer(m, 200, "t", "") // the answer was in the 183
	if e := event(t, d, EventAnswered); string(e.SDP) != answerSDP {
		t.Errorf("answer %q", e.SDP)
	}
	d.HangUp("")
}

func TestOutboundSessionTimer(t *testing.T) {
	w, p := outbound(t, nil)
	d := w.dialTrunk(t.Context(), Outgoing{})
	m := p.asked("INVITE")
	p.answer(m, 200, "t", answerSDP, "Session-Expires: 2;refresher=uac", "Require: timer", "Allow: UPDATE")
	event(t, d, EventAnswered)
	u := p.asked("UPDATE")
	if u.get("Session-Expires") != "2;refresher=uac" {
		t.Errorf("UPDATE: %v", u.fields)
	}
	p.answer(u, 481, "", "") // it knows nothing of the call
	p.asked("BYE")
	event(t, d, EventEnded)
}

// Nobody is there: the port is closed, and over TCP that is known at once.
func TestOutboundUnreachable(t *testing.T) {
	w, _ := outbound(t, func(x *voice.Trunk) { x.Server, x.Transport = "127.0.0.1:1", "tcp" })
	d := w.dialTrunk(t.Context(), Outgoing{})
	if e := event(t, d, EventEnded); e.Code != 503 || !e.Remote {
		t.Errorf("ended: %+v", e)
	}
	w.settle()
}

// Unless the operator's rules say otherwise a trunk's name leads to no machine of his own.
func TestGuardedDial(t *testing.T) {
	var p *peer
	w := open(t, func(c *Config, d *fakeDesk) {
		c.Dial = nil
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p = acceptPeer(t, l)
		d.trunks = []voice.Trunk{{ID: testTrunk, Server: l.Addr().String(), Transport: "tcp"}}
	})
	d := w.dialTrunk(t.Context(), Outgoing{})
	if e := event(t, d, EventEnded); e.Code != 503 || !strings.Contains(e.Reason, "not allowed") {
		t.Errorf("ended: %+v", e)
	}
	p.silent("an INVITE", func(*message) bool { return true })
}

// A request that is too long for a datagram goes over TCP, if there is any: RFC 3261 section 18.1.1.
func TestLongRequest(t *testing.T) {
	w, p := outbound(t, nil)
	long := offerSDP + strings.Repeat("a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host\r\n", 20)
	d := w.dialTrunk(t.Context(), Outgoing{SDP: []byte(long)})
	if m := p.asked("INVITE"); m.via[0].transport != "UDP" || string(m.body) != long {
		t.Errorf("by %s, %d bytes", m.via[0].transport, len(m.body)) // nobody listens over TCP
	}
	d.HangUp("")
	l := listenPeer(t, p.at())
	_ = w.dialTrunk(t.Context(), Outgoing{SDP: []byte(long)})
	if m := l.asked("INVITE"); m.via[0].transport != "TCP" || string(m.body) != long {
		t.Errorf("by %s, %d bytes", m.via[0].transport, len(m.body))
	}
}

func TestOutgoingRefusedBeforeSending(t *testing.T) {
	w, p := outbound(t, nil)
	for name, o := range map[string]Outgoing{
		"line end in to":    {To: "123\r\nX: y"},
		"line end in from":  {To: "123", From: "1\n2"},
		"NUL in name":       {To: "123", Name: "a\x00b"},
		"header value":      {To: "123", Headers: map[string]string{"X-A": "b\r\nVia: evil"}},
		"header name":       {To: "123", Headers: map[string]string{"X-A: b\r\nVia": "evil"}},
		"header of dialog":  {To: "123", Headers: map[string]string{"cALL-iD": "x"}},
		"compact header":    {To: "123", Headers: map[string]string{"i": "x"}},
		"nothing to":        {},
		"no URI":            {To: "sip:"},
		"headers in a URI":  {To: "sip:a@b?Route=x"},
		"no UTF-8":          {To: "123", Name: "\xff"},
		"second control":    {To: "123", Name: "a\u0085b"},
		"line separator":    {To: "123", Name: "a\u2028b"},
		"very long":         {To: strings.Repeat("1", 2000)},
		"blank in a header": {To: "123", Headers: map[string]string{"X-A": " b"}},
	} {
		if _, err := w.DialTrunk(t.Context(), testTrunk, o); err == nil {
			t.Errorf("%s was sent", name)
		}
	}
	p.silent("an INVITE", func(m *message) bool { return m.method == "INVITE" })
	if _, err := w.DialTrunk(t.Context(), "trk_none", Outgoing{To: "1"}); err == nil {
		t.Error("a trunk that is none was called")
	}
}

func TestPing(t *testing.T) {
	var p *peer
	w := open(t, func(c *Config, d *fakeDesk) {
		c.Limits.Ping = 200 * time.Millisecond
		p = peerAt(t, "127.0.0.1:0", peerless)
		d.trunks = []voice.Trunk{{ID: testTrunk, Server: p.at(), Transport: "udp"}}
	})
	p.to = w.Addr("trunk", "udp")
	health := func() error {
		select {
		case err := <-w.desk.health:
			return err
		case <-time.After(patience):
			t.Fatal("no health")
			return nil
		}
	}
	p.answer(p.asked("OPTIONS"), 404, "t", "")
	if err := health(); err != nil {
		t.Errorf("health %v after 404", err)
	}
	p.answer(p.asked("OPTIONS"), 503, "t", "")
	if err := health(); err == nil {
		t.Error("well after 503")
	}
}
