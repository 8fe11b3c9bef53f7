// Package custom joins the desk to anything by signed HTTP: a bridge that the
// operator writes turns a closed platform's events into ours and our messages
// into the platform's. It is the smallest whole kind and the example of
// docs/channel.md.
//
// Both directions are JSON under one signature (see Sign). Inbound, the bridge
// posts events to the channel's webhook; outbound, we post messages to its
// callbackUrl. What the bridge guarantees, and what the platform behind it can
// do, stands in the channel's configuration.
//
// Invariants: nothing is decoded before the signature holds; one bad event
// refuses its whole request, so that the bridge never has to guess what was
// taken; an event kind we do not know is kept, not refused; a send whose outcome
// is not told is Uncertain, whatever the bridge guarantees, and the core decides
// by Guarantee what to do about it.
//
// A channel is safe for concurrent use. It holds a client with idle connections,
// which Close ends; it has no goroutine of its own.
package custom

import (
	"fmt"
	"time"

	"tributary/channels"
	"tributary/internal/fetch"
)

// identityKind is the kind of a person's id on the platform behind the bridge;
// it means something within its channel only.
const identityKind = "custom_id"

// Config is the settings of a bridge.
type Config struct {
	CallbackURL string   `json:"callbackUrl" title:"Callback URL" format:"url" max:"2048" doc:"Where messages are posted. Empty: the channel only receives."`
	StatusURL   string   `json:"statusUrl" title:"Status URL" format:"url" max:"2048" doc:"Where the outcome of a message can be asked, by ?id=."`
	Idempotent  bool     `json:"idempotent" doc:"The bridge drops a message whose id it has had, for ever; a send in doubt is then repeated."`
	MediaHosts  []string `json:"mediaHosts" max:"100" doc:"Hosts that attachments may be fetched from, such as files.example.com or *.example.com. Empty: any public host."`

	Live                bool             `json:"live" doc:"Interactions end when the customer goes. Off: they wait for an answer."`
	StartsConversations bool             `json:"startsConversations" default:"true" doc:"We may write first."`
	MaxTextLength       int              `json:"maxTextLength" min:"0" max:"1000000" doc:"Longest text of one part, in textUnit. 0: no limit."`
	TextUnit            string           `json:"textUnit" default:"runes" enum:"runes,utf16,bytes"`
	Attachments         []AttachmentRule `json:"attachments" max:"4" doc:"Kinds of attachments that can be sent. Empty: none."`
	Typing              bool             `json:"typing" doc:"The bridge reports that the customer is typing."`
	DeliveryReceipts    bool             `json:"deliveryReceipts" doc:"The bridge reports delivery."`
	ReadReceipts        bool             `json:"readReceipts" doc:"The bridge reports reading."`
	ReplyWindows        []ReplyWindow    `json:"replyWindows" max:"10" doc:"How long and how often we may answer; an event's own figures come first. Empty: any time."`

	OwnIDs        []string        `json:"ownIds" title:"Own ids" max:"20" doc:"Ids under which the bridge addresses us in an event. Empty: desk."`
	SigningSecret channels.Secret `json:"signingSecret" required:"true" rotates:"true"`
}

// AttachmentRule allows one kind of attachment.
type AttachmentRule struct {
	Kind         string   `json:"kind" required:"true" enum:"image,voice,video,file"`
	MaxBytes     int64    `json:"maxBytes" min:"0" max:"10737418240" doc:"0: no limit."`
	ContentTypes []string `json:"contentTypes" max:"50"`
}

// ReplyWindow is a reply window of the platform.
type ReplyWindow struct {
	Trigger  string `json:"trigger" default:"message" enum:"message,follow"`
	Seconds  int64  `json:"seconds" required:"true" min:"1" max:"31536000"`
	Messages int    `json:"messages" min:"0" max:"1000000" doc:"0: any number."`
}

// Validate implements channels.Validator.
func (c Config) Validate() error {
	kinds, triggers := map[string]bool{}, map[string]bool{}
	for i, rule := range c.Attachments {
		if kinds[rule.Kind] {
			return twice("attachments[%d].kind", i)
		}
		kinds[rule.Kind] = true
	}
	for i, window := range c.ReplyWindows {
		if triggers[window.Trigger] {
			return twice("replyWindows[%d].trigger", i)
		}
		triggers[window.Trigger] = true
	}
	for i, pattern := range c.MediaHosts {
		if !isHostPattern(pattern) {
			return &channels.FieldError{
				Field:   fmt.Sprintf("mediaHosts[%d]", i),
				Message: "must be a host such as files.example.com or *.example.com",
			}
		}
	}
	return nil
}

