package transport_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"go.uber.org/goleak"

	"tributary/graph/exec"
	"tributary/graph/live"
	"tributary/graph/live/livetest"
	"tributary/graph/transport"
	"tributary/internal/crypt"
	"tributary/internal/viewer"
)

func TestMain(m *testing.M) {
	box, err := crypt.New()
	if err != nil {
		panic(err)
	}
	crypt.Use(box)
	goleak.VerifyTestMain(m)
}

// world is the whole door over a log in memory.
type world struct {
	*livetest.Log
	t       testing.TB
	root    *livetest.Root
	live    *live.Live
	h       *transport.Handler
	srv     *httptest.Server
	drain   chan struct{}
	logged  *lines
	mu      sync.Mutex
	viewers map[string]*viewer.Viewer
	void    map[string]bool
	present map[*viewer.Viewer]int
	closed  []int
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t testing.TB, change func(*transport.Config)) *world {
	t.Helper()
	w := &world{
		Log: livetest.NewLog(), t: t, drain: make(chan struct{}), logged: &lines{},
		viewers: map[string]*viewer.Viewer{}, void: map[string]bool{}, present: map[*viewer.Viewer]int{},
	}
	w.live = live.New(w.Config())
	w.root = &livetest.Root{Live: w.live}
	w.viewers["agent"], w.viewers["mate"], w.viewers["visitor"] = w.Agent(), w.Agent(), w.Visitor()
	w.viewers["weak"] = w.Agent()
	w.viewers["weak"].Scopes = nil
	cfg := transport.Config{
		Auth: w.auth, Recheck: w.recheck, Live: w.live, Draining: w.drain, Connected: w.connected,
		Logger:  slog.New(slog.NewTextHandler(w.logged, nil)),
		Metrics: transport.Metrics{Closed: w.noteClosed},
		Limits:  transport.Limits{Recheck: 20 * time.Millisecond},
	}
	if change != nil {
		change(&cfg)
	}
	w.h = transport.New(exec.NewExecutableSchema(exec.Config{Resolvers: w.root, Directives: transport.Directives()}), cfg)
	w.srv = httptest.NewServer(w.h)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.h.Run(ctx) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.h.Close(ctx); err != nil {
			t.Error("close:", err)
		}
		if err := w.live.Close(ctx); err != nil {
			t.Error("close live:", err)
		}
		w.srv.Close()
		http.DefaultClient.CloseIdleConnections()
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, n := range w.present {
			if n != 0 {
				t.Error("somebody is still present")
			}
		}
	})
	return w
}

var errToken = errors.New("not a token of ours")

func (w *world) auth(_ context.Context, token, _ string) (*viewer.Viewer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if token == "" {
		return nil, nil
	}
	v := w.viewers[token]
	if v == nil || w.void[token] {
		return nil, errToken
	}
	return v, nil
}

func (w *world) recheck(_ context.Context, v *viewer.Viewer) (*viewer.Viewer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, x := range w.viewers {
		if x.Token == v.Token && !w.void[name] {
			return x, nil
		}
	}
	return nil, nil
}

func (w *world) connected(v *viewer.Viewer) func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.present[v]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.present[v]--
	}
}

func (w *world) noteClosed(code int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = append(w.closed, code)
}

type answer struct {
	status int
	header http.Header
	body   string
	Errors []struct {
		Message    string
		Path       []any
		Extensions map[string]any
	}
	Data map[string]any
}

func (a answer) code() string {
	if len(a.Errors) == 0 {
		return ""
	}
	c, _ := a.Errors[0].Extensions["code"].(string)
	return c
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
	_ = json.Unmarshal(b, &a)
	return a
}

// post asks with a token.
func (w *world) post(token, query string, vars map[string]any, header ...string) answer {
	w.t.Helper()
	b, _ := json.Marshal(map[string]any{"query": query, "variables": vars})
	return w.raw(token, string(b), header...)
}

func (w *world) raw(token, body string, header ...string) answer {
	w.t.Helper()
	r, _ := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.srv.URL, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return w.do(r)
}

// client is a raw client of graphql-transport-ws.
type client struct {
	t    testing.TB
	conn net.Conn
}

func (w *world) dial(header ...string) *client {
	w.t.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	d := ws.Dialer{Protocols: []string{"graphql-transport-ws"}, Header: ws.HandshakeHeaderHTTP(h)}
	conn, br, _, err := d.Dial(w.t.Context(), "ws"+strings.TrimPrefix(w.srv.URL, "http"))
	if err != nil {
		w.t.Fatal(err)
	}
	if br != nil {
		w.t.Fatal("bytes before anything was asked")
	}
	w.t.Cleanup(func() { conn.Close() })
	return &client{w.t, conn}
}

// open dials and says who it is.
func (w *world) open(token string) *client {
	w.t.Helper()
	c := w.dial()
	c.send(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + token + `"}}`)
	if m := c.next(); m.Type != "connection_ack" {
		w.t.Fatalf("%+v", m)
	}
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if err := wsutil.WriteClientText(c.conn, []byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) subscribe(id, query string, vars map[string]any) {
	c.t.Helper()
	p, _ := json.Marshal(map[string]any{"query": query, "variables": vars})
	i, _ := json.Marshal(id)
	c.send(`{"id":` + string(i) + `,"type":"subscribe","payload":` + string(p) + `}`)
}

type wsMessage struct {
	ID, Type string
	Payload  json.RawMessage
	close    int
	reason   string
}

// read gives the next frame of any sort; Type "closed" if there is none.
func (c *client) read() wsMessage {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	h, err := ws.ReadHeader(c.conn)
	if err != nil {
		return wsMessage{Type: "closed", close: 1006, reason: err.Error()}
	}
	b := make([]byte, h.Length)
	if _, err := io.ReadFull(c.conn, b); err != nil {
		return wsMessage{Type: "closed", close: 1006, reason: err.Error()}
	}
	switch h.OpCode {
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(b)
		return wsMessage{Type: "closed", close: int(code), reason: reason}
	case ws.OpPing:
		return wsMessage{Type: "frame ping"}
	case ws.OpPong:
		return wsMessage{Type: "frame pong"}
	}
	var m wsMessage
	if err := json.Unmarshal(b, &m); err != nil {
		c.t.Fatal(err)
	}
	return m
}

// next gives the next message that is no ping.
func (c *client) next() wsMessage {
	c.t.Helper()
	for {
		if m := c.read(); !strings.HasSuffix(m.Type, "ping") {
			return m
		}
	}
}

func (c *client) wantClose(code int) {
	c.t.Helper()
	for {
		if m := c.next(); m.Type == "closed" {
			if m.close != code {
				c.t.Errorf("closed with %d %s, not %d", m.close, m.reason, code)
			}
			return
		}
	}
}

// eventually waits for what another goroutine does after its last word.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 2000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Error(what, "did not come")
}
