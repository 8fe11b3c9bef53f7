package schema

import (
	"time"

	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// longAgo is a lease's end for what nobody ever held.
func longAgo() time.Time { return time.Unix(0, 0).UTC() }

// Pull is one stream of a channel that is fetched from its provider (a mailbox), by one node at a time: who holds it
// and how far it has read, in one row, so that a batch and its position are stored together and fenced by the epoch.
type Pull struct{ ent.Schema }

// Mixin of Pull.
func (Pull) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Pull. position is the kind's own.
func (Pull) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), refOnce("channel_id"), field.String("stream").Immutable(), field.Bool("active").Default(true),
		field.Bytes("position").Optional().Nillable().Sensitive(), field.String("holder").Default(""), field.Int64("epoch").Default(0),
		field.Time("expires_at").Default(longAgo), field.Bool("watching").Default(false), timeOptional("fetched_at"), textOptional("error"), timeOptional("error_at"),
	}
}

// Edges of Pull.
func (Pull) Edges() []ent.Edge {
	return []ent.Edge{edge.From("channel", Channel.Type).Ref("pulls").Field("channel_id").Unique().Required().Immutable()}
}

// Indexes of Pull.
func (Pull) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "channel_id", "stream").Unique(), index.Fields("channel_id"), index.Fields("expires_at"), index.Fields("holder")}
}

// Annotations of Pull.
func (Pull) Annotations() []schema.Annotation {
	return []schema.Annotation{Shape{Always: []string{"holder", "expires_at"}}}
}

// ClusterNode is a running process of this service: how others reach it and until when it is believed to live. It
// belongs to no workspace.
type ClusterNode struct{ ent.Schema }

// Fields of ClusterNode. peer is the address of node-to-node requests, empty where it takes none.
func (ClusterNode) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), field.String("name").Unique().Immutable(), field.String("peer").Default(""), field.String("public_url").Default(""), field.JSON("roles", []string{}).Default([]string{}),
		field.String("version").Default(""), field.Time("started_at").Default(Now), field.Time("expires_at"), field.Bool("draining").Default(false),
	}
}
