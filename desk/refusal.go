package desk

import (
	"errors"
	"fmt"

	"tributary/ent"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Code is the contract's `UserErrorCode`.
type Code string

// The codes; the schema describes them.
const (
	Invalid              Code = "INVALID"
	Required             Code = "REQUIRED"
	TooLong              Code = "TOO_LONG"
	NotFound             Code = "NOT_FOUND"
	NotAllowed           Code = "NOT_ALLOWED"
	StaleVersion         Code = "STALE_VERSION"
	WrongState           Code = "WRONG_STATE"
	AlreadyTaken         Code = "ALREADY_TAKEN"
	OfferExpired         Code = "OFFER_EXPIRED"
	CapacityFull         Code = "CAPACITY_FULL"
	ServedByOthers       Code = "SERVED_BY_OTHERS"
	UnseenMessages       Code = "UNSEEN_MESSAGES"
	NotSupported         Code = "NOT_SUPPORTED_BY_CHANNEL"
	ChannelUnavailable   Code = "CHANNEL_UNAVAILABLE"
	IdentityUnreachable  Code = "IDENTITY_UNREACHABLE"
	InUse                Code = "IN_USE"
	Duplicate            Code = "DUPLICATE"
	LimitReached         Code = "LIMIT_REACHED"
	LoginFailed          Code = "LOGIN_FAILED"
	IdempotencyReused    Code = "IDEMPOTENCY_KEY_REUSED"
	IdempotencyInProgess Code = "IDEMPOTENCY_IN_PROGRESS"
)

// Refusal is an expected no: an error inside, the contract's UserError at the door. Its message is safe for people.
type Refusal struct {
	Code      Code
	Message   string
	Field     []string
	Retryable bool
	// ConflictID names what stood in the way; the door reads it after the transaction, by what the caller selects.
	ConflictID gid.ID
	Conflict   ent.Noder
}

// Error makes a Refusal an error.
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Message }

func refuse(c Code, message string, field ...string) *Refusal {
	return &Refusal{Code: c, Message: message, Field: field}
}

func notFound(noun string, field ...string) *Refusal {
	return refuse(NotFound, "there is no such "+noun, field...)
}

// Forbidden is the refusal of a whole operation for want of a scope: a top-level FORBIDDEN at the door.
type Forbidden struct{ Scope viewer.Scope }

// Error names the missing right.
func (f *Forbidden) Error() string { return fmt.Sprintf("needs the scope %s", f.Scope) }

// RefusalOf finds the Refusal in an error.
func RefusalOf(err error) (*Refusal, bool) {
	var r *Refusal
	ok := errors.As(err, &r)
	return r, ok
}
