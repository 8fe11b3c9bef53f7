package relay_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/ent"
	"tributary/internal/gid"
	"tributary/internal/relay"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/testdb"
	"tributary/internal/viewer"
)

// fill writes n events in one transaction of few statements.
func fill(t *testing.T, ctx context.Context, s *store.Store, n int, at time.Time) {
	t.Helper()
	w := viewer.From(ctx).Workspace
	for n > 0 {
		part := min(n, 500)
		n -= part
		bulk := make([]*ent.OutboxCreate, part)
		for i := range bulk {
			bulk[i] = s.Ent.Outbox.Create().SetWorkspaceID(w).SetType("t").SetSubjectID(gid.Make(gid.Message)).SetSubjectVersion(1).SetAt(at)
		}
		s.Ent.Outbox.CreateBulk(bulk...).ExecX(ctx)
	}
}

func TestTailFromMemoryAndTable(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, w := storetest.Workspace(t)
		_, number := lead(t, s)
		tail := relay.NewTail(s)
		start(t, tail.Run)
		// An empty log is at its head.
		evs, head, more, err := tail.Since(ctx, w, 0, 10)
		if len(evs) != 0 || head != 0 || err != nil {
			t.Fatalf("%v %d %v", evs, head, err)
		}
		const n = relay.Kept + 700
		fill(t, ctx, s, n, time.Now().UTC())
		for left := n; left > 0; left -= 500 {
			number(min(left, 500))
		}
		select {
		case <-more:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody was woken")
		}
		all := follow(t, tail, w, n)
		if len(all) != n {
			t.Fatalf("%d events", len(all))
		}
		for _, pos := range []int64{0, 1, 699, 700, 701, n - 1} {
			evs, head, _, err := tail.Since(ctx, w, pos, 3)
			if err != nil || head != n || len(evs) != int(min(3, n-pos)) || evs[0].Seq != pos+1 || evs[0].SubjectID != all[pos].SubjectID {
				t.Errorf("since %d: %d events, head %d, %v", pos, len(evs), head, err)
			}
		}
		evs, _, _, err = tail.Since(ctx, w, n, 3)
		if len(evs) != 0 || err != nil {
			t.Errorf("at the head: %v %v", evs, err)
		}
		if _, _, _, err := tail.Since(ctx, w, n+1, 3); !errors.Is(err, relay.ErrAhead) {
			t.Errorf("ahead: %v", err)
		}
		// A node that has not heard yet asks the database before it says so.
		write(t, ctx, s)
		fresh := relay.NewTail(s)
		if _, _, _, err := fresh.Since(ctx, w, n, 3); err != nil {
			t.Error(err)
		}
		number(1)
		if evs, head, _, err := fresh.Since(ctx, w, n+1, 3); len(evs) != 0 || head != n+1 || err != nil {
			t.Errorf("what the node had not heard of: %v %d %v", evs, head, err)
		}
	})
}

// However many follow, the table is read once for each new batch.
func TestTailReadsOnce(t *testing.T) {
	t.Parallel()
	var reads atomic.Int64
	url := testdb.SQLite(t, storetest.Template)
	s := storetest.Open(t, store.Config{URL: url, Trace: func(_ context.Context, q string) {
		if strings.Contains(q, "FROM `events`") {
			reads.Add(1)
		}
	}})
	ctx, w := storetest.Workspace(t)
	_, number := lead(t, s)
	tail := relay.NewTail(s)
	start(t, tail.Run)
	const n, followers = 20, 50
	var wg sync.WaitGroup
	for range followers {
		wg.Go(func() { follow(t, tail, w, n) })
	}
	for range n {
		write(t, ctx, s)
		number(1)
	}
	wg.Wait()
	if got := reads.Load(); got > 2*n {
		t.Errorf("%d reads of the table for %d events and %d followers", got, n, followers)
	}
}

func TestTailDropsQuietWorkspacesAndWakesWhoWaits(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, w := storetest.Workspace(t)
		tail := relay.Quicken(relay.NewTail(s), 10*time.Millisecond, 50*time.Millisecond)
		start(t, tail.Run)
		_, _, more, err := tail.Since(ctx, w, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-more:
		case <-time.After(10 * time.Second):
			t.Fatal("who waits on a dropped workspace waits for ever")
		}
		if n := relay.Lines(tail); n != 0 {
			t.Errorf("%d workspaces are kept", n)
		}
	})
}

// Pruning cuts a beginning off, says so to readers, and never restarts the numbers.
func TestPrune(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, w := storetest.Workspace(t)
		_, number := lead(t, s)
		log, tail := relay.NewLog(s), relay.Quicken(relay.NewTail(s), 10*time.Millisecond, time.Minute)
		now := time.Now().UTC()
		old := now.Add(-8 * 24 * time.Hour)
		fill(t, ctx, s, 10, old)
		fill(t, ctx, s, 1, now)
		// One that a slow clock dated too old stays, because something before it stays.
		fill(t, ctx, s, 1, old)
		number(12)
		before, err := log.Read(ctx, w, 0, 100)
		if err != nil || len(before) != 12 {
			t.Fatal(len(before), err)
		}
		n, err := log.Prune(ctx, 7*24*time.Hour)
		if n != 10 || err != nil {
			t.Errorf("pruned %d, %v", n, err)
		}
		if seq, pruned, err := log.Head(ctx, w); seq != 12 || pruned != 10 || err != nil {
			t.Errorf("head %d, pruned %d, %v", seq, pruned, err)
		}
		err = s.Tx(ctx, func(ctx context.Context, _ *ent.Tx) error {
			seq, _, err := log.Head(ctx, w)
			if seq != 12 {
				t.Errorf("inside a transaction the head is %d", seq)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if _, _, _, err := tail.Since(ctx, w, 9, 10); !errors.Is(err, relay.ErrPruned) {
			t.Errorf("since a pruned place: %v", err)
		}
		if evs, _, _, err := tail.Since(ctx, w, 10, 10); err != nil || len(evs) != 2 || evs[0].Seq != 11 {
			t.Errorf("since the oldest kept: %v, %v", evs, err)
		}
		if n, err := log.Prune(ctx, -time.Hour); n != 2 || err != nil {
			t.Errorf("pruned the rest: %d, %v", n, err)
		}
		if n, err := log.Prune(ctx, -time.Hour); n != 0 || err != nil {
			t.Errorf("pruned nothing: %d, %v", n, err)
		}
		fill(t, ctx, s, 1, now)
		number(1)
		after, err := log.Read(ctx, w, 12, 10)
		if err != nil || len(after) != 1 || after[0].Seq != 13 || after[0].ID <= before[11].ID {
			t.Errorf("after pruning everything: %v, %v", after, err)
		}
		if evs, head, _, err := relay.NewTail(s).Since(ctx, w, 12, 10); err != nil || len(evs) != 1 || head != 13 {
			t.Errorf("the tail goes on: %v %d %v", evs, head, err)
		}
	})
}
