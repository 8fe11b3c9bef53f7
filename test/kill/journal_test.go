package kill_test

import (
	"slices"
	"sync"
	"time"
)

// journal is what the outside knows for sure: what was acknowledged to it. The checker compares the program with it.
type journal struct {
	mu       sync.Mutex
	inbound  map[string]heard // by external id
	outbound map[string]said  // by idempotency key
	trouble  []string         // answers that should not have been
	retries  int              // tries that met a dead program
	replays  int
	refusals int
}

// heard is an acknowledged inbound message.
type heard struct {
	thread string
	seq    int // in its thread
}

// said is an acknowledged reply.
type said struct {
	message, interaction, text string
}

func newJournal() *journal {
	return &journal{inbound: map[string]heard{}, outbound: map[string]said{}}
}

func (j *journal) heard(id string, h heard) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.inbound[id] = h
}

func (j *journal) said(key string, s said) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.outbound[key] = s
}

func (j *journal) note(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.trouble) < 50 { // enough to see what is wrong
		j.trouble = append(j.trouble, what)
	}
}

func (j *journal) count(n *int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	*n++
}

func (j *journal) counts() (in, out int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.inbound), len(j.outbound)
}

// missing counts the acknowledged inbound messages that are not among those seen.
func (j *journal) missing(seen func(id string) bool) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id := range j.inbound {
		if !seen(id) {
			n++
		}
	}
	return n
}

// times collects durations for figures.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (s *times) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// at is the quantile, by nearest rank; zero where there are none.
func (s *times) at(q float64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(time.Millisecond)
}
