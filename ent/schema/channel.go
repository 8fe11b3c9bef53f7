package schema

import (
	"encoding/json"

	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// Channel is one configured way in and out; its kind is data.
type Channel struct{ ent.Schema }

// Mixin of Channel.
func (Channel) Mixin() []ent.Mixin { return []ent.Mixin{Owned{}, Versioned{}} }

// Fields of Channel. secrets is sealed JSON; hook_secret the sealed part of its address for the provider, hook_hash its
// look-up; public_key names a surface to the world (`site_…`), empty for others.
func (Channel) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Channel), field.String("kind").Immutable(), field.String("name"), field.Bool("enabled").Default(true),
		field.JSON("config", json.RawMessage{}), field.Bytes("secrets").Optional().Nillable().Sensitive(),
		field.Bytes("hook_secret").Sensitive(), field.String("public_key").Default("").Immutable(),
		refOptional("queue_id"), refOptional("flow_id"), field.String("locale").Optional().Nillable(),
		field.Bool("join_open").Default(true), field.Int("join_within_hours").Default(72), field.Int("reopen_within_days").Default(14),
		timeOptional("last_inbound_at"), timeOptional("last_outbound_at"), textOptional("last_error"), timeOptional("last_error_at"),
		textOptional("paused_because"),
	}
}

// Annotations of Channel.
func (Channel) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Always: []string{"kind"}, Needs: map[string][]string{
		"webhookUrl": {"kind", "hook_secret", "public_key"}, "address": {"public_key"},
		"health": {"enabled", "last_inbound_at", "last_outbound_at", "last_error", "last_error_at", "paused_because"},
	}}}
}

// Edges of Channel.
func (Channel) Edges() []ent.Edge {
	return []ent.Edge{edge.To("queue", Queue.Type).Field("queue_id").Unique(), edge.To("flow", Flow.Type).Field("flow_id").Unique(), edge.To("pulls", Pull.Type)}
}

// Indexes of Channel. Public keys are random; an empty one belongs to no surface.
func (Channel) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "name").Unique(), index.Fields("public_key")}
}

// RawInbound is what a provider delivered, stored and committed before it was answered; unique on (channel, external
// id), so a repeated delivery is no second message. payload is sealed; beyond 256 KiB it lies in the blob store. files are
// the keys of what came beside it in the blob store: the raw mail.
type RawInbound struct{ ent.Schema }

// Mixin of RawInbound.
func (RawInbound) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of RawInbound.
func (RawInbound) Fields() []ent.Field {
	return []ent.Field{
		key(gid.RawInbound), refOnce("channel_id"), field.String("external_id").Immutable(), field.String("kind").Immutable(),
		field.Bytes("payload").Immutable().Sensitive(), field.String("blob_key").Default("").Immutable(),
		field.JSON("files", []string{}).Optional().Immutable().Sensitive(),
		field.Enum("state").Values("NEW", "DONE", "FAILED", "DISCARDED").Default("NEW"), textOptional("error"),
		field.Time("received_at").Default(Now).Immutable(), timeOptional("done_at"), refOptional("message_id"),
	}
}

// Edges of RawInbound.
func (RawInbound) Edges() []ent.Edge {
	return []ent.Edge{edge.To("channel", Channel.Type).Field("channel_id").Unique().Required().Immutable()}
}

// Indexes of RawInbound.
func (RawInbound) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "channel_id", "external_id").Unique(), index.Fields("state", "done_at")}
}

// VisitorSession is a visitor's token family on one site: bound to one identity. The secret kept by the browser is
// stored as a hash.
type VisitorSession struct{ ent.Schema }

// Mixin of VisitorSession.
func (VisitorSession) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of VisitorSession.
func (VisitorSession) Fields() []ent.Field {
	return []ent.Field{
		key(gid.VisitorSession), refOnce("channel_id"), refOnce("identity_id"), field.Bytes("secret_hash").Sensitive(),
		field.String("client").Default("").Immutable(), field.Time("created_at").Default(Now).Immutable(),
		timeOptional("revoked_at"),
	}
}

// Edges of VisitorSession.
func (VisitorSession) Edges() []ent.Edge {
	return []ent.Edge{edge.To("identity", Identity.Type).Field("identity_id").Unique().Required().Immutable()}
}

// Indexes of VisitorSession. The secret is of 256 random bits.
func (VisitorSession) Indexes() []ent.Index {
	return []ent.Index{index.Fields("secret_hash"), index.Fields("workspace_id", "identity_id")}
}
