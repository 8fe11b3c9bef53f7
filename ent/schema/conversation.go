package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
	"tributary/internal/personal"
)

// Conversation is a customer's matter; spans channels; has an owner, a state, a timeline. Every transaction that
// changes one of its interactions locks this row first: one matter, one writer.
type Conversation struct{ ent.Schema }

// Mixin of Conversation.
func (Conversation) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Conversation. audience repeats the subjects of its access rows, so that events copy it without a query.
func (Conversation) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Conversation), ref("customer_id"), field.Int("number").Immutable(), textOptional("subject"),
		field.Enum("state").Values("OPEN", "PENDING", "SNOOZED", "RESOLVED", "ARCHIVED").Default("OPEN"),
		field.Enum("priority").Values("LOW", "NORMAL", "HIGH", "URGENT").Default("NORMAL"),
		refOptional("team_id"), refOptional("owner_id"), refOptionalOnce("related_id"), refOptional("merged_into_id"),
		field.JSON("audience", []gid.ID{}).Default([]gid.ID{}),
		refOptional("last_message_id"), timeOptional("last_message_at"), timeOptional("waiting_since"), field.String("outcome").Optional().Nillable(),
		field.Time("opened_at").Default(Now).Immutable(), timeOptional("first_responded_at"), timeOptional("resolved_at"), timeOptional("snoozed_until"),
	}
}

// Annotations of Conversation.
func (Conversation) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Via: map[string][]string{"related": {"related_to"}}}}
}

// Edges of Conversation.
func (Conversation) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("customer", Customer.Type).Ref("conversations").Field("customer_id").Unique().Required(),
		edge.To("owner", Agent.Type).Field("owner_id").Unique(),
		edge.To("team", Team.Type).Field("team_id").Unique(),
		edge.To("followed_by", Conversation.Type).From("related_to").Field("related_id").Unique().Immutable(),
		edge.To("merged_from", Conversation.Type).From("merged_into").Field("merged_into_id").Unique(),
		edge.To("merge_suggestions", Conversation.Type).Through("suggested", MergeSuggestion.Type),
		edge.To("last_message", Message.Type).Field("last_message_id").Unique(),
		edge.To("interactions", Interaction.Type).Annotations(Paged{Column: "id", Desc: false}),
		edge.To("participants", Participant.Type).Annotations(Paged{Column: "since", Desc: false}),
		edge.To("timeline", TimelineItem.Type).Annotations(Paged{Column: "at", Desc: true}),
		edge.To("notes", Note.Type),
		edge.To("followers", Agent.Type).Through("follower_rows", Follower.Type),
		edge.To("access", Access.Type),
	}
}

// Indexes of Conversation.
func (Conversation) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("workspace_id", "updated_at", "id"), index.Fields("workspace_id", "owner_id", "updated_at"), index.Fields("workspace_id", "number").Unique(), index.Fields("customer_id", "state"),
	}
}

// Participant is who takes part, by which identity and in which role.
type Participant struct{ ent.Schema }

// Mixin of Participant.
func (Participant) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Participant.
func (Participant) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Participant), ref("conversation_id"), ref("identity_id"), ref("customer_id"),
		field.Enum("role").Values("CUSTOMER", "CC", "THIRD_PARTY").Default("CUSTOMER"), field.Time("since").Default(Now).Immutable(),
	}
}

// Edges of Participant.
func (Participant) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("conversation", Conversation.Type).Ref("participants").Field("conversation_id").Unique().Required(),
		edge.To("identity", Identity.Type).Field("identity_id").Unique().Required(),
		edge.To("customer", Customer.Type).Field("customer_id").Unique().Required(),
	}
}

// Indexes of Participant.
func (Participant) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "conversation_id", "identity_id").Unique(), index.Fields("customer_id", "conversation_id"), index.Fields("identity_id")}
}

// Interaction is one stretch of contact on one channel: what is queued, offered, accepted and measured.
type Interaction struct{ ent.Schema }

