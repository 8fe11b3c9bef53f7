// Package ledger is what the world outside the program keeps of it, and the checker that compares: the Journal of what
// was acknowledged, the Bridge that takes what is sent, the Follower of the feed, the Picture of all that the API shows,
// and Check, which finds what contradicts. The kill tests of one node and of two share it; it knows nothing of the
// program's insides.
package ledger

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Seed is KILL_SEED, or a new one. It repeats a run's choices, not its timing.
func Seed(t testing.TB) uint64 {
	t.Helper()
	s := rand.Uint64() //nolint:gosec // a test's choice
	if text := os.Getenv("KILL_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("KILL_SEED: %v", err)
		}
	}
	t.Logf("KILL_SEED=%d", s)
	return s
}
