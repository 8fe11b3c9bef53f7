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
	asked := map[string]bool{}
	for _, f := range graphql.CollectFieldsCtx(ctx, nil) {
		asked[f.Name] = true
	}
	if asked["backlogIn"] || asked["backlogOut"] || asked["deadLetters"] {
		b, err := r.backlog(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		h.BacklogIn, h.BacklogOut, h.DeadLetters = b.In, b.Out, b.Dead
	}
	if asked["pulls"] || asked["state"] {
		all, err := once(ctx, r, pullsMemo, r.Desk.Pulls)
		if err != nil {
			return nil, err
		}
		h.Pulls = append([]*ent.Pull{}, all[c.ID]...)
	}
	for _, p := range h.Pulls {
		if h.State == model.HealthStateOk && p.Error != nil {
			h.State = model.HealthStateDegraded
		}
	}
	return h, nil
}

const (
	backlogMemo = "tributary.backlogs"
	pullsMemo   = "tributary.pulls"
	phonesMemo  = "tributary.phones"
	aliveMemo   = "tributary.alive"
	targetsMemo = "tributary.targets"
)

// backlog of a channel. A query counts those of all channels once, however many it shows; mutations and streams, which
// go on while the numbers change, count each time.
func (r *Resolver) backlog(ctx context.Context, id gid.ID) (desk.Backlog, error) {
	if !inQuery(ctx) {
		return r.Desk.Backlog(ctx, id)
	}
	found, err := once(ctx, r, backlogMemo, r.Desk.Backlogs)
	return found[id], err
}

func inQuery(ctx context.Context) bool {
	oc := graphql.GetOperationContext(ctx)
	return oc.Operation != nil && oc.Operation.Operation == ast.Query
}

// once asks for something of the whole workspace at most once in a query; elsewhere each time.
func once[T any](ctx context.Context, r *Resolver, memo string, ask func(context.Context) (T, error)) (T, error) {
	if !inQuery(ctx) {
		return ask(ctx)
	}
	oc := graphql.GetOperationContext(ctx)
	r.backlogs.Lock()
	all, known := oc.Stats.GetExtension(memo).(func() (T, error))
	if !known {
		all = sync.OnceValues(func() (T, error) { return ask(ctx) })
		oc.Stats.SetExtension(memo, all)
	}
	r.backlogs.Unlock()
	return all()
}

// registration is what a phone calls itself, and whether it is registered. A query reads those of all phones once; streams
// read the one that they show.
func (r *Resolver) registration(ctx context.Context, id gid.ID) (name string, registered bool, err error) {
	if !inQuery(ctx) {
		return r.Desk.RegisteredPhone(ctx, id)
	}
	all, err := once(ctx, r, phonesMemo, r.Desk.RegisteredPhones)
	name, registered = all[id]
	return name, registered, err
}

// alive reports whether the agent of a status can be reached now; a status that has ended tells nothing of now.
func (r *Resolver) alive(ctx context.Context, s *ent.AgentStatus) (bool, error) {
	if s.EndedAt != nil {
		return false, nil
	}
	if !inQuery(ctx) {
		return r.Desk.AgentAlive(ctx, s.AgentID)
	}
	all, err := once(ctx, r, aliveMemo, r.Desk.AgentsAlive)
	return all[s.AgentID], err
}
