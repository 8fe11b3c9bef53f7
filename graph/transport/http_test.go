package transport_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"tributary/desk"
	"tributary/ent"
	"tributary/graph/model"
	"tributary/graph/transport"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

const (
	jsonForm     = "application/json"
	responseForm = "application/graphql-response+json"
)

func TestStatusAndForm(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		name, accept, body string
		status             int
		form               string
		data               bool
	}{
		{"good, json", jsonForm, `{"query":"{__typename}"}`, 200, jsonForm, true},
		{"good, response", responseForm, `{"query":"{__typename}"}`, 200, responseForm, true},
		{"good, any", "*/*", `{"query":"{__typename}"}`, 200, jsonForm, true},
		{"good, none", "", `{"query":"{__typename}"}`, 200, jsonForm, true},
		{"best of several", "application/json;q=0.5, " + responseForm, `{"query":"{__typename}"}`, 200, responseForm, true},
		{"a form we have not", "image/png", `{"query":"{__typename}"}`, 406, jsonForm, false},
		{"parse, json", jsonForm, `{"query":"{"}`, 200, jsonForm, false},
		{"parse, response", responseForm, `{"query":"{"}`, 400, responseForm, false},
		{"validation, json", jsonForm, `{"query":"{nothing}"}`, 200, jsonForm, false},
		{"validation, response", responseForm, `{"query":"{nothing}"}`, 400, responseForm, false},
		{"variables, json", jsonForm, `{"query":"query($i:ID!){node(id:$i){id}}"}`, 200, jsonForm, false},
		{"variables, response", responseForm, `{"query":"query($i:ID!){node(id:$i){id}}"}`, 400, responseForm, false},
		{"no such operation", responseForm, `{"query":"{__typename}","operationName":"x"}`, 400, responseForm, false},
		{"null members", responseForm, `{"query":"{__typename}","operationName":null,"variables":null,"extensions":null}`, 200, responseForm, true},
		{"query is missing", jsonForm, `{}`, 400, jsonForm, false},
		{"query is a number", jsonForm, `{"query":1}`, 400, jsonForm, false},
		{"query is an object", jsonForm, `{"query":{}}`, 400, jsonForm, false},
		{"operationName is a number", jsonForm, `{"query":"{__typename}","operationName":1}`, 400, jsonForm, false},
		{"variables is a text", jsonForm, `{"query":"{__typename}","variables":"x"}`, 400, jsonForm, false},
		{"variables is a list", jsonForm, `{"query":"{__typename}","variables":[1]}`, 400, jsonForm, false},
		{"extensions is a list", jsonForm, `{"query":"{__typename}","extensions":[1]}`, 400, jsonForm, false},
		{"no JSON", responseForm, `{"query`, 400, responseForm, false},
		{"more than one value", responseForm, `{"query":"{__typename}"}{}`, 400, responseForm, false},
		{"a list", jsonForm, `[{"query":"{__typename}"}]`, 400, jsonForm, false},
		{"nothing", jsonForm, ``, 400, jsonForm, false},
		{"subscription", responseForm, `{"query":"subscription{events{cursor}}"}`, 400, responseForm, false},
	} {
		a := w.raw("agent", c.body, "Accept", c.accept)
		if a.status != c.status || a.header.Get("Content-Type") != c.form+"; charset=utf-8" {
			t.Errorf("%s: %d %s %s", c.name, a.status, a.header.Get("Content-Type"), a.body)
		}
		if strings.Contains(a.body, `"data"`) != c.data {
			t.Errorf("%s: %s", c.name, a.body)
		}
		if !c.data && (a.code() == "" || a.Errors[0].Extensions["requestId"] != a.header.Get("X-Request-Id")) {
			t.Errorf("%s: no code or requestId: %s", c.name, a.body)
		}
		if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", c.name, a.header)
		}
	}
}

