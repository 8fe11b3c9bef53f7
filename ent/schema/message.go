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

// DeliveryStep is one stage of a message's way.
type DeliveryStep struct {
	State  string    `json:"state"`
	At     time.Time `json:"at"`
	Detail string    `json:"detail,omitempty"`
}

// DeliveryError says why a message did not arrive.
type DeliveryError struct {
	Code         string `json:"code"`
	Message      string `json:"message"`
	Permanent    bool   `json:"permanent"`
	ProviderCode string `json:"providerCode,omitempty"`
}

// Message is one inbound or outbound utterance in an interaction.
type Message struct{ ent.Schema }

// Mixin of Message.
func (Message) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Message. number rises by one in its interaction, visible_number by one among what its customer's identity
// sees; sends counts the calls of the provider. ref_id is the id by which answers name it and refs those that it names
// (Inbound.RefID); same_id is the blind index of what all copies of it share.
func (Message) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Message), ref("conversation_id"), ref("interaction_id"), refOptionalOnce("channel_id"), field.String("channel_kind").Immutable(),
		field.Enum("direction").Values("INBOUND", "OUTBOUND").Immutable(), field.Int("number"),
		refOptionalOnce("agent_id"), refOptional("customer_id"), refOptional("sender_id"), refOptionalOnce("app_id"),
		refOptional("identity_id"), field.Int("visible_number").Optional().Nillable(),
		textOptional("subject"), textOptional("text"), textOptional("html"), textOptional("quoted"), refOptionalOnce("in_reply_to_id"),
		field.JSON("warnings", []string{}).Optional().Immutable(), textOptional("unreadable"),
		field.String("ref_id").Optional().Nillable(), field.JSON("refs", []string{}).Optional().Immutable(), field.String("same_id").Optional().Nillable().Immutable(),
		field.Enum("delivery").Values("RECEIVED", "SCHEDULED", "QUEUED", "SENDING", "SENT", "DELIVERED", "READ", "FAILED", "UNCERTAIN", "CANCELLED"),
		field.JSON("steps", []DeliveryStep{}).Default([]DeliveryStep{}), field.JSON("delivery_error", &DeliveryError{}).Optional(),
		field.Int("sends").Default(0), field.Bool("automatic").Default(false), field.String("external_id").Optional().Nillable(),
		field.String("caused_by_key").Optional().Nillable().Immutable(), timeOptional("occurred_at"), timeOptional("sent_at"),
		timeOptional("edited_at"), timeOptional("recalled_at"),
	}
}

// Annotations of Message.
func (Message) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{
		Needs: map[string][]string{
			"deliverySteps": {"steps"}, "quotedText": {"quoted"}, "receivedAt": {"created_at", "direction"},
		},
		Via: map[string][]string{"author": {"agent", "customer", "app"}},
	}}
}

// Edges of Message.
func (Message) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("interaction", Interaction.Type).Ref("messages").Field("interaction_id").Unique().Required(),
		edge.To("conversation", Conversation.Type).Field("conversation_id").Unique().Required(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Immutable(),
		edge.To("customer", Customer.Type).Field("customer_id").Unique(),
		edge.To("app", App.Type).Field("app_id").Unique().Immutable(),
		edge.To("sender", Identity.Type).Field("sender_id").Unique(),
		edge.To("replies", Message.Type).From("in_reply_to").Field("in_reply_to_id").Unique().Immutable(),
		edge.To("attachments", Attachment.Type),
		edge.To("recipients", Recipient.Type),
		edge.To("arrivals", Arrival.Type),
	}
}

// Indexes of Message.
func (Message) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("interaction_id", "number").Unique().StorageKey("message_interaction_number"),
		index.Fields("workspace_id", "channel_id", "external_id", "direction"), index.Fields("workspace_id", "delivery", "id"),
		index.Fields("conversation_id", "id"), index.Fields("workspace_id", "identity_id", "visible_number").Unique(),
		index.Fields("customer_id"), index.Fields("sender_id"),
		index.Fields("workspace_id", "same_id").Unique().Annotations(entsql.IndexWhere("same_id IS NOT NULL")),
		index.Fields("workspace_id", "ref_id").Annotations(entsql.IndexWhere("ref_id IS NOT NULL")),
	}
}

