package media

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tributary/channels/voice"
)

// behind is how late a player may be before it skips instead of sending what it owes in one burst.
const behind = 200 * time.Millisecond

// Play writes a clip to sink in real time, 20 ms at a time by an absolute schedule, so that it never drifts. After a
// stall of more than 200 ms it goes on where it should be. It returns nil at the clip's end, or the context's error;
// a loop has no end.
func Play(ctx context.Context, sink Sink, clip Clip, loop bool) error {
	if clip.Len() == 0 {
		return nil
	}
	p := Packet{Codec: PCMA, Source: NewSource(), Marker: true}
	if l, ok := sink.(interface{ Codec() Codec }); ok {
		p.Codec = l.Codec()
	}
	samples := clip.samples(p.Codec)
	tail := tailOf(samples, p.Codec)
	frames := int64(clip.frames())
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := int64(0); loop || n < frames; n++ {
		due := began.Add(time.Duration(n) * frameTime)
		if late := time.Since(due); late > behind {
			skipped := int64(late / frameTime)
			n, p.Marker = n+skipped, true
			continue
		}
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		p.Payload = frameOf(samples, tail, n%frames)
		p.Sequence, p.Timestamp = p.Sequence+1, uint32(n*frameSamples)
		sink.Write(&p)
		p.Marker = false
	}
	return nil
}

// frameOf is the frame of that number; the last one is filled up with silence.
func frameOf(samples, tail []byte, n int64) []byte {
	at := n * frameSamples
	if at+frameSamples > int64(len(samples)) {
		return tail
	}
	return samples[at : at+frameSamples]
}

func tailOf(samples []byte, c Codec) []byte {
	tail := make([]byte, frameSamples)
	n := copy(tail, samples[len(samples)/frameSamples*frameSamples:])
	for i := n; i < frameSamples; i++ {
		tail[i] = c.silence()
	}
	return tail
}

const (
	// pressTime and pauseTime are of the keys that we press; ITU-T Q.24 asks for 40 ms of each at least.
	pressTime = 100 * time.Millisecond
	pauseTime = 70 * time.Millisecond
)

// SendDigits presses keys into sink, 100 ms each with 70 ms between, and returns when the last is up. Digits are those of
// voice.Digits; others are an error before anything is sent. When the context ends, a key that is down is let go first.
func SendDigits(ctx context.Context, sink Sink, digits string) error {
	if i := strings.IndexFunc(digits, func(r rune) bool { return !strings.ContainsRune(voice.Digits, r) }); i >= 0 {
		return fmt.Errorf("sending keys: the character at %d is no key", i)
	}
	h := hand{sink: sink, began: time.Now(), packet: Packet{Source: NewSource()}}
	for i := range len(digits) {
		if err := h.press(ctx, digits[i]); err != nil {
			return fmt.Errorf("sending keys: %w", err)
		}
	}
	return nil
}

// hand presses keys by an absolute schedule.
type hand struct {
	sink   Sink
	began  time.Time
	at     time.Duration // of what comes next, since it began
	packet Packet
}

func (h *hand) press(ctx context.Context, digit byte) error {
	stamp := uint32(samplesIn(h.at))
	key := Key{Digit: digit, Volume: keyVolume}
	for held := frameTime; held <= pressTime; held += frameTime {
		key.Duration = uint16(samplesIn(held))
		h.write(stamp, key)
		if err := h.wait(ctx, frameTime); err != nil {
			h.letGo(stamp, key)
			return err
		}
	}
	h.letGo(stamp, key)
	return h.wait(ctx, pauseTime)
}

func (h *hand) letGo(stamp uint32, key Key) {
	key.End = true
	for range keyEnds {
		h.write(stamp, key)
	}
}

func (h *hand) write(stamp uint32, key Key) {
	h.packet.Sequence++
	h.packet.Timestamp, h.packet.Key = stamp, &key
	h.sink.Write(&h.packet)
}

// wait lets d pass on the schedule.
func (h *hand) wait(ctx context.Context, d time.Duration) error {
	h.at += d
	timer := time.NewTimer(time.Until(h.began.Add(h.at)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// errClip is the base of what LoadClip refuses.
var errClip = errors.New("the sound cannot be read")
