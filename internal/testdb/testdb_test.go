package testdb_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"tributary/internal/testdb"
)

func TestMain(m *testing.M) {
	if os.Getenv("TESTDB_CHILD") != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, address string) *sql.DB {
	t.Helper()
	driver := "sqlite"
	if strings.HasPrefix(address, "postgres") {
		driver = "postgres"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestEachGivesAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	for range 2 {
		testdb.Each(t, func(t *testing.T, address string) {
			t.Parallel()
			db := open(t, address)
			if _, err := db.Exec("CREATE TABLE a (id integer PRIMARY KEY)"); err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec("INSERT INTO a VALUES (1)"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestTemplateIsMigratedOnceAndCopied(t *testing.T) {
	t.Parallel()
	var runs atomic.Int32
	template := testdb.Template(fmt.Sprint("once", time.Now().UnixNano()), func(address string) error {
		runs.Add(1)
		driver := "sqlite"
		if strings.HasPrefix(address, "postgres") {
			driver = "postgres"
		}
		db, err := sql.Open(driver, address)
		if err != nil {
			return err
		}
		_, err = db.Exec("CREATE TABLE a (id integer PRIMARY KEY)")
		return errors.Join(err, db.Close())
	})
	t.Run("copies", func(t *testing.T) {
		for range 4 {
			testdb.Each(t, func(t *testing.T, address string) {
				t.Parallel()
				db := open(t, address)
				if _, err := db.Exec("INSERT INTO a VALUES (1)"); err != nil {
					t.Error(err)
				}
				var n int
				if err := db.QueryRow("SELECT count(*) FROM a").Scan(&n); err != nil || n != 1 {
					t.Errorf("%d rows, %v: a test sees another's rows", n, err)
				}
			}, template)
		}
	})
	if n := runs.Load(); n != 2 {
		t.Errorf("migrated %d times, want once per dialect", n)
	}
}

func TestSQLiteDSN(t *testing.T) {
	t.Parallel()
	if got := testdb.SQLite(t, testdb.SQLiteDSN(func(path string) string { return "mine:" + path })); !strings.HasPrefix(got, "mine:/") {
		t.Errorf("the address is %s", got)
	}
	db := open(t, testdb.SQLite(t))
	for pragma, want := range map[string]string{"journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "10000", "synchronous": "1"} {
		var got string
		if err := db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", pragma, got, err, want)
		}
	}
}

func TestDatabaseIsDroppedAfterItsTest(t *testing.T) {
	t.Parallel()
	var address string
	t.Run("inner", func(t *testing.T) {
		address = testdb.PostgresURL(t)
		if err := open(t, address).Ping(); err != nil {
			t.Fatal(err)
		}
	})
	if err := open(t, address).Ping(); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("the database is still there: %v", err)
	}
}

func TestPrivatePostgresRestarts(t *testing.T) {
	t.Parallel()
	address, server := testdb.Postgres(t)
	db := open(t, address)
	if _, err := db.Exec("CREATE TABLE a (id integer); INSERT INTO a VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []testdb.Mode{testdb.Immediate, testdb.Fast} {
		if err := server.Restart(mode); err != nil {
			t.Fatal(err)
		}
		var n int
		var err error
		// The pool may hand out a connection that the stop has cut.
		for range 3 {
			if err = db.QueryRow("SELECT count(*) FROM a").Scan(&n); err == nil {
				break
			}
		}
		if err != nil || n != 1 {
			t.Errorf("after a restart (%s): %d rows, %v", mode, n, err)
		}
	}
	if err := server.Stop(testdb.Fast); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(); err == nil {
		t.Error("a stopped server answers")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(); err != nil {
		t.Errorf("after the start: %v", err)
	}
}

func TestRedisDatabasesAreApart(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	inUse := map[string]bool{}
	t.Run("many", func(t *testing.T) {
		for range 20 {
			t.Run("one", func(t *testing.T) {
				t.Parallel()
				address := testdb.Redis(t)
				mu.Lock()
				defer mu.Unlock()
				if inUse[address] {
					t.Errorf("%s is given out twice", address)
				}
				inUse[address] = true
				t.Cleanup(func() {
					mu.Lock()
					defer mu.Unlock()
					delete(inUse, address)
				})
			})
		}
	})
}

func TestPrivateRedisRestarts(t *testing.T) {
	t.Parallel()
	_, server := testdb.PrivateRedis(t)
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}

// child runs this test binary again with one test and another environment.
func child(t *testing.T, test string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "TEST_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, append(env, "TESTDB_CHILD=1")...)
	return cmd
}

func TestWithoutServers(t *testing.T) {
	t.Parallel()
	if os.Getenv("TESTDB_CHILD") == "" {
		out, err := child(t, "TestWithoutServers", "PATH=/nowhere").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "# SKIPPED: no Redis") {
			t.Errorf("no loud skip: %v\n%s", err, out)
		}
		out, err = child(t, "TestWithoutServers", "PATH=/nowhere", "TEST_REQUIRE_SERVERS=1").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "TEST_REQUIRE_SERVERS=1, but there is no Redis") {
			t.Errorf("required, but not a failure: %v\n%s", err, out)
		}
		return
	}
	testdb.Redis(t)
}

// A private server must not outlive a test process that is killed.
func TestPrivateServersEndWithTheirProcess(t *testing.T) {
	t.Parallel()
	if os.Getenv("TESTDB_CHILD") != "" {
		database, redis := testdb.PostgresURL(t), testdb.Redis(t)
		os.Stdout.WriteString("\nready " + database + " " + redis + "\n")
		time.Sleep(time.Minute)
		return
	}
	cmd := child(t, "TestPrivateServersEndWithTheirProcess")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	chunk := make([]byte, 4096)
	for !strings.Contains(text.String(), "\nready ") || !strings.HasSuffix(text.String(), "\n") {
		n, err := out.Read(chunk)
		if err != nil {
			t.Fatalf("%v: %s", err, text.String())
		}
		text.Write(chunk[:n])
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	_, ready, _ := strings.Cut(text.String(), "\nready ")
	for _, address := range strings.Fields(ready)[:2] {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		gone := func() bool {
			c, err := net.Dial("tcp", u.Host)
			if err == nil {
				c.Close()
			}
			return err != nil
		}
		for i := 0; !gone(); i++ {
			if i == 200 {
				t.Fatalf("%s still answers", u.Host)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}
