package media

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Config is how one leg over plain RTP behaves.
type Config struct {
	// Prefer is the codec that our offers name first.
	Prefer Codec
	// BehindNAT: the far end may come from an address that its SDP does not name.
	BehindNAT bool
	// SilentAfter is how long nothing comes until NoticeSilent; 0: DefaultSilentAfter.
	SilentAfter time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Port is the sound of a leg over plain RTP (RFC 3550), with its offers and answers (RFC 3264). Safe for concurrent use.
type Port struct {
	ports    *Ports
	cfg      Config
	pair     pair
	outlet   outlet
	sender   *Sender
	receiver *Receiver
	reports  reports

	mu    sync.Mutex
	deal  deal
	latch latch

	once  sync.Once
	done  chan struct{}
	tasks sync.WaitGroup
	err   error
}

var _ Link = (*Port)(nil)

// NewPort takes a pair of ports and begins to listen. Nothing goes out and nothing is heard before a negotiation. The
// error is ErrNoPort when the pool is empty.
func NewPort(ports *Ports, cfg Config) (*Port, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c, err := ports.open()
	if err != nil {
		return nil, err
	}
	p := &Port{ports: ports, cfg: cfg, pair: c, done: make(chan struct{})}
	p.outlet.conn = c.rtp
	p.outlet.ssrc.Store(random32())
	p.sender = NewSender(&p.outlet, SenderConfig{Codec: cfg.Prefer, Now: cfg.Now})
	p.receiver = NewReceiver(0, cfg.SilentAfter, cfg.Now())
	p.latch.nat = cfg.BehindNAT
	p.deal = newDeal(netip.AddrPortFrom(ports.cfg.Advertise, c.port), cfg.Prefer)
	p.reports.name = reportName()
	p.tasks.Go(p.readSound)
	p.tasks.Go(p.readReports)
	p.tasks.Go(p.keepTime)
	return p, nil
}

// Write sends a packet, unless the far end wants to hear nothing.
func (p *Port) Write(pk *Packet) {
	if p.outlet.open.Load() {
		p.sender.Write(pk)
	}
}

// Codec is what both ends agreed on; before that, what our offer names first.
func (p *Port) Codec() Codec {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deal.codec
}

// Forward says where the sound that comes in goes from now on. It must not be called from within a sink.
func (p *Port) Forward(to Sink) { p.receiver.Forward(to) }

// Notices tells what happened.
func (p *Port) Notices() <-chan Notice { return p.receiver.Notices() }

// Stats is what was received and sent.
func (p *Port) Stats() Stats {
	s := p.receiver.Stats()
	s.Sent = p.sender.Sent()
	return s
}

// Close says good-bye by RTCP, ends the goroutines and gives the ports back. It must not be called from within a sink.
func (p *Port) Close() error {
	p.once.Do(func() {
		p.outlet.open.Store(false)
		p.sayBye(p.outlet.ssrc.Load())
		close(p.done)
		p.err = p.ports.close(p.pair)
		p.tasks.Wait()
		p.receiver.Close()
	})
	return p.err
}

// outlet is where a port's packets go out.
type outlet struct {
	conn   *net.UDPConn
	ssrc   atomic.Uint32
	open   atomic.Bool
	remote atomic.Pointer[netip.AddrPort]
}

// Send writes one packet to the far end. A packet that cannot go out is lost, as packets are.
func (o *outlet) Send(f *Frame) {
	to := o.remote.Load()
	if to == nil {
		return
	}
	Header{f.PayloadType, f.Marker, f.Sequence, f.Timestamp, o.ssrc.Load()}.put(f.raw)
	_, _ = o.conn.WriteToUDPAddrPort(f.raw, *to)
}

// aim sends packets to an address from now on.
func (o *outlet) aim(to netip.AddrPort) {
	if to.IsValid() {
		o.remote.Store(&to)
	}
}
