package telephony

import (
	"context"
	"errors"
	"sync"
	"time"

	"tributary/channels/voice"
)

func isStale(err error) bool { return errors.Is(err, voice.ErrStale) }

func isFinal(err error) bool {
	return errors.Is(err, voice.ErrStale) || errors.Is(err, voice.ErrRefused)
}

// reporter tells the desk the facts of one call, in order, each until it is stored. Its goroutine lives while there is
// something to tell.
type reporter struct {
	c      *call
	mu     sync.Mutex
	queue  []pendingFact
	number int
	runs   bool
	closed bool
}

type pendingFact struct {
	fact voice.Fact
	then func(voice.Answer, error)
}

func newReporter(c *call) *reporter { return &reporter{c: c} }

// maxFacts bounds what waits to be told; keys beyond it are not told.
const maxFacts = 1000

// add numbers a fact and queues it. then is posted to the call.
func (r *reporter) add(f voice.Fact, then func(voice.Answer, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.Kind == voice.Digit && len(r.queue) >= maxFacts {
		go r.c.post(func() { then(voice.Answer{}, nil) })
		return
	}
	r.number++
	f.Number = r.number
	r.queue = append(r.queue, pendingFact{f, then})
	if !r.runs && !r.closed {
		r.runs = true
		go r.run()
	}
}

// after runs f when all that was told so far is stored, in a goroutine of the reporter's.
func (r *reporter) after(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.runs {
		go f()
		return
	}
	r.queue = append(r.queue, pendingFact{then: func(voice.Answer, error) { f() }})
}

func (r *reporter) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
}

func (r *reporter) next() (pendingFact, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		r.runs = false
		return pendingFact{}, false
	}
	p := r.queue[0]
	r.queue = r.queue[1:]
	return p, true
}

func (r *reporter) run() {
	for {
		p, more := r.next()
		if !more {
			return
		}
		if p.fact.Kind == "" { // nothing to tell: who waits for the others
			go p.then(voice.Answer{}, nil)
			continue
		}
		a, err := r.tell(p.fact)
		r.c.post(func() { p.then(a, err) })
	}
}

// patience is how long a fact is tried. A database that is away longer than that has lost the call by its lease anyway.
const patience = 10 * time.Minute

// tell tries until the desk has stored it or says no for good.
func (r *reporter) tell(f voice.Fact) (voice.Answer, error) {
	give, cancel := context.WithTimeout(r.c.ctx, patience)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		ctx, done := context.WithTimeout(give, deskWait)
		a, err := r.c.x.Desk.Report(ctx, f)
		done()
		if err == nil || isFinal(err) {
			return a, err
		}
		r.c.x.Log.WarnContext(give, "report a fact", "call", f.Call, "fact", f.Kind, "error", err)
		select {
		case <-give.Done():
			return a, err
		case <-time.After(wait):
		}
	}
}
