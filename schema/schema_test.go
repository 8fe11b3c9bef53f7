package schema_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vektah/gqlparser/v2"
	gql "github.com/vektah/gqlparser/v2/ast"

	"tributary/ent/migrate"
	"tributary/schema"
)

func contract(t *testing.T) *gql.Schema {
	t.Helper()
	s, err := gqlparser.LoadSchema(&gql.Source{Name: "contract", Input: schema.SDL()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// own are the types that we wrote, in a stable order.
func own(s *gql.Schema) (out []*gql.Definition) {
	for _, d := range s.Types {
		if !d.BuiltIn {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b *gql.Definition) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func TestEverythingIsDescribed(t *testing.T) {
	s := contract(t)
	need := func(what, text string) {
		if strings.TrimSpace(text) == "" {
			t.Errorf("%s has no description", what)
		}
	}
	for _, d := range own(s) {
		need(d.Name, d.Description)
		for _, f := range d.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			need(d.Name+"."+f.Name, f.Description)
			for _, a := range f.Arguments {
				need(d.Name+"."+f.Name+"("+a.Name+":)", a.Description)
			}
		}
		for _, v := range d.EnumValues {
			need(d.Name+"."+v.Name, v.Description)
		}
	}
	for name, d := range s.Directives {
		if d.Position != nil && d.Position.Src.BuiltIn {
			continue
		}
		need("@"+name, d.Description)
		for _, a := range d.Arguments {
			need("@"+name+"("+a.Name+":)", a.Description)
		}
	}
}

// A root field that is refused must not empty the others. The payloads of @open mutations are values, not rows.
func TestEveryRootFieldIsNullableOrOpen(t *testing.T) {
	s := contract(t)
	for _, root := range []*gql.Definition{s.Query, s.Mutation} {
		for _, f := range root.Fields {
			if f.Type.NonNull && f.Directives.ForName("open") == nil && !strings.HasPrefix(f.Name, "__") {
				t.Errorf("%s.%s is %s", root.Name, f.Name, f.Type)
			}
		}
	}
}

func TestEveryRootFieldNeedsAScopeOrIsOpen(t *testing.T) {
	s := contract(t)
	for _, root := range []*gql.Definition{s.Query, s.Mutation, s.Subscription} {
		for _, f := range root.Fields {
			if strings.HasPrefix(f.Name, "__") {
				continue
			}
			if (f.Directives.ForName("requires") == nil) == (f.Directives.ForName("open") == nil) {
				t.Errorf("%s.%s is neither under a scope nor open, or both", root.Name, f.Name)
			}
		}
	}
}

func isNode(s *gql.Schema, name string) bool {
	d := s.Types[name]
	return d != nil && (d.Name == "Node" || slices.Contains(d.Interfaces, "Node"))
}

func TestEveryRowIsUnderAScope(t *testing.T) {
	s := contract(t)
	for _, d := range own(s) {
		if d.Kind == gql.Object && isNode(s, d.Name) && d.Directives.ForName("requires") == nil {
			t.Errorf("%s is a row that everybody may see", d.Name)
		}
	}
}

// The visitor's side is closed: whatever is selected from there, no row of the workspace is reached.
func TestNothingLeadsFromAVisitorToARow(t *testing.T) {
	s := contract(t)
	seen, queue := map[string]bool{}, []string{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			queue = append(queue, name)
		}
	}
	for _, d := range own(s) {
		if strings.HasPrefix(d.Name, "Visitor") {
			add(d.Name)
		}
	}
	for _, root := range []*gql.Definition{s.Query, s.Mutation, s.Subscription} {
		for _, f := range root.Fields {
			if strings.HasPrefix(f.Name, "visitor") {
				add(f.Type.Name())
			}
		}
	}
	if len(queue) < 20 {
		t.Fatalf("only %d types of visitors were found", len(queue))
	}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if isNode(s, name) {
			t.Errorf("%s can be reached from a visitor", name)
		}
		for _, f := range s.Types[name].Fields {
			add(f.Type.Name())
		}
		for _, p := range s.PossibleTypes[name] {
			add(p.Name)
		}
	}
}

func TestEveryMutationTakesAnIdempotencyKeyUnlessItStoresNothing(t *testing.T) {
	for _, f := range contract(t).Mutation.Fields {
		key := f.Arguments.ForName("idempotencyKey")
		ephemeral := f.Directives.ForName("ephemeral") != nil
		switch {
		case ephemeral && key != nil:
			t.Errorf("%s stores nothing and takes a key", f.Name)
		case !ephemeral && (key == nil || key.Type.String() != "Key"):
			t.Errorf("%s takes no `idempotencyKey: Key`", f.Name)
		}
	}
}

func TestEveryPayloadSaysWhyNot(t *testing.T) {
	s := contract(t)
	for _, f := range s.Mutation.Fields {
		want := "[UserError!]!"
		if strings.HasPrefix(f.Name, "visitor") {
			want = "[VisitorError!]!"
		}
		errs := s.Types[f.Type.Name()].Fields.ForName("userErrors")
		if errs == nil || errs.Type.String() != want {
			t.Errorf("%s answers without userErrors: %s", f.Name, want)
		}
	}
}

// columns are the enums of rows by the enum that shows them; "" for those that no contract shows.
var columns = map[string]string{
	"conversations.state": "ConversationState", "conversations.priority": "Priority", "interactions.state": "InteractionState",
	"interactions.priority": "Priority", "interactions.direction": "Direction", "interactions.joined_by": "JoinRule",
	"messages.direction": "Direction", "messages.delivery": "DeliveryState", "attachments.kind": "AttachmentKind",
	"attachments.state": "AttachmentState", "offers.state": "OfferState", "offers.outcome": "OfferOutcome", "assignments.kind": "AssignmentKind",
	"routing_decisions.outcome": "DecisionOutcome", "participants.role": "ParticipantRole", "recipients.role": "RecipientRole", "timeline_items.type": "TimelineItemType",
	"identities.verification": "VerificationLevel", "roles.reach": "Reach", "api_keys.kind": "KeyKind", "queues.strategy": "RoutingStrategy", "queues.recording": "RecordingPolicy",
	"agent_status.state": "AgentState", "status_reasons.state": "AgentState", "merge_candidates.state": "SuggestionState",
	"calls.direction": "Direction", "calls.state": "CallState", "calls.caller_proof": "CallerProof", "calls.end_cause": "CallEndCause",
	"calls.recording_state": "RecordingState", "call_legs.role": "LegRole", "call_legs.state": "LegState",
	"jobs.state": "", "raw_inbounds.state": "", "accesses.reason": "",
}

func TestEnumsOfRowsAreThoseOfTheContract(t *testing.T) {
	s, left := contract(t), map[string]bool{}
	for name := range columns {
		left[name] = true
	}
	for _, table := range migrate.Tables {
		for _, c := range table.Columns {
			if len(c.Enums) == 0 {
				continue
			}
			name := table.Name + "." + c.Name
			enum, known := columns[name]
			delete(left, name)
			switch {
			case !known:
				t.Errorf("%s is an enum that this test does not know", name)
			case enum != "":
				same(t, name+" and "+enum, c.Enums, values(s, enum))
			}
		}
	}
	for name := range left {
		t.Errorf("there is no column %s", name)
	}
}

func values(s *gql.Schema, enum string) (out []string) {
	if d := s.Types[enum]; d != nil {
		for _, v := range d.EnumValues {
			out = append(out, v.Name)
		}
	}
	return out
}

func same(t *testing.T, what string, a, b []string) {
	t.Helper()
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	if len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("%s differ:\n%v\n%v", what, a, b)
	}
}

// constants are the values of a type's constants in a file.
func constants(t *testing.T, path, typ string) (out []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) == 0 {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != typ {
			return true
		}
		if l, ok := v.Values[0].(*ast.BasicLit); ok {
			text, err := strconv.Unquote(l.Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, text)
		}
		return true
	})
	return out
}

func TestEnumsOfTheCodeAreThoseOfTheContract(t *testing.T) {
	s := contract(t)
	for _, c := range []struct{ path, typ, enum string }{
		{"../desk/refusal.go", "Code", "UserErrorCode"},
		{"../desk/input.go", "EventType", "EventType"},
		{"../desk/flowtype.go", "FlowNodeKind", "FlowNodeKind"},
		{"../desk/flowtype.go", "BuiltInSound", "BuiltInSound"},
		{"../desk/input.go", "EventScope", "EventScope"},
		{"../desk/visitortype.go", "VisitorState", "VisitorState"},
		{"../desk/visitortype.go", "VisitorEventType", "VisitorEventType"},
		{"../internal/viewer/viewer.go", "Scope", "Scope"},
		{"../internal/viewer/viewer.go", "Kind", "ViewerKind"},
		{"../internal/viewer/viewer.go", "Reach", "Reach"},
		{"../router/explain.go", "Exclusion", "ExclusionReason"},
	} {
		same(t, c.typ+" and "+c.enum, constants(t, c.path, c.typ), values(s, c.enum))
	}
}
