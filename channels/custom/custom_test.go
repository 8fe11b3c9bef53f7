package custom_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
	"tributary/channels/channeltest/bridge"
	"tributary/channels/custom"
)

// setup is a bridge with a channel opened on it.
type setup struct {
	bridge  *bridge.Fake
	clock   *channeltest.Clock
	dialer  *channeltest.Dialer
	channel channels.Channel
}

// settings are a configuration under construction.
type settings map[string]any

// start opens a channel on a fresh bridge; change edits its configuration.
func start(t *testing.T, change ...settings) *setup {
	t.Helper()
	peer := bridge.New(t, channeltest.Start)
	config := settings{"callbackUrl": peer.CallbackURL()}
	for _, c := range change {
		maps.Copy(config, c)
	}
	return open(t, peer, config)
}

func open(t *testing.T, peer *bridge.Fake, config settings) *setup {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := channels.DecodeConfig(custom.Kind, raw, map[string][]string{"signingSecret": peer.Secrets})
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{bridge: peer, clock: channeltest.NewClock(channeltest.Start), dialer: &channeltest.Dialer{}}
	if s.channel, err = custom.Kind.Open(cfg, channeltest.Host(s.clock, s.dialer)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.channel.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func as[T any](t *testing.T, c channels.Channel) T {
	t.Helper()
	v, ok := c.(T)
	if !ok {
		t.Fatalf("the channel is no %T", *new(T))
	}
	return v
}

// receive passes a call to the channel.
func (s *setup) receive(t *testing.T, r *channels.Request) (channels.Received, error) {
	t.Helper()
	return as[channels.Receiver](t, s.channel).Receive(t.Context(), r)
}

// events receives a body that must be taken.
func (s *setup) events(t *testing.T, body []byte) []channels.Inbound {
	t.Helper()
	got, err := s.receive(t, s.bridge.Event(body))
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return got.Events
}

// refused wants a refusal with a status and a message.
func refused(t *testing.T, err error, status int, message string) {
	t.Helper()
	r, ok := errors.AsType[*channels.Refused](err)
	if !ok || r.Status != status || r.Message != message {
		t.Errorf("got %v, want %d %q", err, status, message)
	}
}

func (s *setup) send(t *testing.T, id string) (channels.Receipt, error) {
	t.Helper()
	return as[channels.Sender](t, s.channel).Send(t.Context(), outbound(id))
}

// outbound is the message of testdata/outbound.json.
func outbound(id string) channels.Outbound {
	return channels.Outbound{
		ID: id, ThreadKey: "t-77", ReplyTo: "evt_981", Attempt: 1,
		To: []channels.IdentityKey{
			{Kind: "custom_id", Scope: "chn_1", Value: "u-12", Level: channels.ChannelProved},
			{Kind: "external_id", Value: "C-500", Level: channels.Strong},
		},
		Parts: []channels.Part{
			{Type: channels.PartText, Text: "请把订单号发给我"},
			{Type: channels.PartImage, Media: &channels.MediaRef{
				Kind: channels.MediaImage, URL: "https://desk.example.com/f/1", Name: "label.png", ContentType: "image/png", Size: 1200,
			}},
		},
	}
}

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fake plays the bridge for the conformance suite.
type fake struct{ *bridge.Fake }

func (f fake) Config() (json.RawMessage, map[string][]string) {
	raw := fmt.Sprintf(`{"callbackUrl":%q,"statusUrl":%q,"typing":true}`, f.CallbackURL(), f.StatusURL())
	return json.RawMessage(raw), map[string][]string{"signingSecret": f.Secrets}
}

func (f fake) Advance(d time.Duration) { f.Clock.Advance(d) }

func (f fake) Message(id string) *channels.Request {
	return f.Event(fmt.Appendf(nil, `{"id":%q,"kind":"message","at":"2026-01-01T08:00:00Z","from":{"id":"u-1","customerId":"C-1"},"parts":[{"type":"text","text":"hi"}]}`, id))
}

func (f fake) Unknown(id string) *channels.Request {
	return f.Event(fmt.Appendf(nil, `{"id":%q,"kind":"wave","from":[]}`, id))
}

func (f fake) Signed(body []byte) *channels.Request { return f.Event(body) }

func (f fake) Forged(r *channels.Request) *channels.Request {
	return f.EventAt(r.Body, f.Clock.Now(), "somebody-else")
}

func (f fake) Refuse() { f.Secrets = []string{"another-secret"} }

func (f fake) Outbound(id string) channels.Outbound { return outbound(id) }
func (f fake) Received() <-chan string              { return f.Reached }
func (f fake) Sends(id string) int                  { return len(f.Calls(id)) }
func (f fake) Timeout() time.Duration               { return 10 * time.Second }

// never is a release that does not come.
var never = make(chan struct{})

func (f fake) Play(o channeltest.Outcome) {
	f.Fake.Play(map[channeltest.Outcome]bridge.Step{
		channeltest.Sent:       bridge.Accept(),
		channeltest.Permanent:  bridge.Refuse("no_such_thread", "there is no such thread"),
		channeltest.Temporary:  bridge.Unavailable(1),
		channeltest.RetryAfter: bridge.Throttle(int(channeltest.RetryWait / time.Second)),
		channeltest.Lost:       bridge.CloseAfterBody(),
		channeltest.Hangs:      bridge.AcceptAfter(never),
	}[o])
}

func TestConformance(t *testing.T) {
	channeltest.Run(t, channeltest.Suite{Kind: "custom", New: func(t *testing.T) channeltest.Fake {
		return fake{bridge.New(t, channeltest.Start)}
	}})
}

func TestOpenedByItsSettings(t *testing.T) {
	t.Parallel()
	peer := bridge.New(t, channeltest.Start)
	for _, c := range []struct {
		config      settings
		sends, asks bool
		guarantee   channels.Idempotency
		live        channels.Liveness
	}{
		{settings{}, false, false, channels.IdempotencyNone, channels.Asynchronous},
		{settings{"callbackUrl": peer.CallbackURL(), "live": true}, true, false, channels.IdempotencyNone, channels.Live},
		{settings{"callbackUrl": peer.CallbackURL(), "statusUrl": peer.StatusURL()}, true, true, channels.IdempotencyQueryable, channels.Asynchronous},
		{settings{"callbackUrl": peer.CallbackURL(), "idempotent": true}, true, false, channels.IdempotencyKey, channels.Asynchronous},
		{settings{"callbackUrl": peer.CallbackURL(), "statusUrl": peer.StatusURL(), "idempotent": true}, true, true, channels.IdempotencyKey, channels.Asynchronous},
	} {
		channel := open(t, peer, c.config).channel
		_, sends := channel.(channels.Sender)
		_, asks := channel.(channels.DeliveryQuerier)
		guarantee := as[channels.Guarantees](t, channel).Guarantee()
		live := as[channels.Declares](t, channel).Live()
		if sends != c.sends || asks != c.asks || guarantee != c.guarantee || live != c.live {
			t.Errorf("%v: sends %v, asks %v, guarantee %q, %q", c.config, sends, asks, guarantee, live)
		}
	}
}

func TestDeclaredCapabilities(t *testing.T) {
	t.Parallel()
	s := start(t, settings{
		"maxTextLength": 600, "textUnit": "utf16", "typing": true, "deliveryReceipts": true, "readReceipts": true,
		"attachments":         []settings{{"kind": "image", "maxBytes": 1000, "contentTypes": []string{"image/png"}}},
		"replyWindows":        []settings{{"seconds": 172800, "messages": 5}, {"trigger": "follow", "seconds": 60}},
		"startsConversations": false,
	})
	can := as[channels.Declares](t, s.channel).Capabilities()
	if can.MaxText != (channels.TextLimit{Unit: channels.TextUTF16, Max: 600}) {
		t.Errorf("text limit is %+v", can.MaxText)
	}
	if !can.TypingIn || !can.DeliveryReport || !can.ReadReport || can.Starts {
		t.Errorf("capabilities are %+v", can)
	}
	if rule, ok := can.Attachments[channels.MediaImage]; !ok || rule.MaxBytes != 1000 || len(can.Attachments) != 1 {
		t.Errorf("attachments are %+v", can.Attachments)
	}
	want := []channels.WindowRule{{Trigger: "message", For: 48 * time.Hour, Count: 5}, {Trigger: "follow", For: time.Minute}}
	if len(can.Windows) != 2 || can.Windows[0] != want[0] || can.Windows[1] != want[1] {
		t.Errorf("windows are %+v", can.Windows)
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for raw, field := range map[string]string{
		`{"callbackUrl":"bridge.example.com"}`:                               "callbackUrl",
		`{"mediaHosts":["https://x"]}`:                                       "mediaHosts[0]",
		`{"mediaHosts":["a.example","*"]}`:                                   "mediaHosts[1]",
		`{"textUnit":"words"}`:                                               "textUnit",
		`{"attachments":[{"kind":"image"},{"kind":"image"}]}`:                "attachments[1].kind",
		`{"attachments":[{}]}`:                                               "attachments[0].kind",
		`{"replyWindows":[{"seconds":1},{"trigger":"message","seconds":2}]}`: "replyWindows[1].trigger",
		`{"replyWindows":[{"seconds":0}]}`:                                   "replyWindows[0].seconds",
		`{"signingSecret":"x"}`:                                              "signingSecret",
	} {
		_, err := channels.DecodeConfig(custom.Kind, json.RawMessage(raw), nil)
		if got, ok := errors.AsType[*channels.FieldError](err); !ok || got.Field != field {
			t.Errorf("%s: %v, want an error of %s", raw, err, field)
		}
	}
	cfg, err := channels.DecodeConfig(custom.Kind, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := custom.Kind.Open(cfg, channels.Host{}); channels.ClassOf(err) != channels.ClassConfig {
		t.Errorf("open without a secret gave %v, want the class config", err)
	}
}
