package live_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"tributary/desk"
	"tributary/ent"
	"tributary/graph/live"
	"tributary/graph/live/livetest"
	"tributary/graph/model"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

func TestMain(m *testing.M) {
	box, err := crypt.New()
	if err != nil {
		panic(err)
	}
	crypt.Use(box)
	goleak.VerifyTestMain(m)
}

func TestSees(t *testing.T) {
	w, other := gid.Make(gid.Workspace), gid.Make(gid.Workspace)
	me, mate, team, far := gid.Make(gid.Agent), gid.Make(gid.Agent), gid.Make(gid.Team), gid.Make(gid.Team)
	conv := gid.Make(gid.Conversation)
	v := func(reach viewer.Reach) *viewer.Viewer {
		return &viewer.Viewer{
			Kind: viewer.KindAgent, Workspace: w, Actor: me, Reach: reach, Teams: []gid.ID{team},
			Scopes: []viewer.Scope{viewer.Self},
		}
	}
	all, teams, mine := v(viewer.ReachAll), v(viewer.ReachTeams), v(viewer.ReachOwn)
	customer := v(viewer.ReachAll)
	customer.Kind = viewer.KindCustomer
	e := func(private bool, audience ...gid.ID) *ent.Event {
		return &ent.Event{WorkspaceID: w, Type: "MESSAGE_CREATED", Private: private, Audience: audience, ConversationID: &conv}
	}
	setting := &ent.Event{WorkspaceID: w, Type: "SETTING_CHANGED"}
	foreign := e(false, me)
	foreign.WorkspaceID = other
	for _, c := range []struct {
		name  string
		v     *viewer.Viewer
		e     *ent.Event
		scope desk.EventScope
		want  bool
	}{
		{"all, all", all, e(false, far), desk.ScopeAll, true},
		{"all, nobody", all, e(false), desk.ScopeAll, true},
		{"all, teams", all, e(false, team), desk.ScopeTeams, true},
		{"all, other team", all, e(false, far), desk.ScopeTeams, false},
		{"all, mine", all, e(false, team), desk.ScopeMine, false},
		{"all, me", all, e(false, far, me), desk.ScopeMine, true},
		{"all, private of mate", all, e(true, mate), desk.ScopeAll, false},
		{"all, private of mine", all, e(true, me), desk.ScopeAll, true},
		{"teams, team", teams, e(false, team), desk.ScopeAll, true},
		{"teams, far", teams, e(false, far, mate), desk.ScopeAll, false},
		{"teams, private of team", teams, e(true, team), desk.ScopeAll, true},
		{"own, team", mine, e(false, team), desk.ScopeAll, false},
		{"own, team by scope", mine, e(false, team), desk.ScopeTeams, false},
		{"own, me", mine, e(false, far, me), desk.ScopeAll, true},
		{"setting", mine, setting, desk.ScopeAll, true},
		{"setting, mine", mine, setting, desk.ScopeMine, false},
		{"foreign", all, foreign, desk.ScopeAll, false},
		{"customer", customer, e(false, me), desk.ScopeAll, false},
		{"nobody", nil, e(false, me), desk.ScopeAll, false},
	} {
		if got := live.Sees(c.v, c.e, desk.EventFilter{Scope: &c.scope}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if live.Sees(all, e(false, far), desk.EventFilter{}) {
		t.Error("without a filter the scope is MINE")
	}
	scope := desk.ScopeAll
	if live.Sees(all, e(false, far), desk.EventFilter{Scope: &scope, Types: []desk.EventType{desk.OfferCreated}}) {
		t.Error("another type")
	}
}

func TestOneExecutionForAClass(t *testing.T) {
	r := newRig(t, nil)
	defer r.close(t)
	one, two, blind := r.Agent(), r.Agent(), r.Agent(viewer.CustomerRead)
	_, a := r.join(t, one, all, nil)
	_, b := r.join(t, two, all, nil)
	_, c := r.join(t, blind, all, nil)
	for _, s := range []*sink{a, b, c} {
		s.ready(t)
	}
	before := r.live.Runs.Load()
	for i := range 10 {
		r.Add(livetest.Text(i))
	}
	for _, s := range []*sink{a, b, c} {
		s.until(t, "n9", func() bool { return slices.Contains(s.texts(), "n9") })
	}
	if n := r.live.Runs.Load() - before; n != 20 {
		t.Errorf("%d executions for 10 events and two classes", n)
	}
	if !slices.Equal(a.texts(), b.texts()) || len(a.texts()) != 10 {
		t.Error(a.texts(), b.texts())
	}
}

// An event that only one of a class may see is told to him alone, and executed as him: its subject is hidden from others.
func TestPrivateEventIsExecutedAsItsViewer(t *testing.T) {
	r := newRig(t, nil)
	defer r.close(t)
	one, two := r.Agent(), r.Agent()
	r.root.Node = func(ctx context.Context, id gid.ID) (ent.Noder, error) {
		if viewer.From(ctx).Actor == two.Actor {
			return &ent.Offer{ID: id}, nil
		}
		return nil, nil
	}
	q := `subscription { events(filter: {scope: MINE}) { cursor caughtUp events { changed subject { id } } } }`
	_, a := r.join(t, one, q, nil)
	a.ready(t)
	_, b := r.join(t, two, q, nil)
	b.ready(t)
	e := livetest.Text(1, two.Actor)
	e.Private = true
	e.SubjectID = gid.Make(gid.Offer)
	r.Add(e)
	r.Add(livetest.Text(2, one.Actor, two.Actor))
	for _, s := range []*sink{a, b} {
		s.until(t, "n2", func() bool { return slices.Contains(s.texts(), "n2") })
	}
	if got := a.texts(); !slices.Equal(got, []string{"n2"}) {
		t.Error("the mate saw", got)
	}
	found := false
	for _, f := range b.all() {
		for _, x := range f.Events {
			found = found || x.Changed[0] == "n1" && x.Subject != nil && x.Subject.ID == e.SubjectID.String()
		}
	}
	if !found {
		t.Error("no subject:", b.got)
	}
}

func TestPerViewerSplitsGroups(t *testing.T) {
	r := newRig(t, nil)
	defer r.close(t)
	q := `subscription { events(filter: {scope: ALL}) { cursor caughtUp events { changed subject { ... on Session { current } } } } }`
	_, a := r.join(t, r.Agent(), q, nil)
	_, b := r.join(t, r.Agent(), q, nil)
	a.ready(t)
	b.ready(t)
	before := r.live.Runs.Load()
	r.Add(livetest.Text(1))
	a.until(t, "n1", func() bool { return len(a.texts()) == 1 })
	b.until(t, "n1", func() bool { return len(b.texts()) == 1 })
	if n := r.live.Runs.Load() - before; n != 2 {
		t.Error(n)
	}
}

func TestCursorsThatCannotBeServed(t *testing.T) {
	for _, c := range []struct {
		name  string
		after func(r *rig) *page.EventCursor
		want  model.ResetReason
	}{
		{"expired", func(r *rig) *page.EventCursor { return r.Cursor(5) }, model.ResetReasonCursorExpired},
		{"ahead", func(r *rig) *page.EventCursor { return r.Cursor(30) }, model.ResetReasonCursorUnknown},
		{"foreign", func(*rig) *page.EventCursor {
			return &page.EventCursor{Workspace: gid.Make(gid.Workspace), Seq: 12}
		}, model.ResetReasonCursorUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			defer r.close(t)
			for i := range 20 {
				r.Add(livetest.Text(i))
			}
			r.Prune(10)
			v := r.Agent()
			_, s := r.join(t, v, all, c.after(r))
			s.ready(t)
			f := s.last()
			if f.ResetReason == nil || *f.ResetReason != c.want || f.Cursor.Seq != 20 || len(f.Events) != 0 {
				t.Errorf("%+v", f)
			}
			n := r.Add(livetest.Text(100))
			s.until(t, "n100", func() bool { return slices.Contains(s.texts(), "n100") })
			if s.last().Cursor.Seq != n || s.last().ResetReason != nil {
				t.Errorf("%+v", s.last())
			}
			p, err := r.live.Pull(viewer.With(t.Context(), v), c.after(r), nil, nil)
			if err != nil || p.ResetReason == nil || *p.ResetReason != c.want || p.Cursor.Seq != n {
				t.Errorf("pull %+v %v", p, err)
			}
		})
	}
}

func TestPullIsTheTwin(t *testing.T) {
	r := newRig(t, nil)
	defer r.close(t)
	me, team := r.Agent(), gid.Make(gid.Team)
	me.Reach, me.Teams = viewer.ReachTeams, []gid.ID{team}
	for i := range 350 {
		switch i % 3 {
		case 0:
			r.Add(livetest.Text(i, team))
		case 1:
			r.Add(livetest.Text(i, gid.Make(gid.Team)))
		default:
			r.Add(livetest.Text(i, me.Actor))
		}
	}
	scope := desk.ScopeAll
	f := &desk.EventFilter{Scope: &scope}
	ctx := viewer.With(t.Context(), me)
	var pulled []string
	after := r.Cursor(0)
	for {
		fr, err := r.live.Pull(ctx, after, new(7), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range fr.Events {
			pulled = append(pulled, e.Changed...)
		}
		if len(fr.Events) > 7 {
			t.Fatal(len(fr.Events))
		}
		after = &fr.Cursor
		if fr.CaughtUp {
			break
		}
	}
	_, s := r.join(t, me, all, r.Cursor(0))
	s.ready(t)
	if !slices.Equal(pulled, s.texts()) || len(pulled) != 233 {
		t.Errorf("pull gave %d, the stream %d", len(pulled), len(s.texts()))
	}
	if _, err := r.live.Pull(ctx, nil, new(101), f); !errors.As(err, new(*desk.Refusal)) {
		t.Error(err)
	}
	r.Prune(100)
	fr, err := r.live.Pull(ctx, nil, new(1), f)
	if err != nil || len(fr.Events) != 1 || fr.Events[0].Seq < 101 {
		t.Error("without a cursor from the oldest that is kept:", fr, err)
	}
}

// A client that is cut at any place, and comes back with its last cursor, misses nothing and sees nothing twice: through
// the ring, through its own execution, while others join and leave, and while the log goes on.
func TestResumeWithoutGapOrDouble(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t, func(c *live.Config) {
			c.Ring = rapid.SampledFrom([]int{1, 4, 64}).Draw(rt, "ring")
			c.Batch = rapid.SampledFrom([]int{1, 3, 100}).Draw(rt, "batch")
		})
		defer r.close(t)
		n := rapid.IntRange(20, 150).Draw(rt, "events")
		cuts := rapid.SliceOfN(rapid.IntRange(1, 30), 1, 8).Draw(rt, "cuts")
		mates := rapid.IntRange(0, 2).Draw(rt, "mates")
		v := r.Agent()
		for range mates {
			m, _ := r.join(t, r.Agent(), all, nil)
			defer m.Leave()
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := range n {
				e := livetest.Text(i)
				if i%5 == 4 {
					e.Private, e.Audience = true, []gid.ID{gid.Make(gid.Agent)}
				}
				r.Add(e)
			}
		}()
		var got []string
		after := r.Cursor(0)
		for _, cut := range append(cuts, 1<<30) {
			m, s := r.join(t, v, all, after)
			s.until(t, "events", func() bool {
				return s.last().Cursor.Seq > 0 && len(s.texts()) >= cut || s.last().CaughtUp && s.last().Cursor.Seq >= int64(n) ||
					s.last().Cursor.Seq > 0 && len(got)+len(s.texts()) >= n-n/5
			})
			m.Leave()
			frames := s.all()
			// What the client had read when it was cut: not all of what was sent.
			if cut != 1<<30 {
				frames = frames[:rapid.IntRange(0, 1000).Draw(rt, "read")%len(frames)+1]
			}
			for _, f := range frames {
				for _, e := range f.Events {
					got = append(got, e.Changed...)
				}
				after = &f.Cursor
			}
		}
		<-done
		var want []string
		for i := range n {
			if i%5 != 4 {
				want = append(want, fmt.Sprint("n", i))
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

// The last leaving and the next joining, again and again: nobody enters a group that has ended.
func TestGroupIsMadeAnewWithoutRace(t *testing.T) {
	r := newRig(t, nil)
	defer r.close(t)
	v := r.Agent()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				m, s := r.join(t, v, all, nil)
				s.ready(t)
				n := r.Add(livetest.Text(1))
				s.until(t, "the event", func() bool { return s.last().Cursor.Seq >= n })
				m.Leave()
			}
		})
	}
	wg.Wait()
	if n := r.live.Groups(); n != 0 {
		t.Error(n, "groups are left")
	}
}