func TestBodies(t *testing.T) {
	w := newWorld(t, nil)
	for _, c := range []struct {
		header, value string
		status        int
	}{
		{"Content-Type", "text/plain", 415},
		{"Content-Type", "application/x-www-form-urlencoded", 415},
		{"Content-Type", "multipart/form-data; boundary=x", 415},
		{"Content-Type", "", 415},
		{"Content-Type", "application/json; charset=iso-8859-1", 415},
		{"Content-Encoding", "gzip", 415},
		{"Content-Type", "application/json; charset=UTF-8", 200},
	} {
		if a := w.raw("agent", `{"query":"{__typename}"}`, c.header, c.value); a.status != c.status {
			t.Errorf("%s %s: %d", c.header, c.value, a.status)
		}
	}
	secret := strings.Repeat("s3cret ", 10_000)
	a := w.raw("agent", `{"query":"{__typename}","variables":{"x":"`+secret+`"}}`)
	if a.status != 413 || a.code() != "QUERY_TOO_LARGE" || strings.Contains(a.body, "s3cret") {
		t.Error(a.status, a.body)
	}
	if a := w.raw("agent", `{"query": s3cret`); strings.Contains(a.body, "s3cret") {
		t.Error(a.body)
	}
}

func TestGet(t *testing.T) {
	w := newWorld(t, nil)
	get := func(query string) answer {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.srv.URL+"?"+query, nil)
		r.Header.Set("Authorization", "agent")
		return w.do(r)
	}
	if a := get(url.Values{"query": {"query($t:Boolean!){__typename @include(if:$t)}"}, "variables": {`{"t":true}`}}.Encode()); a.status != 200 || a.Data["__typename"] != "Query" {
		t.Error(a.status, a.body)
	}
	mutation := url.Values{"query": {`mutation{sessionCreate(input:{email:"a",password:"b",client:"c"}){userErrors{code}}}`}}.Encode()
	ran := false
	w.root.Login = func(context.Context) error { ran = true; return nil }
	if a := get(mutation); a.status != 405 || a.header.Get("Allow") != "POST" || ran {
		t.Error(a.status, a.header, a.body, ran)
	}
	for _, q := range []string{"", "query=" + url.QueryEscape("{__typename}") + "&variables=x", "query=%zz"} {
		if a := get(q); a.status != 400 {
			t.Error(q, a.status)
		}
	}
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, w.srv.URL, nil)
	if a := w.do(r); a.status != 405 || a.header.Get("Allow") != "GET, POST, OPTIONS" {
		t.Error(a.status, a.header)
	}
	r, _ = http.NewRequestWithContext(t.Context(), http.MethodOptions, w.srv.URL, nil)
	r.Header.Set("Origin", w.srv.URL)
	if a := w.do(r); a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != w.srv.URL {
		t.Error(a.status, a.header)
	}
	r.Header.Set("Origin", "https://elsewhere.example")
	if a := w.do(r); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error(a.header)
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t, nil)
	if a := w.post("stranger", "{__typename}", nil); a.status != 401 || a.code() != "UNAUTHENTICATED" || a.header.Get("Www-Authenticate") == "" {
		t.Error(a.status, a.body)
	}
	if a := w.post("", "{viewer{kind}}", nil); a.status != 200 || a.code() != "UNAUTHENTICATED" || a.Errors[0].Path[0] != "viewer" {
		t.Error(a.status, a.body)
	}
	if a := w.post("weak", "{viewer{kind}}", nil); a.code() != "FORBIDDEN" {
		t.Error(a.body)
	}
	if a := w.post("agent", "{viewer{kind}}", nil); a.Data["viewer"] == nil {
		t.Error(a.body)
	}
	// A visitor has the visitor's fields and nothing else, and nobody else has them.
	if a := w.post("visitor", "{visitorEventsAfter{caughtUp} node(id:\"x\"){id} viewer{kind}}", nil); len(a.Errors) != 2 ||
		a.code() != "FORBIDDEN" || a.Data["visitorEventsAfter"] == nil {
		t.Error(a.body)
	}
	if a := w.post("visitor", `mutation{sessionCreate(input:{email:"a",password:"b",client:"c"}){userErrors{code}}}`, nil); a.code() != "FORBIDDEN" {
		t.Error(a.body)
	}
	if a := w.post("agent", "{visitorEventsAfter{caughtUp}}", nil); a.code() != "FORBIDDEN" {
		t.Error(a.body)
	}
	// Basic, for programs that know nothing else.
	if a := w.raw("", `{"query":"{viewer{kind}}"}`, "Authorization", "Basic OmFnZW50"); a.Data["viewer"] == nil {
		t.Error(a.body)
	}
}

