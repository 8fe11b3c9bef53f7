package desk_test

import (
	"database/sql"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/agentstatus"
	"tributary/ent/role"
	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/store"
	"tributary/internal/store/storetest"
	"tributary/internal/testdb"
	"tributary/internal/viewer"
)

// The machine plays a desk at random and judges it after every step: operations of customers, agents, the router and
// time, each with what the model says of it before it is done (machine_say_test.go), and the invariants that hold
// whatever was done (machine_rows_test.go). A sequence is wholly given by its seed, so that rapid can shrink it:
// -rapid.seed repeats one.

// machineSteps is how many operations a run plays in each dialect.
func machineSteps() int {
	if os.Getenv("TEST_LONG") == "1" {
		return 50_000
	}
	return 1_000
}

func TestMachine(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		base := desktest.New(t, storetest.Open(t, store.Config{URL: url}))
		h := newHall(t, base)
		seed := given(t, "rapid.seed", uint64(time.Now().UnixNano())) //nolint:gosec // a time is positive
		set(t, "rapid.nofailfile", "true")
		set(t, "rapid.checks", "10")
		set(t, "rapid.steps", "60")
		for h.steps < machineSteps() || len(h.missing()) > 0 && h.steps < 3*machineSteps() {
			t.Logf("-rapid.seed=%d", seed)
			set(t, "rapid.seed", strconv.FormatUint(seed, 10))
			rapid.Check(t, h.play)
			if t.Failed() {
				return
			}
			seed++
		}
		h.covered(t)
	}, storetest.Template)
}

func set(t *testing.T, name, value string) {
	t.Helper()
	ok(t, flag.Set(name, value))
}

// given is the seed of the command line, or another one.
func given(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(flag.Lookup(name).Value.String(), 10, 64)
	ok(t, err)
	if n == 0 {
		return otherwise
	}
	return n
}

// hall is what all sequences of one dialect share: a database, workers, a provider, and the count of what was played.
type hall struct {
	t        *testing.T
	base     *desktest.World
	at       atomic.Int64 // the frozen time, in nanoseconds
	platform *platform
	digest   *sql.Stmt
	steps    int
	done     map[string]map[string]int // by operation and outcome
}

func newHall(t *testing.T, base *desktest.World) *hall {
	t.Helper()
	h := &hall{t: t, base: base, platform: newPlatform(t), done: map[string]map[string]int{}}
	var err error
	h.digest, err = base.Store.DB.PrepareContext(t.Context(), digestOf(base.Store))
	ok(t, err)
	t.Cleanup(func() { ok(t, h.digest.Close()) })
	h.restart()
	base.Desk.Now = h.now
	h.workers(t)
	return h
}

// restart takes the frozen time back to the present, as what the last sequence left is gone. It is ahead of the real
// time, by which rows without another are dated.
func (h *hall) restart() { h.at.Store(time.Now().Add(time.Hour).UnixNano()) }

func (h *hall) now() time.Time { return time.Unix(0, h.at.Load()).UTC().Truncate(time.Microsecond) }

// workers run the jobs as the frozen time makes them due.
func (h *hall) workers(t *testing.T) {
	t.Helper()
	r := jobs.NewRunner(h.base.Store, jobs.Config{Node: "machine", Clock: h.now, Poll: time.Second, Log: h.base.Desk.Log})
	h.base.Desk.Register(r)
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() { ok(t, <-done) }) // the context of a test ends before its cleanups
}

// operations are what a run must have seen succeed.
var operations = []string{
	"visitor says", "visitor moves", "visitor leaves", "visitor reads", "bridge says", "repeat", "receipt", "offer", "accept", "decline", "claim", "pause",
	"release", "end", "wrap up", "join", "leave", "send", "settle message", "send again", "transfer to a queue", "transfer to an agent", "resolve",
	"reopen", "start", "snooze", "owner", "follow", "note", "urgency", "status", "socket", "dismiss", "time", "node dies",
}

func (h *hall) missing() []string {
	return slices.DeleteFunc(slices.Clone(operations), func(op string) bool { return h.done[op]["ok"] > 0 })
}

