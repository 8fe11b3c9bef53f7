package cluster_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"tributary/internal/cluster"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
)

func member(s *store.Store, name string, roles ...string) *cluster.Member {
	return cluster.Join(s, cluster.Node{Name: name, Peer: "127.0.0.1:1", Roles: roles, Version: "test"}, slog.New(slog.DiscardHandler))
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, m *cluster.Member) (out []string) {
	t.Helper()
	all, err := m.Live(t.Context())
	ok(t, err)
	for _, n := range all {
		out = append(out, n.Name)
	}
	return out
}

func share(t *testing.T, m *cluster.Member, total, want int) {
	t.Helper()
	n, err := m.Share(t.Context(), "channels", total)
	ok(t, err)
	if n != want {
		t.Errorf("the share of %d is %d, want %d", total, n, want)
	}
}

func TestNodesShareWhatIsThere(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		a, b, c := member(s, "a", "api", "channels"), member(s, "b", "channels"), member(s, "c", "api")
		share(t, a, 5, 5) // before the first beat
		for _, m := range []*cluster.Member{a, b, c} {
			ok(t, m.Beat(t.Context()))
		}
		if got := names(t, a); len(got) != 3 {
			t.Fatalf("live are %v", got)
		}
		share(t, a, 5, 3)
		share(t, b, 0, 0)
		ok(t, b.Drain(t.Context()))
		share(t, b, 5, 0)
		share(t, a, 5, 5)
		all, err := a.Live(t.Context())
		ok(t, err)
		if n := all[1]; !n.Draining || n.Peer != "127.0.0.1:1" || n.Version != "test" || time.Since(n.StartedAt).Abs() > time.Minute {
			t.Errorf("the row says %+v", n)
		}
	})
}

// A node that ends takes its row away; one that dies is gone when its lease is.
func TestANodeGoes(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		watcher, ends, dies := member(s, "watcher"), member(s, "ends"), member(s, "dies")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- ends.Run(ctx) }()
		ok(t, dies.Beat(t.Context()))
		died := time.Now()
		gone := func(what string, n int, patience time.Duration) {
			t.Helper()
			for until := time.Now().Add(patience); len(names(t, watcher)) != n; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(until) {
					t.Fatalf("%s: live are %v", what, names(t, watcher))
				}
			}
		}
		gone("both live", 2, 20*time.Second)
		stop()
		ok(t, <-done)
		if all, err := watcher.Live(t.Context()); err != nil || !all[1].Draining {
			t.Errorf("it does not drain: %+v (%v)", all, err)
		}
		ok(t, ends.Leave(t.Context()))
		if got := names(t, watcher); len(got) != 1 {
			t.Errorf("after its end live are %v", got)
		}
		gone("the dead one", 0, 10*cluster.Lease)
		if early := time.Since(died); early < cluster.Lease-500*time.Millisecond {
			t.Errorf("it was taken for dead after %s", early)
		}
	})
}
