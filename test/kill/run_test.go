package kill_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/internal/testdb"
	"tributary/test/ledger"
	"tributary/test/rig"
)

// plan says what a run is.
type plan struct {
	dialect  string
	seed     uint64
	kills    int           // at least
	limit    int           // at most; then the run is void
	inbound  int           // acknowledged, at least
	outbound int           // acknowledged, at least
	inFlight int           // kills with a send in flight, at least, in percent
	threads  int           // of customers
	think    time.Duration // the longest rest of a provider
	muse     time.Duration // the longest rest of a writing agent
	breath   int           // kills between two rests in which the backlog is measured; 0: none
	patience time.Duration // how long nothing may move before the wait for quiet gives up

	// What only negative controls use.
	settings rig.M                      // of the channel
	parallel int                        // copies of each delivery at the same moment
	proxied  bool                       // something else than the program acknowledges
	hook     func(t testing.TB, r *run) // after the channel is made, before traffic
	down     func(t testing.TB, r *run) // while the program is dead
	enough   func(r *run) bool          // instead of the counts
}

const (
	providers = 2
	writers   = 2
)

// run is a running test: the program, the world around it, and the parent that kills it.
type run struct {
	t       testing.TB
	plan    plan
	rng     *rand.Rand
	url     string // of PostgreSQL
	node    *rig.Node
	hook    *rig.Bridge
	bridge  *ledger.Bridge
	journal *ledger.Journal
	checker *rig.Login
	agent   *rig.Login
	follow  *ledger.Follower

	gate     sync.RWMutex // the agent's callers hold it while they call; the parent closes it for a rest
	busy     atomic.Int64 // providers' requests under way
	life     atomic.Int64
	accepted chan time.Time
	stop     atomic.Bool
	storm    atomic.Bool // much comes in during this life
	calm     atomic.Bool // nothing new comes in during this life
	group    sync.WaitGroup

	kills, flying int
	rare          bool
	start         time.Time // of the traffic
	began         time.Time
	renewed       time.Time
	first         ledger.Times // restart to first accept
	visible       ledger.Times // restart to everything acknowledged being seen
	settled       ledger.Times // restart to nothing waiting to be sent
	ready         ledger.Times // restart to ready, at rests
}

// newRun starts the program and makes the world.
func newRun(t testing.TB, p plan) *run {
	t.Helper()
	r := &run{t: t, plan: p, rng: rand.New(rand.NewPCG(p.seed, 1)), journal: ledger.NewJournal(), accepted: make(chan time.Time, 1)} //nolint:gosec // repeatable, not secret
	o := rig.Options{Args: []string{"--log-level", "warn"}}
	if p.dialect == "postgres" {
		r.url = testdb.PostgresURL(t)
		o.DatabaseURL = r.url
	}
	r.bridge = ledger.NewBridge(t, p.seed)
	r.node = rig.Start(t, o)
	w := r.node.NewWorkspace(t)
	r.checker, r.agent = w.NewLogin(t, "Checker", "admin"), w.NewLogin(t, "Ann", "admin")
	r.follow = &ledger.Follower{Login: w.NewLogin(t, "Follower", "admin"), Met: r.met, Rest: retryPause}
	// Offers go to her, too: the router is part of what is killed.
	(&rig.Agent{Client: r.agent.Client()}).SetStatus(t, "AVAILABLE")
	r.hook = w.NewBridge(t, r.bridge.URL, "", p.settings)
	if p.hook != nil {
		p.hook(t, r)
	}
	r.renewed = time.Now()
	return r
}

// enter is called before each call of the program and tells in which life it is made.
func (r *run) enter() int64 {
	r.gate.RLock()
	return r.life.Load()
}

func (r *run) leave() { r.gate.RUnlock() }

func (r *run) over() bool { return r.stop.Load() }

// accept notes that the program accepted a request in this life.
func (r *run) accept(life int64) {
	if life != r.life.Load() {
		return
	}
	select {
	case r.accepted <- time.Now():
	default:
	}
}

