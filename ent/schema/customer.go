package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
	"tributary/internal/personal"
)

// Customer is the person served.
type Customer struct{ ent.Schema }

// Mixin of Customer.
func (Customer) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Customer.
func (Customer) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Customer), field.String("display_name").Default(""), field.String("locale").Optional().Nillable(),
		timeOptional("last_contact_at"), refOptional("merged_into_id"),
	}
}

// Annotations of Customer.
func (Customer) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Types: []string{"Actor"}}}
}

// Edges of Customer.
func (Customer) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("identities", Identity.Type),
		edge.To("conversations", Conversation.Type).Annotations(Paged{Column: "updated_at", Desc: true, Child: "id"}),
		edge.To("timeline", TimelineItem.Type).Annotations(Paged{Column: "at", Desc: true, Child: "conversation_id"}),
		edge.To("merged_from", Customer.Type).From("merged_into").Field("merged_into_id").Unique(),
		edge.To("merges", CustomerMerge.Type).Annotations(Paged{Column: "at", Desc: true}),
		edge.From("merge_candidates", MergeCandidate.Type).Ref("customers").Through("candidacies", MergeCandidacy.Type),
		edge.From("merged_away", CustomerMerge.Type).Ref("from").Through("merge_parts", CustomerMergePart.Type),
	}
}

// Identity is one address or id by which a customer is known, with the level to which it was proved (MODEL 5). scope is
// the namespace inside which the value is unique: a channel's id, or empty for the workspace.
type Identity struct{ ent.Schema }

// Mixin of Identity.
func (Identity) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Identity. A claimed value is no key: several customers may claim it, so `claim` makes its row distinct.
// visible_count counts the messages of its interactions; read_up_to and delivered_up_to are places among them. given_to is
// the identity that a visitor proved to be, which took over all that was said under this one.
func (Identity) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Identity), ref("customer_id"), field.String("kind").Immutable(), field.String("scope").Default("").Immutable(),
		field.String("value").GoType(personal.Value{}).ValueScanner(personal.Scanner("identity.value")).SchemaType(bytesType).Sensitive().Immutable(),
		field.String("value_blind").Sensitive(), field.String("claim").Default("").Sensitive(),
		field.Enum("verification").Values("CLAIMED", "CHANNEL_PROVED", "STRONG"),
		refOptionalOnce("channel_id"), refOptional("given_to_id"), field.Time("first_seen_at").Default(Now).Immutable(), field.Time("last_seen_at").Default(Now),
		field.Int("visible_count").Default(0), field.Int("read_up_to").Default(0), field.Int("delivered_up_to").Default(0),
	}
}

// Edges of Identity.
func (Identity) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("customer", Customer.Type).Ref("identities").Field("customer_id").Unique().Required(),
		edge.To("channel", Channel.Type).Field("channel_id").Unique().Immutable(),
		edge.To("sent_to", Recipient.Type),
	}
}

// Indexes of Identity.
func (Identity) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "kind", "scope", "value_blind", "claim").Unique(), index.Fields("customer_id")}
}

// Hooks of Identity: the blind index follows the value by itself.
func (Identity) Hooks() []ent.Hook {
	return []ent.Hook{blindHook("value", "value_blind", "identity.value")}
}
