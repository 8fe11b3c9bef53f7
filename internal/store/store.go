// Package store opens the one database of the process, SQLite in a folder or PostgreSQL at an address, and gives
// transactions, migrations, leases and the sweeping of old rows.
//
// Neighbours: everything that touches rows gets its *Store from main.go; jobs and relay build on Tx and Lease. ent is
// used as it is; raw SQL outside this package stands only in jobs, relay and the hand-written hot path.
//
// Invariants: one transaction at a time in a context, and no statement beside it (SQLite has one connection: it would
// wait for itself), which is refused on both dialects so that a mistake shows where it is cheap. A transaction's
// function may run several times and must have no effect but its rows; what must happen once after the commit goes
// through OnCommit. Errors never hold the database's password. Times are UTC and cut to microseconds.
//
// Goroutines: only a held Lease has one, owned by the context given to Hold and ended when its channel closes.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	_ "github.com/lib/pq"  // registers the driver "postgres"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"tributary/ent"
	_ "tributary/ent/runtime" // hooks, interceptors and policies of the schema
	"tributary/internal/bus"
)

// defaultOpen is the size of PostgreSQL's pool where the configuration names none.
const defaultOpen = 16

// Config says which database to open.
type Config struct {
	URL     string                                  // postgres://…, sqlite:path or file:…; empty: SQLite in Dir
	Dir     string                                  // the data folder of SQLite, made when missing
	MaxOpen int                                     // connections to PostgreSQL, 16 when zero; SQLite has one
	Bus     bus.Bus                                 // hears what is committed; nil: a bus of this process alone
	Trace   func(ctx context.Context, query string) // called with every statement of ent, for tests and debugging
}

// Store is the open database.
type Store struct {
	Ent     *ent.Client
	DB      *sql.DB
	Dialect string // dialect.SQLite or dialect.Postgres
	Bus     bus.Bus

	prepared *prepared // nil on SQLite
}

// Open opens the database and proves that it answers. The error is one sentence that says what to mend. The schema may
// be old: call Migrate before anything else.
func Open(ctx context.Context, c Config) (*Store, error) {
	a, err := parse(c)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open(a.driver, a.dsn)
	if err != nil {
		return nil, a.failed(err)
	}
	db.SetMaxOpenConns(a.open)
	// Idle connections are kept: with the default of two, a busy pool opens and closes one for every burst.
	db.SetMaxIdleConns(a.open)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, a.failed(err)
	}
	s := &Store{DB: db, Dialect: a.dialect, Bus: c.Bus}
	if s.Bus == nil {
		s.Bus = bus.NewLocal()
	}
	d := &driver{Driver: entsql.OpenDB(a.dialect, db), store: s, trace: c.Trace}
	if a.dialect == dialect.Postgres {
		s.prepared = newPrepared(db)
		d.prepared = s.prepared
		d.Driver = entsql.NewDriver(a.dialect, entsql.Conn{ExecQuerier: preparedDB{db, d.prepared}})
	}
	s.Ent = ent.NewClient(ent.Driver(d))
	return s, nil
}

// Ping proves that the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.DB.PingContext(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	return nil
}

// Close closes the database; what still uses it fails.
func (s *Store) Close() error {
	if s.prepared != nil {
		s.prepared.close()
	}
	err := s.DB.Close()
	if s.Dialect == dialect.Postgres { // a connection that cannot say goodbye loses nothing: what counts is committed
		return nil
	}
	return err
}

// Integrity reads the database for damage. On SQLite it reads every page and every foreign key, which takes seconds for
// each gigabyte and holds the one connection; PostgreSQL checks its own pages, so there it proves that indexes are
// valid.
func (s *Store) Integrity(ctx context.Context) error {
	checks := []string{"SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"}
	if s.Dialect == dialect.SQLite {
		checks = []string{
			"SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
			`SELECT "table" || ' row ' || coalesce(rowid, '?') || ' names a missing ' || parent FROM pragma_foreign_key_check`,
		}
	}
	var found []string
	for _, q := range checks {
		lines, err := s.lines(ctx, q)
		if err != nil {
			return fmt.Errorf("check the database: %w", err)
		}
		found = append(found, lines...)
	}
	if len(found) > 0 {
		return errors.New("the database is damaged: " + strings.Join(found, "; "))
	}
	return nil
}

// lines reads at most 20 rows of one text column.
func (s *Store) lines(ctx context.Context, query string) (out []string, err error) {
	rows, err := s.DB.QueryContext(ctx, query+" LIMIT 20")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		out = append(out, line)
	}
	return out, rows.Err()
}
