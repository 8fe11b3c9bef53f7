package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"

	"tributary/internal/viewer"
)

// guard bounds documents: roughly before they are validated, because validation compares fields with each other, and
// exactly, with their variables, before they run.
type guard struct {
	h      *Handler
	docs   graphql.Cache[*ast.QueryDocument]
	schema *ast.Schema
}

// ExtensionName names the guard to gqlgen.
func (*guard) ExtensionName() string { return "Guard" }

// Validate accepts every schema.
func (*guard) Validate(graphql.ExecutableSchema) error { return nil }

// fragments bounds the definitions of a document: rules that follow fragments take their number squared.
const fragments = 50

// MutateOperationParameters refuses a document that would be dear to validate.
func (g *guard) MutateOperationParameters(ctx context.Context, p *graphql.RawParams) *gqlerror.Error {
	if _, known := g.docs.Get(ctx, p.Query); known {
		return nil
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: p.Query}, g.h.lim.Tokens)
	if err != nil || doc == nil {
		return nil //nolint:nilerr // the executor says it with its place
	}
	if len(doc.Fragments) > fragments || len(doc.Operations) > fragments {
		return tooLarge("the document has more than %d definitions", fragments).gql()
	}
	n := 0
	for _, d := range doc.Operations {
		n += selections(d.SelectionSet)
	}
	for _, d := range doc.Fragments {
		n += selections(d.SelectionSet)
	}
	if n > g.h.lim.Fields {
		return tooLarge("the document has more than %d fields", g.h.lim.Fields).gql()
	}
	return nil
}

// selections counts what is written, fragments not followed; the parser bounds the nesting.
func selections(set ast.SelectionSet) int {
	n := len(set)
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			n += selections(s.SelectionSet)
		case *ast.InlineFragment:
			n += selections(s.SelectionSet)
		}
	}
	return n
}

// MutateOperationContext refuses what is too large or not allowed as a whole, and takes its points.
func (g *guard) MutateOperationContext(ctx context.Context, oc *graphql.OperationContext) *gqlerror.Error {
	m := measure{schema: g.schema, vars: oc.Variables, op: oc.Operation.Operation, page: g.h.lim.Page}
	s := m.set(oc.Operation.SelectionSet)
	v := viewer.From(ctx)
	if m.problem == nil && holdsNUL(oc.Variables) {
		m.problem = bad(textNUL)
	}
	if p := g.check(v, m, s); p != nil {
		return p.gql()
	}
	oc.DisableIntrospection = !g.h.mayRead(v)
	r := requestOf(ctx)
	r.points = s.points
	if r.get && oc.Operation.Operation != ast.Query {
		return nil // the transport refuses it; it costs nothing
	}
	if g.h.cfg.Charge != nil {
		remaining, retry, ok := g.h.cfg.Charge(ctx, v, r.remote, s.points)
		if !ok {
			return (&problem{code: codeRateLimited, message: "too much in too short a time", retry: max(retry, time.Second)}).gql()
		}
		r.charged, r.remaining = true, remaining
	}
	return nil
}

func (g *guard) check(v *viewer.Viewer, m measure, s size) *problem {
	l := g.h.lim
	switch {
	case m.problem != nil:
		return m.problem
	case s.height > l.Depth:
		return tooLarge("the operation is nested deeper than %d", l.Depth)
	case s.top > l.RootFields:
		return tooLarge("the operation has more than %d root fields", l.RootFields)
	case s.fields > l.Fields:
		return tooLarge("the operation has more than %d fields", l.Fields)
	case s.points > l.Points:
		return tooLarge("the operation costs more than %d points", l.Points)
	case s.logins > 1:
		return bad("one login in a document")
	case m.introspects && !g.h.mayRead(v) && v == nil:
		return &problem{code: codeUnauthenticated, message: "the schema is shown with a token"}
	case m.introspects && !g.h.mayRead(v):
		return &problem{code: codeForbidden, message: "the schema is not shown to visitors"}
	}
	return nil
}

// logins are the fields that take a secret without a token: one try in a document, so that a limit on requests is one
// on tries.
var logins = map[string]bool{
	"sessionCreate": true, "sessionRefresh": true, "invitationAccept": true, "visitorSessionStart": true,
}

// size is how large a selection is, fragments followed. rows is what its page repeats, in points.
type size struct{ height, fields, points, rows, top, logins int }

// enough stands for every number beyond all limits, so that sums cannot overflow.
const enough = 1 << 30

func sum(a, b int) int { return min(a+b, enough) }

func times(a, b int) int {
	if a > 0 && b > enough/a {
		return enough
	}
	return a * b
}

func (s *size) add(o size) {
	s.height = max(s.height, o.height)
	s.fields, s.points, s.rows = sum(s.fields, o.fields), sum(s.points, o.points), sum(s.rows, o.rows)
	s.top, s.logins = sum(s.top, o.top), sum(s.logins, o.logins)
}

// measure sizes an operation. Each fragment is looked at once, so the work is linear in the document.
type measure struct {
	schema *ast.Schema
	vars   map[string]any
	op     ast.Operation
	page   int

	seen        map[string]size
	introspects bool
	problem     *problem
}

func (m *measure) set(set ast.SelectionSet) size {
	var s size
	for _, x := range set {
		switch x := x.(type) {
		case *ast.Field:
			s.add(m.field(x))
		case *ast.InlineFragment:
			m.deferred(x.Directives)
			s.add(m.set(x.SelectionSet))
		case *ast.FragmentSpread:
			m.deferred(x.Directives)
			s.add(m.fragment(x))
		}
	}
	return s
}

