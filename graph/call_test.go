package graph_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"tributary/channels/voice"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/graph"
)

const oneCall = `query($c:ID!,$i:ID!,$v:ID!){call(id:$c){id state callerProof from{text masked} to{text masked} headers{key value} digits{text masked} legs{role state agent{displayName} identity{value{text}}}
 recordings{id seconds url} waitSeconds quality{lossRate} interaction{id call{id} calls{id}}}
 calls(first:5){nodes{id}} interaction(id:$i){withheld call{id} calls{id}} node(id:$c){id}
 conversation(id:$v){timeline(first:20){nodes{type ... on CallItem{call{id}}}}}}`

// spoken is a call that was talked, recorded and ended in a restricted queue.
func spoken(t *testing.T, w *desktest.World, l *desktest.Line, agent *desktest.Agent) *desktest.Caller {
	t.Helper()
	agent.Phone(false)
	c := l.Call("030 901820")
	c.Talks(agent)
	c.Must(voice.Fact{Kind: voice.Digit, Leg: c.Leg, Digit: "4"})
	c.Must(voice.Fact{Kind: voice.Digit, Leg: c.Leg, Digit: "2"})
	c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp, Quality: &voice.Quality{LossRate: 0.5}})
	c.Must(voice.Fact{Kind: voice.Recorded, Recording: &voice.Recording{Blob: "r.wav", Bytes: 44, SHA256: "ab", Seconds: 2, StartedAt: w.Clock.Now()}})
	return c
}

// MODEL 6: numbers, keys, headers and recordings of a restricted queue are content: to who is no member there is no call,
// only its place in the timeline.
func TestACallOfARestrictedQueueIsForMembersAlone(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		team, yes := w.Team("medical"), true
		q := w.QueueOf(desk.QueueCreateInput{Name: "medical", TeamID: &team, Restricted: &yes})
		member, other, plain := w.Agent("Member", "admin", team), w.Agent("Other", "admin"), w.Agent("Plain", "agent", team)
		l := w.Line(func(in *desk.ChannelCreateInput) { in.QueueID = &q })
		c := spoken(t, w, l, member)
		i := c.Interaction()
		vars := object{"c": c.ID.String(), "i": i.ID.String(), "v": i.ConversationID.String()}
		out, _ := must(t, w, member, oneCall, vars)
		if at(out, "call", "from", "text") != "+4930901820" || at(out, "call", "digits", "text") != "42" || at(out, "call", "headers", 0, "value") != "A-1" ||
			len(list(out, "call", "recordings")) != 1 || at(out, "interaction", "call", "id") != c.ID.String() || at(out, "call", "quality", "lossRate") != 0.5 || len(list(out, "calls", "nodes")) != 1 {
			t.Errorf("a member reads %v", out)
		}
		hear(t, w, at(out, "call", "recordings", 0, "url"))
		out, _ = must(t, w, other, oneCall, vars)
		if at(out, "call") != nil || at(out, "node") != nil || len(list(out, "calls", "nodes")) != 0 || at(out, "interaction", "call") != nil || len(list(out, "interaction", "calls")) != 0 || at(out, "interaction", "withheld") != true {
			t.Errorf("who is no member reads %v", out)
		}
		if s, _ := json.Marshal(out); strings.Contains(string(s), "901820") || strings.Contains(string(s), c.ID.String()) {
			t.Errorf("something leaks: %s", s)
		}
		places := 0
		for _, n := range list(out, "conversation", "timeline", "nodes") {
			if at(n, "type") == "CALL" {
				places++
			}
		}
		if places != 1 {
			t.Errorf("the call has %d places in the timeline", places)
		}
		// A member without the right to hear and without the numbers' kind.
		out, _, err := ask(t, w, plain, strings.Replace(oneCall, "recordings{id seconds url}", "", 1), vars)
		if err != nil || at(out, "call", "from", "masked") != true || at(out, "call", "digits", "masked") != true {
			t.Errorf("who sees numbers masked reads %v (%v)", out, err)
		}
		if out, _, err := ask(t, w, plain, `query($c:ID!){call(id:$c){id recordings{id url}}}`, object{"c": c.ID.String()}); err == nil || at(out, "call", "recordings") != nil {
			t.Errorf("who may not hear reads %v", out)
		}
	})
}

