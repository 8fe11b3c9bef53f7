package crypt

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"
)

const (
	alphabet  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	bodySize  = 43 // 62^43 > 2^256
	checkSize = 6  // 62^6 > 2^32
)

// Token mints a secret: prefix, 256 random bits in base62, and a checksum of both. Show clear once and store only hash.
// The prefix lets scanners of leaked secrets recognise whose token it is; the checksum lets them, and us, refuse
// mistyped ones without a query.
func Token(prefix string) (clear string, hash [32]byte) {
	var b [32]byte
	rand.Read(b[:]) //nolint:errcheck // documented never to fail
	clear = prefix + base62(new(big.Int).SetBytes(b[:]), bodySize)
	clear += checksum(clear)
	return clear, HashToken(clear)
}

// CheckToken reports whether clear has the form of a token with this prefix. It says nothing about whether it was ever
// issued.
func CheckToken(prefix, clear string) bool {
	if len(clear) != len(prefix)+bodySize+checkSize || !strings.HasPrefix(clear, prefix) {
		return false
	}
	body, check := clear[:len(clear)-checkSize], clear[len(clear)-checkSize:]
	return strings.Trim(body[len(prefix):], alphabet) == "" && checksum(body) == check
}

// HashToken is what the database stores and looks up. A plain SHA-256 is enough, because nobody can guess 256 bits.
func HashToken(clear string) [32]byte { return sha256.Sum256([]byte(clear)) }

func checksum(s string) string {
	return base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(s)))), checkSize)
}

func base62(n *big.Int, width int) string {
	out := make([]byte, width)
	base, digit := big.NewInt(int64(len(alphabet))), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = alphabet[digit.Int64()]
	}
	return string(out)
}
