package gate

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/icholy/digest"

	"tributary/channels/voice"
)

func phonePeer(t *testing.T, w *world) *peer { return peerAt(t, "127.0.0.5:0", w.Addr("phone", "udp")) }

// clock is a time that a test turns.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// proof answers a challenge.
func proof(t *testing.T, challenge, method, uri, user, password string, nc int) string {
	t.Helper()
	c, err := digest.ParseChallenge(challenge)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := digest.Digest(c, digest.Options{Method: method, URI: uri, Username: user, Password: password, Count: nc})
	if err != nil {
		t.Fatal(err)
	}
	return "Authorization: " + cred.String()
}

// register sends a REGISTER with proof and returns the answer.
type registrant struct {
	*peer
	seq       int
	challenge string
	nc        int
	user      string
	password  string
	algorithm string
	hidden    string // what Via names in place of the socket
}

func newRegistrant(p *peer, user, password string) *registrant {
	return &registrant{peer: p, user: user, password: password, algorithm: "SHA-256"}
}

func (r *registrant) text(auth string, fields ...string) string {
	r.seq++
	a := ask{method: "REGISTER", uri: "sip:" + r.to.String(), seq: r.seq, noContact: true, fields: fields}
	if auth != "" {
		a.fields = append(a.fields, auth)
	}
	text := strings.ReplaceAll(r.peer.text(a), "<sip:+4930123@", "<sip:"+r.user+"@")
	if r.hidden != "" {
		text = strings.Replace(text, "/UDP "+r.at(), "/UDP "+r.hidden, 1)
	}
	return text
}

// challenged asks without proof.
func (r *registrant) challenged(t *testing.T) *message {
	t.Helper()
	r.send(r.text(""))
	m := r.final("REGISTER")
	if m.status != 401 {
		t.Fatalf("got %s, want 401", m.start)
	}
	r.take(m)
	return m
}

func (r *registrant) take(m *message) {
	for _, v := range m.all("WWW-Authenticate") {
		if strings.HasSuffix(v, "algorithm="+r.algorithm) || strings.Contains(v, "algorithm="+r.algorithm+",") {
			r.challenge, r.nc = v, 0
		}
	}
}

func (r *registrant) register(t *testing.T, fields ...string) *message {
	t.Helper()
	r.nc++
	r.send(r.text(proof(t, r.challenge, "REGISTER", "sip:"+r.to.String(), r.user, r.password, r.nc), fields...))
	return r.final("REGISTER")
}

func (r *registrant) contact() string { return "Contact: <sip:" + r.user + "@192.168.1.9:5062>" }

func TestRegister(t *testing.T) {
	for _, algorithm := range []string{"SHA-256", "MD5"} {
		t.Run(algorithm, func(t *testing.T) {
			w := open(t, nil)
			r := newRegistrant(phonePeer(t, w), "alice", "secret")
			r.algorithm = algorithm
			if m := r.challenged(t); len(m.all("WWW-Authenticate")) != 2 || !strings.Contains(m.get("WWW-Authenticate"), "SHA-256") {
				t.Errorf("challenges: %q", m.all("WWW-Authenticate"))
			}
			m := r.register(t, r.contact(), "Expires: 1200", "User-Agent: Test 1")
			if m.status != 200 || m.get("Contact") != "<sip:alice@192.168.1.9:5062>;expires=1200" || m.get("Date") == "" {
				t.Fatalf("got %s, %v", m.start, m.fields)
			}
			got := <-w.desk.registered
			if got.Phone != "pho_alice" || got.Node != "n1" || got.Contact != "sip:alice@192.168.1.9:5062" || got.Source != r.at() ||
				got.Transport != "udp" || got.CallID != r.id || got.UserAgent != "Test 1" {
				t.Errorf("registered %+v", got)
			}
			if left := time.Until(got.Expires); left < 19*time.Minute || left > 20*time.Minute {
				t.Errorf("expires in %v", left)
			}
			if m := r.register(t); m.status != 200 || !strings.Contains(m.get("Contact"), "sip:alice@192.168.1.9:5062") {
				t.Errorf("asked what holds: %s, %q", m.start, m.get("Contact"))
			}
			if m := r.register(t, "Contact: *", "Expires: 0"); m.status != 200 || m.get("Contact") != "" {
				t.Errorf("left: %s, %q", m.start, m.get("Contact"))
			}
			if got := <-w.desk.registered; got.Expires.After(time.Now()) {
				t.Errorf("left, and it holds until %v", got.Expires)
			}
		})
	}
}

