package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// clerk is a simulated agent. He hears of his work by his stream, as every agent's front end does.
type clerk struct {
	c     *crowd
	login login
	me    string
	api   *client
	known map[string]meaning
	keys  keys
	work  sync.WaitGroup

	mu    sync.Mutex
	r     *rand.Rand
	tasks map[string]chan string // by interaction: what its customer says
	asked map[string]bool        // offers that were weighed
}

// clerkOf names the simulated agent with a number.
func clerkOf(t *tongue, n int) login {
	return login{name: t.clerks[n/len(tongues)%len(t.clerks)], email: fmt.Sprintf("agent%d@demo.example", n+1), tongue: t}
}

func newClerk(c *crowd, n int, l login) *clerk {
	b := c.shop.book
	return &clerk{
		c: c, login: l, known: l.tongue.meanings(), tasks: map[string]chan string{}, asked: map[string]bool{},
		r:    rand.New(rand.NewPCG(b.Seed, b.Starts<<32|1<<31|uint64(n))),
		keys: keys{prefix: fmt.Sprintf("%s/%d/agent/%d", b.Nonce, b.Starts, n)},
	}
}

const clerkStream = `subscription($after: EventCursor) { frame: events(after: $after, filter: { scope: MINE, types: [OFFER_CREATED, MESSAGE_CREATED] }) {
	cursor resetReason events { type subject { ... on Offer { id state agent { id } interaction { id } } ... on Message { direction text interaction { id } } } } } }`

// clerkEvent is an offer or a message: the members of both.
type clerkEvent struct {
	Type    string
	Subject *struct {
		ID, State, Direction, Text string
		Agent, Interaction         *struct{ ID string }
	}
}

// run works until ctx ends; whatever goes wrong, he logs in anew.
func (k *clerk) run(ctx context.Context) {
	defer k.work.Wait()
	for ctx.Err() == nil {
		if err := k.shift(ctx); err != nil && ctx.Err() == nil {
			k.c.cfg.Log.WarnContext(ctx, "demo: agent", "agent", k.login.email, "error", err)
		}
		if sleep(ctx, 5*time.Second) != nil {
			return
		}
	}
}

// shift is one login: what he has already, then what comes.
func (k *clerk) shift(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var err error
	if k.api, err = k.c.shop.door.login(ctx, k.login.email, k.login.password); err != nil {
		return err
	}
	var out struct {
		EventCursor string
		Viewer      struct{ Agent struct{ ID string } }
		Offers      []struct{ ID string }
	}
	if err := k.api.ask(ctx, `{ eventCursor viewer { agent { id } } offers { id } }`, nil, &out); err != nil {
		return err
	}
	k.me = out.Viewer.Agent.ID
	if err := k.status(ctx, "AVAILABLE"); err != nil {
		return err
	}
	for _, o := range out.Offers {
		k.weigh(ctx, o.ID)
	}
	if err := k.resume(ctx); err != nil {
		return err
	}
	k.work.Go(func() { k.breaks(ctx) })
	return follow(ctx, k.api, clerkStream, out.EventCursor, func(e clerkEvent) { k.take(ctx, e) })
}

// resume goes on with what he served when the demo ended.
func (k *clerk) resume(ctx context.Context) error {
	var out struct {
		Interactions struct{ Nodes []struct{ ID string } }
	}
	err := k.api.ask(ctx, `query($me: ID!) { interactions(first: 20, filter: { agentIds: [$me], states: [ACTIVE] }) { nodes { id } } }`, vars{"me": k.me}, &out)
	for _, i := range out.Interactions.Nodes {
		k.begin(ctx, i.ID)
	}
	return err
}

func (k *clerk) take(ctx context.Context, e clerkEvent) {
	s := e.Subject
	switch {
	case s == nil || s.Interaction == nil:
	case e.Type == "OFFER_CREATED" && s.State == "PENDING" && s.Agent != nil && s.Agent.ID == k.me:
		k.weigh(ctx, s.ID)
	case e.Type == "MESSAGE_CREATED" && s.Direction == "INBOUND":
		k.mu.Lock()
		defer k.mu.Unlock()
		select {
		case k.tasks[s.Interaction.ID] <- s.Text: // nil: not, or no longer, his
		default:
		}
	}
}

// dice is a number below n.
func (k *clerk) dice(n int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.r.IntN(n)
}

func (k *clerk) pick(texts []string) string { return texts[k.dice(len(texts))] }

func (k *clerk) pause(ctx context.Context, from, to int) error {
	k.mu.Lock()
	d := human(k.r, k.c.cfg.Pace, from, to)
	k.mu.Unlock()
	return sleep(ctx, d)
}

func (k *clerk) key() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys.next()
}

// weigh looks at an offer: mostly he takes it, now and then he declines, or does not look at all.
func (k *clerk) weigh(ctx context.Context, offer string) {
	k.mu.Lock()
	seen := k.asked[offer]
	if len(k.asked) > 1000 {
		clear(k.asked)
	}
	k.asked[offer] = true
	k.mu.Unlock()
	if seen {
		return
	}
	k.work.Go(func() {
		what := k.dice(100)
		if what < 3 || k.pause(ctx, 1, 4) != nil {
			return
		}
		if what < 8 {
			k.tried(ctx, k.api.do(ctx, `mutation($id: ID!, $r: String!, $k: Key!) { made: offerDecline(id: $id, reason: $r, idempotencyKey: $k) { userErrors { code message retryable } } }`,
				vars{"id": offer, "r": k.login.tongue.busy, "k": k.key()}, nil))
			return
		}
		var out struct {
			Made struct {
				Offer struct{ Interaction struct{ ID string } }
			}
		}
		err := k.api.do(ctx, `mutation($id: ID!, $k: Key!) { made: offerAccept(id: $id, idempotencyKey: $k) { offer { interaction { id } } userErrors { code message retryable } } }`,
			vars{"id": offer, "k": k.key()}, &out)
		k.tried(ctx, err)
		if err == nil {
			k.begin(ctx, out.Made.Offer.Interaction.ID)
		}
	})
}

// tried notes what went wrong; that the customer was faster is no fault.
func (k *clerk) tried(ctx context.Context, err error) {
	if !quiet(err) {
		k.c.cfg.Log.DebugContext(ctx, "demo: agent", "agent", k.login.email, "error", err)
	}
}

func (k *clerk) status(ctx context.Context, state string) error {
	return k.api.do(ctx, `mutation($s: AgentState!, $k: Key!) { made: agentStatusSet(input: { state: $s }, idempotencyKey: $k) { userErrors { code message retryable } } }`,
		vars{"s": state, "k": k.key()}, nil)
}

// breaks takes a break from time to time, and comes back from those that misses brought him.
func (k *clerk) breaks(ctx context.Context) {
	for {
		if k.pause(ctx, 200, 500) != nil {
			return
		}
		k.tried(ctx, k.status(ctx, "BREAK"))
		if k.pause(ctx, 20, 50) != nil {
			return
		}
		k.tried(ctx, k.status(ctx, "AVAILABLE"))
	}
}
