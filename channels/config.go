package channels

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
)

// FieldError is a setting that is wrong. Field is its path in the
// configuration ("attachments[1].maxBytes") or a secret's name; Message holds no
// value of a secret.
type FieldError struct{ Field, Message string }

// Error implements error.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Validator is implemented by a configuration with rules over several fields.
// Validate returns a *FieldError. It runs after the checks of the tags, and also
// when no secrets are given.
type Validator interface{ Validate() error }

// DecodeConfig makes the value for Kind.Open, of the type of Kind.Config, from
// the stored configuration and its secrets (the current value first, then
// previous ones that are still valid). Missing and null settings take their
// default. With secrets == nil the configuration alone is checked and no secret
// is missed: so a channel can be saved before its secrets are entered.
//
// Errors are *FieldError: an unknown setting, a wrong type or value, a missing
// required setting or secret, an unknown secret.
func DecodeConfig(kind Kind, raw json.RawMessage, secrets map[string][]string) (any, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = json.RawMessage("{}")
	}
	target := reflect.New(reflect.TypeOf(kind.Config)).Elem()
	if err := decodeStruct(target, raw, ""); err != nil {
		return nil, err
	}
	if err := setSecrets(target, secrets); err != nil {
		return nil, err
	}
	if v, ok := target.Interface().(Validator); ok {
		if err := v.Validate(); err != nil {
			return nil, err
		}
	}
	return target.Interface(), nil
}

func setSecrets(target reflect.Value, secrets map[string][]string) error {
	fields, err := structFields(target.Type())
	if err != nil {
		return err
	}
	rest := maps.Clone(secrets)
	for _, f := range fields {
		if !f.secret {
			continue
		}
		s := NewSecret(secrets[f.name]...)
		delete(rest, f.name)
		switch {
		case secrets != nil && f.required && !s.Set():
			return &FieldError{f.name, "is required"}
		case !f.rotates && len(s.values) > 1:
			return &FieldError{f.name, "takes one value only"}
		}
		target.Field(f.index).Set(reflect.ValueOf(s))
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		return &FieldError{name, "is no secret of this kind"}
	}
	return nil
}

func decodeStruct(target reflect.Value, raw json.RawMessage, path string) error {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil || given == nil {
		return &FieldError{path, "must be an object"}
	}
	fields, err := structFields(target.Type())
	if err != nil {
		return err
	}
	for _, f := range fields {
		if f.secret {
			if _, there := given[f.name]; there {
				return &FieldError{join(path, f.name), "is a secret and is set apart from the configuration"}
			}
			continue
		}
		value, there := given[f.name]
		delete(given, f.name)
		if err := decodeField(target.Field(f.index), f, value, there, join(path, f.name)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		return &FieldError{join(path, name), "is no setting of this kind"}
	}
	return nil
}

func decodeField(target reflect.Value, f field, raw json.RawMessage, there bool, path string) error {
	if !there || string(raw) == "null" {
		switch {
		case f.required:
			return &FieldError{path, "is required"}
		case f.fallback != "":
			return setDefault(target, f)
		case target.Kind() == reflect.Struct:
			return decodeStruct(target, json.RawMessage("{}"), path)
		}
		return nil
	}
	if err := decodeValue(target, raw, path); err != nil {
		return err
	}
	return f.check(target, path)
}

// setDefault writes the default of a tag; structFields has proved it fits.
func setDefault(target reflect.Value, f field) error {
	switch target.Kind() {
	case reflect.String:
		target.SetString(f.fallback)
	case reflect.Bool:
		target.SetBool(f.fallback == "true")
	default:
		n, err := strconv.ParseInt(f.fallback, 10, 64)
		if err != nil {
			return &FieldError{f.name, "has a wrong default"}
		}
		target.SetInt(n)
	}
	return nil
}

// decodeValue reads one value. The messages say what is wanted and never repeat
// what was given, which may be a secret in the wrong place.
func decodeValue(target reflect.Value, raw json.RawMessage, path string) error {
	switch target.Kind() {
	case reflect.Struct:
		return decodeStruct(target, raw, path)
	case reflect.Pointer:
		target.Set(reflect.New(target.Type().Elem()))
		return decodeStruct(target.Elem(), raw, path)
	case reflect.Slice:
		var items []json.RawMessage
		if err := json.Unmarshal(raw, &items); err != nil {
			return &FieldError{path, "must be a list"}
		}
		list := reflect.MakeSlice(target.Type(), len(items), len(items))
		for i, item := range items {
			if err := decodeValue(list.Index(i), item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		target.Set(list)
		return nil
	default:
		if string(raw) == "null" || json.Unmarshal(raw, target.Addr().Interface()) != nil {
			return &FieldError{path, "must be " + typeWords[target.Kind()]}
		}
		return nil
	}
}

var typeWords = map[reflect.Kind]string{
	reflect.String: "a text", reflect.Bool: "true or false",
	reflect.Int: "a whole number", reflect.Int64: "a whole number",
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
