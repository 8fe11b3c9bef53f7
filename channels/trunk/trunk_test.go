package trunk_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
	"tributary/channels/trunk"
	"tributary/channels/voice"
)

// fake is no provider: telephony speaks to the carrier.
type fake struct{}

func (fake) Config() (json.RawMessage, map[string][]string) {
	return json.RawMessage(`{"server":"sip.example.com","username":"in","authUsername":"out"}`),
		map[string][]string{"password": {"conformance-in"}, "authPassword": {"conformance-out"}}
}
func (fake) Advance(time.Duration) {}

func TestConformance(t *testing.T) {
	channeltest.Run(t, channeltest.Suite{Kind: "voice", New: func(*testing.T) channeltest.Fake { return fake{} }})
}

func opened(t *testing.T, raw string, secrets map[string][]string) (channels.Channel, error) {
	t.Helper()
	cfg, err := channels.DecodeConfig(trunk.Kind, json.RawMessage(raw), secrets)
	if err != nil {
		t.Fatal(err)
	}
	return trunk.Kind.Open(cfg, channels.Host{})
}

// TestALineIsItsSettings: telephony gets every setting, and nothing else of the channel can be used.
func TestALineIsItsSettings(t *testing.T) {
	t.Parallel()
	ch, err := opened(t, `{"server":"sip.example.com:5080","transport":"tls","addresses":["192.0.2.1","198.51.100.0/24","2001:db8::/48"],
		"username":"in","authUsername":"out","country":"CN","callerId":"+862112345678","trustsCallerId":true,"maxCalls":30,"maxPerSecond":5,"headers":["X-Tenant"]}`,
		map[string][]string{"password": {"one"}, "authPassword": {"two"}})
	if err != nil {
		t.Fatal(err)
	}
	line, is := ch.(voice.Line)
	if !is {
		t.Fatal("the channel is no line")
	}
	want := voice.Trunk{
		Addresses: []string{"192.0.2.1", "198.51.100.0/24", "2001:db8::/48"}, Username: "in", Password: "one", Server: "sip.example.com:5080", Transport: "tls",
		AuthUser: "out", AuthPassword: "two", TrustsCaller: true, MaxCalls: 30, MaxPerSecond: 5, Headers: []string{"X-Tenant"}, Country: "CN", CallerID: "+862112345678",
	}
	if got := line.Trunk(); !reflect.DeepEqual(got, want) {
		t.Errorf("the trunk is\n%+v, want\n%+v", got, want)
	}
	if _, is := ch.(channels.Sender); is {
		t.Error("a trunk sends messages")
	}
	if _, is := ch.(channels.Receiver); is {
		t.Error("a trunk takes web hooks")
	}
	if err := ch.Close(); err != nil {
		t.Error(err)
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for raw, field := range map[string]string{
		`{}`:                       "addresses",
		`{"server":"sip.example"}`: "addresses",
		`{"addresses":[]}`:         "addresses",
		`{"addresses":["192.0.2.1","0.0.0.0/0"]}`:                  "addresses[1]",
		`{"addresses":["0.0.0.0"]}`:                                "addresses[0]",
		`{"addresses":["10.0.0.0/7"]}`:                             "addresses[0]",
		`{"addresses":["::/0"]}`:                                   "addresses[0]",
		`{"addresses":["2001:db8::/31"]}`:                          "addresses[0]",
		`{"addresses":["192.0.2.77/24"]}`:                          "addresses[0]",
		`{"addresses":["224.0.0.1"]}`:                              "addresses[0]",
		`{"addresses":["::ffff:192.0.2.1"]}`:                       "addresses[0]",
		`{"addresses":["::ffff:0:0/96"]}`:                          "addresses[0]",
		`{"addresses":["fe80::1%eth0"]}`:                           "addresses[0]",
		`{"addresses":["sip.example.com"]}`:                        "addresses[0]",
		`{"addresses":[""]}`:                                       "addresses[0]",
		`{"addresses":["192.0.2.1"],"server":"sip:example.com"}`:   "server",
		`{"addresses":["192.0.2.1"],"server":"a.example:0"}`:       "server",
		`{"addresses":["192.0.2.1"],"server":"a.example:99999"}`:   "server",
		`{"addresses":["192.0.2.1"],"server":"a b.example"}`:       "server",
		`{"addresses":["192.0.2.1"],"server":"a.example\r\nX: y"}`: "server",
		`{"addresses":["192.0.2.1"],"server":"[192.0.2.1]"}`:       "server",
		`{"addresses":["192.0.2.1"],"authUsername":"u"}`:           "server",
		`{"addresses":["192.0.2.1"],"transport":"sctp"}`:           "transport",
		`{"addresses":["192.0.2.1"],"country":"cn"}`:               "country",
		`{"addresses":["192.0.2.1"],"country":"QQ"}`:               "country",
		`{"addresses":["192.0.2.1"],"callerId":"02112345678"}`:     "callerId",
		`{"addresses":["192.0.2.1"],"callerId":"+0211"}`:           "callerId",
		`{"addresses":["192.0.2.1"],"maxCalls":-1}`:                "maxCalls",
		`{"addresses":["192.0.2.1"],"headers":["X-A","X B"]}`:      "headers[1]",
		`{"addresses":["192.0.2.1"],"headers":["Authorization"]}`:  "headers[0]",
		`{"addresses":["192.0.2.1"],"username":"a\"b"}`:            "username",
		`{"addresses":["192.0.2.1"],"password":"p"}`:               "password",
	} {
		_, err := channels.DecodeConfig(trunk.Kind, json.RawMessage(raw), nil)
		if got, ok := errors.AsType[*channels.FieldError](err); !ok || got.Field != field {
			t.Errorf("%s: %v, want an error of %s", raw, err, field)
		}
	}
}

func TestConfigTaken(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`{"addresses":["192.0.2.1"]}`, `{"username":"u"}`, `{"addresses":["10.0.0.0/8","2001:db8::/32","2001:db8::5"]}`,
		`{"addresses":["192.0.2.1"],"server":"[2001:db8::1]:5061"}`, `{"addresses":["192.0.2.1"],"server":"[2001:db8::1]"}`,
		`{"addresses":["192.0.2.1"],"server":"192.0.2.1:5060"}`, `{"addresses":["192.0.2.1"],"server":"sip.example.com"}`,
	} {
		if _, err := channels.DecodeConfig(trunk.Kind, json.RawMessage(raw), nil); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// TestAWidePrefixSaysWhy: the operator must see that the mistake is one of safety.
func TestAWidePrefixSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := channels.DecodeConfig(trunk.Kind, json.RawMessage(`{"addresses":["0.0.0.0/0"]}`), nil)
	if err == nil || !strings.Contains(err.Error(), "without a password") {
		t.Errorf("the refusal says %v", err)
	}
}

// TestALoginNeedsItsPassword: with a user name alone, an empty password would do.
func TestALoginNeedsItsPassword(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`{"username":"u"}`, `{"addresses":["192.0.2.1"],"server":"a.example","authUsername":"u"}`} {
		if _, err := opened(t, raw, map[string][]string{}); channels.ClassOf(err) != channels.ClassConfig {
			t.Errorf("%s: open gave %v, want the class config", raw, err)
		}
	}
	cfg := map[string][]string{"password": {"p"}}
	if _, err := channels.DecodeConfig(trunk.Kind, json.RawMessage(`{"addresses":["192.0.2.1"]}`), cfg); err == nil {
		t.Error("a password without a user name is taken")
	}
}
