// Package relay turns committed outbox rows into the numbered event log, and reads that log.
//
// Every domain transaction ends with its outbox rows, whose ids the database draws. The Relay, one at a time under a
// lease, takes committed rows in that order, numbers them per workspace on top of the workspace's head, moves them into
// the log and wakes the readers. A number taken inside the domain transaction instead could become visible after a
// higher one, and a reader would skip it; an order by a node's clock could show an effect before its cause.
//
// Log reads the table, Tail keeps the newest events of each workspace in use in memory, read once per node however many
// subscriptions follow.
//
// Neighbours: store for transactions and the lease, bus for wake-ups in and out; graph, webhooks, router, insight read.
//
// Invariants: numbers are gap-free per workspace from 1 and never given twice, even by two relays at a moment (the
// epoch is checked inside each numbering transaction); cause precedes effect; what was pruned is always a beginning of
// the log, and the head is a row of its own, so that pruning never restarts it. Events handed out are shared: never
// change one. Goroutines: those of Run, and the lease's.
package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"entgo.io/ent/dialect"

	"tributary/ent"
	"tributary/ent/outbox"
	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/store"
)

// LeaseName is the lease under which one relay works.
const LeaseName = "relay"

// batch is how many rows one transaction numbers.
const batch = 500

// errDeposed says that another relay may be at work.
var errDeposed = errors.New("the relay's lease is another's")

// Config of a Relay; every field may be zero.
type Config struct {
	Holder string        // who holds the lease, for people who look; machine and process when empty
	TTL    time.Duration // how long a crashed relay is waited for; 3 s when zero
	Poll   time.Duration // the net beneath the bus; 250 ms when zero
	Log    *slog.Logger
}

// Relay numbers events.
type Relay struct {
	store  *store.Store
	config Config
	log    *slog.Logger
	lease  *store.Lease
}

// New makes a relay; any number of nodes may Run one.
func New(s *store.Store, c Config) *Relay {
	if c.TTL <= 0 {
		c.TTL = 3 * time.Second
	}
	if c.Poll <= 0 {
		c.Poll = 250 * time.Millisecond
	}
	r := &Relay{store: s, config: c, log: c.Log, lease: s.Lease(LeaseName, c.Holder, c.TTL)}
	if r.log == nil {
		r.log = slog.Default()
	}
	return r
}

// Run waits for the lease, numbers while it holds it, and returns nil when the context ends. A database that is away is
// waited for.
func (r *Relay) Run(ctx context.Context) error {
	notes := r.store.Bus.Listen(bus.Outbox)
	defer notes.Close()
	for ctx.Err() == nil {
		// A context of its own: whoever gives up leading also gives up the lease.
		term, resign := context.WithCancel(ctx)
		epoch, lost, err := r.lease.Hold(term)
		if err == nil {
			r.log.Info("relay: leading", "epoch", epoch)
			r.lead(ctx, epoch, lost, notes)
		}
		resign()
		if err != nil {
			continue
		}
		<-lost
		// Whatever took the lease away, it is not asked for in a loop.
		select {
		case <-ctx.Done():
		case <-time.After(r.config.Poll):
		}
	}
	return nil
}

// lead numbers until the lease is lost or ctx ends.
func (r *Relay) lead(ctx context.Context, epoch int64, lost <-chan struct{}, notes *bus.Listener) {
	poll := time.NewTimer(0)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-lost:
			return
		case <-poll.C:
		case <-notes.C():
			notes.Take()
		}
		pause := r.config.Poll
		n, err := r.number(ctx, epoch)
		switch {
		case errors.Is(err, errDeposed):
			return
		case err != nil && ctx.Err() == nil:
			r.log.Error("relay: number events", "err", err)
		case n == batch:
			pause = 0
		}
		poll.Reset(pause)
	}
}

// number moves one batch from the outbox into the log and answers how many rows it was.
func (r *Relay) number(ctx context.Context, epoch int64) (n int, err error) {
	// Looking costs nothing to others; a transaction for every poll would.
	var any bool
	if err := r.store.DB.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM outboxes)").Scan(&any); err != nil || !any {
		return 0, err
	}
	err = r.store.Tx(ctx, func(ctx context.Context, tx *ent.Tx) error {
		held, err := r.store.HeldIn(ctx, tx, LeaseName, epoch)
		if err != nil {
			return err
		}
		if !held {
			return errDeposed
		}
		var heads []head
		if r.store.Dialect == dialect.Postgres {
			heads, err = scanHeads(ctx, store.Raw(ctx), postgresNumber, batch)
		} else {
			heads, err = sqliteNumber(ctx, store.Raw(ctx))
		}
		n = 0
		for _, h := range heads {
			n += h.n
			store.Announce(ctx, bus.Note{Topic: bus.Log, Workspace: h.workspace, Seq: h.seq})
		}
		return err
	})
	return n, err
}

