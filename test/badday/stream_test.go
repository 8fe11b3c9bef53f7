package badday_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/test/rig"
)

// The parallel writers, together 32.
const (
	visitors = 14
	bridges  = 14 // senders on one bridge
	servers  = 4  // agents who take and answer
)

// TestManyWritersOneLog lets 32 write at once, while one reader follows and another one breaks off at random and comes
// back with its cursor. Both hold exactly what the pull twin tells, and no effect stands before its cause.
func TestManyWritersOneLog(t *testing.T) {
	each(t, func(t *testing.T, o rig.Options) {
		n := rig.Start(t, o)
		w := n.NewWorkspace(t)
		rnd := seed(t)
		start := cursor(t, w.Admin)
		live := record(t, w.Admin, start, nil)
		flaky := record(t, w.Admin, start, func() int { return 1 + rnd.IntN(12) })
		c := newCrowd(t, w)
		began := time.Now()
		c.write(t)
		took := time.Since(began)

		// What was acknowledged has to be in the log; a bridge's events go through a job first.
		var twin []event
		rig.Eventually(t, 60*time.Second, "every acknowledged message is in the log", func() bool {
			twin = twin[:0]
			for _, e := range pull(t, w.Admin, start, "") {
				twin = append(twin, asEvent(e))
			}
			return count(twin, "MESSAGE_CREATED") >= int(c.said.Load())
		})
		if got := count(twin, "MESSAGE_CREATED"); got != int(c.said.Load()) {
			t.Errorf("%d messages were acknowledged, the log tells %d", c.said.Load(), got)
		}
		report(t, causes(twin))
		live.sameAs(t, "the live reader", twin)
		flaky.sameAs(t, "the reader who breaks off", twin)
		if flaky.breaks == 0 || count(twin, "OFFER_CLOSED") == 0 || c.replies.Load() == 0 {
			t.Errorf("nothing was tried: %d breaks, %d offers closed, %d replies", flaky.breaks, count(twin, "OFFER_CLOSED"), c.replies.Load())
		}
		figures(t, "%d events, %d messages, %d replies by 32 writers in %s, %d reconnects", len(twin), c.said.Load(), c.replies.Load(), took.Round(time.Millisecond), flaky.breaks)
	})
}

// crowd are the writers.
type crowd struct {
	*rig.Workspace
	bridge  *rig.Bridge
	guests  []*rig.Visitor
	agents  []*rig.Agent
	each    int          // messages of one writer
	said    atomic.Int64 // acknowledged messages, replies included
	replies atomic.Int64
}

func newCrowd(t *testing.T, w *rig.Workspace) *crowd {
	t.Helper()
	provider := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(rw, `{"externalId":%q}`, rig.Unique("out"))
	}))
	t.Cleanup(provider.Close)
	team := w.Team(t)
	queue := w.Queue(t, team, nil)
	c := &crowd{Workspace: w, bridge: w.NewBridge(t, provider.URL, queue, nil), each: 20}
	if long() {
		c.each = 400
	}
	site, profile := w.Site(t, queue), w.Profile(t, units)
	for range visitors {
		c.guests = append(c.guests, w.Node.Visit(t, site, ""))
	}
	for k := range servers {
		a := w.NewAgent(t, fmt.Sprintf("Agent%d", k), "agent", team)
		w.Carry(t, a.ID, profile)
		s, err := a.Subscribe(context.Background(), `subscription{events(filter:{scope:MINE,types:[OFFER_CREATED]}){events{subjectId}}}`, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		go func() {
			for range s.C { // the socket keeps him live; he looks for himself
			}
		}()
		c.agents = append(c.agents, a)
	}
	return c
}

// write runs all writers to their end; the agents go on as long as customers write.
func (c *crowd) write(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var customers, staff sync.WaitGroup
	for k, v := range c.guests {
		customers.Go(func() { c.visit(t, v, k) })
	}
	for k := range bridges {
		customers.Go(func() { c.send(t, k) })
	}
	for _, a := range c.agents {
		staff.Go(func() {
			for c.serve(ctx, t, a) {
			}
		})
	}
	customers.Wait()
	stop()
	staff.Wait()
}

func (c *crowd) visit(t *testing.T, v *rig.Visitor, k int) {
	for n := range c.each {
		o := v.Try(context.Background(), `mutation($t:String!,$k:Key!){visitorMessageSend(input:{text:$t},idempotencyKey:$k){visitorMessage{id} userErrors{code}}}`,
			rig.M{"t": fmt.Sprintf("visitor %d says %d", k, n), "k": rig.Unique("k")})
		if !o.Done() {
			t.Errorf("visitor %d: %s", k, o)
			return
		}
		c.said.Add(1)
	}
}

// send writes by the bridge: one or two messages a request, in two threads of one person.
func (c *crowd) send(t *testing.T, k int) {
	for n := range c.each {
		events := []rig.M{rig.Text(rig.Unique("m"), fmt.Sprintf("t%d-%d", k, n%2), fmt.Sprintf("u%d", k), fmt.Sprintf("message %d", n))}
		if n%3 == 0 {
			events = append(events, rig.Text(rig.Unique("m"), fmt.Sprintf("t%d-0", k), fmt.Sprintf("u%d", k), "and one more"))
		}
		code, body, err := c.bridge.Deliver(context.Background(), events...)
		if err != nil || code != http.StatusOK {
			t.Errorf("sender %d: %d %s %v", k, code, body, err)
			return
		}
		c.said.Add(int64(len(events)))
	}
}

// serve is one turn of an agent: an offer is taken or declined, something that waits is claimed, what he serves gets an
// answer. Refusals are part of the day: colleagues do the same.
func (c *crowd) serve(ctx context.Context, t *testing.T, a *rig.Agent) bool {
	if ctx.Err() != nil {
		return false
	}
	v := a.Must(t, `{offers{id interaction{id}} interactions(filter:{states:[QUEUED,OFFERED]},first:3){nodes{id}}}`, nil)
	for n, o := range v.At("offers").List() {
		if n%4 == 3 {
			a.Try(ctx, `mutation($id:ID!){offerDecline(id:$id,reason:"busy"){offer{id} userErrors{code}}}`, rig.M{"id": o.At("id").String()})
		} else if a.Try(ctx, acceptDoc, rig.M{"id": o.At("id").String()}).Done() {
			c.reply(ctx, t, a, o.At("interaction", "id").String())
		}
	}
	for _, i := range v.At("interactions", "nodes").List() {
		if id := i.At("id").String(); a.Try(ctx, claimDoc, rig.M{"id": id}).Done() {
			c.reply(ctx, t, a, id)
		}
	}
	return true
}

func (c *crowd) reply(ctx context.Context, t *testing.T, a *rig.Agent, interaction string) {
	// Not ctx: a reply that was sent but whose answer is not read would be counted by nobody.
	o := a.Try(context.WithoutCancel(ctx), `mutation($i:ID!,$k:Key!){messageSend(interactionId:$i,input:{text:"how can I help?"},idempotencyKey:$k){message{id} userErrors{code}}}`,
		rig.M{"i": interaction, "k": rig.Unique("k")})
	if o.Done() {
		c.said.Add(1)
		c.replies.Add(1)
	} else if o.Refused.Code == "" {
		t.Errorf("a reply: %s", o)
	}
}
