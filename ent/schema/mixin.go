// Package schema is the data model, one file a noun. Every row belongs to a workspace: the mixin Owned adds the column,
// refuses what has no viewer and cuts every query and mutation to the viewer's workspace. Rows that people edit carry a
// version. What may be seen of a workspace's rows (reach) is decided in desk.
package schema

import (
	"context"
	"fmt"
	"time"

	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"entgo.io/ent/schema/mixin"

	"tributary/internal/gid"
	"tributary/internal/viewer"
)

var bytesType = map[string]string{dialect.SQLite: "blob", dialect.Postgres: "bytea"}

func key(k gid.Kind) ent.Field { return field.UUID("id", gid.ID{}).Default(gid.New(k)).Immutable() }

func ref(name string) ent.Field { return field.UUID(name, gid.ID{}) }

func refOnce(name string) ent.Field { return field.UUID(name, gid.ID{}).Immutable() }

func refOptional(name string) ent.Field { return field.UUID(name, gid.ID{}).Optional().Nillable() }

func refOptionalOnce(name string) ent.Field {
	return field.UUID(name, gid.ID{}).Optional().Nillable().Immutable()
}

func timeOptional(name string) ent.Field { return field.Time(name).Optional().Nillable() }

func textOptional(name string) ent.Field { return field.Text(name).Optional().Nillable() }

// Now is the time of a row: UTC, cut to the microseconds that both dialects keep, or a cursor would repeat or skip.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Owned adds the workspace to every row, every query and every mutation.
type Owned struct{ mixin.Schema }

// Fields of Owned.
func (Owned) Fields() []ent.Field { return []ent.Field{refOnce("workspace_id")} }

// Indexes of Owned.
func (Owned) Indexes() []ent.Index { return []ent.Index{index.Fields("workspace_id", "id")} }

// Policy refuses what has no viewer; it is compiled into the type, whoever built the client.
func (Owned) Policy() ent.Policy { return needViewer{} }

// Interceptors cut every query, also of edges, to the viewer's workspace.
func (Owned) Interceptors() []ent.Interceptor {
	return []ent.Interceptor{ent.TraverseFunc(func(ctx context.Context, q ent.Query) error {
		w, ok := q.(wherer)
		if !ok {
			return fmt.Errorf("%T cannot be scoped", q)
		}
		return inWorkspace(ctx, w, "workspace_id")
	})}
}

// Hooks set the workspace on create and cut updates and deletes to it.
func (Owned) Hooks() []ent.Hook {
	return []ent.Hook{func(next ent.Mutator) ent.Mutator {
		return ent.MutateFunc(func(ctx context.Context, m ent.Mutation) (ent.Value, error) {
			v := viewer.From(ctx)
			if v == nil {
				return nil, viewer.ErrNone
			}
			if !m.Op().Is(ent.OpCreate) {
				if err := inWorkspace(ctx, m.(wherer), "workspace_id"); err != nil {
					return nil, err
				}
				return next.Mutate(ctx, m)
			}
			if !v.IsGlobal() && !v.Workspace.IsZero() {
				if err := m.SetField("workspace_id", v.Workspace); err != nil {
					return nil, fmt.Errorf("set workspace: %w", err)
				}
			}
			return next.Mutate(ctx, m)
		})
	}}
}

// rowOwned is Owned for rows that no list pages by id.
type rowOwned struct{ Owned }

// Indexes of rowOwned: none.
func (rowOwned) Indexes() []ent.Index { return nil }

type needViewer struct{}

func (needViewer) EvalQuery(ctx context.Context, _ ent.Query) error       { return has(ctx) }
func (needViewer) EvalMutation(ctx context.Context, _ ent.Mutation) error { return has(ctx) }

func has(ctx context.Context) error {
	if viewer.From(ctx) == nil {
		return viewer.ErrNone
	}
	return nil
}

// wherer is what the scope template adds to every query and ent to every mutation.
type wherer interface{ WhereP(...func(*sql.Selector)) }

func inWorkspace(ctx context.Context, w wherer, column string) error {
	v := viewer.From(ctx)
	if v == nil {
		return viewer.ErrNone
	}
	if v.IsGlobal() {
		return nil
	}
	// A viewer without a workspace (the operator) matches no row: the zero id names nothing.
	w.WhereP(sql.FieldEQ(column, v.Workspace))
	return nil
}

// Versioned is what people edit.
type Versioned struct{ mixin.Schema }

// Fields of Versioned.
func (Versioned) Fields() []ent.Field {
	return []ent.Field{
		field.Int("version").Default(1),
		field.Time("created_at").Default(Now).Immutable(),
		field.Time("updated_at").Default(Now).UpdateDefault(Now),
	}
}
