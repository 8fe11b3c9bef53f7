package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"entgo.io/ent/dialect"

	"tributary/ent"
	"tributary/ent/counter"
	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/testdb"
	"tributary/internal/viewer"
)

func TestOpenSaysWhatToMend(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const password = "s3cret%2Fpass"
	for name, c := range map[string]struct {
		config store.Config
		want   string
	}{
		"nothing configured":  {store.Config{}, "neither a database address nor a data folder"},
		"a file for a folder": {store.Config{Dir: filepath.Join(file, "data")}, "cannot be made"},
		"unreachable":         {store.Config{URL: "postgres://u:" + password + "@127.0.0.1:1/db"}, `PostgreSQL at 127.0.0.1:1, database "db", cannot be opened`},
		"bad port":            {store.Config{URL: "postgres://u:" + password + "@host:port/db"}, "not of the form"},
		"other scheme":        {store.Config{URL: "mysql://u:" + password + "@host/db"}, "must begin with postgres://"},
		"binary parameters":   {store.Config{URL: "postgres://u:" + password + "@host/db?binary_parameters=yes"}, "take it out"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := store.Open(t.Context(), c.config)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error shows the password or is no sentence: %v", err)
			}
		})
	}
}

func TestOpenInFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "data")
	s := storetest.Open(t, store.Config{Dir: dir})
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := s.DB.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", pragma, got, err, want)
		}
	}
	if err := s.Integrity(t.Context()); err != nil {
		t.Errorf("a new database: %v", err)
	}
	if _, err := s.DB.ExecContext(t.Context(), "PRAGMA foreign_keys = off"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DB.ExecContext(t.Context(), `INSERT INTO jobs (id, workspace_id, kind, args, run_at, created_at, channel_id) VALUES ('j', 'w', 'k', '{}', 1, 1, 'nobody')`); err != nil {
		t.Fatal(err)
	}
	if err := s.Integrity(t.Context()); err == nil || !strings.Contains(err.Error(), "jobs") {
		t.Errorf("a row that names a missing channel: %v", err)
	}
	// The file is there for the next start.
	again := storetest.Open(t, store.Config{URL: "sqlite:" + filepath.Join(dir, "tributary.db")})
	if err := again.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPostgresSession(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, store.Config{URL: testdb.PostgresURL(t), MaxOpen: 3})
	for setting, want := range map[string]string{"timezone": "UTC", "idle_in_transaction_session_timeout": "20s"} {
		var got string
		if err := s.DB.QueryRowContext(t.Context(), "SHOW "+setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", setting, got, err, want)
		}
	}
	if n := s.DB.Stats().MaxOpenConnections; n != 3 {
		t.Errorf("%d connections at most, want 3", n)
	}
	if err := s.Integrity(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNodesThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		var wg sync.WaitGroup
		for range 3 {
			s := storetest.Open(t, store.Config{URL: url})
			wg.Go(func() {
				if err := s.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s := storetest.Open(t, store.Config{URL: url})
		steps, err := s.MigrationStatus(t.Context())
		if err != nil || len(steps) == 0 {
			t.Fatalf("%v %v", steps, err)
		}
		for _, m := range steps {
			if !m.Applied || m.At.IsZero() {
				t.Errorf("%+v is not applied", m)
			}
		}
		if _, err := s.DB.ExecContext(t.Context(), s.SQL("INSERT INTO goose_db_version (version_id, is_applied) VALUES ($1, $2)"), int64(99991231235959), true); err != nil {
			t.Fatal(err)
		}
		if err := s.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "newer than this program") {
			t.Errorf("a database of the future: %v", err)
		}
	})
}

func TestTxCommitsRollsBackAndHooks(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		var ran []string
		heard := s.Bus.Listen(bus.Outbox)
		write := func(name string, end func() error) error {
			return s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
				store.OnCommit(ctx, func() { ran = append(ran, name+" 1") })
				store.OnCommit(ctx, func() { ran = append(ran, name+" 2") })
				store.Announce(ctx, bus.Note{Topic: bus.Outbox})
				if err := tx.Counter.Create().SetName(name).Exec(ctx); err != nil {
					return err
				}
				return end()
			})
		}
		boom := errors.New("boom")
		if err := write("failed", func() error { return boom }); !errors.Is(err, boom) {
			t.Errorf("the function's error became %v", err)
		}
		func() {
			defer func() {
				if p := recover(); p != "panic" {
					t.Errorf("the panic became %v", p)
				}
			}()
			_ = write("panicked", func() error { panic("panic") })
		}()
		if notes, _ := heard.Take(); len(notes) > 0 {
			t.Error("the bus heard of what was rolled back")
		}
		if err := write("kept", func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		names, err := s.Ent.Counter.Query().Select(counter.FieldName).Strings(ctx)
		if err != nil || !slices.Equal(names, []string{"kept"}) {
			t.Errorf("rows %v, %v", names, err)
		}
		if !slices.Equal(ran, []string{"kept 1", "kept 2"}) {
			t.Errorf("hooks ran: %v", ran)
		}
		if notes, _ := heard.Take(); len(notes) != 1 {
			t.Error("the bus heard nothing of the commit")
		}
	})
}

