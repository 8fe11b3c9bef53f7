package gate

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"tributary/channels/voice"
)

// names is a name server that knows SRV records and addresses.
func names(t *testing.T, srv map[string][]dnsmessage.SRVResource, a map[string][4]byte) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			_, isName := a[q.Name.String()]
			switch q.Type {
			case dnsmessage.TypeSRV:
				for _, r := range srv[q.Name.String()] {
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &r})
				}
			case dnsmessage.TypeA:
				if ip, ok := a[q.Name.String()]; ok {
					m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: ip}})
				}
			}
			if len(m.Answers) == 0 && !isName {
				m.RCode = dnsmessage.RCodeNameError
			}
			if out, err := m.Pack(); err == nil {
				_, _ = c.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, c.LocalAddr().String())
	}}
}

func port(p *peer) uint16 { return netip.MustParseAddrPort(p.at()).Port() }

// A name without a port is looked up by SRV, in the order of priorities, and the next is tried after a 503; one with a port
// is not: RFC 3263 section 4.
func TestServerByName(t *testing.T) {
	first, second := peerAt(t, "127.0.0.1:0", peerless), peerAt(t, "127.0.0.2:0", peerless)
	resolver := names(t, map[string][]dnsmessage.SRVResource{
		"_sip._udp.trunk.example.": {
			{Priority: 20, Port: port(second), Target: dnsmessage.MustNewName("two.example.")},
			{Priority: 10, Port: port(first), Target: dnsmessage.MustNewName("one.example.")},
		},
	}, map[string][4]byte{"one.example.": {127, 0, 0, 1}, "two.example.": {127, 0, 0, 2}})
	w := open(t, func(c *Config, d *fakeDesk) {
		c.Resolver = resolver
		d.trunks = []voice.Trunk{{ID: testTrunk, Server: "trunk.example"}}
	})
	first.to, second.to = w.Addr("trunk", "udp"), w.Addr("trunk", "udp")
	d := w.dialTrunk(t.Context(), Outgoing{})
	m := first.asked("INVITE")
	if m.uri != "sip:+4930123@trunk.example" {
		t.Errorf("INVITE %s", m.uri)
	}
	first.answer(m, 503, "t", "")
	m = second.asked("INVITE")
	second.answer(m, 486, "t", "")
	if e := event(t, d, EventEnded); e.Code != 486 {
		t.Errorf("ended: %+v", e)
	}
	w.desk.setTrunks(voice.Trunk{ID: testTrunk, Server: net.JoinHostPort("two.example", itoa(port(second)))})
	if err := w.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = w.dialTrunk(t.Context(), Outgoing{})
	second.answer(second.asked("INVITE"), 404, "t", "")
	if e := event(t, d, EventEnded); e.Code != 404 {
		t.Errorf("ended: %+v", e)
	}
	w.desk.setTrunks(voice.Trunk{ID: testTrunk, Server: "nowhere.example"})
	if err := w.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = w.dialTrunk(t.Context(), Outgoing{})
	if e := event(t, d, EventEnded); e.Code != 503 {
		t.Errorf("ended: %+v", e)
	}
	w.settle()
}

func TestIPv6(t *testing.T) {
	if c, err := net.ListenPacket("udp", "[::1]:0"); err != nil {
		t.Skip("SKIPPED: this machine has no IPv6")
	} else {
		c.Close()
	}
	w := open(t, func(c *Config, d *fakeDesk) {
		c.Trunk = "[::1]:0"
		d.trunks = []voice.Trunk{{ID: testTrunk, Addresses: []string{"::1"}}}
	})
	p := peerAt(t, "[::1]:0", w.Addr("trunk", "udp"))
	in, _ := w.call(p)
	in.HangUp("")
	bye := p.asked("BYE")
	if bye.via[0].host != "[::1]" || bye.contacts[0].uri != "sip:Tributary@[::1]:"+itoa(w.Addr("trunk", "udp").Port()) {
		t.Errorf("BYE: %v", bye.fields)
	}
	p.answer(bye, 200, "", "")
	event(t, in, EventEnded)
	w.settle()
}
