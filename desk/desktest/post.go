package desktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"tributary/channels"
	"tributary/desk"
	"tributary/ent"
	"tributary/ent/message"
	"tributary/internal/store"
	"tributary/internal/viewer"
)

// Post is a kind that is fetched from and has recipients, subjects and references, as mail does, without a wire: what a
// desk does with such a channel is tested by it, what mail is by the kind's own tests.
func init() {
	channels.Register(channels.Kind{
		Name: "post", Title: "Post", Config: postConfig{}, Live: channels.Asynchronous, Identities: []string{channels.IdentityEmail},
		Capabilities: channels.Capabilities{Text: true, Recipients: true, Subject: true, Starts: true, Idempotency: channels.IdempotencyNone},
		Open: func(cfg any, host channels.Host) (channels.Channel, error) {
			box, ok := boxes.Load(cfg.(postConfig).Box)
			if !ok {
				return nil, channels.ConfigError(errors.New("there is no such box"))
			}
			return box.(*PostBox).open(host.Blob), nil
		},
	})
}

type postConfig struct {
	Box string `json:"box" required:"true"`
}

var boxes sync.Map

// PostBox is where letters lie, and what was sent.
type PostBox struct {
	mu      sync.Mutex
	letters []channels.Inbound
	sent    []channels.Outbound
	fail    error
	bursts  Doing
	during  func()
	reads   func(context.Context, channels.Blob) error
	fetches int
	opened  int
	shuts   error
	woken   chan struct{}
}

// Doing is what a channel of the box does.
type Doing string

// What a channel of the box can burst in.
const (
	Fetching Doing = "fetch"
	Watching Doing = "watch"
)

// Add puts letters into the box.
func (b *PostBox) Add(letters ...channels.Inbound) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters = append(b.letters, letters...)
	close(b.woken)
	b.woken = make(chan struct{})
}

// Fail makes the box fail with err; nil mends it.
func (b *PostBox) Fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = err
}

// Burst makes the box panic in what it does; nothing mends it.
func (b *PostBox) Burst(in Doing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bursts = in
}

// During runs f inside each sending, before the letter is taken.
func (b *PostBox) During(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.during = f
}

// Shuts lets every closing of a channel on the box end with err, closed all the same.
func (b *PostBox) Shuts(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shuts = err
}

// Reads lets each fetch do f before it gives letters; an error of f is that of the fetch.
func (b *PostBox) Reads(f func(context.Context, channels.Blob) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads = f
}

// Sent is what went out.
func (b *PostBox) Sent() []channels.Outbound {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]channels.Outbound(nil), b.sent...)
}

// Fetches counts how often it was read.
func (b *PostBox) Fetches() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fetches
}

// Opened counts the channels that are open on the box.
func (b *PostBox) Opened() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

func (b *PostBox) open(files channels.Blob) *postChannel {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened++
	return &postChannel{box: b, files: files}
}

// burst panics where that was asked for.
func (b *PostBox) burst(in Doing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bursts == in {
		panic("the box bursts in " + string(in))
	}
}

// postChannel is a channel that is open on a box; closed is the box's to guard.
type postChannel struct {
	box    *PostBox
	files  channels.Blob
	closed bool
}

// Close cuts what runs on it.
func (c *postChannel) Close() error {
	c.box.mu.Lock()
	defer c.box.mu.Unlock()
	if c.closed {
		return errors.New("it is closed already")
	}
	c.closed = true
	c.box.opened--
	return c.box.shuts
}

// Fetch gives two letters at a time.
func (c *postChannel) Fetch(ctx context.Context, after channels.Cursor) (channels.Batch, error) {
	c.box.burst(Fetching)
	c.box.mu.Lock()
	defer c.box.mu.Unlock()
	c.box.fetches++
	if c.box.fail != nil {
		return channels.Batch{}, c.box.fail
	}
	if c.box.reads != nil {
		if err := c.box.reads(ctx, c.files); err != nil {
			return channels.Batch{}, err
		}
	}
	at, _ := strconv.Atoi(string(after.Position))
	to := min(at+2, len(c.box.letters))
	return channels.Batch{
		Events: append([]channels.Inbound(nil), c.box.letters[min(at, to):to]...),
		Next:   channels.Cursor{Stream: after.Stream, Position: []byte(strconv.Itoa(to))}, More: to < len(c.box.letters),
	}, nil
}

// Watch wakes with every letter.
func (c *postChannel) Watch(ctx context.Context, _ string, wake func()) error {
	for {
		c.box.burst(Watching)
		c.box.mu.Lock()
		next := c.box.woken
		c.box.mu.Unlock()
		wake()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
	}
}