func TestRegisterTimes(t *testing.T) {
	w := open(t, nil)
	r := newRegistrant(phonePeer(t, w), "alice", "secret")
	r.challenged(t)
	if m := r.register(t, r.contact(), "Expires: 30"); m.status != 423 || m.get("Min-Expires") != "60" {
		t.Errorf("30 s: %s, %q", m.start, m.get("Min-Expires"))
	}
	for fields, want := range map[string]string{
		r.contact() + "|Expires: 7200":                 "3600",
		r.contact() + "|Expires: 99999999999999999999": "3600",
		r.contact():                             "3600",
		r.contact() + ";expires=60|Expires: 30": "60",
		"Contact: <sip:old@a>;expires=0, <sip:new@b>;expires=100": "100",
	} {
		m := r.register(t, strings.Split(fields, "|")...)
		if m.status != 200 || !strings.HasSuffix(m.get("Contact"), "expires="+want) {
			t.Errorf("%s: %s, %q, want %s", fields, m.start, m.get("Contact"), want)
		}
	}
	for fields, want := range map[string]int{
		"Contact: *|Expires: 60":                 400,
		"Contact: *, <sip:a@b>|Expires: 0":       400,
		"Contact: <mailto:a@b.example>":          400,
		"Contact: <sip:a@b>;;":                   400,
		"Contact: <sip:x@10.0.0.1>;expires=none": 200, // malformed counts as the longest
	} {
		if m := r.register(t, strings.Split(fields, "|")...); m.status != want {
			t.Errorf("%s: %s, want %d", fields, m.start, want)
		}
	}
}

// RFC 3261 section 10.3, step 7.
func TestRegisterOrder(t *testing.T) {
	w := open(t, nil)
	r := newRegistrant(phonePeer(t, w), "alice", "secret")
	r.challenged(t)
	r.seq = 10
	if m := r.register(t, r.contact()); m.status != 200 {
		t.Fatal(m.start)
	}
	<-w.desk.registered
	r.seq = 9
	if m := r.register(t, "Contact: <sip:late@10.0.0.1>"); m.status != 500 {
		t.Errorf("an older CSeq: %s", m.start)
	}
	r.id = random() + "@again" // another Call-ID: the phone began anew
	r.seq = 1
	if m := r.register(t, "Contact: <sip:new@10.0.0.1>"); m.status != 200 {
		t.Errorf("another Call-ID: %s", m.start)
	}
	if got := <-w.desk.registered; got.Contact != "sip:new@10.0.0.1" {
		t.Errorf("registered %+v", got)
	}
}

func TestForeignAddress(t *testing.T) {
	w := open(t, func(_ *Config, d *fakeDesk) { d.phones["bob"] = account1("bob", "hunter2") })
	r := newRegistrant(phonePeer(t, w), "alice", "secret")
	r.challenged(t)
	r.user = "bob"
	r.nc++
	text := r.text(proof(t, r.challenge, "REGISTER", "sip:x", "alice", "secret", r.nc), r.contact())
	r.send(text)
	if m := r.final("REGISTER"); m.status != 403 {
		t.Errorf("bob by alice's word: %s", m.start)
	}
}

// A wrong password, an unknown user and no proof at all look the same.
func TestUniformRefusal(t *testing.T) {
	w := open(t, nil)
	shape := regexp.MustCompile(`nonce="[^"]*"|tag=[0-9a-f-]+|branch=[^;]+|rport=\d+|CSeq: \d+|Call-ID: \S+|sip:\w+@|127.0.0.5:\d+`)
	var seen []string
	for _, c := range []struct{ user, password string }{{"alice", "wrong"}, {"nobody", "secret"}} {
		r := newRegistrant(phonePeer(t, w), c.user, c.password)
		seen = append(seen, shape.ReplaceAllString(string(r.challenged(t).bytes()), ""))
		seen = append(seen, shape.ReplaceAllString(string(r.register(t, r.contact()).bytes()), ""))
	}
	for _, s := range seen[1:] {
		if s != seen[0] {
			t.Errorf("these differ:\n%s\n%s", seen[0], s)
		}
	}
	if len(w.desk.registrations) > 0 {
		t.Error("somebody was registered")
	}
}

