package webchat_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"tributary/channels"
	"tributary/channels/channeltest"
	"tributary/channels/webchat"
)

const (
	secret  = "widget-secret"
	siteKey = "site_abc"
)

// open makes a channel with a clock that shows channeltest.Start.
func open(t *testing.T, config string, secrets ...string) (*webchat.Channel, *channeltest.Clock) {
	t.Helper()
	given := map[string][]string{}
	if len(secrets) > 0 {
		given["identitySecret"] = secrets
	}
	cfg, err := channels.DecodeConfig(webchat.Kind, json.RawMessage(config), given)
	if err != nil {
		t.Fatal(err)
	}
	clock := channeltest.NewClock(channeltest.Start)
	opened, err := webchat.Kind.Open(cfg, channeltest.Host(clock, &channeltest.Dialer{}))
	if err != nil {
		t.Fatal(err)
	}
	c, ok := opened.(*webchat.Channel)
	if !ok {
		t.Fatalf("open gave a %T", opened)
	}
	return c, clock
}

// good are the claims of a token that is valid at channeltest.Start.
func good() jwt.MapClaims {
	return jwt.MapClaims{
		"sub": "customer-42", "aud": siteKey,
		"iat": channeltest.Start.Unix(), "exp": channeltest.Start.Add(time.Hour).Unix(),
	}
}

// with changes one claim; nil removes it.
func with(name string, value any) jwt.MapClaims {
	claims := maps.Clone(good())
	if claims[name] = value; value == nil {
		delete(claims, name)
	}
	return claims
}

func sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func hs256(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), claims)
}

func refused(t *testing.T, c *webchat.Channel, token, audience string) error {
	t.Helper()
	_, err := c.VerifyToken(t.Context(), token, audience)
	if !errors.Is(err, channels.ErrToken) {
		t.Errorf("verify gave %v, want ErrToken", err)
	}
	if err != nil && (strings.Contains(err.Error(), secret) || token != "" && strings.Contains(err.Error(), token)) {
		t.Errorf("the error holds a secret: %v", err)
	}
	return err
}