// Send keeps what is sent. Cut in the middle, it cannot say what became of the letter.
func (c *postChannel) Send(_ context.Context, out channels.Outbound) (channels.Receipt, error) {
	c.box.mu.Lock()
	during := c.box.during
	c.box.mu.Unlock()
	if during != nil {
		during()
	}
	c.box.mu.Lock()
	defer c.box.mu.Unlock()
	if c.closed {
		return channels.Receipt{}, channels.Uncertain(errors.New("it was closed meanwhile"))
	}
	c.box.sent = append(c.box.sent, out)
	return channels.Receipt{ExternalID: "queued-" + out.ID, RefID: out.Marks.Message + "@ours.test"}, nil
}

// Post is a channel of that kind.
type Post struct {
	*ent.Channel
	Box   *PostBox
	world *World
}

// Post makes a post channel; change may set what the input lacks.
func (w *World) Post(change func(*desk.ChannelCreateInput)) *Post {
	w.T.Helper()
	p := &Post{Box: &PostBox{woken: make(chan struct{})}, world: w}
	name := w.Unique(w.ID.String())
	boxes.Store(name, p.Box)
	w.T.Cleanup(func() { boxes.Delete(name) })
	config, err := json.Marshal(postConfig{name})
	w.ok(err)
	in := desk.ChannelCreateInput{Kind: "post", Config: config}
	if change != nil {
		change(&in)
	}
	p.Channel = w.Channel(in)
	return p
}

// Mail is a letter as the kind reads it, its sender unproved.
func (p *Post) Mail(id, from, subject, text string) channels.Inbound {
	return channels.Inbound{
		Kind: channels.InboundMessage, ExternalID: id, RefID: id, SameID: id, ThreadKey: id, Subject: subject, OccurredAt: p.world.Clock.Now(),
		Sender:   []channels.IdentityKey{{Kind: channels.IdentityEmail, Value: from}},
		Warnings: []string{channels.WarnSenderUnproved}, Parts: []channels.Part{{Type: channels.PartText, Text: text}},
	}
}

// Proved is the letter with its sender proved by the mail's own verdict.
func Proved(in channels.Inbound) channels.Inbound {
	in.Sender[0].Level = channels.ChannelProved
	in.Proof = channels.Proof{Kind: channels.ProofMail, Scheme: "dmarc", Aligned: true}
	in.Warnings = nil
	return in
}

// Answers is the letter as an answer to others, the last one first of all.
func Answers(in channels.Inbound, refs ...string) channels.Inbound {
	in.References, in.ThreadKey, in.InReplyTo = refs, refs[0], refs[len(refs)-1]
	return in
}

// Arrives puts a letter into the box, fetches it, runs the work and returns its message.
func (p *Post) Arrives(in channels.Inbound) *ent.Message {
	p.world.T.Helper()
	p.Box.Add(in)
	p.Pull()
	p.world.Work()
	m, err := p.world.Store.Ent.Message.Query().Where(message.ChannelID(p.ID), message.ExternalID(in.ExternalID)).Only(p.world.Sys)
	p.world.ok(err)
	return m
}

// Pull fetches once, as a node that holds the stream for a moment.
func (p *Post) Pull() {
	p.world.T.Helper()
	h := p.Hold()
	p.world.ok(p.world.Desk.PullNow(p.world.base, h))
	p.world.ok(p.world.holds().Release(p.world.base, h))
}

// Hold takes the channel's stream.
func (p *Post) Hold() store.Held {
	p.world.T.Helper()
	all, err := p.world.holds().Take(p.world.base, 1000)
	p.world.ok(err)
	var mine store.Held
	for _, h := range all {
		if h.Channel == p.ID {
			mine = h
			continue
		}
		p.world.ok(p.world.holds().Release(p.world.base, h))
	}
	if mine.Epoch == 0 {
		p.world.T.Fatal(fmt.Errorf("the stream of %s is held by somebody else", p.Name))
	}
	return mine
}

func (w *World) holds() *store.Holds { return w.Store.Holds("test", time.Minute) }

// Puller runs a puller beside the test until it ends.
func (w *World) Puller() {
	w.T.Helper()
	ctx, stop := context.WithCancel(viewer.Global(w.base))
	p, done := w.Desk.NewPuller(func(_ context.Context, total int) (int, error) { return total, nil }), make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	w.T.Cleanup(func() {
		stop()
		w.ok(<-done)
	})
}
