package graph_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/internal/gid"
)

// refusal is the code and the field of the first refusal of a mutation's only root field; empty: it was done.
func refusal(t *testing.T, w *desktest.World, ctx context.Context, query string, vars object) string {
	t.Helper()
	out, _ := must(t, w, ctx, query, vars)
	for _, v := range out {
		e := at(v, "userErrors", 0)
		if e == nil {
			return ""
		}
		code := fmt.Sprint(at(e, "code"))
		if f := list(e, "field"); len(f) > 0 {
			code += " " + strings.Trim(fmt.Sprint(f), "[]")
		}
		return code
	}
	return ""
}

// noun is one thing that is set up by mutation: made, changed and deleted under the same name.
type noun struct {
	name, typ string
	make      func(w *desktest.World) object
	change    object
}

var nouns = []noun{
	{name: "team", typ: "Team", make: func(*desktest.World) object { return object{"name": "Returns"} }, change: object{"name": "Returns 2"}},
	{name: "skill", typ: "Skill", make: func(*desktest.World) object { return object{"name": "French", "description": "spoken"} }, change: object{"name": "French 2", "description": nil}},
	{name: "statusReason", typ: "StatusReason", make: func(*desktest.World) object { return object{"name": "Lunch", "state": "BREAK"} }, change: object{"name": "Lunch 2", "state": "BUSY", "countsAsWork": true}},
	{name: "capacityProfile", typ: "CapacityProfile", make: func(*desktest.World) object {
		return object{"name": "Six", "units": 6, "rules": []object{{"channelKind": "webchat", "unitsEach": 2, "maxAtOnce": 2}}}
	}, change: object{"units": 7}},
	{name: "role", typ: "Role", make: func(*desktest.World) object {
		return object{"name": "Reader", "scopes": []string{"CONVERSATION_READ"}, "reach": "OWN"}
	}, change: object{"scopes": []string{"CONVERSATION_READ", "CUSTOMER_READ"}, "reach": "TEAMS", "personalShown": []string{"NAME"}}},
	{name: "queue", typ: "Queue", make: func(*desktest.World) object { return object{"name": "Returns"} }, change: object{"offerSeconds": 7}},
	{name: "flow", typ: "Flow", make: func(*desktest.World) object { return object{"name": "Sales"} }, change: object{"name": "Sales 2"}},
	{name: "prompt", typ: "Prompt", make: func(w *desktest.World) object {
		return object{"name": "Hello", "attachmentId": soundFile(w, "hello.wav")}
	}, change: object{"name": "Hello 2"}},
	{name: "channel", typ: "Channel", make: func(*desktest.World) object { return object{"kind": "webchat", "name": "Shop", "config": object{}} }, change: object{"name": "Shop 2"}},
}

func (n noun) do(verb, more string) string {
	switch verb {
	case "Create":
		return fmt.Sprintf(`mutation($i:%sCreateInput!,$k:Key){%sCreate(input:$i,idempotencyKey:$k){%s{id version} userErrors{code field}}}`, n.typ, n.name, n.name)
	case "Update":
		return fmt.Sprintf(`mutation($id:ID!,$i:%sUpdateInput!,$v:Int,$k:Key){%sUpdate(id:$id,input:$i,ifVersion:$v,idempotencyKey:$k){%s{id version %s} userErrors{code field}}}`, n.typ, n.name, n.name, more)
	}
	return fmt.Sprintf(`mutation($id:ID!,$v:Int,$k:Key){%sDelete(id:$id,ifVersion:$v,idempotencyKey:$k){deletedId userErrors{code field}}}`, n.name)
}

