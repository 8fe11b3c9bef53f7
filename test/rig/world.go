package rig

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

var serial atomic.Int64

// Unique makes a name that no other call makes.
func Unique(name string) string {
	return fmt.Sprintf("%s-%d-%d", name, time.Now().UnixNano(), serial.Add(1))
}

// Workspace is a new workspace with its admin.
type Workspace struct {
	Node  *Node
	ID    string
	Admin *Client
	Roles map[string]string
}

// NewWorkspace makes one by the operator's token.
func (n *Node) NewWorkspace(t testing.TB) *Workspace {
	t.Helper()
	op := &Client{URL: n.URL, Token: n.OperatorToken()}
	mail := Unique("admin") + "@example.com"
	made := op.Must(t, `mutation($m:String!){workspaceCreate(input:{name:"Test",adminName:"Admin",adminEmail:$m}){workspace{id} secret userErrors{code message}}}`, M{"m": mail})
	w := &Workspace{Node: n, ID: made.At("workspaceCreate", "workspace", "id").String(), Roles: map[string]string{}}
	w.Admin = n.Accept(t, made.At("workspaceCreate", "secret").String())
	for _, r := range w.Admin.Must(t, `{roles(first:20){nodes{id name}}}`, nil).At("roles", "nodes").List() {
		w.Roles[r.At("name").String()] = r.At("id").String()
	}
	return w
}

// Accept takes an invitation and logs in.
func (n *Node) Accept(t testing.TB, secret string) *Client {
	t.Helper()
	c := &Client{URL: n.URL}
	v := c.Must(t, `mutation($s:String!){invitationAccept(secret:$s,password:"correct horse battery",client:"test"){tokens{accessToken refreshToken} userErrors{code message}}}`, M{"s": secret})
	c.Token = v.At("invitationAccept", "tokens", "accessToken").String()
	return c
}

// Agent is an agent with a session.
type Agent struct {
	*Client
	ID   string
	Name string
}

// NewAgent makes an agent of a built-in role, invites him, logs him in and sets him AVAILABLE.
func (w *Workspace) NewAgent(t testing.TB, name, role string, teams ...string) *Agent {
	t.Helper()
	made := w.Admin.Must(t, `mutation($i:AgentCreateInput!){agentCreate(input:$i){agent{id} userErrors{code message}}}`,
		M{"i": M{"displayName": name, "email": Unique(name) + "@example.com", "roleId": w.Roles[role], "teamIds": append([]string{}, teams...)}})
	id := made.At("agentCreate", "agent", "id").String()
	inv := w.Admin.Must(t, `mutation($id:ID!){agentInvite(id:$id){secret userErrors{code message}}}`, M{"id": id})
	a := &Agent{Client: w.Node.Accept(t, inv.At("agentInvite", "secret").String()), ID: id, Name: name}
	a.SetStatus(t, "AVAILABLE")
	return a
}

// SetStatus sets the agent's own status.
func (a *Agent) SetStatus(t testing.TB, state string) {
	t.Helper()
	a.Must(t, `mutation($s:AgentState!){agentStatusSet(input:{state:$s}){userErrors{code message}}}`, M{"s": state})
}

// Site makes a web chat and returns its public key.
func (w *Workspace) Site(t testing.TB, queue string) string {
	t.Helper()
	in := M{"kind": "webchat", "name": Unique("site"), "config": M{}}
	if queue != "" {
		in["queueId"] = queue
	}
	v := w.Admin.Must(t, `mutation($i:ChannelCreateInput!){channelCreate(input:$i){channel{id address} userErrors{code message field}}}`, M{"i": in})
	return v.At("channelCreate", "channel", "address").String()
}

// Visitor is a visitor of a site.
type Visitor struct {
	*Client
	Secret string // the browser's
	Cursor string
}

// Visit begins a visit; secret continues an earlier one.
func (n *Node) Visit(t testing.TB, site, secret string) *Visitor {
	t.Helper()
	c := &Client{URL: n.URL}
	vars := M{"s": site}
	if secret != "" {
		vars["v"] = secret
	}
	v := c.Must(t, `mutation($s:Key!,$v:String){visitorSessionStart(input:{siteKey:$s,visitorToken:$v}){token visitorToken eventCursor userErrors{code message}}}`, vars).At("visitorSessionStart")
	c.Token = v.At("token").String()
	return &Visitor{Client: c, Secret: v.At("visitorToken").String(), Cursor: v.At("eventCursor").String()}
}

// Say writes a message and returns its id.
func (v *Visitor) Say(t testing.TB, text string) string {
	t.Helper()
	d := v.Must(t, `mutation($t:String!,$k:Key!){visitorMessageSend(input:{text:$t},idempotencyKey:$k){visitorMessage{id} userErrors{code message}}}`, M{"t": text, "k": Unique("say")})
	return d.At("visitorMessageSend", "visitorMessage", "id").String()
}

// Bridge is a custom channel.
type Bridge struct {
	ID, Secret, Hook string
}

// NewBridge makes a custom channel that sends to callback (empty: it only takes in). Settings are merged into its
// configuration.
func (w *Workspace) NewBridge(t testing.TB, callback, queue string, settings M) *Bridge {
	t.Helper()
	cfg := M{}
	if callback != "" {
		cfg["callbackUrl"] = callback
	}
	for k, v := range settings {
		cfg[k] = v
	}
	b := &Bridge{Secret: Unique("secret-of-at-least-thirty-two-bytes")}
	in := M{"kind": "custom", "name": Unique("bridge"), "config": cfg, "secrets": []M{{"name": "signingSecret", "value": b.Secret}}}
	if queue != "" {
		in["queueId"] = queue
	}
	v := w.Admin.Must(t, `mutation($i:ChannelCreateInput!){channelCreate(input:$i){channel{id webhookUrl} userErrors{code message field}}}`, M{"i": in}).At("channelCreate", "channel")
	b.ID, b.Hook = v.At("id").String(), v.At("webhookUrl").String()
	return b
}

// Sign is the custom protocol's signature over a body.
func Sign(secret string, at time.Time, body []byte) string {
	stamp := fmt.Sprint(at.Unix())
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(stamp + "."))
	h.Write(body)
	return "t=" + stamp + ",v1=" + hex.EncodeToString(h.Sum(nil))
}

// Deliver posts events to the hook; it returns the status and the body.
func (b *Bridge) Deliver(ctx context.Context, events ...M) (int, string, error) {
	var body any = M{"events": events}
	if len(events) == 1 {
		body = events[0]
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	return b.Post(ctx, raw)
}

// Post posts a raw body with a right signature.
func (b *Bridge) Post(ctx context.Context, raw []byte) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.Hook, bytes.NewReader(raw))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Tributary-Signature", Sign(b.Secret, time.Now(), raw))
	res, err := shared.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// Text is a message event of the custom protocol.
func Text(id, thread, from, text string) M {
	return M{"id": id, "kind": "message", "at": time.Now().UTC().Format(time.RFC3339), "thread": thread, "from": M{"id": from, "name": from}, "parts": []M{{"type": "text", "text": text}}}
}

// Eventually polls until f is true; a deadline over a process boundary, never a sleep that guesses.
func Eventually(t testing.TB, patience time.Duration, what string, f func() bool) {
	t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("not within %s: %s", patience, what)
}
