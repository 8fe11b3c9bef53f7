// Package personal holds values that must not leave in the clear by accident: phone numbers, addresses, names behind an
// identity. A Value prints as its mask in every verb, in JSON and in slog; Clear is the only door, and a lint rule lists
// who may open it. In the database the value is sealed (internal/crypt) and found again by a blind index.
//
// Masking is the default in the API, too (`PersonalText`): clear only for a viewer whose role shows that kind, and never
// in a subscription.
package personal

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"strings"

	"entgo.io/ent/schema/field"

	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Value is an opaque personal text.
type Value struct{ s string }

// Of wraps a clear text.
func Of(s string) Value { return Value{s} }

// Clear is the text itself. Who calls it answers for where it goes.
func (v Value) Clear() string { return v.s }

// IsZero reports whether there is no text.
func (v Value) IsZero() bool { return v.s == "" }

// String is the mask.
func (v Value) String() string { return Mask(v.s) }

// GoString is the mask.
func (v Value) GoString() string { return Mask(v.s) }

// Format is the mask for every verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, Mask(v.s)) }

// MarshalText is the mask, for JSON and slog.
func (v Value) MarshalText() ([]byte, error) { return []byte(Mask(v.s)), nil }

// Mask hides the middle: `138****5678`, `w****@example.com`; all of what is short.
func Mask(s string) string {
	if name, domain, ok := strings.Cut(s, "@"); ok && name != "" {
		return string([]rune(name)[:1]) + "****@" + domain
	}
	r := []rune(s)
	if len(r) < 8 {
		return "****"
	}
	return string(r[:3]) + "****" + string(r[len(r)-4:])
}

// Scanner seals on the way into the database and unseals on the way out; ad binds the ciphertext to its column.
func Scanner(ad string) field.ValueScannerFunc[Value, *sql.Null[[]byte]] {
	return field.ValueScannerFunc[Value, *sql.Null[[]byte]]{
		V: func(v Value) (driver.Value, error) {
			b, err := crypt.Current().Seal([]byte(v.s), []byte(ad))
			if err != nil {
				return nil, fmt.Errorf("seal %s: %w", ad, err)
			}
			return b, nil
		},
		S: func(n *sql.Null[[]byte]) (Value, error) {
			if !n.Valid {
				return Value{}, nil
			}
			b, err := crypt.Current().Unseal(n.V, []byte(ad))
			if err != nil {
				return Value{}, fmt.Errorf("unseal %s: %w", ad, err)
			}
			return Value{string(b)}, nil
		},
	}
}

// Blind is the searchable shadow of a normalised value; equal values of two workspaces have different shadows.
func Blind(workspace gid.ID, f, v string) string {
	return crypt.Current().Blind([16]byte(workspace), f, v)
}

// Kind is the sort of a personal value (`enum PersonalKind`).
type Kind string

// Text is what the API shows (`PersonalText`).
type Text struct {
	Text   string
	Masked bool
	Kind   Kind
}

// Show masks by default; clear only for a viewer whose role shows this kind, never in a live stream.
func Show(ctx context.Context, k Kind, v Value) *Text {
	if v.IsZero() {
		return nil
	}
	if w := viewer.From(ctx); w != nil && !viewer.IsLive(ctx) {
		for _, c := range w.Clear {
			if c == string(k) {
				return &Text{Text: v.s, Kind: k}
			}
		}
	}
	return &Text{Text: Mask(v.s), Masked: true, Kind: k}
}