func (m *measure) fragment(x *ast.FragmentSpread) size {
	if s, ok := m.seen[x.Name]; ok {
		return s
	}
	if m.seen == nil {
		m.seen = map[string]size{}
	}
	var s size
	if x.Definition != nil {
		m.seen[x.Name] = s // a cycle cannot come here; if it did, it would end
		s = m.set(x.Definition.SelectionSet)
	}
	m.seen[x.Name] = s
	return s
}

// deferred refuses `@defer`: the answers of this server have one part, and what was deferred would be lost.
func (m *measure) deferred(ds ast.DirectiveList) {
	if ds.ForName("defer") != nil && m.problem == nil {
		m.problem = bad("@defer needs multipart/mixed, which is not spoken here")
	}
}

// textNUL refuses what no text is: PostgreSQL cannot store it, and the answer would be INTERNAL for a mistake of the
// sender.
const textNUL = "a text holds the character U+0000"

// holdsNUL looks for NUL in the texts of a decoded value.
func holdsNUL(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.IndexByte(v, 0) >= 0
	case []any:
		return slices.ContainsFunc(v, holdsNUL)
	case map[string]any:
		for k, x := range v {
			if holdsNUL(k) || holdsNUL(x) {
				return true
			}
		}
	}
	return false
}

// literalNUL looks for NUL in what is written in the document itself.
func literalNUL(v *ast.Value) bool {
	return v != nil && (strings.IndexByte(v.Raw, 0) >= 0 || slices.ContainsFunc(v.Children, func(c *ast.ChildValue) bool { return literalNUL(c.Value) }))
}

func (m *measure) field(f *ast.Field) size {
	s := size{height: 1, fields: 1, top: 1}
	if m.problem == nil && slices.ContainsFunc(f.Arguments, func(a *ast.Argument) bool { return literalNUL(a.Value) }) {
		m.problem = bad(textNUL)
	}
	if f.Definition == nil || f.ObjectDefinition == nil || f.Name == "__typename" {
		return s
	}
	below := m.set(f.SelectionSet)
	s.fields = sum(s.fields, below.fields)
	if f.Name == "__schema" || f.Name == "__type" {
		// The usual question is deeper than an operation may be; a rule of its own bounds it.
		m.introspects = true
		s.points = 1
		return s
	}
	s.height += below.height
	if logins[f.Name] && m.schema.Mutation == f.ObjectDefinition {
		s.logins = 1
	}
	n := m.rows(f)
	s.points = sum(sum(m.own(f), below.points), times(n, below.rows))
	if paged(f.ObjectDefinition.Name) && f.Definition.Type.Elem != nil && len(f.SelectionSet) > 0 {
		s.rows, s.points = s.points, 0
	} else if f.Definition.Type.Elem != nil && len(f.SelectionSet) > 0 {
		s.points = times(m.listed(f), s.points)
	}
	return s
}

// own is what one computing of the field costs.
func (m *measure) own(f *ast.Field) int {
	if d := f.Definition.Directives.ForName("cost"); d != nil {
		if a := d.Arguments.ForName("points"); a != nil {
			if n, err := a.Value.Value(nil); err == nil {
				return number(n, 1)
			}
		}
	}
	if len(f.SelectionSet) == 0 || f.Name == "edges" && paged(f.ObjectDefinition.Name) {
		return 0
	}
	return 1
}

// paged says whether the rows of a type are as many as its page is large.
func paged(typ string) bool {
	return strings.HasSuffix(typ, "Connection") || strings.HasSuffix(typ, "Frame")
}

// rows is the page size of a field: what is asked, else the default.
func (m *measure) rows(f *ast.Field) int {
	n, asked := 0, false
	for _, name := range [...]string{"first", "last"} {
		d := f.Definition.Arguments.ForName(name)
		if d == nil {
			continue
		}
		v := m.argument(f, d)
		if v == nil {
			continue
		}
		x := number(v, 0)
		if (x < 0 || x > m.page) && m.problem == nil {
			m.problem = &problem{
				code: codeBadRequest, message: fmt.Sprintf("%s is at most %d", name, m.page),
				extra: map[string]any{"field": []string{f.Alias, name}},
			}
		}
		n, asked = max(n, x), true
	}
	switch {
	case asked:
		return n
	case strings.HasSuffix(f.Definition.Type.Name(), "Connection"):
		return 25
	default:
		return 1
	}
}

// listed is how often a plain list repeats: as often as ids were given for it.
func (m *measure) listed(f *ast.Field) int {
	if d := f.Definition.Arguments.ForName("ids"); d != nil {
		if l, ok := m.argument(f, d).([]any); ok {
			return max(len(l), 1)
		}
	}
	return 1
}

func (m *measure) argument(f *ast.Field, d *ast.ArgumentDefinition) any {
	v := d.DefaultValue
	if a := f.Arguments.ForName(d.Name); a != nil {
		v = a.Value
		if _, given := m.vars[v.Raw]; v.Kind == ast.Variable && !given {
			v = d.DefaultValue
		}
	}
	if v == nil {
		return nil
	}
	x, err := v.Value(m.vars)
	if err != nil {
		return nil
	}
	return x
}

// number reads a whole number in any form that a variable or literal takes.
func number(v any, otherwise int) int {
	switch v := v.(type) {
	case int:
		return v
	case int64:
		return int(max(min(v, enough), -1))
	case float64:
		return int(max(min(v, enough), -1))
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return enough
		}
		return int(max(min(n, enough), -1))
	case string:
		return number(json.Number(v), otherwise)
	}
	return otherwise
}
