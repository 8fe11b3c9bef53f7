package webchat_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
	"tributary/channels/webchat"
)

// fake is no provider: a surface has none.
type fake struct{}

func (fake) Config() (json.RawMessage, map[string][]string) {
	return json.RawMessage(`{"allowedOrigins":["https://www.example.com"]}`), map[string][]string{"identitySecret": {"conformance-secret"}}
}
func (fake) Advance(time.Duration) {}

func TestConformance(t *testing.T) {
	channeltest.Run(t, channeltest.Suite{Kind: "webchat", New: func(*testing.T) channeltest.Fake { return fake{} }})
}

func TestSurface(t *testing.T) {
	t.Parallel()
	c, _ := open(t, `{"allowedOrigins":["https://www.example.com"],"identificationRequired":true,"greeting":"您好",
		"locales":["zh-CN","en"],"maxTextLength":500,"attachments":[{"kind":"image","maxBytes":1000,"contentTypes":["image/png"]}]}`, secret)
	rules := c.Surface()
	if !rules.IdentificationRequired || rules.Greeting != "您好" || len(rules.Locales) != 2 ||
		!rules.AllowsOrigin("https://www.example.com") || rules.AllowsOrigin("https://example.com") {
		t.Errorf("rules are %+v", rules)
	}
	can := c.Capabilities()
	if can.MaxText != (channels.TextLimit{Unit: channels.TextRunes, Max: 500}) || can.MaxAttachments != 5 {
		t.Errorf("limits are %+v, %d attachments", can.MaxText, can.MaxAttachments)
	}
	if rule := can.Attachments[channels.MediaImage]; len(can.Attachments) != 1 || rule.MaxBytes != 1000 || len(rule.ContentTypes) != 1 {
		t.Errorf("attachment rules are %+v", can.Attachments)
	}
	if c.Live() != channels.LiveWhileOnline {
		t.Errorf("liveness is %q", c.Live())
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, _ := open(t, `{}`)
	if can := c.Capabilities(); can.MaxText.Max != 8000 || can.MaxAttachments != 5 || len(can.Attachments) != 4 {
		t.Errorf("capabilities are %+v", can)
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for raw, field := range map[string]string{
		`{"maxTextLength":8001}`:                              "maxTextLength",
		`{"maxTextLength":0}`:                                 "maxTextLength",
		`{"allowedOrigins":["www.example.com"]}`:              "allowedOrigins[0]",
		`{"jwtAlgorithm":"none"}`:                             "jwtAlgorithm",
		`{"jwtAlgorithm":"HS512"}`:                            "jwtAlgorithm",
		`{"locales":["zh-CN","中文"]}`:                          "locales[1]",
		`{"attachments":[{"kind":"image"},{"kind":"image"}]}`: "attachments[1].kind",
		`{"attachments":[{"kind":"sticker"}]}`:                "attachments[0].kind",
		`{"siteKey":"site_1"}`:                                "siteKey",
	} {
		_, err := channels.DecodeConfig(webchat.Kind, json.RawMessage(raw), nil)
		if got, ok := errors.AsType[*channels.FieldError](err); !ok || got.Field != field {
			t.Errorf("%s: %v, want an error of %s", raw, err, field)
		}
	}
}

// TestIdentificationRequiredNeedsAKey: such a site would refuse every visitor,
// and nobody would know why.
func TestIdentificationRequiredNeedsAKey(t *testing.T) {
	t.Parallel()
	cfg, err := channels.DecodeConfig(webchat.Kind, json.RawMessage(`{"identificationRequired":true}`), map[string][]string{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := webchat.Kind.Open(cfg, channels.Host{}); channels.ClassOf(err) != channels.ClassConfig {
		t.Errorf("open gave %v, want the class config", err)
	}
}
