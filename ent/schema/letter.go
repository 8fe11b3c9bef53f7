package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// What kinds with recipients and threads by reference (mail) add to a message.

// Recipient is one to whom a message was addressed; our own addresses are left out.
type Recipient struct{ ent.Schema }

// Mixin of Recipient.
func (Recipient) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Recipient. The ids are made in the order of the addresses.
func (Recipient) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("message_id"), ref("identity_id"), field.Enum("role").Values("TO", "CC", "REPLY_TO").Immutable(), field.String("name").Default("").Immutable()}
}

// Edges of Recipient.
func (Recipient) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("message", Message.Type).Ref("recipients").Field("message_id").Unique().Required().Immutable(),
		edge.From("identity", Identity.Type).Ref("sent_to").Field("identity_id").Unique().Required(),
	}
}

// Indexes of Recipient.
func (Recipient) Indexes() []ent.Index {
	return []ent.Index{index.Fields("message_id"), index.Fields("identity_id")}
}

// Arrival is one way by which a message came that may come by several: a mail in each mailbox that it was sent to.
type Arrival struct{ ent.Schema }

// Mixin of Arrival.
func (Arrival) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Arrival.
func (Arrival) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("message_id"), refOnce("channel_id"), field.String("external_id").Immutable(), field.Time("at").Default(Now).Immutable()}
}

// Edges of Arrival.
func (Arrival) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("message", Message.Type).Ref("arrivals").Field("message_id").Unique().Required().Immutable(),
		edge.To("channel", Channel.Type).Field("channel_id").Unique().Required().Immutable(),
	}
}

// Indexes of Arrival.
func (Arrival) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "message_id", "channel_id").Unique(), index.Fields("message_id"), index.Fields("channel_id")}
}

// ThreadRef says to which thread of a channel a message id belongs that answers may name: ids of mails that came, and of
// those they named; our own carry marks. ref and thread_key are blind.
type ThreadRef struct{ ent.Schema }

// Mixin of ThreadRef.
func (ThreadRef) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of ThreadRef.
func (ThreadRef) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), refOnce("channel_id"), field.String("ref").Immutable().Sensitive(), field.String("thread_key").Sensitive(), field.Time("at").Default(Now).Immutable()}
}

// Edges of ThreadRef.
func (ThreadRef) Edges() []ent.Edge {
	return []ent.Edge{edge.To("channel", Channel.Type).Field("channel_id").Unique().Required().Immutable()}
}

// Indexes of ThreadRef.
func (ThreadRef) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "ref", "channel_id").Unique(), index.Fields("channel_id")}
}