func TestTxRefusesWhatWouldHang(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		var inner context.Context
		err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
			inner = ctx
			if err := s.Tx(ctx, func(context.Context, *ent.Tx) error { return nil }); !errors.Is(err, store.ErrNested) {
				t.Errorf("a nested transaction: %v", err)
			}
			if _, err := s.Ent.Counter.Query().Count(ctx); !errors.Is(err, store.ErrBeside) {
				t.Errorf("a query beside: %v", err)
			}
			if err := s.Ent.Counter.Create().SetName("beside").Exec(ctx); !errors.Is(err, store.ErrBeside) {
				t.Errorf("a write beside: %v", err)
			}
			if _, err := s.Ent.Tx(ctx); !errors.Is(err, store.ErrBeside) {
				t.Errorf("ent's own transaction: %v", err)
			}
			if _, err := store.Raw(ctx).ExecContext(ctx, "DELETE FROM counters"); err != nil {
				t.Errorf("raw SQL inside: %v", err)
			}
			_, err := tx.Counter.Query().Count(ctx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		// A context that outlives its transaction is free again.
		if err := s.Tx(inner, func(context.Context, *ent.Tx) error { return nil }); err != nil {
			t.Error(err)
		}
		if store.Raw(inner) != nil {
			t.Error("an ended transaction still gives its connection")
		}
	})
}

// Two transactions that lock two rows in opposite order: PostgreSQL kills one, which must run again.
func TestTxRunsAgainAfterDeadlock(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		ids := make([]gid.ID, 2)
		for i := range ids {
			ids[i] = s.Ent.Counter.Create().SetName(string(rune('a' + i))).SaveX(ctx).ID
		}
		var runs atomic.Int32
		var met sync.WaitGroup
		met.Add(2)
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				first := true
				err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
					runs.Add(1)
					if err := tx.Counter.UpdateOneID(ids[i]).AddLast(1).Exec(ctx); err != nil {
						return err
					}
					if s.Dialect == dialect.Postgres && first {
						first = false
						met.Done()
						met.Wait()
					}
					return tx.Counter.UpdateOneID(ids[1-i]).AddLast(1).Exec(ctx)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, c := range s.Ent.Counter.Query().AllX(ctx) {
			if c.Last != 2 {
				t.Errorf("%s is %d, want 2", c.Name, c.Last)
			}
		}
		if want := map[string]int32{dialect.SQLite: 2, dialect.Postgres: 3}[s.Dialect]; runs.Load() != want {
			t.Errorf("%d runs, want %d", runs.Load(), want)
		}
	})
}

func TestTxWaitsForABusyFile(t *testing.T) {
	t.Parallel()
	url := strings.Replace(testdb.SQLite(t, storetest.Template), "busy_timeout(10000)", "busy_timeout(1)", 1)
	one, other := storetest.Open(t, store.Config{URL: url}), storetest.Open(t, store.Config{URL: url})
	ctx, _ := storetest.Workspace(t)
	holds, free := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = one.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
			close(holds)
			<-free
			return nil
		})
	})
	<-holds
	time.AfterFunc(20*time.Millisecond, func() { close(free) })
	if err := other.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error { return tx.Counter.Create().SetName("x").Exec(ctx) }); err != nil {
		t.Errorf("a busy file: %v", err)
	}
	wg.Wait()
}

func TestCountSeesTransactions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		outerCtx, outer := store.Count(ctx)
		s.Ent.Counter.Query().CountX(outerCtx)
		innerCtx, inner := store.Count(outerCtx)
		err := s.Tx(innerCtx, func(ctx context.Context, tx *ent.Tx) error {
			if err := tx.Counter.Create().SetName("a").Exec(ctx); err != nil {
				return err
			}
			_, err := tx.Counter.Query().Count(ctx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Ent.Counter.Query().CountX(ctx)
		if outer.N() != 3 || inner.N() != 2 || !strings.Contains(inner.Statements()[0], "INSERT") {
			t.Errorf("outer %q, inner %q", outer.Statements(), inner.Statements())
		}
	})
}

func TestSweepIdempotency(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, _ := storetest.Workspace(t)
		for i, age := range []time.Duration{0, 47 * time.Hour, 49 * time.Hour, 500 * time.Hour} {
			s.Ent.IdempotencyKey.Create().SetActorID(gid.Make(gid.Agent)).SetKey(string(rune('a' + i))).SetInputHash("h").
				SetAt(time.Now().UTC().Add(-age)).ExecX(ctx)
		}
		n, err := s.SweepIdempotency(ctx, 48*time.Hour)
		if left := s.Ent.IdempotencyKey.Query().CountX(viewer.Global(ctx)); n != 2 || err != nil || left != 2 {
			t.Errorf("swept %d, %v; %d left", n, err, left)
		}
	})
}
