package email

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"tributary/channels/internal/address"
	"tributary/internal/clean"
)

// keepEnds is how many ids of a chain of references are kept at each end. The
// oldest ones name the thread, the newest the message that is answered.
const keepEnds = 20

var angled = regexp.MustCompile(`<([^<>]+)>`)

// messageIDs reads the ids of a field, without their brackets. Comments of
// careless clients ("Your message of Monday") are no ids.
func messageIDs(value []byte) []string {
	var ids []string
	for _, m := range angled.FindAllSubmatch(value, -1) {
		if id := messageID(string(m[1])); id != "" {
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		return ids
	}
	for f := range strings.FieldsSeq(string(value)) {
		if id := messageID(strings.Trim(f, `<>,;"`)); id != "" && strings.Contains(id, "@") {
			ids = append(ids, id)
		}
	}
	return ids
}

// messageID makes an id of what a sender wrote as one. It goes into unique
// indexes, so what is too long or damaged is stood for by its hash, the same in
// every mail that names it.
func messageID(text string) string {
	id := strings.Join(strings.Fields(text), "")
	if id == "" || address.ID(id) && len(id) <= maxMessageID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "h:" + hex.EncodeToString(sum[:])
}

// maxMessageID leaves room for the hash of the body in an external id.
const maxMessageID = address.MaxID - 1 - bodyHash

// bodyHash is how many hex digits of the body's hash stand in an external id.
const bodyHash = 16

// ancestors are the ids of a mail's ancestors, oldest first, the one it answers last.
func ancestors(h header) (chain []string, inReplyTo string) {
	for _, value := range h.all("references") {
		chain = append(chain, messageIDs(value)...)
	}
	for _, value := range h.all("in-reply-to") {
		for _, id := range messageIDs(value) {
			if inReplyTo == "" {
				inReplyTo = id
			}
		}
	}
	if inReplyTo == "" && len(chain) > 0 {
		inReplyTo = chain[len(chain)-1]
	}
	if inReplyTo != "" { // moved to the end, unless the chain begins with it
		if len(chain) == 0 || chain[0] != inReplyTo {
			chain = append(slices.DeleteFunc(chain, func(id string) bool { return id == inReplyTo }), inReplyTo)
		}
	}
	chain = unique(chain)
	if len(chain) > 2*keepEnds {
		chain = append(chain[:keepEnds:keepEnds], chain[len(chain)-keepEnds:]...)
	}
	return chain, inReplyTo
}

func unique(list []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(s string) bool {
		if seen[s] {
			return true
		}
		seen[s] = true
		return false
	})
}

// mark is the shape of our own marks (channels.Outbound.Marks).
var (
	mark        = regexp.MustCompile(`^[a-z0-9.]{3,40}$`)
	subjectMark = regexp.MustCompile(`(?i)\[#([a-z0-9.]{3,40})\]`)
)

// recipientFields name who a mail was for, the surest first: what our own
// servers wrote knows the address it was delivered to.
var recipientFields = []string{"delivered-to", "x-original-to", "envelope-to", "to", "cc"}

// marks are texts in the shape of our marks, best first: in the addresses that
// the mail came to, in the ids it answers, in its subject. Whether one is ours
// only the core can tell. Addresses count where the mailbox gives out tagged
// ones; otherwise a tag is somebody else's business.
func (r *reader) marksOf(h header, chain []string) []string {
	var marks []string
	add := func(s string) {
		if s = strings.ToLower(s); mark.MatchString(s) && len(marks) < maxMarks {
			marks = append(marks, s)
		}
	}
	if r.marks {
		for _, name := range recipientFields {
			for _, value := range h.all(name) {
				for _, m := range parseAddresses(value, r.locale) {
					tag, _ := r.isOwn(m.address)
					add(tag)
				}
			}
		}
	}
	for _, id := range slices.Backward(chain) {
		if local, domain, ok := strings.Cut(id, "@"); ok && r.ownDomain(domain) {
			add(local)
		}
	}
	for _, m := range subjectMark.FindAllStringSubmatch(h.text("subject"), maxMarks) {
		add(m[1])
	}
	return unique(marks)
}

const maxMarks = 50

// ownDomain tells whether our message ids carry this domain.
func (r *reader) ownDomain(domain string) bool {
	return slices.ContainsFunc(r.own, func(own string) bool { return strings.EqualFold(domainOf(own), domain) })
}

// identify gives the ids of a mail from what every copy of it shares: its own
// fields and its body, and nothing that servers wrote on its way.
func identify(h header, body [sha256.Size]byte) (externalID, refID string) {
	sum := hex.EncodeToString(body[:])
	if ids := messageIDs(h.raw("message-id")); len(ids) > 0 {
		return ids[0] + "#" + sum[:bodyHash], ids[0]
	}
	if id := messageID(clean.Text(string(h.raw("message-id")))); strings.Trim(id, "<>") != "" {
		id = strings.Trim(id, "<>")
		return id + "#" + sum[:bodyHash], id
	}
	whole := sha256.New()
	for _, name := range []string{"date", "from", "subject"} {
		whole.Write(h.raw(name))
		whole.Write([]byte{0}) // so that no text can move from one field into the next
	}
	whole.Write(body[:])
	return "h:" + hex.EncodeToString(whole.Sum(nil)), ""
}
