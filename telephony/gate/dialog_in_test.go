package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"tributary/channels/voice"
)

func trunkPeer(t *testing.T, w *world) *peer { return peerAt(t, "127.0.0.1:0", w.Addr("trunk", "udp")) }

func TestInboundCall(t *testing.T) {
	w := open(t, nil)
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			w.t = t
			var p *peer
			if network == "udp" {
				p = trunkPeer(t, w)
			} else {
				p = dialPeer(t, "127.0.0.1:0", w.Addr("trunk", "tcp"))
			}
			p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
			in := w.incoming()
			if in.Trunk != testTrunk || in.From != "+49170555" || in.Name != "A Caller" || in.To != "+4930123" || string(in.SDP) != offerSDP || in.Asserted {
				t.Fatalf("got %+v", in)
			}
			if !strings.HasPrefix(in.Key, "n1/7/"+p.id+"/"+p.tag+"/") {
				t.Errorf("key %q", in.Key)
			}
			in.Ring()
			ring := p.status(180, "INVITE")
			in.Accept([]byte(answerSDP))
			ok := p.status(200, "INVITE")
			if string(ok.body) != answerSDP || ok.to.tag() != ring.to.tag() || ok.get("Contact") == "" {
				t.Errorf("200: %+v", ok)
			}
			p.ask(ask{method: "ACK", seq: 1, toTag: ok.to.tag()})
			if e := event(t, in, EventConfirmed); e.SDP != nil {
				t.Errorf("SDP of the ACK: %q", e.SDP)
			}
			p.ask(ask{method: "BYE", seq: 2, toTag: ok.to.tag(), fields: []string{`Reason: Q.850;cause=16;text="had enough"`}})
			p.status(200, "BYE")
			if e := event(t, in, EventEnded); !e.Remote || e.Reason != "had enough" || e.Code != 0 {
				t.Errorf("ended: %+v", e)
			}
			w.settle()
		})
	}
}

func TestHangUpSendsBye(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	in, _ := w.call(p)
	in.HangUp("served")
	bye := p.asked("BYE")
	if bye.get("Reason") != `Q.850;cause=16;text="served"` || bye.from.tag() == "" || bye.to.tag() != p.tag {
		t.Errorf("BYE: %+v", bye.fields)
	}
	p.answer(bye, 200, "", "")
	if e := event(t, in, EventEnded); e.Remote {
		t.Errorf("ended: %+v", e)
	}
	w.settle()
}

// The 200 is repeated until the ACK comes; without one the dialog is hung up.
func TestNoACK(t *testing.T) {
	w := open(t, func(c *Config, _ *fakeDesk) { c.Limits.NoAck = 3 * time.Second })
	p := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
	in := w.incoming()
	in.Accept([]byte(answerSDP))
	p.status(200, "INVITE")
	p.status(200, "INVITE")
	bye := p.asked("BYE")
	p.answer(bye, 200, "", "")
	event(t, in, EventEnded)
	w.settle()
}

func TestHangUpBeforeACK(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
	in := w.incoming()
	in.Accept([]byte(answerSDP))
	ok := p.status(200, "INVITE")
	in.HangUp("changed my mind")
	event(t, in, EventEnded)
	p.silent("BYE before the ACK", func(m *message) bool { return m.method == "BYE" })
	p.ask(ask{method: "ACK", seq: 1, toTag: ok.to.tag()})
	p.answer(p.asked("BYE"), 200, "", "")
	w.settle()
}

func TestCancel(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	branch := "z9hG4bK" + random()
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, branch: branch})
	in := w.incoming()
	p.ask(ask{method: "CANCEL", seq: 1, branch: branch, fields: []string{`Reason: SIP;cause=200;text="elsewhere"`}})
	p.status(200, "CANCEL")
	end := p.status(487, "INVITE")
	p.ask(ask{method: "ACK", seq: 1, branch: branch, toTag: end.to.tag()})
	if e := event(t, in, EventEnded); !e.Remote || e.Reason != "elsewhere" {
		t.Errorf("ended: %+v", e)
	}
	in.Accept([]byte(answerSDP))
	p.silent("a 200 after the CANCEL", func(m *message) bool { return m.status == 200 && m.seqName == "INVITE" })
	w.settle()
}

