package graph

import (
	"context"
	"slices"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"tributary/channels"
	"tributary/desk"
	"tributary/ent"
	"tributary/ent/job"
	"tributary/graph/model"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/personal"
)

// Shapes of the contract that are no rows.

// some is nil for an empty text.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// seconds from one time to another; nil while one is missing.
func seconds(from, to *time.Time) *int {
	if from == nil || to == nil {
		return nil
	}
	n := max(int(to.Sub(*from)/time.Second), 0)
	return &n
}

// kindOf is the sort of personal value behind an identity kind.
func kindOf(k string) personal.Kind {
	switch k {
	case channels.IdentityPhone:
		return "PHONE"
	case channels.IdentityEmail:
		return "EMAIL"
	}
	return "EXTERNAL_ID"
}

func capacityOf(ctx context.Context, a *ent.Agent) ([]*model.CapacityUse, error) {
	l, err := a.Load(ctx)
	if err != nil {
		return nil, err
	}
	p, err := a.CapacityProfile(ctx)
	if err != nil || l == nil || p == nil {
		return []*model.CapacityUse{}, err
	}
	out := []*model.CapacityUse{{Used: l.Used, Max: p.Units}}
	for kind, n := range l.UsedBy {
		most := p.Units
		for _, r := range p.Rules {
			if r.ChannelKind == kind && r.MaxAtOnce > 0 {
				most = r.MaxAtOnce
			}
		}
		out = append(out, &model.CapacityUse{ChannelKind: &kind, Used: n, Max: most})
	}
	slices.SortFunc(out[1:], func(a, b *model.CapacityUse) int { return cmpText(*a.ChannelKind, *b.ChannelKind) })
	return out, nil
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func kindInfos(kinds []channels.Kind) []*model.ChannelKindInfo {
	out := make([]*model.ChannelKindInfo, len(kinds))
	for n, k := range kinds {
		schema, secrets := channels.ConfigSchema(k)
		out[n] = &model.ChannelKindInfo{Kind: k.Name, Title: k.Title, Live: k.Live != channels.Asynchronous, JoinOpen: k.JoinOpen, ConfigSchema: schema, SecretFields: secrets}
		if secrets == nil {
			out[n].SecretFields = []string{}
		}
	}
	return out
}

func exclusions(m map[string]int) []*model.ExclusionCount {
	out := []*model.ExclusionCount{}
	for cause, n := range m {
		out = append(out, &model.ExclusionCount{Cause: cause, Agents: n})
	}
	slices.SortFunc(out, func(a, b *model.ExclusionCount) int { return cmpText(a.Cause, b.Cause) })
	return out
}

// jobStates are the states of jobs behind those of dead letters.
func jobStates(states []model.DeadLetterState) []job.State {
	var out []job.State
	for _, s := range states {
		switch s {
		case model.DeadLetterStateOpen:
			out = append(out, job.StateDead)
		case model.DeadLetterStateDiscarded:
			out = append(out, job.StateDiscarded)
		}
	}
	return out
}

func deadLetter(j *ent.Job) *model.DeadLetter {
	out := &model.DeadLetter{ID: j.ID, Channel: j.Edges.Channel, Kind: j.Kind, Attempts: j.Attempt, FirstAt: j.CreatedAt, LastAt: j.FinishedAt, State: model.DeadLetterStateRetrying}
	if j.Error != nil {
		out.Error = *j.Error
	}
	switch j.State {
	case job.StateDead:
		out.State = model.DeadLetterStateOpen
	case job.StateDone:
		out.State = model.DeadLetterStateSolved
	case job.StateDiscarded:
		out.State = model.DeadLetterStateDiscarded
	}
	return out
}

func deadLetterPage(ctx context.Context, q *ent.JobQuery, o page.Order, err error, a page.Args) (*model.DeadLetterConnection, error) {
	if err != nil {
		return nil, err
	}
	p, err := a.Plan(o)
	if err != nil {
		return nil, err
	}
	rows, err := q.WithChannel().Where(p.Where).Order(p.OrderBy).Limit(p.Limit + 1).All(ctx)
	if err != nil {
		return nil, err
	}
	nodes, cursors, info := page.Build(p, rows, func(*ent.Job, string) any { return nil }, func(j *ent.Job) gid.ID { return j.ID })
	out := &model.DeadLetterConnection{PageInfo: &info, Nodes: []*model.DeadLetter{}, Edges: []*model.DeadLetterEdge{}}
	for n, j := range nodes {
		d := deadLetter(j)
		out.Nodes = append(out.Nodes, d)
		out.Edges = append(out.Edges, &model.DeadLetterEdge{Cursor: cursors[n], Node: d})
	}
	return out, nil
}

func (r *Resolver) deadLetters(ctx context.Context, ids []gid.ID, err error) ([]*model.DeadLetter, []*desk.Refusal, error) {
	refused, err := r.refused(ctx, err)
	if err != nil || len(refused) > 0 {
		return nil, refused, err
	}
	out := make([]*model.DeadLetter, 0, len(ids))
	for _, id := range ids {
		n, err := r.node(ctx, id)
		if err != nil {
			return nil, refused, err
		}
		if d, ok := n.(*model.DeadLetter); ok {
			out = append(out, d)
		}
	}
	return out, refused, nil
}

// loggedIn is what a login gives.
func (r *Resolver) loggedIn(ctx context.Context, l desk.Login, err error) (*ent.Session, *model.SessionTokens, []*desk.Refusal, error) {
	refused, err := r.refused(ctx, err)
	if err != nil || len(refused) > 0 {
		return nil, nil, refused, err
	}
	t := &model.SessionTokens{AccessToken: l.Access, AccessExpiresAt: l.AccessExpiresAt, RefreshToken: l.Refresh, RefreshExpiresAt: l.RefreshExpiresAt}
	s, err := r.Desk.OwnSession(ctx, l.Session)
	return s, t, refused, err
}

// viewer is who asks, with the rows that are selected.
func (r *Resolver) viewer(ctx context.Context) (*model.Viewer, error) {
	v := me(ctx)
	out := &model.Viewer{Kind: v.Kind, Scopes: v.Scopes}
	var err error
	for _, f := range graphql.CollectFieldsCtx(ctx, nil) {
		switch f.Name {
		case "workspace":
			out.Workspace, err = one(ctx, r.Desk.Workspace, v.Workspace, "workspace")
		case "agent":
			out.Agent, err = onlyKind(ctx, v.Actor, gid.Agent, r.Desk.Agent, "agent")
		case "app":
			out.App, err = onlyKind(ctx, v.Actor, gid.App, r.Desk.App, "app")
		case "session":
			out.Session, err = onlyKind(ctx, v.Token, gid.Session, r.Desk.Session, "session")
		}
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func onlyKind[Q query[Q, *N], N any](ctx context.Context, id gid.ID, k gid.Kind, get func(context.Context, gid.ID) (Q, error), path string) (*N, error) {
	if id.Kind() != k {
		return nil, nil
	}
	return one(ctx, get, id, path)
}

// nodes asks for each; what is absent or hidden is null in its place.
func (r *Resolver) nodes(ctx context.Context, ids []gid.ID) ([]ent.Noder, error) {
	if len(ids) > 100 {
		return nil, &desk.Refusal{Code: desk.LimitReached, Message: "at most 100 ids", Field: []string{"ids"}}
	}
	out := make([]ent.Noder, len(ids))
	for n, id := range ids {
		var err error
		if out[n], err = r.node(ctx, id); err != nil {
			return nil, err
		}
	}
	return out, nil
}
