package graph_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"

	_ "tributary/channels/all"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/graph"
	"tributary/graph/exec"
	"tributary/graph/transport"
	"tributary/internal/store"
)

type object = map[string]any

// ask runs a document in this process and returns its answer, the number of statements and the errors.
func ask(t *testing.T, w *desktest.World, ctx context.Context, query string, vars object) (object, *store.Counter, error) {
	t.Helper()
	e := executor.New(exec.NewExecutableSchema(exec.Config{Resolvers: &graph.Resolver{Desk: w.Desk}, Directives: transport.Directives()}))
	ctx, n := store.Count(graphql.StartOperationTrace(ctx))
	oc, errs := e.CreateOperationContext(ctx, &graphql.RawParams{Query: query, Variables: vars})
	if len(errs) > 0 {
		return nil, n, errs
	}
	answer, ctx := e.DispatchOperation(ctx, oc)
	resp := answer(ctx)
	var out object
	if err := json.Unmarshal(resp.Data, &out); err != nil && len(resp.Data) > 0 {
		t.Fatal(err)
	}
	if len(resp.Errors) > 0 {
		return out, n, resp.Errors
	}
	return out, n, nil
}

func must(t *testing.T, w *desktest.World, ctx context.Context, query string, vars object) (object, *store.Counter) {
	t.Helper()
	out, n, err := ask(t, w, ctx, query, vars)
	if err != nil {
		t.Fatal(err)
	}
	return out, n
}

func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(object)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func list(v any, path ...any) []any { l, _ := at(v, path...).([]any); return l }

const inbox = `query($n:Int){conversations(first:$n){pageInfo{hasNextPage endCursor} nodes{id number state subject version
 customer{displayName identities{kind value{text masked}}} owner{displayName}
 lastMessage{text at:createdAt author{displayName}}
 interactions(first:2){nodes{id state channelKind messages(last:3){pageInfo{hasPreviousPage} nodes{number text delivery}}}}
 timeline(first:2){nodes{__typename id at ... on MessageItem{message{text}} ... on AssignmentItem{assignment{reason}} ... on ChangeItem{field to}}}}}}`

// crowd makes conversations, each with a word and an answer.
func crowd(t *testing.T, w *desktest.World, n int) (*desktest.Agent, []*ent.Interaction) {
	t.Helper()
	b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = new(bool) })
	events := make([]object, n)
	for k := range events {
		events[k] = b.Text(w.Unique("e"), fmt.Sprint("t", k), fmt.Sprint("u", k), "hello")
	}
	if err := b.Deliver(events...); err != nil {
		t.Fatal(err)
	}
	w.Work()
	all, err := w.Store.Ent.Interaction.Query().All(w.Sys)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all[:min(4, len(all))] {
		w.Admin.Reply(w.Serve(i, w.Admin), "yes?")
	}
	return w.Admin, all
}

// The promise of loading by selection: a list costs the same whatever its length.
func TestTheInboxCostsTheSameStatementsForFiveAndForFifty(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		if _, err := w.Desk.SetStatus(w.Admin, nil, desk.AgentStatusInput{State: "AVAILABLE"}, nil); err != nil {
			t.Fatal(err)
		}
		a, _ := crowd(t, w, 50)
		got := map[int]int{}
		for _, n := range []int{5, 50} {
			out, c := must(t, w, a, inbox, object{"n": n})
			if rows := list(out, "conversations", "nodes"); len(rows) != n || at(rows[0], "lastMessage", "author", "displayName") == nil || len(list(rows[0], "timeline", "nodes")) != 2 {
				t.Fatalf("%d rows of %d: %v", len(rows), n, rows[0])
			}
			got[n] = c.N()
			if n == 50 && (got[5] != got[50] || got[50] > 12) {
				t.Errorf("%d statements for 5 rows, %d for 50:", got[5], got[50])
				for _, s := range c.Statements() {
					t.Log(s[:min(len(s), 160)])
				}
			}
		}
		t.Logf("inbox: %d statements", got[50])
	})
}

func TestSendingAndTakingInStayWithinTheirBudgets(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		if _, err := w.Desk.SetStatus(w.Admin, nil, desk.AgentStatusInput{State: "AVAILABLE"}, nil); err != nil {
			t.Fatal(err)
		}
		a, all := crowd(t, w, 1)
		out, c := must(t, w, a, `mutation($i:ID!){messageSend(interactionId:$i,input:{text:"hi"},idempotencyKey:"k"){userErrors{code}
			message{id text delivery author{displayName} interaction{id state conversation{number state customer{displayName}}}}}}`, object{"i": all[0].ID.String()})
		if at(out, "messageSend", "message", "interaction", "conversation", "customer") == nil {
			t.Fatal(out)
		}
		t.Logf("messageSend with key and nested answer: %d statements", c.N())
		if c.N() > 30 {
			t.Errorf("messageSend: %d statements", c.N())
			for _, s := range c.Statements() {
				t.Log(s[:min(len(s), 160)])
			}
		}
		w.Work() // the answer's send is no part of what is counted
		b := w.Bridge(nil)
		for _, which := range []string{"first", "next"} {
			in, received := store.Count(t.Context())
			if err := b.Deliver(b.Text(w.Unique("e"), "thread", "person", "hello")); err != nil {
				t.Fatal(err)
			}
			w.WorkUnder(in)
			t.Logf("the ingest job, the %s word: %d statements", which, received.N())
		}
		v := w.Visitor(w.Channel(desk.ChannelCreateInput{Kind: "webchat"}))
		for _, which := range []string{"first", "next"} {
			_, c := must(t, w, v, `mutation{visitorMessageSend(input:{text:"hello"}){visitorMessage{id number text} userErrors{code}}}`, nil)
			t.Logf("visitorMessageSend, the %s word: %d statements", which, c.N())
		}
	})
}

