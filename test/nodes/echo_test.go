package nodes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

// echo tells when a message that was delivered at one node is seen on a socket of the other.
type echo struct {
	mu      sync.Mutex
	serial  int
	waiting map[string]chan time.Time // by watcher and external id
}

func (x *echo) saw(watcher int, e rig.Value) {
	if e.At("type").String() != "MESSAGE_CREATED" {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	key := fmt.Sprint(watcher, e.At("subject", "externalId").String())
	if c := x.waiting[key]; c != nil {
		c <- time.Now()
		delete(x.waiting, key)
	}
}

func (x *echo) next(watcher int) (thread, id string, seen <-chan time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.serial++
	thread = fmt.Sprintf("probe%d", x.serial)
	id = "e-" + thread + "-1"
	c := make(chan time.Time, 1)
	if x.waiting == nil {
		x.waiting = map[string]chan time.Time{}
	}
	x.waiting[fmt.Sprint(watcher, id)] = c
	return thread, id, c
}

// crosses delivers a message at a node and returns how long it took from there to a socket of the other one.
func (w *world) crosses(from int, deadline time.Duration) time.Duration {
	w.t.Helper()
	to := 1 - from
	rig.Eventually(w.t, time.Minute, "somebody watches at the other node", func() bool {
		node, open := w.streams[to].connected()
		return open && node == to
	})
	thread, id, seen := w.echo.next(to)
	raw, err := json.Marshal(rig.Text(id, thread, "u-"+thread, "word "+id))
	if err != nil {
		w.t.Fatal(err)
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	code, text, err := w.hooks[from].Post(ctx, raw)
	if err != nil || code != 200 {
		w.t.Fatalf("deliver a message: %d %s %v", code, text, err)
	}
	w.journal.Heard(id, ledger.Heard{Thread: thread, Seq: 1})
	select {
	case at := <-seen:
		return at.Sub(began)
	case <-ctx.Done():
		w.t.Fatalf("KILL_SEED=%d: a message delivered at node %d was not seen at the other within %s", w.seed, from, deadline)
		return 0
	}
}