func TestNonceLife(t *testing.T) {
	c := &clock{at: time.Now()}
	w := open(t, func(cfg *Config, _ *fakeDesk) { cfg.Now = c.now })
	r := newRegistrant(phonePeer(t, w), "alice", "secret")
	r.challenged(t)
	c.turn(61 * time.Second)
	m := r.register(t, r.contact())
	if m.status != 401 || !strings.Contains(m.get("WWW-Authenticate"), "stale=true") {
		t.Fatalf("an old nonce: %s, %q", m.start, m.get("WWW-Authenticate"))
	}
	r.take(m)
	if m := r.register(t, r.contact()); m.status != 200 {
		t.Errorf("a new one: %s", m.start)
	}
	// Another address cannot use it, nor can one be made up.
	q := newRegistrant(peerAt(t, "127.0.0.6:0", w.Addr("phone", "udp")), "alice", "secret")
	q.challenge = r.challenge
	if m := q.register(t, q.contact()); m.status != 401 || strings.Contains(m.get("WWW-Authenticate"), "stale") {
		t.Errorf("from another address: %s, %q", m.start, m.get("WWW-Authenticate"))
	}
	q.challenge = `Digest realm="tributary", nonce="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", qop="auth", algorithm=MD5`
	if m := q.register(t, q.contact()); m.status != 401 {
		t.Errorf("made up: %s", m.start)
	}
}

// A phone behind a router names an address that nobody reaches: answers and calls go where its request came from, asked for
// by rport (RFC 3581) or not.
func TestBehindRouter(t *testing.T) {
	w := open(t, nil)
	for _, rport := range []string{"", ";rport"} {
		r := newRegistrant(phonePeer(t, w), "alice", "secret")
		r.hidden = "192.168.1.9:5062" + rport
		r.challenged(t)
		m := r.register(t, r.contact())
		if _, port, _ := strings.Cut(r.at(), ":"); m.status != 200 || !strings.Contains(m.get("Via"), "rport="+port) || !strings.Contains(m.get("Via"), "received=127.0.0.5") {
			t.Errorf("%s, Via %q", m.start, m.get("Via"))
		}
		if got := <-w.desk.registered; got.Source != r.at() || got.Contact != "sip:alice@192.168.1.9:5062" {
			t.Errorf("registered %+v", got)
		}
	}
}

// The same nonce and count do not count twice; a repetition by the transport is no second time.
func TestReplay(t *testing.T) {
	w := open(t, nil)
	r := newRegistrant(phonePeer(t, w), "alice", "secret")
	r.challenged(t)
	text := r.text(proof(t, r.challenge, "REGISTER", "sip:x", "alice", "secret", 1), r.contact())
	r.send(text)
	if m := r.final("REGISTER"); m.status != 200 {
		t.Fatal(m.start)
	}
	r.send(text) // the same transaction
	if m := r.final("REGISTER"); m.status != 200 {
		t.Errorf("repeated by the transport: %s", m.start)
	}
	again := regexp.MustCompile(`branch=[^\r;]+`).ReplaceAllString(text, "branch=z9hG4bK"+random())
	r.send(strings.Replace(again, "CSeq: 2", "CSeq: 3", 1))
	if m := r.final("REGISTER"); m.status != 401 || !strings.Contains(m.get("WWW-Authenticate"), "stale=true") {
		t.Errorf("replayed: %s", m.start)
	}
}

