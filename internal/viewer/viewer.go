// Package viewer carries who is asking. One Viewer is made per request or socket at the door (by internal/auth) and put
// into the context; without one every query and mutation of ent is refused (deny by default), and every operation of
// desk, knowledge and insight asks it for its right.
//
// A Viewer is immutable: a changed role or team makes a new one. Class names everything in it that can change the bytes
// of an answer without naming the person, so that live streams can be encoded once for many.
package viewer

import (
	"context"
	"errors"
	"slices"
	"strings"

	"tributary/internal/gid"
)

// Scope is a right of the contract (`enum Scope`).
type Scope string

// The scopes that the contract knows so far.
const (
	Self              Scope = "SELF"
	Visitor           Scope = "VISITOR"
	CustomerRead      Scope = "CUSTOMER_READ"
	CustomerWrite     Scope = "CUSTOMER_WRITE"
	ConversationRead  Scope = "CONVERSATION_READ"
	ConversationWrite Scope = "CONVERSATION_WRITE"
	Supervise         Scope = "SUPERVISE"
	CallControl       Scope = "CALL_CONTROL"
	RecordingRead     Scope = "RECORDING_READ"
	RoutingRead       Scope = "ROUTING_READ"
	RoutingWrite      Scope = "ROUTING_WRITE"
	PeopleRead        Scope = "PEOPLE_READ"
	PeopleWrite       Scope = "PEOPLE_WRITE"
	ChannelRead       Scope = "CHANNEL_READ"
	ChannelWrite      Scope = "CHANNEL_WRITE"
	MetricRead        Scope = "METRIC_READ"
	SettingRead       Scope = "SETTING_READ"
	SettingWrite      Scope = "SETTING_WRITE"
	APIWrite          Scope = "API_WRITE"
	SystemAdmin       Scope = "SYSTEM_ADMIN"
)

// Kind is who asks (`enum ViewerKind`).
type Kind string

// The kinds of viewers.
const (
	KindAgent    Kind = "AGENT"
	KindApp      Kind = "APP"
	KindBI       Kind = "BI"
	KindCustomer Kind = "CUSTOMER"
	KindSystem   Kind = "SYSTEM"
)

// Reach says whose conversations are seen (MODEL 6).
type Reach string

// The three reaches.
const (
	ReachOwn   Reach = "OWN"
	ReachTeams Reach = "TEAMS"
	ReachAll   Reach = "ALL"
)

// ErrNone is the refusal of everything that is asked without a viewer.
var ErrNone = errors.New("no viewer in the context")

// Viewer is who asks. Never change one that is in a context.
type Viewer struct {
	Kind      Kind
	Workspace gid.ID
	Actor     gid.ID // agent, app or customer; zero for the system
	Role      gid.ID
	Token     gid.ID // the session, app key or visitor session that proved it
	Scopes    []Scope
	Reach     Reach
	Teams     []gid.ID // with sub-teams
	Withheld  []gid.ID // restricted queues whose member he is not: their content is hidden, whatever his reach
	Clear     []string // personal kinds shown in the clear
	Identity  gid.ID   // of a visitor
	Channel   gid.ID   // of a visitor
	Locale    string

	// global is set by Global alone: the process itself, over all workspaces.
	global bool
}

// Has reports whether the viewer holds the scope. The system holds all but the visitor's.
func (v *Viewer) Has(s Scope) bool {
	if v.Kind == KindSystem && (v.global || !v.Workspace.IsZero()) {
		return s != Visitor
	}
	return slices.Contains(v.Scopes, s)
}

// SeesAll reports whether reach cuts nothing.
func (v *Viewer) SeesAll() bool {
	return v.Reach == ReachAll || v.Kind == KindSystem && (v.global || !v.Workspace.IsZero())
}

// Withholds reports whether what was said in a queue's interactions is hidden from the viewer (MODEL 6).
func (v *Viewer) Withholds(queue *gid.ID) bool {
	return queue != nil && slices.Contains(v.Withheld, *queue)
}

// IsGlobal reports whether the viewer is the process itself, over all workspaces.
func (v *Viewer) IsGlobal() bool { return v.global }

// Subjects are the ids by which the viewer may stand in an audience: himself, and with reach TEAMS his teams.
func (v *Viewer) Subjects() []gid.ID {
	out := make([]gid.ID, 0, len(v.Teams)+1)
	if !v.Actor.IsZero() {
		out = append(out, v.Actor)
	}
	if v.Reach == ReachTeams {
		out = append(out, v.Teams...)
	}
	return out
}

// Class names everything that may change the bytes of an answer, and not who asks; reach OWN is a class of its own per
// viewer (MODEL 8), so is a visitor.
func (v *Viewer) Class() string {
	var b strings.Builder
	b.WriteString(v.Workspace.String() + "|" + string(v.Kind) + "|" + v.Role.String() + "|" + string(v.Reach) + "|" + v.Locale + "|")
	for _, s := range v.Scopes {
		b.WriteString(string(s) + ",")
	}
	b.WriteByte('|')
	for _, k := range v.Clear {
		b.WriteString(k + ",")
	}
	b.WriteByte('|')
	for _, q := range v.Withheld {
		b.WriteString(q.String() + ",")
	}
	switch {
	case v.Kind == KindCustomer:
		b.WriteString("|" + v.Identity.String())
	case v.Reach == ReachOwn:
		b.WriteString("|" + v.Actor.String())
	case v.Reach == ReachTeams:
		b.WriteByte('|')
		for _, t := range v.Teams {
			b.WriteString(t.String() + ",")
		}
	}
	return b.String()
}

type (
	key     struct{}
	liveKey struct{}
)

// With puts the viewer into the context.
func With(ctx context.Context, v *Viewer) context.Context { return context.WithValue(ctx, key{}, v) }

// From is the viewer of the context, nil if nobody asks.
func From(ctx context.Context) *Viewer { v, _ := ctx.Value(key{}).(*Viewer); return v }

// System is the process acting inside one workspace: jobs, router, relay.
func System(ctx context.Context, workspace gid.ID) context.Context {
	return With(ctx, &Viewer{Kind: KindSystem, Workspace: workspace, Reach: ReachAll})
}

// Acting is System on behalf of somebody whose right was checked.
func Acting(ctx context.Context, workspace, actor gid.ID) context.Context {
	return With(ctx, &Viewer{Kind: KindSystem, Workspace: workspace, Actor: actor, Reach: ReachAll})
}

// Global is the process acting over all workspaces: finding a token's owner, sweeping leases. Lint allows it in few
// rooms only.
func Global(ctx context.Context) context.Context {
	return With(ctx, &Viewer{Kind: KindSystem, Reach: ReachAll, global: true})
}

// Live marks a subscription: personal values stay masked whoever reads.
func Live(ctx context.Context) context.Context { return context.WithValue(ctx, liveKey{}, true) }

// IsLive reports whether the context is of a subscription.
func IsLive(ctx context.Context) bool { b, _ := ctx.Value(liveKey{}).(bool); return b }