// Attachment is a file of a message: bytes in the blob store, facts here. Its vendor's address is fetched by a worker.
type Attachment struct{ ent.Schema }

// Mixin of Attachment.
func (Attachment) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of Attachment. creator is who may attach it to a message; blob_key is where its bytes lie, if they came with the
// event itself; content_id is how the message's HTML names it.
func (Attachment) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Attachment), refOptional("message_id"), refOptional("creator_id"), field.String("name").Immutable(),
		field.String("content_type").Default("application/octet-stream"),
		field.Enum("kind").Values("IMAGE", "AUDIO", "VIDEO", "FILE", "STICKER").Default("FILE"),
		field.Int64("bytes").Default(0), field.String("sha256").Default(""),
		field.Enum("state").Values("EXPECTED", "FETCHING", "READY", "FAILED").Default("EXPECTED"), textOptional("error"),
		field.String("blob_key").Default("").Immutable(), field.String("content_id").Default("").Immutable(),
		field.JSON("media", map[string]any{}).Optional().Sensitive(), field.Time("created_at").Default(Now).Immutable(),
	}
}

// Annotations of Attachment.
func (Attachment) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Needs: map[string][]string{"url": {"state", "content_type", "name", "blob_key"}}}}
}

// Edges of Attachment.
func (Attachment) Edges() []ent.Edge {
	return []ent.Edge{edge.From("message", Message.Type).Ref("attachments").Field("message_id").Unique()}
}

// Indexes of Attachment.
func (Attachment) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("message_id"), index.Fields("creator_id"), index.Fields("workspace_id", "state", "created_at"),
		index.Fields("blob_key").Annotations(entsql.IndexWhere("blob_key <> ''")),
	}
}

// TimelineItem is one row for all kinds of items.
type TimelineItem struct{ ent.Schema }

// Mixin of TimelineItem.
func (TimelineItem) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}} }

// Fields of TimelineItem.
func (TimelineItem) Fields() []ent.Field {
	return []ent.Field{
		key(gid.TimelineItem), field.Enum("type").Values("MESSAGE", "NOTE", "ASSIGNMENT", "CHANGE", "CALL").Immutable(), field.Time("at").Default(Now).Immutable(),
		ref("conversation_id"), ref("customer_id"), refOptional("interaction_id"), refOptionalOnce("message_id"), refOptionalOnce("note_id"), refOptionalOnce("assignment_id"), refOptionalOnce("call_id"),
		refOptionalOnce("agent_id"), field.String("changed").Default("").Immutable(),
		field.String("before").Optional().Nillable().Immutable(), field.String("after").Optional().Nillable().Immutable(),
		field.String("reason").Optional().Nillable().Immutable(), field.Bool("internal").Default(true).Immutable(),
	}
}

// Annotations of TimelineItem.
func (TimelineItem) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{
		Types: []string{"TimelineItem", "MessageItem", "NoteItem", "AssignmentItem", "ChangeItem", "CallItem"}, Always: []string{"type"},

		Needs: map[string][]string{"customerRole": {"conversation_id"}, "field": {"changed"}, "from": {"before"}, "to": {"after"}},
		Via:   map[string][]string{"actor": {"agent"}},
	}}
}

// Edges of TimelineItem.
func (TimelineItem) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("conversation", Conversation.Type).Ref("timeline").Field("conversation_id").Unique().Required(),
		edge.From("customer", Customer.Type).Ref("timeline").Field("customer_id").Unique().Required(),
		edge.To("interaction", Interaction.Type).Field("interaction_id").Unique(),
		edge.To("message", Message.Type).Field("message_id").Unique().Immutable(),
		edge.To("note", Note.Type).Field("note_id").Unique().Immutable(),
		edge.To("assignment", Assignment.Type).Field("assignment_id").Unique().Immutable(),
		edge.To("call", Call.Type).Field("call_id").Unique().Immutable(),
		edge.To("agent", Agent.Type).Field("agent_id").Unique().Immutable(),
	}
}

// Indexes of TimelineItem.
func (TimelineItem) Indexes() []ent.Index {
	return []ent.Index{index.Fields("conversation_id", "at", "id"), index.Fields("customer_id", "at", "id"), index.Fields("interaction_id")}
}