// What every noun of the set-up does alike: one effect per key, no change upon an old version, an event for each change,
// a clear word for what is absent, doubled or not allowed, and node(id:).
func TestEveryNounIsSetUpInTheSameWay(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		for _, n := range nouns {
			made, _ := must(t, w, w.Admin, n.do("Create", ""), object{"i": n.make(w), "k": "make " + n.name})
			id, _ := at(made, n.name+"Create", n.name, "id").(string)
			if id == "" {
				t.Fatalf("%s: %v", n.name, made)
			}
			again, _ := must(t, w, w.Admin, n.do("Create", ""), object{"i": n.make(w), "k": "make " + n.name})
			if at(again, n.name+"Create", n.name, "id") != id {
				t.Errorf("%s: the same key made %v", n.name, again)
			}
			if got := refusal(t, w, w.Admin, n.do("Create", ""), object{"i": n.make(w)}); got != "DUPLICATE input name" {
				t.Errorf("%s: a second one of the name is answered by %q", n.name, got)
			}
			if got := refusal(t, w, w.Admin, n.do("Update", ""), object{"id": id, "i": n.change, "v": 7}); got != "STALE_VERSION ifVersion" {
				t.Errorf("%s: a change upon another version is answered by %q", n.name, got)
			}
			out, _ := must(t, w, w.Admin, n.do("Update", ""), object{"id": id, "i": n.change, "v": 1, "k": "change " + n.name})
			if at(out, n.name+"Update", n.name, "version") != 2.0 {
				t.Errorf("%s: %v", n.name, out)
			}
			must(t, w, w.Admin, n.do("Update", ""), object{"id": id, "i": n.change, "v": 1, "k": "change " + n.name})
			node, _ := must(t, w, w.Admin, `query($id:ID!){node(id:$id){__typename id ... on Versioned{version}}}`, object{"id": id})
			if at(node, "node", "__typename") != n.typ || at(node, "node", "version") != 2.0 {
				t.Errorf("%s: node gives %v", n.name, node)
			}
			for _, verb := range []string{"Update", "Delete"} {
				vars := object{"id": "nonsense", "i": n.change}
				if verb == "Delete" {
					delete(vars, "i")
				}
				if got := refusal(t, w, w.Admin, n.do(verb, ""), vars); got != "NOT_FOUND id" {
					t.Errorf("%s: %s of what is not there is answered by %q", n.name, verb, got)
				}
				vars["id"] = id
				if _, _, err := ask(t, w, w.Agent("Ann", "agent"), n.do(verb, ""), vars); err == nil {
					t.Errorf("%s: an agent without the right does %s", n.name, verb)
				}
				if got := refusal(t, w, w.Another().Admin, n.do(verb, ""), vars); got != "NOT_FOUND id" {
					t.Errorf("%s: another workspace's %s is answered by %q", n.name, verb, got)
				}
			}
			if got := refusal(t, w, w.Admin, n.do("Delete", ""), object{"id": id, "v": 1}); got != "STALE_VERSION ifVersion" {
				t.Errorf("%s: a deletion upon an old version is answered by %q", n.name, got)
			}
			for range 2 {
				gone, _ := must(t, w, w.Admin, n.do("Delete", ""), object{"id": id, "v": 2, "k": "delete " + n.name})
				if at(gone, n.name+"Delete", "deletedId") != id {
					t.Errorf("%s: %v", n.name, gone)
				}
			}
			if node, _ := must(t, w, w.Admin, `query($id:ID!){node(id:$id){id}}`, object{"id": id}); at(node, "node") != nil {
				t.Errorf("%s: it is still there", n.name)
			}
			told(t, w, n.name, id)
		}
	})
}

// told wants three events of a setting: made, changed, deleted.
func told(t *testing.T, w *desktest.World, name, id string) {
	t.Helper()
	var versions []int
	for _, e := range w.Log() {
		if e.Type == string(desk.SettingChanged) && e.SubjectID.String() == id {
			versions = append(versions, e.SubjectVersion)
		}
	}
	if !slices.Equal(versions, []int{1, 2, 3}) {
		t.Errorf("%s: the log tells versions %v", name, versions)
	}
}

