package desktest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/desk"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/internal/gid"
)

// lineKind is a live kind that carries calls, for tests of the desk: it has no SIP.
const lineKind = "testline"

// lineConfig are its settings.
type lineConfig struct {
	Country  string `json:"country" default:"DE" doc:"Default country of numbers."`
	CallerID string `json:"callerId" doc:"Shown to those who are called."`
	Server   string `json:"server" doc:"Where calls go to."`
}

type testLine struct{ cfg lineConfig }

func (testLine) Close() error { return nil }

// Trunk is where its calls go.
func (l testLine) Trunk() voice.Trunk { return voice.Trunk{Server: l.cfg.Server} }

var registerLine = sync.OnceFunc(func() {
	channels.Register(channels.Kind{
		Name: lineKind, Title: "Test line", Description: "Carries calls in tests.", Config: lineConfig{}, Live: channels.Live, JoinOpen: true,
		Identities: []string{channels.IdentityPhone},
		Open: func(cfg any, _ channels.Host) (channels.Channel, error) {
			switch c := cfg.(type) {
			case lineConfig:
				return testLine{c}, nil
			case *lineConfig:
				return testLine{*c}, nil
			}
			return nil, fmt.Errorf("unexpected settings %T", cfg)
		},
	})
})

// Line is a channel that carries calls, with the node that holds them.
type Line struct {
	*ent.Channel
	*Board
	world *World
}

// Line makes such a channel and joins the desk to a node that misbehaves on demand; change may set what the input lacks.
func (w *World) Line(change func(*desk.ChannelCreateInput)) *Line {
	w.T.Helper()
	registerLine()
	in := desk.ChannelCreateInput{Kind: lineKind, Config: json.RawMessage(`{"country":"DE","callerId":"+4930111111","server":"sip.example"}`)}
	if change != nil {
		change(&in)
	}
	b, ok := w.Desk.Switchboard.(*Board)
	if !ok {
		w.T.Fatal("the world has no board")
	}
	return &Line{Channel: w.Channel(in), Board: b, world: w}
}

// Node and Epoch of calls in tests.
const (
	Node  = "test"
	Epoch = int64(7)
)

// Arrive is a call at the door.
func (l *Line) Arrive(from string) voice.Arrival {
	return voice.Arrival{
		Key: l.world.Unique("dialog"), Node: Node, Epoch: Epoch, Trunk: voice.ID(l.ID.String()), From: from, Name: "Caller", To: "030 222222",
		At: l.world.Clock.Now(), Headers: map[string]string{"X-Account": "A-1"},
	}
}

// Caller is a call as telephony knows it: it numbers its facts.
type Caller struct {
	voice.Greeting
	ID     gid.ID
	line   *Line
	number int
}

// Call greets a caller whose leg is up then.
func (l *Line) Call(from string) *Caller {
	l.world.T.Helper()
	return l.Greet(l.Arrive(from))
}

// Greet greets a call and says that its leg is up.
func (l *Line) Greet(a voice.Arrival) *Caller {
	l.world.T.Helper()
	c := l.Known(a)
	c.Must(voice.Fact{Kind: voice.Answered, Leg: c.Leg})
	return c
}

// Known greets a call.
func (l *Line) Known(a voice.Arrival) *Caller {
	l.world.T.Helper()
	g, err := l.world.Desk.Voice().Greet(l.world.base, a)
	l.world.ok(err)
	return l.Of(g)
}

// Of is a greeted call.
func (l *Line) Of(g voice.Greeting) *Caller {
	l.world.T.Helper()
	id, err := gid.Parse(string(g.Call))
	l.world.ok(err)
	return &Caller{Greeting: g, ID: id, line: l}
}

// Begun is a call that an agent began, as the board heard of it.
func (l *Line) Begun(id gid.ID) *Caller {
	l.world.T.Helper()
	leg, err := l.world.Store.Ent.CallLeg.Query().Where(callleg.CallID(id), callleg.RoleEQ(callleg.RoleCUSTOMER)).Only(l.world.Sys)
	l.world.ok(err)
	return &Caller{Greeting: voice.Greeting{Call: voice.ID(id.String()), Leg: voice.ID(leg.ID.String())}, ID: id, line: l}
}

// Next completes a fact with what every fact of this call says, and the next number.
func (c *Caller) Next(f voice.Fact) voice.Fact {
	c.number++
	f.Call, f.Number, f.Node, f.Epoch, f.At = c.Call, c.number, Node, Epoch, c.line.world.Clock.Now()
	return f
}

// Tell reports the next fact.
func (c *Caller) Tell(f voice.Fact) (voice.Answer, error) {
	return c.line.world.Desk.Voice().Report(c.line.world.base, c.Next(f))
}

// Must reports the next fact, which must be admitted.
func (c *Caller) Must(f voice.Fact) voice.Answer {
	c.line.world.T.Helper()
	a, err := c.Tell(f)
	c.line.world.ok(err)
	return a
}

// Row is the call as it is now.
func (c *Caller) Row() *ent.Call {
	c.line.world.T.Helper()
	row, err := c.line.world.Store.Ent.Call.Query().Where(call.ID(c.ID)).WithLegs().WithFacts().WithRecordings().Only(c.line.world.Sys)
	c.line.world.ok(err)
	return row
}

// Interaction is the call's contact as it is now.
func (c *Caller) Interaction() *ent.Interaction {
	c.line.world.T.Helper()
	return c.line.world.Interaction(c.Row().InteractionID)
}

