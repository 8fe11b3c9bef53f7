package desktest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"tributary/channels"
	"tributary/desk"
	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/event"
	"tributary/ent/interaction"
	"tributary/ent/job"
	"tributary/ent/message"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/relay"
	"tributary/internal/viewer"
	"tributary/router"
)

// Bridge is a custom channel: contacts of an asynchronous kind.
type Bridge struct {
	*ent.Channel
	world  *World
	secret string
	hook   string
}

// Bridge makes a custom channel; change may set what the input lacks.
func (w *World) Bridge(change func(*desk.ChannelCreateInput)) *Bridge {
	w.T.Helper()
	b := &Bridge{world: w, secret: w.Unique("a signing secret of more than thirty-two bytes")}
	in := desk.ChannelCreateInput{Kind: "custom", Secrets: []desk.SecretInput{{Name: "signingSecret", Value: b.secret}}}
	if change != nil {
		change(&in)
	}
	b.Channel = w.Channel(in)
	u, err := w.Desk.WebhookURL(b.Channel)
	w.ok(err)
	b.hook = u[strings.LastIndex(u, "/")+1:]
	return b
}

// Secrets are what must stand nowhere in the clear.
func (b *Bridge) Secrets() []string { return []string{b.secret, b.hook} }

// M is an object of JSON.
type M = map[string]any

// Deliver posts events as the bridge does, signed.
func (b *Bridge) Deliver(events ...M) error {
	body, err := json.Marshal(M{"events": events})
	if err != nil {
		return err
	}
	now := b.world.Clock.Now()
	stamp := fmt.Sprint(now.Unix())
	mac := hmac.New(sha256.New, []byte(b.secret))
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	r := &channels.Request{Method: http.MethodPost, Header: http.Header{}, Query: url.Values{}, Body: body}
	r.Header.Set("Tributary-Signature", "t="+stamp+",v1="+hex.EncodeToString(mac.Sum(nil)))
	_, _, err = b.world.Desk.Receive(b.world.base, "custom", b.ID, b.hook, r)
	return err
}

// Text is a message event.
func (b *Bridge) Text(id, thread, from, text string) M {
	return M{
		"id": id, "kind": "message", "at": b.world.Clock.Now().Format(time.RFC3339), "thread": thread, "from": M{"id": from, "name": from},
		"parts": []M{{"type": "text", "text": text}},
	}
}

// Say delivers a message, runs the work and returns the message's interaction.
func (b *Bridge) Say(thread, from, text string) *ent.Interaction {
	b.world.T.Helper()
	id := b.world.Unique("event")
	b.world.ok(b.Deliver(b.Text(id, thread, from, text)))
	b.world.Work()
	m, err := b.world.Store.Ent.Message.Query().Where(message.ChannelID(b.ID), message.ExternalID(id)).WithInteraction().Only(b.world.Sys)
	b.world.ok(err)
	return m.Edges.Interaction
}

// Visitor is a visitor of a web chat.
type Visitor struct {
	context.Context
	Token, Secret string
	world         *World
}

// Visit begins a visit of a site; change may set what the input lacks.
func (w *World) Visit(site *ent.Channel, change func(*desk.VisitorSessionInput)) (*Visitor, error) {
	w.T.Helper()
	in := desk.VisitorSessionInput{SiteKey: site.PublicKey}
	if change != nil {
		change(&in)
	}
	got, err := w.Desk.StartVisit(w.base, in, "192.0.2.1", "https://shop.example")
	if err != nil {
		return nil, err
	}
	v, err := w.Desk.Authenticate(w.base, got.Token)
	if err != nil {
		return nil, err
	}
	return &Visitor{Context: viewer.With(w.base, v), Token: got.Token, Secret: got.VisitorToken, world: w}, nil
}

// Visitor begins a visit that must succeed.
func (w *World) Visitor(site *ent.Channel) *Visitor {
	w.T.Helper()
	v, err := w.Visit(site, nil)
	w.ok(err)
	return v
}

// Viewer is who the visitor is.
func (v *Visitor) Viewer() *viewer.Viewer { return viewer.From(v.Context) }

// Say writes a message and returns its interaction.
func (v *Visitor) Say(text string) *ent.Interaction {
	v.world.T.Helper()
	id, err := v.world.Desk.VisitorSays(v, desk.VisitorMessageInput{Text: &text}, nil)
	v.world.ok(err)
	m, err := v.world.Store.Ent.Message.Query().Where(message.ID(id)).WithInteraction().Only(v.world.Sys)
	v.world.ok(err)
	return m.Edges.Interaction
}

// Connect opens a socket of a viewer and waits until the rows know it.
func (w *World) Connect(v *viewer.Viewer) (release func()) {
	w.T.Helper()
	subject := v.Actor
	if v.Kind == viewer.KindCustomer {
		subject = v.Identity
	}
	sockets := func(want int) {
		w.Eventually("presence", func() bool {
			rows, err := w.Store.Ent.Presence.Query().All(w.Sys)
			w.ok(err)
			for _, r := range rows {
				if r.SubjectID == subject {
					return r.Sockets == want
				}
			}
			return false
		})
	}
	let := w.Desk.Connect(v)
	sockets(1)
	return func() { let(); sockets(0) }
}

// Eventually polls what happens in another goroutine.
func (w *World) Eventually(what string, f func() bool) {
	w.T.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	w.T.Fatalf("never: %s", what)
}