func TestTeamsHaveNoCirclesAndAreKeptWhileInUse(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		const update = `mutation($id:ID!,$i:TeamUpdateInput!){teamUpdate(id:$id,input:$i){team{id parent{id} members(first:10){totalCount nodes{id}}} userErrors{code field}}}`
		const remove = `mutation($id:ID!){teamDelete(id:$id){deletedId userErrors{code field message conflict{id}}}}`
		a := w.Team("A")
		b := w.Team("B", a)
		c := w.Team("C", b)
		for _, parent := range []gid.ID{a, b, c} {
			if got := refusal(t, w, w.Admin, update, object{"id": a.String(), "i": object{"parentId": parent.String()}}); got != "INVALID input parentId" {
				t.Errorf("A beneath %s is answered by %q", parent, got)
			}
		}
		if got := refusal(t, w, w.Admin, update, object{"id": a.String(), "i": object{"parentId": "nonsense"}}); got != "NOT_FOUND input parentId" {
			t.Errorf("an absent parent is answered by %q", got)
		}
		out, _ := must(t, w, w.Admin, remove, object{"id": a.String()})
		if at(out, "teamDelete", "userErrors", 0, "code") != "IN_USE" || at(out, "teamDelete", "userErrors", 0, "conflict", "id") != b.String() {
			t.Errorf("a team with a part is deleted: %v", out)
		}
		ann, ben := w.Agent("Ann", "agent", c), w.Agent("Ben", "agent")
		out, _ = must(t, w, w.Admin, update, object{"id": c.String(), "i": object{"parentId": nil, "memberIds": []string{ben.ID.String()}}})
		if at(out, "teamUpdate", "team", "parent") != nil || at(out, "teamUpdate", "team", "members", "nodes", 0, "id") != ben.ID.String() || at(out, "teamUpdate", "team", "members", "totalCount") != 1.0 {
			t.Errorf("the members are %v", out)
		}
		if got := ann.Again().Viewer().Teams; len(got) != 0 {
			t.Errorf("who left stands in %v", got)
		}
		q := w.QueueOf(desk.QueueCreateInput{TeamID: &c})
		if got := refusal(t, w, w.Admin, remove, object{"id": c.String()}); got != "IN_USE id" {
			t.Errorf("a team with a queue is answered by %q", got)
		}
		br := w.Bridge(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		br.Say("t", "u", "hello")
		must(t, w, w.Admin, `mutation($id:ID!){queueUpdate(id:$id,input:{teamId:null}){userErrors{code}}}`, object{"id": q.String()})
		if got := refusal(t, w, w.Admin, remove, object{"id": c.String()}); got != "IN_USE id" {
			t.Errorf("a team whose conversations are kept is answered by %q", got)
		}
		if got := refusal(t, w, w.Admin, remove, object{"id": b.String()}); got != "" {
			t.Errorf("a free team is answered by %q", got)
		}
	})
}

