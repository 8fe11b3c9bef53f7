package email

import (
	"bytes"
	"strings"

	"tributary/channels"
	"tributary/internal/clean"
)

const maxReason = 500 // runes

// bounce is what a delivery report says (RFC 3464).
type bounce struct {
	state  channels.DeliveryState
	reason string
	target string // the Message-ID of the mail that it is about
}

// readBounce finds a delivery report: a status part of either name, and the mail
// that comes back, whole or its header, of either name. The parser's own reader
// of reports finds no original in one for SMTPUTF8, and none out of order. machine
// tells that no person wrote the mail; what a person attached to a mail of another
// form reports nothing.
func (c *collector) readBounce(machine bool) (bounce, bool) {
	var b bounce
	found := false
	for _, p := range c.pieces {
		switch {
		case isStatus(p.media.name):
			if !found || b.state != channels.DeliveryFailed {
				if status, ok := c.readStatus(p.head); ok {
					b.state, b.reason, found = status.state, status.reason, true
				}
			}
		case isMail(p.media.name), p.media.name == "text/rfc822-headers", p.media.name == "message/rfc822-headers", p.media.name == "message/global-headers":
			if ids := messageIDs(c.inner(p).raw("message-id")); len(ids) > 0 && b.target == "" {
				b.target = ids[0]
			}
		}
	}
	if !found && machine && c.top.has("x-failed-recipients") { // a server without reports
		return bounce{state: channels.DeliveryFailed, reason: c.top.text("x-failed-recipients"), target: b.target}, true
	}
	return b, found && (machine || c.pieces[0].media.name == "multipart/report")
}

// inner is the header of a mail within the mail.
func (c *collector) inner(p *piece) header {
	block := p.head
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if i := bytes.Index(block, []byte(end)); i >= 0 {
			block = block[:i]
		}
	}
	return parseHeader(block, c.locale)
}

// readStatus reads the groups of fields of a report, one for each recipient.
// The worst one counts.
func (c *collector) readStatus(report []byte) (bounce, bool) {
	var worst bounce
	found := false
	report = bytes.ReplaceAll(report, []byte("\r\n"), []byte("\n"))
	for group := range bytes.SplitSeq(report, []byte("\n\n")) {
		h := parseHeader(group, c.locale)
		state, prefix, known := action(h.plain("action"))
		if !known || found && (worst.state == channels.DeliveryFailed || state != channels.DeliveryFailed) {
			continue
		}
		worst = bounce{state: state, reason: prefix + reason(h)}
		found = true
	}
	return worst, found
}

// action is what a report says became of the mail.
func action(word string) (state channels.DeliveryState, prefix string, known bool) {
	word, _, _ = strings.Cut(strings.ToLower(word), " ") // a comment may follow
	switch word {
	case "failed":
		return channels.DeliveryFailed, "", true
	case "delayed":
		return channels.DeliverySent, "delayed: ", true
	case "delivered":
		return channels.DeliveryDelivered, "", true
	case "relayed", "expanded":
		return channels.DeliverySent, word + ": ", true
	}
	return "", "", false
}

// reason is the status and what the other server said.
func reason(h header) string {
	status, _, _ := strings.Cut(h.plain("status"), " ")
	_, diagnostic, ok := strings.Cut(h.text("diagnostic-code"), ";")
	if !ok {
		diagnostic = h.text("diagnostic-code")
	}
	return clean.Line(strings.TrimSpace(status+" "+strings.TrimSpace(diagnostic)), maxReason)
}
