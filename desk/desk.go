// Package desk is the core: what a service desk does, and every check of a right. It hands out scoped queries that have
// not run (the caller narrows them by what it shows) and does operations, each in one transaction: rows, jobs and the
// outbox event are stored together or not at all. It knows no GraphQL and no channel kind.
//
// Rules of the house: docs/model.md decides; a transaction that changes an interaction locks its conversation first, then
// agents' loads, and writes its outbox rows last; inside a transaction only its own client is used. An operation returns
// an id, never a row: the row is read again after the commit, by what the caller selects.
//
// Goroutines: none of its own but those of ConformCalls, which a part in main.go runs. Jobs (ingest, send, timers) run in
// internal/jobs; Sweep is called by a part in main.go.
package desk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"entgo.io/ent/dialect"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/ent"
	"tributary/internal/auth"
	"tributary/internal/blob"
	"tributary/internal/gid"
	"tributary/internal/limit"
	"tributary/internal/relay"
	"tributary/internal/store"
)

// Config is what a Desk stands on. All members but Host and Switchboard are needed.
type Config struct {
	Store   *store.Store
	Events  *relay.Log
	Blob    blob.Store
	Links   *blob.Signer // signed upload and download addresses
	Tokens  *auth.Signer
	Limiter limit.Limiter
	Host    channels.Host // given to every opened channel
	Cluster Cluster
	Log     *slog.Logger
	// Node names this process; stable over its restarts, so that what it left behind is its own again.
	Node string
	// Epoch tells this life of the node from earlier ones: calls of another one are lost.
	Epoch int64
	// Switchboard reaches the nodes of calls; nil where this node serves none: then what needs it is refused. It needs the
	// desk itself, so it may be set after New, before anything runs.
	Switchboard voice.Switchboard
	// PublicURL is how the world reaches us, without a trailing slash.
	PublicURL string
	// PhoneRegistrar is where desk phones register, as host:port; empty: nowhere.
	PhoneRegistrar string
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// OfferLease names the lease under which routing decisions are committed.
	OfferLease string
	// LoginsPerFiveMinutes bounds tries per account and per address (MODEL 10: configurable).
	LoginsPerFiveMinutes int
	// StartsPerMinute bounds begun visits per address, MessagesPerMinute what one visitor writes (channels/webchat).
	StartsPerMinute, MessagesPerMinute int
}

// Desk is the core. Make one per process.
type Desk struct {
	Config
	db     *ent.Client
	pg     bool
	open   openChannels
	live   connections
	viewer viewerCache
	// unheard are calls whose node gives no sign.
	unheard unheard
	// conform makes calls as the desk wants them, after each commit that concerns one.
	conform conformer
}

// New registers the rules of sight on the client, so that rows reached by an edge are cut, too.
func New(cfg Config) *Desk {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.LoginsPerFiveMinutes == 0 {
		cfg.LoginsPerFiveMinutes = 5
	}
	if cfg.StartsPerMinute == 0 {
		cfg.StartsPerMinute = 60
	}
	if cfg.MessagesPerMinute == 0 {
		cfg.MessagesPerMinute = 20
	}
	d := &Desk{Config: cfg, db: cfg.Store.Ent, pg: cfg.Store.Dialect == dialect.Postgres}
	d.open.byID, d.open.retired = map[gid.ID]*opened{}, map[*time.Timer]*opened{}
	d.live.count = map[gid.ID]*connection{}
	d.viewer.byToken = map[gid.ID]cachedViewer{}
	d.conform.init()
	d.sight()
	return d
}

// now is the time for rows: UTC, cut to what both dialects keep.
func (d *Desk) now() time.Time { return d.Now().UTC().Truncate(time.Microsecond) }

// openChannels are the running channels of this node, by row version: a changed row is opened anew.
type openChannels struct {
	mu      sync.Mutex
	byID    map[gid.ID]*opened
	retired map[*time.Timer]*opened // to be closed when the timer fires
}

type opened struct {
	version int
	until   time.Time // when a secret that is kept beside its successor ends; zero: none is
	kind    channels.Kind
	channel channels.Channel
}

