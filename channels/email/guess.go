package email

import (
	"strings"
	"unicode"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// candidate is a charset of many bytes to a character, known by which pairs of
// bytes are common in its texts.
type candidate struct {
	encoding encoding.Encoding
	locales  string // languages that write in it
	lead     func(c byte) bool
	pair     func(lead, trail byte) float64
	single   func(c byte) float64
}

// The standards put common characters into ranges of their own: the levels of
// GB 2312, Big5 and JIS X 0208, the syllables of KS X 1001.
var candidates = []candidate{
	{
		simplifiedchinese.GB18030, "zh zh-cn zh-hans zh-sg", span(0x81, 0xfe), func(l, t byte) float64 {
			switch {
			case t < 0x40 || t == 0x7f || t == 0xff:
				return wrong
			case t >= 0xa1 && l >= 0xb0 && l <= 0xd7:
				return 1
			case t >= 0xa1 && (l == 0xa1 || l == 0xa3):
				return 0.8
			case t >= 0xa1 && l >= 0xd8 && l <= 0xf7:
				return -0.2
			}
			return -0.7
		}, none,
	},
	{
		traditionalchinese.Big5, "zh-tw zh-hk zh-mo zh-hant", span(0xa1, 0xf9), func(l, t byte) float64 {
			switch {
			case t < 0x40 || t > 0x7e && t < 0xa1 || t == 0xff:
				return wrong
			case l >= 0xa4 && l <= 0xc6:
				return 1
			case l == 0xa1:
				return 0.8
			case l >= 0xc9:
				return -0.3
			}
			return -0.7
		}, none,
	},
	{
		japanese.ShiftJIS, "ja", func(c byte) bool { return c >= 0x81 && c <= 0x9f || c >= 0xe0 && c <= 0xfc }, func(l, t byte) float64 {
			switch {
			case t < 0x40 || t == 0x7f || t > 0xfc:
				return wrong
			case l == 0x82 && t >= 0x9f && t <= 0xf1, l == 0x83 && t <= 0x96:
				return 1.2
			case l >= 0x88 && l <= 0x97:
				return 1
			case l == 0x81:
				return 0.5
			}
			return -0.5
		},
		func(c byte) float64 {
			if c >= 0xa1 && c <= 0xdf { // half-width kana
				return -0.4
			}
			return wrong
		},
	},
	{
		korean.EUCKR, "ko", span(0x81, 0xfe), func(l, t byte) float64 {
			switch {
			case t < 0x41 || t == 0xff:
				return wrong
			case t >= 0xa1 && l >= 0xb0 && l <= 0xc8:
				return 1.2 // Chinese has these pairs, too, but others beside them
			case t >= 0xa1 && l == 0xa1:
				return 0.5
			}
			return -1
		}, none,
	},
}

const wrong = -4 // a pair that the charset does not have

func none(byte) float64 { return wrong }

func span(low, high byte) func(byte) bool {
	return func(c byte) bool { return c >= low && c <= high }
}

// guessed picks the charset that explains the bytes best. A score of zero or
// less means that none does: then the bytes are letters of the language's
// one-byte charset.
func guessed(b []byte, locale string) (text string, score float64) {
	locale = strings.ToLower(strings.ReplaceAll(locale, "_", "-"))
	sample := b[:min(len(b), 16<<10)]
	best := -1
	for i, c := range candidates {
		s := c.score(sample)
		if s > 0 && c.writes(locale) {
			s = s*1.1 + 0.6
		}
		if s > score {
			best, score = i, s
		}
	}
	if best < 0 {
		return decode(latinOf(locale), b), 0
	}
	return decode(candidates[best].encoding, b), score
}

func (c candidate) score(b []byte) (score float64) {
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] < 0x80:
		case c.lead(b[i]) && i+3 < len(b) && c.encoding == simplifiedchinese.GB18030 && isDigit(b[i+1]) && isDigit(b[i+3]):
			score, i = score+0.3, i+3 // four bytes
		case c.lead(b[i]) && i+1 < len(b):
			s := c.pair(b[i], b[i+1])
			if b[i+1] < 0x80 && unicode.IsLetter(rune(b[i+1])) {
				s -= 0.2 // an accented letter within a word looks so, too
			}
			if score += s; s > wrong {
				i++
			}
		case i+1 == len(b): // cut off
		default:
			score += c.single(b[i])
		}
	}
	return score
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (c candidate) writes(locale string) bool {
	for l := range strings.FieldsSeq(c.locales) {
		if l == locale || len(l) == 2 && strings.HasPrefix(locale, l+"-") && l != "zh" {
			return true
		}
	}
	return false
}

// latinOf is the one-byte charset of a language.
func latinOf(locale string) encoding.Encoding {
	language, _, _ := strings.Cut(locale, "-")
	switch language {
	case "ru", "uk", "bg", "be", "sr", "mk":
		return charmap.Windows1251
	case "pl", "cs", "sk", "hu", "hr", "sl", "ro":
		return charmap.Windows1250
	case "el":
		return charmap.Windows1253
	case "tr":
		return charmap.Windows1254
	case "he":
		return charmap.Windows1255
	case "ar", "fa":
		return charmap.Windows1256
	case "th":
		return charmap.Windows874
	}
	return charmap.Windows1252
}
