package gate

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Outgoing is a call that we make.
type Outgoing struct {
	// To is a number or user name, or a URI of SIP; From is the number shown, Name the name. DialPhone takes the phone's
	// own user for an empty To.
	To, From, Name string
	// SDP is the offer.
	SDP []byte
	// Headers are further fields of the INVITE. Those that make up the dialog are refused.
	Headers map[string]string
}

var (
	errControl = errors.New("a value holds a control character")
	errValue   = errors.New("a value cannot be sent")
)

// longest bounds a value that we write, in bytes.
const longest = 1000

// check refuses what would not arrive as what it is: control characters (a line end would begin a field of its own), what
// is no UTF-8, and fields that the dialog itself writes.
func (o *Outgoing) check() error {
	for name, v := range map[string]string{"to": o.To, "from": o.From, "name": o.Name} {
		if hasControl(v) {
			return fmt.Errorf("%s: %w", name, errControl)
		}
		if !utf8.ValidString(v) || len(v) > longest {
			return fmt.Errorf("%s: %w", name, errValue)
		}
	}
	if o.To == "" || isSIP(o.To) && checkURI(o.To) != nil {
		return fmt.Errorf("to: %w", errValue)
	}
	if isSIP(o.To) && strings.Contains(o.To, "?") {
		return fmt.Errorf("to: %w", errValue)
	}
	for name, v := range o.Headers {
		if hasControl(v) {
			return fmt.Errorf("header %q: %w", name, errControl)
		}
		if !isToken(name) || reserved(longName(name)) || !utf8.ValidString(v) || len(v) > longest || strings.TrimSpace(v) != v || v == "" {
			return fmt.Errorf("header %q: %w", name, errValue)
		}
	}
	return nil
}

// reserved are the fields that make up a message: nobody else writes them.
func reserved(name string) bool {
	switch strings.ToLower(name) {
	case "via", "from", "to", "call-id", "cseq", "contact", "content-length", "content-type", "content-encoding", "content-disposition",
		"route", "record-route", "max-forwards", "require", "proxy-require", "supported", "allow", "authorization", "proxy-authorization",
		"session-expires", "min-se", "rack", "rseq", "user-agent", "server", "expires", "accept", "replaces", "refer-to", "mime-version",
		"www-authenticate", "proxy-authenticate", "unsupported", "retry-after", "timestamp", "date":
		return true
	}
	return false
}

// hasControl reports control characters of ASCII and of Unicode's second set.
func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' }) >= 0
}

// escapeUser writes a user part: RFC 3261 section 25.1, user-unreserved; all else as %HH.
func escapeUser(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if isAlpha(c) || c >= '0' && c <= '9' || strings.IndexByte("-_.!~*'()&=+$,", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// escapeName writes a display name for its quotation marks: section 25.1, quoted-string.
func escapeName(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
}

// reasonText is a text that goes behind a status or into a Reason field: on one line, without marks that end it.
func reasonText(s string) string {
	s = strings.Map(func(r rune) rune {
		if hasControl(string(r)) || r == '"' || r == '\\' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "")
	}
	return strings.TrimSpace(s)
}