// A CANCEL behind the 200 does nothing, and one in the same breath as the INVITE finds it.
func TestCancelRaces(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	branch := "z9hG4bK" + random()
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, branch: branch})
	in := w.incoming()
	in.Accept([]byte(answerSDP))
	ok := p.status(200, "INVITE")
	p.ask(ask{method: "CANCEL", seq: 1, branch: branch})
	p.status(200, "CANCEL")
	p.ask(ask{method: "ACK", seq: 1, toTag: ok.to.tag()})
	event(t, in, EventConfirmed)
	quiet(t, in)
	in.HangUp("")
	p.answer(p.asked("BYE"), 200, "", "")
	event(t, in, EventEnded)
	for range 50 {
		q := trunkPeer(t, w)
		branch := "z9hG4bK" + random()
		q.ask(ask{method: "INVITE", seq: 1, body: offerSDP, branch: branch})
		q.ask(ask{method: "CANCEL", seq: 1, branch: branch})
		q.status(200, "CANCEL")
		q.status(487, "INVITE")
		event(t, w.incoming(), EventEnded)
	}
	w.settle()
}

func TestRefuse(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, branch: "z9hG4bKx1"})
	in := w.incoming()
	in.Refuse(486, "Busy\r\nEvil: yes")
	r := p.status(486, "INVITE")
	if !strings.Contains(r.start, "Busy  Evil: yes") || r.get("Evil") != "" {
		t.Errorf("refused with %q, %v", r.start, r.fields)
	}
	event(t, in, EventEnded)
	w.settle()
}

func TestDelayedOffer(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1})
	in := w.incoming()
	if in.SDP != nil {
		t.Fatalf("SDP %q", in.SDP)
	}
	in.Accept([]byte(offerSDP))
	ok := p.status(200, "INVITE")
	p.ask(ask{method: "ACK", seq: 1, toTag: ok.to.tag(), body: answerSDP})
	if e := event(t, in, EventConfirmed); string(e.SDP) != answerSDP {
		t.Errorf("SDP of the ACK: %q", e.SDP)
	}
	in.HangUp("")
}

func TestReinviteAndUpdate(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	in, tag := w.call(p)
	p.ask(ask{method: "INVITE", seq: 2, toTag: tag, body: offerSDP})
	if e := event(t, in, EventOffer); string(e.SDP) != offerSDP {
		t.Errorf("offer %q", e.SDP)
	}
	// Another one while ours is to come: RFC 3261 section 14.2.
	p.ask(ask{method: "UPDATE", seq: 3, toTag: tag, body: offerSDP})
	if r := p.status(500, "UPDATE"); r.get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	in.AnswerOffer([]byte(answerSDP))
	p.status(200, "INVITE")
	p.ask(ask{method: "ACK", seq: 2, toTag: tag})
	p.ask(ask{method: "UPDATE", seq: 4, toTag: tag, body: offerSDP})
	event(t, in, EventOffer)
	in.RefuseOffer(488)
	p.status(488, "UPDATE")
	p.ask(ask{method: "UPDATE", seq: 5, toTag: tag})
	p.status(200, "UPDATE")
	// One without SDP asks for our offer; theirs is in the ACK.
	p.ask(ask{method: "INVITE", seq: 6, toTag: tag})
	if e := event(t, in, EventOffer); e.SDP != nil {
		t.Errorf("offer %q", e.SDP)
	}
	in.AnswerOffer([]byte(offerSDP))
	p.status(200, "INVITE")
	p.ask(ask{method: "ACK", seq: 6, toTag: tag, body: answerSDP})
	if e := event(t, in, EventConfirmed); string(e.SDP) != answerSDP {
		t.Errorf("answer %q", e.SDP)
	}
	// An old CSeq is none: section 12.2.2.
	p.ask(ask{method: "BYE", seq: 4, toTag: tag})
	p.status(500, "BYE")
	quiet(t, in)
	in.HangUp("")
}

