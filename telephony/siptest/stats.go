package siptest

import (
	"maps"
	"time"
)

// Stats is what went over one call's media.
type Stats struct {
	// Sent and Received count packets; Received without repeats.
	Sent, Received int
	// Lost are the holes in the sequence numbers of all sources; Repeated came twice; Late came after a later one.
	Lost, Repeated, Late int
	// Sources is how many SSRCs there were. Jumps is how often a source's timestamps left the clock by a second.
	Sources, Jumps int
	// Types counts packets by payload type; Foreign are those with a type that was not agreed.
	Types   map[uint8]int
	Foreign int
	// Garbage are datagrams that are no RTP.
	Garbage int
	// First and Last are when packets came.
	First, Last time.Time
}

// sequence follows the numbers of one source (RFC 3550 appendix A.1, without its probation).
type sequence struct {
	low, high int64
	seen      [1024]int64 // the number that last had this place, plus one
	received  int
}

// take extends a 16-bit number over its wraps, and tells whether it is a repeat, and whether a later one came before.
func (s *sequence) take(number uint16) (repeated, late bool) {
	if s.received == 0 {
		s.low = 1<<16 + int64(number)
		s.high = s.low
	}
	n := s.high + int64(int16(number-uint16(s.high)))
	place := &s.seen[n%int64(len(s.seen))]
	if *place == n+1 {
		return true, false
	}
	*place = n + 1
	s.received++
	late = n < s.high
	s.low, s.high = min(s.low, n), max(s.high, n)
	return false, late
}

func (s *sequence) lost() int { return int(s.high-s.low+1) - s.received }

// Stats counts the packets of the call so far.
func (m *media) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.stats
	out.Types = maps.Clone(m.stats.Types)
	out.Sources, out.Jumps = len(m.sources), m.heard.jumps
	for _, s := range m.sources {
		out.Lost += s.lost()
	}
	return out
}