func TestSlowMemberSlowsNobody(t *testing.T) {
	r := newRig(t, nil)
	defer r.close(t)
	for i := range 500 {
		r.Add(livetest.Text(i))
	}
	slow := newSink()
	slow.full = true
	r.joinSink(t, r.Agent(), all, r.Cursor(0), slow)
	_, fast := r.join(t, r.Agent(), all, r.Cursor(0))
	fast.ready(t)
	r.Add(livetest.Text(1000))
	fast.until(t, "n1000", func() bool { return slices.Contains(fast.texts(), "n1000") })
	if len(slow.texts()) != 0 {
		t.Error("the slow one was not waited for")
	}
}

func TestRightsChanged(t *testing.T) {
	r := newRig(t, nil)
	defer r.close(t)
	v := r.Agent()
	m, s := r.join(t, v, all, nil)
	s.ready(t)
	r.Add(livetest.Text(1))
	s.until(t, "n1", func() bool { return len(s.texts()) == 1 })
	less := *v
	less.Reach = viewer.ReachOwn
	n := m.Change(&less)
	defer n.Leave()
	s.until(t, "RIGHTS_CHANGED", func() bool {
		f := s.last()
		return f.ResetReason != nil && *f.ResetReason == model.ResetReasonRightsChanged
	})
	r.Add(livetest.Text(2))
	r.Add(livetest.Text(3, v.Actor))
	s.until(t, "n3", func() bool { return slices.Contains(s.texts(), "n3") })
	if got := s.texts(); !slices.Equal(got, []string{"n1", "n3"}) {
		t.Error(got)
	}
}

