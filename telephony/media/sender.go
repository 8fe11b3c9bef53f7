package media

import (
	"sync"
	"time"
)

const (
	// maxGap is the longest loss, in packets, that is shown to the far end as loss: 30 s.
	maxGap = 1500
	// slack is how far a source's timestamps may run ahead of the clock before they count as having jumped.
	slack = time.Second
	// window is how many packets back a late one still finds its place.
	window = 64
)

// SenderConfig is how a leg wants its packets.
type SenderConfig struct {
	// Codec is the leg's; packets of the other one are transcoded.
	Codec Codec
	// KeyType is the payload type of RFC 4733 that the far end named; 0: it named none, and keys are not sent.
	KeyType uint8
	// Even makes every packet 20 ms long, whatever came. Otherwise packets go out as long as they came, which RFC 3551
	// section 4.2 allows; both ends of a trunk cope with that, and a browser need not.
	Even bool
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Sender is the outgoing half of a leg: whatever sources write to it, one stream goes out, with sequence numbers and
// timestamps that never jump back. Within one source they move as the source's own, so loss, pauses and reordering stay
// visible to the far end; over a change of source, timestamps follow the clock and the marker is set. Safe for concurrent
// use.
type Sender struct {
	wire Wire
	now  func() time.Time
	even bool
	pool sync.Pool

	mu      sync.Mutex
	codec   Codec
	keyType uint8

	// The packet of the highest number that went out: its number and timestamp, how long it lasts, and when it went.
	started  bool
	sequence uint16
	stamp    uint32
	lasts    uint32
	at       time.Time

	// The source of the run, its highest packet, and what is added to its timestamps.
	source      uint64
	sourceSeq   uint16
	sourceStamp uint32
	offset      uint32
	span        int // how many numbers the run has used, at most window
	sent        uint64
	stamps      [window]uint32
	carry       [frameSamples]byte
	carried     int
	marked      bool // the frame that is being filled begins a talk spurt
	press       press
	packets     uint32
	octets      uint32
}

// NewSender makes one that sends to wire.
func NewSender(wire Wire, cfg SenderConfig) *Sender {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Sender{
		wire: wire, now: cfg.Now, even: cfg.Even, codec: cfg.Codec, keyType: cfg.KeyType,
		sequence: uint16(random32()), stamp: random32(),
		pool: sync.Pool{New: func() any { return new(batch) }},
	}
}

// Set changes codec and payload type of keys, after a negotiation.
func (s *Sender) Set(c Codec, keyType uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.codec != c {
		s.carried = 0
	}
	s.codec, s.keyType = c, keyType
}

// Sent counts the packets that went out.
func (s *Sender) Sent() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.packets)
}

// Write sends a packet. The wire is called without the lock held.
func (s *Sender) Write(p *Packet) {
	b := s.pool.Get().(*batch)
	b.n, b.used = 0, 0
	s.mu.Lock()
	if p.Key != nil {
		s.writeKey(b, p)
	} else {
		s.writeSound(b, p)
	}
	for i := range b.n {
		s.packets++
		s.octets += uint32(len(b.frames[i].Payload))
	}
	s.mu.Unlock()
	for i := range b.n {
		s.wire.Send(&b.frames[i])
	}
	s.pool.Put(b)
}

func (s *Sender) writeSound(b *batch, p *Packet) {
	if len(p.Payload) == 0 || len(p.Payload) > maxPayload || !p.Codec.known() {
		return
	}
	now := s.now()
	if s.press.down {
		if now.Sub(s.press.heard) < keyTimeout {
			s.skip(p)
			return
		}
		s.endPress(b)
	}
	if s.even && (len(p.Payload) != frameSamples || s.carried > 0) {
		s.repack(b, p, now)
		return
	}
	if s.late(b, p) {
		return
	}
	pl, ok := s.place(p, now)
	if !ok {
		return
	}
	s.advance(pl.gap+1, pl.stamp, uint32(len(p.Payload)), now)
	f := b.add(len(p.Payload))
	f.PayloadType, f.Marker, f.Sequence, f.Timestamp = uint8(s.codec), pl.marker, s.sequence, s.stamp
	transcode(f.Payload, p.Payload, p.Codec, s.codec)
}

// placed says where in the outgoing stream a packet belongs.
type placed struct {
	stamp  uint32
	gap    int // packets lost before it
	marker bool
	fresh  bool // a run begins with it
}

