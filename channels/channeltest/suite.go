package channeltest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tributary/channels"
)

// Start is the time that the clocks of a suite show first.
var Start = time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)

// Suite is what a kind hands to Run.
type Suite struct {
	// Kind is the registered name.
	Kind string
	// New starts a fresh fake of the provider, with a clock of its own that
	// shows Start; it ends with the test.
	New func(t *testing.T) Fake
}

// Fake is a provider under a test's control.
type Fake interface {
	// Config is a configuration that reaches the fake, and its secrets.
	Config() (config json.RawMessage, secrets map[string][]string)
	// Advance moves the provider's clock.
	Advance(d time.Duration)
}

// InboundFake makes webhook calls of the provider.
type InboundFake interface {
	// Message is a signed call with one message of this external id.
	Message(externalID string) *channels.Request
	// Unknown is a signed call with one event of a kind nobody knows.
	Unknown(externalID string) *channels.Request
	// Signed is a call with any body, signed as the provider would.
	Signed(body []byte) *channels.Request
	// Forged is the same call signed by somebody else.
	Forged(r *channels.Request) *channels.Request
}

// Outcome is what the provider does with the next message.
type Outcome int

// The outcomes.
const (
	Sent       Outcome = iota // taken and confirmed
	Permanent                 // refused for good
	Temporary                 // not now
	RetryAfter                // not before RetryWait has passed
	Lost                      // taken, the connection dies without an answer
	Hangs                     // taken, and no answer until the test ends
)

// RetryWait is the wait that RetryAfter asks for.
const RetryWait = 30 * time.Second

// OutboundFake takes messages.
type OutboundFake interface {
	// Outbound makes a message that the provider would take.
	Outbound(id string) channels.Outbound
	// Play sets what happens to the next message.
	Play(o Outcome)
	// Received gets the id of each message when the fake has read it.
	Received() <-chan string
	// Sends is how many requests carried this message's id as their key.
	Sends(id string) int
	// Timeout is how long the adapter waits for an answer.
	Timeout() time.Duration
}

// FetchFake is read by a Fetcher.
type FetchFake interface {
	// Fill adds n messages to what can be fetched.
	Fill(n int)
}

// rig is one opened channel with its fake.
type rig struct {
	kind    channels.Kind
	fake    Fake
	clock   *Clock
	dialer  *Dialer
	channel channels.Channel
	secrets []string
}

// Run proves the contract for one kind. It is not parallel, since it watches
// goroutines: the test that calls it must not be either.
func Run(t *testing.T, s Suite) {
	t.Helper()
	kind, ok := channels.Lookup(s.Kind)
	if !ok {
		t.Fatalf("kind %q is not registered", s.Kind)
	}
	open := func(t *testing.T) *rig { return newRig(t, kind, s) }
	t.Run("close leaves no goroutine", func(t *testing.T) { closes(t, kind, s) })
	t.Run("config", func(t *testing.T) { configuration(t, open(t)) })
	t.Run("capabilities", func(t *testing.T) { capabilities(t, open(t)) })
	first := open(t)
	if _, is := first.channel.(channels.Receiver); is {
		if _, is := first.fake.(InboundFake); !is {
			t.Fatal("the channel receives and its fake is no InboundFake")
		}
		t.Run("receive", func(t *testing.T) { receives(t, open) })
	}
	if _, is := first.channel.(channels.Sender); is {
		if _, is := first.fake.(OutboundFake); !is {
			t.Fatal("the channel sends and its fake is no OutboundFake")
		}
		t.Run("send", func(t *testing.T) { sends(t, open) })
	}
	if _, is := first.channel.(channels.HealthChecker); is {
		if _, is := first.fake.(HealthFake); !is {
			t.Fatal("the channel tells its health and its fake is no HealthFake")
		}
		t.Run("health", func(t *testing.T) { healthy(t, open(t)) })
	}
	if _, is := first.channel.(channels.Fetcher); is {
		if _, is := first.fake.(FetchFake); !is {
			t.Fatal("the channel fetches and its fake is no FetchFake")
		}
		t.Run("fetch repeated from an old cursor", func(t *testing.T) { fetches(t, open(t)) })
	}
}

func newRig(t *testing.T, kind channels.Kind, s Suite) *rig {
	t.Helper()
	r := &rig{kind: kind, fake: s.New(t), clock: NewClock(Start), dialer: &Dialer{}}
	r.open(t)
	t.Cleanup(func() { r.close(t) })
	return r
}

