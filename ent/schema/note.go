package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// Note is internal text in a conversation, never sent.
type Note struct{ ent.Schema }

// Mixin of Note.
func (Note) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Note.
func (Note) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Note), ref("conversation_id"), refOptional("interaction_id"), refOptionalOnce("agent_id"), refOptionalOnce("app_id"),
		field.Text("text"), field.Bool("pinned").Default(false),
	}
}

// Annotations of Note.
func (Note) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{
		Via: map[string][]string{"author": {"agent", "app"}},
	}}
}

// Edges of Note.
func (Note) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("conversation", Conversation.Type).Ref("notes").Field("conversation_id").Unique().Required(),
		edge.To("interaction", Interaction.Type).Field("interaction_id").Unique(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Immutable(),
		edge.To("mentions", Agent.Type).Through("mention_rows", Mention.Type),
		edge.To("app", App.Type).Field("app_id").Unique().Immutable(),
	}
}

// Indexes of Note.
func (Note) Indexes() []ent.Index {
	return []ent.Index{index.Fields("conversation_id", "id"), index.Fields("interaction_id")}
}
