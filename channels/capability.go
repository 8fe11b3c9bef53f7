package channels

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// Receiver takes webhooks. Receive checks the signature and decodes; it is pure
// but for decryption, does no I/O and stores nothing: the core stores the
// events, commits and only then sends Answer. A refusal is a *Refused; any other
// error is answered 503, so that the provider repeats.
type Receiver interface {
	Receive(ctx context.Context, r *Request) (Received, error)
}

// Request is a webhook call whose address the core has already matched.
type Request struct {
	Method string
	Header http.Header
	Query  url.Values
	Body   []byte
}

// Received is a webhook call that passed its checks.
type Received struct {
	// Events are in the provider's order; empty for a handshake.
	Events []Inbound
	// Answer is what the provider expects after the commit.
	Answer Answer
}

// Answer is the response to a webhook.
type Answer struct {
	// Status is the HTTP status; 0 means 200.
	Status      int
	ContentType string
	// Body makes the body from the number of events that are now stored, the
	// repeats among them included. Nil: no body.
	Body func(accepted int) []byte
}

// Refused is a webhook call that is not taken; nothing of it is stored.
type Refused struct {
	// Status is the HTTP status, 400 to 499.
	Status int
	// Message goes to the caller: it names the first bad field and holds no
	// secret and no content.
	Message string
}

// Error implements error.
func (r *Refused) Error() string { return fmt.Sprintf("refused with %d: %s", r.Status, r.Message) }

// Cursor is a position in a stream of a provider, opaque to the core.
type Cursor struct {
	// Stream names the part of the channel (a folder, a mailbox).
	Stream string
	// Position is nil at the first fetch.
	Position []byte
	// Hint is that of the newest poke, if one came.
	Hint string
}

// Batch is what one fetch gave.
type Batch struct {
	Events []Inbound
	// Next is stored with the events, in one transaction.
	Next Cursor
	// More: fetch again at once.
	More bool
}

// Fetcher reads events after a cursor. It writes nothing: a fetch repeated from
// an old cursor gives the same external ids.
type Fetcher interface {
	Fetch(ctx context.Context, after Cursor) (Batch, error)
}

// Streamer names the streams of a Fetcher that has several; without it there is
// one, named "".
type Streamer interface{ Streams() []string }

// Watcher holds a connection open and calls wake when there may be something to
// fetch; it delivers nothing itself and returns when ctx ends or the connection
// breaks.
type Watcher interface {
	Watch(ctx context.Context, stream string, wake func()) error
}

// Sender sends. Errors are read by ClassOf; unwrapped ones are temporary. When
// the provider may have taken the message and the outcome is not known, the
// error is Uncertain. A failure before the first byte left us is temporary.
type Sender interface {
	Send(ctx context.Context, out Outbound) (Receipt, error)
}

// DeliveryQuerier asks what became of a message, by our id. An error means that
// the question could not be asked; that the provider does not know is
// DeliveryUnknown.
type DeliveryQuerier interface {
	Query(ctx context.Context, messageID string) (DeliveryAnswer, error)
}

// MediaFetcher copies an inbound attachment into w, in a worker. It stops with a
// permanent error when there are more than max bytes. The content type is the
// provider's claim.
type MediaFetcher interface {
	FetchMedia(ctx context.Context, ref MediaRef, w io.Writer, max int64) (contentType string, err error)
}

// Typer shows the customer that an agent is typing, or has stopped.
type Typer interface {
	Typing(ctx context.Context, threadKey string, to []IdentityKey, typing bool) error
}

// HealthChecker asks the provider whether the channel's credentials work; its
// error has a class and a text for people.
type HealthChecker interface {
	CheckHealth(ctx context.Context) error
}

// Guarantees is implemented where the guarantee depends on the configuration;
// without it the kind's Capabilities.Idempotency holds.
type Guarantees interface {
	Guarantee() Idempotency
}

