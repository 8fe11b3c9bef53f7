package store_test

import (
	"testing"
	"time"

	"tributary/ent"
	"tributary/internal/gid"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/viewer"
)

// pulls writes n streams of one channel and returns the workspace's context.
func pulls(t *testing.T, s *store.Store, n int) {
	t.Helper()
	ctx := viewer.System(t.Context(), gid.Make(gid.Workspace))
	ch, err := s.Ent.Channel.Create().SetKind("post").SetName("box").SetConfig([]byte("{}")).SetHookSecret([]byte("x")).Save(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]*ent.PullCreate, n)
	for i := range rows {
		rows[i] = s.Ent.Pull.Create().SetChannelID(ch.ID).SetStream(string(rune('a' + i)))
	}
	if err := s.Ent.Pull.CreateBulk(rows...).Exec(ctx); err != nil {
		t.Fatal(err)
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestHoldsAreTakenByOne(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		pulls(t, s, 3)
		ctx := t.Context()
		here, there := s.Holds("here", time.Minute), s.Holds("there", time.Minute)
		two := must(here.Take(ctx, 2))(t)
		rest := must(there.Take(ctx, 10))(t)
		if len(two) != 2 || len(rest) != 1 {
			t.Fatalf("%d and %d were taken", len(two), len(rest))
		}
		if got := must(here.Renew(ctx))(t); len(got) != 2 {
			t.Errorf("%d are renewed", len(got))
		}
		if err := here.Release(ctx, two[0]); err != nil {
			t.Fatal(err)
		}
		if err := here.Release(ctx, rest[0]); err != nil { // not ours
			t.Fatal(err)
		}
		if got := must(there.Take(ctx, 10))(t); len(got) != 1 || got[0].ID != two[0].ID || got[0].Epoch != two[0].Epoch+1 {
			t.Errorf("after the release: %+v", got)
		}
		if got := must(there.Renew(ctx))(t); len(got) != 2 {
			t.Errorf("the other holds %d", len(got))
		}
	})
}

// Whoever does not renew in time has lost it, and does not get it back by renewing.
func TestAHoldEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		pulls(t, s, 1)
		ctx := t.Context()
		here, there := s.Holds("here", time.Second), s.Holds("there", time.Minute)
		old := must(here.Take(ctx, 1))(t)
		if got := must(there.Take(ctx, 1))(t); len(got) != 0 {
			t.Fatal("it was taken from its holder")
		}
		var now []store.Held
		for until := time.Now().Add(20 * time.Second); len(now) == 0; {
			if time.Now().After(until) {
				t.Fatal("it never became free")
			}
			time.Sleep(20 * time.Millisecond)
			now = must(there.Take(ctx, 1))(t)
		}
		if got := must(here.Renew(ctx))(t); len(got) != 0 {
			t.Error("a lost hold was renewed")
		}
		global := viewer.Global(ctx)
		if n, err := old[0].Fenced(s.Ent.Pull.Update(), "here").SetPosition([]byte("x")).Save(global); err != nil || n != 0 {
			t.Errorf("the old holder wrote %d rows (%v)", n, err)
		}
		if n, err := now[0].Fenced(s.Ent.Pull.Update(), "there").SetPosition([]byte("x")).Save(global); err != nil || n != 1 {
			t.Errorf("the holder wrote %d rows (%v)", n, err)
		}
	})
}