const names = `query($f:Int,$a:Cursor,$l:Int,$b:Cursor){conversations(first:$f,after:$a,last:$l,before:$b){totalCount pageInfo{hasNextPage hasPreviousPage startCursor endCursor} nodes{number}}}`

// walk pages through the list in one direction.
func walk(t *testing.T, w *desktest.World, ctx context.Context, forward bool) (out []any) {
	t.Helper()
	vars, more, place := object{"f": 7}, "hasNextPage", "endCursor"
	if !forward {
		vars, more, place = object{"l": 7}, "hasPreviousPage", "startCursor"
	}
	for range 20 {
		got, _ := must(t, w, ctx, names, vars)
		var page []any
		for _, n := range list(got, "conversations", "nodes") {
			page = append(page, at(n, "number"))
		}
		if forward {
			out, vars["a"] = append(out, page...), at(got, "conversations", "pageInfo", place)
		} else {
			out, vars["b"] = append(page, out...), at(got, "conversations", "pageInfo", place)
		}
		if at(got, "conversations", "pageInfo", more) != true {
			return out
		}
	}
	t.Fatal("the walk does not end")
	return nil
}

func TestPagingForwardAndBackwardGivesTheSameRowsOnce(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		if _, err := w.Desk.SetStatus(w.Admin, nil, desk.AgentStatusInput{State: "AVAILABLE"}, nil); err != nil {
			t.Fatal(err)
		}
		a, _ := crowd(t, w, 30)
		forward, backward := walk(t, w, a, true), walk(t, w, a, false)
		if len(forward) != 30 || !slices.Equal(forward, backward) {
			t.Errorf("forward %v\nbackward %v", forward, backward)
		}
		seen := map[any]bool{}
		for _, n := range forward {
			seen[n] = true
		}
		if len(seen) != 30 {
			t.Errorf("%d different rows", len(seen))
		}
	})
}

func TestWrongPagingArgumentsAreRefused(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		if _, err := w.Desk.SetStatus(w.Admin, nil, desk.AgentStatusInput{State: "AVAILABLE"}, nil); err != nil {
			t.Fatal(err)
		}
		a, _ := crowd(t, w, 3)
		got, _ := must(t, w, a, names, object{"f": 1})
		cursor := at(got, "conversations", "pageInfo", "endCursor")
		for name, vars := range map[string]object{
			"more than 100": {"f": 101}, "negative": {"f": -1}, "first and last": {"f": 1, "l": 1}, "before without last": {"f": 1, "b": cursor},
			"after with last": {"l": 1, "a": cursor}, "nonsense": {"f": 1, "a": "nonsense"},
		} {
			if _, _, err := ask(t, w, a, names, vars); err == nil {
				t.Errorf("%s is answered", name)
			}
		}
		if _, _, err := ask(t, w, a, `query($a:Cursor){conversations(first:1,after:$a,orderBy:{field:OPENED_AT,direction:ASC}){nodes{id}}}`, object{"a": cursor}); err == nil {
			t.Error("a cursor of another order is answered")
		}
		if _, _, err := ask(t, w, a, `{conversations(first:1){nodes{interactions(first:101){nodes{id}}}}}`, nil); err == nil {
			t.Error("a nested page of 101 is answered")
		}
	})
}

// Rights by the door: a refused edge is null at its own path, the rest stands.
func TestWhatIsRefusedIsNullAtItsOwnPath(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		if _, err := w.Desk.SetStatus(w.Admin, nil, desk.AgentStatusInput{State: "AVAILABLE"}, nil); err != nil {
			t.Fatal(err)
		}
		_, all := crowd(t, w, 2)
		foreign := w.Another().Admin
		out, _ := must(t, w, foreign, `query($i:[ID!]!){nodes(ids:$i){id} conversations(first:5){totalCount nodes{id}}}`,
			object{"i": []string{all[0].ID.String(), all[0].ConversationID.String(), all[0].CustomerID.String(), "nonsense"}})
		if got := list(out, "nodes"); len(got) != 4 || slices.ContainsFunc(got, func(v any) bool { return v != nil }) {
			t.Errorf("another workspace sees %v", got)
		}
		if at(out, "conversations", "totalCount") != 0.0 {
			t.Errorf("another workspace counts %v", out)
		}
		stranger := w.Agent("Stranger", "agent")
		out, _ = must(t, w, stranger, `query($i:ID!,$c:ID!){node(id:$i){id} customer(id:$c){id conversations(first:5){totalCount nodes{id}} timeline(first:5){nodes{id}}}}`,
			object{"i": all[0].ID.String(), "c": all[0].CustomerID.String()})
		if at(out, "node") != nil || at(out, "customer", "conversations", "totalCount") != 0.0 || len(list(out, "customer", "timeline", "nodes")) != 0 {
			t.Errorf("out of reach is seen: %v", out)
		}
	})
}

// gqlgen answers a type that does not fit with a stub, not with an error.
func TestNoResolverIsAStub(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(f) == ".go" && !bytes.HasSuffix([]byte(f), []byte("_test.go")) && bytes.Contains(text, []byte(`panic(fmt.Errorf("not implemented`)) {
			t.Errorf("%s holds a stub", f)
		}
	}
}
