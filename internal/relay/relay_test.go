package relay_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"tributary/ent"
	"tributary/ent/event"
	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/relay"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/testdb"
	"tributary/internal/viewer"
)

var quiet = slog.New(slog.DiscardHandler)

// emit writes an outbox row, as the last statement of a domain transaction does, and answers its subject.
func emit(ctx context.Context, tx *ent.Tx, at time.Time) (gid.ID, error) {
	subject := gid.Make(gid.Message)
	err := tx.Outbox.Create().SetType("message.created").SetSubjectID(subject).SetSubjectVersion(1).SetAt(at).
		SetChanged([]string{"text"}).SetAudience([]gid.ID{subject}).Exec(ctx)
	store.Announce(ctx, bus.Note{Topic: bus.Outbox, Workspace: viewer.From(ctx).Workspace})
	return subject, err
}

// write is a domain transaction with one event.
func write(t testing.TB, ctx context.Context, s *store.Store) (subject gid.ID) {
	t.Helper()
	err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) (err error) {
		subject, err = emit(ctx, tx, time.Now().UTC())
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return subject
}

// start runs a part until the test ends or stop is called.
func start(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// lead takes the relay's lease for the test, which then numbers by hand.
func lead(t *testing.T, s *store.Store) (*relay.Relay, func(want int)) {
	t.Helper()
	r := relay.New(s, relay.Config{Log: quiet})
	ctx, cancel := context.WithCancel(t.Context())
	epoch, lost, err := s.Lease(relay.LeaseName, "test", time.Minute).Hold(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-lost })
	return r, func(want int) {
		t.Helper()
		if n, err := relay.Number(t.Context(), r, epoch); err != nil || n != want {
			t.Fatalf("numbered %d, %v; want %d", n, err, want)
		}
	}
}

// follow reads the log of a workspace from its beginning until n events are there.
func follow(t testing.TB, tail *relay.Tail, workspace gid.ID, n int) (evs []*ent.Event) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for len(evs) < n {
		page, head, more, err := tail.Since(t.Context(), workspace, int64(len(evs)), 200)
		if err != nil {
			t.Errorf("since %d: %v", len(evs), err)
			return evs
		}
		for _, e := range page {
			if e.Seq != int64(len(evs))+1 || e.WorkspaceID != workspace {
				t.Errorf("event %d of %v where %d of %v was expected", e.Seq, e.WorkspaceID, len(evs)+1, workspace)
				return evs
			}
			evs = append(evs, e)
		}
		if int64(len(evs)) < head || len(evs) >= n {
			continue
		}
		select {
		case <-more:
		case <-deadline:
			t.Errorf("%d events of %d came", len(evs), n)
			return evs
		}
	}
	return evs
}

// Thirty-two writers in three workspaces, two nodes that want to relay, one follower each: nothing is skipped, nothing
// comes twice, and no effect before its cause.
func TestFollowerMissesNothing(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		const writers, each, spaces = 32, 12, 3
		a, b := storetest.Open(t, store.Config{URL: url, MaxOpen: 24}), storetest.Open(t, store.Config{URL: url})
		start(t, relay.New(a, relay.Config{Log: quiet, Poll: 20 * time.Millisecond}).Run)
		start(t, relay.New(b, relay.Config{Log: quiet, Poll: 20 * time.Millisecond}).Run)
		// The tail is on the node whose bus the writers do not use: the poll has to do.
		tail := relay.Quicken(relay.NewTail(b), 20*time.Millisecond, time.Minute)
		start(t, tail.Run)
		var mu sync.Mutex
		newest := make([]gid.ID, spaces) // the newest committed subject
		causes := map[gid.ID]gid.ID{}    // effect to cause
		var contexts []context.Context
		var ids []gid.ID
		for range spaces {
			ctx, w := storetest.Workspace(t)
			contexts, ids = append(contexts, ctx), append(ids, w)
		}
		var wg sync.WaitGroup
		for i := range writers {
			space := i % spaces
			wg.Go(func() {
				for range each {
					mu.Lock()
					cause := newest[space]
					mu.Unlock()
					effect := slowly(t, contexts[space], a)
					mu.Lock()
					newest[space] = effect
					causes[effect] = cause
					mu.Unlock()
				}
			})
		}
		seqs := map[gid.ID]int64{}
		for space, w := range ids {
			n := each * (writers / spaces)
			if space < writers%spaces {
				n += each
			}
			for _, e := range follow(t, tail, w, n) {
				if seqs[e.SubjectID] != 0 {
					t.Errorf("%v came twice", e.SubjectID)
				}
				seqs[e.SubjectID] = e.Seq
			}
		}
		wg.Wait()
		if len(seqs) != writers*each {
			t.Errorf("%d events, want %d", len(seqs), writers*each)
		}
		for effect, cause := range causes {
			if seqs[effect] <= seqs[cause] {
				t.Errorf("effect %d, cause %d", seqs[effect], seqs[cause])
			}
		}
	}, storetest.Template)
}

