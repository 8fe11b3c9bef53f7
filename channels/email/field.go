package email

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"tributary/internal/clean"
)

// fields is a header under construction.
type fields struct{ strings.Builder }

// lineLength is where a field is folded (RFC 5322 section 2.1.1).
const lineLength = 78

// add writes a field of tokens with blanks between them, folded at the blanks.
// Tokens hold no line ends; that is the callers' care, and this is the last door:
// one that has some is left out.
func (f *fields) add(name string, tokens ...string) {
	f.WriteString(name + ":")
	column := len(name) + 1
	for _, t := range tokens {
		if strings.ContainsAny(t, "\r\n\x00") {
			continue
		}
		if column+1+len(t) > lineLength && column > len(name)+1 {
			f.WriteString("\r\n")
			column = 0
		}
		f.WriteString(" " + t)
		column += 1 + len(t)
	}
	f.WriteString("\r\n")
}

// words gives a line of text as tokens of a field: as it is where it is plain
// ASCII, else as encoded words (RFC 2047), each whole in its characters.
func words(line string) []string {
	line = clean.Line(line, maxSubject)
	tokens := strings.Split(line, " ")
	plain := ascii(line) && !strings.Contains(line, "=?")
	for _, t := range tokens {
		plain = plain && len(t) <= lineLength-20
	}
	if plain {
		return tokens
	}
	return encodedWords(line)
}

// encodedWords cuts a text into words of at most 75 bytes (RFC 2047 section 2).
// Blanks between them do not count, so those of the text are inside.
func encodedWords(text string) (list []string) {
	const most = 42 // bytes: 56 in base64, and the frame
	for text != "" {
		n := 0
		for n < len(text) {
			_, size := utf8.DecodeRuneInString(text[n:])
			if n+size > most {
				break
			}
			n += size
		}
		list = append(list, "=?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte(text[:n]))+"?=")
		text = text[n:]
	}
	return list
}

// mailboxOf is a name and an address as tokens (RFC 5322 section 3.4).
func mailboxOf(name, addr string) []string {
	name = clean.Line(name, maxName)
	switch {
	case name == "":
		return []string{addr}
	case !ascii(name), strings.Contains(name, "=?"), len(name) > lineLength-20:
		return append(encodedWords(name), "<"+addr+">")
	}
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name)
	return []string{`"` + quoted + `"`, "<" + addr + ">"}
}
