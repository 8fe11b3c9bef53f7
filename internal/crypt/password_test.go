package crypt_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"tributary/internal/crypt"
)

func hash(t *testing.T, pw string) string {
	t.Helper()
	h, err := crypt.HashPassword(pw)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestPassword(t *testing.T) {
	t.Parallel()
	h := hash(t, "Grüße 你好")
	if !strings.HasPrefix(h, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %q is not in PHC form with our parameters", h)
	}
	if !crypt.CheckPassword(h, "Grüße 你好") {
		t.Error("the right password is refused")
	}
	if crypt.CheckPassword(h, "Grüße 你好 ") || crypt.CheckPassword(h, "") {
		t.Error("a wrong password passes")
	}
	if h == hash(t, "Grüße 你好") {
		t.Error("two hashes of one password are equal")
	}
	for _, pw := range []string{"", strings.Repeat("a", 1025)} {
		if _, err := crypt.HashPassword(pw); !errors.Is(err, crypt.ErrPassword) {
			t.Errorf("password of %d bytes: %v", len(pw), err)
		}
	}
	crypt.BurnPassword(strings.Repeat("a", 5000)) // must not fail, whatever the length
}

// A hash by the reference implementation (argon2 command line, other parameters than ours) must still be checked.
func TestCheckPasswordReadsOtherParameters(t *testing.T) {
	t.Parallel()
	const h = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if !crypt.CheckPassword(h, "password") {
		t.Error("the reference vector is refused")
	}
	if crypt.CheckPassword(h, "Password") {
		t.Error("a wrong password passes the reference vector")
	}
}

func TestCheckPasswordRefusesDamagedHashes(t *testing.T) {
	t.Parallel()
	h := hash(t, "pw")
	for _, bad := range []string{
		"", "pw", "$", "$$$$$",
		strings.Replace(h, "argon2id", "argon2i", 1),
		strings.Replace(h, "v=19", "v=16", 1),
		strings.Replace(h, "m=19456", "m=0", 1),
		strings.Replace(h, "m=19456", "m=4194304", 1),
		strings.Replace(h, "t=2", "t=0", 1),
		strings.Replace(h, "t=2", "t=4000000000", 1),
		strings.Replace(h, "p=1", "p=0", 1),
		strings.Replace(h, "p=1", "p=300", 1),
		h[:strings.LastIndex(h, "$")+1],
		h + "!",
		h + "$",
	} {
		if crypt.CheckPassword(bad, "pw") {
			t.Errorf("hash %q passes", bad)
		}
	}
}

// Work is compared by memory, not by time: memory is argon2's cost, and a clock decides nothing on a busy machine.
// Not parallel: it reads a counter of the whole process.
func TestBurnDoesEqualWork(t *testing.T) {
	h := hash(t, "pw")
	work := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	want := work(func() { crypt.CheckPassword(h, "wrong") })
	for name, got := range map[string]uint64{
		"unknown account":  work(func() { crypt.BurnPassword("wrong") }),
		"damaged hash":     work(func() { crypt.CheckPassword("", "wrong") }),
		"endless password": work(func() { crypt.CheckPassword(h, strings.Repeat("a", 5000)) }),
	} {
		if got < want*9/10 || got > want*11/10 {
			t.Errorf("%s costs %d bytes, a check %d", name, got, want)
		}
	}
}