// slowly is a transaction that has drawn its sequence; how long its commit takes is anybody's guess.
func slowly(t *testing.T, ctx context.Context, s *store.Store) (subject gid.ID) {
	err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) (err error) {
		subject, err = emit(ctx, tx, time.Now().UTC())
		time.Sleep(rand.N(4 * time.Millisecond))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return subject
}

// A draws its sequence, B draws a later one and commits first; then an effect of B is written while A is still open.
func TestLateCommitIsNumberedLater(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, store.Config{URL: testdb.PostgresURL(t, storetest.Template)})
	_, number := lead(t, s)
	ctx, w := storetest.Workspace(t)
	late, commit := openTx(t, ctx, s)
	early := write(t, ctx, s)
	number(1)
	effect := write(t, ctx, s)
	commit()
	number(2)
	want := []gid.ID{early, late, effect}
	for i, e := range follow(t, relay.NewTail(s), w, 3) {
		if e.SubjectID != want[i] {
			t.Errorf("event %d is of %v, want %v", e.Seq, e.SubjectID, want[i])
		}
	}
}

// openTx begins a transaction that has drawn its sequence and waits for its commit.
func openTx(t *testing.T, ctx context.Context, s *store.Store) (subject gid.ID, commit func()) {
	t.Helper()
	tx, err := s.Ent.Tx(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if subject, err = emit(ctx, tx, time.Now().UTC()); err != nil {
		t.Fatal(err)
	}
	return subject, func() {
		t.Helper()
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}

// Negative control: a follower of the raw sequence (`id > last`) skips what commits late. SQLite has one writer, there
// the order of sequences is the order of commits.
func TestControlRawSequenceSkips(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t, store.Config{URL: testdb.PostgresURL(t, storetest.Template)})
	ctx, _ := storetest.Workspace(t)
	seen, last := map[gid.ID]bool{}, int64(0)
	read := func() {
		rows, err := s.DB.QueryContext(ctx, "SELECT id, subject_id FROM outboxes WHERE id > $1 ORDER BY id", last)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var subject gid.ID
			if err := rows.Scan(&last, &subject); err != nil {
				t.Fatal(err)
			}
			seen[subject] = true
		}
	}
	late, commit := openTx(t, ctx, s)
	early := write(t, ctx, s)
	read()
	commit()
	read()
	if !seen[early] || seen[late] {
		t.Errorf("the follower of the raw sequence saw early %v, late %v: the relay would not be needed", seen[early], seen[late])
	}
}

// Negative control: an order by the nodes' clocks shows the effect before its cause; the relay does not.
func TestControlClocksShowEffectBeforeCause(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, w := storetest.Workspace(t)
		_, number := lead(t, s)
		var cause, effect gid.ID
		// The node of the cause has a clock five seconds fast.
		for _, step := range []struct {
			subject *gid.ID
			skew    time.Duration
		}{{&cause, 5 * time.Second}, {&effect, 0}} {
			err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) (err error) {
				*step.subject, err = emit(ctx, tx, time.Now().UTC().Add(step.skew))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		number(2)
		evs := follow(t, relay.NewTail(s), w, 2)
		if evs[0].SubjectID != cause || evs[1].SubjectID != effect {
			t.Error("the relay numbered the effect before its cause")
		}
		byClock := s.Ent.Event.Query().Order(event.ByAt()).AllX(ctx)
		if byClock[0].SubjectID != effect {
			t.Error("the control did not fail: clocks put the cause first")
		}
	})
}

// The outbox row must be the last statement, after all locks. In the wrong order a transaction draws its sequence, waits
// for a lock, sees what the other has committed meanwhile, and its effect is numbered before the cause.
func TestOutboxRowComesAfterAllLocks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ early, causeFirst bool }{"last statement": {false, true}, "control: before the lock": {true, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := storetest.Open(t, store.Config{URL: testdb.PostgresURL(t, storetest.Template)})
			ctx, w := storetest.Workspace(t)
			_, number := lead(t, s)
			row := s.Ent.Counter.Create().SetName("conversation").SaveX(ctx).ID
			var cause, effect gid.ID
			drawn := make(chan struct{})
			var wg sync.WaitGroup
			err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) (err error) {
				if err := tx.Counter.UpdateOneID(row).AddLast(1).Exec(ctx); err != nil {
					return err
				}
				wg.Go(func() { effect = second(t, viewer.System(t.Context(), w), s, row, c.early, drawn) })
				<-drawn
				awaitBlocked(t, s)
				cause, err = emit(ctx, tx, time.Now().UTC())
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			number(2)
			evs := follow(t, relay.NewTail(s), w, 2)
			if got := evs[0].SubjectID == cause; got != c.causeFirst || evs[0].SubjectID != cause && evs[0].SubjectID != effect {
				t.Errorf("cause first: %v, want %v", got, c.causeFirst)
			}
		})
	}
}

