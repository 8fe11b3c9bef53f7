package email

import (
	"bytes"
	"strings"
	"unicode"
)

// opaque finds what in a field of addresses is not to be taken apart: comments
// (RFC 5322 section 3.2.2), those within others not counted, and quoted strings.
// Both may hold what looks like an address. What never closes opens nothing, and
// nothing begins within words.
func opaque(value []byte, words [][]int) (comments, quotes [][2]int) {
	var open []int
	quote, lastQuote := -1, bytes.LastIndexByte(value, '"')
	for i := 0; i < len(value); i++ {
		for len(words) > 0 && words[0][1] <= i {
			words = words[1:]
		}
		if len(words) > 0 && words[0][0] <= i {
			i = words[0][1] - 1
			continue
		}
		switch c := value[i]; {
		case c == '\\' && (quote >= 0 || len(open) > 0):
			i++
		case c == '"' && quote >= 0:
			quotes, quote = append(quotes, [2]int{quote, i + 1}), -1
		case c == '"' && len(open) == 0 && i < lastQuote:
			quote = i
		case quote >= 0:
		case c == '(':
			open = append(open, i)
		case c == ')' && len(open) > 0:
			from := open[len(open)-1]
			open = open[:len(open)-1]
			for len(comments) > 0 && comments[len(comments)-1][0] > from {
				comments = comments[:len(comments)-1]
			}
			comments = append(comments, [2]int{from, i + 1})
		}
	}
	return comments, quotes
}

// blanked is a field with blanks in the place of some of it.
func blanked(value []byte, spans [][2]int) []byte {
	out := bytes.Clone(value)
	for _, s := range spans {
		for i := s[0]; i < s[1]; i++ {
			out[i] = ' '
		}
	}
	return out
}

// readings are the addresses that one program or another may read in a field:
// all outside of comments and of quotes that are no local part. Programs differ
// about what comes first in `a@b.example <c@d.example>`, and about encoded words
// with brackets in them.
func readings(value []byte) (list []string) {
	comments, quotes := opaque(value, nil)
	for _, q := range quotes {
		if q[1] == len(value) || value[q[1]] != '@' {
			comments = append(comments, q)
		}
	}
	for _, text := range bytes.FieldsFunc(blanked(value, comments), divides) {
		encoded := bytes.HasPrefix(text, []byte("=?")) && bytes.HasSuffix(text, []byte("?="))
		if a := cleanAddress(text); a != "" && !encoded {
			list = append(list, a)
		}
	}
	return list
}

func divides(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`<>(),;:\`, r) }
