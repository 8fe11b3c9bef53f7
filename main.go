// Command tributary is the back end of a customer-service desk in one binary: see README.md. This file is the only one
// that knows every room: it reads the configuration, joins the rooms by hand and runs them.
package main

//go:generate go tool gqlgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql/playground"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	_ "tributary/channels/all"
	"tributary/desk"
	"tributary/graph"
	"tributary/graph/exec"
	"tributary/graph/live"
	"tributary/graph/transport"
	"tributary/internal/auth"
	"tributary/internal/blob"
	"tributary/internal/bus"
	"tributary/internal/cluster"
	"tributary/internal/config"
	"tributary/internal/crypt"
	"tributary/internal/dial"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/limit"
	"tributary/internal/peer"
	"tributary/internal/relay"
	"tributary/internal/run"
	"tributary/internal/store"
	"tributary/internal/viewer"
	"tributary/router"
	"tributary/schema"
	"tributary/telephony"
)

// version is set by the release build.
var version = "0.1.0-dev"

func main() {
	if err := command(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil && !errors.Is(err, run.ErrSignal) {
		fmt.Fprintln(os.Stderr, "tributary: "+err.Error())
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, env func(string) string, out, logs io.Writer) error {
	cmd, cfg, err := config.Parse(args, env, out)
	if err != nil || cmd == config.Help {
		return err
	}
	log := run.NewLogger(logs, cfg.LogFormat, cfg.Level())
	slog.SetDefault(log)
	switch cmd {
	case config.Serve:
		return serve(ctx, cfg, out, log, nil)
	case config.Demo:
		return show(ctx, cfg, out, log)
	case config.Migrate:
		return migrate(ctx, cfg, out, log)
	case config.Token:
		return token(cfg, out)
	case config.Doctor:
		return doctor(ctx, cfg, out, log)
	case config.ConfigPrint:
		return cfg.Print(out)
	case config.Version:
		_, err := fmt.Fprintln(out, version)
		return err
	}
	return fmt.Errorf("the command %q has no code", cmd)
}

// house is everything that a node consists of, joined.
type house struct {
	cfg    *config.Config
	log    *slog.Logger
	box    *crypt.Box
	store  *store.Store
	bus    bus.Bus
	tokens *auth.Signer
	desk   *desk.Desk
	relay  *relay.Relay
	tail   *relay.Tail
	events *relay.Log
	jobs   *jobs.Runner
	node   *store.Node
	// remote carries wake-ups to other nodes; nil where there can be none.
	remote *bus.Remote
	member *cluster.Member
	puller *desk.Puller
	// limiter counts tries and points; through Redis those of all nodes together.
	limiter limit.Limiter
	closers []func() error
	bucket  *blob.S3     // nil: files lie in a folder
	peers   *peer.Server // nil: this node takes no requests of others
	client  *peer.Client // nil: it asks none either
	calls   *telephony.Exchange
	lines   *lines // nil: no calls come in here
	// epoch tells this life of the node from earlier ones.
	epoch int64
}

// offerLease is the leadership of the router.
const offerLease = "router"

// keys opens the keyset: without it nothing that is sealed can be read.
func keys(cfg *config.Config) (*crypt.Box, error) {
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("the folder %s cannot be made: %w", cfg.Data, err)
	}
	box, err := crypt.Open(cfg.KeyPath())
	if err != nil {
		return nil, err
	}
	crypt.Use(box)
	return box, nil
}

func openStore(ctx context.Context, cfg *config.Config, b bus.Bus) (*store.Store, error) {
	return store.Open(ctx, store.Config{URL: cfg.DatabaseURL.Clear(), Dir: cfg.Data, Bus: b})
}

// build joins the rooms. publicURL is how the world reaches us.
func build(ctx context.Context, cfg *config.Config, publicURL string, log *slog.Logger) (*house, error) {
	h := &house{cfg: cfg, log: log, epoch: time.Now().UnixNano()}
	var err error
	if h.box, err = keys(cfg); err != nil {
		return nil, err
	}
	if err := h.reach(); err != nil {
		return nil, err
	}
	if h.node, err = store.OpenNode(cfg.Data); err != nil {
		return nil, err
	}
	if h.store, err = openStore(ctx, cfg, h.bus); err != nil {
		return nil, err
	}
	if err := h.store.Migrate(ctx); err != nil {
		return nil, errors.Join(err, h.store.Close())
	}
	guard := dial.New(cfg.DialRules)
	files, err := h.openFiles(ctx, guard)
	if err != nil {
		return nil, errors.Join(err, h.store.Close())
	}
	together, err := h.cluster(publicURL)
	if err != nil {
		return nil, errors.Join(err, h.store.Close())
	}
	if err := h.exchange(ctx, files); err != nil {
		return nil, errors.Join(err, h.store.Close())
	}
	if h.peers != nil {
		h.calls.Serve(h.peers)
	}
	h.tokens = auth.NewSigner(h.box.Key("tokens"), time.Now)
	h.events, h.tail = relay.NewLog(h.store), relay.NewTail(h.store)
	h.relay = relay.New(h.store, relay.Config{Holder: h.node.Name, Log: log})
	h.desk = desk.New(desk.Config{
		Store: h.store, Events: h.events, Blob: files, Links: blob.NewSigner(h.box.Key("links"), time.Now), Tokens: h.tokens,
		Limiter: h.limiter, Host: h.host(guard, files),
		Cluster: together,
		Log:     log, Node: h.node.Name, Epoch: h.epoch, Switchboard: h.calls, PublicURL: publicURL, OfferLease: offerLease,
		LoginsPerFiveMinutes: perFiveMinutes(cfg.Limits.LoginsPerAgent), StartsPerMinute: 3 * perMinute(cfg.Limits.VisitorMessages), MessagesPerMinute: perMinute(cfg.Limits.VisitorMessages),
	})
	h.puller = h.desk.NewPuller(func(ctx context.Context, total int) (int, error) {
		return h.member.Share(ctx, string(config.Channels), total)
	})
	h.jobs = jobs.NewRunner(h.store, jobs.Config{Node: h.node.Name, Lease: jobLease, Log: log})
	h.desk.Register(h.jobs)
	if err := h.openLines(ctx, guard); err != nil {
		return nil, errors.Join(err, h.store.Close())
	}
	// There is no clean-shutdown shortcut: every start takes the path of a start after a crash.
	if err := errors.Join(h.store.Abandon(ctx, h.node.Name), h.desk.Recover(ctx)); err != nil {
		return nil, errors.Join(err, h.store.Close())
	}
	return h, nil
}

func perFiveMinutes(r config.Rate) int { return per(r, 5*time.Minute) }

func perMinute(r config.Rate) int { return per(r, time.Minute) }

func per(r config.Rate, d time.Duration) int {
	if r.Per <= 0 {
		return r.Times
	}
	return max(int(float64(r.Times)*float64(d)/float64(r.Per)), 1)
}

func migrate(ctx context.Context, cfg *config.Config, out io.Writer, _ *slog.Logger) error {
	if _, err := keys(cfg); err != nil {
		return err
	}
	s, err := openStore(ctx, cfg, nil)
	if err != nil {
		return err
	}
	if err := s.Migrate(ctx); err != nil {
		return errors.Join(err, s.Close())
	}
	_, err = fmt.Fprintln(out, "the database has this version's form")
	return errors.Join(err, s.Close())
}

// token prints an operator token: proof of having this machine's keys.
func token(cfg *config.Config, out io.Writer) error {
	box, err := keys(cfg)
	if err != nil {
		return err
	}
	t, _, err := auth.NewSigner(box.Key("tokens"), time.Now).Sign(auth.Claims{Kind: auth.Operator}, time.Duration(cfg.TokenHours)*time.Hour)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, t)
	return err
}

