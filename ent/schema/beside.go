package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// Who stands beside a matter without serving it: rows of their own, so that they carry the workspace.

// Consultant is an agent who helps beside an interaction's server; his times stand in assignments of kind CONSULT.
type Consultant struct{ ent.Schema }

// Mixin of Consultant.
func (Consultant) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Consultant.
func (Consultant) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("interaction_id"), refOnce("agent_id")}
}

// Edges of Consultant.
func (Consultant) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("interaction", Interaction.Type).Field("interaction_id").Unique().Required().Immutable(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Required().Immutable(),
	}
}

// Indexes of Consultant.
func (Consultant) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "interaction_id", "agent_id").Unique()}
}

// Follower is an agent who follows a conversation; that he sees it stands in its access rows.
type Follower struct{ ent.Schema }

// Mixin of Follower.
func (Follower) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Follower.
func (Follower) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("conversation_id"), refOnce("agent_id")}
}

// Edges of Follower.
func (Follower) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("conversation", Conversation.Type).Field("conversation_id").Unique().Required().Immutable(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Required().Immutable(),
	}
}

// Indexes of Follower.
func (Follower) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "conversation_id", "agent_id").Unique()}
}

// Mention is an agent whom a note names.
type Mention struct{ ent.Schema }

// Mixin of Mention.
func (Mention) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Mention.
func (Mention) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("note_id"), refOnce("agent_id")}
}

// Edges of Mention.
func (Mention) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("note", Note.Type).Field("note_id").Unique().Required().Immutable(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Required().Immutable(),
	}
}

// Indexes of Mention.
func (Mention) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "note_id", "agent_id").Unique()}
}
