package transport

import (
	"context"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"tributary/desk"
	"tributary/graph/exec"
	"tributary/internal/viewer"
)

// Directives is what the schema's directives do when a field is resolved: `@requires` asks for the scope. It repeats
// what desk asks anyway, earlier and at the field's own path.
func Directives() exec.DirectiveRoot {
	return exec.DirectiveRoot{
		Requires: func(ctx context.Context, _ any, next graphql.Resolver, scope viewer.Scope) (any, error) {
			v := viewer.From(ctx)
			switch {
			case v != nil && v.Has(scope), shown(ctx):
				return next(ctx)
			case v == nil:
				return nil, viewer.ErrNone
			}
			return nil, &desk.Forbidden{Scope: scope}
		},
	}
}

// proofs are the mutations whose caller proves himself, or makes what he is no part of, by the call itself. Their
// payload shows what came of it: rows that the operation has read for it. What is not read yet is refused below.
var proofs = map[string]bool{"sessionCreate": true, "sessionRefresh": true, "invitationAccept": true, "workspaceCreate": true}

// shown reports whether a field stands beneath the payload of such a mutation.
func shown(ctx context.Context) bool {
	fc := graphql.GetFieldContext(ctx)
	if fc == nil || fc.Object == "Mutation" {
		return false
	}
	for fc.Parent != nil && fc.Object != "Mutation" {
		fc = fc.Parent
	}
	return fc.Object == "Mutation" && proofs[fc.Field.Name]
}

// scopes are what the object types of a schema need; gqlgen runs no directive on a type.
func scopes(schema *ast.Schema) map[string]viewer.Scope {
	out := map[string]viewer.Scope{}
	for name, d := range schema.Types {
		if r := d.Directives.ForName("requires"); r != nil {
			if a := r.Arguments.ForName("scope"); a != nil {
				out[name] = viewer.Scope(a.Value.Raw)
			}
		}
	}
	return out
}

// fieldError marks what a resolver answered, so that the presenter can tell it from what the executor says about the
// document.
type fieldError struct{ err error }

func (f *fieldError) Error() string { return f.err.Error() }
func (f *fieldError) Unwrap() error { return f.err }

// aroundField keeps customers to their own fields, and marks errors.
func aroundField(ctx context.Context, next graphql.Resolver) (any, error) {
	fc := graphql.GetFieldContext(ctx)
	switch fc.Object {
	case "Query", "Mutation", "Subscription":
		v := viewer.From(ctx)
		if v != nil && v.Kind == viewer.KindCustomer && !strings.HasPrefix(fc.Field.Name, "visitor") &&
			!strings.HasPrefix(fc.Field.Name, "__") && fc.Field.Name != "rateLimit" {
			return nil, &fieldError{&desk.Forbidden{Scope: viewer.Self}}
		}
	}
	res, err := next(ctx)
	if err != nil {
		err = &fieldError{err}
	}
	return res, err
}

// request is what is known of the operation that a context belongs to.
type request struct {
	id, remote string
	get        bool
	charged    bool
	points     int
	remaining  int
}

type requestKey struct{}

func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// Address is the client's address of the operation that ctx belongs to.
func Address(ctx context.Context) string { return requestOf(ctx).remote }

// RequestID is the id under which the operation that ctx belongs to stands in answers and logs.
func RequestID(ctx context.Context) string { return requestOf(ctx).id }
