package badday_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"tributary/test/rig"
)

// mostGrowth is by how much the process may grow while a hostile request is handled.
const mostGrowth = 64 << 20

// TestHostileInput throws at each door what a stranger may throw. Each costs its sender an error and nobody else
// anything: after each, a normal message still gets through.
func TestHostileInput(t *testing.T) {
	each(t, func(t *testing.T, o rig.Options) {
		n := rig.Start(t, o)
		w := open(t, n)
		agent := w.NewAgent(t, "Ann", "admin")
		for _, c := range []struct {
			name string
			f    func(t *testing.T, w *office, a *rig.Agent)
		}{
			{"poisoned texts", poisonedTexts},
			{"poisoned arguments", poisonedArguments},
			{"bodies of web hooks", hookBodies},
			{"web hooks of nobody", strangeHooks},
			{"large files", largeFiles},
			{"documents", documents},
			{"bodies of GraphQL", graphqlBodies},
		} {
			t.Run(c.name, func(t *testing.T) {
				grown := n.Growth(func() { c.f(t, w, agent) })
				if grown > mostGrowth {
					t.Errorf("the process grew by %d MiB", grown>>20)
				}
				figures(t, "grown by %.1f MiB", float64(grown)/(1<<20))
				w.goesOn(t)
			})
		}
		if log := n.Log.String(); strings.Contains(log, "panic") {
			t.Error("something panicked; see the log")
			t.Log(log[max(0, strings.Index(log, "panic")-200):][:min(len(log), 3000)])
		}
	})
}

// poison are texts as JSON strings: NUL, lone surrogates, and other things that are no text.
var poison = []string{`"a\u0000b"`, `"a\ud800b"`, `"a\udfffb"`, `"\ud83d"`, "\"a\xff\xfeb\"", `"a\u001b[2Jb"`, `"\u202eb\u0000"`}

// poisonedTexts come in by both surfaces and go out by messageSend. Each is taken, cleaned, or refused with a code of
// its own; what is stored can be read.
func poisonedTexts(t *testing.T, w *office, a *rig.Agent) {
	at := cursor(t, w.Admin)
	guest := w.Node.Visit(t, w.site, "")
	guest.Say(t, "hello")
	interaction := mineNow(t, w, a, at)
	taken := 0
	for k, p := range poison {
		raw := fmt.Appendf(nil, `{"id":"p%d-%s","kind":"message","thread":"poison","from":{"id":"poisoner","name":%s},"parts":[{"type":"text","text":%s}]}`, k, rig.Unique("p"), p, p)
		code, body, err := w.bridge.Post(context.Background(), raw)
		if err != nil || code != http.StatusOK && code != http.StatusBadRequest {
			t.Errorf("a hook's text %s: %d %s %v", p, code, body, err)
		}
		if code == http.StatusOK {
			taken++
		}
		for _, d := range []struct{ name, token, doc string }{
			{"a visitor's", guest.Token, `mutation($t:String!){visitorMessageSend(input:{text:$t}){visitorMessage{id} userErrors{code}}}`},
			{"an agent's", a.Token, `mutation($t:String!){messageSend(interactionId:"` + interaction + `",input:{text:$t}){message{id} userErrors{code}}}`},
		} {
			answer := post(t, w.Node, d.token, fmt.Appendf(nil, `{"query":%s,"variables":{"t":%s}}`, quote(d.doc), p))
			switch code := answer.coded(); {
			case answer.status == http.StatusOK && code == "" && !answer.refused():
				taken++
			case code != "" && code != "BAD_REQUEST":
				t.Errorf("%s text %s: %s", d.name, p, answer)
			}
		}
	}
	var stored []string
	rig.Eventually(t, 20*time.Second, "what was taken is in the log", func() bool {
		stored = stored[:0]
		for _, e := range pull(t, w.Admin, at, `subject{... on Message{text}}`, "MESSAGE_CREATED") {
			stored = append(stored, e.At("subject", "text").String())
		}
		return len(stored) >= taken+1
	})
	for _, s := range stored {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
			t.Errorf("stored as it came: %q", s)
		}
	}
	figures(t, "%d of %d poisoned texts were taken and cleaned", taken, 3*len(poison))
}

// mineNow claims the one interaction that began after a place.
func mineNow(t *testing.T, w *office, a *rig.Agent, after string) string {
	t.Helper()
	id := ""
	rig.Eventually(t, 10*time.Second, "an interaction began", func() bool {
		for _, e := range pull(t, w.Admin, after, "", "INTERACTION_STARTED") {
			id = e.At("subjectId").String()
		}
		return id != ""
	})
	a.Must(t, claimDoc, rig.M{"id": id})
	return id
}

