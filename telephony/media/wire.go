package media

// Frame is one RTP packet on its way out, without the SSRC, which the wire knows.
type Frame struct {
	PayloadType uint8
	Marker      bool
	Sequence    uint16
	Timestamp   uint32
	// Payload belongs to the sender and is used again after Send.
	Payload []byte
	// raw is the payload with room for a header before it.
	raw []byte
}

// Wire takes packets that are ready to go out. Send never blocks.
type Wire interface{ Send(f *Frame) }

const (
	// maxPayload bounds the payload of one packet; 1,460 bytes and a header fit into an Ethernet frame.
	maxPayload = 1460
	// maxFrames is what one packet can become at most: three ends of a key that was still down, and 20 ms frames.
	maxFrames = 3 + maxPayload/frameSamples + 2
)

// batch is what one packet became. It is filled under the lock of the sender and sent after it.
type batch struct {
	n      int
	used   int
	frames [maxFrames]Frame
	buf    [maxFrames*headerSize + maxPayload + frameSamples + 3*keySize]byte
}

// add reserves room for a payload and gives the frame to be filled.
func (b *batch) add(size int) *Frame {
	f := &b.frames[b.n]
	b.n++
	raw := b.buf[b.used : b.used+headerSize+size]
	b.used += len(raw)
	*f = Frame{raw: raw, Payload: raw[headerSize:]}
	return f
}
