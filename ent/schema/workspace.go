package schema

import (
	"context"
	"fmt"

	"entgo.io/ent"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"tributary/internal/gid"
)

// Workspace is the tenant: one company or brand; owns everything below.
type Workspace struct{ ent.Schema }

// Mixin of Workspace.
func (Workspace) Mixin() []ent.Mixin { return []ent.Mixin{Versioned{}} }

// Fields of Workspace.
func (Workspace) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Workspace),
		field.String("name"),
		field.String("locale").Default("en"),
		field.String("time_zone").Default("UTC"),
		// What one step of priority is worth in waiting time (MODEL, routing: weighed once per shard).
		field.Int("priority_weight_seconds").Default(600),
		refOptional("default_queue_id"),
	}
}

// Edges of Workspace.
func (Workspace) Edges() []ent.Edge {
	return []ent.Edge{edge.To("default_queue", Queue.Type).Field("default_queue_id").Unique()}
}

// Policy of Workspace: the operator's token may create, everyone sees his own.
func (Workspace) Policy() ent.Policy { return needViewer{} }

// Interceptors of Workspace.
func (Workspace) Interceptors() []ent.Interceptor {
	return []ent.Interceptor{ent.TraverseFunc(func(ctx context.Context, q ent.Query) error {
		w, ok := q.(wherer)
		if !ok {
			return fmt.Errorf("%T cannot be scoped", q)
		}
		return inWorkspace(ctx, w, "id")
	})}
}

// Counter hands out the human numbers of a workspace.
type Counter struct{ ent.Schema }

// Mixin of Counter.
func (Counter) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of Counter.
func (Counter) Fields() []ent.Field {
	return []ent.Field{key(gid.Other), field.String("name").Immutable(), field.Int("last").Default(0)}
}

// Indexes of Counter.
func (Counter) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "name").Unique()}
}

// IdempotencyKey keeps the outcome of a mutation: the id of its result, never the answer's bytes (MODEL 9).
type IdempotencyKey struct{ ent.Schema }

// Mixin of IdempotencyKey.
func (IdempotencyKey) Mixin() []ent.Mixin { return []ent.Mixin{rowOwned{}} }

// Fields of IdempotencyKey.
func (IdempotencyKey) Fields() []ent.Field {
	return []ent.Field{
		key(gid.Other), ref("actor_id"), field.String("key").Immutable(), field.String("input_hash").Immutable(),
		refOptional("result_id"), field.Time("at").Default(Now).Immutable(),
	}
}

// Indexes of IdempotencyKey.
func (IdempotencyKey) Indexes() []ent.Index {
	return []ent.Index{index.Fields("workspace_id", "actor_id", "key").Unique(), index.Fields("at")}
}