// door is the HTTP side of a node.
type door struct {
	*house
	live     *live.Live
	graphql  *transport.Handler
	draining chan struct{}
	ready    atomic.Bool
	stage    *stage // nil but in a demo
}

func serve(ctx context.Context, cfg *config.Config, out io.Writer, log *slog.Logger, st *stage) error {
	// The port first: a busy one is said before anything else has begun.
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.HTTP)
	if err != nil {
		return fmt.Errorf("the address %s cannot be listened on: %w", cfg.HTTP, err)
	}
	public := cfg.PublicURL
	if public == "" {
		public = "http://" + lis.Addr().String()
	}
	h, err := build(ctx, cfg, public, log)
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	d := newDoor(h)
	d.stage = st
	var first *desk.First
	if st == nil { // a demo makes a workspace of its own
		if first, err = h.desk.Begin(ctx); err != nil {
			return errors.Join(err, lis.Close(), h.store.Close())
		}
	}
	g := run.New(log, cfg.Grace)
	d.parts(g, lis)
	d.ready.Store(true)
	if err := greet(out, public, first); err != nil {
		return err
	}
	h.sayLines(out)
	err = g.Run(ctx)
	return errors.Join(err, h.close())
}

func newDoor(h *house) *door {
	d := &door{house: h, draining: make(chan struct{})}
	d.live = live.New(live.Config{
		Log: h.tail, Logger: h.log,
		Expired: func(err error) bool { return errors.Is(err, relay.ErrPruned) },
		Unknown: func(err error) bool { return errors.Is(err, relay.ErrAhead) },
		Head: func(ctx context.Context, ws gid.ID) (int64, error) {
			seq, _, err := h.events.Head(ctx, ws)
			return seq, err
		},
		Oldest: func(ctx context.Context, ws gid.ID) (int64, error) {
			_, pruned, err := h.events.Head(ctx, ws)
			return pruned, err
		},
		Visitor: h.desk.VisitorEvents,
		Ack: func(ctx context.Context, seq int64) {
			if err := h.desk.VisitorGot(ctx, seq); err != nil {
				h.log.WarnContext(ctx, "note what a visitor got", "error", err)
			}
		},
	})
	es := exec.NewExecutableSchema(exec.Config{Resolvers: &graph.Resolver{Desk: h.desk, Live: d.live}, Directives: transport.Directives()})
	d.graphql = transport.New(es, transport.Config{
		Auth:      authenticate(h.desk),
		Recheck:   h.desk.StillStands,
		Refused:   func(err error) bool { return errors.Is(err, desk.ErrUnauthenticated) },
		Connected: h.desk.Connect,
		Charge:    charge(h.limiter, h.cfg.Limits),
		Origins:   func(string, *http.Request) bool { return true }, // a site's own list decides in visitorSessionStart
		Remote:    run.Remote(h.cfg.TrustedProxies),
		Live:      d.live, Draining: d.draining, Logger: h.log,
		Development: run.Loopback(h.cfg.HTTP) && !h.cfg.BehindProxy,
	})
	return d
}

