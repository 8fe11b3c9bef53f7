package ledger

import (
	"slices"
	"sync"
	"time"
)

// Journal is what the outside knows for sure: what was acknowledged to it. The checker compares the program with it.
type Journal struct {
	mu       sync.Mutex
	Inbound  map[string]Heard // by external id
	Outbound map[string]Said  // by idempotency key
	Trouble  []string         // answers that should not have been
	Retries  int              // tries that met a dead program
	Replays  int
	Refusals int
}

// Heard is an acknowledged inbound message.
type Heard struct {
	Thread string
	Seq    int // in its thread
}

// Said is an acknowledged reply.
type Said struct {
	Message, Interaction, Text string
}

// NewJournal makes an empty one.
func NewJournal() *Journal {
	return &Journal{Inbound: map[string]Heard{}, Outbound: map[string]Said{}}
}

// Heard notes that a message was acknowledged to the provider.
func (j *Journal) Heard(id string, h Heard) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.Inbound[id] = h
}

// Said notes that a reply was acknowledged to the agent.
func (j *Journal) Said(key string, s Said) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.Outbound[key] = s
}

// Note keeps an answer that should not have been.
func (j *Journal) Note(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.Trouble) < 50 { // enough to see what is wrong
		j.Trouble = append(j.Trouble, what)
	}
}

// Count adds one to a counter of the journal.
func (j *Journal) Count(n *int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	*n++
}

// Counts of what was acknowledged.
func (j *Journal) Counts() (in, out int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.Inbound), len(j.Outbound)
}

// Missing counts the acknowledged inbound messages that are not among those seen.
func (j *Journal) Missing(seen func(id string) bool) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id := range j.Inbound {
		if !seen(id) {
			n++
		}
	}
	return n
}

// Times collects durations for figures.
type Times struct {
	mu  sync.Mutex
	all []time.Duration
}

// Add one.
func (s *Times) Add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, d)
}

// At is the quantile, by nearest rank; zero where there are none.
func (s *Times) At(q float64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(time.Millisecond)
}
