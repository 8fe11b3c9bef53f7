package schema

import (
	"encoding/json"

	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// eventFields stand in the outbox and in the log alike. audience are the subjects (agents, teams) who may see the event;
// private ones are for them alone, whatever a reader's reach; who stands in hidden_from does not get it: he sees the
// conversation by another way. identity is the visitor's side,
// agent the one whose load the event changed.
func eventFields() []ent.Field {
	return []ent.Field{
		field.String("type").Immutable(), field.Time("at").Default(Now).Immutable(), refOnce("subject_id"), field.Int("subject_version").Immutable(),
		refOptionalOnce("conversation_id"), refOptionalOnce("interaction_id"), refOptionalOnce("customer_id"), refOptionalOnce("queue_id"),
		refOptionalOnce("identity_id"), refOptionalOnce("actor_id"), refOptionalOnce("agent_id"), field.JSON("changed", []string{}).Default([]string{}).Immutable(),
		field.JSON("audience", []gid.ID{}).Default([]gid.ID{}).Immutable(), field.JSON("hidden_from", []gid.ID{}).Default([]gid.ID{}).Immutable(),
		field.Bool("private").Default(false).Immutable(),
		field.String("caused_by_key").Optional().Nillable().Immutable(),
	}
}

// Outbox rows are the last statement of a domain transaction and wait for the relay. The sequence is drawn by the
// database (identity column, integer primary key), never by a node's clock.
type Outbox struct{ ent.Schema }

// Mixin of Outbox.
func (Outbox) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Outbox.
func (Outbox) Fields() []ent.Field {
	return append([]ent.Field{field.Int64("id").Immutable()}, eventFields()...)
}

// Event is one numbered record in the workspace's log.
type Event struct{ ent.Schema }

// Mixin of Event.
func (Event) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Event. The id is the outbox sequence, the seq the gap-free number in the workspace.
func (Event) Fields() []ent.Field {
	return append([]ent.Field{field.Int64("id").Immutable(), field.Int64("seq").Immutable()}, eventFields()...)
}

// Indexes of Event.
func (Event) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "seq").Unique(), index.Fields("at"), index.Fields("identity_id", "seq")}
}

// LogHead is the last number given in a workspace, and how far its log was pruned.
type LogHead struct{ ent.Schema }

// Mixin of LogHead.
func (LogHead) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of LogHead.
func (LogHead) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), field.Int64("seq").Default(0), field.Int64("pruned").Default(0)}
}

// Indexes of LogHead.
func (LogHead) Indexes() []ent.Index { return []ent.Index{index.Fields("workspace_id").Unique()} }

// Job is work to be done once: claimed with a lease, in order per group, retried with back-off, kept when dead.
type Job struct{ ent.Schema }

// Mixin of Job.
func (Job) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Job. The id orders a group; attempt fences a claim whose lease was lost.
func (Job) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Job), field.String("kind").Immutable(), field.String("unique_key").Optional().Nillable().Immutable(),
		field.String("group_key").Default("").Immutable(), field.JSON("args", json.RawMessage{}).Immutable(),
		field.Enum("state").Values("ready", "running", "done", "dead", "discarded").Default("ready"),
		field.Time("run_at").Default(Now), field.Int("attempt").Default(0), field.Int("max_attempts").Default(20),
		timeOptional("lease_until"), field.String("holder").Default(""), textOptional("error"),
		refOptionalOnce("subject_id"), refOptionalOnce("channel_id"),
		field.Time("created_at").Default(Now).Immutable(), timeOptional("finished_at"),
	}
}

// Edges of Job.
func (Job) Edges() []ent.Edge {
	return []ent.Edge{edge.To("channel", Channel.Type).Field("channel_id").Unique().Immutable()}
}

// Indexes of Job. The first makes unique work unique while it is not finished (done, dead or discarded); the second lets
// one job of a group run at a time, whoever claims; the third finds a group's head, the fourth what a kind has due.
func (Job) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("workspace_id", "kind", "unique_key").Unique().Annotations(entsql.IndexWhere("finished_at IS NULL")),
		index.Fields("workspace_id", "group_key").Unique().StorageKey("job_group_running").
			Annotations(entsql.IndexWhere("group_key <> '' AND state = 'running'")),
		index.Fields("workspace_id", "group_key", "state", "id"), index.Fields("kind", "state", "run_at"),
		index.Fields("state", "lease_until"), index.Fields("state", "finished_at"),
	}
}