func authenticate(d *desk.Desk) func(context.Context, string, string) (*viewer.Viewer, error) {
	return func(ctx context.Context, token, _ string) (*viewer.Viewer, error) {
		if token == "" {
			return nil, nil
		}
		return d.Authenticate(ctx, token)
	}
}

// charge takes an operation's points from the bucket of its token; without one, a try from that of the address. One noisy
// token never eats the budget of others.
func charge(l limit.Limiter, c config.Limits) func(context.Context, *viewer.Viewer, string, int) (int, time.Duration, bool) {
	budgets := map[viewer.Kind]config.Budget{
		viewer.KindAgent: c.BudgetAgent, viewer.KindApp: c.BudgetApp, viewer.KindBI: c.BudgetBI, viewer.KindCustomer: c.BudgetVisitor,
	}
	return func(ctx context.Context, v *viewer.Viewer, remote string, points int) (int, time.Duration, bool) {
		key, rate := "anonymous|"+remote, limit.Rate{Burst: c.AnonymousQueries.Times, PerSecond: float64(c.AnonymousQueries.Times) / c.AnonymousQueries.Per.Seconds()}
		switch {
		case v == nil:
			points = 1
		case v.Kind == viewer.KindSystem: // the operator, on the machine itself
			return points, 0, true
		default:
			b := budgets[v.Kind]
			key, rate = "points|"+v.Token.String(), limit.Rate{Burst: b.Points, PerSecond: b.PerSecond}
		}
		r, err := l.Take(ctx, key, points, rate)
		if err != nil { // dearer than the whole bucket: no waiting would help
			return 0, 0, false
		}
		return r.Remaining, r.RetryAfter, r.OK
	}
}

