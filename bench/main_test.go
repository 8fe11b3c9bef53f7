package bench

import (
	"database/sql"
	"fmt"
	"os"
	"testing"

	_ "tributary/channels/all"
	"tributary/desk/desktest"
	"tributary/internal/crypt"
	"tributary/internal/store"
	"tributary/internal/testdb"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(plainAddr); addr != "" { // this process is the plain server of another one
		servePlain(addr)
		return
	}
	box, err := crypt.New()
	if err != nil {
		panic(err)
	}
	crypt.Use(box)
	m.Run()
}

// dialects measures on both; without a PostgreSQL that one is skipped loudly.
func dialects(b *testing.B, f func(b *testing.B, dialect string)) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		b.Run(dialect, func(b *testing.B) { f(b, dialect) })
	}
}

// address is a fresh database: empty for SQLite, whose file lies in a folder of its own. Where the tests had to start a
// server of their own, that one does not wait for the disk, and the run says so.
func address(b *testing.B, dialect string) string {
	if dialect != "postgres" {
		return ""
	}
	defer func() {
		if b.Skipped() {
			loud(b, "SKIPPED: there is no PostgreSQL")
		}
	}()
	url := testdb.PostgresURL(b)
	db, err := sql.Open("postgres", url)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var durable bool
	err = db.QueryRowContext(b.Context(), `SELECT current_setting('fsync')::bool AND current_setting('synchronous_commit')::text <> 'off'`).Scan(&durable)
	if err != nil {
		b.Fatal(err)
	}
	if !durable {
		loud(b, "this PostgreSQL does not wait for the disk: times of writing mean nothing. Name a durable one in TEST_DATABASE_URL.")
	}
	return url
}

// loud says what nobody may overlook. It does not use the log of the testing package, which drops that of a measurement
// that was skipped.
func loud(b *testing.B, what string) {
	const rule = "########################################################################"
	fmt.Fprintf(os.Stderr, "\n%s\n# %s: %s\n%s\n", rule, b.Name(), what, rule)
}

// world is a desk on a fresh, durable database (SQLite with synchronous FULL). seen is told of every statement; it may
// be nil.
func world(b testing.TB, url string, seen func(query string)) *desktest.World {
	c := store.Config{URL: url, Dir: b.TempDir()}
	if seen != nil {
		c.Trace = traced(seen)
	}
	s, err := store.Open(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return desktest.New(b, s)
}
