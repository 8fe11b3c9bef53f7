// Package demo fills a running service with life: a workspace with an English and a Chinese side, visitors and customers
// of a bridge who come, ask, send pictures, lose patience, come back and write by a second channel, and agents who
// answer them if they are switched on.
//
// It is a stranger to the service. All that it does goes through the public surfaces: GraphQL over HTTP and
// graphql-transport-ws, signed addresses for files, the signed web hook of the custom channel. What it can do any
// integrator can do, and what it shows is what the service does.
//
// Neighbours: main.go starts the service, gives this package its address and an operator's token, and lets the service
// call the bridge that this package plays. Nothing of ours is imported here, which .golangci.yml enforces.
//
// Invariants: the people are bounded in number, present and in all, whatever the time that the demo runs. Who somebody is
// follows from the seed alone, what he does from the seed and the number of the start. The folder's ledger knows what was
// made: a second start finds it again. One goroutine for each person present and each agent, all ended when Run returns.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Config says what is shown.
type Config struct {
	Folder   string  // where the ledger lies
	Seed     uint64  // 0: that of the ledger, or a new one
	Arrivals float64 // a minute
	Agents   int     // simulated ones
	Pace     float64 // how fast people think and type: 1 is human
	Out      io.Writer
	Log      *slog.Logger
}

// Bounds of the population, so that a demo can run for days.
const (
	maxPeople  = 200 // who ever come
	maxPresent = 40  // at once
	// MaxAgents bounds the simulated agents.
	MaxAgents = 20
)

// Demo is a demonstration to be run once.
type Demo struct {
	cfg    Config
	book   *ledger
	bridge *bridge
}

// New opens the ledger, making the folder if there is none, and the bridge's listener: the service must be allowed to call
// its address. The ledger comes before all else that will lie in the folder, for it marks the folder as a demo's.
func New(ctx context.Context, cfg Config) (*Demo, error) {
	book, err := openLedger(cfg.Folder, cfg.Seed)
	if err != nil {
		return nil, err
	}
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the demo's bridge: %w", err)
	}
	return &Demo{cfg: cfg, book: book, bridge: newBridge(lis, cfg.Log)}, nil
}

// Bridge is the address, HOST:PORT, that the service calls.
func (d *Demo) Bridge() string { return d.bridge.lis.Addr().String() }

// Close gives the address back; after Run there is nothing left to do.
func (d *Demo) Close() error {
	if err := d.bridge.lis.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run seeds the workspace at the service's address, prints what to paste, and lets people live in it until ctx ends.
// token is an operator's.
func (d *Demo) Run(ctx context.Context, url, token string) error {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	failed := make(chan error, 1)
	all.Go(func() { failed <- d.bridge.serve(ctx) })

	shop, err := seed(ctx, d.book, url, token, d.bridge, d.cfg.Agents)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was stopped, and the next start goes on
		}
		return fmt.Errorf("seed the demo's workspace: %w", err)
	}
	if err := d.print(shop); err != nil {
		return err
	}
	t := &tally{}
	c := newCrowd(d.cfg, shop, t)
	all.Go(func() { c.run(ctx) })
	for n, login := range shop.clerks {
		all.Go(func() { newClerk(c, n, login).run(ctx) })
	}
	all.Go(func() { t.report(ctx, d.cfg.Log) })
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// tally counts what happens, for one line a minute.
type tally struct {
	mu                              sync.Mutex
	arrived, answered, left, failed int
	present                         int
}

func (t *tally) add(f func(*tally)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t)
}

func (t *tally) report(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		t.mu.Lock()
		args := []any{"arrived", t.arrived, "answered", t.answered, "left", t.left, "present", t.present}
		if t.failed > 0 {
			args = append(args, "failed", t.failed)
		}
		t.mu.Unlock()
		log.InfoContext(ctx, "demo", args...)
	}
}

// sleep waits, or ends with ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// newSeed is a number that is easy to type again.
func newSeed() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("draw a seed: %w", err)
	}
	return binary.LittleEndian.Uint64(b[:])%999_999 + 1, nil
}

// quiet is an error that no log needs: the demo ends, or somebody else was faster.
func quiet(err error) bool {
	var no *refusal
	return err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &no)
}
