package email

import (
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"time"

	"tributary/channels"
	"tributary/channels/internal/address"
	"tributary/internal/clean"
)

// stage is where in the dialogue a reply came; the same code means different
// things.
type stage int

const (
	stageHello stage = iota
	stageLogin
	stageSender
	stageRecipient
	stageContent
)

const (
	// someTime is the wait after a reply that names none; the core makes it
	// longer from attempt to attempt.
	someTime = time.Minute
	// longest bounds a wait that a reply names.
	longest = 24 * time.Hour
)

// replied gives an error of the dialogue its class by the reply code (RFC 5321
// section 4.2.3, RFC 4954 section 6) and the enhanced one (RFC 3463). What is no
// reply is a broken connection, and temporary before the final dot.
func replied(at stage, doing string, err error) error {
	if _, is := errors.AsType[*channels.Error](err); is {
		return err
	}
	reply, is := errors.AsType[*textproto.Error](err)
	err = fmt.Errorf("%s: %w", doing, err)
	if !is {
		return err
	}
	e := classify(at, reply, err)
	return e.WithCode(strings.TrimSpace(fmt.Sprint(reply.Code, " ", enhanced(reply.Msg))))
}

func classify(at stage, reply *textproto.Error, err error) *channels.Error {
	text := clean.Line(reply.Msg, 300)
	switch {
	case reply.Code >= 400 && reply.Code < 500:
		return channels.RetryAfter(err, waitOf(reply.Msg)).WithText(text)
	case reply.Code < 500:
		return channels.RetryAfter(err, someTime).WithText(text)
	case reply.Code == 530, reply.Code == 534, reply.Code == 535, reply.Code == 538:
		return channels.AuthBroken(err).WithText("The mail server refuses the user name or the password.")
	case reply.Code == 552 && at != stageRecipient, strings.HasSuffix(enhanced(reply.Msg), ".3.4"):
		return channels.ContentRejected(err).WithText("The mail server finds the mail too large.")
	}
	switch at {
	case stageHello:
		// Nobody is served there today (554): perhaps our address is listed.
		return channels.RetryAfter(err, someTime).WithText(text)
	case stageLogin:
		return channels.ConfigError(err).WithText("The mail server does not take this way of logging in.")
	case stageSender:
		return channels.ConfigError(err).WithText("The mail server does not let us send from this address: " + text)
	case stageRecipient:
		return recipientRefused(reply, err, text)
	}
	if unknown(enhanced(reply.Msg)) {
		return channels.InvalidRecipient(err).WithText(text)
	}
	return channels.ContentRejected(err).WithText(text)
}

func recipientRefused(reply *textproto.Error, err error, text string) *channels.Error {
	code := enhanced(reply.Msg)
	switch {
	case reply.Code == 552, code == "5.2.2":
		return channels.Permanent(err).WithText("The recipient's mailbox is full.")
	case reply.Code == 554, strings.HasPrefix(code, "5.7.") && !unknown(code):
		return channels.Permanent(err).WithText(text) // A rule against us or the way, not the address.
	}
	return channels.InvalidRecipient(err).WithText(text)
}

// unknown tells the enhanced codes of an address that is not there.
func unknown(code string) bool {
	switch code {
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10":
		return true
	}
	return false
}

var enhancedShape = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

func enhanced(msg string) string { return enhancedShape.FindString(msg) }

var waitShape = regexp.MustCompile(`(?i)\b(\d{1,5}) ?(s|secs?|seconds?|m|mins?|minutes?)\b`)

// waitOf reads the wait out of a greylisting server's text ("try again in 300
// seconds"); the protocol has no field for it.
func waitOf(msg string) time.Duration {
	found := waitShape.FindStringSubmatch(msg)
	if found == nil {
		return someTime
	}
	n, err := strconv.Atoi(found[1])
	unit := time.Second
	if strings.HasPrefix(strings.ToLower(found[2]), "m") {
		unit = time.Minute
	}
	if err != nil || n == 0 {
		return someTime
	}
	return min(time.Duration(n)*unit, longest)
}

var queued = regexp.MustCompile(`(?i)\b(?:queued as|id=)\s?([A-Za-z0-9._-]+)`)

// queueID takes the server's id out of its last reply: what stands in its log.
func queueID(msg string) string {
	if found := queued.FindStringSubmatch(msg); found != nil {
		msg = found[1]
	}
	msg = clean.Line(strings.TrimSpace(strings.TrimPrefix(msg, enhanced(msg))), 60)
	if !address.ID(msg) {
		return ""
	}
	return msg
}

// mask hides most of an address: an error may be shown to who may not see it.
func mask(addr string) string {
	local, domain := split(addr)
	for _, r := range local {
		return string(r) + "***@" + domain
	}
	return "***@" + domain
}
