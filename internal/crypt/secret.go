package crypt

import (
	"fmt"
	"io"
	"log/slog"
)

const masked = "[secret]"

// Secret is a text that must not be printed: a password, an API key, a webhook secret. Every fmt verb, JSON, text
// encoding and slog show `[secret]`; decoding takes the text as it is, so configuration can be read into it. Two
// doors no method can close: fmt calls nothing on unexported fields, and encoding/json nothing on map keys of kind
// string, so keep it in exported fields and out of keys.
type Secret string

// Clear is the text itself. Who calls it answers for where it goes.
func (s Secret) Clear() string { return string(s) }

// String hides the text.
func (s Secret) String() string { return masked }

// GoString hides the text from %#v.
func (s Secret) GoString() string { return masked }

// Format hides the text from every verb; without it %d would print the text inside its complaint.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, masked) }

// MarshalText hides the text from JSON, XML and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// UnmarshalText takes the text as it is.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = Secret(b)
	return nil
}

// LogValue hides the text from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }
