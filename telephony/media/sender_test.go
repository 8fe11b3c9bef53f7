package media

import (
	"bytes"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tributary/channels/voice"
)

// reel is a wire that remembers.
type reel struct{ frames []Frame }

func (r *reel) Send(f *Frame) {
	kept := *f
	kept.Payload = bytes.Clone(f.Payload)
	r.frames = append(r.frames, kept)
}

func (r *reel) last() Frame { return r.frames[len(r.frames)-1] }

// stream writes packets of one source to a sender.
type stream struct {
	s     *Sender
	p     Packet
	sound []byte
}

func newStream(s *Sender, source uint64) *stream {
	return &stream{s: s, p: Packet{Codec: PCMA, Source: source, Sequence: uint16(source) * 1000, Timestamp: uint32(source) * 77777}, sound: make([]byte, frameSamples)}
}

// next writes the packet that follows, after lost ones.
func (s *stream) next(lost int) {
	s.p.Sequence += uint16(1 + lost)
	s.p.Timestamp += uint32(1+lost) * frameSamples
	s.write(s.p)
}

func (s *stream) write(p Packet) {
	p.Payload = s.sound
	s.s.Write(&p)
}

func newSender(cfg SenderConfig) (*Sender, *reel, *clock) {
	r, c := &reel{}, newClock()
	cfg.Now = c.now
	return NewSender(r, cfg), r, c
}

// seamless checks what holds of every outgoing stream: by number, timestamps rise strictly; only the packets of one press
// share theirs. No number is used twice.
func seamless(t interface{ Fatalf(string, ...any) }, frames []Frame, keys uint8) {
	at := map[int]Frame{}
	number := 0
	for i, f := range frames {
		if i > 0 {
			number += int(int16(f.Sequence - frames[i-1].Sequence))
		}
		if _, used := at[number]; used {
			t.Fatalf("frame %d: the number %d went out twice", i, f.Sequence)
		}
		at[number] = f
	}
	least, most := math.MaxInt, math.MinInt
	for n := range at {
		least, most = min(least, n), max(most, n)
	}
	var before *Frame
	for n := least; n <= most; n++ {
		f, ok := at[n]
		if !ok {
			continue
		}
		if before != nil {
			ahead := int32(f.Timestamp - before.Timestamp)
			press := f.PayloadType == keys && before.PayloadType == keys
			if ahead < 0 || ahead == 0 && !press {
				t.Fatalf("number %d: the timestamp moves by %d", f.Sequence, ahead)
			}
		}
		before = &f
	}
}

// TestSenderProperty: whatever sources write in whatever order, lost, late, doubled, with jumping timestamps or keys, one
// seamless stream goes out.
func TestSenderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		even := rapid.Bool().Draw(t, "even")
		s, wire, c := newSender(SenderConfig{Codec: PCMU, KeyType: 101, Even: even})
		sources := make([]*stream, 4)
		for i := range sources {
			sources[i] = newStream(s, uint64(i)) // the first has no order of its own
			sources[i].sound = make([]byte, rapid.SampledFrom([]int{160, 160, 80, 240, 480}).Draw(t, "length"))
		}
		steps := rapid.IntRange(1, 200).Draw(t, "steps")
		for range steps {
			src := sources[rapid.IntRange(0, len(sources)-1).Draw(t, "source")]
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				src.next(rapid.IntRange(1, 80).Draw(t, "lost"))
			case 1: // late, or a repetition
				late := src.p
				back := rapid.IntRange(0, 70).Draw(t, "back")
				late.Sequence -= uint16(back)
				late.Timestamp -= uint32(back) * uint32(len(src.sound))
				src.write(late)
				if rapid.Bool().Draw(t, "twice") {
					src.write(late)
				}
			case 2:
				src.p.Timestamp += rapid.Uint32().Draw(t, "jump")
			case 3:
				src.p.Sequence += rapid.Uint16().Draw(t, "leap")
			case 4, 5:
				key := src.p
				key.Key = &Key{Digit: '5', Duration: 160, End: rapid.Bool().Draw(t, "end")}
				key.Sequence++
				src.p.Sequence++
				s.Write(&key)
			default:
				src.p.Timestamp += uint32(len(src.sound))
				src.p.Sequence++
				src.write(src.p)
			}
			c.turn(time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond)
		}
		seamless(t, wire.frames, 101)
		for _, f := range wire.frames {
			if even && f.PayloadType != 101 && len(f.Payload) != frameSamples {
				t.Fatalf("a frame of %d samples", len(f.Payload))
			}
		}
	})
}

