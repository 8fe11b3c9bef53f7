package gate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tributary/channels/voice"
)

func itoa(n uint16) string { return fmt.Sprint(n) }

var peerless = netip.MustParseAddrPort("127.0.0.1:9")

// listenPeer waits for one connection of TCP and is its far end.
func listenPeer(t testing.TB, at string) *peer {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	return acceptPeer(t, l)
}

func acceptPeer(t testing.TB, l net.Listener) *peer {
	p := &peer{t: t, in: make(chan *message, 256), raw: make(chan []byte, 256), id: random(), tag: random()}
	ready := make(chan net.Conn, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		p.tcp = c
		ready <- c
		var all []byte
		buf := make([]byte, 65536)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			all = append(all, buf[:n]...)
			if head := strings.Index(string(all), "\r\n\r\n"); head >= 0 {
				if size, err := bodyLength(string(all[:head])); err == nil && len(all) >= head+4+size {
					p.got(append([]byte(nil), all[:head+4+size]...))
					all = all[head+4+size:]
				}
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		select {
		case c := <-ready:
			c.Close()
		default:
		}
		<-done
	})
	return p
}

// Strangers are not heard at the door of trunks, and leave nothing behind: traps 2 and 3 of the SIP library.
func TestStrangers(t *testing.T) {
	w := open(t, nil)
	size := w.trunks.tp.Pool("udp").Size()
	for i := range 200 {
		p := peerAt(t, fmt.Sprintf("127.0.9.%d:0", i+1), w.Addr("trunk", "udp"))
		p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
		p.send("garbage\r\n\r\n")
	}
	honest := trunkPeer(t, w)
	honest.alive() // read behind all of them
	if got := w.trunks.tp.Pool("udp").Size(); got != size {
		t.Errorf("the library remembers %d addresses, had %d", got, size)
	}
	if len(w.in) > 0 {
		t.Error("a call of a stranger came in")
	}
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 9, 1)}}).Dial("tcp", w.Addr("trunk", "tcp").String())
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("a stranger's connection gave %d bytes", n)
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a stranger's connection stays open")
		}
		c.Close()
	}
	// Known now, it is heard within a second.
	w.desk.setTrunks(voice.Trunk{ID: testTrunk, Addresses: []string{"127.0.9.0/24"}})
	p := peerAt(t, "127.0.9.7:0", w.Addr("trunk", "udp"))
	until(t, "the trunk's new address is heard", func() bool {
		p.ask(ask{method: "OPTIONS", seq: 1})
		select {
		case <-p.in:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
}

// At the door of phones only who has shown that he gets what we send is remembered.
func TestStrangersAtThePhoneDoor(t *testing.T) {
	w := open(t, nil)
	size := w.phones.tp.Pool("udp").Size()
	for i := range 100 {
		p := peerAt(t, fmt.Sprintf("127.0.9.%d:0", i+1), w.Addr("phone", "udp"))
		p.ask(ask{method: "REGISTER", seq: 1, fields: []string{`Authorization: Digest username="alice", realm="tributary", nonce="AAAA", uri="sip:x", response="00"`}})
		p.final("REGISTER")
		p.ask(ask{method: "INVITE", seq: 2, body: offerSDP})
		p.final("INVITE")
		p.send("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK0123456789abcdef0123456789abcdef\r\nTo: <sip:a@b>;tag=1\r\nFrom: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n")
	}
	last := phonePeer(t, w)
	last.alive()
	if got := w.phones.tp.Pool("udp").Size(); got != size {
		t.Errorf("the library remembers %d addresses, had %d", got, size)
	}
}

func TestTrunkDigest(t *testing.T) {
	w := open(t, func(_ *Config, d *fakeDesk) {
		d.trunks = []voice.Trunk{
			{ID: "trk_a", Addresses: []string{"127.0.0.1"}, Username: "a", Password: "pa"},
			{ID: "trk_b", Addresses: []string{"127.0.0.0/24"}, Username: "b", Password: "pb"},
		}
	})
	for _, c := range []struct {
		user, password string
		want           voice.ID
	}{{"a", "pa", "trk_a"}, {"b", "pb", "trk_b"}, {"b", "pa", ""}, {"c", "x", ""}} {
		p := trunkPeer(t, w)
		p.ask(ask{method: "INVITE", seq: 1, body: offerSDP, branch: "z9hG4bK1" + p.tag})
		m := p.final("INVITE")
		if m.status != 401 {
			t.Fatalf("without proof: %s", m.start)
		}
		p.ask(ask{method: "ACK", seq: 1, branch: "z9hG4bK1" + p.tag, toTag: m.to.tag()})
		p.ask(ask{method: "INVITE", seq: 2, body: offerSDP, fields: []string{proof(t, m.get("WWW-Authenticate"), "INVITE", "sip:x", c.user, c.password, 1)}})
		if c.want == "" {
			if m := p.final("INVITE"); m.status != 401 {
				t.Errorf("%v: %s", c, m.start)
			}
			continue
		}
		in := w.incoming()
		if in.Trunk != c.want {
			t.Errorf("%v: trunk %s", c, in.Trunk)
		}
		in.Refuse(603, "")
	}
}

func TestTrunkLimits(t *testing.T) {
	w := open(t, func(_ *Config, d *fakeDesk) {
		d.trunks = []voice.Trunk{
			{ID: "trk_few", Addresses: []string{"127.0.0.1"}, MaxCalls: 2},
			{ID: "trk_slow", Addresses: []string{"127.0.0.2"}, MaxPerSecond: 1},
			{ID: "trk_paused", Addresses: []string{"127.0.0.3"}, Paused: true},
		}
	})
	first, _ := w.call(trunkPeer(t, w))
	w.call(trunkPeer(t, w))
	p := trunkPeer(t, w)
	p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
	if m := p.status(503, "INVITE"); m.get("Retry-After") != "5" {
		t.Errorf("Retry-After %q", m.get("Retry-After"))
	}
	first.HangUp("")
	until(t, "the first is gone", func() bool { return w.Count() == 1 })
	w.call(trunkPeer(t, w))
	codes := map[int]int{}
	for range 4 {
		p := peerAt(t, "127.0.0.2:0", w.Addr("trunk", "udp"))
		p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
		select {
		case in := <-w.in:
			in.Refuse(603, "")
		case m := <-p.in:
			codes[m.status]++
		case <-time.After(patience):
			t.Fatal("no answer")
		}
	}
	if codes[503] < 2 {
		t.Errorf("a trunk of one a second: %v", codes)
	}
	q := peerAt(t, "127.0.0.3:0", w.Addr("trunk", "udp"))
	q.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
	q.status(503, "INVITE")
}

func TestCallerIdentity(t *testing.T) {
	w := open(t, func(_ *Config, d *fakeDesk) {
		d.trunks = []voice.Trunk{
			{ID: "trk_trusted", Addresses: []string{"127.0.0.1"}, TrustsCaller: true, Headers: []string{"Diversion", "X-Id"}},
			{ID: "trk_plain", Addresses: []string{"127.0.0.2"}},
		}
	})
	const asserted = `P-Asserted-Identity: "The \"Boss\"" <sip:+4911@carrier.example>, <tel:+4911>`
	for _, c := range []struct {
		at, from   string
		fields     []string
		want, name string
		asserted   bool
	}{
		{"127.0.0.1", "", []string{asserted}, "+4911", `The "Boss"`, true},
		{"127.0.0.2", "", []string{asserted}, "+49170555", "A Caller", false},
		{"127.0.0.1", "", nil, "+49170555", "A Caller", false},
		{"127.0.0.1", "", []string{"P-Asserted-Identity: <tel:+4911;cic=1>"}, "+4911", "", true},
		{"127.0.0.1", "", []string{asserted, "Privacy: id"}, "", "", true},
		{"127.0.0.2", `"Anonymous" <sip:anonymous@anonymous.invalid>`, nil, "", "", false},
		{"127.0.0.2", `<sip:+49%31%32@x.example>`, nil, "+4912", "", false},
	} {
		p := peerAt(t, c.at+":0", w.Addr("trunk", "udp"))
		text := p.text(ask{method: "INVITE", seq: 1, body: offerSDP, fields: append(c.fields, "diversion: <sip:x@y>", "X-Id: 7\x00 8")})
		if c.from != "" {
			text = strings.Replace(text, `"A Caller" <sip:+49170555@example.com>`, c.from, 1)
		}
		p.send(text)
		in := w.incoming()
		if in.From != c.want || in.Name != c.name || in.Asserted != c.asserted {
			t.Errorf("%v: %q %q %v", c, in.From, in.Name, in.Asserted)
		}
		if c.at == "127.0.0.1" && (in.Headers["Diversion"] != "<sip:x@y>" || in.Headers["X-Id"] != "7 8") {
			t.Errorf("headers %v", in.Headers)
		}
		in.Refuse(603, "")
	}
}

// Trap 3: a listener that ends is opened again on its port.
func TestListenerIsOpenedAgain(t *testing.T) {
	w := open(t, nil)
	for _, network := range []string{"udp", "tcp"} {
		at := w.Addr("trunk", network)
		l := w.trunks.listener(network)
		l.mu.Lock()
		s := l.socket
		l.mu.Unlock()
		s.Close()
		until(t, network+" answers again", func() bool {
			if network == "tcp" {
				c, err := net.DialTimeout("tcp", at.String(), time.Second)
				if err == nil {
					c.Close()
				}
				return err == nil
			}
			p := trunkPeer(t, w)
			p.ask(ask{method: "OPTIONS", seq: 1})
			select {
			case <-p.in:
				return true
			case <-time.After(100 * time.Millisecond):
				return false
			}
		})
		if w.Addr("trunk", network) != at {
			t.Errorf("it is at %v now, was at %v", w.Addr("trunk", network), at)
		}
	}
	in, _ := w.call(trunkPeer(t, w))
	in.HangUp("")
}

// Trap 8: a request goes out the moment that Open returned, from the port that listens.
func TestRequestRightAfterOpen(t *testing.T) {
	for range 10 {
		p := peerAt(t, "127.0.0.1:0", peerless)
		w := open(t, func(_ *Config, d *fakeDesk) { d.trunks = []voice.Trunk{{ID: testTrunk, Server: p.at()}} })
		d := w.dialTrunk(t.Context(), Outgoing{})
		m := p.want("INVITE", func(m *message) bool { return m.method == "INVITE" })
		if m.via[0].port != int(w.Addr("trunk", "udp").Port()) {
			t.Fatalf("Via %v, we listen at %v", m.via[0], w.Addr("trunk", "udp"))
		}
		p.to = w.Addr("trunk", "udp")
		p.answer(m, 486, "t", "")
		event(t, d, EventEnded)
	}
}

// A trunk over TLS, both ways: the far end calls us, and we call it and verify its certificate.
func TestTLS(t *testing.T) {
	cert, key, roots := certificate(t)
	w := open(t, func(c *Config, _ *fakeDesk) {
		c.TrunkTLS, c.Certificate, c.Key, c.Roots = "127.0.0.1:0", cert, key, roots
	})
	c, err := tls.Dial("tcp", w.Addr("trunk", "tls").String(), &tls.Config{RootCAs: roots, ServerName: "trunk.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := &peer{t: t, tcp: c, to: w.Addr("trunk", "tls"), id: random(), tag: random()}
	p.send(strings.Replace(p.text(ask{method: "OPTIONS", seq: 1}), "SIP/2.0/TCP", "SIP/2.0/TLS", 1))
	buf := make([]byte, 4096)
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, err := c.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "SIP/2.0 200") {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	q := acceptPeer(t, l)
	w.desk.setTrunks(voice.Trunk{ID: testTrunk, Server: l.Addr().String(), Transport: "tls"})
	if err := w.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := w.dialTrunk(t.Context(), Outgoing{})
	m := q.asked("INVITE")
	if m.via[0].transport != "TLS" {
		t.Errorf("Via %v", m.via[0])
	}
	q.answer(m, 486, "t", "")
	if e := event(t, d, EventEnded); e.Code != 486 {
		t.Errorf("ended: %+v", e)
	}
	// Another name is not the trunk's, neither over the connection that stands nor over a new one.
	l2, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	q2 := acceptPeer(t, l2)
	for _, c := range []struct {
		at net.Listener
		by *peer
	}{{l, q}, {l2, q2}} {
		w.desk.setTrunks(voice.Trunk{ID: testTrunk, Server: "localhost:" + fmt.Sprint(c.at.Addr().(*net.TCPAddr).Port), Transport: "tls"})
		if err := w.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		d = w.dialTrunk(t.Context(), Outgoing{})
		if e := event(t, d, EventEnded); e.Code != 503 || !strings.Contains(e.Reason, "certificate") {
			t.Errorf("ended: %+v", e)
		}
		c.by.silent("an INVITE", func(m *message) bool { return m.method == "INVITE" })
	}
}

func certificate(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "trunk.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"trunk.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	return cert, key, roots
}
