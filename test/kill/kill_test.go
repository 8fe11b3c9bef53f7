// Package kill_test proves what a customer and an agent are promised over crashes: the program is killed with SIGKILL
// again and again while a platform delivers and an agent writes, and afterwards the API must show every acknowledged
// message exactly once, nothing sent twice, and everything in doubt. The checker reads by GraphQL alone; each promise
// has a control that breaks it from outside and must turn the checker red.
//
// KILL_SEED repeats a run's choices (not its timing); TEST_LONG=1 is the long form.
package kill_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"tributary/test/rig"
)

var dialects = []string{"sqlite", "postgres"}

// seed is KILL_SEED, or a new one.
func seed(t testing.TB) uint64 {
	t.Helper()
	s := rand.Uint64() //nolint:gosec // a test's choice
	if text := os.Getenv("KILL_SEED"); text != "" {
		var err error
		if s, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("KILL_SEED: %v", err)
		}
	}
	t.Logf("KILL_SEED=%d", s)
	return s
}

func formOf(t testing.TB, dialect string) plan {
	p := plan{
		dialect: dialect, seed: seed(t), kills: 60, limit: 400, inbound: 1200, outbound: 120, inFlight: 30, threads: 60,
		think: 30 * time.Millisecond, muse: 15 * time.Millisecond, breath: 4, patience: 45 * time.Second,
	}
	if os.Getenv("TEST_LONG") == "1" {
		p.kills, p.limit, p.inbound, p.outbound, p.threads = 1000, 4000, 20_000, 2000, 400
	}
	return p
}

// TestKill is the promise itself.
func TestKill(t *testing.T) {
	for _, dialect := range dialects {
		t.Run(dialect, func(t *testing.T) {
			r := newRun(t, formOf(t, dialect))
			r.drive()
			r.figures()
			p, err := look(context.Background(), r.checker)
			if err != nil {
				t.Fatal(err)
			}
			if found := check(p, r.journal, r.bridge, r.follow); !found.clean() {
				t.Fatalf("KILL_SEED=%d: %s", r.plan.seed, found)
			}
			r.settle(p)
		})
	}
}

// figures are reported; whether they are good enough is not this test's to say, but what is ten times the aim is broken.
func (r *run) figures() {
	r.t.Helper()
	in, out := r.journal.counts()
	r.t.Logf("%s: %d kills in %s, %d with a send in flight; acknowledged %d inbound, %d outbound; %d replays, %d tries in vain, %d refusals",
		r.plan.dialect, r.kills, time.Since(r.start).Round(time.Second), r.flying, in, out, r.journal.replays, r.journal.retries, r.journal.refusals)
	r.t.Logf("restart to first accept: p50 %s, p99 %s; to ready: p50 %s", r.first.at(0.5), r.first.at(0.99), r.ready.at(0.5))
	r.t.Logf("restart to every acknowledged message visible: p50 %s, most %s; to nothing waiting to be sent: p50 %s, most %s",
		r.visible.at(0.5), r.visible.at(1), r.settled.at(0.5), r.settled.at(1))
	if worst := r.visible.at(1); worst > 50*time.Second {
		r.t.Errorf("an acknowledged message was visible only %s after a restart", worst)
	}
	if worst := r.first.at(0.99); worst > 5*time.Second {
		r.t.Errorf("after a restart the first request was accepted only after %s", worst)
	}
}

const (
	doSettle = `mutation($i:ID!,$a:Boolean!,$k:Key!){messageSettle(id:$i,arrived:$a,idempotencyKey:$k){message{id delivery} userErrors{code message}}}`
	doAgain  = `mutation($i:ID!,$k:Key!){messageSendAgain(id:$i,idempotencyKey:$k){message{id delivery} userErrors{code message}}}`
)

// settle does by hand what the program left in doubt: what the bridge has is said to have arrived; of the rest half is
// sent again and half is given up. One that arrived is sent again, too: a person may choose so.
func (r *run) settle(p *picture) {
	r.t.Helper()
	took, _, _ := r.bridge.taken()
	c, want, sends := r.checker.Client(), map[string]string{}, map[string]int{}
	arrived, never, again := 0, 0, 0
	for _, m := range p.messages {
		if m.delivery != "UNCERTAIN" {
			continue
		}
		key, have := "settle "+m.id, took[m.id] > 0
		if have {
			arrived++
		} else {
			never++
		}
		sends[m.id] = took[m.id]
		switch {
		case have && arrived == 1, !have && never%2 == 1:
			again++
			c.Must(r.t, doAgain, rig.M{"i": m.id, "k": key})
			want[m.id] = "SENT"
			sends[m.id]++
		case have:
			c.Must(r.t, doSettle, rig.M{"i": m.id, "a": true, "k": key})
			want[m.id] = "SENT"
		default:
			c.Must(r.t, doSettle, rig.M{"i": m.id, "a": false, "k": key})
			want[m.id] = "FAILED"
		}
	}
	r.t.Logf("in doubt: %d, of which %d had arrived and %d had not; %d sent again by hand", len(want), arrived, never, again)
	if len(want) == 0 {
		r.t.Error("no message was in doubt: the kills missed their moment, the run proves nothing about them")
	}
	r.began = time.Time{}
	if err := r.rest("settled"); err != nil {
		r.t.Fatal(err)
	}
	r.still()
	after, err := look(context.Background(), r.checker)
	if err != nil {
		r.t.Fatal(err)
	}
	took, _, _ = r.bridge.taken()
	for _, m := range after.messages {
		if state := want[m.id]; state != "" && m.delivery != state {
			r.t.Errorf("%s is %s after it was settled, want %s", m.id, m.delivery, state)
		}
		if n, known := sends[m.id]; known && took[m.id] != n {
			r.t.Errorf("%s was settled by hand; the bridge got it %d times, want %d", m.id, took[m.id], n)
		}
		if m.delivery == "UNCERTAIN" || m.delivery == "QUEUED" || m.delivery == "SENDING" {
			r.t.Errorf("%s is still %s", m.id, m.delivery)
		}
	}
}