func TestErrorsThatPass(t *testing.T) {
	w := newWorld(t, nil)
	var err error
	w.root.Ask = func(context.Context) (*model.Viewer, error) { return nil, err }
	for _, c := range []struct {
		err     error
		code    string
		message string
	}{
		{fmt.Errorf("dial tcp 10.0.0.7: %w", io.EOF), "INTERNAL", "internal error"},
		{&desk.Forbidden{Scope: "SUPERVISE"}, "FORBIDDEN", "needs the scope SUPERVISE"},
		{fmt.Errorf("ask: %w", viewer.ErrNone), "UNAUTHENTICATED", "a token is needed"},
		{&desk.Refusal{Code: desk.Invalid, Message: "no", Field: []string{"x"}}, "BAD_REQUEST", "no"},
	} {
		err = c.err
		a := w.post("agent", "{viewer{kind}}", nil)
		if a.code() != c.code || a.Errors[0].Message != c.message || a.status != 200 || strings.Contains(a.body, "10.0.0.7") {
			t.Errorf("%v: %s", c.err, a.body)
		}
	}
	if a := w.post("agent", "{viewer{kind}}", nil); a.Errors[0].Extensions["reason"] != "INVALID" {
		t.Error(a.body)
	}
	if n := strings.Count(w.logged.String(), "10.0.0.7"); n != 1 {
		t.Errorf("logged %d times: %s", n, w.logged)
	}
	w.root.Ask = func(context.Context) (*model.Viewer, error) { panic("at 10.0.0.8") }
	a := w.post("agent", "{viewer{kind} eventCursor}", nil)
	if a.code() != "INTERNAL" || strings.Contains(a.body, "10.0.0.8") || a.Data["eventCursor"] == nil {
		t.Error(a.body)
	}
	if !strings.Contains(w.logged.String(), "10.0.0.8") || !strings.Contains(w.logged.String(), a.header.Get("X-Request-Id")) {
		t.Error(w.logged)
	}
	if a := w.post("agent", `{events(after:"nonsense"){cursor}}`, nil); a.code() != "BAD_REQUEST" || !strings.Contains(a.body, "event cursor") {
		t.Error(a.body)
	}
}

func TestSuggestionsAndIntrospection(t *testing.T) {
	w := newWorld(t, nil)
	for token, telling := range map[string]bool{"": false, "visitor": false, "agent": true} {
		a := w.post(token, "{vewer{kind}}", nil)
		if strings.Contains(a.body, "viewer") || strings.Contains(a.body, "Did you") || strings.Contains(a.body, "vewer") != telling {
			t.Errorf("%q: %s", token, a.body)
		}
		a = w.post(token, "{__schema{queryType{name}} __type(name:\"Agent\"){name}}", nil)
		if (a.Data["__schema"] != nil) != telling || (a.Data["__type"] != nil) != telling {
			t.Errorf("%q: %s", token, a.body)
		}
	}
	d := newWorld(t, func(c *transport.Config) { c.Development = true })
	if a := d.post("", "{vewer{kind}}", nil); !strings.Contains(a.body, "Did you mean") {
		t.Error(a.body)
	}
	if a := d.post("", "{__schema{queryType{name}}}", nil); a.Data["__schema"] == nil {
		t.Error(a.body)
	}
	if a := w.post("agent", usual, nil); len(a.Errors) != 0 {
		t.Error("the usual introspection:", a.body)
	}
}

