package desk_test

import (
	"os"
	"slices"
	"sync"
	"testing"

	"entgo.io/ent/dialect"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/agentstatus"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/role"
	"tributary/internal/gid"
)

// Races of two operations on one contact, on both dialects: each pair begins together, whatever wins. At least one has its
// effect, who loses is told why by a code that the model knows, and afterwards all invariants of the machine hold.

// raceRounds is how often each pair is played in each dialect.
func raceRounds() int {
	if os.Getenv("TEST_LONG") == "1" {
		return 900
	}
	return 200
}

// ring is a workspace for races: two agents and a third who takes, all with room for everything.
type ring struct {
	*desktest.World
	t             *testing.T
	ann, bob, cat *desktest.Agent
	bridge        *desktest.Bridge
	other         gid.ID // a second queue
	judge         *machine
	waiting       []*ent.Interaction
}

func newRing(t *testing.T, w *desktest.World) *ring {
	t.Helper()
	r := &ring{World: w, t: t, bridge: w.Bridge(nil), other: w.QueueOf(desk.QueueCreateInput{})}
	all := profile{units: 1000}
	id, err := w.Desk.CreateCapacityProfile(w.Admin, desk.CapacityProfileCreateInput{Name: w.Unique("wide"), Units: all.units}, nil)
	ok(t, err)
	wide := w.Role("wide", role.ReachALL, desktest.Serving...)
	r.judge = &machine{World: w, heirs: map[gid.ID]bool{}, queues: []*line{{id: w.Queue}, {id: r.other}}}
	for _, a := range []**desktest.Agent{&r.ann, &r.bob, &r.cat} {
		*a = w.AgentWith(desk.AgentCreateInput{DisplayName: w.Unique("agent"), RoleID: w.Roles[wide], CapacityProfileID: &id})
		w.Connect((*a).Viewer())
		_, err := w.Desk.SetStatus(*a, nil, desk.AgentStatusInput{State: agentstatus.StateAVAILABLE}, nil)
		ok(t, err)
		r.judge.agents = append(r.judge.agents, &player{Agent: *a, name: (*a).ID.String(), profile: all})
	}
	return r
}

// side is one operation of a race, with the codes that may refuse it when it loses.
type side struct {
	name  string
	f     func() error
	loses codes
}

// together begins both operations at once and holds the loser to his codes.
func (r *ring) together(a, b side) [2]error {
	r.t.Helper()
	var errs [2]error
	gate := make(chan struct{})
	var both sync.WaitGroup
	for n, s := range []side{a, b} {
		both.Go(func() {
			<-gate
			errs[n] = s.f()
		})
	}
	close(gate)
	both.Wait()
	for n, s := range []side{a, b} {
		if errs[n] == nil {
			continue
		}
		if x, refused := desk.RefusalOf(errs[n]); !refused || !slices.Contains(s.loses, x.Code) {
			r.t.Errorf("%s against %s: %v, want one of %v", s.name, []side{b, a}[n].name, errs[n], s.loses)
		}
	}
	return errs
}

// fill lets as many customers write as there will be rounds.
func (r *ring) fill() {
	r.t.Helper()
	for range (raceRounds() + 99) / 100 {
		var events []desktest.M
		for range 100 {
			name := r.Unique("u")
			events = append(events, r.bridge.Text(r.Unique("event"), name, name, "hello"))
		}
		ok(r.t, r.bridge.Deliver(events...))
		r.Work()
	}
	var err error
	r.waiting, err = r.Store.Ent.Interaction.Query().All(r.Sys)
	ok(r.t, err)
}

// fresh is a contact of a customer of his own that waits.
func (r *ring) fresh() *ent.Interaction {
	i := r.waiting[0]
	r.waiting = r.waiting[1:]
	return i
}

func (r *ring) transfers(by *desktest.Agent, i *ent.Interaction, to *desktest.Agent) func() error {
	return func() error {
		_, err := r.Desk.Transfer(by, i.ID, desk.TransferInput{AgentID: &to.ID}, nil)
		return err
	}
}

