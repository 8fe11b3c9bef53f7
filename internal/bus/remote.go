package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// Options are what a bus between nodes needs.
type Options struct {
	URL    string       // of the server
	Prefix string       // tells installations on one server apart; "tributary" where empty
	Log    *slog.Logger // the default logger where nil
}

// State says whether wake-ups pass between nodes.
type State struct {
	Connected bool
	Since     time.Time // when it became so
}

// Remote is the bus of several nodes. Listeners of this node hear an announcement at once; it goes to the others by the
// connection that Run keeps.
//
// What was announced while the server was away is kept, the newest number of each place, and sent when it is back. What
// others announced meanwhile is gone; so after every connection all listeners are told that something may have been
// missed.
type Remote struct {
	hub
	connect func(ctx context.Context) (link, error)
	log     *slog.Logger
	tag     string // tells our own payloads from those of others
	pace    pace
	// out holds what is not yet sent. It has the bounds and the rules of every listener, and only Announce fills it.
	out *Listener
	// quiet: this outage has been logged. Only Run's goroutine looks.
	quiet bool

	mu    sync.Mutex
	state State
}

var _ Bus = (*Remote)(nil)

// link is one connection: subscribed when it is made, of no more use after the first error.
type link interface {
	// receive hands on each payload, our own too, until the link is dead or closed.
	receive(ctx context.Context, hand func(payload string)) error
	// send publishes; after an error nobody knows which of them have arrived.
	send(ctx context.Context, payloads []string) error
	// ping fails, or makes receive fail, when the server does not answer.
	ping(ctx context.Context) error
	// close ends receive.
	close()
}

// pace is how soon a silent death is noticed and how soon another connection is tried.
type pace struct {
	pulse    time.Duration // between two pings
	patience time.Duration // for one answer
	least    time.Duration // pause before the next connection, doubled each time …
	most     time.Duration // … up to this
}

var usual = pace{pulse: 500 * time.Millisecond, patience: time.Second, least: 50 * time.Millisecond, most: time.Second}

func newRemote(log *slog.Logger) *Remote {
	if log == nil {
		log = slog.Default()
	}
	return &Remote{
		log: log, pace: usual, out: newListener(nil, nil), state: State{Since: time.Now()},
		tag: strconv.FormatUint(rand.Uint64(), 36),
	}
}

// Announce tells the listeners of this process at once, and those of other nodes as soon as the connection allows. It
// never waits for the network.
func (r *Remote) Announce(n Note) {
	r.deliver(n)
	r.out.put(n)
}

// Listen begins to listen; without a topic, to all.
func (r *Remote) Listen(topics ...Topic) *Listener { return r.listen(topics) }

// State tells since when the connection is there or away.
func (r *Remote) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Run keeps the connection until ctx ends, then sends what waits and returns nil within a few seconds. A server that is
// away is no error: the log says so once, and once when it is back.
func (r *Remote) Run(ctx context.Context) error {
	pause := r.pace.least
	for ctx.Err() == nil {
		began := time.Now()
		r.down(ctx, r.session(ctx))
		if time.Since(began) > r.pace.most {
			pause = r.pace.least
		}
		// Nodes that lost the same server do not come back at the same moment.
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, r.pace.most)
	}
	return nil
}

// session is the life of one connection.
func (r *Remote) session(ctx context.Context) error {
	l, err := r.connect(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	dead := make(chan struct{})
	var deaf error
	go func() {
		defer close(dead)
		deaf = l.receive(ctx, r.hear)
	}()
	err = r.speak(ctx, l, dead)
	l.close()
	<-dead
	if errors.Is(err, errDeaf) {
		return fmt.Errorf("receive: %w", deaf)
	}
	return err
}

// errDeaf means that receive has the reason.
var errDeaf = errors.New("the subscription is dead")

// speak sends until the link is dead or ctx ends.
func (r *Remote) speak(ctx context.Context, l link, dead <-chan struct{}) error {
	// Empty, but proof that we may send: a server that lets us only listen counts as away.
	if err := r.send(ctx, l, nil, false); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	r.up(ctx)
	pulse := time.NewTicker(r.pace.pulse)
	defer pulse.Stop()
	for {
		select {
		case <-ctx.Done():
			return r.flush(ctx, l)
		case <-dead:
			return errDeaf
		case <-pulse.C:
			if err := r.ping(ctx, l); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		case <-r.out.C():
			if err := r.flush(ctx, l); err != nil {
				return fmt.Errorf("send: %w", err)
			}
		}
	}
}

// flush sends what waits; what could not be sent waits again.
func (r *Remote) flush(ctx context.Context, l link) error {
	notes, missed := r.out.Take()
	if len(notes) == 0 && !missed {
		return nil
	}
	err := r.send(ctx, l, notes, missed)
	if err != nil {
		for k, seq := range notes {
			r.out.put(Note{k.Topic, k.Workspace, seq})
		}
		if missed {
			r.out.lose()
		}
	}
	return err
}

// send is not cut short by the end of ctx: the last words are the news of what this node has just committed.
func (r *Remote) send(ctx context.Context, l link, notes map[Key]int64, missed bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.pace.patience)
	defer cancel()
	return l.send(ctx, encode(r.tag, notes, missed))
}

func (r *Remote) ping(ctx context.Context, l link) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.pace.patience)
	defer cancel()
	return l.ping(ctx)
}

// hear delivers what another node has said.
func (r *Remote) hear(payload string) {
	p, err := decode(payload)
	if err != nil {
		r.log.Debug("bus: ignored a payload", "bytes", len(payload), "err", err)
		return
	}
	if p.from == r.tag {
		return
	}
	if p.missed {
		r.lose()
	}
	for _, n := range p.notes {
		r.deliver(n)
	}
}

// up says that the connection is there, and that nobody knows what was announced before.
func (r *Remote) up(ctx context.Context) {
	r.lose()
	if before := r.become(true); r.quiet {
		r.quiet = false
		r.log.InfoContext(ctx, "bus: nodes hear each other again", "away", time.Since(before.Since).Round(time.Millisecond))
	}
}

// down says once that the connection is away. The end of Run is nothing to tell.
func (r *Remote) down(ctx context.Context, err error) {
	r.become(false)
	if !r.quiet && ctx.Err() == nil {
		r.quiet = true
		r.log.WarnContext(ctx, "bus: nodes do not hear each other, polling goes on", "err", err)
	}
}

// become changes the state and gives the one before.
func (r *Remote) become(connected bool) State {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.state
	if before.Connected != connected {
		r.state = State{Connected: connected, Since: time.Now()}
	}
	return before
}
