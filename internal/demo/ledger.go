package demo

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LedgerName is the ledger's file. A folder that holds it was made by a demo, and may be emptied by the next one.
const LedgerName = "demo.json"

// ledger knows what was made, so that a second start finds it. It is written before a secret is used and after each step,
// so that a start that was killed goes on where it was; a step that was done and not noted has its idempotency key.
type ledger struct {
	path string

	Nonce     string            `json:"nonce"` // begins every idempotency key
	Seed      uint64            `json:"seed"`
	Starts    uint64            `json:"starts"`
	Done      map[string]string `json:"done"`      // step → id of what it made
	Passwords map[string]string `json:"passwords"` // address → password
	Joined    map[string]bool   `json:"joined"`    // address → whether the password is set
	Secrets   map[string]string `json:"secrets"`   // of channels
}

// openLedger reads the ledger, or begins one. A seed that is given takes the place of the one there.
func openLedger(folder string, seed uint64) (*ledger, error) {
	l := &ledger{path: filepath.Join(folder, LedgerName), Done: map[string]string{}, Passwords: map[string]string{}, Joined: map[string]bool{}, Secrets: map[string]string{}}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the demo's folder: %w", err)
	}
	raw, err := os.ReadFile(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.Nonce = random(10)
	case err != nil:
		return nil, fmt.Errorf("read the demo's ledger: %w", err)
	default:
		if err := json.Unmarshal(raw, l); err != nil {
			return nil, fmt.Errorf("read the demo's ledger %s: %w", l.path, err)
		}
	}
	if l.Seed == 0 {
		if l.Seed, err = newSeed(); err != nil {
			return nil, err
		}
	}
	if seed != 0 {
		l.Seed = seed
	}
	l.Starts++
	return l, l.save()
}

// save replaces the file as a whole.
func (l *ledger) save() error {
	raw, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("write the demo's ledger: %w", err)
	}
	next := l.path + ".next"
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return fmt.Errorf("write the demo's ledger: %w", err)
	}
	if err := os.Rename(next, l.path); err != nil {
		return fmt.Errorf("write the demo's ledger: %w", err)
	}
	return nil
}

// password is that of an address: drawn once.
func (l *ledger) password(address string) (string, error) {
	if l.Passwords[address] == "" {
		s := random(8)
		l.Passwords[address] = s[:4] + "-" + s[4:8] + "-" + s[8:]
		if err := l.save(); err != nil {
			return "", err
		}
	}
	return l.Passwords[address], nil
}

// secret is that of a channel: drawn once.
func (l *ledger) secret(name string) (string, error) {
	if l.Secrets[name] == "" {
		l.Secrets[name] = random(32)
		if err := l.save(); err != nil {
			return "", err
		}
	}
	return l.Secrets[name], nil
}

// random is a text of so many random bytes, in letters that can be typed.
func random(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails since Go 1.24: it ends the process instead
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
