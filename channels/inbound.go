package channels

import "time"

// InboundKind says what a provider's event is.
type InboundKind string

// The kinds of inbound events. What a kind does not know is InboundUnknown,
// stored with its raw bytes and never refused.
const (
	InboundMessage  InboundKind = "message"
	InboundEdit     InboundKind = "edit"
	InboundRecall   InboundKind = "recall"
	InboundDelivery InboundKind = "delivery"
	InboundRead     InboundKind = "read"
	InboundTyping   InboundKind = "typing"
	InboundFollow   InboundKind = "follow"
	InboundUnfollow InboundKind = "unfollow"
	InboundEnter    InboundKind = "enter"
	InboundMenu     InboundKind = "menu"
	InboundComment  InboundKind = "comment"
	InboundEcho     InboundKind = "echo"
	InboundPoke     InboundKind = "poke"
	InboundUnknown  InboundKind = "unknown"
)

// Inbound is one event from outside in our shape. Its JSON form is stored by
// the core and ingested later, perhaps by a newer binary: tags never change
// their meaning, and times are UTC.
type Inbound struct {
	Kind InboundKind `json:"kind"`
	// ExternalID is unique in the channel: the provider's id, else "h:" and
	// the SHA-256 of the decrypted payload in hex. The core drops repeats by it.
	ExternalID string `json:"externalId"`
	// Sender holds all identities the event gives of one person.
	Sender []IdentityKey `json:"sender,omitempty"`
	// SenderName is how the event calls the sender; a claim.
	SenderName string `json:"senderName,omitempty"`
	// Proof is how Sender was proved.
	Proof Proof `json:"proof,omitzero"`
	// To and Cc are who was addressed, our own addresses included and marked.
	To []Address `json:"to,omitempty"`
	Cc []Address `json:"cc,omitempty"`
	// ReplyTo is where answers shall go, where it differs from Sender.
	ReplyTo []Address `json:"replyTo,omitempty"`
	// ThreadKey groups events within the channel; never empty in a message.
	ThreadKey string `json:"threadKey,omitempty"`
	// InReplyTo is the provider's id of the message that is answered.
	InReplyTo string `json:"inReplyTo,omitempty"`
	// Subject is what the sender called it, where the kind has subjects.
	Subject string `json:"subject,omitempty"`
	// Parts is the content. Media inside is fetched later by MediaFetcher, or
	// lies in Host.Blob already (MediaRef.Blob).
	Parts []Part `json:"parts,omitempty"`
	// HTML is the rich form of the text, sanitised by the kind; pictures inside
	// are named by "cid:" and MediaRef.ContentID. Empty: there is none.
	HTML string `json:"html,omitempty"`
	// Quoted is what was cut from the text: earlier messages and signatures.
	Quoted string `json:"quoted,omitempty"`
	// Warnings are keys of what people should be told about the message, such
	// as WarnSenderUnproved.
	Warnings []string `json:"warnings,omitempty"`
	// Unreadable says why the event could not be read as it should; what could
	// be saved stands in the parts, the whole in Raw. Empty: it was read.
	Unreadable string `json:"unreadable,omitempty"`
	// RefID is the id by which later messages name this one, whatever channel
	// they come by: a mail's Message-ID. Empty: the kind has none.
	RefID string `json:"refId,omitempty"`
	// References are RefIDs of earlier messages of the thread, oldest first.
	References []string `json:"references,omitempty"`
	// SameID is equal for every copy of one message, on whatever channel it
	// arrives: a copy is one more arrival, not a second message. Empty: each
	// is a message of its own.
	SameID string `json:"sameId,omitempty"`
	// Marks are texts in the shape of our own marks (Outbound.Marks) found in
	// addresses and ids, best first. The core checks them; the kind cannot.
	Marks []string `json:"marks,omitempty"`
	// Grant is the reply window this event opens; nil: it opens none.
	Grant *WindowGrant `json:"grant,omitempty"`
	// Automatic marks auto-replies, bounces and receipts: they never reopen a
	// conversation and are never answered by a machine.
	Automatic bool `json:"automatic,omitempty"`
	// Public marks what everybody can read, such as a comment.
	Public bool `json:"public,omitempty"`
	// OccurredAt is the provider's time of the event.
	OccurredAt time.Time `json:"occurredAt"`

	// MessageID is our id of the message that a receipt is about.
	MessageID string `json:"messageId,omitempty"`
	// TargetID is the provider's id of the message that a receipt, an edit or
	// a recall is about.
	TargetID string `json:"targetId,omitempty"`
	// State is what a receipt reports.
	State DeliveryState `json:"state,omitempty"`
	// Reason is the provider's text to State, cleaned.
	Reason string `json:"reason,omitempty"`
	// Hint is passed back with the cursor when a poke asks to fetch.
	Hint string `json:"hint,omitempty"`

	Raw Raw `json:"raw,omitzero"`
}

// The warnings that the core knows; a kind may name its own.
const (
	// WarnSenderUnproved: nothing vouches for the shown sender.
	WarnSenderUnproved = "sender_unproved"
	// WarnSenderForged: the sender's domain says that it is not from there.
	WarnSenderForged = "sender_forged"
	// WarnReplyToForeign: answers are asked to go to an address that is not the sender's.
	WarnReplyToForeign = "reply_to_foreign"
	// WarnCut: parts were left out because of a limit.
	WarnCut = "cut"
)

// Media lists the attachments in the order of the parts.
func (in Inbound) Media() []MediaRef {
	var refs []MediaRef
	for _, p := range in.Parts {
		if p.Media != nil {
			refs = append(refs, *p.Media)
		}
	}
	return refs
}

// DeliveryState is what became of a message we sent.
type DeliveryState string

// The delivery states. A query answers sent, failed or unknown; a receipt
// reports delivered, read or failed.
const (
	DeliverySent      DeliveryState = "sent"
	DeliveryDelivered DeliveryState = "delivered"
	DeliveryRead      DeliveryState = "read"
	DeliveryFailed    DeliveryState = "failed"
	DeliveryUnknown   DeliveryState = "unknown"
)

// WindowGrant is what an inbound event allows us to answer. The core stores it
// per (channel, identity) and takes one unit when it queues a reply.
type WindowGrant struct {
	// Trigger names the rule (WindowRule.Trigger) that opened it.
	Trigger string `json:"trigger,omitempty"`
	// Until is the last moment for a reply.
	Until time.Time `json:"until"`
	// Count is how many replies are allowed; 0: any number.
	Count int `json:"count,omitempty"`
	// Context must go with the reply (a message id, a welcome code).
	Context string `json:"context,omitempty"`
}

// Raw is the event as it came. A kind fills Bytes; the core moves what is over
// 256 KiB to the file store and seals it.
type Raw struct {
	ContentType string `json:"contentType,omitempty"`
	Bytes       []byte `json:"bytes,omitempty"`
	// Blob, Size (bytes) and SHA256 (hex) stand for Bytes after the move.
	Blob   string `json:"blob,omitempty"`
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}
