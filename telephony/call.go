package telephony

import (
	"context"
	"log/slog"
	"time"

	"tributary/channels/voice"
)

// call is one call. Its goroutine owns every field but the channels; others post.
type call struct {
	x      *Exchange
	log    *slog.Logger
	inbox  chan func()
	done   chan struct{}   // closed when nothing is executed any more
	ctx    context.Context //nolint:containedctx // the life of the call
	cancel context.CancelFunc
	begun  time.Time

	id       voice.ID // empty until the desk has named it
	version  int
	customer *leg
	legs     map[voice.ID]*leg // with the customer's
	agent    *leg              // admitted by the desk; nil: nobody speaks with the customer
	plan     *voice.Flow       // what follows when he is answered
	flow     *flowRun
	queued   bool
	waiting  *voice.Sound
	dialling *voice.DialOrder // outbound: what follows when the agent's leg is up
	tape     *tape
	tapes    int
	report   *reporter
	tasks    int // facts and recordings under way: a call that is over waits for them
	over     bool
	everUp   bool // an agent spoke with the customer
}

// inboxSize bounds what waits for a call. A sender waits: what was seen must not be lost.
const inboxSize = 64

// newCall begins one; nil: the node ends.
func (x *Exchange) newCall() *call {
	if !x.begin() {
		return nil
	}
	ctx, cancel := context.WithCancel(x.ctx)
	c := &call{
		x: x, log: x.Log, inbox: make(chan func(), inboxSize), done: make(chan struct{}), ctx: ctx, cancel: cancel,
		begun: x.Now(), legs: map[voice.ID]*leg{},
	}
	c.report = newReporter(c)
	x.mu.Lock()
	x.greeting[c] = true
	x.mu.Unlock()
	go c.run()
	return c
}

// run executes what is posted until the call is over and all of it is told.
func (c *call) run() {
	defer c.x.live.Done()
	defer c.gone()
	for {
		select {
		case f := <-c.inbox:
			f()
		case <-c.ctx.Done():
			c.abort()
			return
		}
		if c.over && c.tasks == 0 {
			return
		}
	}
}

// gone forgets the call, and lets nobody wait for it.
func (c *call) gone() {
	c.x.mu.Lock()
	delete(c.x.greeting, c)
	if c.id != "" && c.x.calls[c.id] == c {
		delete(c.x.calls, c.id)
	}
	c.x.mu.Unlock()
	c.cancel()
	close(c.done)
	c.report.close()
}

// abort is the end without a word to the desk: the node ends and its time is over. The desk finds the call by its lease.
func (c *call) abort() {
	for _, l := range c.legs {
		l.close("the node ends")
	}
	if c.customer != nil {
		c.customer.close("the node ends")
	}
	if c.tape != nil {
		c.tape.abandon()
	}
}

// post hands f to the call's goroutine; false: the call is gone and f will not run.
func (c *call) post(f func()) bool {
	select {
	case <-c.done:
		return false
	default:
	}
	select {
	case c.inbox <- f:
		return true
	case <-c.done:
		return false
	}
}

// ask runs f in the call's goroutine and waits for it.
func ask[T any](ctx context.Context, c *call, f func() (T, error)) (T, error) {
	type reply struct {
		v   T
		err error
	}
	got := make(chan reply, 1)
	var none T
	if !c.post(func() { v, err := f(); got <- reply{v, err} }) {
		return none, voice.ErrNoCall
	}
	select {
	case r := <-got:
		return r.v, r.err
	case <-c.done:
		select { // it may have been the last thing that it did
		case r := <-got:
			return r.v, r.err
		default:
			return none, voice.ErrNoCall
		}
	case <-ctx.Done():
		return none, voice.ErrUnreachable
	}
}

// named takes the call's id in; from now on verbs find it.
func (c *call) named(id voice.ID, version int) {
	c.id, c.version = id, version
	c.log = c.x.Log.With("call", id)
	c.x.mu.Lock()
	delete(c.x.greeting, c)
	c.x.calls[id] = c
	c.x.mu.Unlock()
}

// tell reports a fact; then runs in the call's goroutine with what the desk said. A call that the desk has not named has
// nothing to tell.
func (c *call) tell(f voice.Fact, then func(voice.Answer, error)) {
	if c.id == "" {
		return
	}
	f.Call, f.Node, f.Epoch, f.At = c.id, c.x.Node, c.x.Epoch, c.x.Now()
	c.tasks++
	c.report.add(f, func(a voice.Answer, err error) {
		c.tasks--
		c.version = max(c.version, a.Version)
		if isStale(err) && !c.over {
			c.log.Warn("the call belongs to another epoch by now", "fact", f.Kind)
			c.finish(voice.Failed, 0)
		}
		if a.Waiting != nil {
			c.waiting = a.Waiting
		}
		if then != nil {
			then(a, err)
		}
	})
}

