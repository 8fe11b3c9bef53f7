package bench

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"tributary/internal/store"
)

// prepared is a statement of a floor with the names of its parameters in order.
type prepared struct {
	*sql.Stmt
	names []string
}

// prepare prepares a text whose parameters have names ($ws); it is closed when the measurement ends.
func prepare(b testing.TB, s *store.Store, query string) prepared {
	b.Helper()
	text, names := numbered(query)
	st, err := s.DB.PrepareContext(b.Context(), s.SQL(text))
	if err != nil {
		b.Fatalf("%v\n%s", err, text)
	}
	b.Cleanup(func() { _ = st.Close() })
	return prepared{st, names}
}

// numbered replaces each name by the next number.
func numbered(query string) (text string, names []string) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(query, "$")
		out.WriteString(before)
		if !found {
			return out.String(), names
		}
		name, _, _ := strings.Cut(strings.Map(func(r rune) rune {
			if r == '_' || r >= 'a' && r <= 'z' {
				return r
			}
			return ' '
		}, rest), " ")
		names = append(names, name)
		fmt.Fprintf(&out, "$%d", len(names))
		query = rest[len(name):]
	}
}

func (p prepared) args(v map[string]any) []any {
	args := make([]any, len(p.names))
	for n, name := range p.names {
		args[n] = v[name]
	}
	return args
}
