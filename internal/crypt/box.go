// Package crypt is the only room that holds key material: it seals values for the database, makes blind indexes and
// derived keys, mints and checks tokens, and hashes passwords.
//
// One file carries everything: an AES-256-GCM keyset (tink) whose primary seals and whose older keys still open, and a
// 32-byte master secret from which blind-index keys and the keys of other rooms are derived with HKDF. Losing the file
// is losing every sealed value, so it is written once, synced, and replaced only by an atomic rename.
//
// Neighbours: internal/personal and the ent schema seal columns through Current, because ent's value scanners are plain
// functions without a receiver; internal/auth uses tokens and passwords; internal/blob gets its signing key from Key.
//
// Invariants: a sealed value opens only with the associated data it was sealed with; blind indexes of two workspaces
// never compare equal; Rotate changes neither derived keys nor blind indexes. Nothing here logs, and no error text
// contains a key, a plain value or a token. No goroutines.
package crypt

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// ErrNoBox is returned by Seal, Unseal and Rotate when no keyset was opened: Current gave nil because Use was not called.
var ErrNoBox = errors.New("no keyset in use: crypt.Use must be called before values are sealed")

// ErrUnseal is returned when a value cannot be opened: a foreign key, other associated data, or damage. The three look
// alike on purpose.
var ErrUnseal = errors.New("sealed value cannot be opened")

const masterSize = 32

// Box seals and derives with one keyset. Safe for concurrent use.
type Box struct {
	path string // empty: in memory
	keys atomic.Pointer[keys]
	mu   sync.Mutex // one change at a time: Rotate and the reload after somebody else's
}

// keys is one unchangeable state of the keyset; a change swaps the whole.
type keys struct {
	handle *keyset.Handle
	aead   tink.AEAD
	master []byte
	prk    []byte      // HKDF-Extract of master, done once
	stamp  fs.FileInfo // the file it was read from; nil in memory
}

// New makes a Box with random keys that live in memory only, for tests and throw-away programs.
func New() (*Box, error) {
	k, err := generate()
	if err != nil {
		return nil, err
	}
	b := &Box{}
	b.keys.Store(k)
	return b, nil
}

// Seal encrypts plain and binds it to ad, which must be given again to Unseal; ad names the place the value belongs to.
func (b *Box) Seal(plain, ad []byte) ([]byte, error) {
	if b == nil {
		return nil, ErrNoBox
	}
	out, err := b.keys.Load().aead.Encrypt(plain, ad)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return out, nil
}

// Unseal decrypts what Seal made with the same ad. When the keyset file was changed by another process since it was
// read, it is read again before giving up, so nodes that share the file follow a rotation by themselves.
func (b *Box) Unseal(cipher, ad []byte) ([]byte, error) {
	if b == nil {
		return nil, ErrNoBox
	}
	old := b.keys.Load()
	plain, err := old.aead.Decrypt(cipher, ad)
	if err == nil {
		return plain, nil
	}
	now, ok := b.refresh(old)
	if !ok {
		return nil, ErrUnseal
	}
	if plain, err = now.aead.Decrypt(cipher, ad); err != nil {
		return nil, ErrUnseal
	}
	return plain, nil
}

