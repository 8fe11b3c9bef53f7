package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// Queue is where interactions wait. Its team serves it; without a team everyone does.
type Queue struct{ ent.Schema }

// Mixin of Queue.
func (Queue) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Queue.
func (Queue) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Queue), field.String("name"), field.String("description").Optional().Nillable(), refOptional("team_id"),
		field.Enum("strategy").Values("LONGEST_IDLE").Default("LONGEST_IDLE"),
		field.Int("offer_seconds").Default(30), field.Int("wrap_up_seconds").Default(0), field.Int("sticky_seconds").Default(120),
		field.Int("pause_after_reply_seconds").Optional().Nillable(), field.Int("silent_after_seconds").Optional().Nillable(),
		field.Int("break_after_misses").Default(3), field.Bool("restricted").Default(false),
		field.Int("ring_seconds").Default(20), field.Enum("recording").Values("NEVER", "ALWAYS").Default("NEVER"), refOptional("waiting_prompt_id"),
	}
}

// Edges of Queue.
func (Queue) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("team", Team.Type).Field("team_id").Unique(), edge.To("needs", SkillNeed.Type),
		edge.To("waiting_prompt", Prompt.Type).Field("waiting_prompt_id").Unique(),
	}
}

// Indexes of Queue.
func (Queue) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "name").Unique()}
}

// Offer is an interaction reserved for one agent for a short time.
type Offer struct{ ent.Schema }

// Mixin of Offer.
func (Offer) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Offer. cost is what it reserves of the agent's capacity; expires_at moves once, when a call's offer was accepted and
// the agent's leg has time to come up.
func (Offer) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Offer), ref("conversation_id"), refOnce("interaction_id"), refOnce("agent_id"), refOptionalOnce("queue_id"),
		field.Enum("state").Values("PENDING", "ACCEPTED", "DECLINED", "EXPIRED", "WITHDRAWN").Default("PENDING"),
		field.Enum("outcome").Values("DECLINED", "EXPIRED", "NO_ANSWER", "WITHDRAWN", "LOST").Optional().Nillable(),
		field.JSON("reasons", []string{}).Default([]string{}), refOptionalOnce("decision_id"), field.Int("cost").Default(0),
		field.Int64("epoch").Default(0).Immutable(), field.Bool("connecting").Default(false),
		field.Time("offered_at").Default(Now).Immutable(), field.Time("expires_at"), timeOptional("closed_at"),
		field.String("decline_reason").Optional().Nillable(),
	}
}

// Annotations of Offer. Why it was declined is content of a restricted queue.
func (Offer) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Always: []string{"queue_id"}}}
}

// Edges of Offer.
func (Offer) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("interaction", Interaction.Type).Ref("offers").Field("interaction_id").Unique().Required().Immutable(),
		edge.To("conversation", Conversation.Type).Field("conversation_id").Unique().Required(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Required().Immutable(),
		edge.To("queue", Queue.Type).Field("queue_id").Unique().Immutable(),
		edge.To("decision", RoutingDecision.Type).Field("decision_id").Unique().Immutable(),
	}
}

// Indexes of Offer. The first is the promise of one pending offer per interaction.
func (Offer) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("workspace_id", "interaction_id").Unique().Annotations(entsql.IndexWhere("state = 'PENDING'")),
		index.Fields("workspace_id", "agent_id", "state"), index.Fields("interaction_id", "offered_at"),
		index.Fields("state", "expires_at"),
	}
}

// Assignment is who served what from when to when, with the reason.
type Assignment struct{ ent.Schema }

// Mixin of Assignment.
func (Assignment) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of Assignment.
func (Assignment) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Assignment), refOnce("interaction_id"), refOnce("agent_id"), refOptionalOnce("queue_id"), refOptionalOnce("offer_id"),
		field.Enum("kind").Values("OFFER", "CLAIM", "PUSH", "TRANSFER", "CONSULT").Immutable(), field.String("reason").Immutable(),
		field.Time("started_at").Default(Now).Immutable(), timeOptional("ended_at"),
	}
}

// Edges of Assignment.
func (Assignment) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("interaction", Interaction.Type).Ref("assignments").Field("interaction_id").Unique().Required().Immutable(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Required().Immutable(),
		edge.To("queue", Queue.Type).Field("queue_id").Unique().Immutable(),
		edge.To("offer", Offer.Type).Field("offer_id").Unique().Immutable(),
	}
}

// Indexes of Assignment.
func (Assignment) Indexes() []ent.Index {
	return []ent.Index{index.Fields("interaction_id", "started_at"), index.Fields("workspace_id", "agent_id", "started_at")}
}

// Candidate is an agent whom a decision weighed.
type Candidate struct {
	AgentID     gid.ID  `json:"agentId"`
	Score       float64 `json:"score"`
	IdleSeconds int     `json:"idleSeconds"`
	Left        int     `json:"capacityLeft"`
}

// RoutingDecision says why an interaction went where it went.
type RoutingDecision struct{ ent.Schema }

// Mixin of RoutingDecision.
func (RoutingDecision) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of RoutingDecision. excluded counts the agents left out, by cause.
func (RoutingDecision) Fields() []ent.Field {
	return []ent.Field{
		key(gid.RoutingDecision), refOnce("interaction_id"), refOptionalOnce("queue_id"), refOnce("chosen_id"),
		field.Enum("outcome").Values("OFFERED", "ASSIGNED_BY_HAND").Immutable(),
		field.JSON("reasons", []string{}).Immutable(), field.JSON("candidates", []Candidate{}).Immutable(),
		field.JSON("excluded", map[string]int{}).Immutable(), field.Int64("microseconds").Default(0).Immutable(), field.Time("at").Default(Now).Immutable(),
	}
}

// Edges of RoutingDecision.
func (RoutingDecision) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("interaction", Interaction.Type).Ref("decisions").Field("interaction_id").Unique().Required().Immutable(),
		edge.To("queue", Queue.Type).Field("queue_id").Unique().Immutable(),
		edge.To("chosen", Agent.Type).Field("chosen_id").Unique().Required().Immutable(),
	}
}

// Indexes of RoutingDecision.
func (RoutingDecision) Indexes() []ent.Index {
	return []ent.Index{index.Fields("interaction_id", "at")}
}
