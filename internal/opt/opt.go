// Package opt tells an absent input member from a null one without knowing GraphQL: absent leaves unchanged, null clears
// (contract, "Update inputs"). gqlgen calls UnmarshalGQL with nil for null and not at all for absent.
package opt

import (
	"encoding/json"
	"fmt"
	"io"

	"tributary/internal/gid"
)

// String is an optional, clearable text.
type String struct {
	Set bool
	V   *string
}

// UnmarshalGQL reads a String or null.
func (o *String) UnmarshalGQL(v any) error {
	o.Set = true
	switch v := v.(type) {
	case nil:
	case string:
		o.V = &v
	default:
		return fmt.Errorf("%T is not a String", v)
	}
	return nil
}

// MarshalGQL exists because gqlgen wants a pair; inputs are never written.
func (o String) MarshalGQL(w io.Writer) { writeJSON(w, o.V) }

// ID is an optional, clearable reference.
type ID struct {
	Set bool
	V   *gid.ID
}

// UnmarshalGQL reads an ID or null.
func (o *ID) UnmarshalGQL(v any) error {
	o.Set = true
	if v == nil {
		return nil
	}
	o.V = new(gid.ID)
	return o.V.UnmarshalGQL(v)
}

// MarshalGQL exists because gqlgen wants a pair; inputs are never written.
func (o ID) MarshalGQL(w io.Writer) { writeJSON(w, o.V) }

// Int is an optional, clearable whole number.
type Int struct {
	Set bool
	V   *int
}

// UnmarshalGQL reads an Int or null.
func (o *Int) UnmarshalGQL(v any) error {
	o.Set = true
	var n int64
	switch v := v.(type) {
	case nil:
		return nil
	case json.Number:
		x, err := v.Int64()
		if err != nil {
			return fmt.Errorf("%s is not an Int", v)
		}
		n = x
	case int64:
		n = v
	case int:
		n = int64(v)
	default:
		return fmt.Errorf("%T is not an Int", v)
	}
	i := int(n)
	o.V = &i
	return nil
}

// MarshalGQL exists because gqlgen wants a pair; inputs are never written.
func (o Int) MarshalGQL(w io.Writer) { writeJSON(w, o.V) }

func writeJSON(w io.Writer, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		_, _ = w.Write(b)
	}
}
