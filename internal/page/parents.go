package page

import (
	"strings"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql"

	"tributary/internal/gid"
)

// PerParent reads Limit+1 rows for each parent through the index, in one statement on both dialects. Its text is the same
// for one parent and for a thousand, so the database plans it once; a statement with an arm for each parent would be
// planned anew each time, and SQLite refuses more than 500 arms.
func (p Plan) PerParent(fk string, ids []any) func(*sql.Selector) {
	return perParent{Plan: p, ids: ids, of: func(each *sql.Selector, parent string) {
		each.Where(sql.ExprP(each.C(fk) + " = " + parent))
	}}.read
}

// PerParentJoin is PerParent over the rows that join parents to others, in the order of the others' ids: fk names the
// parent's column, far the others'. The plan must be in the order of ids.
func (p Plan) PerParentJoin(fk, far string, ids []any) func(*sql.Selector) {
	cmp := sql.GT
	if p.desc() {
		cmp = sql.LT
	}
	return perParent{Plan: p, ids: ids, id: far, of: func(each *sql.Selector, parent string) {
		each.Where(sql.ExprP(each.C(fk) + " = " + parent))
		if p.From != nil {
			each.Where(cmp(each.C(far), p.From.ID))
		}
	}}.read
}

// perParent is a list of rows beside each of many parents.
type perParent struct {
	Plan
	ids []any
	id  string // the column that breaks ties, `id` if empty
	// of narrows the rows to those of one parent, whom an expression names.
	of func(each *sql.Selector, parent string)
	// bring adds to what is read of each row; nil: nothing.
	bring func(all *sql.Selector, t *sql.SelectTable, parent string)
}

func (r perParent) read(s *sql.Selector) {
	d, name := sql.Dialect(s.Dialect()), s.TableName()
	t := d.Table(name)
	each := s.Clone().Limit(r.Limit + 1)
	each.SetDistinct(false)
	r.order(each, each.C)
	from, parent := fromLateral, "parents.parent"
	if s.Dialect() == dialect.SQLite {
		from, parent = fromListed, "parents.value"
	}
	r.of(each, parent)
	all := d.Select(t.Columns(s.UnqualifiedColumns()...)...).FromExpr(from(each, t, name, uuids(r.ids)))
	if r.bring != nil {
		r.bring(all, t, parent)
	}
	r.order(all, t.C) // what joins a row to its parent keeps no order
	*s = *all
}

func (r perParent) order(s *sql.Selector, named func(column string) string) {
	p := r.Plan
	if r.id == "" {
		p.orderBy(s, named)
		return
	}
	dir := sql.Asc
	if p.desc() {
		dir = sql.Desc
	}
	s.OrderBy(dir(named(r.id)))
}

// fromLateral is PostgreSQL's: the parents as one array, beside each the rows of its own.
func fromLateral(each *sql.Selector, _ *sql.SelectTable, name string, ids []string) sql.Querier {
	return sql.ExprFunc(func(b *sql.Builder) {
		b.WriteString("unnest(").Arg("{" + strings.Join(ids, ",") + "}").WriteString("::uuid[]) AS parents(parent) CROSS JOIN LATERAL ")
		b.Wrap(func(b *sql.Builder) { b.Join(each) }).WriteString(" AS ").Ident(name)
	})
}

// fromListed is SQLite's, which knows no LATERAL: the ids of each parent's rows as a list, looked up in the table. CROSS
// JOIN keeps the parents outside.
func fromListed(each *sql.Selector, t *sql.SelectTable, name string, ids []string) sql.Querier {
	each.Select(t.C("id"))
	return sql.ExprFunc(func(b *sql.Builder) {
		b.WriteString("json_each(").Arg(`["` + strings.Join(ids, `","`) + `"]`).WriteString(") AS parents CROSS JOIN ").Ident(name)
		b.WriteString(" ON " + t.C("id") + " IN ").Wrap(func(b *sql.Builder) { b.Join(each) })
	})
}

// uuids are the parents in the database's form.
func uuids(ids []any) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.(gid.ID).UUID() // what the template made of its nodes
	}
	return out
}
