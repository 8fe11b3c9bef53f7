// Package telephony runs calls: legs, the bridge between them, the flow before it. It decides nothing about customers,
// queues or rights: it asks desk through voice.Desk, reports facts in order, and obeys the verbs of voice.Switchboard.
//
// A call is a machine in memory on the node where it landed. One goroutine owns the call, one reports its facts, and one
// watches each leg; they speak by closures in the call's inbox. SIP is in gate, sound in media, WebRTC in browser.
package telephony

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"tributary/channels/voice"
	"tributary/internal/blob"
	"tributary/telephony/gate"
	"tributary/telephony/media"
)

// Port is the sound of a SIP leg with its description; media.Port is one.
type Port interface {
	media.Link
	// Offer is ours; Answer takes theirs, the first or a later one; Accept takes their answer to ours.
	Offer() []byte
	Answer(offer []byte) ([]byte, error)
	Accept(answer []byte) error
	// RemoteHolds: the far end put us on hold.
	RemoteHolds() bool
}

// Browser is the sound of a WebRTC leg; browser.Peer is one.
type Browser interface {
	media.Link
	// Renew takes a new offer of the same browser.
	Renew(ctx context.Context, sdpOffer string) (sdpAnswer string, err error)
}

// Lines makes SIP dialogs; gate.Gate does.
type Lines interface {
	DialTrunk(ctx context.Context, trunk voice.ID, o gate.Outgoing) (gate.Dialog, error)
	DialPhone(ctx context.Context, r voice.Registration, o gate.Outgoing) (gate.Dialog, error)
}

// Files is what is needed of the blob store.
type Files interface {
	Put(ctx context.Context, key string, r io.Reader, maxBytes int64) (blob.Info, error)
	Get(ctx context.Context, key string) (io.ReadSeekCloser, blob.Info, error)
}

// Config is what an Exchange stands on. All members but Ask are needed.
type Config struct {
	// Node and Epoch name this life of this process.
	Node  string
	Epoch int64
	Desk  voice.Desk
	Lines Lines
	Files Files
	// Port makes the sound of a SIP leg, which offers the preferred codec first; nil: this node has none, and refuses calls.
	Port func(prefer media.Codec) (Port, error)
	// Browser answers a browser's offer; nil: as Port.
	Browser func(ctx context.Context, sdpOffer string, prefer media.Codec) (Browser, string, error)
	// Ask asks another node by its name; nil: there is none. Its errors are voice's and passing ones.
	Ask func(ctx context.Context, node, method string, in, out any) error
	// Folder holds recordings while they are made.
	Folder string
	// BackWithin is how long a browser whose connection is gone may take until its offer of new media; then the customer waits
	// for the next agent. 0: DefaultBackWithin.
	BackWithin time.Duration
	Log        *slog.Logger
	Now        func() time.Time
}

// Exchange holds the calls of this node.
type Exchange struct {
	Config
	clips clips

	mu    sync.Mutex
	calls map[voice.ID]*call
	// greeting are calls that the desk has not named yet.
	greeting map[*call]bool
	closed   bool // no more calls begin
	distant  distant
	ctx      context.Context //nolint:containedctx // the life of the calls, which no caller's context is
	stop     context.CancelCauseFunc
	live     sync.WaitGroup
}

// errStopped is why calls end with their node.
var errStopped = errors.New("the node ends")

// New makes an Exchange without calls. Run it, and give Incoming what comes.
func New(ctx context.Context, c Config) *Exchange {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.BackWithin <= 0 {
		c.BackWithin = DefaultBackWithin
	}
	if c.Port == nil {
		c.Port = func(media.Codec) (Port, error) { return nil, voice.ErrUnreachable }
	}
	if c.Browser == nil {
		c.Browser = func(context.Context, string, media.Codec) (Browser, string, error) {
			return nil, "", voice.ErrUnreachable
		}
	}
	x := &Exchange{Config: c, calls: map[voice.ID]*call{}, greeting: map[*call]bool{}}
	x.clips.files = c.Files
	x.distant = newDistant(x)
	x.ctx, x.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	return x
}

// Times of the exchange's own work.
const (
	pulseEvery = 2 * time.Second
	deskWait   = 5 * time.Second
	// hangUpGrace is how long calls have at the node's end to say goodbye and to report it.
	hangUpGrace = 5 * time.Second
)

// Run beats for the node's calls until ctx ends, then hangs them up and waits for their last facts.
func (x *Exchange) Run(ctx context.Context) error {
	defer x.stop(errStopped)
	x.keepOldRecordings()
	t := time.NewTicker(pulseEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			x.hangUpAll()
			return nil
		case <-t.C:
			if err := x.pulse(ctx); err != nil && ctx.Err() == nil {
				x.Log.WarnContext(ctx, "beat for calls", "error", err)
			}
			x.distant.check(ctx)
		}
	}
}

// hangUpAll ends every call and waits for the last facts, a bounded time.
func (x *Exchange) hangUpAll() {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	for _, c := range x.all() {
		c.post(func() { c.finish(voice.Failed, 0) })
	}
	gone := make(chan struct{})
	go func() { x.live.Wait(); close(gone) }()
	late := time.NewTimer(hangUpGrace)
	defer late.Stop()
	select {
	case <-gone:
	case <-late.C:
		x.stop(errStopped)
		<-gone
	}
}

// begin counts one more thing that Run waits for, unless the node ends.
func (x *Exchange) begin() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	x.live.Add(1)
	return true
}

func (x *Exchange) all() []*call {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make([]*call, 0, len(x.calls)+len(x.greeting))
	for _, c := range x.calls {
		out = append(out, c)
	}
	for c := range x.greeting {
		out = append(out, c)
	}
	return out
}

// Calls is how many calls live here.
func (x *Exchange) Calls() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.calls) + len(x.greeting)
}

func (x *Exchange) find(id voice.ID) (*call, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if c := x.calls[id]; c != nil {
		return c, nil
	}
	return nil, voice.ErrNoCall
}

// pulse renews the calls' lease and makes each as the desk wants it.
func (x *Exchange) pulse(ctx context.Context) error {
	x.mu.Lock()
	ids := make([]voice.ID, 0, len(x.calls))
	for id := range x.calls {
		ids = append(ids, id)
	}
	x.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, deskWait)
	defer cancel()
	wanted, err := x.Desk.Pulse(ctx, x.Node, x.Epoch, ids)
	if err != nil {
		return fmt.Errorf("pulse: %w", err)
	}
	for id, w := range wanted {
		if c, err := x.find(id); err == nil {
			c.post(func() { c.conform(w) })
		}
	}
	return nil
}
