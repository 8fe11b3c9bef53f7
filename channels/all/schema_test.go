package all_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"tributary/channels"
)

// object is a JSON object.
type object = map[string]any

// TestTheServedSchemaIsWhatDecides: whatever a kind's schema forbids, the check of a configuration refuses at that very
// setting; and what stands at a bound passes that setting. A form made from the schema promises nothing else.
func TestTheServedSchemaIsWhatDecides(t *testing.T) {
	t.Parallel()
	for _, k := range channels.Kinds() {
		raw, _ := channels.ConfigSchema(k)
		var schema object
		if err := json.Unmarshal(raw, &schema); err != nil {
			t.Fatal(err)
		}
		tried := 0
		properties, _ := schema["properties"].(object)
		need := required(schema)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			rule, _ := properties[name].(object)
			for what, value := range wrong(rule) {
				tried++
				if got := refusedAt(t, k, with(need, name, value)); !strings.HasPrefix(got, name) {
					t.Errorf("%s: %s of %s is forbidden by the schema, the check names %q", k.Name, what, name, got)
				}
			}
			for what, value := range right(rule) {
				tried++
				if got := refusedAt(t, k, with(need, name, value)); got == name {
					t.Errorf("%s: %s of %s is allowed by the schema and refused", k.Name, what, name)
				}
			}
		}
		if schema["additionalProperties"] != false || refusedAt(t, k, with(need, "surelyNoSetting", 1)) != "surelyNoSetting" {
			t.Errorf("%s: an unknown setting passes", k.Name)
		}
		if tried < len(properties) {
			t.Errorf("%s: %d values tried for %d settings", k.Name, tried, len(properties))
		}
	}
}

// required are texts for the settings that a schema asks for: without them the check would name those first.
func required(schema object) object {
	out := object{}
	names, _ := schema["required"].([]any)
	for _, name := range names {
		if s, is := name.(string); is {
			out[s] = "x"
		}
	}
	return out
}

func with(config object, name string, value any) object {
	config = maps.Clone(config)
	config[name] = value
	return config
}

// refusedAt is the setting that the check names; empty: it passes.
func refusedAt(t *testing.T, k channels.Kind, config object) string {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = channels.DecodeConfig(k, raw, nil)
	f, is := errors.AsType[*channels.FieldError](err)
	switch {
	case err == nil:
		return ""
	case !is:
		t.Errorf("%s: %v names no setting", k.Name, err)
		return ""
	}
	return f.Field
}

// wrong are values that a rule forbids, one for each of its words.
func wrong(rule object) object {
	out := object{}
	switch rule["type"] {
	case "string":
		out["type"] = 7
		if most, is := rule["maxLength"].(float64); is && most < 1<<20 {
			out["maxLength"] = strings.Repeat("x", int(most)+1)
		}
		if rule["enum"] != nil {
			out["enum"] = "surely none of them"
		}
		if rule["format"] == "uri" {
			out["format"] = "no address"
		}
	case "integer":
		out["type"] = "seven"
		if least, is := rule["minimum"].(float64); is {
			out["minimum"] = least - 1
		}
		if most, is := rule["maximum"].(float64); is {
			out["maximum"] = most + 1
		}
	case "boolean":
		out["type"] = "yes"
	case "array":
		out["type"] = "none"
		out["items"] = []any{true}
		if most, is := rule["maxItems"].(float64); is {
			out["maxItems"] = make([]string, int(most)+1)
		}
	case "object":
		out["type"] = "none"
		out["additionalProperties"] = object{"surelyNoSetting": 1}
	}
	return out
}

// right are values at the bounds of a rule.
func right(rule object) object {
	out := object{}
	if values, is := rule["enum"].([]any); is {
		for _, v := range values {
			s, _ := v.(string)
			out["enum "+s] = v
		}
	}
	if rule["type"] == "integer" {
		for _, word := range []string{"minimum", "maximum"} {
			if rule[word] != nil {
				out[word] = rule[word]
			}
		}
	}
	if d := rule["default"]; d != nil {
		out["default"] = d
	}
	return out
}
