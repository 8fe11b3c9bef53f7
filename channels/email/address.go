package email

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"tributary/channels"
	"tributary/channels/internal/address"
	"tributary/internal/clean"
)

const (
	maxShown      = 200 // runes of a display name
	maxRecipients = 500 // addresses of one field
	maxAddress    = 254 // bytes (RFC 5321 section 4.5.3.1.3)
)

// party is one address of a field: what it is called and where it is.
type party struct{ name, address string }

// parseAddresses reads a field of addresses and never gives up: what is no
// address is a name without one. Raw bytes and encoded words in names are
// decoded after the field was taken apart, so that a comma in a name divides
// nothing. Groups give their members.
func parseAddresses(value []byte, locale string) []party {
	value = rawToUTF8(value, locale)
	var list []party
	for _, piece := range splitAddresses(value) {
		if len(list) == maxRecipients {
			break
		}
		if m := parseMailbox(piece, locale); m.name != "" || m.address != "" {
			list = append(list, m)
		}
	}
	return list
}

// rawToUTF8 decodes the bytes beyond ASCII outside of encoded words. Before the
// field is taken apart, for in GBK and Shift_JIS a byte of a character may look
// like a backslash or an at sign.
func rawToUTF8(value []byte, locale string) []byte {
	if utf8.Valid(value) {
		return value
	}
	var out []byte
	at := 0
	for _, m := range word.FindAllIndex(value, -1) {
		out = append(out, unlabelled(value[at:m[0]], locale)...)
		out = append(out, value[m[0]:m[1]]...)
		at = m[1]
	}
	return append(out, unlabelled(value[at:], locale)...)
}

// splitAddresses divides at commas and semicolons outside of quotes, comments,
// angle brackets and encoded words, and drops the names of groups.
func splitAddresses(value []byte) [][]byte {
	words := word.FindAllIndex(value, -1)
	var pieces [][]byte
	from, depth, quoted, angle := 0, 0, false, false
	// What never closes opens nothing.
	lastQuote, lastParen, lastAngle := bytes.LastIndexByte(value, '"'), bytes.LastIndexByte(value, ')'), bytes.LastIndexByte(value, '>')
	for i := 0; i < len(value); i++ {
		for len(words) > 0 && words[0][1] <= i {
			words = words[1:]
		}
		if len(words) > 0 && i >= words[0][0] && !angle {
			i = words[0][1] - 1
			continue
		}
		switch c := value[i]; {
		case c == '\\':
			i++
		case c == '"' && depth == 0:
			quoted = !quoted && i < lastQuote
		case quoted:
		case c == '(' && i < lastParen:
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == '<':
			angle = i < lastAngle
		case c == '>':
			angle = false
		case angle:
		case c == ':':
			from = i + 1 // the name of a group
		case c == ',' || c == ';':
			pieces = append(pieces, value[from:i])
			from = i + 1
		}
	}
	return append(pieces, value[min(from, len(value)):])
}

// parseMailbox reads `Name <address>`, `address (Name)`, or what is left of them.
func parseMailbox(piece []byte, locale string) party {
	piece = bytes.TrimSpace(piece)
	comments, _ := opaque(piece, word.FindAllIndex(piece, -1))
	plain := blanked(piece, comments)
	if open := lastOutside(plain, '<'); open >= 0 {
		rest := plain[open+1:]
		if end := bytes.IndexByte(rest, '>'); end >= 0 {
			rest = rest[:end]
		}
		return party{name: displayName(piece[:open], locale), address: cleanAddress(rest)}
	}
	if a := cleanAddress(plain); a != "" {
		var comment []byte
		if len(comments) > 0 {
			comment = piece[comments[0][0]+1 : comments[0][1]-1]
		}
		return party{name: displayName(comment, locale), address: a}
	}
	// `Name a@b`: the last word that looks like an address is one.
	words := bytes.Fields(plain)
	for i := len(words) - 1; i >= 0; i-- {
		if a := cleanAddress(bytes.Trim(words[i], `<>()"',;`)); a != "" {
			return party{name: displayName(bytes.Join(words[:i], []byte(" ")), locale), address: a}
		}
	}
	return party{name: displayName(piece, locale)}
}

// lastOutside finds the last c outside of quotes and encoded words.
func lastOutside(piece []byte, c byte) int {
	words := word.FindAllIndex(piece, -1)
	at, quoted, lastQuote := -1, false, bytes.LastIndexByte(piece, '"')
	for i := 0; i < len(piece); i++ {
		if len(words) > 0 && i >= words[0][0] {
			i, words = words[0][1]-1, words[1:]
			continue
		}
		switch {
		case piece[i] == '\\' && quoted:
			i++
		case piece[i] == '"':
			quoted = !quoted && i < lastQuote
		case piece[i] == c && !quoted:
			at = i
		}
	}
	return at
}

// displayName unquotes and decodes. Encoded words in quotes are against the rule and frequent.
func displayName(raw []byte, locale string) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) >= 2 && raw[0] == '"' && raw[len(raw)-1] == '"' {
		raw = unquoteParam(raw)
	}
	name := clean.Line(decodeWords(raw, locale), maxShown)
	return strings.TrimSpace(strings.Trim(name, `"'`))
}

// cleanAddress returns an address in lower case, or nothing: one at sign with
// something on both sides, no blanks. It is no judge of RFC 5321, for whoever
// sent from `a@b..com` is to be heard, too.
func cleanAddress(raw []byte) string {
	a := address.Lower(strings.TrimSpace(string(raw)))
	a = strings.TrimPrefix(strings.Trim(strings.ReplaceAll(a, `"`, ""), `<>' `), "mailto:")
	a = strings.TrimRight(a, ".")
	at := strings.LastIndexByte(a, '@')
	if at <= 0 || at == len(a)-1 || len(a) > maxAddress || clean.Text(a) != a || strings.ContainsAny(a, " \t\n,;<>()\u00a0\uFFFD") || strings.ContainsAny(a[at:], `\:/`) {
		return ""
	}
	return a
}

// domainOf is what stands behind the last at sign.
func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// isOwn tells whether an address is ours, with or without a tag behind a plus
// sign, and returns the tag.
func (r *reader) isOwn(address string) (tag string, own bool) {
	if slices.Contains(r.own, address) {
		return "", true
	}
	at := strings.LastIndexByte(address, '@')
	local, tag, ok := strings.Cut(address[:max(at, 0)], "+")
	if ok && slices.Contains(r.own, local+address[at:]) {
		return tag, true
	}
	return "", false
}

// addresses makes recipients of a field: those with an address, each once.
func (r *reader) addresses(h header, name string) []channels.Address {
	var list []channels.Address
	seen := map[string]bool{}
	for _, value := range h.all(name) {
		for _, m := range parseAddresses(value, r.locale) {
			if m.address == "" || seen[m.address] || len(list) == maxRecipients {
				continue
			}
			seen[m.address] = true
			_, own := r.isOwn(m.address)
			list = append(list, channels.Address{IdentityKey: identity(m.address, channels.Claimed), Name: m.name, Own: own})
		}
	}
	return list
}

func identity(address string, level channels.Level) channels.IdentityKey {
	return channels.IdentityKey{Kind: channels.IdentityEmail, Scope: channels.ScopeWorkspace, Value: address, Level: level}
}