func TestSenderKeepsLossAndOrderOfASource(t *testing.T) {
	s, wire, c := newSender(SenderConfig{Codec: PCMA})
	a := newStream(s, 1)
	for range 3 {
		a.next(0)
		c.turn(frameTime)
	}
	a.next(2)
	f := wire.frames
	if gap := f[3].Sequence - f[2].Sequence; gap != 3 {
		t.Errorf("two lost packets look like %d", gap-1)
	}
	if ahead := f[3].Timestamp - f[2].Timestamp; ahead != 3*frameSamples {
		t.Errorf("the timestamp moved by %d", ahead)
	}
	// One of the two was only late: it goes out in its place, once.
	late := a.p
	late.Sequence, late.Timestamp = late.Sequence-1, late.Timestamp-frameSamples
	a.write(late)
	a.write(late)
	f = wire.frames
	if len(f) != 5 || f[4].Sequence != f[3].Sequence-1 || f[4].Timestamp != f[3].Timestamp-frameSamples {
		t.Errorf("%d frames, the late one %+v after %+v", len(f), f[4], f[3])
	}
	// A pause of the source without loss stays a pause.
	a.p.Timestamp += rate
	c.turn(time.Second)
	a.next(0)
	if l := wire.last(); l.Sequence != f[3].Sequence+1 || l.Timestamp != f[3].Timestamp+rate+frameSamples {
		t.Errorf("after a pause %+v", l)
	}
}

func TestSenderChangesSource(t *testing.T) {
	s, wire, c := newSender(SenderConfig{Codec: PCMA})
	a, b := newStream(s, 1), newStream(s, 2)
	a.next(0)
	a.next(0)
	c.turn(500 * time.Millisecond)
	b.next(0)
	f := wire.frames
	if f[2].Sequence != f[1].Sequence+1 || f[2].Timestamp != f[1].Timestamp+4000 || !f[2].Marker {
		t.Errorf("half a second later %+v after %+v", f[2], f[1])
	}
	c.turn(5 * time.Millisecond) // too early: the one before still sounds
	a.next(0)
	f = wire.frames
	if f[3].Timestamp != f[2].Timestamp+frameSamples || !f[3].Marker {
		t.Errorf("at once %+v after %+v", f[3], f[2])
	}
	c.turn(frameTime)
	a.next(0)
	if l := wire.last(); l.Marker || l.Timestamp != f[3].Timestamp+frameSamples {
		t.Errorf("the run goes on with %+v", l)
	}
	// A source that begins its timestamps again is a new one.
	a.p.Timestamp = 1
	c.turn(frameTime)
	a.next(0)
	if l := wire.last(); !l.Marker {
		t.Errorf("a jump back gave %+v", l)
	}
	// So is one that jumps far ahead of the clock, which would be silence for an hour.
	before := wire.last()
	a.p.Timestamp += 3600 * rate
	c.turn(frameTime)
	a.next(0)
	if l := wire.last(); !l.Marker || l.Timestamp != before.Timestamp+frameSamples {
		t.Errorf("a jump ahead gave %+v after %+v", l, before)
	}
	seamless(t, wire.frames, 0)
}

func TestSenderEvensOut(t *testing.T) {
	s, wire, c := newSender(SenderConfig{Codec: PCMA, Even: true})
	a := newStream(s, 1)
	n := byte(0)
	var want []byte
	for range 8 { // 30 ms each: 240 ms in all
		sound := make([]byte, 240)
		for i := range sound {
			sound[i] = n
			n++
		}
		want = append(want, sound...)
		a.p.Sequence++
		a.p.Timestamp += 240
		p := a.p
		p.Payload = sound
		s.Write(&p)
		c.turn(30 * time.Millisecond)
	}
	var got []byte
	for i, f := range wire.frames {
		got = append(got, f.Payload...)
		if i > 0 && (f.Timestamp-wire.frames[i-1].Timestamp != frameSamples || f.Sequence != wire.frames[i-1].Sequence+1) {
			t.Errorf("frame %d: %+v", i, f)
		}
	}
	if !bytes.Equal(got, want) || len(wire.frames) != 12 || !wire.frames[0].Marker || wire.frames[1].Marker {
		t.Errorf("%d frames, %d samples of %d", len(wire.frames), len(got), len(want))
	}
	// As it is on a leg that does not ask for 20 ms.
	plain, w2, _ := newSender(SenderConfig{Codec: PCMA})
	plain.Write(&Packet{Codec: PCMA, Payload: make([]byte, 240), Source: 1})
	if len(w2.last().Payload) != 240 {
		t.Errorf("%d samples", len(w2.last().Payload))
	}
}