// hear fetches a recording by its signed address, which is good for five minutes.
func hear(t *testing.T, w *desktest.World, url any) {
	t.Helper()
	if _, err := w.Desk.Blob.Put(t.Context(), "r.wav", strings.NewReader("RIFF"), 100); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/files/{id}", graph.Files(w.Desk, w.Desk.Log))
	get := func(method, u string) (int, string) {
		a := httptest.NewRecorder()
		mux.ServeHTTP(a, httptest.NewRequest(method, u, nil))
		return a.Code, a.Body.String()
	}
	u, _ := url.(string)
	u = strings.TrimPrefix(u, desktest.PublicURL)
	if code, body := get(http.MethodGet, u); code != http.StatusOK || body != "RIFF" {
		t.Errorf("%q gives %d %q", u, code, body)
	}
	if code, _ := get(http.MethodPut, u); code != http.StatusNotFound {
		t.Errorf("a recording is written over: %d", code)
	}
	plain, _, _ := strings.Cut(u, "?")
	if code, _ := get(http.MethodGet, plain); code != http.StatusForbidden {
		t.Errorf("without a signature: %d", code)
	}
	w.Clock.Add(6 * time.Minute)
	if code, _ := get(http.MethodGet, u); code != http.StatusForbidden {
		t.Errorf("after its time: %d", code)
	}
}

const callList = `query($n:Int){calls(first:$n){nodes{id state from{text} legs{role state agent{displayName}} interaction{id state conversation{number} customer{displayName}} quality{lossRate} waitSeconds}}}`

// The list costs the same however long it is.
func TestAListOfCallsCostsTheSameHoweverLong(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		ann := w.Agent("Ann", "admin")
		ann.Phone(false)
		fill := func(n int) {
			for range n {
				c := l.Call("")
				c.Talks(ann)
				c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.CustomerHungUp})
			}
		}
		fill(5)
		five, n := must(t, w, w.Admin, callList, object{"n": 5})
		fill(95)
		hundred, m := must(t, w, w.Admin, callList, object{"n": 100})
		if len(list(five, "calls", "nodes")) != 5 || len(list(hundred, "calls", "nodes")) != 100 {
			t.Fatal("not all are listed")
		}
		if n.N() != m.N() {
			t.Errorf("%d statements for 5 calls, %d for 100:\n%s", n.N(), m.N(), strings.Join(m.Statements(), "\n"))
		}
		t.Logf("%d statements", m.N())
	})
}

// The browser's way by the contract: answer, hold, keys, hang up; effects show in what the mutation returns.
func TestACallByTheContract(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		l := w.Line(nil)
		ann := w.Agent("Ann", "agent")
		c := l.Call("030 901820")
		if o, _ := w.Offer(c.Interaction(), ann); o == nil {
			t.Fatal("no offer")
		}
		vars := object{"c": c.ID.String()}
		out, _ := must(t, w, ann, `mutation($c:ID!){callAnswer(id:$c,sdpOffer:"v=0"){sdpAnswer call{state interaction{connecting openOffer{connecting reasons}}} userErrors{code}}}`, vars)
		if at(out, "callAnswer", "sdpAnswer") != "answer to v=0" || at(out, "callAnswer", "call", "state") != "RINGING" || at(out, "callAnswer", "call", "interaction", "openOffer", "connecting") != true {
			t.Fatalf("answered: %v", out)
		}
		leg := c.Legs(ann)[0]
		c.Must(voice.Fact{Kind: voice.Up, Leg: leg})
		l.Does(func(_ context.Context, a desktest.Asked) error {
			switch {
			case a.Verb == "hold":
				c.Must(voice.Fact{Kind: voice.Held, Leg: a.To.Leg})
			case a.Verb == "conform" && a.Wanted.Over:
				c.Must(voice.Fact{Kind: voice.Ended, Cause: voice.AgentHungUp})
			}
			return nil
		})
		out, _ = must(t, w, ann, `mutation($c:ID!){callHold(id:$c,held:true){call{state} userErrors{code}} callDigitsSend(id:$c,digits:"1x"){userErrors{code field}} callEnd(id:$c){call{state endCause talkSeconds} userErrors{code}}}`, vars)
		if at(out, "callHold", "call", "state") != "HELD" || at(out, "callDigitsSend", "userErrors", 0, "code") != "INVALID" || at(out, "callEnd", "call", "state") != "ENDED" || at(out, "callEnd", "call", "endCause") != "AGENT_HUNG_UP" {
			t.Errorf("%v", out)
		}
	})
}