func TestAbuse(t *testing.T) {
	w := newWorld(t, nil)
	repeat := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	logins := func(n int) string {
		return "mutation{" + repeat(n, func(i int) string {
			return fmt.Sprintf("a%d: sessionCreate(input:{email:\"a\",password:\"b\",client:\"c\"}){userErrors{code}} ", i)
		}) + "}"
	}
	doubling := repeat(20, func(i int) string {
		return fmt.Sprintf("fragment F%d on Query { a: node(id:\"x\"){id} ...F%d ...F%d } ", i, i+1, i+1)
	}) + "fragment F20 on Query { __typename }"
	deep := func(n int) string {
		return "{conversations(first:1){nodes{" + repeat(n, func(int) string { return "customer{conversations(first:1){nodes{" }) + "id" + repeat(3*n, func(int) string { return "}" }) + "}}}"
	}
	for _, c := range []struct {
		name, query string
		vars        map[string]any
		status      int
		code        string
	}{
		{"aliases", "{" + repeat(4000, func(i int) string { return fmt.Sprintf("a%d:id ", i) }) + "}", nil, 400, "QUERY_TOO_LARGE"},
		{"many aliases", "{" + repeat(5000, func(i int) string { return fmt.Sprintf("a%d:eventCursor ", i) }) + "}", nil, 413, "QUERY_TOO_LARGE"},
		{"copies below the token limit", "{" + repeat(1400, func(int) string { return "__typename " }) + "}", nil, 400, "QUERY_TOO_LARGE"},
		{"root fields", "{" + repeat(21, func(i int) string { return fmt.Sprintf("a%d:eventCursor ", i) }) + "}", nil, 400, "QUERY_TOO_LARGE"},
		{"depth", deep(5), nil, 400, "QUERY_TOO_LARGE"},
		{"great depth", deep(60), nil, 400, "QUERY_TOO_LARGE"},
		{"directives", "{__typename " + repeat(20_000, func(int) string { return "@a" }) + "}", nil, 400, "QUERY_TOO_LARGE"},
		{"many directives", "{__typename " + repeat(100_000, func(int) string { return "@a" }) + "}", nil, 413, "QUERY_TOO_LARGE"},
		{"doubling fragments", "query{...F0} " + doubling, nil, 400, "QUERY_TOO_LARGE"},
		{"points", "{conversations(first:100){nodes{interactions(first:100){nodes{id}}}}}", nil, 400, "QUERY_TOO_LARGE"},
		{"points by variable", "query($n:Int){conversations(first:$n){nodes{interactions(first:$n){nodes{id}}}}}", map[string]any{"n": 90}, 400, "QUERY_TOO_LARGE"},
		{"first", "{conversations(first:101){nodes{id}}}", nil, 400, "BAD_REQUEST"},
		{"last by variable", "query($n:Int){conversations(last:$n){nodes{id}}}", map[string]any{"n": 200_000}, 400, "BAD_REQUEST"},
		{"defer", "{... @defer {__typename}}", nil, 400, "BAD_REQUEST"},
		{"as many copies as may be", "{" + repeat(499, func(int) string { return "eventCursor " }) + "}", nil, 400, "QUERY_TOO_LARGE"},
		{"as many copies below as may be", "{node(id:\"x\"){" + repeat(498, func(int) string { return "id " }) + "}}", nil, 200, ""},
		{"cycle", "{...A} fragment A on Query {...A}", nil, 400, "BAD_REQUEST"},
		{"two logins", logins(2), nil, 400, "BAD_REQUEST"},
		{"two kinds of login", `mutation{sessionCreate(input:{email:"a",password:"b",client:"c"}){userErrors{code}} sessionRefresh(refreshToken:"x"){userErrors{code}}}`, nil, 400, "BAD_REQUEST"},
		{"login in fragments", `mutation{...A ...B} fragment A on Mutation {a:sessionRefresh(refreshToken:"x"){userErrors{code}}} fragment B on Mutation {b:sessionRefresh(refreshToken:"x"){userErrors{code}}}`, nil, 400, "BAD_REQUEST"},
	} {
		start := time.Now()
		a := w.post("agent", c.query, c.vars, "Accept", responseForm)
		if a.status != c.status || a.code() != c.code {
			t.Errorf("%s: %d %.300s", c.name, a.status, a.body)
		}
		d := time.Since(start)
		t.Log(c.name, d)
		if d > time.Second {
			t.Errorf("%s took %s", c.name, d)
		}
	}
	if a := w.post("agent", logins(1), nil); len(a.Errors) != 0 {
		t.Error(a.body)
	}
}

