package page

import (
	"fmt"

	"entgo.io/ent/dialect/sql"

	"tributary/internal/gid"
)

// Through is a list whose rows belong to a parent by rows of another table: the conversations of whoever takes part in
// them. A row may stand in the lists of several parents, and has a role in each.
type Through struct {
	Table  string // the rows between
	Parent string // their column that names the parent
	Member string // their column that names what the list's rows belong to
	Role   string // their column that says in which role
	Child  string // the column of the list's rows that Member names
}

// The columns that a row read through another table brings along.
const (
	parentColumn = "page_parent"
	roleColumn   = "page_role"
)

// Of cuts a list to what belongs to one parent.
func (t Through) Of(parent gid.ID) func(*sql.Selector) {
	return func(s *sql.Selector) {
		d := sql.Dialect(s.Dialect())
		between := d.Table(t.Table)
		s.Where(sql.In(s.C(t.Child), d.Select(between.C(t.Member)).From(between).Where(sql.EQ(between.C(t.Parent), parent))))
	}
}

// PerParent is Plan.PerParent for such a list. ParentOf and RoleOf read what each row brings along.
func (t Through) PerParent(p Plan, ids []any) func(*sql.Selector) {
	return perParent{Plan: p, ids: ids, of: func(each *sql.Selector, parent string) {
		d := sql.Dialect(each.Dialect())
		between := d.Table(t.Table)
		each.Where(sql.In(each.C(t.Child), d.Select(between.C(t.Member)).From(between).Where(sql.ExprP(between.C(t.Parent)+" = "+parent))))
	}, bring: func(all *sql.Selector, rows *sql.SelectTable, parent string) {
		between := sql.Dialect(all.Dialect()).Table(t.Table)
		role := fmt.Sprintf("(SELECT MIN(%s) FROM %s WHERE %s = %s AND %s = %s)", between.C(t.Role), t.Table,
			between.C(t.Parent), parent, between.C(t.Member), rows.C(t.Child))
		all.AppendSelectExprAs(sql.Expr("CAST("+parent+" AS TEXT)"), parentColumn)
		all.AppendSelectExprAs(sql.Expr(role), roleColumn)
	}}.read
}

// valued is a row that brings columns along.
type valued[V any] interface {
	Value(name string) (V, error)
}

// ParentOf is the parent under which a row was read; zero if it was read without one.
func ParentOf[V any](row valued[V]) (id gid.ID) {
	if v, err := row.Value(parentColumn); err != nil || id.Scan(v) != nil {
		return gid.ID{}
	}
	return id
}

// RoleOf is the parent's role where a row was read under one; empty without.
func RoleOf[V any](row valued[V]) string {
	v, _ := row.Value(roleColumn) // missing: read without a parent
	switch v := any(v).(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}
