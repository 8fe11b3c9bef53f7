package gate

import (
	"slices"
	"strconv"
	"strings"
)

// maxSeq is the greatest CSeq: RFC 3261 section 8.1.1.5.
const maxSeq = 1<<31 - 1

// Methods that we answer by what they ask; others that have a name get 405, all the rest 501 (section 21.5.2).
const (
	allowed = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK"
	// allowedPhone is at the door of phones.
	allowedPhone = allowed + ", REGISTER"
)

var (
	understood = []string{"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "INFO", "UPDATE", "PRACK", "REGISTER"}
	unwanted   = []string{"SUBSCRIBE", "NOTIFY", "REFER", "MESSAGE", "PUBLISH"}
	// extensions that a Require may name: RFC 3262, RFC 4028.
	extensions = []string{"100rel", "timer"}
)

// check understands a message as far as every receiver has to, and writes its addresses and hops anew, in the plainest
// form: what the SIP library reads of them is what is meant. It is the list of RFC 3261 section 8.2 with the cases of
// RFC 4475 section 3.
func (m *message) check() *fault {
	for _, step := range []func() *fault{m.checkOnce, m.checkVia, m.checkAddresses, m.checkSeq} {
		if f := step(); f != nil {
			return f
		}
	}
	if !m.isRequest() {
		return nil
	}
	for _, step := range []func() *fault{m.checkURI, m.checkMethod, m.checkForwards, m.checkRequire, m.checkBody} {
		if f := step(); f != nil {
			return f
		}
	}
	return nil
}

// checkOnce wants the fields of every message, and those once.
func (m *message) checkOnce() *fault {
	for _, name := range []string{"To", "From", "Call-ID", "CSeq"} {
		if n := len(m.all(name)); n == 0 {
			return bad("Missing " + name)
		} else if n > 1 {
			return bad("Several " + name)
		}
	}
	if len(m.all("Max-Forwards")) > 1 {
		return bad("Several Max-Forwards")
	}
	m.callID = m.get("Call-ID")
	if m.callID == "" || strings.ContainsAny(m.callID, " \t") {
		return bad("Malformed Call-ID")
	}
	return nil
}

func (m *message) checkVia() *fault {
	hops, err := parseList(m.all("Via"), (*cursor).via)
	if err != nil || len(hops) == 0 {
		return bad("Malformed Via")
	}
	m.via = hops
	m.replace("Via", texts(hops))
	return nil
}

func (m *message) checkAddresses() *fault {
	var err error
	if m.from, err = parseAddress(m.get("From")); err != nil || m.from.uri == "*" {
		return bad("Malformed From")
	}
	if m.to, err = parseAddress(m.get("To")); err != nil || m.to.uri == "*" {
		return bad("Malformed To")
	}
	m.replace("From", []string{m.from.String()})
	m.replace("To", []string{m.to.String()})
	for _, name := range []string{"Contact", "Route", "Record-Route"} {
		values := m.all(name)
		if len(values) == 0 {
			continue
		}
		list, err := parseList(values, (*cursor).address)
		if err != nil {
			return bad("Malformed " + name)
		}
		if name == "Contact" {
			m.contacts = list
		}
		m.replace(name, texts(list))
	}
	return nil
}

func (m *message) checkSeq() *fault {
	number, name, ok := strings.Cut(m.get("CSeq"), " ")
	n, err := strconv.ParseUint(number, 10, 32)
	name = strings.Trim(name, " \t")
	if !ok || err != nil || n > maxSeq || !isToken(name) {
		return bad("Malformed CSeq")
	}
	if m.isRequest() && name != m.method {
		return bad("CSeq names another method")
	}
	m.seq, m.seqName = uint32(n), name
	m.replace("CSeq", []string{number + " " + name})
	return nil
}

// checkURI: section 8.2.2.1. A URI with headers cannot be asked for (section 19.1.1).
func (m *message) checkURI() *fault {
	scheme, _, ok := strings.Cut(m.uri, ":")
	if ok && isToken(scheme) && isAlpha(scheme[0]) && !isSIP(m.uri) {
		return &fault{code: 416, reason: "Unsupported URI Scheme"}
	}
	if checkURI(m.uri) != nil {
		return bad("Malformed Request-URI")
	}
	if strings.Contains(m.uri[strings.LastIndexByte(m.uri, '@')+1:], "?") {
		return bad("Request-URI has headers")
	}
	return nil
}

func (m *message) checkMethod() *fault {
	switch {
	case slices.Contains(understood, m.method):
		return nil
	case slices.Contains(unwanted, m.method):
		return &fault{code: 405, reason: "Method Not Allowed", fields: []field{{"Allow", allowed}}}
	}
	return &fault{code: 501, reason: "Not Implemented", fields: []field{{"Allow", allowed}}}
}

// checkForwards reads Max-Forwards. We are where the request ends, so that 0 is as good as any (section 16.3 is for those
// who pass it on).
func (m *message) checkForwards() *fault {
	v := m.get("Max-Forwards")
	if v == "" {
		return nil
	}
	n, err := strconv.ParseUint(v, 10, 32)
	if err != nil || n > 255 {
		return bad("Malformed Max-Forwards")
	}
	m.replace("Max-Forwards", []string{strconv.FormatUint(n, 10)})
	return nil
}

// checkRequire: section 8.2.2.3; neither ACK nor CANCEL may be refused for it.
func (m *message) checkRequire() *fault {
	if m.method == "ACK" || m.method == "CANCEL" {
		return nil
	}
	var missing []string
	for _, v := range m.all("Require") {
		for word := range strings.SplitSeq(v, ",") {
			if word = strings.TrimSpace(word); word != "" && !slices.Contains(extensions, strings.ToLower(word)) {
				missing = append(missing, word)
			}
		}
	}
	if missing == nil {
		return nil
	}
	return &fault{code: 420, reason: "Bad Extension", fields: []field{{"Unsupported", strings.Join(missing, ", ")}}}
}

// checkBody: section 8.2.3. An INVITE that wants an answer in a form that we cannot write is refused by 406.
func (m *message) checkBody() *fault {
	if m.method != "INVITE" && m.method != "UPDATE" {
		return nil
	}
	if m.method == "INVITE" && len(m.contacts) != 1 {
		return bad("INVITE wants one Contact")
	}
	kind, _, _ := strings.Cut(m.get("Content-Type"), ";")
	kind = strings.TrimSpace(kind)
	optional := strings.Contains(strings.ToLower(m.get("Content-Disposition")), "handling=optional")
	if len(m.body) > 0 && !optional {
		if enc := m.get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
			return &fault{code: 415, reason: "Unsupported Media Type", fields: []field{{"Accept-Encoding", "identity"}}}
		}
		if !strings.EqualFold(kind, sdpType) {
			return &fault{code: 415, reason: "Unsupported Media Type", fields: []field{{"Accept", sdpType}}}
		}
	}
	accept := m.list("Accept")
	if len(m.all("Accept")) > 0 && !slices.ContainsFunc(accept, func(s string) bool {
		return s == sdpType || s == "*/*" || s == "application/*"
	}) {
		return &fault{code: 406, reason: "Not Acceptable"}
	}
	return nil
}

const sdpType = "application/sdp"

// replace puts values, one to a field, where the first field of that name was.
func (m *message) replace(name string, values []string) {
	var out []field
	placed := false
	for _, f := range m.fields {
		if f.name != name {
			out = append(out, f)
			continue
		}
		if !placed {
			for _, v := range values {
				out = append(out, field{name, v})
			}
			placed = true
		}
	}
	m.fields = out
}

// texts writes each.
func texts[T interface{ String() string }](list []T) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = x.String()
	}
	return out
}
