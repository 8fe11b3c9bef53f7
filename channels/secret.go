package channels

// Secret is the type of a secret setting: a signing key, a password. It is
// never part of the configuration's JSON, and printing or encoding it gives
// stars, so that it cannot slip into a log or an error.
type Secret struct{ values []string }

// NewSecret makes a secret from its values, the current one first, then those
// that are still valid while it rotates. Empty values are dropped.
func NewSecret(values ...string) Secret {
	var s Secret
	for _, v := range values {
		if v != "" {
			s.values = append(s.values, v)
		}
	}
	return s
}

// Set reports whether there is a value.
func (s Secret) Set() bool { return len(s.values) > 0 }

// Current returns the value to sign with; empty when not set.
func (s Secret) Current() string {
	if len(s.values) == 0 {
		return ""
	}
	return s.values[0]
}

// All returns the values that are valid for checking, the current one first.
func (s Secret) All() []string { return append([]string(nil), s.values...) }

const hidden = "***"

// String hides the value.
func (s Secret) String() string { return hidden }

// GoString hides the value from %#v.
func (s Secret) GoString() string { return hidden }

// MarshalJSON hides the value.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
