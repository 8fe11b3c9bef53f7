package bus_test

import (
	"database/sql"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"

	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/testdb"
)

func openPostgres(t *testing.T, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestPostgresStoppedAndStarted(t *testing.T) {
	t.Parallel()
	for _, mode := range []testdb.Mode{testdb.Fast, testdb.Immediate} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			address, s := testdb.Postgres(t)
			outage(t, ofPostgres(address), false, func() error { return s.Stop(mode) }, s.Start)
		})
	}
}

const ours = " FROM pg_stat_activity WHERE application_name = 'tributary bus' AND datname = current_database()"

func TestPostgresBackendTerminated(t *testing.T) {
	t.Parallel()
	address := testdb.PostgresURL(t)
	here, there := calmPair(t, ofPostgres(address))
	near, far := here.Listen(bus.Log), there.Listen(bus.Log)
	stop := traffic(t, here)
	defer stop()
	awaitNew(t, here, far)
	near.Take()
	far.Take()
	var cut int
	if err := openPostgres(t, address).QueryRow("SELECT count(pg_terminate_backend(pid))" + ours).Scan(&cut); err != nil || cut != 2 {
		t.Fatalf("%d connections cut, %v", cut, err)
	}
	began := time.Now()
	awaitMissed(t, far)
	awaitMissed(t, near)
	awaitNew(t, here, far)
	awaitNew(t, there, near)
	t.Logf("both hear again after %v", time.Since(began))
}

// A statement that an operator cancels ends a session at most, never the process.
func TestPostgresStatementsCancelled(t *testing.T) {
	t.Parallel()
	address := testdb.PostgresURL(t)
	here, there := calmPair(t, ofPostgres(address))
	l := there.Listen(bus.Log)
	stop := traffic(t, here)
	defer stop()
	db := openPostgres(t, address)
	for range 300 {
		if _, err := db.Exec("SELECT pg_cancel_backend(pid)" + ours); err != nil {
			t.Fatal(err)
		}
	}
	awaitNew(t, here, l)
}

// TestPostgresFallsSilent stops the processes behind the connections: the sockets stay open and nobody answers.
func TestPostgresFallsSilent(t *testing.T) {
	t.Parallel()
	address, _ := testdb.Postgres(t)
	s := ofPostgres(address)
	here, there := s.node(t, nil), s.node(t, nil)
	runPair(t, here, there)
	near, far := here.Listen(bus.Log), there.Listen(bus.Log)
	awaitNew(t, here, far)
	near.Take()
	far.Take()
	rows, err := openPostgres(t, address).Query("SELECT pid" + ours)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	frozen := 0
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		// The server waits for them when it stops.
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
		frozen++
	}
	if rows.Err() != nil || frozen < 2 {
		t.Fatalf("%d connections, %v", frozen, rows.Err())
	}
	began := time.Now()
	awaitMissed(t, far)
	awaitMissed(t, near)
	awaitNew(t, here, far)
	t.Logf("noticed and mended after %v", time.Since(began))
}

func TestPostgresForeignPayloads(t *testing.T) {
	t.Parallel()
	address := testdb.PostgresURL(t)
	s := ofPostgres(address)
	here, there := calmPair(t, s)
	l := there.Listen()
	db := openPostgres(t, address)
	for _, p := range foreign {
		// PostgreSQL itself refuses the longest and those that are no text.
		_, _ = db.Exec("SELECT pg_notify($1, $2)", s.prefix+"_bus", p)
	}
	w := gid.Make(gid.Workspace)
	here.Announce(bus.Note{Topic: bus.Log, Workspace: w, Seq: 1})
	collect(t, l, map[bus.Key]int64{{Topic: bus.Log, Workspace: w}: 1})
}
