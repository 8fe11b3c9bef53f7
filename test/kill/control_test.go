package kill_test

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq"
	_ "modernc.org/sqlite"

	"tributary/test/ledger"
	"tributary/test/rig"
)

// The controls break one promise each, from outside the program, and demand that the checker sees it. A checker that
// stays green here would be worth nothing in TestKill.

// controlled runs a plan of few kills and returns what the checker says.
func controlled(t *testing.T, p plan, change func(*plan)) *ledger.Report {
	t.Helper()
	p.seed, p.kills, p.limit, p.threads = ledger.Seed(t), 5, 60, 20
	p.think, p.muse, p.patience = 20*time.Millisecond, 15*time.Millisecond, 3*time.Second
	change(&p)
	r := newRun(t, p)
	r.drive()
	pic, err := ledger.Look(context.Background(), r.checker)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Check(pic, r.journal, r.bridge, r.follow)
}

func mustFind(t *testing.T, found *ledger.Report, kind string) {
	t.Helper()
	if found.Counts[kind] == 0 {
		t.Fatalf("the checker did not see %q: %s", kind, found)
	}
	t.Logf("red, as it must be: %v", found.Counts)
}

func eachDialect(t *testing.T, f func(t *testing.T, p plan)) {
	t.Helper()
	for _, dialect := range dialects {
		t.Run(dialect, func(t *testing.T) { f(t, plan{dialect: dialect}) })
	}
}

// TestControlAcknowledgedBeforeCommit puts a proxy before the program that says 200 and forwards then.
func TestControlAcknowledgedBeforeCommit(t *testing.T) {
	eachDialect(t, func(t *testing.T, p plan) {
		found := controlled(t, p, func(p *plan) {
			p.proxied = true
			p.hook = hasty
			p.enough = func(r *run) bool { in, _ := r.journal.Counts(); return in >= 100 }
		})
		mustFind(t, found, ledger.Lost)
	})
}

// hasty makes the run's web hook a proxy that acknowledges first.
func hasty(t testing.TB, r *run) {
	target, err := url.Parse(r.hook.Hook)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		life := r.life.Load()
		w.WriteHeader(http.StatusOK)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			on, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
			if err != nil {
				return
			}
			on.Header = q.Header.Clone()
			res, err := http.DefaultClient.Do(on)
			if err != nil {
				return // dropped: the platform believes that we have it
			}
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				r.accept(life)
			}
		}()
	}))
	t.Cleanup(srv.Close)
	r.hook.Hook = srv.URL + target.Path
}

// TestControlSenderResends lets the program believe that the bridge removes doubles: it sends SENDING rows again.
func TestControlSenderResends(t *testing.T) {
	eachDialect(t, func(t *testing.T, p plan) {
		found := controlled(t, p, func(p *plan) {
			p.settings = rig.M{"idempotent": true}
			p.breath = 4 // lives in which much is sent
			p.enough = func(r *run) bool { return twice(r.bridge) }
		})
		mustFind(t, found, ledger.SentTwice)
	})
}

func twice(b *ledger.Bridge) bool {
	took, _, _ := b.Taken()
	for _, n := range took {
		if n > 1 {
			return true
		}
	}
	return false
}

// TestControlNoUniqueIndex takes the index away that makes an external id unique, and delivers in parallel.
//
// SQLite lets one writer in at a time, so there the look before the insert finds every repeat even without the index;
// a trigger blinds the look, too, or the index would not be missed.
func TestControlNoUniqueIndex(t *testing.T) {
	eachDialect(t, func(t *testing.T, p plan) {
		found := controlled(t, p, func(p *plan) {
			p.parallel = 4
			p.hook = func(t testing.TB, r *run) {
				r.node.Kill()
				r.execute(t, "DROP INDEX "+r.uniqueIndex(t))
				if r.plan.dialect == "sqlite" {
					r.execute(t, `CREATE TRIGGER blind AFTER INSERT ON raw_inbounds BEGIN
						UPDATE raw_inbounds SET external_id = external_id || '#' || hex(randomblob(8)) WHERE id = NEW.id; END`)
				}
				r.node.Launch()
				r.node.Ready(time.Minute)
			}
			p.enough = func(r *run) bool { in, _ := r.journal.Counts(); return in >= 200 }
		})
		mustFind(t, found, ledger.Doubled)
	})
}