// head is a workspace's number after a batch, and how many rows the batch had of it.
type head struct {
	workspace gid.ID
	seq       int64
	n         int
}

// columns are what the outbox and the log share.
var columns = strings.Join(outbox.Columns, ", ")

// postgresNumber is one statement and so one snapshot: whoever is in it has his causes in it, with smaller ids.
var postgresNumber = `WITH taken AS (
 DELETE FROM outboxes WHERE id IN (SELECT id FROM outboxes ORDER BY id LIMIT $1) RETURNING ` + columns + `),
counted AS (SELECT workspace_id, count(*) AS n FROM taken GROUP BY workspace_id),
heads AS (INSERT INTO log_heads (id, workspace_id, seq, pruned) SELECT workspace_id, workspace_id, n, 0 FROM counted
 ON CONFLICT (workspace_id) DO UPDATE SET seq = log_heads.seq + excluded.seq RETURNING workspace_id, seq),
numbered AS (INSERT INTO events (` + columns + `, seq)
 SELECT t.*, h.seq - c.n + row_number() OVER (PARTITION BY t.workspace_id ORDER BY t.id)
 FROM taken t JOIN heads h ON h.workspace_id = t.workspace_id JOIN counted c ON c.workspace_id = t.workspace_id)
SELECT h.workspace_id, h.seq, c.n FROM heads h JOIN counted c ON c.workspace_id = h.workspace_id`

// The same for SQLite, where a changing statement cannot feed another; there the transaction is alone with the rows.
var (
	sqliteLast  = `SELECT coalesce(max(id), 0) FROM (SELECT id FROM outboxes ORDER BY id LIMIT ?1)`
	sqliteHeads = `INSERT INTO log_heads (id, workspace_id, seq, pruned)
 SELECT workspace_id, workspace_id, count(*), 0 FROM outboxes WHERE id <= ?1 GROUP BY workspace_id
 ON CONFLICT (workspace_id) DO UPDATE SET seq = log_heads.seq + excluded.seq
 RETURNING workspace_id, seq, (SELECT count(*) FROM outboxes o WHERE o.id <= ?1 AND o.workspace_id = log_heads.workspace_id)`
	sqliteEvents = `INSERT INTO events (` + columns + `, seq)
 SELECT ` + "o." + strings.Join(outbox.Columns, ", o.") + `, h.seq - count(*) OVER (PARTITION BY o.workspace_id) + row_number() OVER (PARTITION BY o.workspace_id ORDER BY o.id)
 FROM outboxes o JOIN log_heads h ON h.workspace_id = o.workspace_id WHERE o.id <= ?1`
	sqliteDelete = `DELETE FROM outboxes WHERE id <= ?1`
)

func sqliteNumber(ctx context.Context, tx store.Conn) ([]head, error) {
	rows, err := tx.QueryContext(ctx, sqliteLast, batch)
	if err != nil {
		return nil, fmt.Errorf("find the batch: %w", err)
	}
	var last int64
	if rows.Next() {
		err = rows.Scan(&last)
	}
	if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("find the batch: %w", err)
	}
	heads, err := scanHeads(ctx, tx, sqliteHeads, last)
	if err != nil {
		return nil, err
	}
	for _, q := range []string{sqliteEvents, sqliteDelete} {
		if _, err := tx.ExecContext(ctx, q, last); err != nil {
			return nil, fmt.Errorf("move events into the log: %w", err)
		}
	}
	return heads, nil
}

func scanHeads(ctx context.Context, tx store.Conn, query string, arg any) (heads []head, err error) {
	rows, err := tx.QueryContext(ctx, query, arg)
	if err != nil {
		return nil, fmt.Errorf("number events: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var h head
		if err := rows.Scan(&h.workspace, &h.seq, &h.n); err != nil {
			return nil, fmt.Errorf("number events: %w", err)
		}
		heads = append(heads, h)
	}
	return heads, rows.Err()
}
