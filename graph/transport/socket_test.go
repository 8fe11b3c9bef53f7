package transport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tributary/graph/live/livetest"
	"tributary/graph/model"
	"tributary/graph/transport"
	"tributary/internal/viewer"
)

const everything = `subscription($a: EventCursor) { events(after: $a, filter: {scope: ALL}) { cursor caughtUp resetReason events { changed } } }`

func TestSocketCloseCodes(t *testing.T) {
	w := newWorld(t, func(c *transport.Config) {
		c.Limits.InitWait = 300 * time.Millisecond
		c.Limits.Sockets = 3
		c.Limits.Subscriptions = 2
	})
	init := `{"type":"connection_init","payload":{"authorization":"agent"}}`
	for _, c := range []struct {
		name string
		code int
		say  []string
	}{
		{"no init", 4408, nil},
		{"no init but talk", 4408, []string{`{"type":"ping"}`}},
		{"no JSON", 4400, []string{`{`}},
		{"no type", 4400, []string{`{}`}},
		{"unknown type", 4400, []string{init, `{"type":"start"}`}},
		{"init without an object", 4400, []string{`{"type":"connection_init","payload":[1]}`}},
		{"subscribe without a query", 4400, []string{init, `{"type":"subscribe","id":"1","payload":{}}`}},
		{"subscribe without an id", 4400, []string{init, `{"type":"subscribe","payload":{"query":"{__typename}"}}`}},
		{"subscribe first", 4401, []string{`{"type":"subscribe","id":"1","payload":{"query":"{__typename}"}}`}},
		{"no token", 4403, []string{`{"type":"connection_init"}`}},
		{"unusable token", 4403, []string{`{"type":"connection_init","payload":{"Authorization":"Bearer stranger"}}`}},
		{"two inits", 4429, []string{init, init}},
		{"too long", 4400, []string{init, `{"type":"ping","payload":"` + strings.Repeat("x", 70_000) + `"}`}},
	} {
		cl := w.dial()
		for _, s := range c.say {
			cl.send(s)
		}
		t.Log(c.name)
		cl.wantClose(c.code)
	}
	eventually(t, "release", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.present[w.viewers["agent"]] == 0 })

	cl := w.open("agent")
	cl.subscribe("1", everything, nil)
	cl.subscribe("1", everything, nil)
	cl.wantClose(4409)
	cl = w.open("agent")
	for i := range 3 {
		cl.subscribe(fmt.Sprint(i), everything, nil)
	}
	cl.wantClose(4429)
	eventually(t, "release", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.present[w.viewers["agent"]] == 0 })
	for range 3 {
		w.open("agent")
	}
	cl = w.dial()
	cl.send(init)
	cl.wantClose(4429)
	w.open("mate")
}

