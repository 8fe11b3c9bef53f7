// Package storetest opens stores on fresh, migrated databases for tests: a copy of one migrated template per process and
// dialect, SQLite and PostgreSQL.
//
// Neighbours: imported by tests alone. It sets a key box of its own for sealed columns when the process has none.
package storetest

import (
	"context"
	"sync"
	"testing"

	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/store"
	"tributary/internal/testdb"
	"tributary/internal/viewer"
)

// Template makes each database a copy of a migrated one, for tests that open their own stores with testdb.
var Template = testdb.Template("tributary/store", migrate)

// Each runs f as the subtests "sqlite" and "postgres", each with a store on a fresh database that is closed afterwards.
func Each(t *testing.T, f func(t *testing.T, s *store.Store)) {
	t.Helper()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		f(t, Open(t, store.Config{URL: url}))
	}, Template)
}

// Open opens one more store, closed when the test ends.
func Open(t testing.TB, c store.Config) *store.Store {
	t.Helper()
	box()
	s, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}

// Workspace makes a workspace's id and the system's context in it. It writes no row: what the tables of this layer hold
// names a workspace without a foreign key.
func Workspace(t testing.TB) (context.Context, gid.ID) {
	w := gid.Make(gid.Workspace)
	return viewer.System(t.Context(), w), w
}

func migrate(url string) error {
	box()
	s, err := store.Open(context.Background(), store.Config{URL: url})
	if err != nil {
		return err
	}
	if err := s.Migrate(context.Background()); err != nil {
		return err
	}
	return s.Close()
}

var box = sync.OnceFunc(func() {
	if crypt.Current() != nil {
		return
	}
	b, err := crypt.New()
	if err != nil {
		panic(err)
	}
	crypt.Use(b)
})