// Waiting waits until n transactions wait for a lock. PostgreSQL only: SQLite lets one writer in at a time.
func (w *World) Waiting(n int) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("%d wait for a lock", n), func() bool {
		got := 0
		w.ok(w.Store.DB.QueryRowContext(w.T.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&got))
		return got == n
	})
}

// Work runs the jobs that are due in this world's time until none is left.
func (w *World) Work() {
	w.T.Helper()
	w.WorkUnder(w.base)
}

// WorkUnder is Work under a context whose values the jobs inherit, such as a counter of statements.
func (w *World) WorkUnder(ctx context.Context) {
	w.T.Helper()
	ctx, stop := context.WithCancel(ctx)
	r := jobs.NewRunner(w.Store, jobs.Config{Node: "test", Clock: w.Clock.Now, Poll: 20 * time.Millisecond, Log: w.Desk.Log})
	w.Desk.Register(r)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		stop()
		w.ok(<-done)
	}()
	// Twice: what was made after the clock was read and before the rows were is due only at the second look.
	idle := 0
	w.Eventually("no job is due", func() bool {
		n, err := w.Store.Ent.Job.Query().Where(job.Or(job.StateEQ(job.StateRunning),
			job.And(job.StateEQ(job.StateReady), job.RunAtLTE(w.Clock.Now())))).Count(viewer.Global(w.base))
		w.ok(err)
		if idle++; n > 0 {
			idle = 0
		}
		return idle == 2
	})
}

// Offer commits a decision of the router: this interaction to this agent.
func (w *World) Offer(i *ent.Interaction, a *Agent) (*ent.Offer, router.Result) {
	w.T.Helper()
	return w.OfferAs(router.Decision{Item: router.ID(i.ID), Workspace: router.ID(w.ID), Agent: router.ID(a.ID), Expires: 30 * time.Second, Epoch: 1, NewRound: true})
}

// OfferAs commits a decision.
func (w *World) OfferAs(d router.Decision) (*ent.Offer, router.Result) {
	w.T.Helper()
	out, err := w.Desk.Floor().Commit(w.base, []router.Decision{d})
	w.ok(err)
	if out[0].Result != router.Committed {
		return nil, out[0].Result
	}
	i := w.Interaction(gid.ID(d.Item))
	o, err := w.Store.Ent.Offer.Get(w.Sys, *i.OpenOfferID)
	w.ok(err)
	return o, out[0].Result
}

// Serve makes an agent the server by offer and accept.
func (w *World) Serve(i *ent.Interaction, a *Agent) *ent.Interaction {
	w.T.Helper()
	o, r := w.Offer(i, a)
	if o == nil {
		w.T.Fatalf("the offer was not made: %v", r)
	}
	_, err := w.Desk.AcceptOffer(a, o.ID, nil)
	w.ok(err)
	return w.Interaction(i.ID)
}

// Reply sends a text.
func (a *Agent) Reply(i *ent.Interaction, text string) *ent.Message {
	a.world.T.Helper()
	sent, err := a.world.Desk.SendMessage(a, i.ID, desk.MessageInput{Text: &text}, nil)
	a.world.ok(err)
	m, err := a.world.Store.Ent.Message.Get(a.world.Sys, sent.Message)
	a.world.ok(err)
	return m
}

// Interaction reads a row as it is now.
func (w *World) Interaction(id gid.ID) *ent.Interaction {
	w.T.Helper()
	i, err := w.Store.Ent.Interaction.Get(w.Sys, id)
	w.ok(err)
	return i
}

// Conversation reads a row as it is now.
func (w *World) Conversation(id gid.ID) *ent.Conversation {
	w.T.Helper()
	c, err := w.Store.Ent.Conversation.Query().Where(conversation.ID(id)).WithAccess().Only(w.Sys)
	w.ok(err)
	return c
}

// Load is what an agent carries now.
func (a *Agent) Load() *ent.AgentLoad {
	a.world.T.Helper()
	row, err := a.world.Store.Ent.Agent.Get(a.world.Sys, a.ID)
	a.world.ok(err)
	l, err := row.QueryLoad().Only(a.world.Sys)
	a.world.ok(err)
	return l
}

// Open counts the interactions of a conversation that are not over.
func (w *World) Open(conv gid.ID) int {
	w.T.Helper()
	n, err := w.Store.Ent.Interaction.Query().Where(interaction.ConversationID(conv), interaction.StateNEQ(interaction.StateENDED)).Count(w.Sys)
	w.ok(err)
	return n
}

// Log numbers what was committed and returns the workspace's log.
func (w *World) Log() []*ent.Event {
	w.T.Helper()
	ctx, stop := context.WithCancel(w.base)
	done := make(chan error, 1)
	go func() {
		done <- relay.New(w.Store, relay.Config{Holder: "test", Poll: 5 * time.Millisecond, Log: w.Desk.Log}).Run(ctx)
	}()
	w.Eventually("everything is numbered", func() bool {
		n, err := w.Store.Ent.Outbox.Query().Count(viewer.Global(w.base))
		w.ok(err)
		return n == 0
	})
	stop()
	w.ok(<-done)
	evs, err := w.Store.Ent.Event.Query().Order(event.BySeq()).All(w.Sys)
	w.ok(err)
	return evs
}

// Refused asserts that an operation was refused with a code.
func (w *World) Refused(err error, code desk.Code) *desk.Refusal {
	w.T.Helper()
	var r *desk.Refusal
	if !errors.As(err, &r) || r.Code != code {
		w.T.Fatalf("got %v, want a refusal with %s", err, code)
	}
	return r
}