func TestSkillsAreGivenAndAskedForByLevel(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		made, _ := must(t, w, w.Admin, `mutation{a:skillCreate(input:{name:"French"}){skill{id}} b:skillCreate(input:{name:"Returns"}){skill{id}}}`, nil)
		french, returns := at(made, "a", "skill", "id"), at(made, "b", "skill", "id")
		ann := w.Agent("Ann", "agent")
		const give = `mutation($id:ID!,$s:[SkillLevelInput!]){agentUpdate(id:$id,input:{skills:$s}){agent{version skills{level skill{id name agents(first:5){nodes{id}}}}} userErrors{code field}}}`
		for _, bad := range []struct {
			skills []object
			want   string
		}{
			{[]object{{"skillId": french, "level": 6}}, "INVALID input skills 0"},
			{[]object{{"skillId": french, "level": 0}}, "INVALID input skills 0"},
			{[]object{{"skillId": french, "level": 1}, {"skillId": french, "level": 2}}, "INVALID input skills 1 skillId"},
			{[]object{{"skillId": "nonsense", "level": 1}}, "NOT_FOUND input skills"},
		} {
			if got := refusal(t, w, w.Admin, give, object{"id": ann.ID.String(), "s": bad.skills}); got != bad.want {
				t.Errorf("%v is answered by %q", bad.skills, got)
			}
		}
		out, _ := must(t, w, w.Admin, give, object{"id": ann.ID.String(), "s": []object{{"skillId": french, "level": 3}, {"skillId": returns, "level": 5}}})
		if got := list(out, "agentUpdate", "agent", "skills"); len(got) != 2 || at(got[0], "skill", "agents", "nodes", 0, "id") != ann.ID.String() {
			t.Errorf("skills are %v", out)
		}
		out, _ = must(t, w, w.Admin, give, object{"id": ann.ID.String(), "s": []object{{"skillId": french, "level": 4}}})
		if got := list(out, "agentUpdate", "agent", "skills"); len(got) != 1 || at(got[0], "level") != 4.0 {
			t.Errorf("skills are %v", out)
		}
		found, _ := must(t, w, w.Admin, `query($s:[ID!]){agents(filter:{skillIds:$s}){nodes{id}}}`, object{"s": []any{french}})
		if len(list(found, "agents", "nodes")) != 1 {
			t.Errorf("who speaks French: %v", found)
		}
		queue, _ := must(t, w, w.Admin, `mutation($n:[SkillNeedInput!]){queueCreate(input:{name:"R",needs:$n}){queue{id needs{minimumLevel skill{name}}}}}`,
			object{"n": []object{{"skillId": returns, "minimumLevel": 2}}})
		if at(queue, "queueCreate", "queue", "needs", 0, "skill", "name") != "Returns" {
			t.Errorf("needs are %v", queue)
		}
		const remove = `mutation($id:ID!){skillDelete(id:$id){deletedId userErrors{code field}}}`
		for _, s := range []any{french, returns} {
			if got := refusal(t, w, w.Admin, remove, object{"id": s}); got != "IN_USE id" {
				t.Errorf("a skill in use is answered by %q", got)
			}
		}
		must(t, w, w.Admin, `mutation($id:ID!){queueUpdate(id:$id,input:{needs:[]}){userErrors{code}}}`, object{"id": at(queue, "queueCreate", "queue", "id")})
		if got := refusal(t, w, w.Admin, remove, object{"id": returns}); got != "" {
			t.Errorf("a free skill is answered by %q", got)
		}
	})
}

