package schema

import (
	"context"

	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
	"tributary/internal/personal"
)

// Agent is a person who serves; has a role, teams, one status over all channels.
type Agent struct{ ent.Schema }

// Mixin of Agent.
func (Agent) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Agent.
func (Agent) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Agent), field.String("display_name"),
		field.String("email").GoType(personal.Value{}).ValueScanner(personal.Scanner("agent.email")).SchemaType(bytesType).Sensitive(),
		field.String("email_blind").Sensitive(),
		ref("role_id"), field.Bool("active").Default(true), field.String("locale").Optional().Nillable(),
		field.String("password_hash").Optional().Nillable().Sensitive(),
		field.Bytes("invitation_hash").Optional().Nillable().Sensitive(), timeOptional("invitation_until"),
		ref("capacity_profile_id"), refOptional("status_id"),
	}
}

// Annotations of Agent.
func (Agent) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{
		Types: []string{"Actor"}, Via: map[string][]string{"capacity": {"load", "capacity_profile"}},
		Needs: map[string][]string{"invitedUntil": {"invitation_until"}},
	}}
}

// Edges of Agent.
func (Agent) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("role", Role.Type).Field("role_id").Unique().Required(),
		edge.To("capacity_profile", CapacityProfile.Type).Field("capacity_profile_id").Unique().Required(),
		edge.To("load", AgentLoad.Type).Unique(),
		edge.To("status_history", AgentStatus.Type).Annotations(Paged{Column: "since", Desc: true}), edge.To("status", AgentStatus.Type).Field("status_id").Unique(),
		edge.To("known", Skill.Type).Through("skills", AgentSkill.Type),
		edge.To("teams", Team.Type).Through("team_members", TeamMember.Type),
		edge.From("follows", Conversation.Type).Ref("followers").Through("follow_rows", Follower.Type),
		edge.From("consults", Interaction.Type).Ref("consultants").Through("consult_rows", Consultant.Type),
		edge.To("phones", AgentPhone.Type),
		edge.From("mentioned_in", Note.Type).Ref("mentions").Through("mentioned_rows", Mention.Type),
	}
}

// Indexes of Agent. The second serves the login, which knows no workspace yet.
func (Agent) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "email_blind").Unique(), index.Fields("invitation_hash")}
}

// Hooks of Agent: the blind index follows the address by itself.
func (Agent) Hooks() []ent.Hook { return []ent.Hook{blindHook("email", "email_blind", "agent.email")} }

// blindHook sets the blind index of a personal field, keyed by the row's workspace.
func blindHook(name, shadow, ad string) ent.Hook {
	return func(next ent.Mutator) ent.Mutator {
		return ent.MutateFunc(func(ctx context.Context, m ent.Mutation) (ent.Value, error) {
			v, ok := m.Field(name)
			if !ok {
				return next.Mutate(ctx, m)
			}
			ws, ok := m.Field("workspace_id")
			if !ok { // an update: its workspace is the viewer's
				ws = workspaceOf(ctx)
			}
			if err := m.SetField(shadow, personal.Blind(ws.(gid.ID), ad, v.(personal.Value).Clear())); err != nil {
				return nil, err
			}
			return next.Mutate(ctx, m)
		})
	}
}

// AgentStatus is one stretch of an agent's one status over all channels; the one not ended is in force.
type AgentStatus struct{ ent.Schema }

// Mixin of AgentStatus.
func (AgentStatus) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of AgentStatus.
func (AgentStatus) Fields() []ent.Field {
	return []ent.Field{
		key(gid.AgentStatus), refOnce("agent_id"),
		field.Enum("state").Values("AVAILABLE", "BUSY", "BREAK", "OFFLINE").Immutable(),
		refOptionalOnce("reason_id"), refOptionalOnce("set_by_id"),
		field.Time("since").Default(Now).Immutable(), timeOptional("ended_at"),
	}
}

// Annotations of AgentStatus.
func (AgentStatus) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Needs: map[string][]string{"live": {"agent_id", "ended_at"}}}}
}

// Edges of AgentStatus.
func (AgentStatus) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("agent", Agent.Type).Ref("status_history").Field("agent_id").Unique().Required().Immutable(),
		edge.To("reason", StatusReason.Type).Field("reason_id").Unique().Immutable(),
	}
}

// Indexes of AgentStatus: one status at a time.
func (AgentStatus) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("workspace_id", "agent_id").Unique().Annotations(entsql.IndexWhere("ended_at IS NULL")),
		index.Fields("agent_id", "since"),
	}
}

// CapacityRule is what an interaction of one channel kind costs.
type CapacityRule struct {
	ChannelKind  string `json:"channelKind"`
	UnitsEach    int    `json:"unitsEach"`
	MaxAtOnce    int    `json:"maxAtOnce"`
	BlocksOthers bool   `json:"blocksOthers"`
}

// CapacityProfile says how much an agent can carry (MODEL 2).
type CapacityProfile struct{ ent.Schema }

// Mixin of CapacityProfile.
func (CapacityProfile) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of CapacityProfile.
func (CapacityProfile) Fields() []ent.Field {
	return []ent.Field{
		key(gid.CapacityProfile), field.String("name"), field.Int("units").Default(4),
		field.JSON("rules", []CapacityRule{}).Default([]CapacityRule{}), field.Bool("built_in").Default(false),
	}
}

// Indexes of CapacityProfile.
func (CapacityProfile) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "name").Unique()}
}

// AgentLoad is the one row of an agent that holds what he carries; the decision that adds to it updates it
// conditionally in its own statement.
type AgentLoad struct{ ent.Schema }

// Mixin of AgentLoad.
func (AgentLoad) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of AgentLoad. blocker is the interaction of a blocking kind that admits nothing beside it.
func (AgentLoad) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), refOnce("agent_id"), field.Int("used").Default(0),
		field.JSON("used_by", map[string]int{}).Default(map[string]int{}), field.Int("count").Default(0),
		refOptional("blocker_id"), field.Time("idle_since").Default(Now),
		field.Int("misses").Default(0), field.Int("version").Default(1),
	}
}

// Edges of AgentLoad.
func (AgentLoad) Edges() []ent.Edge {
	return []ent.Edge{edge.From("agent", Agent.Type).Ref("load").Field("agent_id").Unique().Required().Immutable()}
}

// Indexes of AgentLoad.
func (AgentLoad) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "agent_id").Unique()}
}

// Presence is a lease: who is connected where. Leases are rows, so an emptied cache makes nobody go offline (MODEL 2).
type Presence struct{ ent.Schema }

// Mixin of Presence.
func (Presence) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Presence. subject is an agent or a visitor's identity; node the process that holds the sockets.
func (Presence) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), refOnce("subject_id"), field.String("node").Immutable(), field.Int("sockets").Default(0), field.Time("seen_at"),
	}
}

// Indexes of Presence.
func (Presence) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "subject_id", "node").Unique(), index.Fields("seen_at")}
}
