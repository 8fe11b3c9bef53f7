package nodes_test

import (
	"testing"
	"time"

	"tributary/test/ledger"
)

// TestRollingRestarts restarts the nodes one after the other as an update does. Nobody who comes back with his cursor
// sees an error: sockets end with 1012, calls are refused before they are taken, every end is a success.
func TestRollingRestarts(t *testing.T) {
	w := open(t, graceful, site{})
	rng := w.chance(1)
	restarts := 20
	if long() {
		restarts = 200
	}
	var stop, start ledger.Times
	for n := range restarts {
		w.renew()
		time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond))))
		node := w.nodes[n%2]
		began := time.Now()
		if err := node.Stop(); err != nil {
			t.Fatalf("KILL_SEED=%d: restart %d: %v\n%s", w.seed, n, err, node.Log)
		}
		stop.Add(time.Since(began))
		began = time.Now()
		node.Launch()
		node.Ready(time.Minute)
		start.Add(time.Since(began))
	}
	w.finish()
	ends := 0
	for _, s := range w.streams {
		ends += s.ends[1012]
	}
	if ends < restarts/2 {
		t.Errorf("void: %d restarts ended only %d sockets of those who watch", restarts, ends)
	}
	t.Logf("FIGURE %d restarts; a stop took p50 %s, most %s; a start p50 %s, most %s", restarts, stop.At(0.5), stop.At(1), start.At(0.5), start.At(1))
}
