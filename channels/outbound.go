package channels

import "time"

// Outbound is one message to be sent. Recipients are computed by the core; a
// kind never widens them.
type Outbound struct {
	// ID is our id of the message. It goes with the request wherever the
	// provider takes a key, unchanged over all attempts.
	ID string
	// ThreadKey is the thread of the interaction, as inbound events gave it.
	ThreadKey string
	// To is who shall get it; the identities of one person follow each other.
	To []IdentityKey
	// Recipients are to whom it is addressed, where the kind has recipients
	// (Capabilities.Recipients); computed by the core, never widened.
	Recipients Recipients
	// Subject is what it is called, where the kind has subjects.
	Subject string
	// Parts is the content, in order.
	Parts []Part
	// ReplyTo is the provider's id of the message that is answered, if any.
	ReplyTo string
	// References are the RefIDs of the thread's messages, oldest first, the
	// answered one last.
	References []string
	// Marks name the message where the kind can carry them.
	Marks Marks
	// At is when the message was written; unchanged over all attempts.
	At time.Time
	// Attempt counts from 1.
	Attempt int
}

// Recipients of a message.
type Recipients struct{ To, Cc []Address }

// Marks are signed by the core and come back in Inbound.Marks: letters,
// digits and dots only, at most 40 characters.
type Marks struct {
	// Conversation goes into the address that answers come to.
	Conversation string
	// Message goes into the message's own id.
	Message string
	// Delivery goes into the address that failures are reported to.
	Delivery string
}

// Receipt is a provider's acceptance of a message.
type Receipt struct {
	// ExternalID is the provider's id of the message; empty when it gave none.
	ExternalID string
	// RefID is the id by which answers will name it (Inbound.RefID).
	RefID string
}

// DeliveryAnswer is what a provider says about a message when asked.
type DeliveryAnswer struct {
	// State is DeliverySent, DeliveryFailed or DeliveryUnknown.
	State DeliveryState
	// ExternalID is the provider's id of the message, where it tells it.
	ExternalID string
	// Reason is the provider's text, cleaned.
	Reason string
}