func TestReinviteRefreshesTarget(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	q := trunkPeer(t, w)
	in, tag := w.call(p)
	text := strings.Replace(p.text(ask{method: "INVITE", seq: 2, toTag: tag, body: offerSDP}), "Contact: <sip:peer@"+p.at(), "Contact: <sip:peer@"+q.at(), 1)
	p.send(text)
	event(t, in, EventOffer)
	in.AnswerOffer([]byte(answerSDP))
	p.status(200, "INVITE")
	p.ask(ask{method: "ACK", seq: 2, toTag: tag})
	until(t, "the ACK arrived", func() bool { return in.Dialog.(*dialog).idle() })
	in.HangUp("")
	q.answer(q.asked("BYE"), 200, "", "")
	event(t, in, EventEnded)
	w.settle()
}

// idle reports whether no 200 waits for its ACK.
func (x *dialog) idle() bool {
	out := make(chan bool, 1)
	return !x.post(func() { out <- len(x.waits) == 0 }) || <-out
}

func TestReoffer(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	in, tag := w.call(p)
	type answer struct {
		sdp []byte
		err error
	}
	got := make(chan answer, 1)
	reoffer := func() {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			sdp, err := in.Reoffer(ctx, []byte(offerSDP))
			got <- answer{sdp, err}
		}()
	}
	reoffer()
	m := p.asked("INVITE")
	// While ours is under way theirs is glare.
	p.ask(ask{method: "INVITE", seq: 2, toTag: tag, body: offerSDP})
	p.want("491", func(m *message) bool { return m.status == 491 && m.seq == 2 })
	p.answer(m, 491, "", "")
	m = p.asked("INVITE") // again, after a while
	p.answer(m, 200, "", answerSDP)
	p.asked("ACK")
	if a := <-got; a.err != nil || string(a.sdp) != answerSDP {
		t.Errorf("answer %q, %v", a.sdp, a.err)
	}
	reoffer()
	p.answer(p.asked("INVITE"), 488, "", "")
	if a := <-got; !errors.Is(a.err, errDeclined) {
		t.Errorf("error %v", a.err)
	}
	p.answer(func() *message { reoffer(); return p.asked("INVITE") }(), 481, "", "")
	if a := <-got; a.err == nil {
		t.Error("no error after 481")
	}
	p.answer(p.asked("BYE"), 481, "", "")
	event(t, in, EventEnded)
	w.settle()
}

func TestKeysByINFO(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	in, tag := w.call(p)
	for i, c := range []struct{ kind, body string }{
		{"application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"}, {"application/dtmf", "5"}, {"Application/DTMF-Relay; x=y", "Signal = 5 \r\n"},
	} {
		p.ask(ask{method: "INFO", seq: i + 2, toTag: tag, body: c.body, fields: []string{"Content-Type: " + c.kind}})
		p.status(200, "INFO")
		if e := event(t, in, EventDigit); e.Digit != '5' {
			t.Errorf("%s: %c", c.kind, e.Digit)
		}
	}
	p.ask(ask{method: "INFO", seq: 10, toTag: tag, body: "hello", fields: []string{"Content-Type: text/plain"}})
	p.status(415, "INFO")
	p.ask(ask{method: "INFO", seq: 11, toTag: tag, body: "Signal=E", fields: []string{"Content-Type: application/dtmf-relay"}})
	p.status(400, "INFO")
	quiet(t, in)
	in.HangUp("")
}

// RFC 3262: the ringing is repeated until PRACK, which has to name it.
func TestReliableRinging(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, fields: []string{"Require: 100rel"}})
	in := w.incoming()
	in.Ring()
	first := p.status(180, "INVITE")
	second := p.status(180, "INVITE")
	if first.get("Require") != "100rel" || first.get("RSeq") == "" || first.get("RSeq") != second.get("RSeq") {
		t.Fatalf("180: %v", first.fields)
	}
	p.ask(ask{method: "PRACK", seq: 2, toTag: first.to.tag(), fields: []string{"RAck: 1 1 INVITE"}})
	p.status(481, "PRACK")
	p.ask(ask{method: "PRACK", seq: 3, toTag: first.to.tag(), fields: []string{"RAck: " + first.get("RSeq") + " 1 INVITE"}})
	p.status(200, "PRACK")
	in.Accept([]byte(answerSDP))
	p.status(200, "INVITE")
	p.ask(ask{method: "ACK", seq: 1, toTag: first.to.tag()})
	event(t, in, EventConfirmed)
	in.HangUp("")
}