// drive runs traffic and kills until the plan is fulfilled; then the program runs and all callers have had their answers.
func (r *run) drive() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	following := r.follow.Start(ctx)
	r.start = time.Now()
	r.traffic(ctx)
	r.lives()
	r.node.Ready(time.Minute) // behind a proxy that answers for it, no caller has waited for the last start
	r.calm.Store(false)
	r.stop.Store(true)
	if !waited(&r.group, time.Minute) {
		r.t.Fatalf("void: callers still without an answer a minute after the last restart: %v", r.journal.Trouble)
	}
	if err := r.rest("the end"); err != nil {
		r.t.Fatal(err)
	}
	r.still()
	cancel()
	<-following
	if err := r.renew(); err != nil { // the long form reads for minutes
		r.t.Fatal(err)
	}
}

// still waits until the log stands: rows are read before events, and an event that is numbered late is no gap.
func (r *run) still() {
	r.t.Helper()
	last, since := "", time.Now()
	rig.Eventually(r.t, time.Minute, "the event log stands still", func() bool {
		v, err := r.checker.Ask(context.Background(), `{eventCursor}`, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if now := v.At("eventCursor").String(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 700*time.Millisecond
	})
}

// renew renews the sessions. Nobody may be killed meanwhile.
func (r *run) renew() error {
	for _, l := range []*rig.Login{r.checker, r.agent, r.follow.Login} {
		if err := l.Renew(context.Background()); err != nil {
			return fmt.Errorf("renew a session: %w", err)
		}
	}
	r.renewed = time.Now()
	return nil
}

func (r *run) traffic(ctx context.Context) {
	for n := range providers {
		p := &provider{run: r, rng: rand.New(rand.NewPCG(r.plan.seed, uint64(100+n))), next: map[string]int{}} //nolint:gosec // repeatable, not secret
		for i := n; i < r.plan.threads; i += providers {
			p.threads = append(p.threads, fmt.Sprintf("t%d", i))
		}
		r.group.Go(func() { p.work(ctx) })
	}
	f := &floor{run: r, login: r.agent}
	r.group.Go(func() { f.claim(ctx) })
	for n := range writers {
		rng := rand.New(rand.NewPCG(r.plan.seed, uint64(200+n))) //nolint:gosec // repeatable, not secret
		r.group.Go(func() { f.reply(ctx, rng, fmt.Sprintf("w%d", n)) })
	}
}

// lives kills and starts the program again until the plan is fulfilled; the last life goes on.
func (r *run) lives() {
	r.t.Helper()
	for !r.enough() {
		if r.kills >= r.plan.limit {
			r.figures()
			r.t.Fatalf("void: %d kills did not bring what the run needs; trouble: %v", r.kills, r.journal.Trouble)
		}
		r.await()
		r.kill()
		if r.kills%100 == 0 {
			in, out := r.journal.Counts()
			r.t.Logf("%d kills, %d with a send in flight; %d inbound, %d outbound", r.kills, r.flying, in, out)
		}
		if r.plan.breath > 0 && r.kills%r.plan.breath == 0 {
			if err := r.breathe(); err != nil {
				r.t.Fatal(err)
			}
			continue
		}
		r.launch()
	}
}

func (r *run) enough() bool {
	if r.kills < r.plan.kills {
		return false
	}
	if r.plan.enough != nil {
		return r.plan.enough(r)
	}
	in, out := r.journal.Counts()
	return in >= r.plan.inbound && out >= r.plan.outbound && r.flying*100 >= r.kills*r.plan.inFlight
}

func (r *run) launch() {
	r.t.Helper()
	r.life.Add(1)
	storm := r.plan.breath == 0 || r.kills%r.plan.breath == r.plan.breath-1
	r.storm.Store(storm)
	r.calm.Store(r.rare && !storm)
	select { // a late word of the life before
	case <-r.accepted:
	default:
	}
	r.began = time.Now()
	r.node.Launch()
}

// await waits for the first accept of this life and then for the moment of the kill.
func (r *run) await() {
	r.t.Helper()
	select {
	case at := <-r.accepted:
		if !r.began.IsZero() {
			r.first.Add(at.Sub(r.began))
		}
	case <-r.node.Ended():
		r.t.Fatalf("the program ended by itself:\n%s", r.node.Log)
	case <-time.After(time.Minute):
		r.t.Fatalf("nothing was accepted within a minute after a restart; trouble: %v", r.journal.Trouble)
	}
	time.Sleep(5*time.Millisecond + time.Duration(r.rng.Int64N(int64(150*time.Millisecond))))
}

// kill is kill -9, and the count of those that met a send under way.
func (r *run) kill() {
	if r.bridge.Open.Load() > 0 {
		r.flying++
	}
	r.node.Kill()
	r.kills++
	// Where too few kills meet a send, the lives between the storms belong to the sending.
	_, out := r.journal.Counts()
	rare := out > 20 && r.flying*100 < r.kills*(r.plan.inFlight+5)
	r.bridge.Slow.Store(ledger.UsualSlow)
	if rare {
		r.bridge.Slow.Store(ledger.VerySlow)
	}
	r.rare = rare
	if r.plan.down != nil {
		r.plan.down(r.t, r)
	}
}

// breathe starts the program while the agent waits and the providers only end what they had begun, measures how long the
// backlog of the lives before takes, and lets them go on. The next kill counts from the first accept after that.
func (r *run) breathe() error {
	r.t.Helper()
	r.gate.Lock()
	defer r.gate.Unlock()
	r.launch()
	r.calm.Store(true)
	if err := r.node.WaitReady(time.Minute); err != nil {
		return err
	}
	r.ready.Add(time.Since(r.began))
	if err := r.rest(fmt.Sprintf("kill %d", r.kills)); err != nil {
		return err
	}
	if time.Since(r.renewed) > 4*time.Minute {
		if err := r.renew(); err != nil {
			return err
		}
	}
	r.began = time.Time{} // the next accept follows a rest, not a restart
	r.calm.Store(r.rare)
	select {
	case <-r.accepted:
	default:
	}
	return nil
}

// rest waits until everything acknowledged is seen and nothing waits to be sent, or until nothing moves any more; what
// is missing then is the checker's to tell. Its error is of reading.
func (r *run) rest(when string) error {
	began := r.began
	if began.IsZero() {
		began = time.Now()
	}
	last, moved, shown := -1, time.Now(), false
	for {
		late := int(r.busy.Load())
		missing := r.journal.Missing(r.follow.Has)
		waiting, err := r.waiting()
		if err != nil {
			return fmt.Errorf("wait for quiet (%s): %w", when, err)
		}
		if late+missing == 0 && !shown {
			shown = true
			r.visible.Add(time.Since(began))
		}
		if late+missing+waiting == 0 {
			r.settled.Add(time.Since(began))
			return nil
		}
		if missing+waiting != last {
			last, moved = missing+waiting, time.Now()
		}
		if time.Since(moved) > r.plan.patience {
			r.t.Logf("%s: nothing moves any more: %d messages unseen, %d not sent, %s after the start", when, missing, waiting, time.Since(began))
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// waiting counts the messages that are not sent yet.
func (r *run) waiting() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	v, err := r.checker.Ask(ctx, `{unsettledMessages(states:[QUEUED,SENDING],first:1){totalCount}}`, nil)
	if err != nil {
		return 0, err
	}
	n, ok := v.At("unsettledMessages", "totalCount").V.(float64)
	if !ok {
		return 0, fmt.Errorf("no count: %s", v.JSON())
	}
	return int(n), nil
}

func waited(g *sync.WaitGroup, patience time.Duration) bool {
	done := make(chan struct{})
	go func() {
		g.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}
