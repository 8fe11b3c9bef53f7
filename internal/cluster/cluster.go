// Package cluster knows which processes of this service are running: each keeps a row with a lease that it renews, so
// that the others share work with those that live and reach them by the address that stands there.
//
// Neighbours: main.go runs a Member as a part; desk shares streams by it and shows it; internal/peer is given its
// addresses. Whether a node lives decides nothing that must be certain: that is what leases with epochs are for.
//
// Invariants: a node whose row was not renewed for its lease is gone for everybody at the same moment, by the database's
// clock; a draining one takes no new work. One goroutine, that of Run.
package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"entgo.io/ent/dialect"

	"tributary/internal/gid"
	"tributary/internal/store"
)

// Lease is how long a node that died without a word is still believed to live.
const Lease = 5 * time.Second

// Node is a running process.
type Node struct {
	Name      string
	Peer      string // address of node-to-node requests; empty: it takes none
	PublicURL string
	Roles     []string
	Version   string
	StartedAt time.Time
	Draining  bool
}

// Member is this process among the others.
type Member struct {
	store *store.Store
	self  Node
	log   *slog.Logger
	drain atomic.Bool
}

// Join makes the member; its row appears with the first beat.
func Join(s *store.Store, self Node, log *slog.Logger) *Member {
	self.StartedAt = time.Now().UTC().Truncate(time.Microsecond)
	return &Member{store: s, self: self, log: log}
}

// Self is this process.
func (m *Member) Self() Node {
	n := m.self
	n.Draining = m.drain.Load()
	return n
}

// Drain says that this node takes no new work: it is about to end.
func (m *Member) Drain(ctx context.Context) error {
	m.drain.Store(true)
	return m.Beat(ctx)
}

// Run beats until ctx ends; then the node drains. Leave ends its row.
func (m *Member) Run(ctx context.Context) error {
	m.forget(ctx)
	t := time.NewTicker(Lease / 4)
	defer t.Stop()
	for {
		if err := m.Beat(ctx); err != nil && ctx.Err() == nil {
			m.log.WarnContext(ctx, "renew this node's row", "error", err)
		}
		select {
		case <-ctx.Done():
			if err := m.Drain(context.WithoutCancel(ctx)); err != nil {
				m.log.WarnContext(ctx, "say that this node ends", "error", err)
			}
			return nil
		case <-t.C:
		}
	}
}

// Beat renews the row, in one statement.
func (m *Member) Beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Lease/2)
	defer cancel()
	roles, err := json.Marshal(m.self.Roles)
	if err != nil {
		return err
	}
	_, err = m.store.DB.ExecContext(ctx, m.store.SQL(`INSERT INTO cluster_nodes (id, name, peer, public_url, roles, version, started_at, expires_at, draining)
		VALUES ($1, $2, $3, $4, $5, $6, $7, `+m.store.At(Lease)+`, $8)
		ON CONFLICT (name) DO UPDATE SET peer = excluded.peer, public_url = excluded.public_url, roles = excluded.roles, version = excluded.version,
		started_at = excluded.started_at, expires_at = excluded.expires_at, draining = excluded.draining`),
		gid.Make(gid.Other), m.self.Name, m.self.Peer, m.self.PublicURL, string(roles), m.self.Version, m.time(m.self.StartedAt), m.drain.Load())
	if err != nil {
		return fmt.Errorf("renew node: %w", err)
	}
	return nil
}

// time is a time as the driver writes it: ent's form on SQLite.
func (m *Member) time(t time.Time) any {
	if m.store.Dialect == dialect.Postgres {
		return t
	}
	return t.Format("2006-01-02 15:04:05.999999999-07:00")
}

// Leave takes the row away, when all else of the node has ended.
func (m *Member) Leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Lease/2)
	defer cancel()
	if _, err := m.store.DB.ExecContext(ctx, m.store.SQL("DELETE FROM cluster_nodes WHERE name = $1"), m.self.Name); err != nil {
		return fmt.Errorf("take this node's row away: %w", err)
	}
	return nil
}

// forgetAfter is when the row of a node that never came back is of no more use to anybody.
const forgetAfter = 24 * time.Hour

func (m *Member) forget(ctx context.Context) {
	if _, err := m.store.DB.ExecContext(ctx, m.store.SQL("DELETE FROM cluster_nodes WHERE expires_at < "+m.store.At(-forgetAfter))); err != nil && ctx.Err() == nil {
		m.log.WarnContext(ctx, "forget nodes that never came back", "error", err)
	}
}

// Live are the nodes that are believed to live, by name.
func (m *Member) Live(ctx context.Context) ([]Node, error) {
	rows, err := m.store.DB.QueryContext(ctx, m.store.SQL("SELECT name, peer, public_url, roles, version, started_at, draining FROM cluster_nodes WHERE expires_at > "+m.store.At(0)+" ORDER BY name"))
	if err != nil {
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Node
	for rows.Next() {
		var n Node
		var roles []byte
		if err := rows.Scan(&n.Name, &n.Peer, &n.PublicURL, &roles, &n.Version, &n.StartedAt, &n.Draining); err != nil {
			return nil, fmt.Errorf("read nodes: %w", err)
		}
		if err := json.Unmarshal(roles, &n.Roles); err != nil {
			return nil, fmt.Errorf("read roles of %s: %w", n.Name, err)
		}
		out = append(out, n)
	}
	return out, rows.Err()
}

// Share is how much of a total is this node's part among those with the role that take work: rounded up, so that
// nothing is left over. A draining node's part is nothing.
func (m *Member) Share(ctx context.Context, role string, total int) (int, error) {
	if m.drain.Load() {
		return 0, nil
	}
	all, err := m.Live(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, x := range all {
		if !x.Draining && slices.Contains(x.Roles, role) {
			n++
		}
	}
	n = max(n, 1) // our own row may not be written yet
	return (total + n - 1) / n, nil
}
