package kill_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

// floor is what the agent at work knows: which interactions are his.
type floor struct {
	run   *run
	login *rig.Login

	mu   sync.Mutex
	mine []string
}

const (
	askPool   = `query($a:Cursor){pool(first:100,after:$a){nodes{id state} pageInfo{hasNextPage endCursor}}}`
	doClaim   = `mutation($i:ID!,$k:Key!){interactionClaim(id:$i,idempotencyKey:$k){interaction{id state} userErrors{code message}}}`
	doSend    = `mutation($i:ID!,$t:String!,$k:Key!){messageSend(interactionId:$i,input:{text:$t},idempotencyKey:$k){message{id text} userErrors{code message}}}`
	claimRest = 60 * time.Millisecond
)

// claim takes what waits, one after the other, until the run is over.
func (f *floor) claim(ctx context.Context) {
	for n := 0; !f.run.over() && ctx.Err() == nil; {
		f.run.enter()
		got, err := f.login.Ask(ctx, askPool, nil)
		f.run.leave()
		if err != nil {
			f.run.met(err)
			rig.Pause(ctx, retryPause)
			continue
		}
		for _, i := range got.At("pool", "nodes").List() {
			n++
			if f.run.over() {
				return
			}
			// Some stay waiting, so that the pool has something to show at the end.
			if crc32.ChecksumIEEE([]byte(i.At("id").String()))%8 == 0 {
				continue
			}
			f.take(ctx, i.At("id").String(), fmt.Sprintf("claim-%d", n))
		}
		rig.Pause(ctx, claimRest)
	}
}

// take claims one; a refusal is no trouble: its state may have changed.
func (f *floor) take(ctx context.Context, id, key string) {
	got, ok := f.insist(ctx, doClaim, rig.M{"i": id, "k": key})
	if !ok || len(got.At("interactionClaim", "userErrors").List()) > 0 {
		f.run.journal.Count(&f.run.journal.Refusals)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.mine, id) {
		f.mine = append(f.mine, id)
	}
}

func (f *floor) pick(rng *rand.Rand) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.mine) == 0 {
		return ""
	}
	return f.mine[rng.IntN(len(f.mine))]
}

func (f *floor) drop(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mine = slices.DeleteFunc(f.mine, func(x string) bool { return x == id })
}

// reply writes replies until the run is over.
func (f *floor) reply(ctx context.Context, rng *rand.Rand, name string) {
	for n := 0; !f.run.over() && ctx.Err() == nil; {
		id := f.pick(rng)
		if id == "" {
			rig.Pause(ctx, 10*time.Millisecond)
			continue
		}
		n++
		key := fmt.Sprintf("%s-%d", name, n)
		text := "reply " + key
		got, ok := f.insist(ctx, doSend, rig.M{"i": id, "t": text, "k": key})
		if !ok {
			return
		}
		sent := got.At("messageSend")
		switch refused := sent.At("userErrors", 0, "code").String(); refused {
		case "":
			f.run.journal.Said(key, ledger.Said{Message: sent.At("message", "id").String(), Interaction: id, Text: text})
			if sent.At("message", "text").String() != text {
				f.run.journal.Note("key " + key + " answered with another message: " + sent.JSON())
			}
		case "WRONG_STATE": // it went back to its queue; the claimer takes it again
			f.run.journal.Count(&f.run.journal.Refusals)
			f.drop(id)
		default:
			f.run.journal.Note("messageSend: " + sent.JSON())
		}
		rig.Pause(ctx, time.Duration(rng.Int64N(int64(f.run.plan.muse)+1)))
	}
}

// insist tries a mutation with its key over restarts until there is an answer; false if the run was given up before.
func (f *floor) insist(ctx context.Context, mutation string, vars rig.M) (rig.Value, bool) {
	for ctx.Err() == nil {
		life := f.run.enter()
		got, err := f.login.Ask(ctx, mutation, vars)
		f.run.leave()
		if err == nil {
			f.run.accept(life)
			return got, true
		}
		f.run.met(err)
		rig.Pause(ctx, retryPause)
	}
	return rig.Value{}, false
}

// met tells a dead program, which is tried again, from one that is there and fails.
func (r *run) met(err error) {
	var said *rig.AnswerError
	if errors.As(err, &said) {
		r.journal.Note("answer: " + said.Text)
		return
	}
	r.journal.Count(&r.journal.Retries)
}