// Legs are an agent's legs that are not over.
func (c *Caller) Legs(a *Agent) (out []voice.ID) {
	c.line.world.T.Helper()
	for _, l := range c.Row().Edges.Legs {
		if l.AgentID != nil && *l.AgentID == a.ID && l.State != callleg.StateENDED {
			out = append(out, voice.ID(l.ID.String()))
		}
	}
	return out
}

// Rings offers the call to an agent, who accepts by phone: his leg rings.
func (c *Caller) Rings(a *Agent) (voice.ID, *ent.Offer) {
	c.line.world.T.Helper()
	w := c.line.world
	o, r := w.Offer(c.Interaction(), a)
	if o == nil {
		w.T.Fatalf("the offer was not made: %v", r)
	}
	_, err := w.Desk.AcceptOffer(a, o.ID, nil)
	w.ok(err)
	legs := c.Legs(a)
	if len(legs) != 1 {
		w.T.Fatalf("%d legs ring", len(legs))
	}
	return legs[0], o
}

// Talks offers the call to an agent whose leg comes up.
func (c *Caller) Talks(a *Agent) voice.ID {
	c.line.world.T.Helper()
	leg, _ := c.Rings(a)
	c.Must(voice.Fact{Kind: voice.Up, Leg: leg})
	return leg
}

// Phone registers a phone of the agent.
func (a *Agent) Phone(preferred bool) gid.ID {
	a.world.T.Helper()
	w := a.world
	name := w.Unique("phone")
	p, err := w.Store.Ent.AgentPhone.Create().SetAgentID(a.ID).SetLabel(name).SetUsername(name).SetHa1([]byte("sealed")).SetPreferred(preferred).Save(w.Sys)
	w.ok(err)
	w.ok(w.Store.Ent.PhoneContact.Create().SetAgentPhoneID(p.ID).SetAgentID(a.ID).SetNode(Node).SetContact("sip:" + name + "@192.0.2.9").SetSource("192.0.2.9:5060").
		SetTransport("udp").SetCallID(name).SetSeq(1).SetExpiresAt(w.Clock.Now().Add(time.Hour)).Exec(w.Sys))
	return p.ID
}

// Asked is what the board was asked to do.
type Asked struct {
	Verb    string
	To      voice.Ref
	Ring    *voice.RingOrder
	Dial    *voice.DialOrder
	Connect *voice.ConnectOrder
	Text    string
	On      bool
	Wanted  voice.Wanted
}

// Board is a voice.Switchboard that notes what it is asked, and misbehaves on demand.
type Board struct {
	mu    sync.Mutex
	asked []Asked
	// do, if set, is what it does instead; it may report facts, wait, or fail.
	do func(ctx context.Context, a Asked) error
}

var _ voice.Switchboard = (*Board)(nil)

// Does sets what the board does from now on; nil: what it is asked, at once.
func (b *Board) Does(f func(ctx context.Context, a Asked) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.do = f
}

// Asked are the requests of a verb so far; "" for all.
func (b *Board) Asked(verb string) []Asked {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.asked), func(a Asked) bool { return verb != "" && a.Verb != verb })
}

func (b *Board) ask(ctx context.Context, a Asked) error {
	b.mu.Lock()
	b.asked = append(b.asked, a)
	do := b.do
	b.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(ctx, a)
}

func (b *Board) media(ctx context.Context, a Asked, offer string) (string, error) {
	if err := b.ask(ctx, a); err != nil {
		return "", err
	}
	return "answer to " + offer, nil
}

// Ring notes it.
func (b *Board) Ring(ctx context.Context, to voice.Ref, o voice.RingOrder) error {
	return b.ask(ctx, Asked{Verb: "ring", To: to, Ring: &o})
}

// Connect notes it and answers by the offer.
func (b *Board) Connect(ctx context.Context, to voice.Ref, o voice.ConnectOrder) (string, error) {
	return b.media(ctx, Asked{Verb: "connect", To: to, Connect: &o}, o.SDPOffer)
}

// Renew notes it and answers by the offer.
func (b *Board) Renew(ctx context.Context, to voice.Ref, sdpOffer string) (string, error) {
	return b.media(ctx, Asked{Verb: "renew", To: to, Text: sdpOffer}, sdpOffer)
}

// Dial notes it and answers by the offer, if a browser dials.
func (b *Board) Dial(ctx context.Context, to voice.Ref, o voice.DialOrder) (string, error) {
	a := Asked{Verb: "dial", To: to, Dial: &o}
	if o.Connect == nil {
		return "", b.ask(ctx, a)
	}
	return b.media(ctx, a, o.Connect.SDPOffer)
}

// Hold notes it.
func (b *Board) Hold(ctx context.Context, to voice.Ref, held bool) error {
	return b.ask(ctx, Asked{Verb: "hold", To: to, On: held})
}

// Mute notes it.
func (b *Board) Mute(ctx context.Context, to voice.Ref, muted bool) error {
	return b.ask(ctx, Asked{Verb: "mute", To: to, On: muted})
}

// Digits notes them.
func (b *Board) Digits(ctx context.Context, to voice.Ref, digits string) error {
	return b.ask(ctx, Asked{Verb: "digits", To: to, Text: digits})
}

// Conform notes it.
func (b *Board) Conform(ctx context.Context, to voice.Ref, w voice.Wanted) error {
	return b.ask(ctx, Asked{Verb: "conform", To: to, Wanted: w})
}

// Report tells a fact that Next completed.
func (c *Caller) Report(f voice.Fact) (voice.Answer, error) {
	return c.line.world.Desk.Voice().Report(c.line.world.base, f)
}