func (r *rig) open(t *testing.T) {
	t.Helper()
	raw, secrets := r.fake.Config()
	cfg, err := channels.DecodeConfig(r.kind, raw, secrets)
	if err != nil {
		t.Fatalf("decode config: %v", err)
	}
	if r.channel, err = r.kind.Open(cfg, Host(r.clock, r.dialer)); err != nil {
		t.Fatalf("open: %v", err)
	}
	for _, values := range secrets {
		r.secrets = append(r.secrets, values...)
	}
}

func (r *rig) close(t *testing.T) {
	t.Helper()
	if err := r.channel.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// discreet fails when an error holds a secret, in any way of printing it.
func (r *rig) discreet(t *testing.T, err error) {
	t.Helper()
	for _, secret := range r.secrets {
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, secret) {
			t.Error("an error holds a secret")
		}
	}
}

// closes uses a channel and closes it while its provider still runs: a provider
// that ends takes kept connections with it and would hide them.
func closes(t *testing.T, kind channels.Kind, s Suite) {
	r := &rig{kind: kind, fake: s.New(t), clock: NewClock(Start), dialer: &Dialer{}}
	before := goleak.IgnoreCurrent()
	r.open(t)
	if sender, fake := r.outbound(); sender != nil && fake != nil {
		if _, err := sender.Send(t.Context(), fake.Outbound("msg_close")); err != nil {
			t.Errorf("send: %v", err)
		}
	}
	if fetcher, is := r.channel.(channels.Fetcher); is {
		if _, err := fetcher.Fetch(t.Context(), channels.Cursor{}); err != nil {
			t.Errorf("fetch: %v", err)
		}
	}
	r.close(t)
	if err := goleak.Find(before); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func configuration(t *testing.T, r *rig) {
	raw, secrets := r.fake.Config()
	schema, names := channels.ConfigSchema(r.kind)
	if !json.Valid(schema) {
		t.Errorf("schema is no JSON: %s", schema)
	}
	var with map[string]any
	if err := json.Unmarshal(raw, &with); err != nil {
		t.Fatalf("config of the fake: %v", err)
	}
	with["surelyNoSetting"] = 1
	more, err := json.Marshal(with)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := channels.DecodeConfig(r.kind, more, secrets); err == nil || !strings.Contains(err.Error(), "surelyNoSetting") {
		t.Errorf("an unknown setting gave %v, want an error that names it", err)
	}
	for _, field := range channels.SecretFields(r.kind) {
		if !field.Required {
			continue
		}
		_, err := channels.DecodeConfig(r.kind, raw, map[string][]string{})
		if err == nil {
			t.Errorf("secret %q is required and was not missed", field.Name)
		}
		r.discreet(t, err)
	}
	cfg, err := channels.DecodeConfig(r.kind, raw, secrets)
	if err != nil {
		t.Fatal(err)
	}
	printed, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range r.secrets {
		if text := fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, printed); len(names) > 0 && strings.Contains(text, secret) {
			t.Error("the configuration prints a secret")
		}
	}
}

func capabilities(t *testing.T, r *rig) {
	c, guarantee := r.kind.Capabilities, r.kind.Capabilities.Idempotency
	if d, is := r.channel.(channels.Declares); is {
		c = d.Capabilities()
		guarantee = c.Idempotency
	}
	if g, is := r.channel.(channels.Guarantees); is {
		if got := g.Guarantee(); got != guarantee {
			t.Errorf("Guarantee is %q, Capabilities say %q", got, guarantee)
		}
	}
	_, asks := r.channel.(channels.DeliveryQuerier)
	if guarantee == channels.IdempotencyQueryable && !asks {
		t.Error("the guarantee is queryable and there is no DeliveryQuerier")
	}
	_, types := r.channel.(channels.Typer)
	_, surface := r.channel.(channels.Surface)
	if c.TypingOut != types && !surface {
		t.Errorf("TypingOut is %v, Typer is there: %v", c.TypingOut, types)
	}
	if _, is := r.channel.(channels.Sender); is && surface {
		t.Error("a surface has no provider to send to")
	}
	if c.MaxText.Max < 0 {
		t.Error("the text limit is negative")
	}
}