func TestLockout(t *testing.T) {
	c := &clock{at: time.Now()}
	w := open(t, func(cfg *Config, _ *fakeDesk) { cfg.Now = c.now })
	r := newRegistrant(phonePeer(t, w), "alice", "wrong")
	r.challenged(t)
	for range strikes {
		if m := r.register(t, r.contact()); m.status != 401 {
			t.Fatalf("wrong: %s", m.start)
		}
	}
	r.password = "secret"
	w.desk.mu.Lock()
	before := w.desk.lookups
	w.desk.mu.Unlock()
	if m := r.register(t, r.contact()); m.status != 403 {
		t.Errorf("locked: %s", m.start)
	}
	w.desk.mu.Lock()
	if w.desk.lookups != before {
		t.Error("the account was looked up")
	}
	w.desk.mu.Unlock()
	// Another address is not locked.
	q := newRegistrant(peerAt(t, "127.0.0.6:0", w.Addr("phone", "udp")), "alice", "secret")
	q.challenged(t)
	if m := q.register(t, q.contact()); m.status != 200 {
		t.Errorf("from elsewhere: %s", m.start)
	}
	c.turn(lockout + time.Second)
	r.id = random()
	r.challenged(t)
	if m := r.register(t, r.contact()); m.status != 200 {
		t.Errorf("later: %s", m.start)
	}
}

// A flood of phones is no flood of look-ups.
func TestLookupsAreBounded(t *testing.T) {
	slow := make(chan struct{})
	w := open(t, func(_ *Config, d *fakeDesk) { d.slow = slow })
	var list []*registrant
	for range lookupsMax + 10 {
		r := newRegistrant(phonePeer(t, w), "alice", "secret")
		r.challenged(t)
		list = append(list, r)
	}
	for _, r := range list {
		r.nc++
		r.send(r.text(proof(t, r.challenge, "REGISTER", "sip:x", r.user, r.password, r.nc), r.contact()))
	}
	refused := func() (n int) {
		for _, r := range list {
			n += len(r.in)
		}
		return n
	}
	until(t, "ten are refused", func() bool { return refused() >= 10 })
	close(slow)
	codes := map[int]int{}
	for _, r := range list {
		codes[r.final("REGISTER").status]++
	}
	if codes[503] != 10 || codes[200] != lookupsMax {
		t.Errorf("answers: %v", codes)
	}
}

func TestPhoneMayNotCall(t *testing.T) {
	w := open(t, nil)
	p := phonePeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
	m := p.final("INVITE")
	if m.status != 401 {
		t.Fatal(m.start)
	}
	p.ask(ask{method: "INVITE", seq: 2, body: offerSDP, fields: []string{proof(t, m.get("WWW-Authenticate"), "INVITE", "sip:x", "alice", "secret", 1)}})
	if m := p.final("INVITE"); m.status != 403 || !strings.Contains(m.start, "started by the desk") {
		t.Error(m.start)
	}
	p.ask(ask{method: "MESSAGE", seq: 3})
	if m := p.final("MESSAGE"); m.status != 405 || m.get("Allow") == "" {
		t.Error(m.start)
	}
	p.ask(ask{method: "BYE", seq: 4, toTag: "x"})
	p.status(481, "BYE")
	p.ask(ask{method: "OPTIONS", seq: 5})
	if m := p.status(200, "OPTIONS"); !strings.Contains(m.get("Allow"), "REGISTER") {
		t.Error(m.get("Allow"))
	}
}

// Who is faster than his bucket is not heard; his neighbour is.
func TestBucket(t *testing.T) {
	c := &clock{at: time.Now()}
	w := open(t, func(cfg *Config, _ *fakeDesk) { cfg.Now, cfg.Limits.Rate, cfg.Limits.Burst = c.now, 1, 5 })
	p := phonePeer(t, w)
	for i := range 10 {
		p.ask(ask{method: "OPTIONS", seq: i + 1})
	}
	q := peerAt(t, "127.0.0.6:0", w.Addr("phone", "udp"))
	q.ask(ask{method: "OPTIONS", seq: 1})
	q.status(200, "OPTIONS")
	until(t, "five are answered", func() bool { return len(p.in) >= 5 })
	time.Sleep(soon) // what must not come
	if n := len(p.in); n != 5 {
		t.Errorf("%d of 10 were heard, want 5", n)
	}
}

