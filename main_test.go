package main

import (
	"testing"
	"time"

	"tributary/internal/config"
	"tributary/internal/gid"
	"tributary/internal/limit"
	"tributary/internal/viewer"
)

func TestChargeGivesEachTokenABucketOfItsOwn(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	take := charge(limit.NewMemory(func() time.Time { return now }, 100), config.Limits{
		BudgetAgent: config.Budget{Points: 100, PerSecond: 10}, AnonymousQueries: config.Rate{Times: 2, Per: time.Hour},
	})
	ann := &viewer.Viewer{Kind: viewer.KindAgent, Token: gid.Make(gid.Session)}
	ben := &viewer.Viewer{Kind: viewer.KindAgent, Token: gid.Make(gid.Session)}
	if left, _, ok := take(t.Context(), ann, "a", 90); !ok || left != 10 {
		t.Fatal(left, ok)
	}
	if _, wait, ok := take(t.Context(), ann, "a", 90); ok || wait != 8*time.Second {
		t.Fatal(wait, ok)
	}
	if _, _, ok := take(t.Context(), ben, "a", 90); !ok {
		t.Fatal("one token ate the budget of another")
	}
	if _, _, ok := take(t.Context(), ben, "a", 101); ok {
		t.Fatal("an operation above the whole bucket went through")
	}
	for n := range 3 { // without a token it is tries that count, whatever they cost
		if _, _, ok := take(t.Context(), nil, "b", 1000); ok != (n < 2) {
			t.Fatalf("try %d: %v", n, ok)
		}
	}
}

// TestPhonesRegisterAtThePublicHost: what agents type into their phones is how the world reaches us, at the phones' port.
func TestPhonesRegisterAtThePublicHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		public string
		phones uint16
		want   string
	}{
		{"https://desk.example", 5070, "desk.example:5070"},
		{"http://127.0.0.1:8080", 5071, "127.0.0.1:5071"},
		{"https://[2001:db8::1]:8443", 5070, "[2001:db8::1]:5070"},
		{"", 5070, ""},
	} {
		if got := registrar(c.public, c.phones); got != c.want {
			t.Errorf("%s with phones at %d: %q, want %q", c.public, c.phones, got, c.want)
		}
	}
}