// second changes the row that another transaction holds, and draws its sequence before or after that.
func second(t *testing.T, ctx context.Context, s *store.Store, row gid.ID, early bool, drawn chan<- struct{}) (subject gid.ID) {
	err := s.Tx(ctx, func(ctx context.Context, tx *ent.Tx) (err error) {
		if early {
			if subject, err = emit(ctx, tx, time.Now().UTC()); err != nil {
				return err
			}
		}
		close(drawn)
		if err := tx.Counter.UpdateOneID(row).AddLast(1).Exec(ctx); err != nil {
			return err
		}
		if c := tx.Counter.GetX(ctx, row); c.Last != 2 {
			t.Errorf("the effect did not see its cause: %d", c.Last)
		}
		if !early {
			subject, err = emit(ctx, tx, time.Now().UTC())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return subject
}

// awaitBlocked waits until a session of this database waits for a lock.
func awaitBlocked(t *testing.T, s *store.Store) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		var n int
		err := s.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n)
		if err != nil {
			t.Error(err)
			return
		}
		if n > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Error("nobody waits for the lock")
			return
		}
	}
}

// A relay whose lease went to another numbers nothing more, although it does not know yet.
func TestDeposedRelayNumbersNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		ctx, w := storetest.Workspace(t)
		r, number := lead(t, s)
		write(t, ctx, s)
		number(1)
		write(t, ctx, s)
		if _, err := s.DB.ExecContext(ctx, "UPDATE leases SET epoch = epoch + 1"); err != nil {
			t.Fatal(err)
		}
		if n, err := relay.Number(ctx, r, 1); n != 0 || !errors.Is(err, relay.ErrDeposed) {
			t.Errorf("numbered %d, %v", n, err)
		}
		if seq, _, err := relay.NewLog(s).Head(ctx, w); seq != 1 || err != nil {
			t.Errorf("the head is %d, %v", seq, err)
		}
	})
}

// Leadership goes from node to node while writers write: numbers stay whole.
func TestLeadersComeAndGo(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		const n = 150
		a := storetest.Open(t, store.Config{URL: url})
		ctx, w := storetest.Workspace(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			for range n {
				write(t, ctx, a)
			}
		})
		for range 5 {
			s := storetest.Open(t, store.Config{URL: url})
			stop := start(t, relay.New(s, relay.Config{Log: quiet, Poll: 5 * time.Millisecond, TTL: time.Second}).Run)
			time.Sleep(30 * time.Millisecond)
			stop()
		}
		start(t, relay.New(a, relay.Config{Log: quiet, Poll: 5 * time.Millisecond}).Run)
		tail := relay.Quicken(relay.NewTail(a), 20*time.Millisecond, time.Minute)
		start(t, tail.Run)
		follow(t, tail, w, n)
		wg.Wait()
		if left := a.Ent.Outbox.Query().CountX(viewer.Global(t.Context())); left != 0 {
			t.Errorf("%d rows are left", left)
		}
	}, storetest.Template)
}

// One batch of several workspaces keeps every column.
func TestBatchKeepsAllColumns(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		_, number := lead(t, s)
		at := time.Now().UTC().Truncate(time.Microsecond)
		want := map[gid.ID][]gid.ID{}
		var contexts []context.Context
		for range 3 {
			ctx, _ := storetest.Workspace(t)
			contexts = append(contexts, ctx)
		}
		for i := range 700 {
			ctx := contexts[i%3]
			subject, actor := gid.Make(gid.Message), gid.Make(gid.Agent)
			s.Ent.Outbox.Create().SetType("t").SetSubjectID(subject).SetSubjectVersion(i).SetAt(at).SetActorID(actor).
				SetChanged([]string{"a", "b"}).SetAudience([]gid.ID{actor}).SetPrivate(i%2 == 0).SetCausedByKey("key").ExecX(ctx)
			w := viewer.From(ctx).Workspace
			want[w] = append(want[w], subject)
		}
		number(500)
		number(200)
		number(0)
		for w, subjects := range want {
			evs, err := relay.NewLog(s).Read(t.Context(), w, 0, 1000)
			if err != nil || len(evs) != len(subjects) {
				t.Fatalf("%d events, %v; want %d", len(evs), err, len(subjects))
			}
			for i, e := range evs {
				if e.Seq != int64(i+1) || e.SubjectID != subjects[i] || e.Type != "t" || !e.At.Equal(at) || len(e.Changed) != 2 || len(e.Audience) != 1 ||
					*e.ActorID != e.Audience[0] || e.Private != (e.SubjectVersion%2 == 0) || *e.CausedByKey != "key" || e.ConversationID != nil {
					t.Fatalf("event %d is %v", i, e)
				}
			}
		}
	})
}
