// Package graph is the door: ids in, one call of desk, rows out. It decides nothing. A resolver parses, calls one
// operation and returns; what an operation changed is read again after its commit, by the selection under the payload's
// field. The schema is schema/*.graphql; graph/exec and graph/model/generated.go are made from it; graph/transport
// speaks HTTP and sockets, graph/live serves the event streams.
package graph

import (
	"context"
	"sync"

	"tributary/desk"
	"tributary/ent"
	"tributary/graph/live"
	"tributary/graph/model"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// Resolver answers the contract's fields.
type Resolver struct {
	Desk *desk.Desk
	Live *live.Live

	backlogs sync.Mutex // guards what an operation remembers of them
}

// query is what every ent query offers the door.
type query[Q, N any] interface {
	Load(context.Context, ...string) (Q, error)
	Only(context.Context) (N, error)
}

func first[Q query[Q, N], N any](ctx context.Context, q Q, err error, path ...string) (n N, _ error) {
	if err != nil {
		return n, err
	}
	if q, err = q.Load(ctx, path...); err != nil {
		return n, err
	}
	n, err = q.Only(ctx)
	return n, ent.MaskNotFound(err)
}

func one[Q query[Q, N], N any](ctx context.Context, get func(context.Context, gid.ID) (Q, error), id gid.ID, path ...string) (N, error) {
	q, err := get(ctx, id)
	return first(ctx, q, err, path...)
}

// pager is what every ent query offers as a connection.
type pager[C any] interface {
	Page(ctx context.Context, o page.Order, first *int, after *page.Cursor, last *int, before *page.Cursor) (C, error)
}

func paged[Q pager[C], C any](ctx context.Context, q Q, o page.Order, err error, first *int, after *page.Cursor, last *int, before *page.Cursor) (c C, _ error) {
	if err != nil {
		return c, err
	}
	return q.Page(ctx, o, first, after, last, before)
}

// many runs a list by its selection.
type many[Q, N any] interface {
	Load(context.Context, ...string) (Q, error)
	All(context.Context) ([]N, error)
}

func list[Q many[Q, N], N any](ctx context.Context, q Q, err error, path ...string) ([]N, error) {
	if err != nil {
		return nil, err
	}
	if q, err = q.Load(ctx, path...); err != nil {
		return nil, err
	}
	return q.All(ctx)
}

// outcome reads what an operation changed, after its commit, by the selection under the payload's field.
func outcome[Q query[Q, *N], N any](ctx context.Context, r *Resolver, get func(context.Context, gid.ID) (Q, error), id gid.ID, err error, path string) (n *N, refused []*desk.Refusal, _ error) {
	if refused, err = r.refused(ctx, err); err != nil || id.IsZero() {
		return nil, refused, err
	}
	n, err = one(ctx, get, id, path)
	return n, refused, err
}

// refused turns an expected no into the contract's userErrors, with what stood in the way.
func (r *Resolver) refused(ctx context.Context, err error) ([]*desk.Refusal, error) {
	no, ok := desk.RefusalOf(err)
	if !ok {
		return []*desk.Refusal{}, err
	}
	if !no.ConflictID.IsZero() {
		// What the viewer may not see stays null.
		no.Conflict, _ = r.node(ctx, no.ConflictID, "userErrors", "conflict")
	}
	return []*desk.Refusal{no}, nil
}

// node is the table behind node(id:): the same queries as every other way in.
func (r *Resolver) node(ctx context.Context, id gid.ID, path ...string) (ent.Noder, error) {
	d := r.Desk
	switch id.Kind() {
	case gid.Workspace:
		return noder(one(ctx, d.Workspace, id, path...))
	case gid.Agent:
		return noder(one(ctx, d.Agent, id, path...))
	case gid.AgentStatus:
		return noder(one(ctx, d.AgentStatus, id, path...))
	case gid.Role:
		return noder(one(ctx, d.Role, id, path...))
	case gid.Session:
		return noder(one(ctx, d.Session, id, path...))
	case gid.App:
		return noder(one(ctx, d.App, id, path...))
	case gid.APIKey:
		return noder(one(ctx, d.APIKey, id, path...))
	case gid.Team:
		return noder(one(ctx, d.Team, id, path...))
	case gid.CapacityProfile:
		return noder(one(ctx, d.CapacityProfile, id, path...))
	case gid.Queue:
		return noder(one(ctx, d.Queue, id, path...))
	case gid.Channel:
		return noder(one(ctx, d.Channel, id, path...))
	case gid.Skill:
		return noder(one(ctx, d.Skill, id, path...))
	case gid.StatusReason:
		return noder(one(ctx, d.StatusReason, id, path...))
	case gid.AgentPhone:
		return noder(one(ctx, d.AgentPhone, id, path...))
	case gid.Flow:
		return noder(one(ctx, d.Flow, id, path...))
	case gid.FlowVersion:
		return noder(one(ctx, d.FlowVersion, id, path...))
	case gid.Prompt:
		return noder(one(ctx, d.Prompt, id, path...))
	}
	return r.matter(ctx, id, path...)
}

// matter is the other half of the table: what customers and agents talk about.
func (r *Resolver) matter(ctx context.Context, id gid.ID, path ...string) (ent.Noder, error) {
	d := r.Desk
	switch id.Kind() {
	case gid.Customer:
		return noder(one(ctx, d.Customer, id, path...))
	case gid.Identity:
		return noder(one(ctx, d.Identity, id, path...))
	case gid.MergeCandidate:
		return noder(one(ctx, d.MergeCandidate, id, path...))
	case gid.CustomerMerge:
		return noder(one(ctx, d.CustomerMerge, id, path...))
	case gid.Conversation:
		return noder(one(ctx, d.Conversation, id, path...))
	case gid.Participant:
		return noder(one(ctx, d.Participant, id, path...))
	case gid.Interaction:
		return noder(one(ctx, d.Interaction, id, path...))
	case gid.Message:
		return noder(one(ctx, d.Message, id, path...))
	case gid.Note:
		return noder(one(ctx, d.Note, id, path...))
	case gid.Attachment:
		return noder(one(ctx, d.Attachment, id, path...))
	case gid.Offer:
		return noder(one(ctx, d.Offer, id, path...))
	case gid.Assignment:
		return noder(one(ctx, d.Assignment, id, path...))
	case gid.RoutingDecision:
		return noder(one(ctx, d.RoutingDecision, id, path...))
	case gid.Call:
		return noder(one(ctx, d.Call, id, path...))
	case gid.CallLeg:
		return noder(one(ctx, d.CallLeg, id, path...))
	case gid.Recording:
		return noder(one(ctx, d.Recording, id, path...))
	case gid.TimelineItem:
		t, err := one(ctx, d.TimelineItem, id, path...)
		if t == nil || err != nil {
			return nil, err
		}
		return model.Item(t), nil
	case gid.Job:
		j, err := d.DeadLetter(ctx, id)
		if err != nil {
			return nil, err
		}
		row, err := j.WithChannel().Only(ctx)
		if err != nil {
			return nil, ent.MaskNotFound(err)
		}
		return deadLetter(row), nil
	}
	return nil, nil
}

// noder keeps a nil row a nil interface.
func noder[N interface {
	comparable
	ent.Noder
}](n N, err error) (ent.Noder, error) {
	var zero N
	if n == zero || err != nil {
		return nil, err
	}
	return n, nil
}

// actor keeps a nil row a nil interface.
func actor[N interface {
	comparable
	ent.Actor
}](n N, err error) (ent.Actor, error) {
	var zero N
	if n == zero || err != nil {
		return nil, err
	}
	return n, nil
}

type originKey struct{}

// WithOrigin notes the page that a request came from; sites admit some and not others.
func WithOrigin(ctx context.Context, origin string) context.Context {
	return context.WithValue(ctx, originKey{}, origin)
}

func originOf(ctx context.Context) string { s, _ := ctx.Value(originKey{}).(string); return s }

func me(ctx context.Context) *viewer.Viewer { return viewer.From(ctx) }

// visitorErrors turns an expected no into the visitor's form: no objects.
func visitorErrors(err error) ([]*desk.Refusal, error) {
	no, ok := desk.RefusalOf(err)
	if !ok {
		return []*desk.Refusal{}, err
	}
	no.Conflict = nil
	return []*desk.Refusal{no}, nil
}
