package email

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// media is a Content-Type or Content-Disposition: a word and its parameters.
type media struct {
	name   string // lower case: "text/plain", "attachment"
	params map[string]string
}

var mediaWord = regexp.MustCompile(`^[a-z0-9!#$&^_.+*'-]+(/[a-z0-9!#$&^_.+*'-]+)?$`)

// parseMedia reads a parameterised field. It knows what the parser does not: a
// parameter in pieces and in any charset (RFC 2231), raw bytes, encoded words,
// values with blanks and without quotes.
func parseMedia(value []byte, locale string) media {
	pieces := splitQuoted(value, ';')
	m := media{params: map[string]string{}}
	if name := strings.ToLower(strings.TrimSpace(string(pieces[0]))); mediaWord.MatchString(name) && len(name) <= 200 {
		m.name = name
	}
	long := map[string][]segment{}
	for _, piece := range pieces[1:] {
		name, raw, ok := bytes.Cut(piece, []byte("="))
		key := strings.ToLower(strings.TrimSpace(string(name)))
		if !ok || key == "" || len(key) > 60 || len(m.params)+len(long) > 50 {
			continue
		}
		text := unquoteParam(raw)
		base, seg, isLong := parseSegment(key, text)
		switch {
		case isLong:
			long[base] = append(long[base], seg)
		case m.params[key] == "":
			m.params[key] = decodeWords(text, locale)
		}
	}
	for name, segments := range long { // the extended form goes before the plain one
		if text := joinSegments(segments, locale); text != "" {
			m.params[name] = text
		}
	}
	return m
}

// splitQuoted splits at a byte outside of quotes. A quote that never closes
// quotes nothing.
func splitQuoted(value []byte, at byte) [][]byte {
	var pieces [][]byte
	from, quoted := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted && bytes.IndexByte(value[i+1:], '"') >= 0
		case c == at && !quoted:
			pieces = append(pieces, value[from:i])
			from = i + 1
		}
	}
	return append(pieces, value[from:])
}

// unquoteParam takes the quotes and the backslashes off a value. A backslash
// before a letter is part of a Windows path and stays.
func unquoteParam(raw []byte) []byte {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '"' {
		return raw
	}
	raw = raw[1:]
	if i := bytes.LastIndexByte(raw, '"'); i >= 0 {
		raw = raw[:i]
	}
	var out []byte
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && i+1 < len(raw) && (raw[i+1] == '"' || raw[i+1] == '\\') {
			i++
		}
		out = append(out, raw[i])
	}
	return out
}

// segment is one piece of an extended parameter: name*, name*0, name*0*.
type segment struct {
	number  int
	encoded bool
	text    []byte
}

func parseSegment(key string, text []byte) (string, segment, bool) {
	base, rest, ok := strings.Cut(key, "*")
	if !ok || base == "" {
		return "", segment{}, false
	}
	seg := segment{text: text, encoded: rest == "" || strings.HasSuffix(rest, "*")}
	if rest = strings.TrimSuffix(rest, "*"); rest != "" {
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 || n > 999 {
			return "", segment{}, false
		}
		seg.number = n
	}
	return base, seg, true
}

// joinSegments puts the pieces in order and decodes them as one, since a
// character may lie in two of them.
func joinSegments(segments []segment, locale string) string {
	slices.SortStableFunc(segments, func(a, b segment) int { return a.number - b.number })
	charset, joined := "", []byte(nil)
	for i, s := range segments {
		if !s.encoded {
			joined = append(joined, s.text...)
			continue
		}
		text := s.text
		if parts := bytes.SplitN(text, []byte("'"), 3); i == 0 && len(parts) == 3 {
			charset, text = string(parts[0]), parts[2]
		}
		joined = append(joined, unpercent(text)...)
	}
	if charset == "" {
		return decodeWords(joined, locale) // some write encoded words into the pieces
	}
	text, known := toUTF8(joined, charset, locale)
	if !known {
		text = byParser(joined, charset, text)
	}
	return text
}

func unpercent(text []byte) []byte {
	var out []byte
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if hi, lo := hexValue(text[i+1]), hexValue(text[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return out
}