func TestVisitorStream(t *testing.T) {
	var mu sync.Mutex
	var acked []int64
	r := newRig(t, func(c *live.Config) {
		c.Ack = func(_ context.Context, seq int64) {
			mu.Lock()
			defer mu.Unlock()
			acked = append(acked, seq)
		}
	})
	defer r.close(t)
	v := r.Visitor()
	q := `subscription($a: EventCursor) { visitorEvents(after: $a) { cursor caughtUp resetReason events { id cursor } } }`
	r.Add(&ent.Event{IdentityID: &v.Identity}, &ent.Event{IdentityID: new(gid.Make(gid.Identity))})
	_, s := r.join(t, v, q, r.Cursor(0))
	s.ready(t)
	r.Add(&ent.Event{IdentityID: &v.Identity}, &ent.Event{IdentityID: &v.Identity, Private: true})
	s.until(t, "the second", func() bool { return s.last().Cursor.Seq >= 3 })
	n := 0
	for _, f := range s.all() {
		n += len(f.Events)
	}
	mu.Lock()
	defer mu.Unlock()
	if n != 2 || !slices.Equal(acked, []int64{0}) {
		t.Error(n, acked, s.got)
	}
	if _, a := r.join(t, r.Agent(), q, nil); true {
		a.until(t, "a refusal", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return strings.Contains(a.failed, "VISITOR") })
	}
	if _, b := r.join(t, v, all, nil); true {
		b.until(t, "a refusal", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return strings.Contains(b.failed, "SELF") })
	}
}

