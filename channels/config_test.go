package channels_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"tributary/channels"
)

type sample struct {
	URL     string          `json:"callbackUrl" required:"true" format:"url" doc:"Where to post."`
	Unit    string          `json:"unit" default:"runes" enum:"runes,bytes"`
	Max     int             `json:"max" default:"100" min:"1" max:"1000"`
	On      bool            `json:"on" default:"true"`
	Origins []string        `json:"origins" format:"origin" max:"2"`
	Rules   []sampleRule    `json:"rules"`
	Nested  sampleRule      `json:"nested"`
	Maybe   *sampleRule     `json:"maybe"`
	Key     channels.Secret `json:"signingKey" title:"Key" required:"true" rotates:"true"`
	Pin     channels.Secret `json:"pin"`
}

type sampleRule struct {
	Name string `json:"name" default:"all"`
	Size int64  `json:"size" max:"10"`
}

func (s sample) Validate() error {
	if s.Max == 13 {
		return &channels.FieldError{Field: "max", Message: "must not be 13"}
	}
	return nil
}

var (
	sampleKind = kind("sample", sample{})
	sampleKeys = map[string][]string{"signingKey": {"s3cret-now", "s3cret-before"}}
)

func TestDecodeConfig(t *testing.T) {
	t.Parallel()
	raw := `{"callbackUrl":"https://bridge.example.com/in","max":7,"on":false,"unit":null,
		"origins":["https://*.example.com"],"rules":[{"name":"a","size":3},{}],"maybe":{"size":1}}`
	got, err := channels.DecodeConfig(sampleKind, json.RawMessage(raw), sampleKeys)
	if err != nil {
		t.Fatal(err)
	}
	want := sample{
		URL: "https://bridge.example.com/in", Unit: "runes", Max: 7, Origins: []string{"https://*.example.com"},
		Rules: []sampleRule{{"a", 3}, {"all", 0}}, Nested: sampleRule{"all", 0}, Maybe: &sampleRule{"all", 1},
		Key: channels.NewSecret("s3cret-now", "s3cret-before"),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	s, _ := got.(sample)
	if s.Key.Current() != "s3cret-now" || len(s.Key.All()) != 2 || s.Pin.Set() {
		t.Error("secrets are not those given")
	}
}

func TestDecodeConfigRefuses(t *testing.T) {
	t.Parallel()
	const url = `"callbackUrl":"https://b.example.com"`
	for raw, want := range map[string]string{
		`{}`:                                                "callbackUrl: is required",
		`{"callbackUrl":""}`:                                "callbackUrl: is required",
		`{"callbackUrl":null}`:                              "callbackUrl: is required",
		`{"callbackUrl":7}`:                                 "callbackUrl: must be a text",
		`{"callbackUrl":"ftp://x"}`:                         "callbackUrl: must be an http or https address without a name or a fragment in it",
		`{"callbackUrl":"https://u:p@x"}`:                   "callbackUrl: must be an http or https address without a name or a fragment in it",
		`{"callbackUrl":"/in"}`:                             "callbackUrl: must be an http or https address without a name or a fragment in it",
		`{` + url + `,"extra":1}`:                           "extra: is no setting of this kind",
		`{` + url + `,"MAX":1}`:                             "MAX: is no setting of this kind",
		`{` + url + `,"unit":"miles"}`:                      "unit: must be one of runes, bytes",
		`{` + url + `,"max":0}`:                             "max: must be at least 1",
		`{` + url + `,"max":1001}`:                          "max: must be at most 1000",
		`{` + url + `,"max":1.5}`:                           "max: must be a whole number",
		`{` + url + `,"max":13}`:                            "max: must not be 13",
		`{` + url + `,"on":"yes"}`:                          "on: must be true or false",
		`{` + url + `,"origins":"x"}`:                       "origins: must be a list",
		`{` + url + `,"origins":["x"]}`:                     "origins[0]: must be an origin such as https://www.example.com",
		`{` + url + `,"origins":["a://b",1]}`:               "origins[1]: must be a text",
		`{` + url + `,"origins":["a://b","a://c","a://d"]}`: "origins: must be at most 2 entries",
		`{` + url + `,"rules":[{"size":11}]}`:               "rules[0].size: must be at most 10",
		`{` + url + `,"rules":[{},{"sise":1}]}`:             "rules[1].sise: is no setting of this kind",
		`{` + url + `,"rules":[null]}`:                      "rules[0]: must be an object",
		`{` + url + `,"nested":[]}`:                         "nested: must be an object",
		`{` + url + `,"signingKey":"x"}`:                    "signingKey: is a secret and is set apart from the configuration",
		`[]`:                                                "must be an object",
		`{`:                                                 "must be an object",
		`null`:                                              "must be an object",
	} {
		_, err := channels.DecodeConfig(sampleKind, json.RawMessage(raw), sampleKeys)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", raw, err, want)
		}
		if _, ok := errors.AsType[*channels.FieldError](err); !ok {
			t.Errorf("%s: %T is no FieldError", raw, err)
		}
	}
}

