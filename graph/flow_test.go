package graph_test

import (
	"fmt"
	"strings"
	"testing"

	"tributary/desk/desktest"
)

const flowShape = `{id version published{id number} draft{id number startKey comment author{id} nodes{key kind title promptId sound timeoutSeconds tries queueId exits{on to}} problems{nodeKey message}}}`

// TestAFlowFromDraftToCall: written, found wrong, put right, published, given to a channel.
func TestAFlowFromDraftToCall(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		do := func(name, vars, args string, v object) any {
			t.Helper()
			out, _ := must(t, w, w.Admin, fmt.Sprintf(`mutation(%s){%s(%s){flow%s userErrors{code message field}}}`, vars, name, args, flowShape), v)
			return at(out, name)
		}
		flow := at(do("flowCreate", "$i:FlowCreateInput!", "input:$i", object{"i": object{"name": "Sales"}}), "flow", "id")
		nodes := []object{
			{"key": "hello", "kind": "MENU", "sound": "WELCOME", "tries": 2, "exits": []object{{"on": "1", "to": "q"}, {"on": "timeout", "to": "q"}, {"on": "invalid", "to": "q"}}},
			{"key": "q", "kind": "QUEUE", "queueId": w.Another().Queue.String()},
		}
		save := func(version int) any {
			t.Helper()
			return do("flowDraftSave", "$f:ID!,$i:FlowDraftInput!,$v:Int", "flowId:$f,input:$i,ifVersion:$v", object{"f": flow, "v": version, "i": object{"startKey": "hello", "comment": "first", "nodes": nodes}})
		}
		draft := at(save(1), "flow", "draft")
		if at(draft, "number") != 1.0 || at(draft, "author", "id") != w.Admin.ID.String() || len(list(draft, "nodes")) != 2 || at(draft, "nodes", 0, "sound") != "WELCOME" ||
			at(draft, "problems", 0, "nodeKey") != "q" || len(list(draft, "problems")) != 1 {
			t.Errorf("the draft is %v", draft)
		}
		publish := func(v any) any {
			return do("flowPublish", "$v:ID!", "versionId:$v", object{"v": v})
		}
		no := publish(at(draft, "id"))
		if at(no, "userErrors", 0, "code") != "INVALID" || fmt.Sprint(list(no, "userErrors", 0, "field")) != "[versionId nodes q]" || at(no, "flow", "published") != nil {
			t.Errorf("a draft with a problem: %v", no)
		}
		nodes[1]["queueId"] = w.Queue.String()
		if old := save(1); at(old, "userErrors", 0, "code") != "STALE_VERSION" {
			t.Errorf("a draft upon an old version: %v", old)
		}
		draft = at(save(2), "flow", "draft")
		yes := publish(at(draft, "id"))
		if at(yes, "flow", "published", "id") != at(draft, "id") || at(yes, "flow", "draft") != nil {
			t.Errorf("published is %v", yes)
		}
		made, _ := must(t, w, w.Admin, `mutation($f:ID){channelCreate(input:{kind:"voice",name:"Line",config:{addresses:["192.0.2.1"]},flowId:$f}){channel{id flow{id published{number}}} userErrors{code field}}}`, object{"f": flow})
		if at(made, "channelCreate", "channel", "flow", "published", "number") != 2.0 {
			t.Errorf("the channel is %v", made)
		}
		used, _ := must(t, w, w.Admin, `mutation($f:ID!){flowDelete(id:$f){deletedId userErrors{code conflict{id}}}}`, object{"f": flow})
		if at(used, "flowDelete", "userErrors", 0, "code") != "IN_USE" || at(used, "flowDelete", "userErrors", 0, "conflict", "id") != at(made, "channelCreate", "channel", "id") {
			t.Errorf("a flow in use: %v", used)
		}
		used, _ = must(t, w, w.Admin, `mutation($q:ID!){queueUpdate(id:$q,input:{name:"sales"}){userErrors{code}} queueDelete(id:$q){userErrors{code message conflict{... on Flow{name}}}}}`, object{"q": w.Queue.String()})
		if at(used, "queueDelete", "userErrors", 0, "conflict", "name") != "Sales" {
			t.Errorf("a queue that a flow names: %v", used)
		}
		list5, _ := must(t, w, w.Admin, `query($f:ID!){flow(id:$f){versions(first:5){totalCount nodes{number publishedAt flow{id} problems{message}}}} flows(first:5){nodes{name}}}`, object{"f": flow})
		if at(list5, "flow", "versions", "totalCount") != 1.0 || at(list5, "flow", "versions", "nodes", 0, "flow", "id") != flow || len(list(list5, "flows", "nodes")) != 1 {
			t.Errorf("the versions are %v", list5)
		}
		leaks(t, w, flow, at(draft, "id"))
	})
}

