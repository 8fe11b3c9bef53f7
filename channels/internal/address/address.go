// Package address normalises the identity values that several kinds of channel
// carry: phone numbers, mail addresses and opaque ids. Two spellings of one
// value must become the same identity, and a value that cannot be one must not
// enter the data at all.
//
// The functions are pure and keep no state. They normalise, they do not prove:
// how far a value is to be trusted is the kind's business.
package address

import (
	"net/mail"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)

// Phone returns the number in E.164 (at most 15 digits after the plus sign, ITU-T
// E.164 section 6). Spaces, dots, dashes and brackets are dropped; a number
// without a country code is refused, since guessing one joins strangers.
func Phone(text string) (string, bool) {
	number := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" .-()\u00a0", r) {
			return -1
		}
		return r
	}, text)
	return number, e164.MatchString(number)
}

// Email returns a bare address in lower case, at most 254 bytes (RFC 5321
// section 4.5.3.1.3). A display name or a comment beside it is refused.
func Email(text string) (string, bool) {
	text = strings.TrimSpace(text)
	a, err := mail.ParseAddress(text)
	if err != nil || a.Address != text || len(text) > 254 {
		return "", false
	}
	return Lower(text), true
}

// Lower gives an address in lower case. A letter beyond ASCII stays beyond it:
// Unicode pairs the Kelvin sign with k, and whoever has the one address must not
// become who has the other.
func Lower(text string) string {
	return strings.Map(func(r rune) rune {
		if lower := unicode.ToLower(r); r < utf8.RuneSelf || lower >= utf8.RuneSelf {
			return lower
		}
		return r
	}, text)
}

// MaxID is the longest opaque id in bytes: it stands in unique indexes.
const MaxID = 200

// ID reports whether text can be an opaque id: 1 to MaxID bytes of valid UTF-8
// without control characters. The replacement character is refused, because
// damaged ids that differ would all become the same one.
func ID(text string) bool {
	if text == "" || len(text) > MaxID || !utf8.ValidString(text) {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		return r == utf8.RuneError || unicode.IsControl(r)
	})
}
