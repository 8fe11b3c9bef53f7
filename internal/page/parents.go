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
	return func(s *sql.Selector) {
		d, name := sql.Dialect(s.Dialect()), s.TableName()
		t := d.Table(name)
		each := s.Clone().Limit(p.Limit + 1)
		each.SetDistinct(false)
		p.OrderBy(each)
		from := fromLateral
		if s.Dialect() == dialect.SQLite {
			from = fromListed
		}
		all := d.Select(t.Columns(s.UnqualifiedColumns()...)...).FromExpr(from(each, t, name, fk, uuids(ids)))
		p.orderBy(all, t.C) // what joins a row to its parent keeps no order
		*s = *all
	}
}

// fromLateral is PostgreSQL's: the parents as one array, beside each the rows of its own.
func fromLateral(each *sql.Selector, t *sql.SelectTable, name, fk string, ids []string) sql.Querier {
	each.Where(sql.ExprP(t.C(fk) + " = parents.parent"))
	return sql.ExprFunc(func(b *sql.Builder) {
		b.WriteString("unnest(").Arg("{" + strings.Join(ids, ",") + "}").WriteString("::uuid[]) AS parents(parent) CROSS JOIN LATERAL ")
		b.Wrap(func(b *sql.Builder) { b.Join(each) }).WriteString(" AS ").Ident(name)
	})
}

// fromListed is SQLite's, which knows no LATERAL: the ids of each parent's rows as a list, looked up in the table. CROSS
// JOIN keeps the parents outside.
func fromListed(each *sql.Selector, t *sql.SelectTable, name, fk string, ids []string) sql.Querier {
	each.Select(t.C("id")).Where(sql.ExprP(t.C(fk) + " = parents.value"))
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
