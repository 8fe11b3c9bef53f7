package media

import "time"

// tally counts what came, as RFC 3550 appendix A does.
type tally struct {
	received int64
	// Of the stream with this SSRC: the first and the highest extended number, and how many came.
	known     bool
	ssrc      uint32
	first     int64
	highest   int64
	came      int64
	lostSoFar int64 // of streams before
	// transit and jitter are in samples; jitter is kept 16 times as large (appendix A.8).
	transit int64
	jitter  int64
	// what the last report told
	toldExpected, toldCame int64
}

func (t *tally) take(h Header, now time.Time) {
	t.received++
	transit := now.UnixMicro()*rate/1e6 - int64(h.Timestamp)
	if !t.known || t.ssrc != h.SSRC || jumped(h.Sequence, t.highest) {
		t.lostSoFar = t.lost()
		*t = tally{
			received: t.received, known: true, ssrc: h.SSRC, first: int64(h.Sequence), highest: int64(h.Sequence), came: 1,
			lostSoFar: t.lostSoFar, transit: transit, jitter: t.jitter,
		}
		return
	}
	t.came++
	if ahead := int16(h.Sequence - uint16(t.highest)); ahead > 0 {
		t.highest += int64(ahead)
	}
	d := int64(int32(uint32(transit - t.transit)))
	t.transit = transit
	if d < 0 {
		d = -d
	}
	// A source whose timestamps jumped has no jitter of seconds.
	if d < rate {
		t.jitter += d - (t.jitter+8)>>4
	}
}

// jumped reports whether a number is too far from the highest for the same run (RFC 3550 appendix A.1).
func jumped(number uint16, highest int64) bool {
	ahead := int16(number - uint16(highest))
	return ahead > 3000 || ahead < -100
}

func (t *tally) expected() int64 {
	if !t.known {
		return 0
	}
	return t.highest - t.first + 1
}

// lost counts what never came; repetitions do not make it negative.
func (t *tally) lost() int64 { return t.lostSoFar + max(t.expected()-t.came, 0) }

func (t *tally) jitterTime() time.Duration {
	return time.Duration(t.jitter>>4) * time.Second / rate
}