// races are the pairs. A race says whether both may have their effect, one after the other.
var races = map[string]struct {
	both bool
	play func(r *ring) (a, b side)
}{
	"accept against transfer": {play: func(r *ring) (a, b side) {
		i := r.Serve(r.fresh(), r.ann)
		ok(r.t, r.transfers(r.ann, i, r.bob)()) // now it is offered to Bob
		o := r.Interaction(i.ID).OpenOfferID
		accept := func() error { _, err := r.Desk.AcceptOffer(r.bob, *o, nil); return err }
		admin := func() error {
			_, err := r.Desk.Transfer(r.Admin, i.ID, desk.TransferInput{QueueID: &r.other}, nil)
			return err
		}
		return side{"accept", accept, codes{desk.WrongState, desk.AlreadyTaken}}, side{"transfer", admin, codes{desk.WrongState, desk.ServedByOthers}}
	}, both: true},
	"claim against claim": {play: func(r *ring) (a, b side) {
		i := r.fresh()
		claim := func(a *desktest.Agent) side {
			return side{"claim", func() error { _, err := r.Desk.Claim(a, i.ID, nil); return err }, codes{desk.AlreadyTaken}}
		}
		return claim(r.ann), claim(r.bob)
	}},
	"transfer against resolve": {both: true, play: func(r *ring) (a, b side) {
		i := r.Serve(r.fresh(), r.ann)
		resolve := func() error { _, err := r.Desk.Resolve(r.ann, i.ConversationID, nil, nil, nil); return err }
		return side{"transfer", r.transfers(r.ann, i, r.bob), codes{desk.WrongState, desk.ServedByOthers}}, side{"resolve", resolve, nil}
	}},
	"join against end": {both: true, play: func(r *ring) (a, b side) {
		i := r.Serve(r.fresh(), r.ann)
		join := func() error { _, err := r.Desk.Join(r.bob, i.ID, nil); return err }
		end := func() error { _, err := r.Desk.End(r.ann, i.ID, nil); return err }
		return side{"join", join, codes{desk.WrongState}}, side{"end", end, nil}
	}},
	"reopen against a new message": {both: true, play: func(r *ring) (a, b side) {
		i := r.Serve(r.fresh(), r.ann)
		_, err := r.Desk.Resolve(r.ann, i.ConversationID, nil, nil, nil)
		ok(r.t, err)
		reopen := func() error { _, err := r.Desk.Reopen(r.ann, i.ConversationID, nil); return err }
		e := r.bridge.Text(r.Unique("event"), i.Thread.Clear(), i.Thread.Clear(), "once more")
		word := func() error {
			if err := r.bridge.Deliver(e); err != nil {
				return err
			}
			r.Work()
			return nil
		}
		return side{"reopen", reopen, codes{desk.WrongState}}, side{"a new message", word, nil}
	}},
	"two transfers": {play: func(r *ring) (a, b side) {
		i := r.Serve(r.fresh(), r.ann)
		codesOf := codes{desk.WrongState, desk.ServedByOthers}
		return side{"transfer", r.transfers(r.ann, i, r.bob), codesOf}, side{"transfer", r.transfers(r.ann, i, r.cat), codesOf}
	}},
}

func TestRaces(t *testing.T) {
	t.Parallel()
	for name, race := range races {
		t.Run(name, func(t *testing.T) {
			desktest.Each(t, func(t *testing.T, w *desktest.World) {
				r := newRing(t, w)
				r.fill()
				wins := map[string]int{}
				for n := range raceRounds() {
					ok(t, r.Desk.Online(t.Context()))
					a, b := race.play(r)
					if n%2 == 1 {
						a, b = b, a
					}
					errs := r.together(a, b)
					won := ""
					for k, s := range []side{a, b} {
						if errs[k] == nil {
							won += s.name + " "
						}
					}
					wins[won]++
					if errs[0] != nil && errs[1] != nil || !race.both && errs[0] == nil && errs[1] == nil {
						t.Errorf("%s: %v and %v", name, errs[0], errs[1])
					}
				}
				r.holds()
				t.Logf("won: %v", wins)
			})
		})
	}
}

// holds judges what all rounds left, by the invariants of the machine.
func (r *ring) holds() {
	r.t.Helper()
	now := r.judge.read()
	wrong := func(format string, args ...any) { r.t.Errorf(format, args...) }
	for _, i := range now.contacts {
		now.checkPlace(i, wrong)
		now.checkServer(i, wrong)
		now.checkConsultants(i, wrong)
	}
	now.checkThreads(wrong)
	now.checkNumbers(wrong)
	for _, c := range now.matters {
		now.checkState(c, wrong)
		r.judge.checkSight(now, c, wrong)
		if c.State == conversation.StateOPEN && !slices.ContainsFunc(now.of(c), func(i *ent.Interaction) bool { return i.State != interaction.StateENDED }) {
			wrong("MODEL 3: %s is OPEN without a contact", c.ID)
		}
	}
	for _, p := range r.judge.agents {
		r.judge.checkLoad(now, p, wrong)
	}
}

// Two matters that the same two agents serve are resolved at once: whose loads are taken first must not depend on which
// contact of a matter came first, or the two wait for each other until PostgreSQL ends one of them.
func TestResolvingTheSameCarriersTakesOneOrder(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		if w.Store.Dialect != dialect.Postgres {
			t.Skip("one writer at a time")
		}
		r := newRing(t, w)
		matter := func(first, second *desktest.Agent) gid.ID {
			who := r.Unique("u")
			i := r.Serve(r.bridge.Say(r.Unique("t"), who, "one"), first)
			if j := r.Serve(r.bridge.Say(r.Unique("t"), who, "two"), second); i.ConversationID != j.ConversationID {
				t.Fatal("the second contact did not join the first")
			}
			return i.ConversationID
		}
		resolve := func(id gid.ID) side {
			return side{"resolve", func() error {
				_, err := w.Desk.Resolve(w.Admin, id, &desk.ResolveInput{EndOthers: ptr(true)}, nil, nil)
				return err
			}, nil}
		}
		for range 25 {
			r.together(resolve(matter(r.ann, r.bob)), resolve(matter(r.bob, r.ann)))
		}
		ended := 0
		ok(t, w.Store.DB.QueryRowContext(t.Context(), "SELECT pg_stat_get_db_deadlocks(oid) FROM pg_database WHERE datname = current_database()").Scan(&ended))
		if ended > 0 {
			t.Errorf("PostgreSQL ended %d transactions that waited for each other", ended)
		}
	})
}