func TestReliableRingingWithoutPRACK(t *testing.T) {
	w := open(t, func(c *Config, _ *fakeDesk) { c.Limits.NoAck = 2 * time.Second })
	p := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, fields: []string{"Require: 100rel"}})
	in := w.incoming()
	in.Ring()
	p.status(504, "INVITE")
	event(t, in, EventEnded)
	w.settle()
}

func TestBadExtension(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, fields: []string{"Require: 100rel, replaces"}})
	if r := p.status(420, "INVITE"); r.get("Unsupported") != "replaces" {
		t.Errorf("Unsupported: %q", r.get("Unsupported"))
	}
}

func TestWithoutContact(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, noContact: true})
	p.status(400, "INVITE")
	if len(w.in) != 0 {
		t.Error("a call came in")
	}
}

// Session timers, RFC 4028: who refreshes, who hangs up when nobody does, and what is too short.
func TestSessionTimer(t *testing.T) {
	w := open(t, func(c *Config, _ *fakeDesk) { c.Limits.MinSession = 2 * time.Second })
	invite := func(p *peer, fields ...string) (*Incoming, *message) {
		p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, fields: fields})
		in := w.incoming()
		in.Accept([]byte(answerSDP))
		ok := p.status(200, "INVITE")
		p.ask(ask{method: "ACK", seq: 1, toTag: ok.to.tag()})
		event(t, in, EventConfirmed)
		return in, ok
	}
	t.Run("too short", func(t *testing.T) {
		p := trunkPeer(t, w)
		p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, fields: []string{"Supported: timer", "Session-Expires: 1"}})
		if r := p.status(422, "INVITE"); r.get("Min-SE") != "2" {
			t.Errorf("Min-SE: %q", r.get("Min-SE"))
		}
	})
	t.Run("they refresh", func(t *testing.T) {
		p := trunkPeer(t, w)
		in, ok := invite(p, "Supported: timer", "Session-Expires: 3")
		if ok.get("Session-Expires") != "3;refresher=uac" || ok.get("Require") != "timer" {
			t.Errorf("200: %v", ok.fields)
		}
		p.ask(ask{method: "UPDATE", seq: 2, toTag: ok.to.tag(), fields: []string{"Supported: timer", "Session-Expires: 3;refresher=uac"}})
		if r := p.status(200, "UPDATE"); r.get("Session-Expires") != "3;refresher=uac" {
			t.Errorf("200: %v", r.fields)
		}
		p.answer(p.asked("BYE"), 200, "", "") // they did not any more
		event(t, in, EventEnded)
	})
	t.Run("we refresh by UPDATE", func(t *testing.T) {
		p := trunkPeer(t, w)
		in, ok := invite(p, "Supported: timer", "Session-Expires: 2;refresher=uas", "Allow: INVITE, UPDATE")
		if ok.get("Session-Expires") != "2;refresher=uas" {
			t.Errorf("200: %v", ok.fields)
		}
		for range 2 {
			m := p.asked("UPDATE")
			if m.get("Session-Expires") != "2;refresher=uac" {
				t.Errorf("UPDATE: %v", m.fields)
			}
			p.answer(m, 200, "", "", "Session-Expires: 2;refresher=uac")
		}
		in.HangUp("")
		p.answer(p.asked("BYE"), 200, "", "")
	})
	t.Run("we refresh by re-INVITE", func(t *testing.T) {
		p := trunkPeer(t, w)
		in, _ := invite(p, "Session-Expires: 2")
		m := p.asked("INVITE")
		if string(m.body) != answerSDP {
			t.Errorf("re-INVITE: %q", m.body)
		}
		p.answer(m, 200, "", answerSDP, "Session-Expires: 2;refresher=uac")
		p.asked("ACK")
		in.HangUp("")
		p.answer(p.asked("BYE"), 200, "", "")
	})
}

