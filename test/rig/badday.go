package rig

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// Refusal is the first user error of an answer.
type Refusal struct{ Code, Conflict string }

// Outcome is what came of one mutation that may be refused.
type Outcome struct {
	Value   Value   // the mutation's payload
	Refused Refusal // empty: it is done
	Coded   string  // the code of a top-level error
	Err     error   // no GraphQL answer came
}

// Done reports whether the mutation had its effect.
func (o Outcome) Done() bool {
	return o.Err == nil && o.Coded == "" && o.Refused.Code == "" && !o.Value.Nil()
}

// String is for messages of tests.
func (o Outcome) String() string {
	return fmt.Sprintf("done=%t refused=%+v coded=%q err=%v", o.Done(), o.Refused, o.Coded, o.Err)
}

// Try posts a document with one mutation and tells what came of it, whatever it was.
func (c *Client) Try(ctx context.Context, query string, vars M) Outcome {
	v, err := c.Do(ctx, query, vars)
	if err != nil {
		return Outcome{Err: err}
	}
	o := Outcome{Coded: v.At("errors", 0, "extensions", "code").String()}
	if o.Coded == "" && len(v.At("errors").List()) > 0 {
		o.Coded = "(without a code)"
	}
	data, _ := v.At("data").V.(map[string]any)
	for name := range data {
		o.Value = v.At("data", name)
		e := o.Value.At("userErrors", 0)
		o.Refused = Refusal{e.At("code").String(), e.At("conflict", "id").String()}
	}
	return o
}

// Profile makes a capacity profile of so many units and returns its id.
func (w *Workspace) Profile(t testing.TB, units int) string {
	t.Helper()
	v := w.Admin.Must(t, `mutation($i:CapacityProfileCreateInput!){capacityProfileCreate(input:$i){capacityProfile{id} userErrors{code message}}}`,
		M{"i": M{"name": Unique("profile"), "units": units, "rules": []M{}}})
	return v.At("capacityProfileCreate", "capacityProfile", "id").String()
}

// Team makes a team and returns its id.
func (w *Workspace) Team(t testing.TB) string {
	t.Helper()
	v := w.Admin.Must(t, `mutation($n:String!){teamCreate(input:{name:$n}){team{id} userErrors{code message}}}`, M{"n": Unique("team")})
	return v.At("teamCreate", "team", "id").String()
}

// Queue makes a queue of a team (empty: everyone's), with other settings in more, and returns its id.
func (w *Workspace) Queue(t testing.TB, team string, more M) string {
	t.Helper()
	in := M{"name": Unique("queue")}
	if team != "" {
		in["teamId"] = team
	}
	for k, v := range more {
		in[k] = v
	}
	v := w.Admin.Must(t, `mutation($i:QueueCreateInput!){queueCreate(input:$i){queue{id} userErrors{code message field}}}`, M{"i": in})
	return v.At("queueCreate", "queue", "id").String()
}

// Carry gives an agent another capacity profile.
func (w *Workspace) Carry(t testing.TB, agent, profile string) {
	t.Helper()
	w.Admin.Must(t, `mutation($id:ID!,$p:ID!){agentUpdate(id:$id,input:{capacityProfileId:$p}){agent{id} userErrors{code message}}}`, M{"id": agent, "p": profile})
}

// Used is how many units an agent carries in all.
func (w *Workspace) Used(t testing.TB, agent string) int {
	t.Helper()
	for _, c := range w.Admin.Must(t, `query($id:ID!){agent(id:$id){capacity{channelKind used}}}`, M{"id": agent}).At("agent", "capacity").List() {
		if c.At("channelKind").Nil() {
			return c.At("used").Int()
		}
	}
	t.Fatalf("agent %s shows no total", agent)
	return 0
}

// Memory is what of the process is in memory now, in bytes; 0 if it is gone.
func (n *Node) Memory() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Pid()))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64) // the kernel writes numbers
			return kib << 10
		}
	}
	return 0
}

// Growth looks at the process's memory all the while f runs and returns by how much the highest look was above the one
// before f.
func (n *Node) Growth(f func()) int64 {
	before := n.Memory()
	most, stop, done := before, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				most = max(most, n.Memory())
			}
		}
	}()
	func() {
		defer close(stop) // also when f ends the test
		f()
	}()
	<-done
	return most - before
}

