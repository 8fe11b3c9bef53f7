package graph_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/internal/gid"
)

const chat = `{visitorSession{level conversation{unreadCount}} visitorConversation{state agentName unreadCount messages(first:100){nodes{number mine authorName text attachments{id name url}}}}}`

// side is one of two people who have nothing to do with each other.
type side struct {
	name  string
	v     *desktest.Visitor
	agent *desktest.Agent
	chat  *ent.Interaction
}

// sees is everything that a visitor's queries and stream show him, but signed links' times.
func (s *side) sees(t *testing.T, w *desktest.World) string {
	t.Helper()
	out, _ := must(t, w, s.v, chat, nil)
	told, err := w.Desk.VisitorEvents(s.v, w.Log())
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{}
	for _, e := range told {
		if e.Message != nil {
			texts = append(texts, e.Message.Text)
			for _, a := range e.Message.Attachments {
				texts = append(texts, a.Name)
			}
		}
	}
	slices.Sort(texts)
	for _, m := range list(out, "visitorConversation", "messages", "nodes") {
		for _, a := range list(m, "attachments") {
			u, err := url.Parse(at(a, "url").(string))
			if err != nil {
				t.Fatal(err)
			}
			a.(object)["url"] = u.Path
		}
	}
	b, err := json.MarshalIndent([]any{out, slices.Compact(texts)}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// says writes with a file.
func (s *side) says(t *testing.T, w *desktest.World, text string) {
	t.Helper()
	up, err := w.Desk.VisitorUpload(s.v, desk.UploadInput{Name: s.name + ".txt", ContentType: "text/plain", Bytes: 4}, nil)
	if err == nil {
		err = w.Desk.TakeUpload(t.Context(), up.Attachment, strings.NewReader("file"))
	}
	if err != nil {
		t.Fatal(err)
	}
	out, _ := must(t, w, s.v, `mutation($t:String!,$a:[ID!]){visitorMessageSend(input:{text:$t,attachmentIds:$a}){visitorMessage{text} userErrors{code message}}}`,
		object{"t": s.name + " " + text, "a": []any{up.Attachment.String()}})
	if at(out, "visitorMessageSend", "visitorMessage") == nil {
		t.Fatal(out)
	}
}

func (s *side) talks(t *testing.T, w *desktest.World, about string) {
	t.Helper()
	s.says(t, w, "asks "+about)
	if s.chat == nil {
		rows, err := w.Store.Ent.Interaction.Query().All(w.Sys)
		if err != nil {
			t.Fatal(err)
		}
		s.chat = w.Serve(rows[len(rows)-1], s.agent)
	}
	s.agent.Reply(s.chat, s.name+" is answered "+about)
}

func done(t *testing.T, out object, field string) {
	t.Helper()
	if errs := list(out, field, "userErrors"); len(errs) > 0 {
		t.Fatal(out)
	}
}

// MODEL 6: customers and conversations that were merged by mistake show a visitor nothing of the stranger: not before,
// not while it lasts, not after it was taken back; and taking it back gives everything back.
func TestAWrongMergeShowsNeitherVisitorTheOther(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		site := w.SignedSite()
		known, err := w.Visitor(site).Identify(w.TokenOf("c-1", nil))
		if err != nil {
			t.Fatal(err)
		}
		a := &side{name: "Li", v: known, agent: w.Agent("Ann", "agent")}
		b := &side{name: "Wang", v: w.Visitor(site), agent: w.Agent("Bob", "agent")}
		a.talks(t, w, "before")
		b.talks(t, w, "before")
		alone := []string{a.sees(t, w), b.sees(t, w)}
		check := func(when string) {
			t.Helper()
			for n, s := range []*side{a, b} {
				other := []*side{b, a}[n]
				got := s.sees(t, w)
				if strings.Contains(got, other.name) || !strings.Contains(got, s.name+" is answered before") {
					t.Fatalf("%s, %s sees %s", when, s.name, got)
				}
				foreign, err := w.Store.Ent.Message.Query().WithAttachments().All(w.Sys)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range foreign {
					if m.InteractionID != other.chat.ID {
						continue
					}
					if got, err := w.Desk.VisitorMessage(s.v, m.ID); err != nil || got != nil {
						t.Fatalf("%s, by id: %v, %v", when, got, err)
					}
					for _, f := range m.Edges.Attachments {
						if strings.Contains(s.sees(t, w), f.ID.String()) {
							t.Fatalf("%s, %s has a link to the other's file", when, s.name)
						}
					}
				}
			}
		}
		check("before")
		vars := object{"a": a.v.Viewer().Actor.String(), "b": b.v.Viewer().Actor.String(), "c": a.chat.ConversationID.String(), "d": b.chat.ConversationID.String()}
		out, _ := must(t, w, w.Admin, `mutation($a:ID!,$b:ID!){customerMerge(intoId:$a,fromIds:[$b],reason:"the same voice"){customerMerge{id into{id} from{id mergedInto{id}} evidence{kind} actor{id} undoneAt} userErrors{code message}}}`, object{"a": vars["a"], "b": vars["b"]})
		done(t, out, "customerMerge")
		merge := at(out, "customerMerge", "customerMerge", "id")
		if at(out, "customerMerge", "customerMerge", "from", 0, "mergedInto", "id") != vars["a"] || at(out, "customerMerge", "customerMerge", "actor", "id") != w.Admin.ID.String() {
			t.Fatal(out)
		}
		check("customers merged")
		out, _ = must(t, w, w.Admin, `query($c:ID!){conversation(id:$c){mergeSuggestions{id}}}`, object{"c": vars["c"]})
		if at(out, "conversation", "mergeSuggestions", 0, "id") != vars["d"] {
			t.Fatal(out)
		}
		out, _ = must(t, w, w.Admin, `mutation($c:ID!,$d:ID!){conversationMerge(intoId:$c,fromIds:[$d]){conversation{id mergeSuggestions{id} interactions{nodes{id}}} userErrors{code message}}}`, object{"c": vars["c"], "d": vars["d"]})
		done(t, out, "conversationMerge")
		if len(list(out, "conversationMerge", "conversation", "interactions", "nodes")) != 2 || len(list(out, "conversationMerge", "conversation", "mergeSuggestions")) != 0 {
			t.Fatal(out)
		}
		check("conversations merged")
		a.talks(t, w, "within")
		b.talks(t, w, "within")
		check("talking within")
		out, _ = must(t, w, w.Admin, `mutation($d:ID!){conversationMergeUndo(id:$d){conversation{id state mergedInto{id} interactions{nodes{id}}} userErrors{code message}}}`, object{"d": vars["d"]})
		done(t, out, "conversationMergeUndo")
		if at(out, "conversationMergeUndo", "conversation", "interactions", "nodes", 0, "id") != b.chat.ID.String() || at(out, "conversationMergeUndo", "conversation", "mergedInto") != nil {
			t.Fatal(out)
		}
		out, _ = must(t, w, w.Admin, `mutation($m:ID!){customerMergeUndo(mergeId:$m){customerMerge{undoneAt} userErrors{code message}}}`, object{"m": merge})
		done(t, out, "customerMergeUndo")
		check("taken back")
		out, _ = must(t, w, w.Admin, `query($b:ID!){customer(id:$b){mergedInto{id} identities{kind} conversations{nodes{id}} timeline{nodes{id}}}}`, object{"b": vars["b"]})
		if at(out, "customer", "mergedInto") != nil || len(list(out, "customer", "identities")) != 1 || at(out, "customer", "conversations", "nodes", 0, "id") != vars["d"] {
			t.Fatal(out)
		}
		for n, s := range []*side{a, b} {
			if got := s.sees(t, w); !strings.Contains(got, s.name+" is answered within") || len(got) <= len(alone[n]) {
				t.Errorf("%s lost something: %s", s.name, got)
			}
		}
	})
}

