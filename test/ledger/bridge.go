package ledger

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Bridge is the provider's other half: it takes what the program sends, and counts.
type Bridge struct {
	URL  string
	srv  *httptest.Server
	Open atomic.Int64 // requests under way
	Slow atomic.Int64 // how many times the usual a slow moment takes

	mu    sync.Mutex
	rng   *rand.Rand
	took  map[string]int // sends by message id
	order map[string][]string
	bad   []string
}

// How long the bridge takes to answer at most, and how many times that in a slow moment. A machine under load hardly
// gets a send to the bridge between two kills; there slow moments are slower.
const (
	usualPace = 30 * time.Millisecond
	UsualSlow = 4
	VerySlow  = 12
)

// NewBridge makes a bridge that removes no doubles and cannot be asked.
func NewBridge(t testing.TB, seed uint64) *Bridge {
	t.Helper()
	b := &Bridge{rng: rand.New(rand.NewPCG(seed, 7)), took: map[string]int{}, order: map[string][]string{}} //nolint:gosec // repeatable, not secret
	b.Slow.Store(UsualSlow)
	b.srv = httptest.NewServer(b)
	b.URL = b.srv.URL
	t.Cleanup(b.srv.Close)
	return b
}

// ServeHTTP takes the message before it answers, and answers late: a kill in between leaves the program in doubt.
func (b *Bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.Open.Add(1)
	defer b.Open.Add(-1)
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut off before it was whole: not taken
	}
	var m struct {
		ID     string
		Thread string
	}
	if err := json.Unmarshal(raw, &m); err != nil || m.ID == "" {
		b.mu.Lock()
		b.bad = append(b.bad, string(raw))
		b.mu.Unlock()
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	b.mu.Lock()
	b.took[m.ID]++
	b.order[m.Thread] = append(b.order[m.Thread], m.ID)
	pace := usualPace
	if b.rng.IntN(2) == 0 { // slow moments keep more sends under way
		pace *= time.Duration(b.Slow.Load())
	}
	pause := time.Duration(b.rng.Int64N(int64(pace) + 1))
	b.mu.Unlock()
	select {
	case <-time.After(pause):
	case <-r.Context().Done():
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{"externalId": "x-" + m.ID})
}

// Taken is a copy of the counts and of each thread's order.
func (b *Bridge) Taken() (took map[string]int, order map[string][]string, bad []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	took, order = make(map[string]int, len(b.took)), make(map[string][]string, len(b.order))
	for id, n := range b.took {
		took[id] = n
	}
	for thread, ids := range b.order {
		order[thread] = append([]string(nil), ids...)
	}
	return took, order, append([]string(nil), b.bad...)
}
