package channels

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Surface marks a channel without a provider: its visitors use the public
// contract itself. Sending is committing, so a message is SENT when its
// transaction is; there is neither Receiver nor Sender and nothing is uncertain.
type Surface interface {
	// Surface returns the rules that the core applies to visitors.
	Surface() SurfaceRules
}

// SurfaceRules are a surface's settings that the core enforces; text and
// attachment limits stand in the channel's Capabilities.
type SurfaceRules struct {
	// AllowedOrigins are origins of browsers, such as "https://www.example.com",
	// or "https://*.example.com" for all below it; empty: every origin.
	AllowedOrigins []string
	// IdentificationRequired: visitors without a valid token are refused.
	IdentificationRequired bool
	// Greeting is shown before the visitor writes; empty: none.
	Greeting string
	// Locales are the languages offered, best first (BCP 47).
	Locales []string
}

// AllowsOrigin reports whether a browser on that origin may use the surface. An
// empty origin is an app or a server, which no origin can vouch for; it passes,
// because an origin is no secret and every other check still stands.
func (r SurfaceRules) AllowsOrigin(origin string) bool {
	if origin == "" || len(r.AllowedOrigins) == 0 {
		return true
	}
	origin = strings.ToLower(origin)
	return slices.ContainsFunc(r.AllowedOrigins, func(allowed string) bool {
		return originMatches(strings.ToLower(allowed), origin)
	})
}

func originMatches(allowed, origin string) bool {
	scheme, base, wild := strings.Cut(allowed, "://*.")
	if !wild {
		return allowed == origin
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != scheme || u.Path != "" || u.User != nil {
		return false
	}
	return strings.HasSuffix(u.Host, "."+base)
}

// TokenVerifier verifies a visitor's identity token that the operator's own
// system signed.
type TokenVerifier interface {
	// VerifyToken checks token for audience (the site key). The error wraps
	// ErrToken; its text is for our log only, the visitor learns nothing more
	// than that the token is invalid.
	VerifyToken(ctx context.Context, token, audience string) (VerifiedToken, error)
}

// ErrToken is wrapped by every refusal of an identity token.
var ErrToken = errors.New("identity token is invalid")

// VerifiedToken is what a valid token proves.
type VerifiedToken struct {
	// Identities start with the external id.
	Identities []IdentityKey
	// Name is the person's name, cleaned; empty when not given.
	Name string
	// Attributes are further facts, cleaned.
	Attributes map[string]string
	// Signed: name and attributes stood under the signature. Otherwise they
	// are claims, shown as such.
	Signed bool
	// TokenID is the token's own id, for refusing a second use; may be empty.
	TokenID string
	// ExpiresAt is the token's end; zero where the form has none.
	ExpiresAt time.Time
	Proof     Proof
}