// leaks asks as another workspace and as an agent without the right.
func leaks(t *testing.T, w *desktest.World, flow, version any) {
	t.Helper()
	other := w.Another()
	for _, id := range []any{flow, version} {
		if out, _ := must(t, w, other.Admin, `query($id:ID!){node(id:$id){id} flow(id:$id){id}}`, object{"id": id}); at(out, "node") != nil || at(out, "flow") != nil {
			t.Errorf("another workspace sees %v", out)
		}
	}
	for query, vars := range map[string]object{
		`mutation($id:ID!){flowPublish(versionId:$id){flow{id} userErrors{code field}}}`:                             {"id": version},
		`mutation($id:ID!){flowRollback(versionId:$id){flow{id} userErrors{code field}}}`:                            {"id": version},
		`mutation($id:ID!){flowDraftSave(flowId:$id,input:{startKey:"",nodes:[]}){flow{id} userErrors{code field}}}`: {"id": flow},
	} {
		if got := refusal(t, w, other.Admin, query, vars); !strings.HasPrefix(got, "NOT_FOUND") {
			t.Errorf("another workspace's %s is answered by %q", query, got)
		}
		if out, _, err := ask(t, w, w.Agent("Ann", "agent"), query, vars); err == nil {
			t.Errorf("an agent without the right gets %v", out)
		}
	}
	if out, _, err := ask(t, w, w.Agent("Ann", "agent"), `{flows(first:1){nodes{id}}}`, nil); err == nil {
		t.Errorf("an agent without the right reads %v", out)
	}
}

// TestAQueueOfCalls: how long it rings, whether it is recorded, what is heard.
func TestAQueueOfCalls(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		made, _ := must(t, w, w.Admin, `mutation($a:ID!){promptCreate(input:{name:"Music",attachmentId:$a}){prompt{id seconds url} userErrors{code field}}}`, object{"a": soundFile(w, "music.wav")})
		p := at(made, "promptCreate", "prompt")
		if at(p, "seconds") != 1.0 || !strings.HasPrefix(fmt.Sprint(at(p, "url")), desktest.PublicURL+"/files/att_") {
			t.Errorf("the prompt is %v", made)
		}
		const fields = `{id ringSeconds recording waitingPrompt{id name}}`
		out, _ := must(t, w, w.Admin, `mutation{queueCreate(input:{name:"Plain"}){queue`+fields+`}}`, nil)
		if q := at(out, "queueCreate", "queue"); at(q, "ringSeconds") != 20.0 || at(q, "recording") != "NEVER" || at(q, "waitingPrompt") != nil {
			t.Errorf("a plain queue is %v", out)
		}
		out, _ = must(t, w, w.Admin, `mutation($p:ID){queueCreate(input:{name:"Calls",ringSeconds:5,recording:ALWAYS,waitingPromptId:$p}){queue`+fields+`}}`, object{"p": at(p, "id")})
		q := at(out, "queueCreate", "queue")
		if at(q, "ringSeconds") != 5.0 || at(q, "recording") != "ALWAYS" || at(q, "waitingPrompt", "name") != "Music" {
			t.Errorf("a queue of calls is %v", out)
		}
		const update = `mutation($id:ID!,$i:QueueUpdateInput!){queueUpdate(id:$id,input:$i){queue` + fields + ` userErrors{code field}}}`
		for _, n := range []int{4, 121, -1} {
			if got := refusal(t, w, w.Admin, update, object{"id": at(q, "id"), "i": object{"ringSeconds": n}}); got != "INVALID input ringSeconds" {
				t.Errorf("%d seconds are answered by %q", n, got)
			}
			if got := refusal(t, w, w.Admin, `mutation($n:Int){queueCreate(input:{name:"x",ringSeconds:$n}){userErrors{code field}}}`, object{"n": n}); got != "INVALID input ringSeconds" {
				t.Errorf("%d seconds are answered by %q", n, got)
			}
		}
		out, _ = must(t, w, w.Admin, update, object{"id": at(q, "id"), "i": object{"ringSeconds": 120, "recording": "NEVER", "waitingPromptId": nil}})
		if q := at(out, "queueUpdate", "queue"); at(q, "ringSeconds") != 120.0 || at(q, "recording") != "NEVER" || at(q, "waitingPrompt") != nil {
			t.Errorf("changed it is %v", out)
		}
	})
}