// runningChannel opens a channel as its row says; an old version is closed.
func (d *Desk) runningChannel(ctx context.Context, row *ent.Channel) (*opened, error) {
	d.open.mu.Lock()
	defer d.open.mu.Unlock()
	now := d.now()
	// Who read the row before it was changed works with the newer settings: opening the old ones would close those.
	if o := d.open.byID[row.ID]; o != nil && o.version >= row.Version && (o.until.IsZero() || now.Before(o.until)) {
		return o, nil
	}
	o, err := d.openUnshared(row)
	if err != nil {
		return nil, err
	}
	if old := d.open.byID[row.ID]; old != nil {
		d.retire(ctx, row.ID, old)
	}
	d.open.byID[row.ID] = o
	return o, nil
}

// retireAfter is longer than any call of a channel takes.
const retireAfter = sendTimeout + time.Minute

// retire closes a channel that was opened anew, once what runs on it has ended: a change of its name must not cut a mail
// that is being handed in.
func (d *Desk) retire(ctx context.Context, id gid.ID, old *opened) {
	ctx = context.WithoutCancel(ctx)
	var t *time.Timer
	t = time.AfterFunc(retireAfter, func() {
		d.open.mu.Lock()
		delete(d.open.retired, t)
		d.open.mu.Unlock()
		if err := old.channel.Close(); err != nil {
			d.Log.WarnContext(ctx, "close channel", "channel", id, "error", err)
		}
	})
	d.open.retired[t] = old
}

// openUnshared opens a channel as its row says, for the caller alone, who closes it.
func (d *Desk) openUnshared(row *ent.Channel) (*opened, error) {
	kind, ok := channels.Lookup(row.Kind)
	if !ok {
		return nil, fmt.Errorf("open channel %s: this build knows no kind %q", row.ID, row.Kind)
	}
	secrets, err := d.channelSecrets(row)
	if err != nil {
		return nil, err
	}
	now := d.now()
	cfg, err := channels.DecodeConfig(kind, row.Config, secrets.valid(now))
	if err != nil {
		return nil, fmt.Errorf("open channel %s: %w", row.ID, err)
	}
	ch, err := kind.Open(cfg, d.Host)
	if err != nil {
		return nil, fmt.Errorf("open channel %s: %w", row.ID, err)
	}
	return &opened{version: row.Version, until: secrets.changeAt(now), kind: kind, channel: ch}, nil
}

// Close closes the running channels, all of them whatever one of them says.
func (d *Desk) Close() error {
	d.open.mu.Lock()
	defer d.open.mu.Unlock()
	var errs []error
	shut := func(o *opened) {
		if err := o.channel.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close a channel of kind %s: %w", o.kind.Name, err))
		}
	}
	for _, o := range d.open.byID {
		shut(o)
	}
	clear(d.open.byID)
	for t, o := range d.open.retired {
		if t.Stop() { // else it closes by itself
			shut(o)
			delete(d.open.retired, t)
		}
	}
	return errors.Join(errs...)
}

func (o *opened) guarantee() channels.Idempotency {
	if g, ok := o.channel.(channels.Guarantees); ok {
		return g.Guarantee()
	}
	return o.capabilities().Idempotency
}

func (o *opened) capabilities() channels.Capabilities {
	if c, ok := o.channel.(channels.Declares); ok {
		return c.Capabilities()
	}
	return o.kind.Capabilities
}

func (o *opened) liveness() channels.Liveness {
	if c, ok := o.channel.(channels.Declares); ok {
		return c.Live()
	}
	return o.kind.Live
}

// carriesText reports whether messages can be written by the channel at all. One whose settings only take in could be
// set up to send, so what is written by it stays a visible failure; a line never carries text.
func (o *opened) carriesText() bool {
	_, sends := o.channel.(channels.Sender)
	return sends || o.line() == nil
}

// surface reports whether the kind has no provider: sending is committing.
func (o *opened) surface() bool { _, ok := o.channel.(channels.Surface); return ok }
