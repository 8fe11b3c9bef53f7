package media

import (
	"crypto/rand"
	"encoding/binary"
)

// Header is what an RTP packet says of itself (RFC 3550 section 5.1), without contributing sources and extensions, which
// a leg of a call has no use for.
type Header struct {
	PayloadType uint8
	Marker      bool
	Sequence    uint16
	Timestamp   uint32
	SSRC        uint32
}

// headerSize is that of a header without contributing sources and extension.
const headerSize = 12

// Parse reads an RTP packet. The payload lies within b. It is false for what is no RTP packet of version 2.
func Parse(b []byte) (h Header, payload []byte, ok bool) {
	if len(b) < headerSize || b[0]>>6 != 2 {
		return h, nil, false
	}
	start, end := headerSize+4*int(b[0]&0x0f), len(b)
	if b[0]&0x10 != 0 {
		if end < start+4 {
			return h, nil, false
		}
		start += 4 + 4*int(binary.BigEndian.Uint16(b[start+2:]))
	}
	if b[0]&0x20 != 0 {
		padding := int(b[end-1])
		if padding == 0 {
			return h, nil, false
		}
		end -= padding
	}
	if start > end {
		return h, nil, false
	}
	h = Header{
		PayloadType: b[1] & 0x7f,
		Marker:      b[1]&0x80 != 0,
		Sequence:    binary.BigEndian.Uint16(b[2:]),
		Timestamp:   binary.BigEndian.Uint32(b[4:]),
		SSRC:        binary.BigEndian.Uint32(b[8:]),
	}
	return h, b[start:end], true
}

// put writes the header into the first headerSize bytes of b.
func (h Header) put(b []byte) {
	b[0], b[1] = 0x80, h.PayloadType&0x7f
	if h.Marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], h.Sequence)
	binary.BigEndian.PutUint32(b[4:], h.Timestamp)
	binary.BigEndian.PutUint32(b[8:], h.SSRC)
}

// NewSource names a stream of packets; it is never 0.
func NewSource() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:]) | 1
}

// random32 is for SSRCs and for the first sequence number and timestamp, which RFC 3550 section 5.1 wants unpredictable.
func random32() uint32 { return uint32(NewSource() >> 32) }