// poisonedArguments puts NUL into every sort of free text that an operation takes: PostgreSQL refuses it, and the
// sender has to hear that it was his fault (or nothing of it), never INTERNAL.
func poisonedArguments(t *testing.T, w *office, a *rig.Agent) {
	at := cursor(t, w.Admin)
	guest := w.Node.Visit(t, w.site, "")
	guest.Say(t, "hello")
	i := mineNow(t, w, a, at)
	conversation := w.Admin.Must(t, `query($i:ID!){interaction(id:$i){conversation{id customer{id}}}}`, rig.M{"i": i}).At("interaction", "conversation")
	c, customer := conversation.At("id").String(), conversation.At("customer", "id").String()
	for _, d := range []string{
		`mutation($x:String!){interactionRelease(id:"` + i + `",reason:$x){userErrors{code}}}`,
		`mutation($x:Key!){interactionClaim(id:"` + i + `",idempotencyKey:$x){userErrors{code}}}`,
		`mutation($x:String!){conversationResolve(id:"` + c + `",input:{outcome:$x}){userErrors{code}}}`,
		`mutation($x:String!){customerUpdate(id:"` + customer + `",input:{displayName:$x}){userErrors{code}}}`,
		`mutation($x:String!){customerUpdate(id:"` + customer + `",input:{locale:$x}){userErrors{code}}}`,
		`mutation($x:String!){queueCreate(input:{name:$x,description:$x}){userErrors{code}}}`,
		`mutation($x:String!){queueCreate(input:{name:"plain",description:$x}){userErrors{code}}}`,
		`mutation($x:String!){teamCreate(input:{name:$x}){userErrors{code}}}`,
		`mutation($x:String!){capacityProfileCreate(input:{name:$x,units:4,rules:[]}){userErrors{code}}}`,
		`mutation($x:String!){channelCreate(input:{kind:"webchat",name:"x",config:{},locale:$x}){userErrors{code}}}`,
		`mutation($x:String!){channelCreate(input:{kind:"webchat",name:"x",config:{greeting:$x}}){userErrors{code}}}`,
		`mutation($x:ChannelKind!){channelCreate(input:{kind:$x,name:"x",config:{}}){userErrors{code}}}`,
		`mutation($x:ChannelKind!){capacityProfileCreate(input:{name:"x",units:4,rules:[{channelKind:$x,unitsEach:1,maxAtOnce:1}]}){userErrors{code}}}`,
		`mutation($x:String!){attachmentUploadCreate(input:{name:$x,contentType:$x,bytes:3}){userErrors{code}}}`,
		`mutation($x:String!){deadLetterDiscard(ids:["` + i + `"],reason:$x){userErrors{code}}}`,
		`mutation($x:String!){sessionCreate(input:{email:$x,password:$x,client:$x}){userErrors{code}}}`,
		`mutation($x:String!){sessionRefresh(refreshToken:$x){userErrors{code}}}`,
		`mutation($x:String!){invitationAccept(secret:$x,password:$x,client:$x){userErrors{code}}}`,
		`mutation($x:Key!){visitorSessionStart(input:{siteKey:$x}){userErrors{code}}}`,
		`mutation($x:String!){visitorSessionStart(input:{siteKey:"` + w.site + `",visitorToken:$x,locale:$x,client:$x}){userErrors{code}}}`,
		`mutation($x:String!){visitorSessionStart(input:{siteKey:"` + w.site + `",locale:$x}){userErrors{code}}}`,
		`mutation($x:String!){visitorSessionStart(input:{siteKey:"` + w.site + `",client:$x}){userErrors{code}}}`,
		`mutation($x:String!){visitorSessionStart(input:{siteKey:"` + w.site + `",identityToken:$x}){userErrors{code}}}`,
		`query($x:Cursor){queues(after:$x){nodes{id}}}`, `query($x:EventCursor){events(after:$x){cursor}}`, `query($x:ID!){node(id:$x){id}}`,
		`query($x:ChannelKind!){interactions(filter:{channelKinds:[$x]}){nodes{id}}}`,
	} {
		for _, p := range poison {
			if answer := post(t, w.Node, a.Token, fmt.Appendf(nil, `{"query":%s,"variables":{"x":%s}}`, quote(d), p)); answer.coded() == "INTERNAL" || answer.status >= 500 {
				t.Errorf("%s with %s: %s", d, p, answer)
			}
		}
	}
}

