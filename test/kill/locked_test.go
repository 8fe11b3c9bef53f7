package kill_test

import (
	"context"
	"testing"
	"time"

	"tributary/test/ledger"
)

// TestRestartBesideADyingSession: PostgreSQL may end the sessions of a killed program only after its next start. What
// they lock then must not wait for a lease.
func TestRestartBesideADyingSession(t *testing.T) {
	p := plan{dialect: "postgres", seed: ledger.Seed(t), kills: 3, limit: 60, threads: 20, think: 20 * time.Millisecond, muse: 15 * time.Millisecond, patience: time.Minute}
	held := 0
	p.down = func(t testing.TB, r *run) {
		if r.kills >= 3 {
			held += r.holdRunning(t, 500*time.Millisecond)
		}
	}
	p.enough = func(*run) bool { return held > 0 }
	r := newRun(t, p)
	r.drive()
	t.Logf("%d jobs were locked at the start; everything was visible after %s", held, r.visible.At(1))
	if d := r.visible.At(1); d > 10*time.Second {
		t.Errorf("what a dying session had locked was visible only after %s", d)
	}
}

// holdRunning locks the jobs that were running, as the session of a handler does, for a while.
func (r *run) holdRunning(t testing.TB, d time.Duration) (n int) {
	t.Helper()
	db := r.database(t)
	tx, err := db.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	query := "SELECT count(*) FROM (SELECT id FROM jobs WHERE state = 'running' AND kind = 'ingest' FOR UPDATE) held"
	if err := tx.QueryRowContext(context.Background(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(d, func() {
		_ = tx.Rollback()
		_ = db.Close()
	})
	return n
}