func TestAVisitorIdentifiesThroughTheContract(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		v := w.Visitor(w.SignedSite())
		v.Say("hello")
		const op = `mutation($t:String!){visitorIdentify(identityToken:$t,idempotencyKey:"k"){visitorSession{level} token visitorToken eventCursor userErrors{code field}}}`
		out, _ := must(t, w, v, op, object{"t": `{"externalId":"c-1","hash":"00"}`})
		if at(out, "visitorIdentify", "userErrors", 0, "code") != "INVALID" || at(out, "visitorIdentify", "userErrors", 0, "field", 0) != "identityToken" {
			t.Fatal(out)
		}
		out, c := must(t, w, v, op, object{"t": w.TokenOf("c-1", nil)})
		if at(out, "visitorIdentify", "visitorSession", "level") != "STRONG" || at(out, "visitorIdentify", "token") == nil || at(out, "visitorIdentify", "visitorToken") == nil {
			t.Fatal(out)
		}
		t.Logf("visitorIdentify, one message: %d statements", c.N())
		if c.N() > 70 {
			t.Errorf("visitorIdentify: %d statements", c.N())
		}
		if _, _, err := ask(t, w, v, op, object{"t": w.TokenOf("c-1", nil)}); err == nil {
			t.Error("the old token proves somebody")
		}
	})
}

const together = `query($n:Int){
 customers(first:$n){nodes{id mergedInto{id} mergeCandidates{state confidence evidence{kind detail confidence at} customers{displayName identities{kind}}} merges(first:2){nodes{from{displayName} into{id} actor{id} reason}}}}
 mergeCandidates(first:$n,states:[OPEN,DISMISSED]){totalCount nodes{state decidedBy{displayName} customers{id displayName}}}
 conversations(first:$n){nodes{number mergedInto{number} mergeSuggestions{number customer{displayName}}}}}`

// Lists of what is or may be one cost the same whatever their length.
func TestWhoMayBeOneCostsTheSameStatementsForFewAndForMany(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		people := map[string]gid.ID{}
		for n := range 20 {
			for _, who := range []string{"a", "b", "c"} {
				m := b.Text(w.Unique("e"), fmt.Sprint(who, n), fmt.Sprint(who, n), "hello")
				m["from"] = desktest.M{"id": fmt.Sprint(who, n), "name": fmt.Sprint(who, n), "phone": fmt.Sprintf("+86138001380%02d", n), "phoneVerified": who == "a"}
				if err := b.Deliver(m); err != nil {
					t.Fatal(err)
				}
			}
			w.Work() // so that the first six are of all sorts
		}
		all, err := w.Store.Ent.Customer.Query().All(w.Sys)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			people[c.DisplayName] = c.ID
		}
		for n := range 10 {
			if _, err := w.Desk.MergeCustomers(w.Admin, people[fmt.Sprint("a", n)], []gid.ID{people[fmt.Sprint("b", n)]}, nil, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		got := map[int]int{}
		for _, n := range []int{6, 60} {
			out, c := must(t, w, w.Admin, together, object{"n": n})
			got[n] = c.N()
			text := fmt.Sprint(out)
			if len(list(out, "customers", "nodes")) != n || n == 60 && (!strings.Contains(text, "SHARED_PHONE") || !strings.Contains(text, "mergeSuggestions:[map")) {
				t.Fatal(text[:min(len(text), 2000)])
			}
			if n == 60 && got[6] != got[60] {
				for _, s := range c.Statements() {
					t.Log(s[:min(len(s), 160)])
				}
				t.Errorf("%d statements for 6, %d for 60", got[6], got[60])
			}
		}
		t.Logf("%d statements", got[60])
	})
}