// The heartbeat moves the cursor past what a viewer may not see; alone and in a group.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close(t)
		_, s := r.join(t, r.Agent(), all, nil)
		w := r.Visitor()
		_, u := r.join(t, w, `subscription { visitorEvents { cursor caughtUp events { id } } }`, nil)
		synctest.Wait()
		e := livetest.Text(1, gid.Make(gid.Agent))
		e.Private = true
		r.Add(e)
		synctest.Wait()
		if s.last().Cursor.Seq != 0 || u.last().Cursor.Seq != 0 {
			t.Error("told of what they may not see")
		}
		time.Sleep(26 * time.Second)
		synctest.Wait()
		for _, s := range []*sink{s, u} {
			if f := s.last(); f.Cursor.Seq != 1 || !f.CaughtUp || len(f.Events) != 0 {
				t.Errorf("%+v", f)
			}
		}
	})
}

func TestLogThatIsAwayComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close(t)
		_, s := r.join(t, r.Agent(), all, nil)
		synctest.Wait()
		r.Break(errors.New("gone"))
		r.Add(livetest.Text(1))
		time.Sleep(3 * time.Second)
		r.Break(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !slices.Equal(s.texts(), []string{"n1"}) {
			t.Error(s.texts())
		}
	})
}

func TestFramesAlone(t *testing.T) {
	r := newRig(t, nil)
	defer r.close(t)
	ctx, cancel := context.WithCancel(viewer.With(t.Context(), r.Agent()))
	defer cancel()
	scope := desk.ScopeAll
	ch, err := r.live.Frames(ctx, nil, &desk.EventFilter{Scope: &scope})
	if err != nil {
		t.Fatal(err)
	}
	if f := <-ch; !f.CaughtUp || len(f.Events) != 0 {
		t.Error(f)
	}
	r.Add(livetest.Text(1))
	if f := <-ch; len(f.Events) != 1 {
		t.Error(f)
	}
	if _, err := r.live.Frames(t.Context(), nil, nil); !errors.Is(err, viewer.ErrNone) {
		t.Error(err)
	}
}
