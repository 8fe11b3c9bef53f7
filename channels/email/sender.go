package email

import (
	"fmt"

	"tributary/channels"
)

// address sets who wrote, how well that is proved, and to whom.
func (m *message) address() {
	h, in := m.c.top, &m.in
	var several bool
	m.from, several = m.sender()
	level := channels.Claimed
	v := verdict{}
	if m.from.address != "" && !several && !m.c.topCut {
		v = m.r.authenticate(h, m.from.address)
	}
	switch {
	case v.forged:
		in.Warnings = append(in.Warnings, channels.WarnSenderForged)
	case v.proof.Kind == channels.ProofNone:
		in.Warnings = append(in.Warnings, channels.WarnSenderUnproved)
	default:
		level, in.Proof = channels.ChannelProved, v.proof
	}
	if m.from.address == "" { // nobody to answer, but somebody who wrote: each such mail is of a stranger of its own
		m.from.address = fmt.Sprintf("%x@unknown.invalid", m.body[:8])
	}
	in.Sender = []channels.IdentityKey{identity(m.from.address, level)}
	in.SenderName = m.from.name
	in.To, in.Cc = m.r.addresses(h, "to"), m.r.addresses(h, "cc")
	m.replyTo()
}

// sender is who the mail says it is from; several tells that it names more than
// one, or that another program may read another one.
func (m *message) sender() (from party, several bool) {
	h := m.c.top
	var named party
	addresses := map[string]bool{}
	for _, value := range h.all("from") {
		for _, a := range readings(rawToUTF8(value, m.r.locale)) {
			addresses[a] = true
		}
		for _, b := range parseAddresses(value, m.r.locale) {
			if b.address != "" {
				addresses[b.address] = true
			}
			if from.address == "" && b.address != "" {
				from = b
			}
			if named.name == "" {
				named = b
			}
		}
	}
	if from.address != "" {
		return from, len(addresses) > 1 || len(h.all("from")) > 1
	}
	// A From without an address: who handed the mail in stands for who wrote it, unproved.
	for _, field := range []string{"sender", "resent-from", "return-path"} {
		for _, b := range parseAddresses(h.raw(field), m.r.locale) {
			if b.address != "" {
				if named.name != "" {
					b.name = named.name
				}
				return b, true
			}
		}
	}
	return named, true
}

// replyTo takes a Reply-To that can be read and differs.
func (m *message) replyTo() {
	for _, a := range m.r.addresses(m.c.top, "reply-to") {
		if a.Value == m.from.address {
			continue
		}
		if len(m.in.ReplyTo) == 0 {
			m.in.Warnings = append(m.in.Warnings, channels.WarnReplyToForeign)
		}
		m.in.ReplyTo = append(m.in.ReplyTo, a)
	}
}
