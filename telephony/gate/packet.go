package gate

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
)

// packets is a socket of UDP as the SIP library sees it: it reads only what screen let through. The library keeps every
// source that it reads from for ever, so strangers must not come that far; and it stops reading at an error of its read
// filter, so there is none.
type packets struct {
	net.PacketConn
	d     *door
	buf   []byte
	once  sync.Once
	ready chan struct{} // closed when the library begins to read: from then on it can send from here, too
}

func newPackets(c net.PacketConn, d *door) *packets {
	return &packets{PacketConn: c, d: d, buf: make([]byte, 65_536), ready: make(chan struct{})}
}

// ReadFrom implements net.PacketConn.
func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	p.once.Do(func() { close(p.ready) })
	for {
		n, addr, err := p.PacketConn.ReadFrom(p.buf)
		if err != nil {
			return 0, nil, err
		}
		from := addrPort(addr)
		if !p.d.admits(from.Addr()) {
			continue
		}
		data := p.buf[:n]
		if len(bytes.Trim(data, "\r\n\x00")) == 0 { // keep-alive
			continue
		}
		src := source{network: "UDP", addr: from, write: func(data []byte, to netip.AddrPort) {
			_, _ = p.WriteTo(data, net.UDPAddrFromAddrPort(to)) // a datagram may be lost anyway
		}}
		if out := p.d.screen(data, src); out != nil && len(out) <= len(b) {
			return copy(b, out), addr, nil
		}
	}
}
