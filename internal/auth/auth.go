// Package auth signs and reads the short tokens by which people, visitors and the operator prove themselves. A token
// names a session; whether that session still stands is a question to desk, asked with a memory of a few seconds.
//
// Tokens are JWTs (RFC 7519) under HS256 with a key derived from the installation's keyset for this purpose alone, so
// that every node reads them. Keys of apps are no JWTs: they are random secrets, found by their hash.
package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tributary/internal/gid"
)

// Kind says whose token it is.
type Kind string

// The kinds of tokens.
const (
	Agent    Kind = "agent"
	Refresh  Kind = "refresh"
	Visitor  Kind = "visitor"
	Operator Kind = "operator"
)

// Lives of tokens (MODEL 10; channels/webchat for visitors).
const (
	AccessLife  = 10 * time.Minute
	VisitorLife = 15 * time.Minute
	RefreshLife = 30 * 24 * time.Hour
)

// Claims is what a token says. Session is the row that must still stand; zero for the operator.
type Claims struct {
	Kind      Kind
	Workspace gid.ID
	Session   gid.ID
	ExpiresAt time.Time
}

// ErrToken is the answer to every token that cannot be used; why stays in the log.
var ErrToken = errors.New("the token is unusable")

// Signer signs and reads tokens.
type Signer struct {
	key []byte
	now func() time.Time
}

// NewSigner uses a key of 32 bytes.
func NewSigner(key []byte, now func() time.Time) *Signer { return &Signer{key: key, now: now} }

type wire struct {
	jwt.RegisteredClaims
	Kind      Kind   `json:"knd"`
	Workspace gid.ID `json:"wsp"`
	Session   gid.ID `json:"ses"`
}

// Sign makes a token that lives so long.
func (s *Signer) Sign(c Claims, life time.Duration) (token string, expires time.Time, err error) {
	expires = s.now().Add(life)
	w := wire{Kind: c.Kind, Workspace: c.Workspace, Session: c.Session}
	w.ExpiresAt, w.IssuedAt = jwt.NewNumericDate(expires), jwt.NewNumericDate(s.now())
	// Two tokens of one session and second must differ, or ending one would seem to end the other.
	w.ID = gid.Make(gid.Other).String()
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, w).SignedString(s.key)
	if err != nil {
		return "", expires, fmt.Errorf("sign token: %w", err)
	}
	return token, expires, nil
}

// Parse reads a token; ErrToken if it is forged, foreign or over.
func (s *Signer) Parse(token string) (Claims, error) {
	var w wire
	_, err := jwt.ParseWithClaims(token, &w, func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithTimeFunc(s.now), jwt.WithExpirationRequired())
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return Claims{Kind: w.Kind, Workspace: w.Workspace, Session: w.Session, ExpiresAt: w.ExpiresAt.Time}, nil
}
