package store

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"entgo.io/ent/dialect"
)

// fileName is the database in the data folder.
const fileName = "tributary.db"

// sqliteSettings of the product. immediate: a transaction that reads and then writes would else fail at once when
// another writes. FULL: a commit survives the power's loss. foreign_keys must stand here, it is a setting of the
// connection.
const sqliteSettings = "_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate&_time_format=sqlite"

// idleInTransaction is how long a stopped process may hold locks before PostgreSQL cuts it off, in milliseconds. No
// transaction of ours thinks that long between two statements.
const idleInTransaction = "20000"

// address is a database as the driver wants it, and as people may read it.
type address struct {
	driver, dialect, dsn string
	open                 int
	shown                string   // without password
	secrets              []string // what no message may hold
}

func parse(c Config) (address, error) {
	scheme, rest, _ := strings.Cut(c.URL, ":")
	switch {
	case c.URL == "":
		if c.Dir == "" {
			return address{}, errors.New("neither a database address nor a data folder is configured")
		}
		return inFolder(c.Dir)
	case scheme == "sqlite":
		path := strings.TrimPrefix(rest, "//")
		return address{driver: "sqlite", dialect: dialect.SQLite, dsn: fileDSN(path), open: 1, shown: "the SQLite file " + path}, nil
	case scheme == "file":
		return address{driver: "sqlite", dialect: dialect.SQLite, dsn: c.URL, open: 1, shown: "the SQLite file " + strings.SplitN(rest, "?", 2)[0]}, nil
	case scheme == "postgres" || scheme == "postgresql":
		return atServer(c)
	}
	// The text is not shown: it may be a password in the wrong place.
	return address{}, errors.New("the database address must begin with postgres:// (or be empty for SQLite in the data folder)")
}

func fileDSN(path string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + sqliteSettings
}

// inFolder makes the folder and proves that it can be written, because SQLite's own words for that ("unable to open
// database file") do not say which folder or why.
func inFolder(dir string) (address, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return address{}, fmt.Errorf("the data folder %s cannot be made: %w", dir, reason(err))
	}
	probe, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return address{}, fmt.Errorf("the data folder %s cannot be written: %w", dir, reason(err))
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	path := filepath.Join(dir, fileName)
	return address{driver: "sqlite", dialect: dialect.SQLite, dsn: fileDSN(path), open: 1, shown: "the SQLite file " + path}, nil
}

// reason takes the path away that the sentence has already named.
func reason(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func atServer(c Config) (address, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" {
		// The parser's own error repeats the whole address with its password.
		return address{}, errors.New("the database address is not of the form postgres://user:password@host:port/name")
	}
	q := u.Query()
	if v, err := strconv.ParseBool(q.Get("binary_parameters")); q.Get("binary_parameters") == "yes" || v && err == nil {
		return address{}, errors.New("binary_parameters in the database address breaks JSON columns; take it out")
	}
	defaults := map[string]string{
		"connect_timeout": "10", "timezone": "UTC", "application_name": "tributary",
		"idle_in_transaction_session_timeout": idleInTransaction,
	}
	if host := u.Hostname(); host == "localhost" || net.ParseIP(host).IsLoopback() {
		// lib/pq demands TLS by default, which a server on the same machine rarely has.
		defaults["sslmode"] = "prefer"
	}
	for k, v := range defaults {
		if !q.Has(k) {
			q.Set(k, v)
		}
	}
	u.RawQuery = q.Encode()
	a := address{driver: "postgres", dialect: dialect.Postgres, dsn: u.String(), open: c.MaxOpen}
	a.shown = fmt.Sprintf("PostgreSQL at %s, database %q,", u.Host, strings.TrimPrefix(u.Path, "/"))
	if a.open <= 0 {
		a.open = defaultOpen
	}
	a.secrets = []string{q.Get("password")}
	if p, ok := u.User.Password(); ok {
		a.secrets = append(a.secrets, p, url.QueryEscape(p), url.PathEscape(p))
	}
	return a, nil
}

// failed is the sentence for a database that did not open.
func (a address) failed(err error) error {
	for _, secret := range a.secrets {
		if secret != "" && strings.Contains(err.Error(), secret) {
			return fmt.Errorf("%s cannot be opened: %s", a.shown, strings.ReplaceAll(err.Error(), secret, "…"))
		}
	}
	return fmt.Errorf("%s cannot be opened: %w", a.shown, err)
}
