package gate

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"tributary/channels/voice"
)

// heap is what lives after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// flood sends about 2,000 messages a second from many ports and addresses of strangers.
func flood(t *testing.T, to netip.AddrPort, length time.Duration, text func(i int) string) int {
	t.Helper()
	var conns []*net.UDPConn
	for i := range 200 {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 9, byte(i+1))})
		if err != nil {
			t.Error(err)
			return 1
		}
		defer c.Close()
		conns = append(conns, c)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	sent := 0
	for end := time.Now().Add(length); time.Now().Before(end); {
		<-tick.C
		for range 12 {
			if _, err := conns[sent%len(conns)].WriteToUDPAddrPort([]byte(text(sent)), to); err != nil {
				t.Error(err)
				return 1
			}
			sent++
		}
	}
	return sent
}

// A flood of INVITEs of strangers brings no call and leaves nothing, and a trunk's call is set up meanwhile.
func TestFlood(t *testing.T) {
	for _, door := range []string{"trunk", "phone"} {
		t.Run(door, func(t *testing.T) {
			w := open(t, func(c *Config, _ *fakeDesk) { c.Limits.Rate, c.Limits.Burst = 50, 200 })
			p := trunkPeer(t, w)
			p.alive()
			before, pool := heap(), 0
			for _, d := range w.doors() {
				pool += d.tp.Pool("udp").Size()
			}
			done := make(chan int, 1)
			go func() {
				done <- flood(t, w.Addr(door, "udp"), 3*time.Second, func(i int) string {
					return fmt.Sprintf("INVITE sip:100@x SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9:9;branch=z9hG4bK%d;rport\r\nFrom: <sip:a@b>;tag=%d\r\nTo: <sip:100@x>\r\n"+
						"Call-ID: flood%d\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.9>\r\nContent-Length: 0\r\n\r\n", i, i, i)
				})
			}()
			made, sent := 0, 0
			for sent == 0 {
				q := trunkPeer(t, w)
				in, tag := w.call(q)
				q.ask(ask{method: "BYE", seq: 2, toTag: tag})
				q.status(200, "BYE")
				event(t, in, EventEnded)
				made++
				select {
				case sent = <-done:
				case <-time.After(100 * time.Millisecond):
				}
			}
			w.settle()
			if made < 3 {
				t.Errorf("%d calls of the trunk were set up meanwhile", made)
			}
			if len(w.in) > 0 {
				t.Errorf("%d calls of strangers came in", len(w.in))
			}
			grown := heap() - before
			t.Logf("%d INVITEs of strangers, %d calls of the trunk, heap grew by %d kB", sent, made, grown>>10)
			if grown > 4<<20 {
				t.Errorf("the heap grew by %d bytes", grown)
			}
			now := 0
			for _, d := range w.doors() {
				now += d.tp.Pool("udp").Size()
			}
			if now > pool+made {
				t.Errorf("the library remembers %d addresses, had %d and %d callers", now, pool, made)
			}
		})
	}
}

// What a trunk itself sends is bounded, too: beyond it the answer is 503, and nothing is kept.
func TestPendingIsBounded(t *testing.T) {
	w := open(t, func(c *Config, d *fakeDesk) {
		c.Limits.Pending = 20
		d.trunks = []voice.Trunk{{ID: testTrunk, Addresses: []string{"127.0.0.1"}, Paused: true}}
	})
	p := trunkPeer(t, w)
	kept, refused := 0, 0
	for range 100 {
		p.id, p.tag = random(), random()
		p.ask(ask{method: "INVITE", seq: 1, body: offerSDP})
		switch m := p.final("INVITE"); {
		case strings.Contains(m.start, "Paused"):
			kept++
		case m.status == 503:
			refused++
		}
		w.mu.Lock()
		if len(w.pending) > 20 {
			t.Errorf("%d are pending", len(w.pending))
		}
		w.mu.Unlock()
	}
	if kept != 20 || refused != 80 {
		t.Errorf("%d were taken in, %d refused", kept, refused)
	}
}

// So are connections: RFC 3261 knows no bound, a process has one.
func TestConnectionsAreBounded(t *testing.T) {
	w := open(t, func(c *Config, _ *fakeDesk) { c.Limits.PerSource = 3 })
	var peers []*peer
	for range 3 {
		p := dialPeer(t, "127.0.0.5:0", w.Addr("phone", "tcp"))
		p.alive()
		peers = append(peers, p)
	}
	p := dialPeer(t, "127.0.0.5:0", w.Addr("phone", "tcp"))
	select {
	case _, open := <-p.raw:
		if open {
			t.Error("it is answered")
		}
	case <-time.After(patience):
		t.Error("it stays open")
	}
	dialPeer(t, "127.0.0.6:0", w.Addr("phone", "tcp")).alive()
	peers[0].tcp.Close()
	until(t, "there is room again", func() bool {
		w.phones.mu.Lock()
		defer w.phones.mu.Unlock()
		return w.phones.conns[netip.MustParseAddr("127.0.0.5")] == 2
	})
	dialPeer(t, "127.0.0.5:0", w.Addr("phone", "tcp")).alive()
}
