package nodes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

const (
	doAccept  = `mutation($o:ID!,$k:Key!){offerAccept(id:$o,idempotencyKey:$k){offer{id state interaction{id}} userErrors{code message}}}`
	doDecline = `mutation($o:ID!,$k:Key!){offerDecline(id:$o,idempotencyKey:$k){offer{id state} userErrors{code message}}}`
	doSend    = `mutation($i:ID!,$t:String!,$k:Key!){messageSend(interactionId:$i,input:{text:$t},idempotencyKey:$k){message{id text} userErrors{code message}}}`
)

// agent is at one node with his socket, is offered work, takes most of it, and answers.
type agent struct {
	world  *world
	login  *rig.Login
	stream *stream
	offers chan string

	mu       sync.Mutex
	mine     []string          // interactions
	accepted map[string]string // acknowledged: interaction by offer
	asked    map[string]bool   // offers that he heard of
}

func newAgent(w *world, work *rig.Workspace, n int) *agent {
	name := fmt.Sprintf("Agent%d", n)
	a := &agent{world: w, login: w.login(work, name, "agent"), offers: make(chan string, 10_000), accepted: map[string]string{}, asked: map[string]bool{}}
	(&rig.Agent{Client: a.login.Client()}).SetStatus(w.t, "AVAILABLE")
	a.stream = &stream{world: w, name: name, login: a.login, scope: "MINE", node: n % 2, heard: a.heard}
	return a
}

func (a *agent) heard(e rig.Value) {
	if e.At("type").String() != "OFFER_CREATED" {
		return
	}
	id := e.At("subjectId").String()
	a.mu.Lock()
	known := a.asked[id]
	a.asked[id] = true
	a.mu.Unlock()
	if !known {
		a.offers <- id
	}
}

// answer accepts what is offered, or now and then declines.
func (a *agent) answer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-a.offers:
			if crc32.ChecksumIEEE([]byte(id))%10 == 0 {
				a.call(ctx, doDecline, id, "decline ", "offerDecline")
				continue
			}
			if v, done := a.call(ctx, doAccept, id, "accept ", "offerAccept"); done {
				a.took(id, v.At("offerAccept", "offer", "interaction", "id").String())
			}
		}
	}
}

// call answers an offer; a refusal is no trouble: it may have been withdrawn.
func (a *agent) call(ctx context.Context, mutation, offer, key, name string) (rig.Value, bool) {
	node, _ := a.stream.connected()
	v, answered := a.world.insist(ctx, a.login, node, mutation, rig.M{"o": offer, "k": key + offer})
	if !answered {
		return v, false
	}
	if e := v.At(name, "userErrors"); len(e.List()) > 0 {
		a.world.journal.Count(&a.world.journal.Refusals)
		return v, false
	}
	return v, true
}

func (a *agent) took(offer, interaction string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accepted[offer] = interaction
	if !slices.Contains(a.mine, interaction) {
		a.mine = append(a.mine, interaction)
	}
}

func (a *agent) pick(rng *rand.Rand) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.mine) == 0 {
		return ""
	}
	return a.mine[rng.IntN(len(a.mine))]
}

func (a *agent) drop(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mine = slices.DeleteFunc(a.mine, func(x string) bool { return x == id })
}

// reply writes until there is no more traffic.
func (a *agent) reply(ctx context.Context, rng *rand.Rand) {
	for n := 0; !a.world.stop.Load() && ctx.Err() == nil; {
		rig.Pause(ctx, time.Duration(rng.Int64N(int64(a.world.rest))))
		id := a.pick(rng)
		if id == "" {
			continue
		}
		n++
		key := fmt.Sprintf("%s-%d", a.stream.name, n)
		text := "reply " + key
		node, _ := a.stream.connected()
		v, answered := a.world.insist(ctx, a.login, node, doSend, rig.M{"i": id, "t": text, "k": key})
		if !answered {
			return
		}
		sent := v.At("messageSend")
		switch refused := sent.At("userErrors", 0, "code").String(); refused {
		case "":
			a.world.journal.Said(key, ledger.Said{Message: sent.At("message", "id").String(), Interaction: id, Text: text})
		case "WRONG_STATE", "SERVED_BY_OTHERS", "NOT_FOUND": // it went back to its queue, perhaps to another
			a.world.journal.Count(&a.world.journal.Refusals)
			a.drop(id)
		default:
			a.world.journal.Note("messageSend: " + sent.JSON())
		}
	}
}

// provider delivers for its customers, each message until it is acknowledged, and replays some.
type provider struct {
	world *world
	name  string
	rng   *rand.Rand
	next  map[string]int // messages by thread
	all   []string       // threads
	past  [][]byte
	again sync.WaitGroup
}

func (p *provider) work(ctx context.Context) {
	defer p.again.Wait()
	for !p.world.stop.Load() && ctx.Err() == nil {
		p.one(ctx)
		rig.Pause(ctx, time.Duration(p.rng.Int64N(int64(p.world.rest))))
	}
}

// thread is a new customer's now and then, else one of those that are there.
func (p *provider) thread() string {
	if len(p.all) < 5 || p.rng.IntN(100) < 12 {
		p.all = append(p.all, fmt.Sprintf("%st%d", p.name, len(p.all)))
		return p.all[len(p.all)-1]
	}
	return p.all[p.rng.IntN(len(p.all))]
}

func (p *provider) one(ctx context.Context) {
	events, fresh := []rig.M{}, map[string]ledger.Heard{}
	for range 1 + p.rng.IntN(3) {
		thread := p.thread()
		p.next[thread]++
		id := fmt.Sprintf("e-%s-%d", thread, p.next[thread])
		fresh[id] = ledger.Heard{Thread: thread, Seq: p.next[thread]}
		events = append(events, rig.Text(id, thread, "u-"+thread, "word "+id))
	}
	raw, err := json.Marshal(rig.M{"events": events})
	if err != nil {
		p.world.journal.Note(err.Error())
		return
	}
	if p.rng.IntN(100) < 2 { // the same at the same moment at the other node: platforms with several senders do that
		p.replay(ctx, 1, raw)
	}
	if !p.world.post(ctx, p.rng.IntN(2), raw) {
		return
	}
	for id, h := range fresh {
		p.world.journal.Heard(id, h)
	}
	if p.past = append(p.past, raw); p.rng.IntN(100) < 5 {
		p.replay(ctx, p.rng.IntN(2), p.past[p.rng.IntN(len(p.past))])
	}
}

func (p *provider) replay(ctx context.Context, node int, raw []byte) {
	p.world.journal.Count(&p.world.journal.Replays)
	p.again.Go(func() { p.world.post(ctx, node, raw) })
}
