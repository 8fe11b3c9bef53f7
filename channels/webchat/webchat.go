// Package webchat is the built-in chat for web pages and apps. It has no
// provider and no webhook: visitors use the public contract itself, so a message
// is sent when it is committed. What is left for the kind is small: the
// settings, the capabilities, and the check of identity tokens that the
// operator's own back end signed.
//
// The widget is made by front-end teams and is not part of this package.
//
// Invariants: the algorithm of a token is the one of the channel's settings,
// never the one the token names; a token is good for one site; what a visitor
// says without a signature stays a claim. The reason of a refusal is for the
// log, the visitor learns only that the token is invalid.
//
// A channel holds keys and no connections; it is safe for concurrent use and
// starts no goroutine.
package webchat

import (
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"tributary/channels"
)

// Config is the settings of a site. The public site key is made by the core and
// is no setting.
type Config struct {
	AllowedOrigins         []string         `json:"allowedOrigins" format:"origin" max:"200" doc:"Pages that may show the chat, such as https://www.example.com or https://*.example.com. Empty: all."`
	IdentificationRequired bool             `json:"identificationRequired" doc:"Refuse visitors without a valid identity token."`
	Greeting               string           `json:"greeting" max:"2000" doc:"Shown before the visitor writes."`
	Locales                []string         `json:"locales" max:"50" doc:"Languages offered, best first, such as zh-CN."`
	MaxTextLength          int              `json:"maxTextLength" default:"8000" min:"1" max:"8000" doc:"Longest message in characters."`
	MaxAttachments         int              `json:"maxAttachments" default:"5" min:"0" max:"20" doc:"Most attachments of one message."`
	Attachments            []AttachmentRule `json:"attachments" max:"4" doc:"Kinds of attachments that are taken. Empty: all, with the limits of the desk."`
	JWTAlgorithm           string           `json:"jwtAlgorithm" title:"Token algorithm" default:"HS256" enum:"HS256,ES256,RS256" doc:"How identity tokens are signed; a token that names another is refused."`
	PublicKey              string           `json:"publicKey" max:"16384" doc:"PEM public key for ES256 and RS256; several while rotating."`
	AcceptHash             bool             `json:"acceptHash" default:"true" doc:"Also accept an external id with its HMAC. That form never expires; switch it off where all pages use tokens."`

	IdentitySecret channels.Secret `json:"identitySecret" rotates:"true"`
}

// AttachmentRule allows one kind of attachment.
type AttachmentRule struct {
	Kind         string   `json:"kind" required:"true" enum:"image,voice,video,file"`
	MaxBytes     int64    `json:"maxBytes" default:"20971520" min:"1" max:"104857600"`
	ContentTypes []string `json:"contentTypes" max:"50"`
}

const defaultAttachmentBytes = 20 << 20

// Validate implements channels.Validator.
func (c Config) Validate() error {
	for i, locale := range c.Locales {
		if locale == "" || len(locale) > 35 || strings.Trim(locale, localeRunes) != "" {
			return &channels.FieldError{Field: fmt.Sprintf("locales[%d]", i), Message: "must be a language tag such as zh-CN"}
		}
	}
	seen := map[string]bool{}
	for i, rule := range c.Attachments {
		if seen[rule.Kind] {
			return &channels.FieldError{Field: fmt.Sprintf("attachments[%d].kind", i), Message: "stands twice"}
		}
		seen[rule.Kind] = true
	}
	if _, err := publicKeys(c.JWTAlgorithm, c.PublicKey); err != nil {
		return &channels.FieldError{Field: "publicKey", Message: err.Error()}
	}
	return nil
}

const localeRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

// Kind is the description that init registers.
var Kind = channels.Kind{
	Name:         "webchat",
	Title:        "Web chat",
	Description:  "The built-in chat for web pages and apps.",
	Config:       Config{},
	Capabilities: Config{MaxTextLength: 8000, MaxAttachments: 5}.capabilities(),
	Live:         channels.LiveWhileOnline,
	JoinOpen:     true,
	Identities:   []string{channels.IdentityExternal, channels.IdentityEmail, channels.IdentityPhone},
	Open:         open,
}

func init() { channels.Register(Kind) }

// Channel is an opened site.
type Channel struct {
	config Config
	clock  channels.Clock
	keys   []jwt.VerificationKey
}

var (
	_ channels.Surface       = (*Channel)(nil)
	_ channels.TokenVerifier = (*Channel)(nil)
	_ channels.Declares      = (*Channel)(nil)
)

func open(cfg any, host channels.Host) (channels.Channel, error) {
	c, ok := cfg.(Config)
	if !ok {
		return nil, channels.ConfigError(fmt.Errorf("open web chat: configuration is a %T", cfg))
	}
	keys, err := publicKeys(c.JWTAlgorithm, c.PublicKey)
	if err != nil {
		return nil, channels.ConfigError(fmt.Errorf("open web chat: public key %w", err))
	}
	for _, secret := range c.IdentitySecret.All() {
		if c.JWTAlgorithm == jwt.SigningMethodHS256.Alg() {
			keys = append(keys, []byte(secret))
		}
	}
	if c.IdentificationRequired && len(keys) == 0 {
		err := errors.New("open web chat: identification is required and there is no key to check it with")
		return nil, channels.ConfigError(err).WithText("Identification is required, so an identity secret is needed.")
	}
	return &Channel{config: c, clock: host.Clock, keys: keys}, nil
}

// Close implements channels.Channel; there is nothing to end.
func (c *Channel) Close() error { return nil }

// Surface implements channels.Surface.
func (c *Channel) Surface() channels.SurfaceRules {
	return channels.SurfaceRules{
		AllowedOrigins:         c.config.AllowedOrigins,
		IdentificationRequired: c.config.IdentificationRequired,
		Greeting:               c.config.Greeting,
		Locales:                c.config.Locales,
	}
}

// Capabilities implements channels.Declares.
func (c *Channel) Capabilities() channels.Capabilities { return c.config.capabilities() }

// Live implements channels.Declares.
func (c *Channel) Live() channels.Liveness { return channels.LiveWhileOnline }

func (c Config) capabilities() channels.Capabilities {
	rules := map[channels.MediaKind]channels.MediaRule{}
	for _, r := range c.Attachments {
		rules[channels.MediaKind(r.Kind)] = channels.MediaRule{MaxBytes: r.MaxBytes, ContentTypes: r.ContentTypes}
	}
	if len(rules) == 0 {
		for _, kind := range []channels.MediaKind{channels.MediaImage, channels.MediaVoice, channels.MediaVideo, channels.MediaFile} {
			rules[kind] = channels.MediaRule{MaxBytes: defaultAttachmentBytes}
		}
	}
	return channels.Capabilities{
		Text: true, Location: true, Link: true, Menu: true, Card: true,
		Starts: true, TypingIn: true, TypingOut: true,
		DeliveryReport: true, ReadReport: true,
		Idempotency:    channels.IdempotencyKey, // A commit happens once.
		MaxText:        channels.TextLimit{Unit: channels.TextRunes, Max: c.MaxTextLength},
		Attachments:    rules,
		MaxAttachments: c.MaxAttachments,
	}
}
