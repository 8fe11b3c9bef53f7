package nodes_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"tributary/internal/testdb"
	"tributary/test/ledger"
	"tributary/test/rig"
)

// crossing is how soon an event made at one node reaches a socket of the other when Redis is there again.
const crossing = 2 * time.Second

// TestRedisRestarts lets Redis die, come back empty and be emptied under traffic. It speeds things up and holds nothing:
// no call fails, no socket ends, nobody goes offline, no offer is taken back.
func TestRedisRestarts(t *testing.T) {
	url, server := testdb.PrivateRedis(t)
	w := open(t, steady, site{redis: url, calm: 3})
	rng := w.chance(1)
	rounds, away := 3, 2*time.Second
	if long() {
		rounds, away = 20, 45*time.Second // longer than anybody may be away
	}
	var before, without, after ledger.Times
	w.bothWays(&before)
	for range rounds {
		time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
		check(t, server.Kill())
		time.Sleep(time.Duration(rng.Int64N(int64(away))))
		without.Add(w.crosses(rng.IntN(2), slack*crossing))
		check(t, server.Start())
		w.connected()
		w.bothWays(&after)
		time.Sleep(time.Duration(rng.Int64N(int64(500 * time.Millisecond))))
		flush(t, url)
		w.bothWays(&after)
		check(t, server.Restart())
		w.connected()
		w.bothWays(&after)
		w.renew()
	}
	w.finish()
	w.allThere()
	t.Logf("FIGURE from one node to a socket of the other: with Redis p50 %s, most %s (aim %s); without p50 %s, most %s; before p50 %s",
		after.At(0.5), after.At(1), crossing, without.At(0.5), without.At(1), before.At(0.5))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) bothWays(times *ledger.Times) {
	w.t.Helper()
	for from := range 2 {
		times.Add(w.crosses(from, slack*crossing))
	}
}

// connected waits until both nodes say that they reach Redis.
func (w *world) connected() {
	w.t.Helper()
	for _, n := range w.nodes {
		rig.Eventually(w.t, slack*crossing, "the bus is connected", func() bool {
			v, err := w.checker.At(n.URL).Do(context.Background(), `{health{bus busConnected}}`, nil)
			h := must(w.t)(rig.Whole(must(w.t)(v, err))).At("health")
			return h.At("bus").String() == "redis" && h.At("busConnected").Bool()
		})
	}
}

// flush empties the server.
func flush(t *testing.T, url string) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "redis://"))
	check(t, err)
	defer conn.Close()
	_, err = fmt.Fprint(conn, "FLUSHALL\r\n")
	check(t, err)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || answer != "+OK\r\n" {
		t.Fatalf("FLUSHALL: %q %v", answer, err)
	}
}

// allThere: every agent has the status that he set, and no offer ended but by its agent's own word.
func (w *world) allThere() {
	w.t.Helper()
	for _, a := range w.agents {
		v := must(w.t)(w.checker.Ask(context.Background(), `query($i:ID!){agent(id:$i){status{state}}}`, rig.M{"i": a.login.ID}))
		if state := v.At("agent", "status", "state").String(); state != "AVAILABLE" {
			w.t.Errorf("%s is %q", a.stream.name, state)
		}
	}
	log, _, err := ledger.Twin(context.Background(), w.checker, w.start)
	check(w.t, err)
	closed := 0
	for _, e := range log {
		switch e.Type {
		case "OFFER_CLOSED":
			closed++
			v := must(w.t)(w.checker.Ask(context.Background(), `query($i:ID!){offer(id:$i){state outcome}}`, rig.M{"i": e.Subject}))
			if o := v.At("offer"); o.At("state").String() != "ACCEPTED" && o.At("state").String() != "DECLINED" {
				w.t.Errorf("offer %s ended as %s", e.Subject, o.JSON())
			}
		}
	}
	if closed == 0 {
		w.t.Error("void: no offer was answered")
	}
}