func TestDeadline(t *testing.T) {
	w := newWorld(t, func(c *transport.Config) { c.Limits.Operation = 30 * time.Millisecond })
	w.root.Ask = func(ctx context.Context) (*model.Viewer, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("read: %w", ctx.Err())
	}
	if a := w.post("agent", "{viewer{kind}}", nil); a.code() != "QUERY_TOO_LARGE" {
		t.Error(a.body)
	}
}

func TestGzip(t *testing.T) {
	w := newWorld(t, nil)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, w.srv.URL, strings.NewReader(`{"query":"{__schema{types{name description}}}"}`))
	r.Header.Set("Content-Type", jsonForm)
	r.Header.Set("Authorization", "agent")
	r.Header.Set("Accept-Encoding", "gzip")
	a := w.do(r)
	if a.header.Get("Content-Encoding") != "gzip" {
		t.Fatal(a.header)
	}
	z, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || !strings.Contains(string(b), `"AgentStatus"`) {
		t.Error(err)
	}
	if a := w.raw("agent", `{"query":"{__typename}"}`, "Accept-Encoding", "gzip"); a.header.Get("Content-Encoding") != "" {
		t.Error("packed a small answer")
	}
}

func TestCharge(t *testing.T) {
	var asked []int
	left := 12
	w := newWorld(t, func(c *transport.Config) {
		c.Charge = func(_ context.Context, v *viewer.Viewer, remote string, points int) (int, time.Duration, bool) {
			if v == nil || remote != "127.0.0.1" {
				return 0, 0, false
			}
			asked = append(asked, points)
			if points > left {
				return left, 1500 * time.Millisecond, false
			}
			left -= points
			return left, 0, true
		}
	})
	a := w.post("agent", "{events{cursor events{id}}}", nil)
	if !strings.Contains(a.body, `"cost":{"points":105,`) && a.status != 429 {
		t.Error(a.status, a.body)
	}
	if a.status != 429 || a.header.Get("Retry-After") != "2" || a.code() != "RATE_LIMITED" || asked[0] != 105 {
		t.Error(a.status, a.header, a.body, asked)
	}
	if a := w.post("agent", "{viewer{kind}}", nil); !strings.Contains(a.body, `"extensions":{"cost":{"points":1,"remaining":11}}`) {
		t.Error(a.body)
	}
}

// What the object type needs is not planned by the loader for who has it not.
func TestMay(t *testing.T) {
	w := newWorld(t, nil)
	w.root.Node = func(ctx context.Context, id gid.ID) (ent.Noder, error) {
		return nil, errors.Join(mays(ctx)...)
	}
	w.viewers["reader"] = w.Agent(viewer.ConversationRead)
	w.post("reader", `{node(id:"x"){id}}`, nil)
	got := w.logged.String()
	if !strings.Contains(got, "Conversation:true") || !strings.Contains(got, "Customer:false") || !strings.Contains(got, "PageInfo:true") {
		t.Error(got)
	}
}

func TestDrainingRefusesSocketsAndAnswersTheRest(t *testing.T) {
	w := newWorld(t, nil)
	close(w.drain)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/graphql", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	a := httptest.NewRecorder()
	w.h.ServeHTTP(a, r)
	if a.Code != 503 || a.Header().Get("Retry-After") == "" {
		t.Error(a.Code, a.Body)
	}
	if a := w.post("agent", "{__typename}", nil); a.status != 200 {
		t.Error(a.status, a.body)
	}
}
