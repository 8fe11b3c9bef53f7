package auth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tributary/internal/auth"
	"tributary/internal/gid"
)

func TestATokenSaysWhatWasSignedUntilItsTime(t *testing.T) {
	now := time.Now()
	s := auth.NewSigner([]byte(strings.Repeat("k", 32)), func() time.Time { return now })
	want := auth.Claims{Kind: auth.Agent, Workspace: gid.Make(gid.Workspace), Session: gid.Make(gid.Session)}
	token, until, err := s.Sign(want, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Parse(token)
	if err != nil || got.Kind != want.Kind || got.Workspace != want.Workspace || got.Session != want.Session || !got.ExpiresAt.Equal(until.Truncate(time.Second)) {
		t.Errorf("%+v, %v", got, err)
	}
	if again, _, _ := s.Sign(want, time.Minute); again == token {
		t.Error("two tokens of one session and moment are the same")
	}
	now = now.Add(61 * time.Second)
	if _, err := s.Parse(token); !errors.Is(err, auth.ErrToken) {
		t.Errorf("past its time: %v", err)
	}
}

func TestForgedAndForeignTokensAreRefused(t *testing.T) {
	ours := auth.NewSigner([]byte(strings.Repeat("k", 32)), time.Now)
	foreign, _, err := auth.NewSigner([]byte(strings.Repeat("x", 32)), time.Now).Sign(auth.Claims{Kind: auth.Operator}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	own, _, err := ours.Sign(auth.Claims{Kind: auth.Visitor}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(own, ".")
	body, _, _ := strings.Cut(rest, ".")
	// {"alg":"none","typ":"JWT"}: the algorithm is ours to say, never the token's.
	none := "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0." + body + "."
	for name, token := range map[string]string{"foreign": foreign, "none": none, "empty": "", "cut": head + "." + body, "tampered": own[:len(own)-4] + "AAAA"} {
		if _, err := ours.Parse(token); !errors.Is(err, auth.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