// parts are what runs, by the node's roles.
func (d *door) parts(g *run.Group, lis net.Listener) {
	h := d.house
	if h.remote != nil {
		g.Add("bus", h.remote.Run)
	}
	g.Add("node", h.member.Run)
	if h.peers != nil {
		g.Add("peer", h.answerPeers)
	}
	g.Add("log", h.tail.Run)
	if h.cfg.Roles.Has(config.Worker) || h.cfg.Roles.Has(config.Channels) {
		g.Add("jobs", h.jobs.Run)
		g.Add("relay", h.relay.Run)
		if h.bucket != nil {
			g.Add("bucket", h.sweepBucket)
		}
		g.Add("sweep", run.Led(h.store.Lease("sweep", h.node.Name, 5*time.Second), h.sweep))
	}
	if h.cfg.Roles.Has(config.Channels) {
		g.Add("pulls", h.puller.Run)
	}
	if h.cfg.Roles.Has(config.Router) {
		g.Add("router", h.route)
	}
	g.Add("calls", h.runCalls)
	g.Add("presence", h.heartbeat)
	g.Add("wishes", h.desk.ConformCalls)
	g.Add("sockets", d.graphql.Run)
	g.Add("http", func(ctx context.Context) error { return d.listen(ctx, lis) })
	if d.stage != nil {
		g.Add("demo", func(ctx context.Context) error { return d.stage.play(ctx, h, "http://"+lis.Addr().String()) })
	}
}

func (h *house) route(ctx context.Context) error {
	loop, err := router.NewLoop(router.LoopConfig{
		Floor: h.desk.Floor(), Core: router.New(router.Config{Patience: 5 * time.Second}), Clock: router.ClockOf(time.Now),
		Lease: h.store.Lease(offerLease, h.node.Name, 3*time.Second), Log: h.log,
	})
	if err != nil {
		return err
	}
	return loop.Run(ctx)
}

// listen serves until ctx ends, then drains: nobody new is let in, sockets are told to reconnect elsewhere, requests
// under way end.
func (d *door) listen(ctx context.Context, lis net.Listener) error {
	srv := &http.Server{Handler: d.routes(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(lis) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	d.ready.Store(false)
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Grace)
	defer cancel()
	// The door first: whoever is sent away must not come in again, and a client that is refused a connection tries another
	// node, while one that is let in would meet a node that closes.
	shut := make(chan error, 1)
	go func() { shut <- srv.Shutdown(end) }()
	close(d.draining)
	return errors.Join(d.graphql.Close(end), <-shut, d.live.Close(end))
}

func (d *door) routes() http.Handler {
	mux := http.NewServeMux()
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(oldestUnrouted, waiting, uncertain, deadLetters, strays, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if d.cfg.Roles.Has(config.API) {
		mux.Handle("/graphql", graph.Pages(d.graphql, "GET, POST"))
		mux.Handle("/files/{id}", graph.Pages(graph.Files(d.desk, d.log), "GET, PUT"))
		mux.Handle("GET /{$}", playground.Handler("Tributary", "/graphql"))
	}
	if d.cfg.Roles.Has(config.Channels) {
		mux.Handle("/hooks/{kind}/{channel}/{secret}", graph.Hooks(d.desk, d.log))
	}
	if d.stage != nil {
		mux.HandleFunc("GET /agent.html", examplePage)
	}
	mux.Handle("GET /schema.graphql", http.HandlerFunc(sdl))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "alive\n") })
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	return mux
}