func TestAReasonFitsItsState(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		out, _ := must(t, w, w.Admin, `{statusReasons(first:5){nodes{id key name state}}}`, nil)
		builtIn := at(out, "statusReasons", "nodes", 0)
		if at(builtIn, "key") != "no_answer" || at(builtIn, "state") != "BREAK" {
			t.Fatalf("built-in reasons are %v", out)
		}
		for query, want := range map[string]string{
			`mutation($id:ID!){statusReasonDelete(id:$id){deletedId userErrors{code field}}}`:                                  "NOT_ALLOWED id",
			`mutation($id:ID!){statusReasonUpdate(id:$id,input:{state:BUSY}){userErrors{code field}}}`:                         "NOT_ALLOWED input state",
			`mutation($id:ID!){statusReasonUpdate(id:$id,input:{enabled:false}){userErrors{code field}}}`:                      "NOT_ALLOWED input enabled",
			`mutation($id:ID!){statusReasonUpdate(id:$id,input:{name:"Rang out"}){statusReason{name} userErrors{code field}}}`: "",
		} {
			if got := refusal(t, w, w.Admin, query, object{"id": at(builtIn, "id")}); got != want {
				t.Errorf("%s is answered by %q", query, got)
			}
		}
		made, _ := must(t, w, w.Admin, `mutation{statusReasonCreate(input:{name:"Lunch",state:BREAK}){statusReason{id countsAsWork enabled}}}`, nil)
		lunch := at(made, "statusReasonCreate", "statusReason", "id")
		ann := w.Agent("Ann", "agent")
		const set = `mutation($s:AgentState!,$r:ID){agentStatusSet(input:{state:$s,reasonId:$r}){agent{status{state reason{name}}} userErrors{code field}}}`
		if got := refusal(t, w, ann, set, object{"s": "BUSY", "r": lunch}); got != "INVALID input reasonId" {
			t.Errorf("lunch while BUSY is answered by %q", got)
		}
		if got := refusal(t, w, ann, set, object{"s": "BREAK", "r": "nonsense"}); got != "NOT_FOUND input reasonId" {
			t.Errorf("an absent reason is answered by %q", got)
		}
		done, _ := must(t, w, ann, set, object{"s": "BREAK", "r": lunch})
		if at(done, "agentStatusSet", "agent", "status", "reason", "name") != "Lunch" {
			t.Errorf("the status is %v", done)
		}
		must(t, w, ann, set, object{"s": "AVAILABLE"})
		for query, want := range map[string]string{
			`mutation($id:ID!){statusReasonDelete(id:$id){deletedId userErrors{code field}}}`:          "IN_USE id",
			`mutation($id:ID!){statusReasonUpdate(id:$id,input:{state:BUSY}){userErrors{code field}}}`: "IN_USE input state",
		} {
			if got := refusal(t, w, w.Admin, query, object{"id": lunch}); got != want {
				t.Errorf("%s is answered by %q", query, got)
			}
		}
		must(t, w, w.Admin, `mutation($id:ID!){statusReasonUpdate(id:$id,input:{enabled:false}){userErrors{code}}}`, object{"id": lunch})
		if got := refusal(t, w, ann, set, object{"s": "BREAK", "r": lunch}); got != "WRONG_STATE input reasonId" {
			t.Errorf("a reason that is off is answered by %q", got)
		}
		history, _ := must(t, w, w.Admin, `query($id:ID!){agent(id:$id){statusHistory(first:2){pageInfo{hasNextPage} nodes{state endedAt reason{name}}}}}`, object{"id": ann.ID.String()})
		rows := list(history, "agent", "statusHistory", "nodes")
		if len(rows) != 2 || at(rows[0], "state") != "AVAILABLE" || at(rows[0], "endedAt") != nil || at(rows[1], "reason", "name") != "Lunch" ||
			at(history, "agent", "statusHistory", "pageInfo", "hasNextPage") != true {
			t.Errorf("the history is %v", history)
		}
		if _, _, err := ask(t, w, ann, `query($id:ID!){agent(id:$id){statusHistory(first:2){nodes{id}}}}`, object{"id": ann.ID.String()}); err == nil {
			t.Error("the history is shown without PEOPLE_READ")
		}
	})
}

