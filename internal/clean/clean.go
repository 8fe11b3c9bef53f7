// Package clean takes what strangers wrote and gives what is safe to keep and to show: text, single lines, file names,
// HTML. It is the door for every channel: adapters clean what they parsed, and nothing behind them has to ask again.
//
// Cleaning is not judging: no function fails, and what is harmless comes out as it went in, in any language. The raw
// original is kept elsewhere as evidence and never served.
//
// Neighbours: channel kinds, desk and knowledge. This room knows none of them.
//
// Invariants, each with a fuzz test: what comes out is valid UTF-8 without NUL and control characters (PostgreSQL
// refuses NUL, terminals and logs obey the others); every function is idempotent, f(f(x)) = f(x), so cleaning twice by
// accident changes nothing; HTML that comes out runs no script and makes no request when shown. No goroutines.
package clean

import (
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text keeps the text and drops what is none: NUL and control characters but newline and tab. Line ends become \n, and
// bytes that are not UTF-8, lone surrogates among them, U+FFFD.
func Text(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r != '\n' && r != '\t' && unicode.IsControl(r) }) < 0 {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r == '\n', r == '\t', !unicode.IsControl(r):
			return r
		}
		return -1
	}, s)
}

// Line is Text on one line of at most max characters: every run of white space is one blank, none at the ends. What was
// cut ends with an ellipsis.
func Line(s string, max int) string {
	s = strings.Join(strings.Fields(Text(s)), " ")
	if utf8.RuneCountInString(s) <= max {
		return s
	}
	if max <= 0 {
		return ""
	}
	return strings.TrimRight(string([]rune(s)[:max-1]), " ") + "…"
}

const (
	nameMax = 200 // bytes: file systems take 255, and downloads put numbers behind
	extMax  = 16
)

// FileName is a name under which a file may be saved on any system: without folders, control characters, invisible
// characters and characters some system forbids, at most 200 bytes with its extension kept, never empty. Marks that turn
// the direction of writing go, since with them `gpj.exe` can be shown as `exe.jpg`.
func FileName(s string) string {
	s = Text(s)
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\u200d', r == '\u200c': // joiners belong to emoji and to Persian
			return r
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		case strings.ContainsRune(`<>:"|?*`, r):
			return '_'
		}
		return r
	}, s)
	s = cut(trim(s))
	if s == "" {
		return "file"
	}
	base, _, _ := strings.Cut(s, ".")
	if reserved[strings.ToUpper(strings.TrimSpace(base))] {
		return cut("_" + s)
	}
	return s
}

// reserved are the names that Windows gives to devices, whatever the extension.
var reserved = func() map[string]bool {
	m := map[string]bool{"CON": true, "PRN": true, "AUX": true, "NUL": true}
	for _, d := range "0123456789¹²³" {
		m["COM"+string(d)], m["LPT"+string(d)] = true, true
	}
	return m
}()

// trim drops what Windows drops at the end, and what hides a file or means a folder at the beginning. Joiners join
// nothing there.
func trim(s string) string { return strings.Trim(s, " .\u200c\u200d") }

// cut shortens to nameMax bytes between characters, before the extension if that is a short one.
func cut(s string) string {
	if len(s) <= nameMax {
		return s
	}
	ext := path.Ext(s)
	if len(ext) > extMax || len(ext) < 2 {
		ext = ""
	}
	s = s[:nameMax-len(ext)]
	for !utf8.ValidString(s) { // a cut character has at most three bytes left
		s = s[:len(s)-1]
	}
	return trim(s) + ext
}