// mix makes everybody hear what the state of the call says. It may be called at any time, and changes nothing twice.
func (c *call) mix() {
	k, a := c.customer, c.agent
	if c.over || k == nil {
		return
	}
	talking := a != nil && a.link != nil && k.up
	held := talking && (a.held() || k.held())
	if !talking || held {
		c.part(a)
	}
	switch {
	case talking && !held:
		c.join(k, a)
	case !k.up: // a call of ours that is not answered yet: the agent hears it ring
		if a != nil {
			c.ringback(a)
		}
	case c.flow != nil, k.remoteHeld:
		// The flow plays by itself; who holds us hears his own music.
	default:
		k.play(c, orBuiltIn(c.waiting, voice.SoundWaiting), true, nil)
	}
}

// join lets the two hear each other, and the tape both.
func (c *call) join(k, a *leg) {
	k.hush()
	a.hush()
	left, right := c.tape.sinks()
	k.forward(a.link, left)
	a.forward(k.link, right)
}

// part lets nobody hear anybody.
func (c *call) part(a *leg) {
	if c.customer.link != nil {
		c.customer.forward(nil, nil)
	}
	if a != nil && a.link != nil {
		a.forward(nil, nil)
	}
}

// finish ends the call for all, once, and reports it.
func (c *call) finish(cause voice.Cause, code int) {
	if c.over {
		return
	}
	c.over = true
	c.stopFlow()
	f := voice.Fact{Kind: voice.Ended, Cause: cause, Code: code, Quality: c.quality()}
	for _, l := range c.legs {
		l.close(string(cause))
	}
	if c.customer != nil {
		c.customer.close(string(cause))
	}
	c.agent = nil
	c.stopTape()
	c.tell(f, nil)
}

func (c *call) quality() *voice.Quality {
	if c.customer == nil || c.customer.link == nil {
		return nil
	}
	s := c.customer.link.Stats()
	q := &voice.Quality{Packets: s.Received, JitterMs: float64(s.Jitter) / float64(time.Millisecond)}
	if all := s.Received + s.Lost; all > 0 {
		q.LossRate = float64(s.Lost) / float64(all)
	}
	return q
}

// conform makes the call as the desk wants it. What is older than what the call knows already says nothing.
func (c *call) conform(w voice.Wanted) {
	if c.over || w.Version < c.version {
		return
	}
	c.version = w.Version
	if w.Over {
		c.finish(orCause(w.Cause, voice.AgentHungUp), 0)
		return
	}
	may := map[voice.ID]bool{}
	for _, id := range w.Legs {
		may[id] = true
	}
	for id, l := range c.legs {
		if l != c.customer && !may[id] {
			c.drop(l, voice.Dropped, 0)
		}
	}
}

// drop ends an agent's leg while the call goes on. Left is told of one that was admitted, Missed of one that never was.
func (c *call) drop(l *leg, cause voice.Cause, code int) {
	if l.closed {
		return
	}
	kind := voice.Missed
	if l.admitted {
		kind = voice.Left
	}
	c.forget(l, cause)
	c.tell(voice.Fact{Kind: kind, Leg: l.id, Cause: cause, Code: code}, nil)
	if c.dialling != nil && !c.everUp {
		c.finish(cause, code) // a call of ours whose agent is gone before it began
		return
	}
	c.mix()
}

// forget ends an agent's leg without a word.
func (c *call) forget(l *leg, cause voice.Cause) {
	l.close(string(cause))
	delete(c.legs, l.id)
	if c.agent == l {
		c.agent = nil
		c.stopTape()
	}
}

func orCause(c, otherwise voice.Cause) voice.Cause {
	if c == "" {
		return otherwise
	}
	return c
}

func orBuiltIn(s *voice.Sound, name string) voice.Sound {
	if s == nil {
		return voice.Sound{Name: name}
	}
	return *s
}

// ringback lets the agent hear that the customer's phone rings, unless the far end sends its own.
func (c *call) ringback(a *leg) {
	if c.customer.early || a.link == nil {
		return
	}
	a.play(c, voice.Sound{Name: voice.SoundRingback}, true, nil)
}
