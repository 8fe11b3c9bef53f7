package media

import (
	"net/netip"
	"time"
)

const (
	// latchTime and latchPackets bound how long after a negotiation the far end may come from another address than it
	// said. The time begins with the first packet: a phone that is silent at first must be heard when it speaks.
	latchTime    = 5 * time.Second
	latchPackets = 50
)

// latch decides whose packets are heard and where ours go: symmetric RTP (RFC 4961) without the invitation to inject
// sound that a latch without an end would be.
type latch struct {
	// nat: the far end sits behind a network address translator and does not know its own address.
	nat bool
	// signalled is what the SDP said, remote where packets go and come from.
	signalled, remote netip.AddrPort
	open              bool
	until             time.Time
	left              int
	heard             time.Time
}

// set takes the address of a negotiation. One that changes nothing leaves a stream that runs as it is.
func (l *latch) set(signalled netip.AddrPort, now time.Time) {
	runs := !l.heard.IsZero() && now.Sub(l.heard) < latchTime
	if signalled == l.signalled && runs {
		return
	}
	if signalled != l.signalled {
		l.remote = signalled
	}
	l.signalled, l.open, l.until, l.left = signalled, true, time.Time{}, latchPackets
}

// admit judges a packet by its source. moved: ours go there from now on.
func (l *latch) admit(from netip.AddrPort, now time.Time) (ok, moved bool) {
	if !l.signalled.IsValid() {
		return false, false
	}
	if l.open && l.until.IsZero() {
		l.until = now.Add(latchTime)
	}
	if l.open && (l.left <= 0 || now.After(l.until)) {
		l.open = false
	}
	switch {
	case l.open && from == l.signalled:
		l.open = false
		moved = from != l.remote
	case l.open && (l.nat || from.Addr() == l.signalled.Addr()):
		l.left--
		moved = from != l.remote
	case from != l.remote:
		return false, false
	}
	l.remote, l.heard = from, now
	return true, moved
}

// knows reports whether an address is one of the far end's, by any port: for reports.
func (l *latch) knows(from netip.Addr) bool {
	return l.remote.IsValid() && (from == l.remote.Addr() || from == l.signalled.Addr())
}