func TestSocketUpgrade(t *testing.T) {
	w := newWorld(t, nil)
	ask := func(header ...string) int {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.srv.URL, nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		r.Header.Set("Sec-WebSocket-Protocol", "graphql-transport-ws")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if n := ask("Origin", "https://elsewhere.example"); n != 403 {
		t.Error(n)
	}
	if n := ask("Sec-WebSocket-Protocol", "graphql-ws"); n != 400 {
		t.Error(n)
	}
	if n := ask("Sec-WebSocket-Version", "8"); n != 426 {
		t.Error(n)
	}
	if n := ask("Origin", w.srv.URL); n != 101 {
		t.Error(n)
	}
	// A program may give its token with the upgrade.
	c := w.dial("Authorization", "Bearer agent")
	c.send(`{"type":"connection_init"}`)
	if m := c.next(); m.Type != "connection_ack" {
		t.Error(m)
	}
}

// A client may send behind its request, before it has the answer.
func TestSocketHastyClient(t *testing.T) {
	w := newWorld(t, nil)
	conn, err := (&netDialer{}).dial(t.Context(), strings.TrimPrefix(w.srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(`{"type":"connection_init","payload":{"token":"agent"}}`))))
	_, err = conn.Write(append([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"), frame...))
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatal(err, resp)
	}
	defer resp.Body.Close()
	h, err := ws.ReadHeader(br)
	if err != nil || h.Length != int64(len(`{"type":"connection_ack"}`)) {
		t.Error(h, err)
	}
}

func TestSocketOperations(t *testing.T) {
	w := newWorld(t, nil)
	c := w.open("agent")
	c.subscribe("q", "{viewer{kind}}", nil)
	if m := c.next(); m.Type != "next" || m.ID != "q" || !strings.Contains(string(m.Payload), "AGENT") {
		t.Errorf("%+v", m)
	}
	if m := c.next(); m.Type != "complete" || m.ID != "q" {
		t.Errorf("%+v", m)
	}
	c.subscribe("q", `mutation{sessionCreate(input:{email:"a",password:"b",client:"c"}){userErrors{code}}}`, nil)
	if m := c.next(); m.Type != "next" {
		t.Errorf("%+v", m)
	}
	c.next()
	for _, q := range []string{"{", "{nothing}", "{conversations(first:1000){nodes{id}}}"} {
		c.subscribe("q", q, nil)
		if m := c.next(); m.Type != "error" || !strings.Contains(string(m.Payload), `"BAD_REQUEST"`) {
			t.Errorf("%+v %s", m, m.Payload)
		}
	}
	// A refused stream is an error, and its id is free again.
	c.subscribe("q", "subscription{visitorEvents{cursor}}", nil)
	if m := c.next(); m.Type != "error" || !strings.Contains(string(m.Payload), `"FORBIDDEN"`) {
		t.Errorf("%+v %s", m, m.Payload)
	}
	c.subscribe("q", `subscription{events(after:"x"){cursor}}`, nil)
	if m := c.next(); m.Type != "error" || !strings.Contains(string(m.Payload), `"BAD_REQUEST"`) {
		t.Errorf("%+v %s", m, m.Payload)
	}
	c.send(`{"type":"ping","payload":{"a":1}}`)
	if m := c.next(); m.Type != "pong" || string(m.Payload) != `{"a":1}` {
		t.Errorf("%+v", m)
	}
	// In fragments, with a ping between.
	c.frame(ws.NewFrame(ws.OpText, false, []byte(`{"type":`)))
	c.frame(ws.NewPingFrame([]byte("x")))
	c.frame(ws.NewFrame(ws.OpContinuation, true, []byte(`"ping"}`)))
	if m := c.next(); m.Type != "frame pong" {
		t.Errorf("%+v", m)
	}
	if m := c.next(); m.Type != "pong" {
		t.Errorf("%+v", m)
	}
}

func TestSocketOperationsAreBounded(t *testing.T) {
	w := newWorld(t, func(c *transport.Config) { c.Limits.Operations = 2 })
	running := make(chan struct{}, 10)
	release := make(chan struct{})
	w.root.Ask = func(ctx context.Context) (*model.Viewer, error) {
		running <- struct{}{}
		<-release
		return &model.Viewer{Kind: viewer.KindAgent}, nil
	}
	c := w.open("agent")
	for i := range 5 {
		c.subscribe(fmt.Sprint(i), "{viewer{kind}}", nil)
	}
	time.Sleep(100 * time.Millisecond)
	most := len(running)
	close(release)
	for range 10 {
		if m := c.next(); m.Type != "next" && m.Type != "complete" {
			t.Errorf("%+v", m)
		}
	}
	if most != 2 {
		t.Error(most, "ran at once")
	}
}

func (c *client) frame(f ws.Frame) {
	c.t.Helper()
	if _, err := c.conn.Write(ws.MustCompileFrame(ws.MaskFrame(f))); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) event() (changed []string, cursor string, caughtUp bool, reset string) {
	c.t.Helper()
	m := c.next()
	if m.Type != "next" {
		c.t.Fatalf("%+v %s", m, m.Payload)
	}
	return decode(c.t, m.Payload)
}

func decode(t testing.TB, b []byte) (changed []string, cursor string, caughtUp bool, reset string) {
	t.Helper()
	var p struct {
		Data struct {
			Events struct {
				Cursor      string
				CaughtUp    bool
				ResetReason string
				Events      []struct{ Changed []string }
			}
		}
	}
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Data.Events.Events {
		changed = append(changed, e.Changed...)
	}
	return changed, p.Data.Events.Cursor, p.Data.Events.CaughtUp, p.Data.Events.ResetReason
}

func TestSocketStream(t *testing.T) {
	w := newWorld(t, nil)
	one, two := w.open("agent"), w.open("mate")
	one.subscribe("a", everything, nil)
	two.subscribe("b", everything, nil)
	one.event()
	_, at, _, _ := two.event()
	before := w.live.Runs.Load()
	w.Add(livetest.Text(1))
	if got, _, _, _ := one.event(); len(got) != 1 || got[0] != "n1" {
		t.Error(got)
	}
	if got, _, _, _ := two.event(); len(got) != 1 || got[0] != "n1" {
		t.Error(got)
	}
	if n := w.live.Runs.Load() - before; n != 1 {
		t.Error(n, "executions")
	}
	two.send(`{"id":"b","type":"complete"}`)
	two.send(`{"type":"ping"}`)
	if m := two.next(); m.Type != "pong" {
		t.Error(m)
	}
	w.Add(livetest.Text(2))
	two.subscribe("b", everything, map[string]any{"a": at})
	var got []string
	for len(got) < 2 {
		g, _, _, _ := two.event()
		got = append(got, g...)
	}
	if got[0] != "n1" || got[1] != "n2" {
		t.Error(got)
	}
}

func TestSocketPings(t *testing.T) {
	w := newWorld(t, func(c *transport.Config) { c.Limits.Ping = 50 * time.Millisecond })
	c := w.open("agent")
	seen := map[string]bool{}
	for len(seen) < 2 {
		m := c.read()
		if m.Type == "closed" {
			t.Fatal(m)
		}
		seen[m.Type] = true
	}
	if !seen["ping"] || !seen["frame ping"] {
		t.Error(seen)
	}
	// Nothing is answered: after three intervals it is over.
	start := time.Now()
	c.wantClose(1001)
	if time.Since(start) > 2*time.Second {
		t.Error("late")
	}
	d := w.open("agent")
	for range 20 {
		if m := d.read(); m.Type == "frame ping" {
			d.frame(ws.NewPongFrame(nil))
		} else if m.Type == "closed" {
			t.Fatal("cut although it answered", m)
		}
	}
}

func TestSocketRecheck(t *testing.T) {
	w := newWorld(t, nil)
	one, two := w.open("agent"), w.open("mate")
	one.subscribe("a", everything, nil)
	two.subscribe("a", everything, nil)
	one.event()
	two.event()
	// Other rights: the stream says so and goes on with them.
	w.mu.Lock()
	less := *w.viewers["mate"]
	less.Reach = viewer.ReachOwn
	w.viewers["mate"] = &less
	w.mu.Unlock()
	if _, _, _, reset := two.event(); reset != "RIGHTS_CHANGED" {
		t.Error(reset)
	}
	w.Add(livetest.Text(1))
	w.Add(livetest.Text(2, less.Actor))
	if got, _, _, _ := two.event(); got[0] != "n2" {
		t.Error("saw what is out of reach now:", got)
	}
	w.mu.Lock()
	w.void["agent"] = true
	w.mu.Unlock()
	one.wantClose(4403)
	two.subscribe("q", "{viewer{kind}}", nil)
	if m := two.next(); m.Type != "next" {
		t.Error(m)
	}
}

// A fault of the re-check says nothing about the token.
func TestFaultsCondemnNoToken(t *testing.T) {
	var broken atomic.Bool
	fault := errors.New("database is away")
	asked := make(chan struct{}, 1000)
	w := newWorld(t, func(c *transport.Config) {
		auth, recheck := c.Auth, c.Recheck
		c.Refused = func(err error) bool { return errors.Is(err, errToken) }
		c.Auth = func(ctx context.Context, token, remote string) (*viewer.Viewer, error) {
			if broken.Load() {
				return nil, fault
			}
			return auth(ctx, token, remote)
		}
		c.Recheck = func(ctx context.Context, v *viewer.Viewer) (*viewer.Viewer, error) {
			asked <- struct{}{}
			if broken.Load() {
				return nil, fault
			}
			return recheck(ctx, v)
		}
	})
	c := w.open("agent")
	broken.Store(true)
	for range 5 {
		<-asked
	}
	c.send(`{"type":"ping"}`)
	if m := c.next(); m.Type != "pong" {
		t.Error(m)
	}
	if a := w.post("agent", "{__typename}", nil); a.status != 500 || a.code() != "INTERNAL" || strings.Contains(a.body, "away") {
		t.Error(a.status, a.body)
	}
	d := w.dial()
	d.send(`{"type":"connection_init","payload":{"token":"agent"}}`)
	d.wantClose(1011)
	broken.Store(false)
	if a := w.post("stranger", "{__typename}", nil); a.status != 401 {
		t.Error(a.status)
	}
}

// A client that does not read is cut with what it has, others go on, and memory stays bounded.
func TestSocketSlowReader(t *testing.T) {
	w := newWorld(t, func(c *transport.Config) { c.Limits.QueueBytes = 64 << 10 })
	slow, fast := w.open("agent"), w.open("mate")
	slow.subscribe("a", everything, nil)
	fast.subscribe("a", everything, nil)
	fast.event()
	slow.event()
	big := strings.Repeat("x", 8<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 3000 // 24 MB: more than sockets of the system hold
	for i := range n {
		e := livetest.Text(i)
		e.Changed = []string{big}
		w.Add(e)
		if got, _, _, _ := fast.event(); len(got) != 1 {
			t.Fatal(got)
		}
	}
	eventually(t, "the cut", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.closed) == 1
	})
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("%d MiB are kept", grown>>20)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed[0] != 1013 {
		t.Error("closed with", w.closed)
	}
}

func TestSocketDrain(t *testing.T) {
	w := newWorld(t, nil)
	c := w.open("agent")
	c.subscribe("a", everything, nil)
	c.event()
	close(w.drain)
	c.wantClose(1012)
}

// A long way behind, a reader is told at its own pace: its queue never overflows.
func TestSocketCatchesUpAtItsPace(t *testing.T) {
	w := newWorld(t, func(c *transport.Config) { c.Limits.QueueBytes = 16 << 10 })
	for i := range 5000 {
		e := livetest.Text(i)
		e.Changed = []string{fmt.Sprint("n", i, strings.Repeat("x", 500))}
		w.Add(e)
	}
	c := w.open("agent")
	c.subscribe("a", everything, map[string]any{"a": w.Cursor(0).String()})
	n := 0
	for n < 5000 {
		got, _, _, _ := c.event()
		if n%500 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		for _, s := range got {
			if !strings.HasPrefix(s, fmt.Sprint("n", n, "x")) {
				t.Fatalf("%.20s at %d", s, n)
			}
			n++
		}
	}
}