// place finds the place of a packet that continues the run or begins one, and notes it as the source's last. It is false
// for a repetition.
func (s *Sender) place(p *Packet, now time.Time) (placed, bool) {
	if !s.started {
		s.started, s.at = true, now
		s.begin(p, s.stamp)
		return placed{stamp: s.stamp, marker: true, fresh: true}, true
	}
	number, stamp := p.Sequence, p.Timestamp
	if p.Source == 0 {
		number = s.sourceSeq + 1
	}
	step, ahead := int16(number-s.sourceSeq), int32(stamp-s.sourceStamp)
	if p.Source == s.source && p.Source != 0 && step <= 0 && step > -window {
		return placed{}, false
	}
	limit := samplesIn(now.Sub(s.at) + slack)
	out := stamp + s.offset
	runs := p.Source == s.source && step > 0 && step <= maxGap && ahead > 0 && int64(ahead) <= limit && int32(out-s.stamp) > 0
	if !runs {
		out = s.following(now)
		s.begin(p, out)
		return placed{stamp: out, marker: true, fresh: true}, true
	}
	s.sourceSeq, s.sourceStamp = number, stamp
	return placed{stamp: out, gap: int(step) - 1, marker: p.Marker}, true
}

// following is the timestamp of a new source's first packet: where the clock stands, and never before the end of what
// went out last.
func (s *Sender) following(now time.Time) uint32 {
	return s.stamp + uint32(max(samplesIn(now.Sub(s.at)), int64(s.lasts), 1))
}

// begin makes p the first packet of a run, going out with that timestamp.
func (s *Sender) begin(p *Packet, out uint32) {
	s.source, s.sourceSeq, s.sourceStamp = p.Source, p.Sequence, p.Timestamp
	s.offset, s.carried = out-p.Timestamp, 0
	s.span, s.sent = 0, 0
}

// advance moves the outgoing stream on by step numbers, of which the last goes out now.
func (s *Sender) advance(step int, stamp, lasts uint32, now time.Time) {
	s.sequence += uint16(step)
	s.stamp, s.lasts, s.at = stamp, lasts, now
	if s.span == 0 {
		step = 1 // what lies before the run is nobody's place
	}
	if step >= window {
		s.sent = 0
	} else {
		s.sent <<= step
	}
	s.sent |= 1
	s.span = min(s.span+step, window)
	s.stamps[s.sequence%window] = stamp
}

// late sends a packet that was overtaken with the number that was left free for it, if it was. It reports whether p was
// such a packet, sent or not.
func (s *Sender) late(b *batch, p *Packet) bool {
	back := int(int16(s.sourceSeq - p.Sequence))
	if !s.started || p.Source != s.source || p.Source == 0 || back <= 0 || back >= window {
		return false
	}
	number, stamp := s.sequence-uint16(back), p.Timestamp+s.offset
	if back >= s.span || s.sent>>back&1 == 1 || !s.fits(back, stamp) {
		return true
	}
	s.sent |= 1 << back
	s.stamps[number%window] = stamp
	f := b.add(len(p.Payload))
	f.PayloadType, f.Sequence, f.Timestamp = uint8(s.codec), number, stamp
	transcode(f.Payload, p.Payload, p.Codec, s.codec)
	return true
}

// fits reports whether a timestamp lies between those of the packets that were sent before and after that place. Both must
// be remembered.
func (s *Sender) fits(back int, stamp uint32) bool {
	below := false
	for i := range s.span {
		if s.sent>>i&1 == 0 {
			continue
		}
		ahead := int32(s.stamps[(s.sequence-uint16(i))%window] - stamp)
		if i < back && ahead <= 0 || i > back && ahead >= 0 {
			return false
		}
		below = below || i > back
	}
	return below
}

// skip notes a packet of the source of the run that does not go out, so that it does not look lost. After it the source's
// numbers stand in another relation to ours, and what comes later than that has no place.
func (s *Sender) skip(p *Packet) {
	if p.Source != s.source || p.Source == 0 || int16(p.Sequence-s.sourceSeq) <= 0 {
		return
	}
	s.sourceSeq, s.sourceStamp = p.Sequence, p.Timestamp
	s.span = min(s.span, 1)
}

// recent reports whether a number is one of those that went out in the last seconds: a packet with our SSRC and such a
// number is our own one, sent back.
func (s *Sender) recent(number uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started && s.sequence-number < maxGap
}

// progress is what a sender report tells (RFC 3550 section 6.4.1): the timestamp at now, and what went out so far.
func (s *Sender) progress(now time.Time) (stamp, packets, octets uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stamp + uint32(samplesIn(now.Sub(s.at))), s.packets, s.octets
}