func TestSenderPressesKeys(t *testing.T) {
	s, wire, c := newSender(SenderConfig{Codec: PCMA, KeyType: 96})
	a := newStream(s, 1)
	a.next(0)
	c.turn(frameTime)
	press := func(stamp uint32, duration uint16, end bool) {
		a.p.Sequence++
		p := a.p
		p.Timestamp, p.Key = stamp, &Key{Digit: '#', Duration: duration, End: end, Volume: 7}
		s.Write(&p)
		c.turn(frameTime)
	}
	began := a.p.Timestamp + frameSamples
	press(began, 160, false)
	a.next(0) // sound under the key, as some phones send it
	other := newStream(s, 2)
	other.next(0) // and of somebody else
	press(began, 320, false)
	press(began, 480, true)
	press(began, 480, true)
	press(began, 480, true)
	var marks, ends int
	for _, f := range wire.frames[1:] {
		if f.PayloadType != 96 || f.Timestamp != wire.frames[0].Timestamp+frameSamples {
			t.Errorf("%+v", f)
		}
		k, ok := parseKey(f.Payload)
		if !ok || k.Digit != '#' || k.Volume != 7 {
			t.Errorf("%+v", k)
		}
		if f.Marker {
			marks++
		}
		if k.End {
			ends++
		}
	}
	if len(wire.frames) != 6 || marks != 1 || ends != 3 {
		t.Fatalf("%d frames, %d marks, %d ends", len(wire.frames), marks, ends)
	}
	other.next(0)
	if l := wire.last(); l.PayloadType != uint8(PCMA) || !l.Marker {
		t.Errorf("after the key %+v", l)
	}
	// The end got lost: it is made up when sound comes again.
	press(other.p.Timestamp+90000, 160, false)
	c.turn(keyTimeout)
	other.next(0)
	f := wire.frames[len(wire.frames)-4:]
	for _, f := range f[:3] {
		if k, ok := parseKey(f.Payload); f.PayloadType != 96 || !ok || !k.End {
			t.Errorf("%+v", f)
		}
	}
	if f[3].PayloadType != uint8(PCMA) {
		t.Errorf("%+v", f[3])
	}
	seamless(t, wire.frames, 96)
}

func TestSenderWithoutKeys(t *testing.T) {
	s, wire, _ := newSender(SenderConfig{Codec: PCMA})
	s.Write(&Packet{Key: &Key{Digit: '1'}, Source: 1})
	if len(wire.frames) != 0 {
		t.Errorf("%+v went to a far end that knows no keys", wire.frames)
	}
}

func TestPressesAreFoundOnce(t *testing.T) {
	c := newClock()
	r := NewReceiver(101, 0, c.now())
	e := newEar()
	r.Forward(e)
	seq := uint16(0)
	key := func(stamp uint32, digit byte, duration uint16, end, marker bool) {
		seq++
		k := Key{Digit: digit, Duration: duration, End: end}
		b := make([]byte, keySize)
		k.put(b)
		r.Take(Header{PayloadType: 101, Sequence: seq, Timestamp: stamp, Marker: marker, SSRC: 1}, b, c.now())
		c.turn(frameTime)
	}
	sound := func(stamp uint32) int {
		seq++
		r.Take(Header{PayloadType: 8, Sequence: seq, Timestamp: stamp, SSRC: 1}, make([]byte, frameSamples), c.now())
		return len(e.samples) / frameSamples
	}
	key(1000, '1', 160, false, true)
	key(1000, '1', 320, false, false)
	if sound(1320) != 0 {
		t.Error("sound is heard under a key")
	}
	key(1000, '1', 800, true, false)
	key(1000, '1', 800, true, false)
	if sound(2000) != 1 {
		t.Error("no sound after the key")
	}
	key(5000, '2', 800, true, false)  // only an end came
	key(9000, '2', 160, false, false) // the same key again; its end is lost
	key(5000, '2', 800, true, false)  // late
	c.turn(keyTimeout)
	if sound(20000) != 2 {
		t.Error("no sound after a key without an end")
	}
	key(30000, '3', 0xffff, false, true) // held for more than 8 s
	key(30000+0xffff, '3', 160, false, false)
	key(30000+0xffff, '3', 320, true, false)
	r.Close()
	var got []byte
	for n := range r.Notices() {
		got = append(got, n.Digit)
	}
	if string(got) != "1223" {
		t.Errorf("heard %q", got)
	}
	for _, d := range voice.Digits {
		b := make([]byte, keySize)
		Key{Digit: byte(d)}.put(b)
		if k, ok := parseKey(b); !ok || k.Digit != byte(d) {
			t.Errorf("%q became %q", d, k.Digit)
		}
	}
	if _, ok := parseKey([]byte{16, 0, 0, 0}); ok {
		t.Error("a hook flash is a key")
	}
}