// Trap 1: a long 200 leaves.
func TestLongAnswerLeaves(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	var fields []string
	for i := range 6 {
		fields = append(fields, fmt.Sprintf("Record-Route: <sip:proxy-number-%d.of.a.long.way.example.com:5060;lr;ftag=%032d>", i, i))
	}
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, fields: fields})
	in := w.incoming()
	long := answerSDP + strings.Repeat("a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host\r\n", 40)
	in.Accept([]byte(long))
	ok := p.status(200, "INVITE")
	if len(ok.all("Record-Route")) != 6 || string(ok.body) != long {
		t.Errorf("200 with %d routes and %d bytes", len(ok.all("Record-Route")), len(ok.body))
	}
	// In the dialog the routes are those of Record-Route, in order.
	in.HangUp("")
}

func TestRouteSet(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	a := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, fields: []string{"Record-Route: <sip:" + a.at() + ";lr>, <sip:far.example.com;lr>"}})
	in := w.incoming()
	in.Accept([]byte(answerSDP))
	ok := p.status(200, "INVITE")
	p.ask(ask{method: "ACK", seq: 1, toTag: ok.to.tag()})
	event(t, in, EventConfirmed)
	in.HangUp("")
	bye := a.asked("BYE")
	if got := strings.Join(bye.all("Route"), " "); got != "<sip:"+a.at()+";lr> <sip:far.example.com;lr>" || !strings.HasPrefix(bye.uri, "sip:peer@"+p.at()) {
		t.Errorf("Route %q, URI %q", got, bye.uri)
	}
	a.answer(bye, 200, "", "")
	w.settle()
}

// The same request by two ways is taken once: RFC 3261 section 8.2.2.2. A repetition makes no second call.
func TestMergedAndRepeated(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	text := p.text(ask{method: "INVITE", seq: 1, body: offerSDP})
	p.send(text)
	in := w.incoming()
	p.send(text)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
	p.status(482, "INVITE")
	if len(w.in) != 0 {
		t.Error("a second call came in")
	}
	in.Refuse(603, "No")
	p.status(603, "INVITE")
}

func TestOutOfDialog(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	for _, method := range []string{"BYE", "INFO", "UPDATE", "PRACK", "INVITE", "CANCEL"} {
		p.ask(ask{method: method, seq: 5, toTag: "nobody"})
		p.status(481, method)
	}
	p.ask(ask{method: "REGISTER", seq: 6})
	if r := p.status(405, "REGISTER"); !strings.Contains(r.get("Allow"), "INVITE") || strings.Contains(r.get("Allow"), "REGISTER") {
		t.Errorf("Allow: %q", r.get("Allow"))
	}
	p.ask(ask{method: "SUBSCRIBE", seq: 7})
	p.status(405, "SUBSCRIBE")
	p.ask(ask{method: "OPTIONS", seq: 8})
	p.status(200, "OPTIONS")
}

func TestDrain(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	in, tag := w.call(p)
	w.Drain()
	q := trunkPeer(t, w)
	q.ask(ask{method: "OPTIONS", seq: 1})
	if r := q.status(503, "OPTIONS"); r.get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	q.ask(ask{method: "INVITE", seq: 2, body: offerSDP})
	if r := q.status(503, "INVITE"); r.get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	p.ask(ask{method: "INVITE", seq: 2, toTag: tag, body: offerSDP})
	event(t, in, EventOffer)
	in.AnswerOffer([]byte(answerSDP))
	p.status(200, "INVITE")
}

// The end of Run says good-bye.
func TestRunHangsUp(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	in, _ := w.call(p)
	w.stop()
	p.answer(p.asked("BYE"), 200, "", "")
	event(t, in, EventEnded)
}

func TestUnreadEvents(t *testing.T) {
	w := open(t, nil)
	p := trunkPeer(t, w)
	in, tag := w.call(p)
	for i := range eventRoom + 1 {
		p.ask(ask{method: "INFO", seq: i + 2, toTag: tag, body: "1", fields: []string{"Content-Type: application/dtmf"}})
		p.status(200, "INFO")
	}
	p.answer(p.asked("BYE"), 200, "", "")
	n := 0
	for e := range in.Events() {
		n++
		if e.Kind == EventEnded {
			break
		}
	}
	if n != eventRoom+1 {
		t.Errorf("%d events", n)
	}
	w.settle()
}

var _ = voice.Digits
