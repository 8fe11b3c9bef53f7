package desk

import (
	"context"
	"fmt"
	"time"

	"tributary/ent"
	"tributary/ent/lease"
	"tributary/internal/cluster"
	"tributary/internal/viewer"
)

// Cluster is what a desk knows of the processes beside it. Every member may be nil: a node that is alone.
type Cluster struct {
	Member *cluster.Member
	// Bus names how wake-ups travel, and whether they do now.
	Bus func() (kind string, connected bool)
	// Reach asks a node whether it answers.
	Reach func(ctx context.Context, n cluster.Node) error
}

// Health is how the installation does.
type Health struct {
	Node, Version, Database, Bus string
	Roles                        []string
	BusConnected                 bool
	Leaders                      []*Leader
	Nodes                        []*NodeHealth
}

// Leader is who holds a leadership.
type Leader struct {
	Name, Node string
	Epoch      int64
}

// NodeHealth is a process that is believed to live.
type NodeHealth struct{ cluster.Node }

// Health of the installation.
func (d *Desk) Health(ctx context.Context) (*Health, error) {
	if err := need(ctx, viewer.SettingRead); err != nil {
		return nil, err
	}
	h := &Health{Node: d.Node, Roles: []string{}, Database: d.Store.Dialect, Bus: "local", BusConnected: true, Leaders: []*Leader{}, Nodes: []*NodeHealth{}}
	if d.Cluster.Bus != nil {
		h.Bus, h.BusConnected = d.Cluster.Bus()
	}
	if d.Cluster.Member != nil {
		self := d.Cluster.Member.Self()
		h.Version, h.Roles = self.Version, self.Roles
		all, err := d.Cluster.Member.Live(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range all {
			h.Nodes = append(h.Nodes, &NodeHealth{n})
		}
	}
	// What channels lock has a slash in its name, and is no leadership.
	held, err := d.db.Lease.Query().Where(lease.HolderNEQ(""), lease.ExpiresAtGT(d.now()), lease.Not(lease.NameContains("/"))).Order(ent.Asc(lease.FieldName)).All(within(ctx))
	if err != nil {
		return nil, fmt.Errorf("read leaderships: %w", err)
	}
	for _, l := range held {
		h.Leaders = append(h.Leaders, &Leader{Name: l.Name, Node: l.Holder, Epoch: l.Epoch})
	}
	return h, nil
}

// reachFor is how long a node may take to answer.
const reachFor = 2 * time.Second

// Reachable asks a node whether it answers; nil where it takes no requests, or we make none.
func (d *Desk) Reachable(ctx context.Context, n *NodeHealth) *bool {
	if d.Cluster.Reach == nil || n.Peer == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reachFor)
	defer cancel()
	ok := d.Cluster.Reach(ctx, n.Node) == nil
	return &ok
}
