package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/99designs/gqlgen/graphql"
)

// layout is RFC 3339 in UTC with milliseconds (scalar `DateTime`).
const layout = `"2006-01-02T15:04:05.000Z"`

// MarshalDateTime writes the scalar.
func MarshalDateTime(t time.Time) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		b := make([]byte, 0, len(layout))
		_, _ = w.Write(t.UTC().AppendFormat(b, layout))
	})
}

// UnmarshalDateTime reads any RFC 3339 time.
func UnmarshalDateTime(v any) (time.Time, error) {
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, errors.New("a DateTime is RFC 3339, such as 2026-01-02T15:04:05.000Z")
	}
	return t.UTC().Truncate(time.Microsecond), nil
}

// MarshalJSON writes the scalar `JSON`.
func MarshalJSON(m json.RawMessage) graphql.Marshaler {
	return graphql.WriterFunc(func(w io.Writer) {
		var b bytes.Buffer
		if len(m) == 0 || json.Compact(&b, m) != nil {
			_, _ = io.WriteString(w, "null")
			return
		}
		_, _ = w.Write(b.Bytes())
	})
}

// UnmarshalJSON reads any value.
func UnmarshalJSON(v any) (json.RawMessage, error) { return json.Marshal(v) }
