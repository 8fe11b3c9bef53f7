// Package page is keyset pagination without counting: the place of a row is its order value and its id, one row more than
// asked tells whether there is more. It knows ent's SQL builder and no noun; the template ent/template/page.tmpl calls it
// for every noun. What is inserted between two pages neither repeats nor hides a row.
package page

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"entgo.io/ent/dialect/sql"

	"tributary/internal/gid"
)

// ErrArgs is the answer to page arguments that fit neither together nor with the order (code INVALID).
var ErrArgs = errors.New("use first with after, or last with before; at most 100")

// Order is the column that a list is sorted by; equal values are sorted by id.
type Order struct {
	Column string
	Desc   bool
}

// Cursor is the place of a row in a list of one order (scalar `Cursor`).
type Cursor struct {
	Column string `json:"c"`
	Int    int64  `json:"i,omitempty"`
	Text   string `json:"t,omitempty"`
	Time   bool   `json:"m,omitempty"`
	ID     gid.ID `json:"-"`
	Key    string `json:"k"`
}

// MarshalGQL writes the scalar.
func (c Cursor) MarshalGQL(w io.Writer) {
	c.Key = c.ID.String()
	b, err := json.Marshal(c)
	if err != nil {
		b = nil // a cursor of text and numbers has always a form
	}
	_, _ = io.WriteString(w, strconv.Quote(base64.RawURLEncoding.EncodeToString(b)))
}

// UnmarshalGQL reads the scalar.
func (c *Cursor) UnmarshalGQL(v any) error {
	s, _ := v.(string)
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, c)
	}
	if err == nil {
		c.ID, err = gid.Parse(c.Key)
	}
	if err != nil {
		return errors.New("not a cursor")
	}
	return nil
}

func (c Cursor) value() any {
	switch {
	case c.Time:
		return time.UnixMicro(c.Int).UTC()
	case c.Text != "":
		return c.Text
	}
	return c.Int
}

// Info is the contract's PageInfo.
type Info struct {
	HasNextPage, HasPreviousPage bool
	StartCursor, EndCursor       *Cursor
}

// Args are the four arguments of a connection.
type Args struct {
	First  *int
	After  *Cursor
	Last   *int
	Before *Cursor
}

// Plan is the checked form of the arguments.
type Plan struct {
	Order
	Limit   int
	Reverse bool
	From    *Cursor
}

// Plan checks the arguments against the order: 25 rows if nothing is asked, at most 100.
func (a Args) Plan(o Order) (Plan, error) {
	p := Plan{Order: o, Limit: 25, From: a.After}
	switch {
	case a.First != nil && a.Last != nil, a.Last == nil && a.Before != nil, a.Last != nil && a.After != nil:
		return p, ErrArgs
	case a.Last != nil:
		p.Limit, p.Reverse, p.From = *a.Last, true, a.Before
	case a.First != nil:
		p.Limit = *a.First
	}
	if p.Limit < 0 || p.Limit > 100 || p.From != nil && p.From.Column != o.Column {
		return p, ErrArgs
	}
	return p, nil
}

func (p Plan) desc() bool { return p.Desc != p.Reverse }

// Where cuts at the cursor by (order value, id).
func (p Plan) Where(s *sql.Selector) {
	if p.From == nil {
		return
	}
	cmp := sql.GT
	if p.desc() {
		cmp = sql.LT
	}
	id := s.C("id")
	if p.Column == "id" {
		s.Where(cmp(id, p.From.ID))
		return
	}
	col := s.C(p.Column)
	s.Where(sql.Or(cmp(col, p.From.value()), sql.And(sql.EQ(col, p.From.value()), cmp(id, p.From.ID))))
}

// OrderBy sorts by the order value, then by id; backwards for `last`.
func (p Plan) OrderBy(s *sql.Selector) {
	dir := sql.Asc
	if p.desc() {
		dir = sql.Desc
	}
	if p.Column != "id" {
		s.OrderBy(dir(s.C(p.Column)))
	}
	s.OrderBy(dir(s.C("id")))
}

// PerParent reads Limit+1 rows for each parent through the index, in one statement on both dialects.
func (p Plan) PerParent(fk string, ids []any) func(*sql.Selector) {
	return func(s *sql.Selector) {
		d, name, cols := sql.Dialect(s.Dialect()), s.TableName(), s.UnqualifiedColumns()
		s.SetDistinct(false)
		var all *sql.Selector
		for _, id := range ids {
			one := s.Clone()
			one.Where(sql.EQ(one.C(fk), id))
			p.OrderBy(one)
			arm := d.Select(cols...).From(one.Limit(p.Limit + 1).As(name))
			if all == nil {
				all = arm
			} else {
				all.UnionAll(arm)
			}
		}
		*s = *all
	}
}

// PerParentJoin is PerParent over the rows that join parents to others, in the order of the others' ids: fk names the
// parent's column, far the others'. The plan must be in the order of ids.
func (p Plan) PerParentJoin(fk, far string, ids []any) func(*sql.Selector) {
	return func(s *sql.Selector) {
		d, name, cols := sql.Dialect(s.Dialect()), s.TableName(), s.UnqualifiedColumns()
		cmp, dir := sql.GT, sql.Asc
		if p.desc() {
			cmp, dir = sql.LT, sql.Desc
		}
		s.SetDistinct(false)
		var all *sql.Selector
		for _, id := range ids {
			one := s.Clone()
			one.Where(sql.EQ(one.C(fk), id))
			if p.From != nil {
				one.Where(cmp(one.C(far), p.From.ID))
			}
			one.OrderBy(dir(one.C(far)))
			arm := d.Select(cols...).From(one.Limit(p.Limit + 1).As(name))
			if all == nil {
				all = arm
			} else {
				all.UnionAll(arm)
			}
		}
		*s = *all
	}
}

// Build makes a page of at most Limit from Limit+1 rows.
func Build[N any](p Plan, rows []N, at func(N, string) any, id func(N) gid.ID) (nodes []N, cursors []Cursor, info Info) {
	more := len(rows) > p.Limit
	if more {
		rows = rows[:p.Limit]
	}
	info.HasNextPage, info.HasPreviousPage = more, p.From != nil
	if p.Reverse {
		rows = slices.Clone(rows)
		slices.Reverse(rows)
		info.HasNextPage, info.HasPreviousPage = p.From != nil, more
	}
	cursors = make([]Cursor, len(rows))
	for i, n := range rows {
		cur := Cursor{Column: p.Column, ID: id(n)}
		switch v := at(n, p.Column).(type) {
		case time.Time:
			cur.Int, cur.Time = v.UnixMicro(), true
		case int:
			cur.Int = int64(v)
		}
		cursors[i] = cur
	}
	if n := len(cursors); n > 0 {
		info.StartCursor, info.EndCursor = &cursors[0], &cursors[n-1]
	}
	return rows, cursors, info
}

func same[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// Equal reports whether both ask for the same page.
func (a Args) Equal(b Args) bool {
	return same(a.First, b.First) && same(a.Last, b.Last) && same(a.After, b.After) && same(a.Before, b.Before)
}

type mayKey struct{}

// WithMay carries the door's knowledge of which types this viewer may see at all.
func WithMay(ctx context.Context, f func(typ string) bool) context.Context {
	return context.WithValue(ctx, mayKey{}, f)
}

// May tells the loader not to plan what would be refused.
func May(ctx context.Context, typ string) bool {
	f, ok := ctx.Value(mayKey{}).(func(string) bool)
	return !ok || f(typ)
}
