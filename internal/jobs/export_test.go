package jobs

import (
	"context"
	"testing"

	"tributary/internal/store"
)

// Abandon claims the one due job of the kind and does nothing with it, as a process does that dies.
func Abandon(t *testing.T, r *Runner, kind string) *Claim {
	t.Helper()
	query, args, _ := r.claimSQL()
	claims, err := r.take(t.Context(), query, args)
	if err != nil || len(claims) != 1 || claims[0].Kind != kind {
		t.Fatalf("claims %v, %v", claims, err)
	}
	claims[0].cancel = func(error) {}
	return claims[0]
}

// Recover does what Run does first.
func Recover(t *testing.T, r *Runner) {
	t.Helper()
	if err := r.recover(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Plan is how SQLite runs the claim.
func Plan(t *testing.T, s *store.Store, kinds ...string) (plan []string) {
	t.Helper()
	r := NewRunner(s, Config{})
	for _, k := range kinds {
		r.Register(k, func(context.Context, *Claim) error { return nil }, Options{})
	}
	query, args, _ := r.claimSQL()
	rows, err := s.DB.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return plan
}
