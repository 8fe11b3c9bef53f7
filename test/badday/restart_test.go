package badday_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/internal/testdb"
	"tributary/test/rig"
)

// TestDatabaseRestart stops PostgreSQL in the middle of traffic, politely and by a crash, and starts it again: readiness
// turns off and on, nothing is acknowledged without a row, nothing acknowledged is lost or doubled, a reader's stream
// has no gap, and the router goes on.
func TestDatabaseRestart(t *testing.T) {
	t.Parallel()
	for _, mode := range []testdb.Mode{testdb.Fast, testdb.Immediate} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			url, server := testdb.Postgres(t)
			n := rig.Start(t, rig.Options{DatabaseURL: url})
			w := n.NewWorkspace(t)
			agent := w.NewAgent(t, "Ann", "agent")
			w.Carry(t, agent.ID, w.Profile(t, units))
			start := cursor(t, w.Admin)
			reader, offers := record(t, w.Admin, start, nil), record(t, agent.Client, start, nil)
			p := traffic(t, w)
			times := 3
			if long() {
				times = 20
			}
			for range times {
				p.outage(t, n, server, mode, w.Admin, offers)
			}
			p.end()
			p.settled(t, w, start)
			var twin []event
			for _, e := range pull(t, w.Admin, start, "") {
				twin = append(twin, asEvent(e))
			}
			report(t, causes(twin))
			reader.sameAs(t, "the reader", twin)
			figures(t, "%s: %d requests, %d refused and repeated, %d events, %d reconnects of the reader", mode,
				p.tries.Load(), p.refused.Load(), len(twin), reader.breaks)
		})
	}
}

// provider delivers as providers do: what is not acknowledged is sent again, under its old id.
type provider struct {
	t      *testing.T
	bridge *rig.Bridge
	stop   context.CancelFunc
	all    sync.WaitGroup

	tries, refused atomic.Int64
	mu             sync.Mutex
	acked          map[string]int // by text, how often it was acknowledged
}

// pace is how often each sender sends. Slower than the service can work off: else the message after an outage would stand
// behind all that was acknowledged before it, and its offer would measure the machine and not the recovery.
const pace = 100 * time.Millisecond

// traffic starts four senders of a few persons each; they send until end.
func traffic(t *testing.T, w *rig.Workspace) *provider {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	// Offers that nobody answers must not end in a break of the agent.
	queue := w.Queue(t, "", rig.M{"offerSeconds": 600})
	p := &provider{t: t, bridge: w.NewBridge(t, "", queue, nil), stop: stop, acked: map[string]int{}}
	for k := range 4 {
		p.all.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for n := 0; ctx.Err() == nil; n++ {
				<-tick.C
				id := fmt.Sprintf("m-%d-%d", k, n)
				for ctx.Err() == nil && !p.send(rig.Text(id, fmt.Sprintf("t-%d-%d", k, n%5), fmt.Sprintf("u-%d-%d", k, n%5), id)) {
					pause(ctx, 50*time.Millisecond)
				}
				if n%10 == 9 { // providers repeat themselves without a reason, too
					p.send(rig.Text(id, fmt.Sprintf("t-%d-%d", k, n%5), fmt.Sprintf("u-%d-%d", k, n%5), id))
				}
			}
		})
	}
	t.Cleanup(p.end)
	return p
}

func (p *provider) end() {
	p.stop()
	p.all.Wait()
}

