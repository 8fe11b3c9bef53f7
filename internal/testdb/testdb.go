// Package testdb gives tests real databases: a fresh SQLite file, a fresh
// PostgreSQL database, a fresh Redis.
//
// Each runs one test on both dialects. PostgreSQL is the server of
// TEST_DATABASE_URL where that is set; else a private server is started from
// the installed binaries, once per test process; else the test is skipped
// with a banner, or fails where TEST_REQUIRE_SERVERS=1 says that a skip is no
// option. Redis follows the same order with TEST_REDIS_URL. A test that stops
// and restarts a server takes one of its own: Postgres, PrivateRedis.
//
// Neighbours: imported by tests alone, never by the program.
//
// Invariants: no test sees another's rows; databases of a test are dropped
// when it ends; what a killed process left behind is dropped by the next
// process on the same machine; a private server ends with the process that
// started it, even if that is killed, because a watchdog waits for the
// process's end. No goroutine outlives a call, so leak detectors stay quiet.
package testdb

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Option changes how databases are made.
type Option func(*options)

type options struct {
	dsn      func(path string) string
	template string
	migrate  func(url string) error
}

// SQLiteDSN replaces the way in which a file's path becomes the address of a
// SQLite database.
func SQLiteDSN(build func(path string) string) Option {
	return func(o *options) { o.dsn = build }
}

// Template makes each database a copy of one that migrate has prepared. It
// runs once per process, name and dialect, instead of once per test; migrate
// must close what it opens. Two templates of one process need two names.
func Template(name string, migrate func(url string) error) Option {
	return func(o *options) { o.template, o.migrate = name, migrate }
}

// Each runs f as the subtests "sqlite" and "postgres", each with the address
// of a fresh database. f may call t.Parallel.
func Each(t *testing.T, f func(t *testing.T, url string), opts ...Option) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, SQLite(t, opts...)) })
	t.Run("postgres", func(t *testing.T) { f(t, PostgresURL(t, opts...)) })
}

// DefaultSQLiteDSN is the product's address but for synchronous=NORMAL: tests
// kill processes, not the power.
func DefaultSQLiteDSN(path string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)&_txlock=immediate&_time_format=sqlite"
}

// SQLite is the address of a fresh database in the test's temporary folder.
func SQLite(t testing.TB, opts ...Option) string {
	t.Helper()
	o := collect(opts)
	path := filepath.Join(t.TempDir(), "test.db")
	if o.migrate == nil {
		return o.dsn(path)
	}
	template := sqliteTemplates.get(o.template, func() (string, error) { return migratedFile(o) })
	if template.err != nil {
		t.Fatalf("prepare the SQLite template %q: %v", o.template, template.err)
	}
	if err := copyDatabase(template.value, path); err != nil {
		t.Fatalf("copy the SQLite template %q: %v", o.template, err)
	}
	return o.dsn(path)
}

func collect(opts []Option) options {
	o := options{dsn: DefaultSQLiteDSN}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// migratedFile makes the template in a folder of its own, which the watchdog
// removes: no test owns it.
func migratedFile(o options) (string, error) {
	dir, err := processDir()
	if err != nil {
		return "", err
	}
	dir, err = os.MkdirTemp(dir, "template-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "template.db")
	return path, o.migrate(o.dsn(path))
}

// copyDatabase takes the log along: a migrate function that left its database
// open has not written it back.
func copyDatabase(from, to string) error {
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(from + suffix)
		if os.IsNotExist(err) && suffix != "" {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(to+suffix, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// templates are the databases that were migrated in this process.
type templates struct {
	mu   sync.Mutex
	made map[string]*made
}

type made struct {
	once  sync.Once
	value string
	err   error
}

var sqliteTemplates, postgresTemplates templates

// get makes a template at its first use; others wait for it.
func (c *templates) get(name string, build func() (string, error)) *made {
	c.mu.Lock()
	if c.made == nil {
		c.made = map[string]*made{}
	}
	m, ok := c.made[name]
	if !ok {
		m = &made{}
		c.made[name] = m
	}
	c.mu.Unlock()
	m.once.Do(func() { m.value, m.err = build() })
	return m
}

// Missing skips a test loudly whose server is not there, or fails where servers are required.
func Missing(t testing.TB, server string, reason error) {
	t.Helper()
	banner := fmt.Sprintf("\n"+
		"########################################################################\n"+
		"# SKIPPED: no %s for this test.\n"+
		"# %v\n"+
		"# What this test proves has NOT been proved by this run.\n"+
		"########################################################################", server, reason)
	if os.Getenv("TEST_REQUIRE_SERVERS") == "1" {
		t.Fatalf("TEST_REQUIRE_SERVERS=1, but there is no %s: %v", server, reason)
	}
	t.Skip(banner)
}