// uniqueIndex finds the index by what it does: a test that breaks a name that is gone breaks nothing.
func (r *run) uniqueIndex(t testing.TB) string {
	t.Helper()
	query := `SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'raw_inbounds' AND sql LIKE '%UNIQUE%external_id%'`
	if r.plan.dialect == "postgres" {
		query = `SELECT indexname FROM pg_indexes WHERE tablename = 'raw_inbounds' AND indexdef LIKE '%UNIQUE%external_id%'`
	}
	db := r.database(t)
	defer db.Close()
	var name string
	if err := db.QueryRowContext(context.Background(), query).Scan(&name); err != nil {
		t.Fatalf("find the unique index of raw_inbounds: %v", err)
	}
	return name
}

// TestControlDoneBeforeItsTransaction leaves the rows that a program would leave which marks a job done and then does it:
// whatever was running at the kill is done, and its effect is not there.
func TestControlDoneBeforeItsTransaction(t *testing.T) {
	eachDialect(t, func(t *testing.T, p plan) {
		var marked int64
		found := controlled(t, p, func(p *plan) {
			p.down = func(t testing.TB, r *run) {
				at := "now()"
				if r.plan.dialect == "sqlite" {
					at = "strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00'"
				}
				marked += r.execute(t, "UPDATE jobs SET state = 'done', lease_until = NULL, finished_at = "+at+" WHERE kind = 'ingest' AND state = 'running'")
			}
			p.enough = func(*run) bool { return marked > 0 }
		})
		mustFind(t, found, ledger.Lost)
		if int64(found.Counts[ledger.Lost]) > marked {
			t.Errorf("%d lost, but only %d jobs were marked", found.Counts[ledger.Lost], marked)
		}
	})
}

// TestControlUnreadable gives the reader what cannot be read: it must say so, not find nothing.
func TestControlUnreadable(t *testing.T) {
	eachDialect(t, func(t *testing.T, p plan) {
		p.seed, p.threads = ledger.Seed(t), 4
		r := newRun(t, p)
		if code, body, err := r.hook.Deliver(context.Background(), rig.Text("e-t0-1", "t0", "u0", "word")); err != nil || code != http.StatusOK {
			t.Fatal(code, body, err)
		}
		r.journal.Heard("e-t0-1", ledger.Heard{Thread: "t0", Seq: 1})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		rig.Eventually(t, 20*time.Second, "the message is read", func() bool {
			pic, err := ledger.Look(ctx, r.checker)
			return err == nil && len(pic.Messages) == 1
		})
		mustFail := func(what, want string, l *rig.Login) {
			t.Helper()
			pic, err := ledger.Look(ctx, l)
			if err == nil {
				t.Fatalf("%s: the reader says %d messages and no error", what, len(pic.Messages))
			}
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q in it", what, err, want)
			}
			t.Logf("%s: %.120s", what, err)
		}
		mustFail("no token", "UNAUTHENTICATED", rig.LoginOf(r.node.URL, ""))
		r.execute(t, "ALTER TABLE messages RENAME TO messages_away")
		mustFail("a table is away", "INTERNAL", r.checker)
		r.execute(t, "ALTER TABLE messages_away RENAME TO messages")
		if _, err := ledger.Look(ctx, r.checker); err != nil {
			t.Errorf("readable again, but: %v", err)
		}
		r.node.Kill()
		mustFail("the program is dead", "connect", r.checker)
	})
}

// TestControlStrangeAnswers: neither nonsense nor half an answer is an empty list.
func TestControlStrangeAnswers(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON":    "<html>all is well</html>",
		"no data":    `{}`,
		"null":       `{"data":{"interactions":null}}`,
		"no list":    `{"data":{"interactions":{}}}`,
		"no paging":  `{"data":{"interactions":{"nodes":[]}}}`,
		"no cursor":  `{"data":{"interactions":{"nodes":[],"pageInfo":{"hasNextPage":true}}}}`,
		"half error": `{"data":{"interactions":{"nodes":[],"pageInfo":{"hasNextPage":false}}},"errors":[{"message":"no"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
			defer srv.Close()
			if pic, err := ledger.Look(context.Background(), rig.LoginOf(srv.URL, "x")); err == nil {
				t.Fatalf("read %+v from it", pic)
			}
		})
	}
}

// database opens the program's own database, to break it.
func (r *run) database(t testing.TB) *sql.DB {
	t.Helper()
	driver, address := "postgres", r.url
	if r.plan.dialect == "sqlite" {
		driver, address = "sqlite", "file:"+filepath.Join(r.node.Opts.Data, "tributary.db")+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func (r *run) execute(t testing.TB, statement string) int64 {
	t.Helper()
	db := r.database(t)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	res, err := db.ExecContext(ctx, statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
