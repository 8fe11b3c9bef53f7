package schema

import (
	"context"

	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
	"tributary/internal/viewer"
)

func workspaceOf(ctx context.Context) gid.ID {
	if v := viewer.From(ctx); v != nil {
		return v.Workspace
	}
	return gid.ID{}
}

// Role is a named set of scopes with a reach. Built in: agent, supervisor, admin, bi.
type Role struct{ ent.Schema }

// Mixin of Role.
func (Role) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Role.
func (Role) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Role), field.String("name"), field.String("description").Optional().Nillable(),
		field.JSON("scopes", []viewer.Scope{}), field.Enum("reach").Values("OWN", "TEAMS", "ALL"),
		field.JSON("personal_shown", []string{}).Default([]string{}), field.Bool("built_in").Default(false),
	}
}

// Indexes of Role.
func (Role) Indexes() []ent.Index { return []ent.Index{index.Fields("workspace_id", "name").Unique()} }

// Session is a login, nothing else. The refresh token rotates; the hash of the newest is stored.
type Session struct{ ent.Schema }

// Mixin of Session.
func (Session) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of Session.
func (Session) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Session), refOnce("agent_id"), field.String("client").Default(""),
		field.Bytes("refresh_hash").Sensitive(),
		field.Time("created_at").Default(Now).Immutable(), field.Time("last_seen_at").Default(Now),
		field.Time("expires_at"), timeOptional("revoked_at"),
	}
}

// Edges of Session.
func (Session) Edges() []ent.Edge {
	return []ent.Edge{edge.To("agent", Agent.Type).Field("agent_id").Unique().Required().Immutable()}
}

// Indexes of Session.
func (Session) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "agent_id")}
}

// App is a program of a third party, acting under its own name.
type App struct{ ent.Schema }

// Mixin of App.
func (App) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of App.
func (App) Fields() []ent.Field {
	return []ent.Field{key(gid.App), field.String("display_name"), field.JSON("scopes", []viewer.Scope{}), field.Bool("enabled").Default(true)}
}

// Annotations of App.
func (App) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Types: []string{"Actor"}}}
}

// Edges of App.
func (App) Edges() []ent.Edge { return []ent.Edge{edge.To("keys", APIKey.Type)} }

// APIKey is a secret of an app, shown once; only its hash is stored.
type APIKey struct{ ent.Schema }

// Mixin of APIKey.
func (APIKey) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of APIKey.
func (APIKey) Fields() []ent.Field {
	return []ent.Field{
		key(gid.APIKey), refOnce("app_id"), field.Enum("kind").Values("APP", "BI").Immutable(), field.String("prefix").Immutable(),
		field.Bytes("hash").Immutable().Sensitive(), field.JSON("scopes", []viewer.Scope{}).Immutable(),
		field.Time("created_at").Default(Now).Immutable(), timeOptional("expires_at"), timeOptional("last_used_at"), timeOptional("revoked_at"),
	}
}

// Edges of APIKey.
func (APIKey) Edges() []ent.Edge {
	return []ent.Edge{edge.From("app", App.Type).Ref("keys").Field("app_id").Unique().Required().Immutable()}
}

// Indexes of APIKey. The hash is looked up before the workspace is known; it is of 256 random bits.
func (APIKey) Indexes() []ent.Index { return []ent.Index{index.Fields("hash")} }

// Team is who belongs together.
type Team struct{ ent.Schema }

// Mixin of Team.
func (Team) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Team.
func (Team) Fields() []ent.Field {
	return []ent.Field{key(gid.Team), field.String("name"), refOptional("parent_id")}
}

// Edges of Team.
func (Team) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("children", Team.Type).From("parent").Field("parent_id").Unique(),
		edge.From("members", Agent.Type).Ref("teams").Through("team_members", TeamMember.Type).Annotations(Paged{Column: "id", Desc: false}),
	}
}

// Indexes of Team.
func (Team) Indexes() []ent.Index { return []ent.Index{index.Fields("workspace_id", "name").Unique()} }

// TeamMember joins agents and teams; a row of its own so that it carries the workspace.
type TeamMember struct{ ent.Schema }

// Mixin of TeamMember.
func (TeamMember) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of TeamMember.
func (TeamMember) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("agent_id"), refOnce("team_id")}
}

// Edges of TeamMember.
func (TeamMember) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Required().Immutable(),
		edge.To("team", Team.Type).Field("team_id").Unique().Required().Immutable(),
	}
}

// Indexes of TeamMember.
func (TeamMember) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "team_id", "agent_id").Unique()}
}

// Access says by what a subject (agent or team) sees a conversation (MODEL 6): one row per reason, so that taking one
// reason away leaves the others. The same rows are the predicate of lists and the audience of events.
type Access struct{ ent.Schema }

// Mixin of Access.
func (Access) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Access.
func (Access) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), refOnce("conversation_id"), refOnce("subject_id"),
		field.Enum("reason").Values("OWNER", "TEAM", "QUEUE", "OFFER", "SERVED", "FOLLOWS").Immutable(),
	}
}

// Edges of Access.
func (Access) Edges() []ent.Edge {
	return []ent.Edge{edge.From("conversation", Conversation.Type).Ref("access").Field("conversation_id").Unique().Required().Immutable()}
}

// Indexes of Access.
func (Access) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("workspace_id", "conversation_id", "subject_id", "reason").Unique(),
		index.Fields("workspace_id", "subject_id", "conversation_id"),
	}
}

// Lease is the leadership of one piece of work (relay, router, sweep), for all workspaces: it has no workspace and holds
// nothing of one. The epoch rises with each new holder.
type Lease struct{ ent.Schema }

// Fields of Lease.
func (Lease) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), field.String("name").Unique().Immutable(), field.String("holder"), field.Int64("epoch").Default(1), field.Time("expires_at"),
	}
}
