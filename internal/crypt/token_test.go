package crypt_test

import (
	"strings"
	"testing"

	"tributary/internal/crypt"
)

func TestToken(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 500 {
		clear, hash := crypt.Token("trb_app_")
		if len(clear) != len("trb_app_")+49 {
			t.Fatalf("token %q has %d characters", clear, len(clear))
		}
		if !crypt.CheckToken("trb_app_", clear) {
			t.Fatalf("fresh token %q is refused", clear)
		}
		if hash != crypt.HashToken(clear) {
			t.Fatal("hash is not HashToken of the clear text")
		}
		if seen[clear] {
			t.Fatal("token repeated")
		}
		seen[clear] = true
	}
}

func TestCheckTokenRefuses(t *testing.T) {
	t.Parallel()
	clear, _ := crypt.Token("trb_app_")
	for i := range clear {
		other := byte('x')
		if clear[i] == 'x' {
			other = 'y'
		}
		if typo := clear[:i] + string(other) + clear[i+1:]; crypt.CheckToken("trb_app_", typo) {
			t.Errorf("typo at %d passes", i)
		}
	}
	for name, s := range map[string]string{
		"empty":         "",
		"prefix only":   "trb_app_",
		"cut":           clear[:len(clear)-1],
		"longer":        clear + "0",
		"other prefix":  "trb_ses_" + strings.TrimPrefix(clear, "trb_app_"),
		"space":         clear + " ",
		"not ascii":     strings.Repeat("密", 19),
		"line":          strings.Replace(clear, clear[20:21], "\n", 1),
		"prefix inside": clear[1:] + "t",
	} {
		if crypt.CheckToken("trb_app_", s) {
			t.Errorf("%s passes", name)
		}
	}
}

func FuzzCheckToken(f *testing.F) {
	clear, _ := crypt.Token("trb_")
	f.Add("trb_", clear)
	f.Add("", "")
	f.Fuzz(func(_ *testing.T, prefix, s string) { crypt.CheckToken(prefix, s) })
}