func TestTokenVerified(t *testing.T) {
	t.Parallel()
	c, _ := open(t, `{}`, secret)
	claims := good()
	maps.Copy(claims, jwt.MapClaims{
		"name": "王\u0000芳", "email": "Fang@Example.com", "email_verified": true, "phone": "+86 138 0013 8000", "jti": "j1",
		"attrs": map[string]any{"plan": "gold", "orders": 3, "vip": true, "nested": map[string]any{"a": 1}},
	})
	got, err := c.VerifyToken(t.Context(), hs256(t, claims), siteKey)
	if err != nil {
		t.Fatal(err)
	}
	want := channels.VerifiedToken{
		Identities: []channels.IdentityKey{
			{Kind: "external_id", Value: "customer-42", Level: channels.Strong},
			{Kind: "email", Value: "fang@example.com", Level: channels.ChannelProved},
			{Kind: "phone", Value: "+8613800138000", Level: channels.ChannelProved},
		},
		Name: got.Name, Attributes: map[string]string{"plan": "gold", "orders": "3", "vip": "true"}, Signed: true,
		TokenID: "j1", ExpiresAt: channeltest.Start.Add(time.Hour),
		Proof: channels.Proof{Kind: channels.ProofToken, Scheme: "jwt-hs256"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if strings.ContainsRune(got.Name, 0) || !strings.Contains(got.Name, "芳") {
		t.Errorf("name is %q", got.Name)
	}
}

func TestTokenUnverifiedAddressesAreClaims(t *testing.T) {
	t.Parallel()
	c, _ := open(t, `{}`, secret)
	claims := good()
	maps.Copy(claims, jwt.MapClaims{"email": "a@example.com", "phone": "+8613800138000", "phone_verified": false})
	got, err := c.VerifyToken(t.Context(), hs256(t, claims), siteKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range got.Identities[1:] {
		if key.Level != channels.Claimed {
			t.Errorf("%s is %s, want CLAIMED", key.Kind, key.Level)
		}
	}
}

func TestTokenRefused(t *testing.T) {
	t.Parallel()
	c, _ := open(t, `{}`, secret)
	at := func(d time.Duration) int64 { return channeltest.Start.Add(d).Unix() }
	critical := jwt.NewWithClaims(jwt.SigningMethodHS256, good())
	critical.Header["crit"] = []string{"b64"}
	criticalText, err := critical.SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	late := good()
	late["iat"], late["exp"] = at(-2*time.Hour), at(-61*time.Second)
	early := good()
	early["iat"], early["exp"] = at(61*time.Second), at(30*time.Minute)
	for name, token := range map[string]string{
		"alg none":           sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good()),
		"other algorithm":    sign(t, jwt.SigningMethodHS512, []byte(secret), good()),
		"other secret":       sign(t, jwt.SigningMethodHS256, []byte("guess"), good()),
		"critical extension": criticalText,
		"wrong aud":          hs256(t, with("aud", "site_other")),
		"no aud":             hs256(t, with("aud", nil)),
		"no exp":             hs256(t, with("exp", nil)),
		"no iat":             hs256(t, with("iat", nil)),
		"no sub":             hs256(t, with("sub", nil)),
		"sub is a number":    hs256(t, with("sub", 42)),
		"sub with NUL":       hs256(t, with("sub", "a\x00b")),
		"expired":            hs256(t, late),
		"from the future":    hs256(t, early),
		"not valid yet":      hs256(t, with("nbf", at(61*time.Second))),
		"lives too long":     hs256(t, with("exp", at(time.Hour+time.Second))),
		"cut":                strings.TrimSuffix(hs256(t, good()), "A") + "!",
		"no token":           "abc",
		"empty":              "",
		"huge":               strings.Repeat("a", 1<<20),
	} {
		t.Run(name, func(t *testing.T) { _ = refused(t, c, token, siteKey) })
	}
	if _, err := c.VerifyToken(t.Context(), hs256(t, good()), siteKey); err != nil {
		t.Errorf("the control was refused: %v", err)
	}
	_ = refused(t, c, hs256(t, with("aud", "")), "")
}

func TestTokenSkew(t *testing.T) {
	t.Parallel()
	c, clock := open(t, `{}`, secret)
	token := hs256(t, good())
	clock.Advance(time.Hour + 59*time.Second)
	if _, err := c.VerifyToken(t.Context(), token, siteKey); err != nil {
		t.Errorf("59 s after its end: %v", err)
	}
	clock.Advance(2 * time.Second)
	_ = refused(t, c, token, siteKey)
	ahead := good()
	ahead["iat"], ahead["exp"] = clock.Now().Add(59*time.Second).Unix(), clock.Now().Add(30*time.Minute).Unix()
	if _, err := c.VerifyToken(t.Context(), hs256(t, ahead), siteKey); err != nil {
		t.Errorf("59 s before its start: %v", err)
	}
}

func TestTokenSecretRotation(t *testing.T) {
	t.Parallel()
	token, hash := hs256(t, good()), hashForm("customer-42", secret)
	both, _ := open(t, `{}`, "new-secret", secret)
	removed, _ := open(t, `{}`, "new-secret")
	for _, text := range []string{token, hash} {
		if _, err := both.VerifyToken(t.Context(), text, siteKey); err != nil {
			t.Errorf("the previous secret is refused: %v", err)
		}
		_ = refused(t, removed, text, siteKey)
	}
}

func publicPEM(t *testing.T, key crypto.PublicKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func config(t *testing.T, algorithm, publicKey string) string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"jwtAlgorithm": algorithm, "publicKey": publicKey})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestTokenPublicKeys(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecPEM, rsPEM := publicPEM(t, &ec.PublicKey), publicPEM(t, &rs.PublicKey)
	ecSite, _ := open(t, config(t, "ES256", ecPEM+publicPEM(t, &old.PublicKey)), secret)
	rsSite, _ := open(t, config(t, "RS256", rsPEM))
	for _, token := range []string{
		sign(t, jwt.SigningMethodES256, ec, good()), sign(t, jwt.SigningMethodES256, old, good()),
	} {
		got, err := ecSite.VerifyToken(t.Context(), token, siteKey)
		if err != nil || got.Proof.Scheme != "jwt-es256" {
			t.Errorf("ES256: %v, %+v", err, got.Proof)
		}
		_ = refused(t, rsSite, token, siteKey)
	}
	if _, err := rsSite.VerifyToken(t.Context(), sign(t, jwt.SigningMethodRS256, rs, good()), siteKey); err != nil {
		t.Errorf("RS256: %v", err)
	}
	// The classic confusion: the public key as an HMAC secret, and the secret
	// that is there for hashes only.
	_ = refused(t, rsSite, sign(t, jwt.SigningMethodHS256, []byte(rsPEM), good()), siteKey)
	_ = refused(t, ecSite, hs256(t, good()), siteKey)
}

func TestPublicKeyRefused(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{
		"none":        config(t, "ES256", ""),
		"no PEM":      config(t, "RS256", "key"),
		"wrong curve": config(t, "ES256", publicPEM(t, &p384.PublicKey)),
		"wrong sort":  config(t, "RS256", publicPEM(t, &p384.PublicKey)),
		"other block": config(t, "ES256", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
		"broken":      config(t, "ES256", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
	} {
		_, err := channels.DecodeConfig(webchat.Kind, json.RawMessage(raw), nil)
		if field, ok := errors.AsType[*channels.FieldError](err); !ok || field.Field != "publicKey" {
			t.Errorf("%s: %v, want a FieldError of publicKey", name, err)
		}
	}
}

func hashForm(id, key string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(id))
	return fmt.Sprintf(`{"externalId":%q,"hash":%q,"email":"a@example.com","phone":"+8613800138000","name":"Fang","attributes":{"plan":"gold"}}`,
		id, hex.EncodeToString(mac.Sum(nil)))
}

// TestHashVector is the measured vector of the HMAC form.
func TestHashVector(t *testing.T) {
	t.Parallel()
	const vector = "a5b51c99e2c4ec783fd16a4365add4230f309d3c2d26b8533efc9f3f1b3e45c6"
	c, _ := open(t, `{}`, secret)
	got, err := c.VerifyToken(t.Context(), `{"externalId":"customer-42","hash":"`+vector+`"}`, siteKey)
	if err != nil {
		t.Fatal(err)
	}
	want := []channels.IdentityKey{{Kind: "external_id", Value: "customer-42", Level: channels.Strong}}
	if !reflect.DeepEqual(got.Identities, want) || got.Signed || got.Proof.Scheme != "hmac-sha256" {
		t.Errorf("got %+v", got)
	}
	_ = refused(t, c, `{"externalId":"customer-43","hash":"`+vector+`"}`, siteKey)
}

func TestHashForm(t *testing.T) {
	t.Parallel()
	c, _ := open(t, `{}`, secret)
	got, err := c.VerifyToken(t.Context(), hashForm("customer-42", secret), siteKey)
	if err != nil {
		t.Fatal(err)
	}
	if got.Signed || len(got.Identities) != 3 || got.Attributes["plan"] != "gold" {
		t.Errorf("got %+v", got)
	}
	for _, key := range got.Identities[1:] {
		if key.Level != channels.Claimed {
			t.Errorf("unsigned %s is %s, want CLAIMED", key.Kind, key.Level)
		}
	}
	for _, text := range []string{
		hashForm("customer-42", "guess"), `{}`, `{"externalId":"a"}`, `{"externalId":"a","hash":"zz"}`, `{"externalId":"","hash":""}`, `{`,
	} {
		_ = refused(t, c, text, siteKey)
	}
	off, _ := open(t, `{"acceptHash":false}`, secret)
	_ = refused(t, off, hashForm("customer-42", secret), siteKey)
	bare, _ := open(t, `{}`)
	_ = refused(t, bare, hashForm("customer-42", ""), siteKey)
	_ = refused(t, bare, sign(t, jwt.SigningMethodHS256, []byte{}, good()), siteKey)
}

func FuzzVerifyToken(f *testing.F) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, good()).SignedString([]byte(secret))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token[:len(token)-4])
	f.Add(`{"externalId":"customer-42","hash":"00"}`)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	cfg, err := channels.DecodeConfig(webchat.Kind, nil, map[string][]string{"identitySecret": {"another-secret"}})
	if err != nil {
		f.Fatal(err)
	}
	opened, err := webchat.Kind.Open(cfg, channels.Host{Clock: channeltest.NewClock(channeltest.Start)})
	if err != nil {
		f.Fatal(err)
	}
	verifier, _ := opened.(channels.TokenVerifier)
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := verifier.VerifyToken(t.Context(), text, siteKey); !errors.Is(err, channels.ErrToken) {
			t.Errorf("verify gave %v for a token nobody signed", err)
		}
	})
}
