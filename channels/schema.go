package channels

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
)

// SecretField describes a secret setting of a kind.
type SecretField struct {
	Name, Title string
	// Required: the channel does not open without it.
	Required bool
	// Rotates: previous values may stay valid beside the current one.
	Rotates bool
}

// SecretFields lists the secrets of a kind in the order of its configuration.
func SecretFields(kind Kind) []SecretField {
	fields, err := structFields(reflect.TypeOf(kind.Config))
	if err != nil {
		return nil // Register has refused such a kind.
	}
	var list []SecretField
	for _, f := range fields {
		if f.secret {
			list = append(list, SecretField{Name: f.name, Title: f.title, Required: f.required, Rotates: f.rotates})
		}
	}
	return list
}

// ConfigSchema returns the JSON Schema (2020-12) of a kind's configuration and
// the names of its secrets, which are no part of the schema. It is made from
// these tags of the struct's fields:
//
//	json      the name of the setting; required, and the only option is the name
//	title     the name for people; default: made from the name
//	doc       one sentence for people
//	required  "true": must be given
//	default   the value when not given: text, whole number, true or false
//	enum      the allowed texts, separated by commas; for a list: of its items
//	format    "url" (http or https) or "origin"; for a list: of its items
//	min, max  bounds of a number, or of the length of a text (runes) or list
//	rotates   "true", for a Secret: previous values may be valid
//
// Field types are string, bool, int, int64, Secret, structs, pointers to structs
// and lists of strings or structs.
func ConfigSchema(kind Kind) (schema []byte, secrets []string) {
	root := objectSchema(reflect.TypeOf(kind.Config))
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = kind.Title
	schema, err := json.Marshal(root)
	if err != nil {
		return nil, nil // Only strings, numbers and maps went in.
	}
	for _, s := range SecretFields(kind) {
		secrets = append(secrets, s.Name)
	}
	return schema, secrets
}

func objectSchema(t reflect.Type) map[string]any {
	fields, _ := structFields(t)
	properties, required := map[string]any{}, []string{}
	for i, f := range fields {
		if f.secret {
			continue
		}
		property := f.schema(t.Field(f.index).Type)
		property["x-order"] = i // Objects have no order, forms need one.
		properties[f.name] = property
		if f.required {
			required = append(required, f.name)
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func (f field) schema(t reflect.Type) map[string]any {
	s := typeSchema(t)
	s["title"] = f.title
	if f.doc != "" {
		s["description"] = f.doc
	}
	if f.fallback != "" {
		s["default"] = f.defaultValue(t.Kind())
	}
	item := s
	if t.Kind() == reflect.Slice {
		item, _ = s["items"].(map[string]any)
	}
	if len(f.enum) > 0 {
		item["enum"] = f.enum
	}
	if f.format != "" {
		item["format"] = "uri"
	}
	low, high := boundWords(t.Kind())
	if f.min != nil {
		s[low] = *f.min
	}
	if f.max != nil {
		s[high] = *f.max
	}
	return s
}

func (f field) defaultValue(k reflect.Kind) any {
	switch k {
	case reflect.Bool:
		return f.fallback == "true"
	case reflect.Int, reflect.Int64:
		n, _ := strconv.ParseInt(f.fallback, 10, 64)
		return n
	}
	return f.fallback
}

func typeSchema(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Struct:
		return objectSchema(t)
	case reflect.Pointer:
		return objectSchema(t.Elem())
	case reflect.Slice:
		return map[string]any{"type": "array", "items": typeSchema(t.Elem())}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	}
	return map[string]any{"type": "string"}
}

func boundWords(k reflect.Kind) (low, high string) {
	switch k {
	case reflect.String:
		return "minLength", "maxLength"
	case reflect.Slice:
		return "minItems", "maxItems"
	}
	return "minimum", "maximum"
}

// titleOf makes words of a camel-case name: "callbackUrl" → "Callback url".
func titleOf(name string) string {
	var b strings.Builder
	for i, r := range name {
		switch {
		case i == 0:
			b.WriteRune(unicode.ToUpper(r))
		case unicode.IsUpper(r):
			b.WriteString(" " + string(unicode.ToLower(r)))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func typeError(t reflect.Type, f reflect.StructField, format string, args ...any) error {
	return fmt.Errorf("config %s, field %s: %s", t, f.Name, fmt.Sprintf(format, args...))
}