func TestInvitationsAreRenewedAndRevoked(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		made, _ := must(t, w, w.Admin, `mutation($i:AgentCreateInput!){agentCreate(input:$i){agent{id invitedUntil}}}`,
			object{"i": object{"displayName": "Ann", "email": w.Mail("ann"), "roleId": w.Roles["agent"].String()}})
		id := at(made, "agentCreate", "agent", "id")
		if at(made, "agentCreate", "agent", "invitedUntil") != nil {
			t.Errorf("nobody has invited yet: %v", made)
		}
		const invite = `mutation($id:ID!){agentInvite(id:$id){secret agent{invitedUntil} userErrors{code field}}}`
		const revoke = `mutation($id:ID!){invitationRevoke(id:$id){agent{invitedUntil} userErrors{code field}}}`
		accept := func(secret any) string {
			return refusal(t, w, t.Context(), `mutation($s:String!){invitationAccept(secret:$s,password:"correct horse battery",client:"test"){userErrors{code field}}}`, object{"s": secret})
		}
		first, _ := must(t, w, w.Admin, invite, object{"id": id})
		second, _ := must(t, w, w.Admin, invite, object{"id": id})
		if at(second, "agentInvite", "agent", "invitedUntil") == nil {
			t.Errorf("an open invitation is not shown: %v", second)
		}
		if got := accept(at(first, "agentInvite", "secret")); got != "LOGIN_FAILED secret" {
			t.Errorf("the old invitation is answered by %q", got)
		}
		out, _ := must(t, w, w.Admin, revoke, object{"id": id})
		if at(out, "invitationRevoke", "agent", "invitedUntil") != nil {
			t.Errorf("a revoked invitation is shown: %v", out)
		}
		if got := accept(at(second, "agentInvite", "secret")); got != "LOGIN_FAILED secret" {
			t.Errorf("the revoked invitation is answered by %q", got)
		}
		if got := refusal(t, w, w.Admin, revoke, object{"id": id}); got != "WRONG_STATE id" {
			t.Errorf("a second revocation is answered by %q", got)
		}
		third, _ := must(t, w, w.Admin, invite, object{"id": id})
		if got := accept(at(third, "agentInvite", "secret")); got != "" {
			t.Errorf("a new invitation is answered by %q", got)
		}
	})
}

func TestTheWorkspaceIsChanged(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		const update = `mutation($i:WorkspaceUpdateInput!,$v:Int){workspaceUpdate(input:$i,ifVersion:$v){workspace{version name locale timeZone priorityWeightSeconds defaultQueue{id}} userErrors{code field}}}`
		q := w.QueueOf(desk.QueueCreateInput{})
		version := 1.0
		if now, _ := must(t, w, w.Admin, `{workspace{version}}`, nil); at(now, "workspace", "version") != version {
			t.Fatal(now)
		}
		for _, bad := range []struct {
			in   object
			want string
		}{
			{object{"name": " "}, "REQUIRED input name"}, {object{"locale": "中文"}, "INVALID input locale"}, {object{"timeZone": "Mars/Olympus"}, "INVALID input timeZone"},
			{object{"priorityWeightSeconds": -1}, "INVALID input priorityWeightSeconds"}, {object{"defaultQueueId": "nonsense"}, "NOT_FOUND input defaultQueueId"},
		} {
			if got := refusal(t, w, w.Admin, update, object{"i": bad.in}); got != bad.want {
				t.Errorf("%v is answered by %q", bad.in, got)
			}
		}
		if got := refusal(t, w, w.Admin, update, object{"i": object{"name": "x"}, "v": 9}); got != "STALE_VERSION ifVersion" {
			t.Errorf("another version is answered by %q", got)
		}
		out, _ := must(t, w, w.Admin, update, object{"v": 1, "i": object{"name": "Shop", "locale": "zh-CN", "timeZone": "Asia/Shanghai", "priorityWeightSeconds": 60, "defaultQueueId": q.String()}})
		ws := at(out, "workspaceUpdate", "workspace")
		if at(ws, "version") != 2.0 || at(ws, "name") != "Shop" || at(ws, "defaultQueue", "id") != q.String() || at(ws, "priorityWeightSeconds") != 60.0 {
			t.Errorf("the workspace is %v", out)
		}
		const remove = `mutation($id:ID!){queueDelete(id:$id){deletedId userErrors{code field}}}`
		if got := refusal(t, w, w.Admin, remove, object{"id": q.String()}); got != "IN_USE id" {
			t.Errorf("the default queue is answered by %q", got)
		}
		if got := refusal(t, w, w.Admin, remove, object{"id": w.Queue.String()}); got != "" {
			t.Errorf("the default queue of yesterday is answered by %q", got)
		}
	})
}

