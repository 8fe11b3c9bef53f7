package channels

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
	// Parts is the content, in order.
	Parts []Part
	// ReplyTo is the provider's id of the message that is answered, if any.
	ReplyTo string
	// Attempt counts from 1.
	Attempt int
}

// Receipt is a provider's acceptance of a message.
type Receipt struct {
	// ExternalID is the provider's id of the message; empty when it gave none.
	ExternalID string
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
