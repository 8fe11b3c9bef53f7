package media

import (
	"net/netip"
	"testing"
	"time"
)

// silent is a wire that sends nothing.
type silent struct{}

func (silent) Send(*Frame) {}

// BenchmarkForward measures one packet from the receiver of one leg through the sender of the other into a socket, with
// the system call that sends it. The plain path must not allocate.
func BenchmarkForward(b *testing.B) {
	for name, codec := range map[string]Codec{"plain": PCMA, "transcoded": PCMU} {
		b.Run(name, func(b *testing.B) {
			ports, err := NewPorts(PortsConfig{IP: loopback, Low: 42000, High: 42999})
			if err != nil {
				b.Fatal(err)
			}
			p, err := NewPort(ports, Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			p.sender.Set(codec, 0)
			p.outlet.aim(netip.AddrPortFrom(loopback, 9))
			p.outlet.open.Store(true)
			r := NewReceiver(101, 0, p.cfg.Now())
			r.Forward(p)
			forward(b, r, p.cfg.Now)
		})
	}
}

// BenchmarkRewrite is the same without a socket.
func BenchmarkRewrite(b *testing.B) {
	s := NewSender(silent{}, SenderConfig{Codec: PCMA})
	r := NewReceiver(101, 0, s.now())
	r.Forward(s)
	forward(b, r, s.now)
}

func forward(b *testing.B, r *Receiver, now func() time.Time) {
	raw := make([]byte, headerSize+frameSamples)
	h := Header{PayloadType: uint8(PCMA), SSRC: 7}
	b.ReportAllocs()
	for b.Loop() {
		h.Sequence++
		h.Timestamp += frameSamples
		h.put(raw)
		got, payload, _ := Parse(raw)
		r.Take(got, payload, now())
	}
}

// TestForwardAllocatesNothing is the promise of the benchmark.
func TestForwardAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	p := onePort(t, Config{})
	p.outlet.aim(netip.AddrPortFrom(loopback, 9))
	p.outlet.open.Store(true)
	r := NewReceiver(101, 0, p.cfg.Now())
	r.Forward(p)
	raw := make([]byte, headerSize+frameSamples)
	h := Header{PayloadType: uint8(PCMA), SSRC: 7}
	if n := testing.AllocsPerRun(1000, func() {
		h.Sequence++
		h.Timestamp += frameSamples
		h.put(raw)
		got, payload, _ := Parse(raw)
		r.Take(got, payload, p.cfg.Now())
	}); n > 0 {
		t.Errorf("%.1f allocations for a packet", n)
	}
}