// hookBodies are bodies with a right signature that are no events.
func hookBodies(t *testing.T, w *office, _ *rig.Agent) {
	text := `{"id":"x","kind":"message","from":{"id":"u"},"parts":[{"type":"text","text":"hi"}]}`
	for name, c := range map[string]struct {
		body []byte
		want int
	}{
		"no JSON":           {[]byte("hello"), 400},
		"half":              {[]byte(text[:40]), 400},
		"empty":             {nil, 400},
		"a list":            {[]byte("[" + text + "]"), 400},
		"two bodies":        {[]byte(text + text), 400},
		"deep and half":     {[]byte(strings.Repeat(`{"a":`, 200_000)), 400},
		"deep and whole":    {[]byte(strings.Repeat(`[`, 500_000) + strings.Repeat("]", 500_000)), 400},
		"deep in a part":    {[]byte(`{"id":"x","kind":"message","from":{"id":"u"},"parts":[` + strings.Repeat(`[`, 9000) + strings.Repeat("]", 9000) + `]}`), 400},
		"1 MiB and a byte":  {bytes.Repeat([]byte(" "), 1<<20+1), 413},
		"NUL in an id":      {[]byte(strings.Replace(text, `"x"`, `"x\u0000"`, 1)), 400},
		"NUL in a thread":   {[]byte(strings.Replace(text, `"kind"`, `"thread":"t\u0000","kind"`, 1)), 400},
		"NUL in a person":   {[]byte(strings.Replace(text, `"u"`, `"u\u0000"`, 1)), 400},
		"a million numbers": {[]byte(`{"events":[` + strings.Repeat("1,", 500_000) + `1]}`), 400},
		"101 events":        {[]byte(`{"events":[` + strings.Repeat(text+",", 100) + text + `]}`), 400},
	} {
		code, body, err := w.bridge.Post(context.Background(), c.body)
		if name == "1 MiB and a byte" && err != nil {
			continue // the server need not read to the end what it refuses
		}
		if err != nil || code != c.want {
			t.Errorf("%s: %d %s %v, want %d", name, code, body, err, c.want)
		}
	}
}

// strangeHooks are requests without the right to be heard.
func strangeHooks(t *testing.T, w *office, _ *rig.Agent) {
	ctx, e := context.Background(), fresh("hi")
	wrong := *w.bridge
	wrong.Secret = "another-secret-of-thirty-two-bytes!!"
	elsewhere := *w.bridge
	elsewhere.Hook = w.bridge.Hook[:len(w.bridge.Hook)-3] + "abc"
	nowhere := *w.bridge
	nowhere.Hook = w.Node.URL + "/hooks/custom/nobody/nothing"
	paused := w.NewBridge(t, "", "", nil)
	w.Admin.Must(t, `mutation($id:ID!){channelPause(id:$id){userErrors{code message}}}`, rig.M{"id": paused.ID})
	for _, c := range []struct {
		name string
		b    rig.Bridge
		want int
	}{{"a wrong signature", wrong, 401}, {"a wrong secret in the path", elsewhere, 404}, {"no such channel", nowhere, 404}, {"a paused channel", *paused, 503}} {
		if code, body, err := c.b.Deliver(ctx, e); err != nil || code != c.want {
			t.Errorf("%s: %d %s %v, want %d", c.name, code, body, err, c.want)
		}
	}
	if s := status(w.Node.URL + "/hooks"); s != http.StatusNotFound {
		t.Errorf("an unknown path: %d", s)
	}
	// The same event is taken where all of it is right, so that it was not refused for another reason.
	if code, body, err := w.bridge.Deliver(ctx, e); err != nil || code != http.StatusOK {
		t.Errorf("the right one: %d %s %v", code, body, err)
	}
	w.Admin.Must(t, `mutation($id:ID!){channelEnable(id:$id){userErrors{code message}}}`, rig.M{"id": paused.ID})
	if code, body, err := paused.Deliver(ctx, e); err != nil || code != http.StatusOK {
		t.Errorf("switched on again: %d %s %v", code, body, err)
	}
}

// largeFiles announces too much, and puts a gigabyte where little was announced.
func largeFiles(t *testing.T, w *office, a *rig.Agent) {
	const giga = 1 << 30
	announce := `mutation($b:Long!){attachmentUploadCreate(input:{name:"film.bin",contentType:"application/octet-stream",bytes:$b}){target{url attachment{id state}} userErrors{code}}}`
	if o := a.Try(context.Background(), announce, rig.M{"b": giga}); o.Refused.Code != "LIMIT_REACHED" {
		t.Errorf("a gigabyte announced: %s", o)
	}
	for name, length := range map[string]int64{"streamed": -1, "with its length": giga} {
		target := a.Must(t, announce, rig.M{"b": 1000}).At("attachmentUploadCreate", "target", "url").String()
		sent := &counted{r: io.LimitReader(zeros{}, giga)}
		code, err := put(target, sent, length)
		// Whoever closes while the client still writes may be heard as a broken pipe.
		if err == nil && code != http.StatusRequestEntityTooLarge {
			t.Errorf("a gigabyte %s: %d", name, code)
		}
		if sent.n > 64<<20 {
			t.Errorf("a gigabyte %s: %d MiB of it were read", name, sent.n>>20)
		}
		figures(t, "a gigabyte %s: %d, %v, %d KiB left the client", name, code, err, sent.n>>10)
		// The address is still good for what was announced.
		if code, err := put(target, bytes.NewReader(make([]byte, 1000)), 1000); err != nil || code != http.StatusNoContent {
			t.Errorf("the announced file after it: %d %v", code, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// counted counts what was read from it.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// put puts a file; the status is 0 if no answer came.
func put(url string, body io.Reader, length int64) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, io.NopCloser(body))
	if err != nil {
		return 0, err
	}
	req.ContentLength = length
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, nil
}

func quote(s string) []byte { b, _ := json.Marshal(s); return b }
