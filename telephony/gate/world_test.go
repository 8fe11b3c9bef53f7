package gate

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tributary/channels/voice"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// soon is how long a test waits for what must not come.
const soon = 400 * time.Millisecond

// fakeDesk is a desk of one's own.
type fakeDesk struct {
	mu            sync.Mutex
	trunks        []voice.Trunk
	phones        map[string]voice.Phone
	registrations []voice.Registration
	registered    chan voice.Registration
	health        chan error
	lookups       int
	slow          chan struct{} // look-ups wait until it is closed
}

func (d *fakeDesk) Trunks(context.Context) ([]voice.Trunk, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]voice.Trunk(nil), d.trunks...), nil
}

func (d *fakeDesk) setTrunks(list ...voice.Trunk) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trunks = list
}

func (d *fakeDesk) TrunkHealth(_ context.Context, _ voice.ID, err error) error {
	select {
	case d.health <- err:
	default:
	}
	return nil
}

func (d *fakeDesk) Phone(_ context.Context, user string) (voice.Phone, error) {
	if d.slow != nil {
		<-d.slow
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookups++
	p, ok := d.phones[user]
	if !ok {
		return p, voice.ErrUnknown
	}
	return p, nil
}

func (d *fakeDesk) Register(_ context.Context, r voice.Registration) error {
	d.mu.Lock()
	d.registrations = append(d.registrations, r)
	d.mu.Unlock()
	select {
	case d.registered <- r:
	default:
	}
	return nil
}

// world is a gate with its desk and the calls that came in.
type world struct {
	*Gate
	t    testing.TB
	desk *fakeDesk
	in   chan *Incoming
	stop context.CancelFunc
	ran  chan struct{}
}

const testTrunk = voice.ID("trk_1")

func open(t testing.TB, change func(*Config, *fakeDesk)) *world {
	t.Helper()
	w := &world{t: t, in: make(chan *Incoming, 4096), ran: make(chan struct{})}
	w.desk = &fakeDesk{
		trunks:     []voice.Trunk{{ID: testTrunk, Addresses: []string{"127.0.0.1", "127.0.0.77"}}},
		phones:     map[string]voice.Phone{"alice": account1("alice", "secret")},
		registered: make(chan voice.Registration, 64), health: make(chan error, 64),
	}
	cfg := Config{
		Trunk: "127.0.0.1:0", Phone: "127.0.0.1:0", Node: "n1", Epoch: 7, Desk: w.desk,
		Secret: []byte("0123456789abcdef0123456789abcdef"), Incoming: func(in *Incoming) { w.in <- in },
		Limits: Limits{Rate: 10_000, Burst: 10_000},
		Dial:   new(net.Dialer).DialContext,
	}
	if os.Getenv("GATE_LOG") != "" {
		cfg.Log = slog.Default()
	}
	if change != nil {
		change(&cfg, w.desk)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g, err := Open(ctx, cfg)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	w.Gate, w.stop = g, cancel
	go func() {
		defer close(w.ran)
		_ = g.Run(ctx)
	}()
	t.Cleanup(w.close)
	return w
}

func (w *world) close() {
	w.stop()
	select {
	case <-w.ran:
	case <-time.After(patience):
		w.t.Error("the gate does not end")
	}
}

func account1(user, password string) voice.Phone {
	return voice.Phone{ID: voice.ID("pho_" + user), Agent: "agt_1", Username: user, HA1: map[string]string{
		"MD5": ha1("MD5", user, password), "SHA-256": ha1("SHA-256", user, password),
	}}
}

// incoming waits for a call.
func (w *world) incoming() *Incoming {
	w.t.Helper()
	select {
	case in := <-w.in:
		return in
	case <-time.After(patience):
		w.t.Fatal("no call came in")
		return nil
	}
}

// event waits for the next event of a dialog and wants it to be of that kind.
func event(t testing.TB, d Dialog, want EventKind) Event {
	t.Helper()
	select {
	case e, ok := <-d.Events():
		if !ok || e.Kind != want {
			t.Fatalf("got event %+v (open %v), want %s", e, ok, want)
		}
		return e
	case <-time.After(patience):
		t.Fatalf("no event, want %s", want)
	}
	return Event{}
}

// quiet wants no event for a short while.
func quiet(t testing.TB, d Dialog) {
	t.Helper()
	select {
	case e := <-d.Events():
		t.Fatalf("got event %+v, want none", e)
	case <-time.After(soon):
	}
}

// settle waits until the gate holds no dialog.
func (w *world) settle() {
	w.t.Helper()
	until(w.t, "no dialog is left", func() bool { return w.Count() == 0 })
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("in vain waited until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// peer is a far end made by hand: a socket of UDP, or a connection of TCP.
type peer struct {
	t    testing.TB
	udp  *net.UDPConn
	tcp  net.Conn
	to   netip.AddrPort
	in   chan *message
	raw  chan []byte
	id   string
	tag  string
	back []*message // read and not wanted yet
}

// peerAt binds a socket and speaks to that address.
func peerAt(t testing.TB, at string, to netip.AddrPort) *peer {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, udp: c, to: to, in: make(chan *message, 256), raw: make(chan []byte, 256), id: random() + "@test", tag: random()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65536)
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			p.got(append([]byte(nil), buf[:n]...))
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return p
}

// dialPeer connects by TCP from an address of one's own.
func dialPeer(t testing.TB, from string, to netip.AddrPort) *peer {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from)), Timeout: patience}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, tcp: c, to: to, in: make(chan *message, 256), raw: make(chan []byte, 256), id: random() + "@test", tag: random()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(p.raw)
		var all []byte
		buf := make([]byte, 65536)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			all = append(all, buf[:n]...)
			for {
				head := strings.Index(string(all), "\r\n\r\n")
				if head < 0 {
					if string(all) == "\r\n" {
						p.raw <- all
						all = nil
					}
					break
				}
				size, err := bodyLength(string(all[:head]))
				if err != nil || len(all) < head+4+size {
					break
				}
				p.got(append([]byte(nil), all[:head+4+size]...))
				all = all[head+4+size:]
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return p
}

func (p *peer) got(data []byte) {
	m, _ := scan(data)
	if m == nil {
		p.raw <- data
		return
	}
	m.check()
	p.in <- m
}

func (p *peer) at() string {
	if p.tcp != nil {
		return p.tcp.LocalAddr().String()
	}
	return p.udp.LocalAddr().String()
}

func (p *peer) network() string {
	if p.tcp != nil {
		return "TCP"
	}
	return "UDP"
}

func (p *peer) send(text string) {
	p.t.Helper()
	var err error
	if p.tcp != nil {
		_, err = p.tcp.Write([]byte(text))
	} else {
		_, err = p.udp.WriteToUDPAddrPort([]byte(text), p.to)
	}
	if err != nil {
		p.t.Error(err)
	}
}

// want waits for a message that fits; others are kept for later.
func (p *peer) want(what string, ok func(*message) bool) *message {
	p.t.Helper()
	for i, m := range p.back {
		if ok(m) {
			p.back = append(p.back[:i], p.back[i+1:]...)
			return m
		}
	}
	end := time.After(patience)
	for {
		select {
		case m := <-p.in:
			if ok(m) {
				return m
			}
			p.back = append(p.back, m)
		case <-end:
			var had []string
			for _, m := range p.back {
				had = append(had, m.start+" ("+m.get("CSeq")+")")
			}
			p.t.Fatalf("%s did not come; came: %s", what, strings.Join(had, "; "))
		}
	}
}

// status waits for a response of that code to the method.
func (p *peer) status(code int, method string) *message {
	p.t.Helper()
	return p.want(fmt.Sprintf("%d to %s", code, method), func(m *message) bool { return m.status == code && m.seqName == method })
}

// final waits for the first final response to the method.
func (p *peer) final(method string) *message {
	p.t.Helper()
	return p.want("an answer to "+method, func(m *message) bool { return m.status >= 200 && m.seqName == method })
}

// asked waits for a request of that method.
func (p *peer) asked(method string) *message {
	p.t.Helper()
	return p.want(method, func(m *message) bool { return m.method == method })
}

// silent wants nothing that fits for a short while.
func (p *peer) silent(what string, ok func(*message) bool) {
	p.t.Helper()
	end := time.After(soon)
	for {
		select {
		case m := <-p.in:
			if ok(m) {
				p.t.Fatalf("%s came: %s", what, m.start)
			}
			p.back = append(p.back, m)
		case <-end:
			return
		}
	}
}

// ask is what a request of the peer holds.
type ask struct {
	method, uri string
	seq         int
	branch      string // "": a new one
	toTag       string
	fields      []string
	body        string
	noContact   bool
}

func (p *peer) text(a ask) string {
	if a.uri == "" {
		a.uri = "sip:+4930123@" + p.to.String()
	}
	if a.branch == "" {
		a.branch = "z9hG4bK" + random()
	}
	to := "<sip:+4930123@" + p.to.String() + ">"
	if a.toTag != "" {
		to += ";tag=" + a.toTag
	}
	lines := []string{
		a.method + " " + a.uri + " SIP/2.0",
		"Via: SIP/2.0/" + p.network() + " " + p.at() + ";branch=" + a.branch,
		`From: "A Caller" <sip:+49170555@example.com>;tag=` + p.tag,
		"To: " + to,
		"Call-ID: " + p.id,
		fmt.Sprintf("CSeq: %d %s", a.seq, a.method),
		"Max-Forwards: 70",
	}
	if !a.noContact {
		lines = append(lines, "Contact: <sip:peer@"+p.at()+";transport="+strings.ToLower(p.network())+">")
	}
	lines = append(lines, a.fields...)
	if a.body != "" && !strings.Contains(strings.Join(a.fields, "\n"), "Content-Type") {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(a.body)))
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + a.body
}