func (d *door) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if !d.ready.Load() {
		http.Error(w, "this node is closing", http.StatusServiceUnavailable)
		return
	}
	if err := d.store.Ping(ctx); err != nil {
		d.log.WarnContext(ctx, "not ready", "error", err)
		http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

func sdl(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, schema.SDL())
}

// heartbeat renews the leases of this node's connections.
func (h *house) heartbeat(ctx context.Context) error {
	return run.Every(ctx, desk.Heartbeat, func(ctx context.Context) {
		if err := h.desk.Online(ctx); err != nil {
			h.log.WarnContext(ctx, "heartbeat", "error", err)
		}
	})
}

const (
	pruneEvery = time.Minute
	gaugeEvery = 10 * time.Second
)

// gauges are named after promises.
var (
	oldestUnrouted = gauge("oldest_unrouted_seconds", "Age of the oldest interaction that waits without an offer.")
	waiting        = gauge("waiting_interactions", "Interactions queued or offered.")
	uncertain      = gauge("uncertain_messages", "Messages of which nobody knows whether they arrived.")
	deadLetters    = gauge("dead_letters", "Work that was given up and waits for a person.")
	strays         = gauge("stray_interactions", "Open interactions without queue, offer or server: always 0.")
)

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "tributary", Name: name, Help: help})
}

// measure keeps the gauges, on the node that sweeps.
func (h *house) measure(ctx context.Context) {
	g, err := h.desk.Gauges(ctx)
	if err != nil {
		h.log.WarnContext(ctx, "measure", "error", err)
		return
	}
	oldestUnrouted.Set(g.OldestUnrouted.Seconds())
	waiting.Set(float64(g.Waiting))
	uncertain.Set(float64(g.Uncertain))
	deadLetters.Set(float64(g.DeadLetters))
	strays.Set(float64(g.Stray))
}

// sweep finds what time has changed, and prunes what is past its retention.
func (h *house) sweep(ctx context.Context) error {
	pruned, measured := time.Now(), time.Time{}
	return run.Every(ctx, desk.SweepEvery, func(ctx context.Context) {
		if err := h.desk.Sweep(ctx); err != nil {
			h.log.WarnContext(ctx, "sweep", "error", err)
		}
		if time.Since(measured) > gaugeEvery {
			measured = time.Now()
			h.measure(ctx)
		}
		if time.Since(pruned) > pruneEvery {
			pruned = time.Now()
			if err := h.prune(ctx); err != nil {
				h.log.WarnContext(ctx, "prune", "error", err)
			}
		}
	})
}

// Retention of what no person deletes (MODEL 10; raw inbound and finished jobs are evidence for a while).
const (
	keepKeys = 48 * time.Hour
	keepJobs = 72 * time.Hour
	keepRaw  = 7 * 24 * time.Hour
)

func (h *house) prune(ctx context.Context) error {
	_, err1 := h.events.Prune(ctx, h.cfg.Retention.Events.Duration())
	_, err2 := h.store.SweepIdempotency(ctx, keepKeys)
	_, err3 := jobs.Prune(ctx, h.store, keepJobs)
	return errors.Join(err1, err2, err3, h.desk.SweepRaw(ctx, keepRaw), h.desk.SweepUploads(ctx))
}

// greet prints where the service is, and after the first start what to paste.
func greet(out io.Writer, url string, f *desk.First) error {
	text := "Tributary is ready: " + url + "\n"
	if f != nil {
		text += fmt.Sprintf(`
  admin login   %s
  password      %s     (shown this once)
  web chat site %s

A customer writes:
  curl -s %s/graphql -H 'Content-Type: application/json' \
    -d '{"query":"mutation{visitorSessionStart(input:{siteKey:\"%s\"}){token}}"}'
`, f.Email, f.Password, f.Site, url, f.Site)
	}
	_, err := io.WriteString(out, text)
	return err
}
