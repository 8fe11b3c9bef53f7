// Package gate is the SIP side of a node: two listeners with different doors (trunks, phones), validation, digest,
// registrar, and dialogs. It knows no media but the bodies that it carries, no call and no customer.
//
// A message goes this way: socket (packet.go, stream.go), door.screen, which answers all that needs no memory, then the
// transactions of the SIP library, then Gate.request, then the dialog's own goroutine. The library sees only what screen has
// understood and written anew in the plainest form of the grammar.
//
// Neighbours: telephony makes calls of dialogs; the desk is asked through Desk. Invariants: strangers leave nothing behind,
// neither at the door of trunks nor, until they have shown that they get what is sent to them, at the door of phones; a
// challenge is not remembered; no value that we are given makes a line of its own; every dialog ends with EventEnded, and
// its goroutine with it.
package gate

import "context"

// Dialog is one SIP dialog of either direction, from its INVITE on. Methods may be called from any goroutine; each returns
// at once but Reoffer. After EventEnded nothing more comes and every method does nothing.
type Dialog interface {
	// ID names it for logs: Call-ID and our tag.
	ID() string
	// Events tells what the far end did, in order; closed after EventEnded. Always to be read: it holds 64, and when more
	// come the dialog is hung up.
	Events() <-chan Event
	// Ring sends 180, once. Inbound and unanswered only.
	Ring()
	// Accept answers the INVITE with 200 and the SDP; 200 is repeated until ACK, and without one EventEnded follows.
	Accept(sdp []byte)
	// Refuse answers the INVITE with that final status.
	Refuse(code int, reason string)
	// AnswerOffer and RefuseOffer answer the EventOffer that came last.
	AnswerOffer(sdp []byte)
	RefuseOffer(code int)
	// Reoffer sends a re-INVITE and returns the far end's answer; 491 is tried again by RFC 3261 section 14.1.
	Reoffer(ctx context.Context, sdp []byte) (answer []byte, err error)
	// HangUp ends it by what fits: a refusal (480), CANCEL or BYE. cause becomes a Reason header (RFC 3326). EventEnded
	// follows at once, whatever the far end says to it.
	HangUp(cause string)
}

// EventKind is what the far end did.
type EventKind string

// The events.
const (
	// EventRinging: 180 or 183, outbound; SDP if it came. It may come again, and it is missing where a 200 overtook it.
	EventRinging EventKind = "ringing"
	// EventAnswered: outbound, 200 with SDP; it is acknowledged already.
	EventAnswered EventKind = "answered"
	// EventConfirmed: inbound, ACK came; SDP is the answer that it held when the offer was ours, in Accept or in the
	// AnswerOffer to an EventOffer without SDP.
	EventConfirmed EventKind = "confirmed"
	// EventOffer: a re-INVITE or UPDATE with SDP; to be answered. One without SDP asks for an offer of ours: SDP is nil
	// and AnswerOffer carries the offer.
	EventOffer EventKind = "offer"
	// EventDigit: INFO with a key (application/dtmf-relay or application/dtmf).
	EventDigit EventKind = "digit"
	// EventEnded: it is over, by whichever side.
	EventEnded EventKind = "ended"
)

// Event is one thing that the far end did.
type Event struct {
	Kind EventKind
	SDP  []byte
	// Digit is one of voice.Digits.
	Digit byte
	// Code is the final status that refused an outbound INVITE; 0: the dialog had been up, or was cancelled.
	Code int
	// Remote: the far end hung up, cancelled or refused. Reason is its text, cleaned.
	Remote bool
	Reason string
}
