package nodes_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

// slack is how many times an aim a deadline is.
const slack = 10

// takeover is how long the work of a node that died may rest.
const takeover = 10 * time.Second

// await measures how long after a kill the other node does what the dead one led.
type await struct {
	mu            sync.Mutex
	since         time.Time
	router, relay chan time.Duration // nil: seen, or not asked for
}

// from asks for the first offer and the first event that came to be after a moment.
func (a *await) from(at time.Time) (router, relay <-chan time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.since, a.router, a.relay = at, make(chan time.Duration, 1), make(chan time.Duration, 1)
	return a.router, a.relay
}

// saw is told each event when a watcher applies it.
func (a *await) saw(e rig.Value) {
	now := time.Now()
	at, err := time.Parse(time.RFC3339Nano, e.At("at").String())
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil || !at.After(a.since) {
		return
	}
	if a.relay != nil {
		a.relay <- now.Sub(a.since)
		a.relay = nil
	}
	if a.router != nil && e.At("type").String() == "OFFER_CREATED" {
		a.router <- at.Sub(a.since)
		a.router = nil
	}
}

// storm kills nodes.
type storm struct {
	*world
	rng           *rand.Rand
	kills, both   int
	routers, logs int // kills of the leaders
	router, relay ledger.Times
	restart       ledger.Times
}

// TestKillEither kills either node at random under traffic and starts it again, sometimes when both are down. The other
// one goes on.
func TestKillEither(t *testing.T) {
	s := &storm{world: open(t, killing, site{})}
	s.rng = s.chance(1)
	kills, measured := 60, 8
	if long() {
		kills, measured = 500, 60
	}
	for s.kills < kills {
		s.renew()
		if s.kills%(kills/measured) == 0 {
			s.measure()
			continue
		}
		s.strike()
	}
	s.finish()
	t.Logf("FIGURE %d kills, %d with both down, %d of the router's leader, %d of the relay's; restart to ready p50 %s, most %s",
		s.kills, s.both, s.routers, s.logs, s.restart.At(0.5), s.restart.At(1))
	t.Logf("FIGURE from the kill of the router's leader to the next offer: p50 %s, most %s; of the relay's to the next event seen: p50 %s, most %s",
		s.router.At(0.5), s.router.At(1), s.relay.At(0.5), s.relay.At(1))
	if s.both == 0 || s.router.At(1) == 0 || s.relay.At(1) == 0 {
		t.Error("void: no leader was killed, or never both nodes")
	}
}

// strike kills one node at a random moment, now and then the other one, too, before it starts it again.
func (s *storm) strike() {
	s.t.Helper()
	n := s.rng.IntN(2)
	time.Sleep(5*time.Millisecond + time.Duration(s.rng.Int64N(int64(250*time.Millisecond))))
	s.kill(n)
	down := []int{n}
	if s.rng.IntN(6) == 0 {
		time.Sleep(time.Duration(s.rng.Int64N(int64(50 * time.Millisecond))))
		s.kill(1 - n)
		s.both++
		down = append(down, 1-n)
	}
	time.Sleep(time.Duration(s.rng.Int64N(int64(400 * time.Millisecond))))
	for _, n := range down {
		s.nodes[n].Launch()
	}
	if s.rng.IntN(4) == 0 { // the next kill may meet a start
		return
	}
	began := time.Now()
	for _, n := range down {
		s.nodes[n].Ready(time.Minute)
	}
	s.restart.Add(time.Since(began))
}

// kill is kill -9. A node that is starting ends as well.
func (s *storm) kill(n int) {
	s.t.Helper()
	select {
	case <-s.nodes[n].Ended():
		s.t.Fatalf("%s ended by itself:\n%s", s.nodes[n].URL, s.nodes[n].Log)
	default:
	}
	s.nodes[n].Kill()
	s.kills++
}

// measure kills the leader of the router, or of the relay, and leaves it away until the other one has done its work.
func (s *storm) measure() {
	s.t.Helper()
	s.ready()
	var leaders map[string]string
	rig.Eventually(s.t, slack*takeover, "router and relay are led", func() bool {
		var err error
		if leaders, err = s.leaders(context.Background(), s.checker, 0); err != nil {
			s.t.Fatal(err)
		}
		return leaders["router"] != "" && leaders["relay"] != ""
	})
	work := []string{"router", "relay"}[s.rng.IntN(2)]
	n := 0
	if leaders[work] == s.names[1] {
		n = 1
	}
	s.kill(n)
	router, relay := s.await.from(time.Now())
	deadline := time.After(slack * takeover)
	for _, x := range []struct {
		name  string
		seen  <-chan time.Duration
		times *ledger.Times
		count *int
	}{{"relay", relay, &s.relay, &s.logs}, {"router", router, &s.router, &s.routers}} {
		select {
		case d := <-x.seen:
			if leaders[x.name] == s.names[n] {
				x.times.Add(d)
				*x.count++
			}
		case <-deadline:
			s.t.Fatalf("KILL_SEED=%d: %s after the kill of the leader nothing of the %s's work was seen", s.seed, slack*takeover, x.name)
		}
	}
	s.nodes[n].Launch()
}
