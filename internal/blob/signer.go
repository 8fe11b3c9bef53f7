package blob

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

var (
	// ErrExpired is returned by Verify for a link that was ours and whose time is over.
	ErrExpired = errors.New("link has expired")
	// ErrSignature is returned by Verify for a link we did not make, or made for something else.
	ErrSignature = errors.New("link is not valid")
)

// Signer makes links that carry their own permission: one method on one file until a time, and for an upload how many
// bytes. Whoever has the link has the permission, so times are minutes.
type Signer struct {
	key   []byte
	clock func() time.Time
}

// NewSigner signs with key, 32 bytes derived for this purpose alone. Nodes that share the key accept each other's links.
func NewSigner(key []byte, clock func() time.Time) *Signer { return &Signer{key, clock} }

// Sign gives the query of a link. A link for GET serves HEAD, too. maxBytes is the cap that Verify gives back; 0 where
// nothing is uploaded.
func (s *Signer) Sign(method, key string, until time.Time, maxBytes int64) url.Values {
	at := until.Unix()
	return url.Values{
		"until": {strconv.FormatInt(at, 10)},
		"max":   {strconv.FormatInt(maxBytes, 10)},
		"sig":   {base64.RawURLEncoding.EncodeToString(s.mac(method, key, at, maxBytes))},
	}
}

// Verify checks the query of a link against what is asked for and gives the signed byte cap. Expiry is told only to who
// holds a link of ours.
func (s *Signer) Verify(method, key string, q url.Values) (maxBytes int64, err error) {
	sig, err := base64.RawURLEncoding.Strict().DecodeString(q.Get("sig"))
	if err != nil {
		return 0, ErrSignature
	}
	until, err := strconv.ParseInt(q.Get("until"), 10, 64)
	if err != nil {
		return 0, ErrSignature
	}
	if maxBytes, err = strconv.ParseInt(q.Get("max"), 10, 64); err != nil {
		return 0, ErrSignature
	}
	if !hmac.Equal(sig, s.mac(method, key, until, maxBytes)) {
		return 0, ErrSignature
	}
	if !s.clock().Before(time.Unix(until, 0)) {
		return 0, ErrExpired
	}
	return maxBytes, nil
}

// mac covers every part with its length, so no part can borrow from its neighbour.
func (s *Signer) mac(method, key string, until, maxBytes int64) []byte {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	m := hmac.New(sha256.New, s.key)
	for _, part := range []string{"file link 1", method, key} {
		m.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		m.Write([]byte(part))
	}
	m.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(until)), uint64(maxBytes)))
	return m.Sum(nil)
}
