package transport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tributary/graph/live/livetest"
	"tributary/graph/transport"
)

type netDialer struct{ d net.Dialer }

func (n *netDialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	return n.d.DialContext(ctx, "tcp", addr)
}

// events opens an event stream; next gives its lines that are not empty, "" at the end.
func (w *world) events(token, query string) (next func() string, cut func()) {
	w.t.Helper()
	b, _ := json.Marshal(map[string]any{"query": query})
	ctx, cancel := context.WithCancel(w.t.Context())
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, w.srv.URL, strings.NewReader(string(b)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r) //nolint:bodyclose // by cut
	if err != nil {
		w.t.Fatal(err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream; charset=utf-8" {
		w.t.Fatal(resp.StatusCode, ct)
	}
	in := bufio.NewReader(resp.Body)
	return func() string {
			for {
				s, err := in.ReadString('\n')
				if err != nil {
					return ""
				}
				if s = strings.TrimSpace(s); s != "" {
					return s
				}
			}
		}, func() {
			cancel()
			resp.Body.Close()
		}
}

func TestEventStream(t *testing.T) {
	w := newWorld(t, func(c *transport.Config) { c.Limits.StreamComments = 50 * time.Millisecond })
	next, cut := w.events("agent", everything)
	defer cut()
	data := func() string {
		for {
			s := next()
			if d, ok := strings.CutPrefix(s, "data: "); ok || s == "" {
				return d
			}
		}
	}
	if _, _, caughtUp, _ := decode(t, []byte(data())); !caughtUp {
		t.Error("not caught up")
	}
	// Socket and stream of one class share an execution.
	c := w.open("mate")
	c.subscribe("a", everything, nil)
	c.event()
	before := w.live.Runs.Load()
	w.Add(livetest.Text(1))
	if got, _, _, _ := decode(t, []byte(data())); len(got) != 1 {
		t.Error(got)
	}
	c.event()
	if n := w.live.Runs.Load() - before; n != 1 {
		t.Error(n)
	}
	if s := next(); s != ":" {
		t.Error("no comment:", s)
	}
	w.mu.Lock()
	if w.present[w.viewers["agent"]] != 1 {
		t.Error("not present")
	}
	w.void["agent"] = true
	w.mu.Unlock()
	for s := next(); s != ""; s = next() {
		if s != ":" {
			t.Error("a void token:", s)
		}
	}
}

func TestEventStreamOfAnAnswer(t *testing.T) {
	w := newWorld(t, nil)
	next, cut := w.events("agent", "{viewer{kind}}")
	defer cut()
	var got []string
	for s := next(); s != ""; s = next() {
		got = append(got, s)
	}
	if s := strings.Join(got, "|"); s != `:|event: next|data: {"data":{"viewer":{"kind":"AGENT"}}}|event: complete|data:` {
		t.Error(s)
	}
	next, cut = w.events("agent", "subscription{visitorEvents{cursor}}")
	defer cut()
	got = nil
	for s := next(); s != ""; s = next() {
		got = append(got, s)
	}
	if s := strings.Join(got, "|"); !strings.Contains(s, "FORBIDDEN") || !strings.HasSuffix(s, "event: complete|data:") {
		t.Error(s)
	}
	if a := w.post("agent", "{nothing}", nil, "Accept", "text/event-stream"); a.status != 400 || a.code() != "BAD_REQUEST" {
		t.Error(a.status, a.body)
	}
}

func TestEventStreamsAreCounted(t *testing.T) {
	w := newWorld(t, func(c *transport.Config) { c.Limits.Sockets = 1 })
	next, cut := w.events("agent", everything)
	next()
	if a := w.post("agent", everything, nil, "Accept", "text/event-stream"); a.status != 429 {
		t.Error(a.status)
	}
	cut()
	eventually(t, "release", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.present[w.viewers["agent"]] == 0 })
}

func TestEventStreamDrains(t *testing.T) {
	w := newWorld(t, nil)
	next, cut := w.events("agent", everything)
	defer cut()
	next()
	close(w.drain)
	for s := next(); s != ""; s = next() {
		if strings.Contains(s, "complete") {
			t.Error("a break must not look like an end")
		}
	}
}
