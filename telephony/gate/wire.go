package gate

import (
	"bytes"
	"strconv"
	"strings"
)

// field is one header field: its name in the long form where the name is known, its value unfolded and trimmed.
type field struct{ name, value string }

// message is a SIP message as it came, before anybody relies on it: RFC 3261 section 7. What check understood of it is
// beside the fields.
type message struct {
	method, uri string // of a request
	status      int    // of a response
	fields      []field
	body        []byte

	start    string // the first line as it is handed on
	via      []via
	from, to address
	contacts []address
	callID   string
	seq      uint32
	seqName  string
}

// fault is why a message is not taken, as the status that tells its sender.
type fault struct {
	code   int
	reason string
	fields []field
}

func bad(reason string) *fault { return &fault{code: 400, reason: reason} }

// isRequest reports which of the two kinds of messages it is.
func (m *message) isRequest() bool { return m.method != "" }

// get is the value of the first field of that name, "" without one.
func (m *message) get(name string) string {
	for _, f := range m.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// all are the values of every field of that name, in order.
func (m *message) all(name string) (out []string) {
	for _, f := range m.fields {
		if strings.EqualFold(f.name, name) {
			out = append(out, f.value)
		}
	}
	return out
}

// list is all as a list of comma-separated words, in lower case and without parameters.
func (m *message) list(name string) (out []string) {
	for _, v := range m.all(name) {
		for word := range strings.SplitSeq(v, ",") {
			word, _, _ = strings.Cut(word, ";")
			if word = strings.ToLower(strings.TrimSpace(word)); word != "" {
				out = append(out, word)
			}
		}
	}
	return out
}

// bytes writes the message in the plainest form of the grammar: long names, one value in a field, no white space but one
// blank after the colon.
func (m *message) bytes() []byte {
	var b bytes.Buffer
	b.WriteString(m.start)
	b.WriteString("\r\n")
	for _, f := range m.fields {
		if f.name != "Content-Length" {
			b.WriteString(f.name + ": " + f.value + "\r\n")
		}
	}
	b.WriteString("Content-Length: " + strconv.Itoa(len(m.body)) + "\r\n\r\n")
	b.Write(m.body)
	return b.Bytes()
}

// scan takes a message apart. nil: what came is no message of SIP and nobody can be answered. With a fault the message
// holds what could be read, which is enough to answer.
func scan(data []byte) (*message, *fault) {
	for bytes.HasPrefix(data, []byte("\r\n")) { // section 7.5
		data = data[2:]
	}
	head, body, ok := bytes.Cut(data, []byte("\r\n\r\n"))
	if !ok {
		return nil, nil
	}
	lines := strings.Split(string(head), "\r\n")
	m := &message{body: body}
	f := m.scanStart(lines[0])
	if m.method == "" && m.status == 0 {
		return nil, nil
	}
	if g := m.scanFields(lines[1:]); f == nil {
		f = g
	}
	if g := m.scanLength(); f == nil {
		f = g
	}
	return m, f
}

// scanStart reads the first line: section 7.1 and 7.2. Exactly one blank parts its words.
func (m *message) scanStart(line string) *fault {
	if rest, ok := cutFold(line, "SIP/2.0 "); ok {
		code, reason, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(code)
		if err != nil || len(code) != 3 || n < 100 || n > 699 {
			return nil // nobody answers a response
		}
		m.status, m.start = n, "SIP/2.0 "+code+" "+reason
		return nil
	}
	words := strings.Fields(line)
	if len(words) < 3 || !isToken(words[0]) {
		return nil
	}
	version := words[len(words)-1]
	if _, ok := cutFold(version, "SIP/"); !ok {
		return nil
	}
	m.method, m.uri = words[0], words[1]
	m.start = m.method + " " + m.uri + " SIP/2.0"
	switch {
	case !strings.EqualFold(version, "SIP/2.0"):
		return &fault{code: 505, reason: "Version Not Supported"}
	case strings.Join(words, " ") != line || len(words) != 3:
		return bad("Malformed Request-Line")
	}
	return nil
}

// scanFields unfolds and parts the header fields: section 7.3.1.
func (m *message) scanFields(lines []string) (f *fault) {
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n") {
			f = bad("Malformed line end")
			line = strings.Map(func(r rune) rune {
				if r == '\r' || r == '\n' {
					return ' '
				}
				return r
			}, line)
		}
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if len(m.fields) == 0 {
				f = bad("Malformed header field")
				continue
			}
			last := &m.fields[len(m.fields)-1]
			last.value = strings.Trim(last.value+" "+strings.Trim(line, " \t"), " ")
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.TrimRight(name, " \t")
		if !ok || !isToken(name) {
			f = bad("Malformed header field")
			continue
		}
		m.fields = append(m.fields, field{longName(name), strings.Trim(value, " \t")})
	}
	return f
}

// scanLength cuts the body to the length that was told (section 18.3) and refuses a length that tells nothing.
func (m *message) scanLength() *fault {
	told := m.all("Content-Length")
	if len(told) == 0 {
		return nil
	}
	n, err := strconv.ParseUint(told[0], 10, 31)
	switch {
	case len(told) > 1:
		m.body = nil
		return bad("Several Content-Length")
	case err != nil:
		m.body = nil
		return bad("Malformed Content-Length")
	case int(n) > len(m.body):
		m.body = nil
		return bad("Content-Length exceeds the message")
	}
	m.body = m.body[:n]
	return nil
}

// cutFold is strings.CutPrefix without regard to case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// longName is the usual spelling of the names that we read ourselves; another name stays as it is.
func longName(name string) string {
	switch strings.ToLower(name) {
	case "v", "via":
		return "Via"
	case "f", "from":
		return "From"
	case "t", "to":
		return "To"
	case "i", "call-id":
		return "Call-ID"
	case "m", "contact":
		return "Contact"
	case "l", "content-length":
		return "Content-Length"
	case "c", "content-type":
		return "Content-Type"
	case "e", "content-encoding":
		return "Content-Encoding"
	case "k", "supported":
		return "Supported"
	case "s", "subject":
		return "Subject"
	case "r", "refer-to":
		return "Refer-To"
	case "b", "referred-by":
		return "Referred-By"
	case "o", "event":
		return "Event"
	case "u", "allow-events":
		return "Allow-Events"
	case "x", "session-expires": // RFC 4028 section 4
		return "Session-Expires"
	case "cseq":
		return "CSeq"
	case "min-se":
		return "Min-SE"
	case "rseq":
		return "RSeq"
	case "rack":
		return "RAck"
	case "www-authenticate":
		return "WWW-Authenticate"
	case "max-forwards", "route", "record-route", "require", "proxy-require", "accept", "allow", "expires", "authorization",
		"proxy-authorization", "proxy-authenticate", "reason", "p-asserted-identity", "privacy", "user-agent", "content-disposition",
		"unsupported", "retry-after":
		return titled(name)
	}
	return name
}

// titled writes a name with a capital letter after each dash.
func titled(name string) string {
	b := []byte(strings.ToLower(name))
	for i := range b {
		if (i == 0 || b[i-1] == '-') && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}