// A call to a phone goes where the REGISTER came from, over UDP and over its connection of TCP, whatever its Contact says.
func TestCallPhone(t *testing.T) {
	w := open(t, nil)
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			p := phonePeer(t, w)
			if network == "tcp" {
				p = dialPeer(t, "127.0.0.5:0", w.Addr("phone", "tcp"))
			}
			r := newRegistrant(p, "alice", "secret")
			r.challenged(t)
			r.register(t, r.contact())
			reg := <-w.desk.registered
			if reg.Transport != network {
				t.Errorf("transport %q", reg.Transport)
			}
			d, err := w.DialPhone(t.Context(), reg, Outgoing{From: "+49170555", Name: "Ms \"Quoted\" \\ Ümlaut", SDP: []byte(offerSDP)})
			if err != nil {
				t.Fatal(err)
			}
			m := p.asked("INVITE")
			if m.uri != "sip:alice@192.168.1.9:5062" || unquote(m.from.name) != "Ms \"Quoted\" \\ Ümlaut" || userPart(m.from.uri) != "+49170555" || string(m.body) != offerSDP {
				t.Errorf("INVITE %s from %+v", m.uri, m.from)
			}
			p.answer(m, 180, "t1", "")
			event(t, d, EventRinging)
			p.answer(m, 200, "t1", answerSDP)
			if e := event(t, d, EventAnswered); string(e.SDP) != answerSDP {
				t.Errorf("answer %q", e.SDP)
			}
			p.asked("ACK")
			// It is its turn to say good-bye.
			bye := fmt.Sprintf("BYE sip:x@%s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=z9hG4bK%s\r\nFrom: %s;tag=t1\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
				p.to, p.network(), p.at(), random(), m.get("To"), m.get("From"), m.callID)
			p.send(bye)
			p.status(200, "BYE")
			event(t, d, EventEnded)
			w.settle()
		})
	}
}

func TestCallPhoneWithoutFlow(t *testing.T) {
	w := open(t, nil)
	d, err := w.DialPhone(t.Context(), voice.Registration{Contact: "sip:a@10.0.0.1", Source: "127.0.0.5:9", Transport: "tcp"}, Outgoing{SDP: []byte(offerSDP)})
	if err != nil {
		t.Fatal(err)
	}
	if e := event(t, d, EventEnded); e.Code != 480 {
		t.Errorf("ended: %+v", e)
	}
	w.settle()
}

// RFC 5626 section 4.4.1: two line ends are a ping, one is the answer.
func TestKeepAlive(t *testing.T) {
	w := open(t, nil)
	p := dialPeer(t, "127.0.0.5:0", w.Addr("phone", "tcp"))
	for _, parts := range [][]string{{"\r\n\r\n"}, {"\r\n", "\r\n"}} {
		for _, s := range parts {
			p.send(s)
		}
		select {
		case got := <-p.raw:
			if string(got) != "\r\n" {
				t.Errorf("answered %q", got)
			}
		case <-time.After(patience):
			t.Fatal("no answer")
		}
	}
	p.ask(ask{method: "OPTIONS", seq: 1})
	p.status(200, "OPTIONS")
}

// A message that comes in pieces, and two that come at once.
func TestStreamFraming(t *testing.T) {
	w := open(t, nil)
	p := dialPeer(t, "127.0.0.5:0", w.Addr("phone", "tcp"))
	one := p.text(ask{method: "OPTIONS", seq: 1, body: "hello\r\n\r\nworld", fields: []string{"Content-Type: text/plain"}})
	two := p.text(ask{method: "OPTIONS", seq: 2})
	all := one + two
	for i := 0; i < len(all); i += 100 {
		p.send(all[i:min(i+100, len(all))])
	}
	for _, seq := range []uint32{1, 2} {
		p.want("200", func(m *message) bool { return m.status == 200 && m.seq == seq })
	}
	// Without a length the end cannot be known: an answer and no more.
	p.send(strings.Replace(p.text(ask{method: "OPTIONS", seq: 3}), "Content-Length: 0\r\n", "", 1))
	p.status(400, "OPTIONS")
	select {
	case _, open := <-p.raw:
		if open {
			t.Error("something else came")
		}
	case <-time.After(patience):
		t.Error("the connection stays")
	}
}

func TestTooLong(t *testing.T) {
	w := open(t, nil)
	p := phonePeer(t, w)
	p.ask(ask{method: "OPTIONS", seq: 1, body: strings.Repeat("x", maxMessage)})
	p.status(513, "OPTIONS")
}