// The set-up's lists cost the same whatever their length.
func TestTheSetUpsListsCostTheSameStatementsForFewAndForMany(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		crew(t, w, 20)
		for name, list := range map[string]struct {
			query string
			most  int
		}{
			"agents": {`query($n:Int){agents(first:$n){nodes{id displayName invitedUntil role{name} teams{name parent{name}} skills{level skill{name}} status{state since reason{name}}
				statusHistory(first:2){nodes{state reason{name}}} capacityProfile{name rules{channelKind}} capacity{used max}}}}`, 12},
			"teams":    {`query($n:Int){teams(first:$n){nodes{name members(first:3){pageInfo{hasNextPage} nodes{displayName skills{level} status{state}}}}}}`, 6},
			"skills":   {`query($n:Int){skills(first:$n){nodes{name agents(first:3){nodes{displayName role{name}}}}}}`, 5},
			"queues":   {`query($n:Int){queues(first:$n){nodes{name team{name} needs{minimumLevel skill{name}}}}}`, 4},
			"channels": {`query($n:Int){channels(first:$n){nodes{name secrets{name set setAt} queue{name} health{state backlogIn backlogOut deadLetters pausedBecause}}}}`, 3},
		} {
			few, _ := must(t, w, w.Admin, list.query, object{"n": 2})
			_, a := must(t, w, w.Admin, list.query, object{"n": 2})
			many, b := must(t, w, w.Admin, list.query, object{"n": 20})
			if x, y := rowsOf(few, name), rowsOf(many, name); x != 2 || y < 20 {
				t.Fatalf("%s: %d and %d rows", name, x, y)
			}
			if a.N() != b.N() || b.N() > list.most {
				t.Errorf("%s: %d statements for 2 rows, %d for 20, at most %d:", name, a.N(), b.N(), list.most)
				for _, s := range b.Statements() {
					t.Log(s[:min(len(s), 200)])
				}
			}
			t.Logf("%s: %d statements", name, b.N())
		}
	})
}

func rowsOf(v any, name string) int { return len(list(v, name, "nodes")) }

// crew makes so many agents with teams, skills and reasons, so many queues and channels.
func crew(t *testing.T, w *desktest.World, n int) {
	t.Helper()
	for k := range n {
		made, _ := must(t, w, w.Admin, `mutation($n:String!,$s:String!){teamCreate(input:{name:$n}){team{id}} skillCreate(input:{name:$n}){skill{id}}
			statusReasonCreate(input:{name:$s,state:BREAK}){statusReason{id}}}`, object{"n": fmt.Sprint("n", k), "s": fmt.Sprint("r", k)})
		team, skill := at(made, "teamCreate", "team", "id"), at(made, "skillCreate", "skill", "id")
		must(t, w, w.Admin, `mutation($i:AgentCreateInput!,$q:QueueCreateInput!,$c:ChannelCreateInput!){agentCreate(input:$i){agent{id}} queueCreate(input:$q){queue{id}} channelCreate(input:$c){channel{id}}}`, object{
			"i": object{
				"displayName": fmt.Sprint("A", k), "email": w.Mail("a"), "roleId": w.Roles["agent"].String(), "teamIds": []any{team},
				"skills": []object{{"skillId": skill, "level": 2}},
			},
			"q": object{"name": fmt.Sprint("q", k), "teamId": team, "needs": []object{{"skillId": skill, "minimumLevel": 1}}},
			"c": object{"name": fmt.Sprint("c", k), "kind": "webchat", "config": object{}},
		})
	}
	_, _ = must(t, w, w.Admin, `mutation($r:ID!){agentStatusSet(input:{state:BREAK,reasonId:$r}){userErrors{code}}}`, object{"r": reasonOf(t, w)})
}

func reasonOf(t *testing.T, w *desktest.World) any {
	t.Helper()
	out, _ := must(t, w, w.Admin, `{statusReasons(first:1){nodes{id}}}`, nil)
	return at(out, "statusReasons", "nodes", 0, "id")
}