func (p *peer) ask(a ask) { p.t.Helper(); p.send(p.text(a)) }

// answer responds to a request that came.
func (p *peer) answer(m *message, code int, tag, body string, fields ...string) {
	p.t.Helper()
	lines := []string{fmt.Sprintf("SIP/2.0 %d Text", code)}
	for _, v := range m.all("Via") {
		lines = append(lines, "Via: "+v)
	}
	to := m.get("To")
	if m.to.tag() == "" && tag != "" {
		to += ";tag=" + tag
	}
	lines = append(lines, "From: "+m.get("From"), "To: "+to, "Call-ID: "+m.callID, "CSeq: "+m.get("CSeq"),
		"Contact: <sip:peer@"+p.at()+";transport="+strings.ToLower(p.network())+">")
	lines = append(lines, fields...)
	if body != "" {
		lines = append(lines, "Content-Type: application/sdp")
	}
	lines = append(lines, fmt.Sprintf("Content-Length: %d", len(body)))
	p.send(strings.Join(lines, "\r\n") + "\r\n\r\n" + body)
}

// alive asks until it is answered: a datagram may be lost where many come at once.
func (p *peer) alive() {
	p.t.Helper()
	until(p.t, "OPTIONS is answered", func() bool {
		p.ask(ask{method: "OPTIONS", seq: 1})
		select {
		case m := <-p.in:
			return m.status == 200
		case <-time.After(500 * time.Millisecond):
			return false
		}
	})
}

const (
	offerSDP  = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
	answerSDP = "v=0\r\no=- 2 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n"
)

// call makes an inbound call that stands; it returns our end, our tag, and the next CSeq of the peer.
func (w *world) call(p *peer) (*Incoming, string) {
	w.t.Helper()
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
	in := w.incoming()
	in.Accept([]byte(answerSDP))
	ok := p.status(200, "INVITE")
	p.ask(ask{method: "ACK", seq: 1, toTag: ok.to.tag()})
	event(w.t, in, EventConfirmed)
	return in, ok.to.tag()
}
