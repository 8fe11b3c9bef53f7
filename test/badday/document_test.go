package badday_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tributary/test/rig"
)

// answer is what came back for a raw request to /graphql.
type answer struct {
	status int
	body   string
	v      rig.Value
	took   time.Duration
}

// String is short: a hostile document may be answered at length.
func (a answer) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }

// coded is the code of the first error.
func (a answer) coded() string { return a.v.At("errors", 0, "extensions", "code").String() }

// refused reports whether the operation's first field holds user errors.
func (a answer) refused() bool {
	data, _ := a.v.At("data").V.(map[string]any)
	for name := range data {
		return len(a.v.At("data", name, "userErrors").List()) > 0
	}
	return false
}

func post(t *testing.T, n *rig.Node, token string, body []byte) answer {
	t.Helper()
	return postAs(t, n, token, "application/json", body)
}

func postAs(t *testing.T, n *rig.Node, token, media string, body []byte) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, n.URL+"/graphql", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, body: string(raw), took: time.Since(began)}
	_ = json.Unmarshal(raw, &a.v.V)
	return a
}

// documents are those that were made to cost more than they should. Each is sent by an agent and by nobody.
func documents(t *testing.T, w *office, a *rig.Agent) {
	many := func(n int, f func(n int) string) string {
		var b strings.Builder
		for k := range n {
			b.WriteString(f(k))
		}
		return b.String()
	}
	alias := func(field string) func(int) string {
		return func(n int) string { return "a" + strconv.FormatInt(int64(n), 36) + ":" + field + " " }
	}
	deep := "id"
	for n := range 30 {
		deep = []string{"conversation{", "interactions{nodes{"}[n%2] + deep + []string{"}", "}}"}[n%2]
	}
	for name, d := range map[string]struct {
		doc  string
		vars rig.M
	}{
		"5,000 aliases":             {"{viewer{" + many(5000, alias("kind")) + "}}", nil},
		"5,000 aliases at the root": {"{" + many(4500, alias("me")) + "}", nil},
		"21 root fields":            {"{" + many(21, alias("eventCursor")) + "}", nil},
		"depth 60":                  {`{node(id:"x"){... on Interaction{` + deep + `}}}`, nil},
		"depth 30,000":              {strings.Repeat("{a", 30_000), nil},
		"30,000 directives":         {"{viewer{kind " + strings.Repeat("@a", 30_000) + "}}", nil},
		"first: 200000":             {"{queues(first:200000){nodes{id}}}", nil},
		"first: 200000, a variable": {"query($n:Int){queues(first:$n){nodes{id}}}", rig.M{"n": 200000}},
		"last: 200000":              {"{queues(last:200000){nodes{id}}}", nil},
		"first: -1":                 {"{queues(first:-1){nodes{id}}}", nil},
		"a page in a page":          {"{conversations(first:100){nodes{interactions(first:100){nodes{messages(first:100){nodes{id}}}}}}}", nil},
		"fragments in a circle":     {"{viewer{...a}} fragment a on Viewer{...b} fragment b on Viewer{...a}", nil},
		"doubling fragments":        {"{viewer{...f0}}" + many(40, func(n int) string { return fmt.Sprintf("fragment f%d on Viewer{...f%d ...f%d kind}", n, n+1, n+1) }) + "fragment f40 on Viewer{kind}", nil},
		"2,000 fragments":           {"{viewer{kind}}" + many(2000, func(n int) string { return fmt.Sprintf("fragment f%d on Viewer{kind}", n) }), nil},
		"a deep list":               {"{nodes(ids:" + strings.Repeat("[", 20_000) + "){id}}", nil},
		"two logins":                {`mutation{a:sessionRefresh(refreshToken:"x"){userErrors{code}} b:sessionRefresh(refreshToken:"y"){userErrors{code}}}`, nil},
		"two operations, no name":   {"query a{viewer{kind}} query b{viewer{kind}}", nil},
		"no document":               {"", nil},
	} {
		body, err := json.Marshal(rig.M{"query": d.doc, "variables": d.vars})
		if err != nil {
			t.Fatal(err)
		}
		for who, token := range map[string]string{"an agent": a.Token, "nobody": ""} {
			got := post(t, w.Node, token, body)
			if len(body) > 64<<10 {
				t.Errorf("%s: the document has %d bytes and proves nothing", name, len(body))
			}
			if !slices.Contains([]string{"BAD_REQUEST", "QUERY_TOO_LARGE"}, got.coded()) || !got.v.At("data").Nil() || got.status >= 500 {
				t.Errorf("%s by %s: %s", name, who, got)
			}
			if got.took > 50*time.Millisecond {
				figures(t, "%s by %s took %s", name, who, got.took.Round(time.Millisecond))
			}
		}
	}
}

// graphqlBodies are bodies that are no request of ours.
func graphqlBodies(t *testing.T, w *office, a *rig.Agent) {
	good := []byte(`{"query":"{viewer{kind}}"}`)
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	for name, c := range map[string]struct {
		media string
		body  []byte
		want  []int
	}{
		"64 KiB and a byte": {"application/json", append(bytes.Repeat([]byte(" "), 64<<10+1-len(good)), good...), []int{413}},
		"100k directives":   {"application/json", []byte(`{"query":"{viewer{kind ` + strings.Repeat("@a", 100_000) + `}}"}`), []int{413}},
		"plain text":        {"text/plain", good, []int{415}},
		"a form":            {"application/x-www-form-urlencoded", []byte("query={viewer{kind}}"), []int{415}},
		"a multipart form":  {"multipart/form-data; boundary=x", []byte("--x--"), []int{415}},
		"no JSON":           {"application/json", []byte("{viewer{kind}}"), []int{400}},
		"a batch":           {"application/json", []byte("[" + string(good) + "]"), []int{400}},
		"deep variables":    {"application/json", []byte(`{"query":"{viewer{kind}}","variables":` + deep[:60_000] + `}`), []int{400}},
		"deep and whole":    {"application/json", []byte(`{"query":"query($a:JSON){viewer{kind}}","variables":{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}}`), []int{200, 400}},
		"NUL in a literal":  {"application/json", []byte(`{"query":"mutation{queueCreate(input:{name:\"a\\u0000b\",description:\"\\u0000\"}){userErrors{code}}}"}`), []int{200, 400}},
		"NUL in a document": {"application/json", []byte(`{"query":"{viewer\u0000{kind}}"}`), []int{200, 400}},
		"NUL in a name":     {"application/json", []byte(`{"query":"query a{viewer{kind}}","operationName":"a\u0000"}`), []int{200, 400}},
	} {
		got := postAs(t, w.Node, a.Token, c.media, c.body)
		if !slices.Contains(c.want, got.status) || got.coded() == "INTERNAL" {
			t.Errorf("%s: %s, want %v", name, got, c.want)
		}
	}
	if got := post(t, w.Node, a.Token, append(bytes.Repeat([]byte(" "), 64<<10-len(good)), good...)); got.status != 200 || got.v.At("data", "viewer", "kind").String() != "AGENT" {
		t.Errorf("64 KiB to the byte: %s", got)
	}
}
