package testdb

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"
)

// Mode says how a PostgreSQL server stops.
type Mode string

// The modes of pg_ctl. Immediate is the crash: sessions are cut and the next
// start recovers from the log.
const (
	Smart     Mode = "smart"
	Fast      Mode = "fast"
	Immediate Mode = "immediate"
)

// PostgresURL is the address of a fresh database on the shared server, dropped
// when the test ends.
func PostgresURL(t testing.TB, opts ...Option) string {
	t.Helper()
	admin, err := sharedPostgres()
	if err != nil {
		Missing(t, "PostgreSQL", err)
	}
	o := collect(opts)
	base := "template0"
	if o.migrate != nil {
		m := postgresTemplates.get(o.template, func() (string, error) {
			name := databaseName()
			if err := createDatabase(admin, name, "template0"); err != nil {
				return "", err
			}
			return name, o.migrate(withDatabase(admin, name))
		})
		if m.err != nil {
			t.Fatalf("prepare the PostgreSQL template %q: %v", o.template, m.err)
		}
		base = m.value
	}
	name := databaseName()
	if err := createDatabase(admin, name, base); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dropDatabase(admin, name); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return withDatabase(admin, name)
}

// sharedPostgres is the address of the server that all tests of this process
// share, as one who may create databases.
var sharedPostgres = sync.OnceValues(func() (string, error) {
	if admin := os.Getenv("TEST_DATABASE_URL"); admin != "" {
		return admin, dropLeftBehind(admin)
	}
	// A throw-away server need not survive a power cut.
	s, err := startPostgres("-c fsync=off -c synchronous_commit=off -c full_page_writes=off")
	if err != nil {
		return "", fmt.Errorf("TEST_DATABASE_URL is not set, and no private server could be started: %w", err)
	}
	return s.URL(), nil
})

// databaseName is unique over the processes of all machines that share a
// server, and tells which process owns the database.
func databaseName() string {
	return ownerPrefix() + strconv.Itoa(os.Getpid()) + "_" + strconv.FormatInt(started, 36) + "_" + strconv.FormatInt(databases.Add(1), 10)
}

var (
	databases atomic.Int64
	started   = time.Now().UnixNano()
)

// ownerPrefix names this machine: a process number means nothing on another.
func ownerPrefix() string {
	host, _ := os.Hostname()
	sum := uint32(2166136261)
	for i := range len(host) {
		sum = (sum ^ uint32(host[i])) * 16777619
	}
	return fmt.Sprintf("tributary_test_%08x_", sum)
}

// ownerIsGone tells if a name was given by a process of this machine that has
// ended. Of others it cannot know.
func ownerIsGone(name string) bool {
	rest, mine := strings.CutPrefix(name, ownerPrefix())
	pid, err := strconv.Atoi(strings.SplitN(rest, "_", 2)[0])
	return mine && err == nil && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func createDatabase(admin, name, base string) error {
	return execute(admin, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE "+pq.QuoteIdentifier(base))
}

func dropDatabase(admin, name string) error {
	return execute(admin, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)")
}

// dropLeftBehind removes the databases of test processes of this machine that
// are gone: killed ones could not, and templates have no test that would.
func dropLeftBehind(admin string) error {
	db, err := sql.Open("postgres", admin)
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.Query("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", ownerPrefix())
	if err != nil {
		return fmt.Errorf("reach the server of TEST_DATABASE_URL: %w", err)
	}
	defer rows.Close()
	var dead []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		if ownerIsGone(name) {
			dead = append(dead, name)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, name := range dead {
		// Another process may do the same at this moment; it is enough if one
		// succeeds.
		_ = dropDatabase(admin, name)
	}
	return nil
}

// execute runs one statement on a connection of its own, so that no pool
// stays open behind a test's back.
func execute(address, statement string) error {
	db, err := sql.Open("postgres", address)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func withDatabase(admin, name string) string {
	u, err := url.Parse(admin)
	if err != nil {
		return admin
	}
	u.Path = "/" + name
	return u.String()
}

// Server is a PostgreSQL server of one test.
type Server struct {
	bin, dir, options string
	port              int
	user              asUser
	remove            func()
}

// Postgres starts a server that the test alone uses and may stop. It
// keeps PostgreSQL's defaults of durability. The address is that of an empty
// database; more can be created beside it.
func Postgres(t testing.TB) (string, *Server) {
	t.Helper()
	s, err := startPostgres("")
	if err != nil {
		Missing(t, "private PostgreSQL", err)
	}
	t.Cleanup(s.remove)
	return s.URL(), s
}

// URL is the address of the server's empty database. It stays the same over
// restarts.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// Stop stops the server and waits for it.
func (s *Server) Stop(mode Mode) error {
	return s.control("stop", "-m", string(mode))
}

// Start starts a stopped server and waits until it answers.
func (s *Server) Start() error {
	options := fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories='' %s", s.port, s.options)
	return s.control("start", "-l", filepath.Join(s.dir, "log"), "-o", options)
}

// Restart stops the server in the given mode and starts it again.
func (s *Server) Restart(mode Mode) error {
	if err := s.Stop(mode); err != nil {
		return err
	}
	return s.Start()
}

// Log is what the server has logged so far.
func (s *Server) Log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(text)
}

func (s *Server) control(command string, args ...string) error {
	args = append([]string{command, "-D", filepath.Join(s.dir, "data"), "-w", "-t", "60"}, args...)
	return s.user.run(s.dir, filepath.Join(s.bin, "pg_ctl"), args...)
}

// startPostgres makes a new server of the installed binaries.
func startPostgres(options string) (*Server, error) {
	bin, err := postgresBinaries()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, options: options}
	if s.user, err = unprivileged(); err != nil {
		return nil, err
	}
	if s.dir, err = s.user.folder("tributary-postgres-"); err != nil {
		return nil, err
	}
	s.remove, err = outlive(`kill -INT "$(head -n 1 "$1/data/postmaster.pid")" 2>/dev/null
n=0; while [ -e "$1/data/postmaster.pid" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
rm -rf -- "$1"`, s.dir)
	if err != nil {
		return nil, err
	}
	err = s.user.run(s.dir, filepath.Join(bin, "initdb"), "-D", filepath.Join(s.dir, "data"),
		"-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	for try := 0; err == nil && try < 5; try++ {
		if s.port, err = freePort(); err != nil {
			break
		}
		startErr := s.Start()
		if startErr == nil {
			return s, nil
		}
		if try == 4 {
			err = fmt.Errorf("%w: %s", startErr, s.Log())
		}
	}
	s.remove()
	return nil, err
}

// postgresBinaries is the folder of the newest installed server.
func postgresBinaries() (string, error) {
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "initdb")); err == nil {
			return filepath.Dir(path), nil
		}
	}
	newest, best := "", 0
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	for _, path := range found {
		// 9 sorts behind 15 as a text.
		version, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		if version > best {
			newest, best = filepath.Dir(path), version
		}
	}
	if newest == "" {
		return "", errors.New("initdb and pg_ctl are neither in PATH nor under /usr/lib/postgresql")
	}
	return newest, nil
}