// Mixin of Interaction.
func (Interaction) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Interaction. queued_at is its age and is kept through every return (MODEL 2); cost is what its server
// carries for it; takes_matter: whoever serves it next owns the matter, too; refused are the agents who declined or missed it in this round; last_number counts its messages. thread is the
// provider's name of the thread, which may be an address of a person; thread_key is its blind index.
func (Interaction) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Interaction), ref("conversation_id"), ref("customer_id"), refOptionalOnce("channel_id"),
		field.String("channel_kind").Immutable(), refOptional("identity_id"), field.String("thread_key").Default("").Sensitive(),
		field.String("thread").GoType(personal.Value{}).ValueScanner(personal.Scanner("interaction.thread")).SchemaType(bytesType).Sensitive(),
		field.Enum("direction").Values("INBOUND", "OUTBOUND").Default("INBOUND").Immutable(),
		field.Enum("state").Values("IN_FLOW", "QUEUED", "OFFERED", "ACTIVE", "PAUSED", "WRAP_UP", "ENDED"),
		field.Bool("live").Default(false), field.Bool("connecting").Default(false),
		field.Enum("priority").Values("LOW", "NORMAL", "HIGH", "URGENT").Default("NORMAL"),
		refOptional("queue_id"), refOptional("agent_id"), refOptional("previous_agent_id"), refOptional("open_offer_id"),
		refOptionalOnce("continued_from_id"),
		field.Enum("joined_by").Values("THREAD", "OPEN_CONVERSATION", "GUESS", "NEW", "CONTINUED", "BY_HAND"),
		field.Int("last_number").Default(0), field.Int("cost").Default(0), field.JSON("refused", []gid.ID{}).Default([]gid.ID{}),
		timeOptional("unanswered_since"), refOptional("prefer_id"), timeOptional("prefer_until"),
		field.Time("started_at").Default(Now).Immutable(), timeOptional("queued_at"), timeOptional("accepted_at"),
		timeOptional("first_responded_at"), timeOptional("ended_at"), timeOptional("wrap_up_until"), field.Bool("abandoned").Default(false), field.Bool("takes_matter").Default(false),
	}
}

// Annotations of Interaction.
func (Interaction) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Needs: map[string][]string{"waitSeconds": {"queued_at", "accepted_at"}, "withheld": {"queue_id"}, "composer": {"queue_id", "channel_id", "identity_id", "conversation_id"}}, Via: map[string][]string{"call": {"calls"}}}}
}

// Edges of Interaction.
func (Interaction) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("conversation", Conversation.Type).Ref("interactions").Field("conversation_id").Unique().Required(),
		edge.To("customer", Customer.Type).Field("customer_id").Unique().Required(),
		edge.To("channel", Channel.Type).Field("channel_id").Unique().Immutable(),
		edge.To("identity", Identity.Type).Field("identity_id").Unique(),
		edge.To("queue", Queue.Type).Field("queue_id").Unique(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique(),
		edge.To("previous_agent", Agent.Type).Field("previous_agent_id").Unique(),
		edge.To("open_offer", Offer.Type).Field("open_offer_id").Unique(),
		edge.To("continued_by", Interaction.Type).From("continued_from").Field("continued_from_id").Unique().Immutable(),
		edge.To("messages", Message.Type).Annotations(Paged{Column: "number", Desc: false}),
		edge.To("offers", Offer.Type).Annotations(Paged{Column: "offered_at", Desc: true}),
		edge.To("assignments", Assignment.Type),
		edge.To("consultants", Agent.Type).Through("consultant_rows", Consultant.Type),
		edge.To("decisions", RoutingDecision.Type).Annotations(Paged{Column: "at", Desc: true}),
		edge.To("calls", Call.Type),
	}
}

// Indexes of Interaction. The first is the promise of one open interaction per thread.
func (Interaction) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("workspace_id", "channel_id", "thread_key").Unique().Annotations(entsql.IndexWhere("state <> 'ENDED'")),
		index.Fields("workspace_id", "channel_id", "thread_key", "started_at").StorageKey("interaction_thread_history"),
		index.Fields("conversation_id", "id"), index.Fields("workspace_id", "state", "queue_id"), index.Fields("workspace_id", "agent_id", "state"),
		index.Fields("workspace_id", "identity_id", "started_at"), index.Fields("customer_id"),
	}
}
