package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"entgo.io/ent/dialect"
)

// pruneBatch is how many rows one statement deletes: on SQLite nobody else writes meanwhile.
const pruneBatch = 1000

// Delete removes the rows of a table that fulfil the condition, over all workspaces, in batches that let others write
// in between. It answers how many are gone. The condition has parameters $1, $2 …; both are the caller's text, never a
// person's.
func (s *Store) Delete(ctx context.Context, table, condition string, args ...any) (int, error) {
	query := s.SQL(fmt.Sprintf("DELETE FROM %s WHERE id IN (SELECT id FROM %s WHERE %s LIMIT %d)", table, table, condition, pruneBatch))
	for total := 0; ; {
		r, err := s.DB.ExecContext(ctx, query, args...)
		if err != nil {
			return total, fmt.Errorf("delete from %s: %w", table, err)
		}
		n, err := r.RowsAffected()
		if err != nil {
			return total, fmt.Errorf("delete from %s: %w", table, err)
		}
		total += int(n)
		if n < pruneBatch {
			return total, nil
		}
	}
}

// SQL turns the parameters $1, $2 … into the form of the dialect. The text must hold no other dollar sign.
func (s *Store) SQL(query string) string {
	if s.Dialect == dialect.SQLite {
		return strings.ReplaceAll(query, "$", "?")
	}
	return query
}

// SweepIdempotency forgets the keys of mutations that are older than that, and answers how many.
func (s *Store) SweepIdempotency(ctx context.Context, olderThan time.Duration) (int, error) {
	return s.Delete(ctx, "idempotency_keys", "at < $1", time.Now().UTC().Add(-olderThan))
}
