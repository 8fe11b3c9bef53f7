package graph

import (
	"context"
	"sync"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"tributary/desk"
	"tributary/ent"
	"tributary/graph/model"
	"tributary/internal/gid"
)

// deleted is the outcome of a deletion: the id of what is gone.
func (r *Resolver) deleted(ctx context.Context, id gid.ID, err error) (*gid.ID, []*desk.Refusal, error) {
	refused, err := r.refused(ctx, err)
	if err != nil || len(refused) > 0 || id.IsZero() {
		return nil, refused, err
	}
	return &id, refused, nil
}

// health is how a channel does; its backlog is counted only when it is asked for.
func (r *Resolver) health(ctx context.Context, c *ent.Channel) (*model.ChannelHealth, error) {
	h := &model.ChannelHealth{
		State: model.HealthStateOk, LastInboundAt: c.LastInboundAt, LastOutboundAt: c.LastOutboundAt, LastError: c.LastError, LastErrorAt: c.LastErrorAt,
		PausedBecause: c.PausedBecause,
	}
	switch {
	case !c.Enabled:
		h.State = model.HealthStatePaused
	case c.LastErrorAt != nil && (c.LastOutboundAt == nil || c.LastErrorAt.After(*c.LastOutboundAt)):
		h.State = model.HealthStateDegraded
	}
	for _, f := range graphql.CollectFieldsCtx(ctx, nil) {
		if f.Name == "backlogIn" || f.Name == "backlogOut" || f.Name == "deadLetters" {
			b, err := r.backlog(ctx, c.ID)
			h.BacklogIn, h.BacklogOut, h.DeadLetters = b.In, b.Out, b.Dead
			return h, err
		}
	}
	return h, nil
}

const backlogMemo = "tributary.backlogs"

// backlog of a channel. A query counts those of all channels once, however many it shows; mutations and streams, which
// go on while the numbers change, count each time.
func (r *Resolver) backlog(ctx context.Context, id gid.ID) (desk.Backlog, error) {
	oc := graphql.GetOperationContext(ctx)
	if oc.Operation == nil || oc.Operation.Operation != ast.Query {
		return r.Desk.Backlog(ctx, id)
	}
	r.backlogs.Lock()
	all, known := oc.Stats.GetExtension(backlogMemo).(func() (map[gid.ID]desk.Backlog, error))
	if !known {
		all = sync.OnceValues(func() (map[gid.ID]desk.Backlog, error) { return r.Desk.Backlogs(ctx) })
		oc.Stats.SetExtension(backlogMemo, all)
	}
	r.backlogs.Unlock()
	found, err := all()
	return found[id], err
}
