package crypt_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"tributary/internal/crypt"
)

// The test binary is its own child: with this variable it opens the named keyset, prints a derived key and ends.
const childEnv = "CRYPT_TEST_OPEN"

func TestMain(m *testing.M) {
	path := os.Getenv(childEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	b, err := crypt.Open(path)
	if err == nil && os.Getenv("CRYPT_TEST_ROTATE") != "" {
		err = b.Rotate()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%x", b.Key("test"))
}

func open(t *testing.T, path string) *crypt.Box {
	t.Helper()
	b, err := crypt.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func fresh(t *testing.T) *crypt.Box {
	t.Helper()
	b, err := crypt.New()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func seal(t *testing.T, b *crypt.Box, plain, ad string) []byte {
	t.Helper()
	c, err := b.Seal([]byte(plain), []byte(ad))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustUnseal(t *testing.T, b *crypt.Box, cipher []byte, ad, want string) {
	t.Helper()
	got, err := b.Unseal(cipher, []byte(ad))
	if err != nil || string(got) != want {
		t.Fatalf("Unseal = %q, %v; want %q", got, err, want)
	}
}

func TestSealIsBoundToItsPlace(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	c := seal(t, b, "13812345678", "identity.value")
	if bytes.Contains(c, []byte("138")) {
		t.Error("the sealed value contains the plain one")
	}
	mustUnseal(t, b, c, "identity.value", "13812345678")
	if bytes.Equal(c, seal(t, b, "13812345678", "identity.value")) {
		t.Error("sealing twice gave the same bytes")
	}
	damaged := bytes.Clone(c)
	damaged[len(damaged)-1] ^= 1
	for name, f := range map[string]func() ([]byte, error){
		"other place":  func() ([]byte, error) { return b.Unseal(c, []byte("customer.name")) },
		"other keyset": func() ([]byte, error) { return fresh(t).Unseal(c, []byte("identity.value")) },
		"damaged":      func() ([]byte, error) { return b.Unseal(damaged, []byte("identity.value")) },
		"empty":        func() ([]byte, error) { return b.Unseal(nil, []byte("identity.value")) },
	} {
		if plain, err := f(); !errors.Is(err, crypt.ErrUnseal) || plain != nil {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
}

func TestBlind(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	one, two := [16]byte{1}, [16]byte{2}
	want := b.Blind(one, "phone", "+8613812345678")
	if raw, err := hex.DecodeString(want); err != nil || len(raw) != 16 {
		t.Errorf("Blind = %q, want 16 bytes in hex", want)
	}
	if got := b.Blind(one, "phone", "+8613812345678"); got != want {
		t.Error("equal values have different shadows")
	}
	for name, got := range map[string]string{
		"workspace": b.Blind(two, "phone", "+8613812345678"),
		"field":     b.Blind(one, "email", "+8613812345678"),
		"value":     b.Blind(one, "phone", "+8613812345679"),
		"border":    b.Blind(one, "phone+", "8613812345678"),
		"keyset":    fresh(t).Blind(one, "phone", "+8613812345678"),
	} {
		if got == want {
			t.Errorf("another %s has the same shadow", name)
		}
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	b := fresh(t)
	k := b.Key("blob url")
	if len(k) != 32 || !bytes.Equal(k, b.Key("blob url")) || bytes.Equal(k, b.Key("cursor")) {
		t.Error("keys must be 32 bytes, stable, and differ by purpose")
	}
}

func TestOpenKeepsOneKeyset(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data", "keys")
	path := filepath.Join(dir, "keyset.json")
	first := open(t, path)
	c, key := seal(t, first, "v", "a"), first.Key("x")
	second := open(t, path)
	mustUnseal(t, second, c, "a", "v")
	if !bytes.Equal(second.Key("x"), key) {
		t.Error("reopened keyset derives another key")
	}
	if runtime.GOOS == "windows" {
		return
	}
	for p, want := range map[string]os.FileMode{path: 0o600, dir: 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode of %s: %v, %v; want %v", p, info.Mode().Perm(), err, want)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".keyset-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}

func TestOpenRacing(t *testing.T) {
	t.Parallel()
	for round := range 20 {
		path := filepath.Join(t.TempDir(), fmt.Sprint(round), "keyset.json")
		keys := make([]string, 16)
		var wg sync.WaitGroup
		for i := range keys {
			wg.Go(func() {
				b, err := crypt.Open(path)
				if err != nil {
					t.Error(err)
					return
				}
				keys[i] = string(b.Key("x"))
			})
		}
		wg.Wait()
		for _, k := range keys {
			if k != keys[0] {
				t.Fatal("two keysets after a race")
			}
		}
	}
}

// run starts children that open path at once and returns what each printed.
func run(t *testing.T, path string, n int, env ...string) []string {
	t.Helper()
	out := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(append(os.Environ(), childEnv+"="+path), env...)
			b, err := cmd.Output()
			if err != nil {
				t.Errorf("child: %v", err)
			}
			out[i] = string(b)
		})
	}
	wg.Wait()
	return out
}

func TestOpenRacingProcesses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "keyset.json")
	want := ""
	for _, key := range run(t, path, 6) {
		if want == "" {
			want = key
		}
		if key == "" || key != want {
			t.Fatalf("processes hold different keysets: %q and %q", key, want)
		}
	}
	if got := fmt.Sprintf("%x", open(t, path).Key("test")); got != want {
		t.Error("the file holds another keyset than the processes")
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	b := open(t, path)
	reader := open(t, path) // another node, opened before the rotation
	before, key, blind := seal(t, b, "old", "a"), b.Key("x"), b.Blind([16]byte{1}, "f", "v")
	if err := b.Rotate(); err != nil {
		t.Fatal(err)
	}
	after := seal(t, b, "new", "a")
	if bytes.Equal(before[:5], after[:5]) { // tink's prefix names the key
		t.Error("rotation did not change the sealing key")
	}
	for _, box := range []*crypt.Box{b, reader, open(t, path)} {
		mustUnseal(t, box, before, "a", "old")
		mustUnseal(t, box, after, "a", "new")
		if !bytes.Equal(box.Key("x"), key) || box.Blind([16]byte{1}, "f", "v") != blind {
			t.Error("rotation changed a derived key")
		}
	}
	memory := fresh(t)
	before = seal(t, memory, "old", "a")
	if err := memory.Rotate(); err != nil {
		t.Fatal(err)
	}
	mustUnseal(t, memory, before, "a", "old")
}

func TestRotateRacingLosesNoKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	boxes := []*crypt.Box{open(t, path), open(t, path), open(t, path)}
	var mu sync.Mutex
	var sealed [][]byte
	var wg sync.WaitGroup
	for _, b := range boxes {
		for range 5 {
			wg.Go(func() {
				if err := b.Rotate(); err != nil {
					t.Error(err)
				}
				c, err := b.Seal([]byte("v"), nil)
				if err != nil {
					t.Error(err)
				}
				if _, err := b.Unseal(c, nil); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				sealed = append(sealed, c)
			})
		}
	}
	wg.Wait()
	run(t, path, 3, "CRYPT_TEST_ROTATE=1")
	last := open(t, path)
	for _, c := range sealed {
		mustUnseal(t, last, c, "", "v")
		for _, b := range boxes {
			mustUnseal(t, b, c, "", "v")
		}
	}
}

func TestRotateSavesFirst(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	b := open(t, path)
	before := seal(t, b, "v", "a")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := b.Rotate(); err == nil {
		t.Fatal("rotation without a file succeeded")
	}
	after := seal(t, b, "v", "a")
	if !bytes.Equal(before[:5], after[:5]) {
		t.Error("a key that was never saved is in use")
	}
	mustUnseal(t, b, before, "a", "v")
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	good := filepath.Join(t.TempDir(), "keyset.json")
	open(t, good)
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"empty":        {},
		"cut":          data[:len(data)/2],
		"no json":      []byte("master=secretsecretsecret"),
		"version":      bytes.Replace(data, []byte(`"version":1`), []byte(`"version":9`), 1),
		"no keyset":    []byte(`{"version":1,"aead":{},"master":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`),
		"short master": []byte(`{"version":1,"aead":{},"master":"AAAA"}`),
	} {
		path := filepath.Join(t.TempDir(), "keyset.json")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := crypt.Open(path)
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v does not name the file", name, err)
		} else if strings.Contains(err.Error(), "secretsecret") {
			t.Errorf("%s: the error quotes the content: %v", name, err)
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, content) {
			t.Errorf("%s: the damaged file was overwritten", name)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(good, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := crypt.Open(good); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a keyset that everybody can read: %v", err)
	}
}

// Not parallel: it changes the process-wide Box.
func TestCurrent(t *testing.T) {
	b := fresh(t)
	crypt.Use(b)
	t.Cleanup(func() { crypt.Use(nil) })
	if crypt.Current() != b {
		t.Error("Current is not the Box given to Use")
	}
	crypt.Use(nil)
	if _, err := crypt.Current().Seal(nil, nil); !errors.Is(err, crypt.ErrNoBox) {
		t.Errorf("Seal without a Box: %v", err)
	}
	if _, err := crypt.Current().Unseal(nil, nil); !errors.Is(err, crypt.ErrNoBox) {
		t.Errorf("Unseal without a Box: %v", err)
	}
	if err := crypt.Current().Rotate(); !errors.Is(err, crypt.ErrNoBox) {
		t.Errorf("Rotate without a Box: %v", err)
	}
	defer func() {
		if s, _ := recover().(string); !strings.Contains(s, "crypt.Use must be called") {
			t.Errorf("Blind without a Box panicked with %q", s)
		}
	}()
	crypt.Current().Blind([16]byte{}, "f", "v")
}
