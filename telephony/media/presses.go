package media

import (
	"encoding/binary"
	"strings"
	"time"

	"tributary/channels/voice"
)

const (
	// keySize is that of a telephone-event payload (RFC 4733 section 2.3).
	keySize = 4
	// keyTimeout is how long after its last packet a key whose end got lost counts as down. Packets of a key that is held
	// come every 50 ms or more often (RFC 4733 section 2.5.1.2).
	keyTimeout = 250 * time.Millisecond
	// keyEnds is how often the end of a key is sent (RFC 4733 section 2.5.1.4).
	keyEnds = 3
	// keyVolume is that of the keys that we press, in -dBm0.
	keyVolume = 10
)

// press is a key as it goes out.
type press struct {
	known, down bool
	source      uint64
	stamp       uint32 // the source's own
	out         uint32 // ours
	began       time.Time
	heard       time.Time
	key         Key
}

// of reports whether a packet belongs to the press.
func (k *press) of(p *Packet) bool { return k.known && k.source == p.Source && k.stamp == p.Timestamp }

// writeKey sends a packet of a key: all of one press with one timestamp, the end three times whatever came.
func (s *Sender) writeKey(b *batch, p *Packet) {
	code := strings.IndexByte(voice.Digits, p.Key.Digit)
	if code < 0 {
		return
	}
	now := s.now()
	old := s.press.known && s.press.source == p.Source && int32(p.Timestamp-s.press.stamp) < 0
	if s.keyType == 0 || old || s.press.of(p) && !s.press.down {
		s.skip(p)
		return
	}
	marker := !s.press.of(p)
	if marker {
		if s.press.down {
			s.endPress(b)
		}
		s.beginPress(p, now)
	}
	s.press.heard, s.press.key.Duration = now, max(s.press.key.Duration, p.Key.Duration)
	s.press.key.Volume, s.press.key.End = p.Key.Volume, p.Key.End
	if p.Key.End {
		s.sendKey(b, keyEnds, marker)
		s.press.down = false
	} else {
		s.sendKey(b, 1, marker)
	}
	s.skip(p)
}

// beginPress gives a new press its timestamp: the source's own place if it runs, else the clock's.
func (s *Sender) beginPress(p *Packet, now time.Time) {
	out := s.following(now)
	if !s.started {
		s.started, out = true, s.stamp
	} else if own := p.Timestamp + s.offset; p.Source == s.source && p.Source != 0 {
		if ahead := int32(own - s.stamp); ahead > 0 && int64(ahead) <= samplesIn(now.Sub(s.at)+slack) {
			out = own
		}
	}
	if p.Source != s.source {
		s.begin(p, out)
	}
	s.press = press{
		known: true, down: true, source: p.Source, stamp: p.Timestamp, out: out,
		began: now, heard: now, key: Key{Digit: p.Key.Digit},
	}
}

// endPress ends a key whose end got lost.
func (s *Sender) endPress(b *batch) {
	s.press.key.End, s.press.down = true, false
	s.sendKey(b, keyEnds, false)
}

func (s *Sender) sendKey(b *batch, times int, marker bool) {
	k := &s.press
	for i := range times {
		s.advance(1, k.out, uint32(k.key.Duration), k.began)
		f := b.add(keySize)
		f.PayloadType, f.Marker, f.Sequence, f.Timestamp = s.keyType, marker && i == 0, s.sequence, k.out
		k.key.put(f.Payload)
	}
	s.span, s.carried = 1, 0
}

// put writes the payload of RFC 4733 section 2.3.
func (k Key) put(b []byte) {
	b[0], b[1] = byte(strings.IndexByte(voice.Digits, k.Digit)), k.Volume&0x3f
	if k.End {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], k.Duration)
}

// parseKey reads it. It is false for events that are no keys of a phone.
func parseKey(b []byte) (k Key, ok bool) {
	if len(b) < keySize || int(b[0]) >= len(voice.Digits) {
		return k, false
	}
	return Key{
		Digit: voice.Digits[b[0]], End: b[1]&0x80 != 0, Volume: b[1] & 0x3f, Duration: binary.BigEndian.Uint16(b[2:]),
	}, true
}
