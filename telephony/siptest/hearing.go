package siptest

import (
	"time"

	"tributary/telephony/siptest/tone"
)

const (
	frameTime = 20 * time.Millisecond
	frameSize = tone.Rate / 50

	// memory is how much sound is kept.
	memory = 5 * time.Minute
	// settle is how long a packet may be on its way before its place counts as silence.
	settle = 200 * time.Millisecond
	// jump is how far a timestamp may stand from the clock before it counts as a new time line: a receiver's buffer would
	// throw the sound away.
	jump = time.Second
)

// hearing is what came in, put where the clock says it belongs. Within one source the timestamps order it, because
// packets arrive unevenly; the first of a source stands where it came.
type hearing struct {
	began time.Time
	base  int64 // samples that were forgotten
	pcm   []int16

	known  bool
	source uint32
	first  uint32 // timestamp of the source's anchor
	anchor int64  // its place
	jumps  int
}

// place is the sample of a moment.
func (h *hearing) place(at time.Time) int64 { return int64(at.Sub(h.began).Seconds() * tone.Rate) }

// put takes in one packet.
func (h *hearing) put(at time.Time, source, timestamp uint32, pcm []int16) {
	now := h.place(at)
	where := h.anchor + int64(int32(timestamp-h.first))
	off := time.Duration(where-now) * time.Second / tone.Rate
	switch {
	case !h.known || source != h.source:
		h.known, h.source, h.first, h.anchor, where = true, source, timestamp, now, now
	case off > jump || off < -jump:
		h.jumps++
		h.first, h.anchor, where = timestamp, now, now
	}
	h.write(where, pcm)
}

func (h *hearing) write(where int64, pcm []int16) {
	h.grow(where + int64(len(pcm)))
	for n, s := range pcm {
		if at := where + int64(n) - h.base; at >= 0 {
			h.pcm[at] = s
		}
	}
}

// grow makes room up to a place and forgets what is too old.
func (h *hearing) grow(end int64) {
	if missing := end - h.base - int64(len(h.pcm)); missing > 0 {
		h.pcm = append(h.pcm, make([]int16, missing)...)
	}
	if most := int(memory.Seconds() * tone.Rate); len(h.pcm) > 2*most {
		h.base += int64(len(h.pcm) - most)
		h.pcm = append([]int16(nil), h.pcm[len(h.pcm)-most:]...)
	}
}

// between is the sound from one moment to another; what is not known is silence.
func (h *hearing) between(from, to time.Time) []int16 {
	if h.began.IsZero() || !to.After(from) {
		return nil
	}
	first, last := h.place(from), h.place(to)
	out := make([]int16, last-first)
	for n := range out {
		if at := first + int64(n) - h.base; at >= 0 && at < int64(len(h.pcm)) {
			out[n] = h.pcm[at]
		}
	}
	return out
}
