// Package kill_test proves what a customer and an agent are promised over crashes: the program is killed with SIGKILL
// again and again while a platform delivers and an agent writes, and afterwards the API must show every acknowledged
// message exactly once, nothing sent twice, and everything in doubt. The checker reads by GraphQL alone; each promise
// has a control that breaks it from outside and must turn the checker red.
//
// KILL_SEED repeats a run's choices (not its timing); TEST_LONG=1 is the long form.
package kill_test

import (
	"context"
	"os"
	"testing"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

var dialects = []string{"sqlite", "postgres"}

func formOf(t testing.TB, dialect string) plan {
	p := plan{
		dialect: dialect, seed: ledger.Seed(t), kills: 60, limit: 400, inbound: 1200, outbound: 120, inFlight: 30, threads: 60,
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
			p, err := ledger.Look(context.Background(), r.checker)
			if err != nil {
				t.Fatal(err)
			}
			if found := ledger.Check(p, r.journal, r.bridge, r.follow); !found.Clean() {
				t.Fatalf("KILL_SEED=%d: %s", r.plan.seed, found)
			}
			r.settle(p)
		})
	}
}

// figures are reported; whether they are good enough is not this test's to say, but what is ten times the aim is broken.
func (r *run) figures() {
	r.t.Helper()
	in, out := r.journal.Counts()
	r.t.Logf("%s: %d kills in %s, %d with a send in flight; acknowledged %d inbound, %d outbound; %d replays, %d tries in vain, %d refusals",
		r.plan.dialect, r.kills, time.Since(r.start).Round(time.Second), r.flying, in, out, r.journal.Replays, r.journal.Retries, r.journal.Refusals)
	r.t.Logf("restart to first accept: p50 %s, p99 %s; to ready: p50 %s", r.first.At(0.5), r.first.At(0.99), r.ready.At(0.5))
	r.t.Logf("restart to every acknowledged message visible: p50 %s, most %s; to nothing waiting to be sent: p50 %s, most %s",
		r.visible.At(0.5), r.visible.At(1), r.settled.At(0.5), r.settled.At(1))
	if worst := r.visible.At(1); worst > 50*time.Second {
		r.t.Errorf("an acknowledged message was visible only %s after a restart", worst)
	}
	if worst := r.first.At(0.99); worst > 5*time.Second {
		r.t.Errorf("after a restart the first request was accepted only after %s", worst)
	}
}

const (
	doSettle = `mutation($i:ID!,$a:Boolean!,$k:Key!){messageSettle(id:$i,arrived:$a,idempotencyKey:$k){message{id delivery} userErrors{code message}}}`
	doAgain  = `mutation($i:ID!,$k:Key!){messageSendAgain(id:$i,idempotencyKey:$k){message{id delivery} userErrors{code message}}}`
)

// settle does by hand what the program left in doubt: what the bridge has is said to have arrived; of the rest half is
// sent again and half is given up. One that arrived is sent again, too: a person may choose so.
func (r *run) settle(p *ledger.Picture) {
	r.t.Helper()
	took, _, _ := r.bridge.Taken()
	c, want, sends := r.checker.Client(), map[string]string{}, map[string]int{}
	arrived, never, again := 0, 0, 0
	for _, m := range p.Messages {
		if m.Delivery != "UNCERTAIN" {
			continue
		}
		key, have := "settle "+m.ID, took[m.ID] > 0
		if have {
			arrived++
		} else {
			never++
		}
		sends[m.ID] = took[m.ID]
		switch {
		case have && arrived == 1, !have && never%2 == 1:
			again++
			c.Must(r.t, doAgain, rig.M{"i": m.ID, "k": key})
			want[m.ID] = "SENT"
			sends[m.ID]++
		case have:
			c.Must(r.t, doSettle, rig.M{"i": m.ID, "a": true, "k": key})
			want[m.ID] = "SENT"
		default:
			c.Must(r.t, doSettle, rig.M{"i": m.ID, "a": false, "k": key})
			want[m.ID] = "FAILED"
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
	after, err := ledger.Look(context.Background(), r.checker)
	if err != nil {
		r.t.Fatal(err)
	}
	took, _, _ = r.bridge.Taken()
	for _, m := range after.Messages {
		if state := want[m.ID]; state != "" && m.Delivery != state {
			r.t.Errorf("%s is %s after it was settled, want %s", m.ID, m.Delivery, state)
		}
		if n, known := sends[m.ID]; known && took[m.ID] != n {
			r.t.Errorf("%s was settled by hand; the bridge got it %d times, want %d", m.ID, took[m.ID], n)
		}
		if m.Delivery == "UNCERTAIN" || m.Delivery == "QUEUED" || m.Delivery == "SENDING" {
			r.t.Errorf("%s is still %s", m.ID, m.Delivery)
		}
	}
}
