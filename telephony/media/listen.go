package media

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// datagram is the longest packet that is read; G.711 of 200 ms fits.
const datagram = 2048

// readSound reads RTP until the socket is closed.
func (p *Port) readSound() {
	buf := make([]byte, datagram)
	up := false
	for {
		n, from, err := p.pair.rtp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.receiver.Drop()
			continue
		}
		now := p.cfg.Now()
		h, payload, ok := Parse(buf[:n])
		if !ok || !p.admit(from, now) {
			p.receiver.Drop()
			continue
		}
		if h.SSRC == p.outlet.ssrc.Load() {
			p.collide(h)
		}
		if !up {
			up = true
			p.receiver.Notify(Notice{Kind: NoticeUp})
		}
		p.receiver.Take(h, payload, now)
	}
}

// admit judges a packet by its source, and follows the far end to the address that it comes from.
func (p *Port) admit(from netip.AddrPort, now time.Time) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	p.mu.Lock()
	defer p.mu.Unlock()
	ok, moved := p.latch.admit(from, now)
	if moved {
		p.outlet.aim(from)
		p.reports.aim(netip.AddrPortFrom(from.Addr(), uint16(min(int(from.Port())+1, 0xffff))))
	}
	return ok
}

// collide changes our SSRC when the far end uses the same one (RFC 3550 section 8.2). What comes with one of our own
// numbers is our stream sent back, by an echo test for example: changing would not help there.
func (p *Port) collide(h Header) {
	if p.sender.recent(h.Sequence) {
		return
	}
	old := p.outlet.ssrc.Load()
	p.outlet.ssrc.Store(random32())
	p.sayBye(old)
}

// readReports reads RTCP until the socket is closed.
func (p *Port) readReports() {
	buf := make([]byte, datagram)
	for {
		n, from, err := p.pair.rtcp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		p.mu.Lock()
		known := p.latch.knows(from.Addr())
		p.mu.Unlock()
		if known && p.reports.take(buf[:n], from, p.cfg.Now()) {
			p.receiver.Hear(p.cfg.Now())
		}
	}
}

// keepTime sends reports and watches for silence.
func (p *Port) keepTime() {
	report, watch := time.NewTicker(reportEvery), time.NewTicker(p.receiver.WatchEvery())
	defer report.Stop()
	defer watch.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-watch.C:
			p.receiver.Watch(p.cfg.Now())
		case <-report.C:
			p.sendReport()
		}
	}
}
