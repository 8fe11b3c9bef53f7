package schema

import (
	"time"

	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// IdentityEvidence says why two customers may be one. Value is masked where it is written; key is the blind index of
// what was compared, so that the same evidence is known again.
type IdentityEvidence struct {
	Kind         string    `json:"kind"`
	IdentityKind string    `json:"identityKind,omitempty"`
	Detail       string    `json:"detail"`
	Confidence   float64   `json:"confidence"`
	Key          string    `json:"key,omitempty"`
	At           time.Time `json:"at"`
}

// MergeCandidate is two customers who may be one. It waits for a person: what was only claimed joins nobody (MODEL 5).
type MergeCandidate struct{ ent.Schema }

// Mixin of MergeCandidate.
func (MergeCandidate) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of MergeCandidate. pair names the two, smaller id first; dismissed are the keys of the evidence that a person
// has seen and refused.
func (MergeCandidate) Fields() []ent.Field {
	return []ent.Field{
		key(gid.MergeCandidate), field.String("pair"), field.Float("confidence").Default(0),
		field.JSON("evidence", []IdentityEvidence{}).Default([]IdentityEvidence{}), field.JSON("dismissed", []string{}).Default([]string{}),
		field.Enum("state").Values("OPEN", "ACCEPTED", "DISMISSED", "EXPIRED").Default("OPEN"),
		refOptional("decided_by_id"), timeOptional("decided_at"), field.String("reason").Optional().Nillable(),
		field.Time("created_at").Default(Now).Immutable(),
	}
}

// Edges of MergeCandidate.
func (MergeCandidate) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("customers", Customer.Type).Through("candidacies", MergeCandidacy.Type),
		edge.To("decided_by", Agent.Type).Field("decided_by_id").Unique(),
	}
}

// Indexes of MergeCandidate.
func (MergeCandidate) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "pair").Unique(), index.Fields("workspace_id", "state", "id")}
}

// MergeCandidacy joins candidates and customers; a row of its own so that it carries the workspace.
type MergeCandidacy struct{ ent.Schema }

// Mixin of MergeCandidacy.
func (MergeCandidacy) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of MergeCandidacy.
func (MergeCandidacy) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("merge_candidate_id"), ref("customer_id")}
}

// Edges of MergeCandidacy.
func (MergeCandidacy) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("candidate", MergeCandidate.Type).Field("merge_candidate_id").Unique().Required().Immutable(),
		edge.To("customer", Customer.Type).Field("customer_id").Unique().Required(),
	}
}

// Indexes of MergeCandidacy.
func (MergeCandidacy) Indexes() []ent.Index {
	return []ent.Index{index.Fields("customer_id")}
}

// CustomerMerge is two or more customers who became one. It destroys nothing: its parts say what went over.
type CustomerMerge struct{ ent.Schema }

// Mixin of CustomerMerge.
func (CustomerMerge) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of CustomerMerge. given: a visitor's messages went from one identity to another by his signed token, which
// nothing takes back.
func (CustomerMerge) Fields() []ent.Field {
	return []ent.Field{
		key(gid.CustomerMerge), refOnce("into_id"), field.JSON("evidence", []IdentityEvidence{}).Default([]IdentityEvidence{}),
		field.String("reason").Optional().Nillable().Immutable(), refOptionalOnce("agent_id"), refOptionalOnce("app_id"),
		field.Bool("given").Default(false), field.Time("at").Default(Now).Immutable(), timeOptional("undone_at"), field.String("undo_reason").Optional().Nillable(),
	}
}

// Edges of CustomerMerge.
func (CustomerMerge) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("into", Customer.Type).Ref("merges").Field("into_id").Unique().Required().Immutable(),
		edge.To("from", Customer.Type).Through("parts", CustomerMergePart.Type),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Immutable(),
		edge.To("app", App.Type).Field("app_id").Unique().Immutable(),
	}
}

// Annotations of CustomerMerge.
func (CustomerMerge) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Via: map[string][]string{"actor": {"agent", "app"}}}}
}

// Indexes of CustomerMerge.
func (CustomerMerge) Indexes() []ent.Index { return []ent.Index{index.Fields("into_id", "at", "id")} }

// CustomerMergePart is one customer who went into another, with what was his.
type CustomerMergePart struct{ ent.Schema }

// Mixin of CustomerMergePart.
func (CustomerMergePart) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of CustomerMergePart.
func (CustomerMergePart) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), refOnce("customer_merge_id"), refOnce("customer_id"),
		field.JSON("identities", []gid.ID{}), field.JSON("conversations", []gid.ID{}).Immutable(),
	}
}

// Edges of CustomerMergePart.
func (CustomerMergePart) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("merge", CustomerMerge.Type).Field("customer_merge_id").Unique().Required().Immutable(),
		edge.To("customer", Customer.Type).Field("customer_id").Unique().Required().Immutable(),
	}
}

// Indexes of CustomerMergePart.
func (CustomerMergePart) Indexes() []ent.Index {
	return []ent.Index{index.Fields("customer_id")}
}

// MergeSuggestion says that two conversations may be one matter; each pair has a row for either side.
type MergeSuggestion struct{ ent.Schema }

// Mixin of MergeSuggestion.
func (MergeSuggestion) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of MergeSuggestion.
func (MergeSuggestion) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("conversation_id"), refOnce("merge_suggestion_id"), field.Time("at").Default(Now).Immutable()}
}

// Edges of MergeSuggestion.
func (MergeSuggestion) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("conversation", Conversation.Type).Field("conversation_id").Unique().Required().Immutable(),
		edge.To("merge_suggestion", Conversation.Type).Field("merge_suggestion_id").Unique().Required().Immutable(),
	}
}

// Indexes of MergeSuggestion.
func (MergeSuggestion) Indexes() []ent.Index {
	return []ent.Index{index.Fields("merge_suggestion_id")}
}

// ConversationMerge is one conversation that went into another, with what it held and how it stood: what an undo needs.
type ConversationMerge struct{ ent.Schema }

// Mixin of ConversationMerge.
func (ConversationMerge) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of ConversationMerge. owner_given: into had no owner and took from's.
func (ConversationMerge) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), refOnce("into_id"), refOnce("from_id"), field.JSON("interactions", []gid.ID{}).Immutable(),
		field.JSON("items", []gid.ID{}).Immutable(), field.JSON("followers", []gid.ID{}).Default([]gid.ID{}).Immutable(),
		field.String("state").Immutable(), timeOptional("resolved_at"), field.Bool("owner_given").Default(false),
		field.Time("at").Default(Now).Immutable(), timeOptional("undone_at"),
	}
}

// Indexes of ConversationMerge. A conversation is merged into one other at a time.
func (ConversationMerge) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("workspace_id", "from_id").Unique().Annotations(entsql.IndexWhere("undone_at IS NULL")), index.Fields("into_id"),
	}
}