// CloseCode is the code with which the server closed a socket, 0 if it said none.
func CloseCode(err error) int {
	if c, ok := errors.AsType[wsutil.ClosedError](err); ok {
		return int(c.Code)
	}
	return 0
}

// LastWord reads a raw socket to its end, at most so long, and returns how many bytes of messages came and the code of
// the close frame, 0 if the connection ended without one.
func LastWord(conn net.Conn, patience time.Duration) (bytes int64, code int, err error) {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	for {
		h, err := ws.ReadHeader(r)
		if err != nil {
			return bytes, 0, err
		}
		if h.OpCode != ws.OpClose {
			n, err := io.CopyN(io.Discard, r, h.Length)
			bytes += n
			if err != nil {
				return bytes, 0, err
			}
			continue
		}
		body := make([]byte, h.Length)
		if _, err := io.ReadFull(r, body); err != nil || len(body) < 2 {
			return bytes, 0, err
		}
		return bytes, int(binary.BigEndian.Uint16(body)), nil
	}
}

// RawSocket opens a socket, subscribes, and gives the bare connection to the caller. window is how much the client's
// system takes in without being asked, in bytes; 0: as usual.
func (c *Client) RawSocket(ctx context.Context, window int, query string) (net.Conn, error) {
	d := ws.Dialer{Protocols: []string{"graphql-transport-ws"}, Timeout: 10 * time.Second, NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if t, ok := conn.(*net.TCPConn); ok && window > 0 {
			err = errors.Join(err, t.SetReadBuffer(window))
		}
		return conn, err
	}}
	conn, early, _, err := d.Dial(ctx, "ws"+strings.TrimPrefix(c.URL, "http")+"/graphql")
	if err != nil {
		return nil, err
	}
	if early != nil { // it speaks only when spoken to
		_ = conn.Close()
		return nil, errors.New("the server spoke before the client")
	}
	for _, m := range []M{
		{"type": "connection_init", "payload": M{"Authorization": "Bearer " + c.Token}},
		{"id": "1", "type": "subscribe", "payload": M{"query": query}},
	} {
		b, err := json.Marshal(m)
		if err == nil {
			err = wsutil.WriteClientText(conn, b)
		}
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
	}
	return conn, nil
}

// HalfRequest is a POST of which the server has the head and waits for the rest.
type HalfRequest struct {
	conn net.Conn
	r    *bufio.Reader
	rest []byte
}

// Half begins to deliver a body: it returns when the server has said that it reads (100 Continue), so that a test knows
// the request to be under way without guessing.
func (b *Bridge) Half(ctx context.Context, body []byte) (*HalfRequest, error) {
	host, path, ok := strings.Cut(strings.TrimPrefix(b.Hook, "http://"), "/")
	if !ok {
		return nil, fmt.Errorf("the hook %q has no path", b.Hook)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	h := &HalfRequest{conn: conn, r: bufio.NewReader(conn), rest: body}
	_, err = fmt.Fprintf(conn, "POST /%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nTributary-Signature: %s\r\nExpect: 100-continue\r\n\r\n",
		path, host, len(body), Sign(b.Secret, time.Now(), body))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := h.r.ReadString('\n')
	if err != nil || !strings.Contains(line, " 100 ") {
		return nil, fmt.Errorf("the server did not ask for the body: %q %w", line, err)
	}
	_, err = h.r.ReadString('\n') // the empty line behind it
	return h, err
}

// Finish sends the rest and returns the status line.
func (h *HalfRequest) Finish() (string, error) {
	defer h.conn.Close()
	if _, err := h.conn.Write(h.rest); err != nil {
		return "", err
	}
	_ = h.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	line, err := h.r.ReadString('\n')
	return strings.TrimSpace(line), err
}

// Exit is how a command ended.
type Exit struct {
	Code     int // -1: it had to be killed
	Out, Err string
	Took     time.Duration
}

// Run runs the program with these arguments to its end, at most so long.
func Run(t testing.TB, patience time.Duration, env []string, args ...string) Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, Binary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	e := Exit{Code: cmd.ProcessState.ExitCode(), Out: out.String(), Err: errs.String(), Took: time.Since(began)}
	if ctx.Err() != nil {
		e.Code = -1
	} else if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return e
}
