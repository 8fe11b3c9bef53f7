package live

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"tributary/desk"
	"tributary/graph/model"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// feed is how frames reach the resolver of an execution that Join made: whoever executes puts one in and takes the
// answer out, so that a frame and its answer never part.
type feed struct {
	events  chan *model.EventFrame
	visitor chan *model.VisitorFrame
	called  bool // the resolver was reached
	filter  desk.EventFilter
}

type feedKey struct{}

// encoder executes the document for one frame, as the viewer (nil: as the execution's own), and encodes the answer. The
// second result is set instead if the execution is over: its errors.
type encoder func(v *viewer.Viewer, fr any) (payload, fatal []byte)

// internal is what a client hears when an execution broke.
var internal = []byte(`[{"message":"internal error","extensions":{"code":"INTERNAL"}}]`)

// open begins to execute a document for the viewer of ctx. fatal is set if it was refused: by a directive, an argument.
func (l *Live) open(ctx context.Context, exec graphql.GraphExecutor, oc *graphql.OperationContext) (enc encoder, f *feed, fatal []byte) {
	f = &feed{events: make(chan *model.EventFrame, 1), visitor: make(chan *model.VisitorFrame, 1)}
	defer func() {
		if r := recover(); r != nil {
			l.panicked(ctx, r)
			fatal = internal
		}
	}()
	ctx = context.WithValue(viewer.Live(ctx), feedKey{}, f)
	next, ctx := exec.DispatchOperation(graphql.WithOperationContext(ctx, oc), oc)
	if !f.called {
		if r := next(ctx); r != nil {
			return nil, f, errorsOf(r)
		}
		return nil, f, internal
	}
	if root := graphql.CollectFields(oc, oc.Operation.SelectionSet, []string{"Subscription"}); len(root) == 1 {
		// gqlgen executes a frame outside its field; with it, errors below carry their whole path.
		ctx = graphql.WithFieldContext(ctx, &graphql.FieldContext{Object: "Subscription", Field: root[0]})
	}
	return func(v *viewer.Viewer, fr any) ([]byte, []byte) {
		c := ctx
		if v != nil {
			c = viewer.With(c, v)
		}
		return l.encode(c, next, f, fr)
	}, f, nil
}

func (l *Live) encode(ctx context.Context, next graphql.ResponseHandler, f *feed, fr any) (payload, fatal []byte) {
	defer func() {
		if r := recover(); r != nil {
			l.panicked(ctx, r)
			payload, fatal = nil, internal
		}
	}()
	l.Runs.Add(1)
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Deadline)
	defer cancel()
	switch fr := fr.(type) {
	case *model.EventFrame:
		f.events <- fr
	case *model.VisitorFrame:
		f.visitor <- fr
	}
	r := next(ctx)
	if r == nil {
		return nil, internal
	}
	if len(r.Data) == 0 {
		return nil, errorsOf(r)
	}
	return answer(r), nil
}

// answer is the bytes of a response; they are the execution's no longer.
func answer(r *graphql.Response) []byte {
	if len(r.Errors) > 0 || len(r.Extensions) > 0 {
		if b, err := json.Marshal(r); err == nil {
			return b
		}
	}
	var b bytes.Buffer
	b.Grow(len(r.Data) + 9)
	b.WriteString(`{"data":`)
	b.Write(r.Data)
	b.WriteByte('}')
	return b.Bytes()
}

func errorsOf(r *graphql.Response) []byte {
	if b, err := json.Marshal(r.Errors); err == nil && len(r.Errors) > 0 {
		return b
	}
	return internal
}

func (l *Live) panicked(ctx context.Context, r any) {
	l.cfg.Logger.LogAttrs(ctx, slog.LevelError, "stream panicked",
		slog.String("err", fmt.Sprint(r)), slog.String("stack", string(debug.Stack())))
}

// clone is an operation that another execution can run at the same time; what it shares is only read.
func clone(oc *graphql.OperationContext) *graphql.OperationContext {
	return &graphql.OperationContext{
		RawQuery: oc.RawQuery, Variables: oc.Variables, OperationName: oc.OperationName, Doc: oc.Doc,
		Extensions: oc.Extensions, Operation: oc.Operation, DisableIntrospection: oc.DisableIntrospection,
		RecoverFunc: oc.RecoverFunc, ResolverMiddleware: oc.ResolverMiddleware,
		RootResolverMiddleware: oc.RootResolverMiddleware, Stats: oc.Stats,
	}
}

// shape is what a document says about how it can be shared.
type shape struct {
	visitor   bool              // the stream is a visitor's
	shared    bool              // an execution can serve many
	perViewer bool              // but only of one viewer
	cursor    string            // the variable that holds the cursor
	after     *page.EventCursor // the cursor
}

// shapeOf reads a checked subscription.
func shapeOf(oc *graphql.OperationContext) shape {
	root := graphql.CollectFields(oc, oc.Operation.SelectionSet, []string{"Subscription"})
	if len(root) != 1 {
		return shape{}
	}
	field := root[0].Field
	s := shape{visitor: field.Name == "visitorEvents", shared: field.Name == "events"}
	if v := field.ArgumentMap(oc.Variables)["after"]; v != nil {
		s.after = &page.EventCursor{}
		if s.after.UnmarshalGQL(v) != nil {
			// The execution will say so.
			return shape{visitor: s.visitor}
		}
	}
	if a := field.Arguments.ForName("after"); a != nil && a.Value.Kind == ast.Variable {
		s.cursor = a.Value.Raw
	}
	s.perViewer = walk(oc.Operation.SelectionSet, func(f *ast.Field) bool {
		return f.Definition != nil && f.Definition.Directives.ForName("perViewer") != nil
	})
	if s.cursor != "" && walk(oc.Operation.SelectionSet, func(f *ast.Field) bool {
		for _, a := range f.Arguments {
			if uses(a.Value, s.cursor) && (f != field || a.Name != "after") {
				return true
			}
		}
		return false
	}) {
		s.shared = false
	}
	return s
}

// walk asks each field below a selection, fragments followed once, until one holds.
func walk(set ast.SelectionSet, holds func(*ast.Field) bool) bool {
	seen := map[string]bool{}
	var any func(ast.SelectionSet) bool
	any = func(set ast.SelectionSet) bool {
		for _, s := range set {
			var below ast.SelectionSet
			switch s := s.(type) {
			case *ast.Field:
				if holds(s) {
					return true
				}
				below = s.SelectionSet
			case *ast.InlineFragment:
				below = s.SelectionSet
			case *ast.FragmentSpread:
				if seen[s.Name] || s.Definition == nil {
					continue
				}
				seen[s.Name] = true
				below = s.Definition.SelectionSet
			}
			if any(below) {
				return true
			}
		}
		return false
	}
	return any(set)
}

func uses(v *ast.Value, variable string) bool {
	if v == nil {
		return false
	}
	if v.Kind == ast.Variable && v.Raw == variable {
		return true
	}
	for _, c := range v.Children {
		if uses(c.Value, variable) {
			return true
		}
	}
	return false
}