func twice(field string, i int) error {
	return &channels.FieldError{Field: fmt.Sprintf(field, i), Message: "stands twice"}
}

// Kind is the description that init registers.
var Kind = channels.Kind{
	Name:         "custom",
	Title:        "Custom channel",
	Description:  "A bridge to anything, by signed HTTP.",
	Config:       Config{},
	Capabilities: Config{StartsConversations: true}.capabilities(),
	Live:         channels.Asynchronous,
	JoinOpen:     true,
	Identities:   []string{identityKind, channels.IdentityExternal, channels.IdentityPhone, channels.IdentityEmail},
	Open:         open,
}

func init() { channels.Register(Kind) }

// Channel is an opened bridge.
type Channel struct {
	config Config
	clock  channels.Clock
	client *fetch.Client
}

var (
	_ channels.Receiver     = (*Channel)(nil)
	_ channels.MediaFetcher = (*Channel)(nil)
	_ channels.Declares     = (*Channel)(nil)
	_ channels.Guarantees   = (*Channel)(nil)
)

// caller is a channel whose bridge takes messages.
type caller struct{ *Channel }

// asker is a channel whose bridge can be asked as well.
type asker struct{ caller }

var (
	_ channels.Sender          = caller{}
	_ channels.DeliveryQuerier = asker{}
)

// open picks the type by the settings: what a channel can do is found by type
// assertion, so a channel without an address must not have the method.
func open(cfg any, host channels.Host) (channels.Channel, error) {
	c, ok := cfg.(Config)
	if !ok {
		return nil, channels.ConfigError(fmt.Errorf("open custom channel: configuration is a %T", cfg))
	}
	if !c.SigningSecret.Set() {
		return nil, channels.ConfigError(fmt.Errorf("open custom channel: no signing secret")).
			WithText("The signing secret is not set.")
	}
	channel := &Channel{config: c, clock: host.Clock, client: fetch.New(host.Dial)}
	switch {
	case c.CallbackURL == "":
		return channel, nil
	case c.StatusURL == "":
		return caller{channel}, nil
	}
	return asker{caller{channel}}, nil
}

// Guarantee implements channels.Guarantees.
func (c *Channel) Guarantee() channels.Idempotency { return c.config.guarantee() }

// Capabilities implements channels.Declares.
func (c *Channel) Capabilities() channels.Capabilities { return c.config.capabilities() }

// Live implements channels.Declares.
func (c *Channel) Live() channels.Liveness {
	if c.config.Live {
		return channels.Live
	}
	return channels.Asynchronous
}

func (c Config) ownIDs() []string {
	if len(c.OwnIDs) == 0 {
		return []string{"desk"}
	}
	return c.OwnIDs
}

func (c Config) guarantee() channels.Idempotency {
	switch {
	case c.Idempotent:
		return channels.IdempotencyKey
	case c.StatusURL != "":
		return channels.IdempotencyQueryable
	}
	return channels.IdempotencyNone
}

func (c Config) capabilities() channels.Capabilities {
	capabilities := channels.Capabilities{
		Text: true, Location: true, Link: true, Card: true,
		Starts:         c.StartsConversations,
		PublicComment:  true,
		TypingIn:       c.Typing,
		Edit:           true,
		DeliveryReport: c.DeliveryReceipts,
		ReadReport:     c.ReadReceipts,
		Idempotency:    c.guarantee(),
		MaxText:        channels.TextLimit{Unit: channels.TextUnit(c.TextUnit), Max: c.MaxTextLength},
	}
	for _, w := range c.ReplyWindows {
		capabilities.Windows = append(capabilities.Windows, w.rule())
	}
	for _, a := range c.Attachments {
		if capabilities.Attachments == nil {
			capabilities.Attachments = map[channels.MediaKind]channels.MediaRule{}
		}
		capabilities.Attachments[channels.MediaKind(a.Kind)] = channels.MediaRule{MaxBytes: a.MaxBytes, ContentTypes: a.ContentTypes}
	}
	return capabilities
}

func (w ReplyWindow) rule() channels.WindowRule {
	return channels.WindowRule{Trigger: w.Trigger, For: time.Duration(w.Seconds) * time.Second, Count: w.Messages}
}
