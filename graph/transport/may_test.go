package transport_test

import (
	"context"
	"fmt"

	"tributary/internal/page"
)

// mays tells by errors, which are logged, what the context lets a loader plan.
func mays(ctx context.Context) []error {
	var out []error
	for _, typ := range []string{"Conversation", "Customer", "PageInfo"} {
		out = append(out, fmt.Errorf("%s:%v", typ, page.May(ctx, typ)))
	}
	return out
}

// usual is what schema tools ask.
const usual = `query IntrospectionQuery { __schema { queryType { name } mutationType { name } subscriptionType { name }
types { ...FullType } directives { name description locations args { ...InputValue } } } }
fragment FullType on __Type { kind name description fields(includeDeprecated: true) { name description
args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason } inputFields { ...InputValue }
interfaces { ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
possibleTypes { ...TypeRef } }
fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }`
