package email

import (
	"bytes"
	"io"
	"regexp"
	"strings"

	"tributary/internal/clean"
)

const maxLine = 1000 // runes of a header field that is shown

// headerField is one header field as it came, unfolded but not decoded.
type headerField struct {
	name  string // lower case
	value []byte
}

// header is the fields of a mail or a part in their order, which matters: what
// our own servers wrote stands above what came from outside.
type header struct {
	fields []headerField
	locale string
}

// parseHeader reads a header block. A line that is neither a field nor indented
// continues the line above, as careless senders mean it.
func parseHeader(block []byte, locale string) header {
	h := header{locale: locale}
	for line := range bytes.Lines(block) {
		line = bytes.TrimRight(line, "\r\n")
		name, value, ok := bytes.Cut(line, []byte(":"))
		name = bytes.TrimRight(name, " \t")
		switch {
		case len(bytes.TrimSpace(line)) == 0, len(h.fields) == 0 && isEnvelope(line):
		case line[0] != ' ' && line[0] != '\t' && ok && isName(name):
			value = bytes.TrimSpace(value)
			h.fields = append(h.fields, headerField{strings.ToLower(string(name)), value[:len(value):len(value)]}) // what is appended goes elsewhere
		case len(h.fields) > 0:
			last := &h.fields[len(h.fields)-1]
			last.value = append(append(last.value, ' '), bytes.TrimSpace(line)...)
		}
	}
	return h
}

// raw is the first field of that name, undecoded.
func (h header) raw(name string) []byte {
	for _, f := range h.fields {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// all is every field of that name, undecoded.
func (h header) all(name string) [][]byte {
	var values [][]byte
	for _, f := range h.fields {
		if f.name == name {
			values = append(values, f.value)
		}
	}
	return values
}

func (h header) has(name string) bool {
	for _, f := range h.fields {
		if f.name == name {
			return true
		}
	}
	return false
}

// text is the first field of that name as people read it.
func (h header) text(name string) string {
	return clean.Line(decodeWords(h.raw(name), h.locale), maxLine)
}

// plain is the first field of that name for values that are ASCII by their nature.
func (h header) plain(name string) string {
	return clean.Line(string(h.raw(name)), maxLine)
}

// word is one encoded word (RFC 2047). Blanks and bytes beyond ASCII within it
// are forbidden and frequent.
var word = regexp.MustCompile(`=\?([^?\s=]{1,60})\?([bBqQ])\?(?s:(.*?))\?=`)

// decodeWords reads a field of free text: encoded words, raw bytes of some
// charset, or both. Adjacent words of one charset and encoding are joined before
// they are decoded, for senders cut characters in two.
func decodeWords(b []byte, locale string) string {
	if !bytes.Contains(b, []byte("=?")) {
		return unlabelled(b, locale)
	}
	var out strings.Builder
	var run encodedRun
	at := 0
	for _, m := range word.FindAllSubmatchIndex(b, -1) {
		gap := b[at:m[0]]
		charset, encoding, content := string(b[m[2]:m[3]]), b[m[4]]|0x20, b[m[6]:m[7]]
		adjacent := run.charset != "" && len(bytes.TrimSpace(gap)) == 0
		if !adjacent || !strings.EqualFold(run.charset, charset) || run.encoding != encoding {
			out.WriteString(run.decode(locale))
			run = encodedRun{charset: charset, encoding: encoding}
		}
		if !adjacent {
			out.WriteString(unlabelled(gap, locale))
		}
		run.content = append(run.content, content...)
		at = m[1]
	}
	out.WriteString(run.decode(locale))
	out.WriteString(unlabelled(b[at:], locale))
	return out.String()
}

// encodedRun is encoded words that belong together.
type encodedRun struct {
	charset  string
	encoding byte
	content  []byte
}

func (r encodedRun) decode(locale string) string {
	if r.charset == "" {
		return ""
	}
	var b []byte
	if r.encoding == 'b' {
		b, _ = io.ReadAll(&base64Reader{in: bytes.NewReader(r.content)})
		if len(b) == 0 && !isASCII(r.content) {
			b = r.content // said to be base64 and is not
		}
	} else {
		b = unquote(bytes.ReplaceAll(bytes.ReplaceAll(r.content, []byte("_"), []byte(" ")), []byte("\n"), nil), false)
	}
	text, known := toUTF8(b, r.charset, locale)
	if !known {
		text = byParser(b, r.charset, text)
	}
	return text
}
