package webchat

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tributary/channels"
	"tributary/channels/internal/address"
	"tributary/internal/clean"
)

const (
	maxToken = 8 << 10   // bytes; a token is typed by nobody and read on each start
	maxLife  = time.Hour // from iat to exp
	skew     = 1 * time.Minute
	maxAttrs = 50
	maxName  = 200  // characters of a name
	maxValue = 1000 // characters of an attribute's value
)

// claims are those of the identity token. Unknown ones are ignored, as RFC 7519
// section 4 asks.
type claims struct {
	jwt.RegisteredClaims
	Name          string                     `json:"name"`
	Email         string                     `json:"email"`
	EmailVerified bool                       `json:"email_verified"`
	Phone         string                     `json:"phone"`
	PhoneVerified *bool                      `json:"phone_verified"`
	Attributes    map[string]json.RawMessage `json:"attrs"`
}

// VerifyToken implements channels.TokenVerifier. The token is a JWT, or the
// older form as JSON text: {"externalId","hash","email","phone","name",
// "attributes"} with hash = hex HMAC-SHA256(secret, externalId).
func (c *Channel) VerifyToken(_ context.Context, token, audience string) (channels.VerifiedToken, error) {
	switch {
	case audience == "":
		return channels.VerifiedToken{}, refuse("no audience to check it for")
	case token == "" || len(token) > maxToken:
		return channels.VerifiedToken{}, refuse("it has %d bytes", len(token))
	case strings.HasPrefix(token, "{"):
		return c.verifyHash(token)
	}
	return c.verifyJWT(token, audience)
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", channels.ErrToken, fmt.Sprintf(format, args...))
}

func (c *Channel) verifyJWT(token, audience string) (channels.VerifiedToken, error) {
	none := channels.VerifiedToken{}
	if len(c.keys) == 0 {
		return none, refuse("the site has no key")
	}
	var got claims
	parsed, err := jwt.ParseWithClaims(token, &got, c.key,
		jwt.WithValidMethods([]string{c.config.JWTAlgorithm}), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(skew),
		jwt.WithStrictDecoding(), jwt.WithTimeFunc(c.clock.Now))
	if err != nil {
		return none, refuse("%s", reason(err))
	}
	switch {
	case got.IssuedAt == nil:
		return none, refuse("iat is missing")
	case got.ExpiresAt.Sub(got.IssuedAt.Time) > maxLife:
		return none, refuse("it lives longer than %s", maxLife)
	case !address.ID(got.Subject):
		return none, refuse("sub cannot be an id")
	}
	return channels.VerifiedToken{
		Identities: got.identities(),
		Name:       clean.Line(got.Name, maxName),
		Attributes: attributes(got.Attributes),
		Signed:     true,
		TokenID:    got.ID,
		ExpiresAt:  got.ExpiresAt.UTC(),
		Proof:      channels.Proof{Kind: channels.ProofToken, Scheme: "jwt-" + strings.ToLower(parsed.Method.Alg())},
	}, nil
}

// key gives all keys that are valid now. The parser has compared the header's
// algorithm with the setting before; critical extensions it does not know about
// and would ignore, against RFC 7515 section 4.1.11.
func (c *Channel) key(token *jwt.Token) (any, error) {
	if _, critical := token.Header["crit"]; critical {
		return nil, errors.New("it has critical extensions")
	}
	return jwt.VerificationKeySet{Keys: c.keys}, nil
}

// reason reduces a parser's error to a fixed text, since the parser may quote
// the token.
func reason(err error) string {
	for _, known := range []error{
		jwt.ErrTokenMalformed, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenExpired,
		jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenNotValidYet, jwt.ErrTokenInvalidAudience,
		jwt.ErrTokenRequiredClaimMissing, jwt.ErrTokenUnverifiable, jwt.ErrTokenInvalidClaims,
	} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "it cannot be read"
}

// identities: the signature proves what stands under it, except that a mail
// address counts only when the operator says that it was verified, and a number
// unless the operator says that it was not.
func (c claims) identities() []channels.IdentityKey {
	keys := []channels.IdentityKey{external(c.Subject)}
	if email, ok := address.Email(c.Email); ok {
		keys = append(keys, channels.IdentityKey{Kind: channels.IdentityEmail, Value: email, Level: proved(c.EmailVerified)})
	}
	if phone, ok := address.Phone(c.Phone); ok {
		verified := c.PhoneVerified == nil || *c.PhoneVerified
		keys = append(keys, channels.IdentityKey{Kind: channels.IdentityPhone, Value: phone, Level: proved(verified)})
	}
	return keys
}

func external(id string) channels.IdentityKey {
	return channels.IdentityKey{Kind: channels.IdentityExternal, Scope: channels.ScopeWorkspace, Value: id, Level: channels.Strong}
}

func proved(verified bool) channels.Level {
	if verified {
		return channels.ChannelProved
	}
	return channels.Claimed
}

// hashForm is the older way to identify: only externalId is under the HMAC.
type hashForm struct {
	ExternalID string                     `json:"externalId"`
	Hash       string                     `json:"hash"`
	Email      string                     `json:"email"`
	Phone      string                     `json:"phone"`
	Name       string                     `json:"name"`
	Attributes map[string]json.RawMessage `json:"attributes"`
}

func (c *Channel) verifyHash(text string) (channels.VerifiedToken, error) {
	none := channels.VerifiedToken{}
	var form hashForm
	if !c.config.AcceptHash {
		return none, refuse("the site takes no hashes")
	}
	if err := json.Unmarshal([]byte(text), &form); err != nil || !address.ID(form.ExternalID) {
		return none, refuse("it cannot be read")
	}
	sum, err := hex.DecodeString(form.Hash)
	if err != nil || !c.hashMatches(form.ExternalID, sum) {
		return none, refuse("the hash does not match")
	}
	keys := []channels.IdentityKey{external(form.ExternalID)}
	if email, ok := address.Email(form.Email); ok {
		keys = append(keys, channels.IdentityKey{Kind: channels.IdentityEmail, Value: email})
	}
	if phone, ok := address.Phone(form.Phone); ok {
		keys = append(keys, channels.IdentityKey{Kind: channels.IdentityPhone, Value: phone})
	}
	return channels.VerifiedToken{
		Identities: keys,
		Name:       clean.Line(form.Name, maxName),
		Attributes: attributes(form.Attributes),
		Proof:      channels.Proof{Kind: channels.ProofToken, Scheme: "hmac-sha256"},
	}, nil
}

// hashMatches tries every secret, so that the time does not tell which matched.
func (c *Channel) hashMatches(id string, sum []byte) bool {
	matches := false
	for _, secret := range c.config.IdentitySecret.All() {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(id))
		matches = hmac.Equal(mac.Sum(nil), sum) || matches
	}
	return matches
}

// attributes keeps texts, numbers and booleans as text; nested values have no
// place where agents read them. Of more than maxAttrs the first by name stay:
// that many are a mistake of the page, and identification must not fail by it.
func attributes(raw map[string]json.RawMessage) map[string]string {
	if len(raw) == 0 {
		return nil
	}
	list := make(map[string]string, min(len(raw), maxAttrs))
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		var v any
		if len(list) == maxAttrs || json.Unmarshal(raw[name], &v) != nil {
			continue
		}
		key := clean.Line(name, maxName)
		switch v := v.(type) {
		case string:
			list[key] = clean.Line(v, maxValue)
		case bool, float64:
			list[key] = string(raw[name])
		}
	}
	return list
}