// send delivers once; true if it was acknowledged. Only 503 is a fair refusal of a right request.
func (p *provider) send(e rig.M) bool {
	p.tries.Add(1)
	code, body, err := p.bridge.Deliver(context.Background(), e)
	switch {
	case err == nil && code == http.StatusOK:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.acked[e["id"].(string)]++
		return true
	case err != nil || code != http.StatusServiceUnavailable:
		p.t.Errorf("a delivery: %d %s %v", code, body, err)
	}
	p.refused.Add(1)
	return false
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

// outage stops the server while traffic flows, looks around, and starts it again.
func (p *provider) outage(t *testing.T, n *rig.Node, server *testdb.Server, mode testdb.Mode, reader *rig.Client, offers *tape) {
	t.Helper()
	had, before := p.count(), cursor(t, reader)
	rig.Eventually(t, 30*time.Second, "traffic", func() bool { return p.count() > had+40 })
	if err := server.Stop(mode); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, 20*time.Second, "/readyz says 503", func() bool { return status(n.URL+"/readyz") == http.StatusServiceUnavailable })
	had = p.count()
	for k := range 20 {
		if p.send(fresh("nobody can have stored this")) {
			t.Errorf("delivery %d was acknowledged without a database", k)
		}
	}
	if now := p.count(); now != had {
		t.Errorf("%d deliveries were acknowledged without a database", now-had)
	}
	if status(n.URL+"/healthz") != http.StatusOK {
		t.Error("/healthz tells of the database: a supervisor would kill a healthy process")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	rig.Eventually(t, 20*time.Second, "/readyz says 200", func() bool { return status(n.URL+"/readyz") == http.StatusOK })
	ready := time.Since(back)
	id := rig.Unique("after")
	e := rig.Text(id, id, id, id)
	rig.Eventually(t, 10*time.Second, "a delivery is taken again", func() bool { return p.send(e) })
	interaction := ""
	rig.Eventually(t, 10*time.Second-time.Since(back), "an offer within ten seconds", func() bool {
		if interaction == "" {
			interaction = interactionOf(t, reader, before, id)
		}
		return offers.has("OFFER_CREATED", interaction)
	})
	figures(t, "%s: ready %s after the database was back, a new message offered after %s", mode, ready.Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
}

// interactionOf finds the interaction of a message by its text, empty if the message is not there yet.
func interactionOf(t *testing.T, c *rig.Client, after, text string) string {
	t.Helper()
	for _, e := range pull(t, c, after, `subject{... on Message{text}}`, "MESSAGE_CREATED") {
		if e.At("subject", "text").String() == text {
			return e.At("interactionId").String()
		}
	}
	return ""
}

// settled waits until everything acknowledged is a message, and checks that it is one only once.
func (p *provider) settled(t *testing.T, w *rig.Workspace, start string) {
	t.Helper()
	var found []string
	t.Cleanup(func() {
		if t.Failed() {
			report(t, found)
			t.Log(w.Admin.Must(t, `{deadLetters(first:20){nodes{kind error attempts state}}}`, nil).JSON())
		}
	})
	rig.Eventually(t, 60*time.Second, "everything acknowledged is there", func() bool {
		found = found[:0]
		var stored []string
		for _, e := range pull(t, w.Admin, start, `subject{... on Message{externalId}}`, "MESSAGE_CREATED") {
			stored = append(stored, e.At("subject", "externalId").String())
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		found = account(p.acked, stored)
		return len(found) == 0
	})
	report(t, found)
}

// account compares what was acknowledged with what is stored: each once. More may be stored: an answer can get lost.
func account(acked map[string]int, stored []string) (found []string) {
	times := map[string]int{}
	for _, s := range stored {
		if times[s]++; times[s] == 2 {
			found = append(found, fmt.Sprintf("%s is stored twice", s))
		}
	}
	for id := range acked {
		if times[id] == 0 {
			found = append(found, fmt.Sprintf("%s was acknowledged and is lost", id))
		}
	}
	return found
}

// status is the state of a plain GET, 0 if there is no answer.
func status(url string) int {
	c := http.Client{Timeout: 5 * time.Second}
	res, err := c.Get(url)
	if err != nil {
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// TestAccountSees is the negative control of the accounts of messages.
func TestAccountSees(t *testing.T) {
	t.Parallel()
	report(t, account(map[string]int{"a": 2, "b": 1}, []string{"a", "b", "c"}))
	wants(t, "a lost message", account(map[string]int{"a": 1, "b": 1}, []string{"a"}))
	wants(t, "a doubled message", account(map[string]int{"a": 1}, []string{"a", "a"}))
}
