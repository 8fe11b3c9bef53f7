package media

import (
	"sync"
	"time"
)

// DefaultSilentAfter is how long nothing comes until NoticeSilent.
const DefaultSilentAfter = 10 * time.Second

// noticeBuffer is how many notices wait for their reader; what comes beyond it is lost.
const noticeBuffer = 64

// Receiver is the incoming half of a leg: it counts, finds keys, silences sound while a key is down, and hands what came
// to one sink. Packets come from one goroutine; every other method may be called from any.
type Receiver struct {
	silentAfter time.Duration
	prefix      uint64 // makes the SSRCs of two legs two sources

	// forward is held while the sink is written to, so that Forward can promise that the sink before gets nothing more.
	// Nothing else waits for it.
	forward sync.Mutex
	sink    Sink
	packet  Packet
	key     Key

	mu      sync.Mutex
	keyType uint8
	tally   tally
	presses presses
	heard   time.Time
	silent  bool
	waits   bool // sound is expected
	closed  bool
	notices chan Notice
	dropped int64
}

// NewReceiver makes one. keyType is the payload type of RFC 4733 that we named to the far end; 0: none.
func NewReceiver(keyType uint8, silentAfter time.Duration, now time.Time) *Receiver {
	if silentAfter <= 0 {
		silentAfter = DefaultSilentAfter
	}
	return &Receiver{
		silentAfter: silentAfter, prefix: NewSource() << 32, keyType: keyType, heard: now,
		notices: make(chan Notice, noticeBuffer),
	}
}

// SetKeyType changes the payload type of keys, after a negotiation.
func (r *Receiver) SetKeyType(keyType uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keyType = keyType
}

// Forward says where sound goes from now on; nil: nowhere. When it returns, the sink before gets nothing more. It must
// not be called from within that sink.
func (r *Receiver) Forward(to Sink) {
	r.forward.Lock()
	defer r.forward.Unlock()
	r.sink = to
}

// Take takes one packet that came at that time. Payload is used until it returns.
func (r *Receiver) Take(h Header, payload []byte, now time.Time) {
	if !r.judge(h, payload, now) {
		return
	}
	r.forward.Lock()
	defer r.forward.Unlock()
	if r.sink == nil {
		return
	}
	r.packet.Source, r.packet.Sequence = r.prefix|uint64(h.SSRC), h.Sequence
	r.packet.Timestamp, r.packet.Marker = h.Timestamp, h.Marker
	r.sink.Write(&r.packet)
}

// judge counts the packet and fills r.packet with what it carries. It reports whether that goes on. The fields that it
// fills are of the one goroutine that packets come from.
func (r *Receiver) judge(h Header, payload []byte, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.hear(now)
	r.tally.take(h, now)
	r.packet.Payload, r.packet.Key = nil, nil
	if h.PayloadType == r.keyType && r.keyType != 0 {
		key, ok := parseKey(payload)
		if !ok {
			return false
		}
		fresh, old := r.presses.take(h, key, now)
		if fresh {
			r.notify(Notice{Kind: NoticeDigit, Digit: key.Digit})
		}
		r.key = key
		r.packet.Key = &r.key
		return !old
	}
	codec := Codec(h.PayloadType)
	// Comfort noise (RFC 3389) and whatever else nobody asked for ends here.
	if !codec.known() || len(payload) == 0 || r.presses.down(now) {
		return false
	}
	r.packet.Codec, r.packet.Payload = codec, payload
	return true
}

// Hear notes a sign of life that is no sound, for example a report.
func (r *Receiver) Hear(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hear(now)
}

func (r *Receiver) hear(now time.Time) {
	r.heard = now
	if r.silent {
		r.silent = false
		r.notify(Notice{Kind: NoticeHeard})
	}
}

// Expect says whether silence of the far end means something from now on: not before it is connected, nor while one
// side holds the other.
func (r *Receiver) Expect(sound bool, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if sound && !r.waits {
		r.heard = now
	}
	r.waits = sound
}

// Watch tells of silence; it is called now and then.
func (r *Receiver) Watch(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waits && !r.silent && now.Sub(r.heard) >= r.silentAfter {
		r.silent = true
		r.notify(Notice{Kind: NoticeSilent})
	}
}

// WatchEvery is how often Watch should be called.
func (r *Receiver) WatchEvery() time.Duration {
	return min(max(r.silentAfter/4, 20*time.Millisecond), time.Second)
}

// Notices is the channel of Link.
func (r *Receiver) Notices() <-chan Notice { return r.notices }

// Notify tells something. It never blocks: a notice that finds no room is lost, and counts as dropped.
func (r *Receiver) Notify(n Notice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notify(n)
}

func (r *Receiver) notify(n Notice) {
	if r.closed {
		return
	}
	select {
	case r.notices <- n:
	default:
		r.dropped++
	}
}

// Drop counts a packet that was thrown away.
func (r *Receiver) Drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped++
}

// Stats is what came so far. Sent is not known here.
func (r *Receiver) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Received: r.tally.received, Lost: r.tally.lost(), Dropped: r.dropped, Jitter: r.tally.jitterTime()}
}

// Close ends it: nothing is forwarded any more when it returns, and the notices are closed.
func (r *Receiver) Close() {
	r.Forward(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		close(r.notices)
	}
}

// presses finds the keys in what comes: one press per timestamp, whichever of its packets were lost.
type presses struct {
	known bool
	ssrc  uint32
	stamp uint32
	key   Key
	heard time.Time
}

// take notes a packet of a key. fresh: the press is a new one. old: it is of a press before the last one, and late.
func (k *presses) take(h Header, key Key, now time.Time) (fresh, old bool) {
	ahead := int32(h.Timestamp - k.stamp)
	switch {
	case k.known && k.ssrc == h.SSRC && ahead == 0:
		key.End = key.End || k.key.End
		k.key, k.heard = key, now
		return false, false
	case k.known && k.ssrc == h.SSRC && ahead < 0 && int64(-ahead) < samplesIn(10*time.Second):
		return false, true
	// A key held for more than 8 s goes on under a new timestamp (RFC 4733 section 2.5.1.3).
	case k.known && k.ssrc == h.SSRC && k.key.Digit == key.Digit && !k.key.End && !h.Marker && k.key.Duration == 0xffff && ahead == 0xffff:
	default:
		fresh = true
	}
	*k = presses{known: true, ssrc: h.SSRC, stamp: h.Timestamp, key: key, heard: now}
	return fresh, false
}

// down reports whether a key is held.
func (k *presses) down(now time.Time) bool {
	return k.known && !k.key.End && now.Sub(k.heard) < keyTimeout
}
