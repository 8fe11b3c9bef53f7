package media

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// clock is a clock that a test turns.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_700_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// freeRange finds n pairs of ports that nobody holds now, by asking the kernel for one to begin at.
func freeRange(t *testing.T, n int) (low, high uint16) {
	t.Helper()
	for range 100 {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		_ = c.Close()
		port += port % 2
		if port+2*n < 65000 && allFree(port, 2*n) {
			return uint16(port), uint16(port + 2*n - 1)
		}
	}
	t.Fatal("no range of ports is free")
	return 0, 0
}

func allFree(port, n int) bool {
	for i := range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + i})
		if err != nil {
			return false
		}
		_ = c.Close()
	}
	return true
}

func newPorts(t *testing.T, n int, now func() time.Time) *Ports {
	t.Helper()
	low, high := freeRange(t, n)
	p, err := NewPorts(PortsConfig{IP: loopback, Low: low, High: high, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPortsRunOutAndRest(t *testing.T) {
	c := newClock()
	ports := newPorts(t, 2, c.now)
	var open []*Port
	for range 2 {
		p, err := NewPort(ports, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if p.pair.port%2 != 0 {
			t.Errorf("RTP is at the odd port %d", p.pair.port)
		}
		open = append(open, p)
	}
	if _, err := NewPort(ports, Config{}); !errors.Is(err, ErrNoPort) {
		t.Fatalf("a third leg of two: %v", err)
	}
	if n := ports.InUse(); n != 2 {
		t.Errorf("%d in use", n)
	}
	if err := open[0].Close(); err != nil {
		t.Fatal(err)
	}
	if n := ports.InUse(); n != 1 {
		t.Errorf("%d in use after one closed", n)
	}
	c.turn(quarantine - time.Millisecond)
	if _, err := NewPort(ports, Config{}); !errors.Is(err, ErrNoPort) {
		t.Fatalf("a port that still rests was given away: %v", err)
	}
	c.turn(time.Millisecond)
	again, err := NewPort(ports, Config{})
	if err != nil {
		t.Fatalf("after the rest: %v", err)
	}
	for _, p := range []*Port{open[1], again, again} {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := ports.InUse(); n != 0 {
		t.Errorf("%d in use at the end", n)
	}
}

func TestPortsPassOverWhatOthersHold(t *testing.T) {
	ports := newPorts(t, 2, nil)
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(ports.cfg.Low) + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	p, err := NewPort(ports, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.pair.port != ports.cfg.Low+2 {
		t.Errorf("it took %d", p.pair.port)
	}
	if _, err := NewPort(ports, Config{}); !errors.Is(err, ErrNoPort) {
		t.Errorf("two legs with one free pair: %v", err)
	}
	if n := ports.InUse(); n != 1 {
		t.Errorf("%d in use", n)
	}
}

func TestPortsConfig(t *testing.T) {
	for name, cfg := range map[string]PortsConfig{
		"unspecified": {IP: netip.IPv4Unspecified(), Low: 10000, High: 10100},
		"multicast":   {IP: netip.MustParseAddr("224.0.0.1"), Low: 10000, High: 10100},
		"no address":  {Low: 10000, High: 10100},
		"one port":    {IP: loopback, Low: 10000, High: 10000},
		"odd pair":    {IP: loopback, Low: 10001, High: 10002},
		"no range":    {IP: loopback},
	} {
		if _, err := NewPorts(cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
