package nodes_test

import (
	"testing"
	"time"

	"tributary/internal/testdb"
	"tributary/test/ledger"
)

// TestPostgresRestarts crashes the database under both nodes. They wait for it and go on; nobody starts them again.
func TestPostgresRestarts(t *testing.T) {
	url, server := testdb.Postgres(t)
	w := open(t, outage, site{database: url, calm: 2})
	rng := w.chance(1)
	rounds := 3
	if long() {
		rounds = 30
	}
	var again ledger.Times
	for range rounds {
		time.Sleep(time.Second + time.Duration(rng.Int64N(int64(time.Second))))
		check(t, server.Stop(testdb.Immediate))
		time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Second))))
		check(t, server.Start())
		began := time.Now()
		w.ready()
		again.Add(time.Since(began))
		w.alive()
		w.renew()
	}
	w.finish()
	w.alive()
	t.Logf("FIGURE %d crashes of PostgreSQL; both nodes ready again after p50 %s, most %s", rounds, again.At(0.5), again.At(1))
}