// Blind is the searchable shadow of a value: HMAC-SHA256 under a key of the workspace, cut to 16 bytes, in hex. The
// caller normalises value; field is a constant of the code and has no NUL. It panics on a nil Box.
func (b *Box) Blind(workspace [16]byte, field, value string) string {
	m := hmac.New(sha256.New, b.Key("blind\x00"+string(workspace[:])))
	m.Write([]byte(field))
	m.Write([]byte{0})
	m.Write([]byte(value))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// Key derives a 32-byte key for one purpose (HKDF-SHA256). The same purpose gives the same key for the life of the file,
// across rotations. It panics on a nil Box, because a key that is not there must never be used as if it were.
func (b *Box) Key(purpose string) []byte {
	if b == nil {
		panic("crypt: " + ErrNoBox.Error())
	}
	out, err := hkdf.Expand(sha256.New, b.keys.Load().prk, purpose, 32)
	if err != nil { // only lengths over 255 hashes can fail
		panic("crypt: derive key: " + err.Error())
	}
	return out
}

// Rotate adds a new primary key for sealing; values sealed before still open. The file is saved before the new key is
// used, so no value can exist whose key is not on disk.
func (b *Box) Rotate() error {
	if b == nil {
		return ErrNoBox
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.path == "" {
		k, err := b.keys.Load().rotated()
		if err != nil {
			return err
		}
		b.keys.Store(k)
		return nil
	}
	unlock, err := lock(b.path + ".lock")
	if err != nil {
		return fmt.Errorf("rotate keyset %s: %w", b.path, err)
	}
	defer unlock()
	// Another process may have rotated since we read: adding to our old copy would throw its key away.
	k, err := load(b.path)
	if err != nil {
		return fmt.Errorf("rotate keyset: %w", err)
	}
	if k, err = k.rotated(); err != nil {
		return err
	}
	if k.stamp, err = save(b.path, k, true); err != nil {
		return fmt.Errorf("rotate keyset: %w", err)
	}
	b.keys.Store(k)
	return nil
}

// refresh gives newer keys than old if there are any: another goroutine's, or the file's.
func (b *Box) refresh(old *keys) (*keys, bool) {
	if b.path == "" || !changed(b.path, b.keys.Load().stamp) {
		now := b.keys.Load()
		return now, now != old
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.keys.Load(); !changed(b.path, now.stamp) {
		return now, now != old
	}
	now, err := load(b.path)
	if err != nil { // a damaged or missing file must not take away the keys we still hold
		return nil, false
	}
	b.keys.Store(now)
	return now, true
}

func generate() (*keys, error) {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make keyset: %w", err)
	}
	master := make([]byte, masterSize)
	rand.Read(master) //nolint:errcheck // documented never to fail
	return assemble(h, master)
}

func assemble(h *keyset.Handle, master []byte) (*keys, error) {
	a, err := aead.New(h)
	if err != nil {
		return nil, fmt.Errorf("open keyset: %w", err)
	}
	prk, err := hkdf.Extract(sha256.New, master, []byte("tributary keyset 1"))
	if err != nil {
		return nil, fmt.Errorf("extract master key: %w", err)
	}
	return &keys{handle: h, aead: a, master: master, prk: prk}, nil
}

func (k *keys) rotated() (*keys, error) {
	m := keyset.NewManagerFromHandle(k.handle)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("add key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("set primary key: %w", err)
	}
	h, err := m.Handle()
	if err != nil {
		return nil, fmt.Errorf("rotate keyset: %w", err)
	}
	return assemble(h, k.master)
}

// document is the file: JSON, so that an operator can see what it is without a tool.
type document struct {
	Version int             `json:"version"`
	AEAD    json.RawMessage `json:"aead"`
	Master  []byte          `json:"master"`
}

func (k *keys) encode() ([]byte, error) {
	var set bytes.Buffer
	if err := insecurecleartextkeyset.Write(k.handle, keyset.NewJSONWriter(&set)); err != nil {
		return nil, fmt.Errorf("encode keyset: %w", err)
	}
	return json.Marshal(document{Version: 1, AEAD: set.Bytes(), Master: k.master})
}

func decode(data []byte) (*keys, error) {
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, errors.New("not a keyset file") // the decoder's own text could quote key material
	}
	if d.Version != 1 {
		return nil, fmt.Errorf("keyset version %d is unknown", d.Version)
	}
	if len(d.Master) != masterSize {
		return nil, fmt.Errorf("master secret has %d bytes, want %d", len(d.Master), masterSize)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(d.AEAD)))
	if err != nil {
		return nil, errors.New("aead keyset is damaged")
	}
	return assemble(h, d.Master)
}