// covered refuses a run that never saw an operation succeed: it would have proved nothing of it.
func (h *hall) covered(t *testing.T) {
	t.Helper()
	t.Logf("%d operations", h.steps)
	for _, op := range slices.Sorted(maps.Keys(h.done)) {
		t.Logf("%-20s %v", op, h.done[op])
	}
	for _, op := range h.missing() {
		t.Errorf("%s never succeeded", op)
	}
}

// tb lets a world of a sequence fail the sequence, not the test, so that rapid shrinks it.
type tb struct {
	testing.TB
	rt *rapid.T
}

func (b tb) Helper()                           {}
func (b tb) Fatal(args ...any)                 { b.rt.Fatal(args...) }
func (b tb) Fatalf(format string, args ...any) { b.rt.Fatalf(format, args...) }
func (b tb) Error(args ...any)                 { b.rt.Error(args...) }
func (b tb) Errorf(format string, args ...any) { b.rt.Errorf(format, args...) }

// machine is one sequence: a workspace of its own.
type machine struct {
	*desktest.World
	hall *hall
	rt   *rapid.T

	agents  []*player
	queues  []*line
	bridges []*desktest.Bridge
	site    *siteOf
	people  []*person
	was     *rows
	names   map[string]string
	heirs   map[gid.ID]bool // served contacts that took a cost over: they may stand above the bounds
	owned   bool            // the operation at hand may give the matter away
}

// player is an agent of the machine.
type player struct {
	*desktest.Agent
	name      string
	all       bool // reach
	boss      bool // may supervise
	teams     []gid.ID
	subjects  []gid.ID
	profile   profile
	let       func() // his socket, if he has one
	dismissed bool
}

type profile struct {
	units int
	rules map[string]desk.CapacityRuleInput
}

func (p profile) of(kind string) desk.CapacityRuleInput {
	if r, there := p.rules[kind]; there {
		return r
	}
	return desk.CapacityRuleInput{ChannelKind: kind, UnitsEach: 1}
}

func (p profile) blocks(kind string) bool { b := p.of(kind).BlocksOthers; return b != nil && *b }

// line is a queue.
type line struct {
	id         gid.ID
	team       *gid.ID
	restricted bool
}

// play is one sequence.
func (h *hall) play(rt *rapid.T) {
	h.restart()
	w := *h.base
	w.T = tb{h.base.T, rt}
	m := &machine{World: w.Another(), hall: h, rt: rt, heirs: map[gid.ID]bool{}}
	m.T = w.T
	rt.Cleanup(m.leave)
	m.furnish()
	m.was = m.read()
	m.christen(m.was)
	m.check(m.was)
	actions := m.actions()
	for name, f := range actions {
		if name != "" {
			actions[name] = func(rt *rapid.T) {
				m.rt, m.T = rt, tb{h.base.T, rt}
				m.step(name, f)
			}
		}
	}
	rt.Repeat(actions)
}

// step does one operation in its own second, lets the workers end, and judges.
func (m *machine) step(name string, f func(*rapid.T)) {
	m.owned = false
	m.passes(1037*time.Millisecond, "time") // no sum of steps is a whole second: no two timers meet
	m.must(m.Desk.Online(m.hall.base.T.Context()))
	name = strings.TrimRight(name, " 23") // drawn twice or thrice as often as the others
	f(m.rt)
	m.settled()
	m.judge(name)
}

// judge compares what is there with what was there.
func (m *machine) judge(name string) {
	now := m.read()
	m.christen(now)
	m.check(now)
	m.compare(m.was, now, name)
	m.was = now
}

// did counts an outcome.
func (m *machine) did(op, outcome string) {
	if m.hall.done[op] == nil {
		m.hall.done[op] = map[string]int{}
	}
	m.hall.done[op][outcome]++
	m.hall.steps++
}

func (m *machine) must(err error) {
	if err != nil && m.rt == nil { // outside a sequence
		m.T.Fatal(err)
	}
	if err != nil {
		m.fatal("%v", err)
	}
}

