package crypt

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/crypto/argon2"
)

// OWASP's second recommendation for argon2id: 19 MiB, two passes, one lane.
const (
	passwordMemory = 19 * 1024 // KiB
	passwordPasses = 2
	passwordLanes  = 1
	passwordSalt   = 16
	passwordKey    = 32
	passwordMax    = 1024 // bytes; longer texts are an attack on us, not a password
)

// ErrPassword is returned for a password that cannot be hashed: empty or longer than 1024 bytes.
var ErrPassword = errors.New("password must have 1 to 1024 bytes")

// Hashing is bound by the processor, so more at once than there are processors finishes nothing sooner and only costs
// 19 MiB each: a flood of logins must not exhaust memory.
var hashing = make(chan struct{}, runtime.GOMAXPROCS(0))

// HashPassword gives an argon2id hash in PHC form.
func HashPassword(pw string) (string, error) {
	if pw == "" || len(pw) > passwordMax {
		return "", ErrPassword
	}
	salt := make([]byte, passwordSalt)
	rand.Read(salt) //nolint:errcheck // documented never to fail
	key := stretch(pw, params{passwordMemory, passwordPasses, passwordLanes, salt, nil}, passwordKey)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, passwordMemory, passwordPasses,
		passwordLanes, b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

// CheckPassword reports whether pw is the password of hash. A hash it cannot read costs the same time as a wrong
// password, so an account without one is not told apart.
func CheckPassword(hash, pw string) bool {
	p, ok := parsePHC(hash)
	if !ok || len(pw) > passwordMax {
		BurnPassword(pw)
		return false
	}
	got := stretch(pw, p, uint32(len(p.key)))
	return subtle.ConstantTimeCompare(got, p.key) == 1
}

// BurnPassword does the work of CheckPassword for an account that does not exist.
func BurnPassword(pw string) {
	if len(pw) > passwordMax {
		pw = pw[:passwordMax]
	}
	stretch(pw, params{passwordMemory, passwordPasses, passwordLanes, make([]byte, passwordSalt), nil}, passwordKey)
}

type params struct {
	memory, passes uint32
	lanes          uint8
	salt, key      []byte
}

func stretch(pw string, p params, size uint32) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(pw), p.salt, p.passes, p.memory, p.lanes, size)
}

// parsePHC reads a stored hash, also one with other parameters than today's. The bounds keep a tampered row from
// ordering gigabytes of work, and zero values from making argon2 panic.
func parsePHC(hash string) (params, bool) {
	part := strings.Split(hash, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return params{}, false
	}
	var p params
	if n, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &p.memory, &p.passes, &p.lanes); n != 3 || err != nil {
		return params{}, false
	}
	if p.memory < 8 || p.memory > 256*1024 || p.passes < 1 || p.passes > 16 || p.lanes < 1 || p.lanes > 16 {
		return params{}, false
	}
	var err error
	if p.salt, err = base64.RawStdEncoding.DecodeString(part[4]); err != nil || len(p.salt) < 8 || len(p.salt) > 64 {
		return params{}, false
	}
	if p.key, err = base64.RawStdEncoding.DecodeString(part[5]); err != nil || len(p.key) < 16 || len(p.key) > 64 {
		return params{}, false
	}
	return p, true
}
