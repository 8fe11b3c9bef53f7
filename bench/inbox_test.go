package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"tributary/desk/desktest"
	"tributary/graph"
	"tributary/graph/exec"
	"tributary/graph/live"
	"tributary/graph/live/livetest"
	"tributary/graph/transport"
	"tributary/internal/auth"
	"tributary/internal/crypt"
	"tributary/internal/viewer"
)

const (
	inboxAgents  = 20
	inboxEach    = 100 // conversations of one agent
	inboxWords   = 8   // messages of one conversation
	inboxRows    = 50  // of an inbox
	inboxClients = 8
)

// inboxDoc is an agent's inbox: his newest conversations with customer, owner and the last five messages of each.
const inboxDoc = `query($n:Int!,$me:[ID!]){conversations(first:$n,filter:{ownerIds:$me}){pageInfo{hasNextPage endCursor} nodes{id number state subject updatedAt
 customer{id displayName} owner{id displayName}
 timeline(first:5){nodes{id at ... on MessageItem{message{id number direction text delivery createdAt author{__typename displayName}}}}}}}}`

// BenchmarkInbox asks for the inbox of an agent drawn by turns (50 conversations with customer, owner and the last five
// messages) over HTTP, GraphQL and the agent's own reach, eight clients, against the same rows by two prepared queries:
// on PostgreSQL those are sent by pgbench with eight clients, on SQLite through the same connection in this process.
// statements counts those of one inbox, the door's included; KB is the answer's length; cpu is the processor time of this
// process, asking clients included, and of its PostgreSQL sessions, against the row queries through the same pool.
func BenchmarkInbox(b *testing.B) {
	dialects(b, func(b *testing.B, dialect string) {
		url := address(b, dialect)
		if dialect == "postgres" {
			pgbench(b) // skips before the work is done
		}
		var statements atomic.Int64
		w := world(b, url, func(string) { statements.Add(1) })
		h := fillHall(b, w)
		door := newDoor(b, w)
		askers := make([]*asker, inboxAgents)
		for n, a := range h.agents {
			askers[n] = door.asker(b, a)
			size := askers[n].check(b)
			b.ReportMetric(float64(size)/1024, "KB")
		}
		before := statements.Load()
		askers[0].check(b)
		b.ReportMetric(float64(statements.Load()-before), "statements")
		var turn atomic.Int64
		product := func(d time.Duration) float64 {
			return crowd(b, inboxClients, d, func(ctx context.Context, _ int) error {
				_, err := askers[turn.Add(1)%inboxAgents].ask(ctx)
				return err
			})
		}
		var e expense
		floor := costing(b, w, h.rawFloor(b), &e.floor)
		if dialect == "postgres" {
			floor(time.Second) // for its cost: pgbench's sessions are gone before anybody can look
			floor = h.pgbenchFloor(b, url)
		}
		against(b, 3, 2*time.Second, "inbox/s", costing(b, w, product, &e.product), floor)
		e.report(b, "inbox")
	})
}

// door is the contract over HTTP on this process's desk, joined as main joins it, without limits.
type door struct {
	*httptest.Server
	world  *desktest.World
	tokens *auth.Signer
}

func newDoor(b *testing.B, w *desktest.World) *door {
	streams := live.New(livetest.NewLog().Config()) // an inbox asks for none
	es := exec.NewExecutableSchema(exec.Config{Resolvers: &graph.Resolver{Desk: w.Desk, Live: streams}, Directives: transport.Directives()})
	h := transport.New(es, transport.Config{
		Auth: func(ctx context.Context, token, _ string) (*viewer.Viewer, error) {
			return w.Desk.Authenticate(ctx, token)
		},
		Live: streams,
	})
	d := &door{Server: httptest.NewServer(h), world: w, tokens: auth.NewSigner(crypt.Current().Key("tokens"), w.Clock.Now)}
	d.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = inboxClients
	b.Cleanup(func() {
		d.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(h.Close(ctx), streams.Close(ctx)); err != nil {
			b.Error(err)
		}
	})
	return d
}

// asker is an agent who asks for his own inbox.
type asker struct {
	door  *door
	token string
	body  []byte
}

func (d *door) asker(b *testing.B, a *desktest.Agent) *asker {
	token, _, err := d.tokens.Sign(auth.Claims{Kind: auth.Agent, Workspace: d.world.ID, Session: a.Session}, auth.AccessLife)
	if err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"query": inboxDoc, "variables": map[string]any{"n": inboxRows, "me": []string{a.ID.String()}}})
	if err != nil {
		b.Fatal(err)
	}
	return &asker{door: d, token: "Bearer " + token, body: body}
}

func (a *asker) ask(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.door.URL, bytes.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", a.token)
	res, err := a.door.Client().Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || !bytes.HasPrefix(answer, []byte(`{"data":{"conversations":{"pageInfo":{"hasNextPage":true`))) {
		err = fmt.Errorf("status %d: %.300s", res.StatusCode, answer)
	}
	return answer, err
}

// check looks at the whole of one answer, so that the rest may be believed by its head; it returns the length.
func (a *asker) check(b *testing.B) int {
	b.Helper()
	answer, err := a.ask(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var got struct {
		Errors []any
		Data   struct {
			Conversations struct {
				Nodes []struct {
					Customer, Owner *struct{ DisplayName string }
					Timeline        struct {
						Nodes []struct {
							Message *struct {
								Text   string
								Author *struct{ DisplayName string }
							}
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(answer, &got); err != nil || len(got.Errors) > 0 || len(got.Data.Conversations.Nodes) != inboxRows {
		b.Fatalf("%v: %.500s", err, answer)
	}
	for _, c := range got.Data.Conversations.Nodes {
		if c.Customer == nil || c.Owner == nil || len(c.Timeline.Nodes) != 5 {
			b.Fatalf("a row lacks something: %+v", c)
		}
		for _, i := range c.Timeline.Nodes {
			if i.Message == nil || i.Message.Text == "" || i.Message.Author == nil {
				b.Fatalf("an item lacks something: %+v", i)
			}
		}
	}
	return len(answer)
}

// words is the text of a message.
func words(n int) string {
	return fmt.Sprintf("message %d: the parcel has not come, and nobody at the counter knows where it is", n)
}