// furnish makes the workspace: queues of every sort, agents of every reach, kinds of every cost.
func (m *machine) furnish() {
	w := m.World
	sales, service, closed := w.Team("sales"), w.Team("service"), w.Team("closed")
	queue := func(team *gid.ID, restricted bool, in desk.QueueCreateInput) *line {
		in.TeamID, in.Restricted, in.OfferSeconds, in.BreakAfterMisses = team, &restricted, ptr(30), ptr(2)
		l := &line{w.QueueOf(in), team, restricted}
		m.queues = append(m.queues, l)
		return l
	}
	one := queue(&sales, false, desk.QueueCreateInput{StickySeconds: ptr(600), SilentAfterSeconds: ptr(45)})
	two := queue(&service, false, desk.QueueCreateInput{PauseAfterReplySeconds: ptr(60), WrapUpSeconds: ptr(40)})
	three := queue(&closed, true, desk.QueueCreateInput{PauseAfterReplySeconds: ptr(60), WrapUpSeconds: ptr(40)})
	m.queues = append(m.queues, &line{id: w.Queue})
	for _, q := range []*line{one, two, three} {
		m.bridges = append(m.bridges, m.platform(q.id))
	}
	m.site = newSite(w, one.id)
	own := w.Role("own", role.ReachOWN, desktest.Serving...)
	m.hire("Ann", "agent", profile{units: 2}, sales)
	m.hire("Bob", "agent", profile{5, map[string]desk.CapacityRuleInput{"custom": {ChannelKind: "custom", UnitsEach: 2, MaxAtOnce: 2}}}, service)
	m.hire("Sue", "supervisor", profile{3, map[string]desk.CapacityRuleInput{"custom": {ChannelKind: "custom", UnitsEach: 1, BlocksOthers: ptr(true)}}}, sales, service)
	m.hire("Dan", "agent", profile{units: 2}, sales, closed)
	m.hire("Eve", own, profile{units: 1}, service)
	m.hire("Max", "admin", profile{units: 3})
	m.invite()
}

func (m *machine) platform(queue gid.ID) *desktest.Bridge {
	return m.Bridge(func(in *desk.ChannelCreateInput) {
		in.QueueID, in.Config = &queue, fmt.Appendf(nil, `{"callbackUrl":%q}`, m.hall.platform.url)
	})
}

func (m *machine) hire(name, roleName string, p profile, teams ...gid.ID) {
	in := desk.CapacityProfileCreateInput{Name: m.Unique(name), Units: p.units, Rules: slices.Collect(maps.Values(p.rules))}
	id, err := m.Desk.CreateCapacityProfile(m.Admin, in, nil)
	m.must(err)
	a := m.AgentWith(desk.AgentCreateInput{DisplayName: name, RoleID: m.Roles[roleName], TeamIds: teams, CapacityProfileID: &id})
	v := a.Viewer()
	pl := &player{Agent: a, name: name, all: v.SeesAll(), boss: v.Has(viewer.Supervise), teams: teams, subjects: v.Subjects(), profile: p}
	m.agents = append(m.agents, pl)
	m.plug(pl)
}

// plug opens an agent's socket.
func (m *machine) plug(p *player) { p.let = m.Connect(p.Viewer()) }

// leave ends the sequence: what the database and the desk would go on doing for it ends, too.
func (m *machine) leave() {
	for _, p := range m.agents {
		if p.let != nil {
			p.let()
		}
	}
	for _, p := range m.people {
		if p.let != nil {
			p.let()
		}
	}
	_, err := m.Store.Ent.Job.Delete().Exec(m.Sys)
	m.must(err)
	_, err = m.Store.Ent.Presence.Delete().Exec(m.Sys)
	m.must(err)
	_, err = m.Store.Ent.Outbox.Delete().Exec(m.Sys) // nobody numbers them here, and reading them by workspace would take ever longer
	m.must(err)
}

// settled waits until no job is due or running.
func (m *machine) settled() {
	m.Store.Bus.Announce(bus.Note{Topic: bus.Jobs})
	m.Eventually("no job is due", func() bool { return m.due() == 0 })
}

// passes lets time pass, job by job: each is judged on its own, as if nothing else were due.
func (m *machine) passes(d time.Duration, name string) {
	until := m.hall.now().Add(d)
	for {
		next, there := m.nextTimer(until)
		if !there {
			break
		}
		if next.After(m.hall.now()) {
			m.hall.at.Store(next.UnixNano())
		}
		m.settled()
		m.judge(name)
	}
	m.hall.at.Store(until.UnixNano())
}

func (m *machine) status(p *player, s agentstatus.State) error {
	_, err := m.Desk.SetStatus(p, nil, desk.AgentStatusInput{State: s}, nil)
	return err
}