func TestDecodeConfigSecrets(t *testing.T) {
	t.Parallel()
	raw := json.RawMessage(`{"callbackUrl":"https://b.example.com"}`)
	if _, err := channels.DecodeConfig(sampleKind, raw, nil); err != nil {
		t.Errorf("without secrets the configuration alone is checked: %v", err)
	}
	for want, secrets := range map[string]map[string][]string{
		"signingKey: is required":                {},
		"signingKey: is required ":               {"signingKey": {""}},
		"pin: takes one value only":              {"signingKey": {"a"}, "pin": {"1", "2"}},
		"password: is no secret of this kind":    {"signingKey": {"a"}, "password": {"x"}},
		"callbackUrl: is no secret of this kind": {"signingKey": {"a"}, "callbackUrl": {"x"}},
	} {
		if _, err := channels.DecodeConfig(sampleKind, raw, secrets); err == nil || err.Error() != strings.TrimSpace(want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSecretNeverPrints(t *testing.T) {
	t.Parallel()
	s := sample{Key: channels.NewSecret("s3cret-now")}
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s.Key, s.Key), string(encoded)} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("printed: %s", text)
		}
	}
}

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	raw, secrets := channels.ConfigSchema(sampleKind)
	if !reflect.DeepEqual(secrets, []string{"signingKey", "pin"}) {
		t.Errorf("secrets are %v", secrets)
	}
	want := []channels.SecretField{
		{Name: "signingKey", Title: "Key", Required: true, Rotates: true}, {Name: "pin", Title: "Pin"},
	}
	if got := channels.SecretFields(sampleKind); !reflect.DeepEqual(got, want) {
		t.Errorf("secret fields are %+v", got)
	}
	var schema map[string]any
	if err := json.Unmarshal(raw, &schema); err != nil {
		t.Fatal(err)
	}
	properties, _ := schema["properties"].(map[string]any)
	if _, there := properties["signingKey"]; there || schema["additionalProperties"] != false {
		t.Error("the schema shows a secret, or is open")
	}
	for name, want := range map[string]string{
		"callbackUrl": `{"description":"Where to post.","format":"uri","title":"Callback url","type":"string","x-order":0}`,
		"unit":        `{"default":"runes","enum":["runes","bytes"],"title":"Unit","type":"string","x-order":1}`,
		"max":         `{"default":100,"maximum":1000,"minimum":1,"title":"Max","type":"integer","x-order":2}`,
		"on":          `{"default":true,"title":"On","type":"boolean","x-order":3}`,
		"origins":     `{"items":{"format":"uri","type":"string"},"maxItems":2,"title":"Origins","type":"array","x-order":4}`,
	} {
		if got, err := json.Marshal(properties[name]); err != nil || string(got) != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := fmt.Sprint(schema["required"]); got != "[callbackUrl]" {
		t.Errorf("required are %s", got)
	}
}
