package media

import "time"

const (
	// early and late are how far from the clock a packet's timestamp may put it; lag is the lasting distance that is
	// corrected.
	early = 20 * time.Millisecond
	late  = 200 * time.Millisecond
	lag   = 20 * time.Millisecond
	// lagTime is how long a distance must last.
	lagTime = 2 * time.Second
)

// track finds the place of one side's packets. Within a source the timestamps say it, so that packets that were held up
// and come in a burst still stand where they belong; the clock says whether to believe them. A source whose own clock is
// faster or slower than ours is set right whenever even its quickest packets are 20 ms off.
type track struct {
	known  bool
	source uint64
	stamp  uint32
	at     int64
	// least is the smallest delay since the frame of number since.
	least, since int64
}

// place gives the number of the frame at which the packet's sound begins; clock is that of its arrival.
func (t *track) place(c *chunk, clock int64) int64 {
	at := t.at + int64(int32(c.stamp-t.stamp))
	delay := clock - at
	switch {
	case !t.known || t.source != c.source || c.source == 0 && delay != 0 || delay < -samplesIn(early) || delay > samplesIn(late):
		at, delay = clock, 0
		t.least, t.since = 0, clock
	case delay < t.least || t.since == 0:
		t.least = delay
	}
	if clock-t.since > samplesIn(lagTime) {
		if t.least > samplesIn(lag) {
			at += t.least
			delay -= t.least
		}
		t.least, t.since = delay, clock
	}
	t.known, t.source, t.stamp, t.at = true, c.source, c.stamp, at
	return at
}
