package media

import "time"

// repack cuts sound of any packet length into frames of 20 ms. What is left over waits for the next packet; it is less
// than one frame, and is forgotten when the source changes or loses a packet. A late packet is forgotten too.
func (s *Sender) repack(b *batch, p *Packet, now time.Time) {
	pl, ok := s.place(p, now)
	if !ok {
		return
	}
	s.span = min(s.span, 1)
	gap := pl.gap * len(p.Payload) / frameSamples
	if pl.gap > 0 || int32(pl.stamp-uint32(s.carried)-s.stamp) <= 0 {
		s.carried = 0
	}
	stamp := pl.stamp - uint32(s.carried)
	s.marked = s.marked || pl.marker
	for rest := p.Payload; ; {
		n := min(frameSamples-s.carried, len(rest))
		transcode(s.carry[s.carried:], rest[:n], p.Codec, s.codec)
		s.carried, rest = s.carried+n, rest[n:]
		if s.carried < frameSamples {
			return
		}
		f := b.add(frameSamples)
		copy(f.Payload, s.carry[:])
		s.carried = 0
		s.advance(gap+1, stamp, frameSamples, now)
		s.span = 1
		f.PayloadType, f.Marker, f.Sequence, f.Timestamp = uint8(s.codec), s.marked, s.sequence, s.stamp
		s.marked, gap, stamp = false, 0, stamp+frameSamples
	}
}