// Declares is implemented where capabilities or liveness depend on the
// configuration; without it the kind's own hold.
type Declares interface {
	Capabilities() Capabilities
	Live() Liveness
}

// Idempotency is what keeps a repeated send from becoming a second message.
type Idempotency string

// The guarantees. A send is repeated by itself only with IdempotencyKey, or after asking
// with IdempotencyQueryable.
const (
	// IdempotencyNone: a send in doubt stays in doubt.
	IdempotencyNone Idempotency = "none"
	// IdempotencyKey: the provider drops doubles of our id for ever.
	IdempotencyKey Idempotency = "key"
	// IdempotencyQueryable: the provider can be asked by our id.
	IdempotencyQueryable Idempotency = "queryable"
	// IdempotencyCorrelates: our id comes back in receipts, doubles are sent.
	IdempotencyCorrelates Idempotency = "correlates"
	// IdempotencyContentWindow: equal content within a time is dropped.
	IdempotencyContentWindow Idempotency = "content_window"
)

// Capabilities describe what a channel takes and gives beyond its interfaces.
// Booleans are off unless said.
type Capabilities struct {
	// Text, Location, Link, Menu, Card and Template are what can be sent beside media.
	Text, Location, Link, Menu, Card, Template bool
	// Recipients: messages have To and Cc, and can be answered to all.
	Recipients bool
	// Subject: messages have a subject.
	Subject bool
	// Starts: we may write first.
	Starts bool
	// PublicComment, PublicReply and PrivateReply: comments come in, can be
	// answered where they stand, and answered by direct message.
	PublicComment, PublicReply, PrivateReply bool
	// TypingIn and TypingOut: typing is reported by the customer, shown to him.
	TypingIn, TypingOut bool
	// Edit: the customer's edits come in.
	Edit bool
	// Recall is how long a sent message can be taken back; 0: not at all.
	Recall time.Duration
	// DeliveryReport and ReadReport: receipts come in.
	DeliveryReport, ReadReport bool
	// Idempotency is the guarantee of Send.
	Idempotency Idempotency
	// Windows are the reply windows, one per trigger; empty: write any time.
	Windows []WindowRule
	// MaxText limits one text part; Max 0: no limit.
	MaxText TextLimit
	// Attachments are the media kinds that can be sent, with their limits.
	Attachments map[MediaKind]MediaRule
	// MaxAttachments is how many go with one message; 0: no limit.
	MaxAttachments int
}

// WindowRule says how long and how often we may answer after a trigger.
type WindowRule struct {
	// Trigger is "message", "menu", "follow", "enter".
	Trigger string
	// For is the length of the window, from the event's own time.
	For time.Duration
	// Count is how many replies it allows; 0: any number.
	Count int
	// TemplatesAfter: templates may be sent when it has closed.
	TemplatesAfter bool
}

// MediaRule limits attachments of one kind.
type MediaRule struct {
	// MaxBytes is the largest size; 0: no limit of the channel's own.
	MaxBytes int64
	// ContentTypes are MIME types, "image/*" for all of a family; empty: all.
	ContentTypes []string
	// Life is how long the provider keeps what came in; 0: for ever.
	Life time.Duration
}

// TextUnit is what a text limit counts.
type TextUnit string

// The units.
const (
	TextRunes TextUnit = "runes"
	TextUTF16 TextUnit = "utf16"
	TextBytes TextUnit = "bytes"
)

// TextLimit is the longest text of one part, in Unit; Max 0: no limit.
type TextLimit struct {
	Unit TextUnit
	Max  int
}

// Length counts text in the limit's unit.
func (l TextLimit) Length(text string) int {
	switch l.Unit {
	case TextBytes:
		return len(text)
	case TextUTF16:
		n := 0
		for _, r := range text {
			n += utf16.RuneLen(r)
		}
		return n
	default:
		return utf8.RuneCountInString(text)
	}
}

// Allows reports whether text keeps the limit.
func (l TextLimit) Allows(text string) bool { return l.Max <= 0 || l.Length(text) <= l.Max }
