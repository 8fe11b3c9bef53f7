package kill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

// retryPause is how long a caller waits before it tries again: short, so that the first accept after a restart is seen
// when it is possible.
const retryPause = 4 * time.Millisecond

// provider is one goroutine of the platform: it owns threads, delivers their messages in order, each until it is
// acknowledged, and now and then delivers one again that was acknowledged before.
type provider struct {
	run     *run
	rng     *rand.Rand
	threads []string
	next    map[string]int
	past    [][]byte // bodies that were acknowledged
	again   sync.WaitGroup
}

func (p *provider) work(ctx context.Context) {
	defer p.again.Wait()
	for !p.run.over() && ctx.Err() == nil {
		p.run.busy.Add(1) // before the look: who sees nobody busy may count on it
		if p.run.calm.Load() {
			p.run.busy.Add(-1)
			rig.Pause(ctx, 10*time.Millisecond)
			continue
		}
		p.one(ctx)
		p.run.busy.Add(-1)
		rest := p.run.plan.think
		if !p.run.storm.Load() {
			rest *= 6
		}
		rig.Pause(ctx, time.Duration(p.rng.Int64N(int64(rest)+1)))
	}
}

// size is how many events a request brings. Before a rest the platform delivers what it has held back, and the kill
// meets the taking in; in other lives it delivers little, and the kill meets the sending: with one writer at a time
// (SQLite) either would else leave no time for the other between two kills.
func (p *provider) size() int {
	if p.run.storm.Load() {
		return 10 + p.rng.IntN(40)
	}
	return 1 + p.rng.IntN(2)
}

// one delivers one request: an event, or now and then a few.
func (p *provider) one(ctx context.Context) {
	n := p.size()
	fresh := map[string]ledger.Heard{}
	events := make([]rig.M, n)
	for i := range events {
		thread := p.threads[p.rng.IntN(len(p.threads))]
		p.next[thread]++
		id := fmt.Sprintf("e-%s-%d", thread, p.next[thread])
		fresh[id] = ledger.Heard{Thread: thread, Seq: p.next[thread]}
		events[i] = rig.Text(id, thread, customerOf(thread), "word "+id)
	}
	var body any = events[0]
	if n > 1 {
		body = rig.M{"events": events}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		p.run.journal.Note(err.Error())
		return
	}
	// The same body at the same moment from elsewhere: platforms with several senders do that.
	copies := p.run.plan.parallel
	if copies == 0 && p.rng.IntN(100) < 2 {
		copies = 1
	}
	for range copies {
		p.replay(ctx, raw)
	}
	if !p.deliver(ctx, raw) {
		return
	}
	for id, h := range fresh {
		p.run.journal.Heard(id, h)
	}
	p.remember(raw)
	if p.rng.IntN(100) < 5 {
		p.replay(ctx, p.past[p.rng.IntN(len(p.past))])
	}
}

// remember keeps bodies for replays, bounded.
func (p *provider) remember(raw []byte) {
	if len(p.past) < 500 {
		p.past = append(p.past, raw)
		return
	}
	p.past[p.rng.IntN(len(p.past))] = raw
}

func (p *provider) replay(ctx context.Context, raw []byte) {
	p.run.journal.Count(&p.run.journal.Replays)
	p.run.busy.Add(1)
	p.again.Go(func() {
		defer p.run.busy.Add(-1)
		p.deliver(ctx, raw)
	})
}

// deliver posts a body until it is acknowledged; false if the run was given up before.
func (p *provider) deliver(ctx context.Context, raw []byte) bool {
	for ctx.Err() == nil {
		life := p.run.life.Load()
		code, text, err := p.run.hook.Post(ctx, raw)
		switch {
		case err != nil || code == http.StatusServiceUnavailable:
			p.run.journal.Count(&p.run.journal.Retries)
		case code == http.StatusOK:
			if !p.run.plan.proxied {
				p.run.accept(life)
			}
			return true
		default:
			p.run.journal.Note(fmt.Sprintf("web hook: %d %s", code, text))
		}
		rig.Pause(ctx, retryPause)
	}
	return false
}

// customerOf gives every fifth pair of threads to one customer: the second thread joins the first one's conversation.
func customerOf(thread string) string {
	var n int
	if _, err := fmt.Sscanf(thread, "t%d", &n); err == nil && n%10 == 1 {
		n--
	}
	return fmt.Sprintf("u%d", n)
}
