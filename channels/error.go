package channels

import (
	"errors"
	"time"
)

// Class says how a failure is to be read by the core: whether to try again, to
// tell a person, to switch the channel, or to stop it.
type Class string

// The classes. An error without a class is ClassRetry.
const (
	ClassRetry             Class = "retry"              // temporary: try again with back-off
	ClassThrottled         Class = "throttled"          // too fast: the channel or the recipient
	ClassWindowClosed      Class = "window_closed"      // the reply window is over; the grant is zeroed
	ClassBlocked           Class = "blocked"            // the recipient refuses us
	ClassInvalidRecipient  Class = "invalid_recipient"  // no such recipient
	ClassContentRejected   Class = "content_rejected"   // this content is never taken
	ClassAttachmentExpired Class = "attachment_expired" // the provider has forgotten the file
	ClassAuthExpired       Class = "auth_expired"       // refresh the credentials, then once more
	ClassAuthBroken        Class = "auth_broken"        // stop the channel, alarm
	ClassConfig            Class = "config"             // a setting is wrong
	ClassBalance           Class = "balance"            // the provider wants money
	ClassPermanent         Class = "permanent"          // any other refusal for good
	ClassUncertain         Class = "uncertain"          // the provider may have taken it
)

// Scope is what a throttle holds back.
type Scope string

// The scopes of a throttle.
const (
	ScopeOfChannel   Scope = "channel"
	ScopeOfRecipient Scope = "recipient"
)

// Error is a failure of a channel with its class. No field holds a secret.
type Error struct {
	Class Class
	// Code is the provider's own code, for logs and support; may be empty.
	Code string
	// RetryAfter is how long to wait before the next attempt; 0: the core decides.
	RetryAfter time.Duration
	// Scope is what a throttle holds back; set for ClassThrottled only.
	Scope Scope
	// Text is for people, cleaned; empty: the core shows its own for the class.
	Text string
	// Err is the cause, for the log.
	Err error
}

// Error implements error: the class, the code and the cause.
func (e *Error) Error() string {
	s := string(e.Class)
	if e.Code != "" {
		s += " (" + e.Code + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// WithCode sets the provider's code and returns e.
func (e *Error) WithCode(code string) *Error {
	e.Code = code
	return e
}

// WithText sets the text for people and returns e.
func (e *Error) WithText(text string) *Error {
	e.Text = text
	return e
}

// Permanent means that no attempt will succeed.
func Permanent(err error) *Error { return &Error{Class: ClassPermanent, Err: err} }

// RetryAfter means not now, and the provider said how long to wait.
func RetryAfter(err error, d time.Duration) *Error {
	return &Error{Class: ClassRetry, Err: err, RetryAfter: max(d, 0)}
}

// Throttled means too fast for scope; d is how long to wait, 0 when not said.
func Throttled(err error, scope Scope, d time.Duration) *Error {
	return &Error{Class: ClassThrottled, Err: err, Scope: scope, RetryAfter: max(d, 0)}
}

// WindowClosed means that the provider allows no reply any more.
func WindowClosed(err error) *Error { return &Error{Class: ClassWindowClosed, Err: err} }

// Blocked means that the recipient refuses our messages.
func Blocked(err error) *Error { return &Error{Class: ClassBlocked, Err: err} }

// InvalidRecipient means that there is no such recipient.
func InvalidRecipient(err error) *Error { return &Error{Class: ClassInvalidRecipient, Err: err} }

// ContentRejected means that the provider takes another message, but never this
// one.
func ContentRejected(err error) *Error { return &Error{Class: ClassContentRejected, Err: err} }

// AttachmentExpired means that the provider has forgotten the file.
func AttachmentExpired(err error) *Error { return &Error{Class: ClassAttachmentExpired, Err: err} }

// AuthExpired means that the token ran out: refresh it and try once more.
func AuthExpired(err error) *Error { return &Error{Class: ClassAuthExpired, Err: err} }

// AuthBroken means that the credentials are refused; the channel must stop.
func AuthBroken(err error) *Error { return &Error{Class: ClassAuthBroken, Err: err} }

// ConfigError means that a setting is wrong; nothing was sent.
func ConfigError(err error) *Error { return &Error{Class: ClassConfig, Err: err} }

// Balance means that the provider wants money first.
func Balance(err error) *Error { return &Error{Class: ClassBalance, Err: err} }

// Uncertain means that the provider may or may not have taken the message.
func Uncertain(err error) *Error { return &Error{Class: ClassUncertain, Err: err} }

// ClassOf returns the class of err: "" for nil, ClassRetry for an error without
// a class.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return ClassRetry
}

// RetryAfterOf returns how long the provider asked us to wait; 0 when it did not.
func RetryAfterOf(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
