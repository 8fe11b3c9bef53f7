package email

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// toUTF8 turns bytes of a claimed charset into UTF-8. Labels lie: a Chinese
// mail says gb2312 and uses characters of GB18030, says utf-8 or nothing and
// sends GBK. What the label does not explain is guessed, with the mailbox's
// language as the prior. known is false for a label nobody here has heard of:
// then text is the guess, and the parser's own table may know better.
func toUTF8(b []byte, label, locale string) (text string, known bool) {
	label = charsetName(label)
	if plainLabel[label] {
		return unlabelled(b, locale), true
	}
	if utf8.Valid(b) && (singleByte(label) || isASCII(b)) && !escapes(label) {
		return string(b), true // one-byte labels are the defaults of careless software
	}
	e := charsetOf(label)
	if e == nil {
		return unlabelled(b, locale), false
	}
	text = decode(e, b)
	bad := strings.Count(text, "\uFFFD")
	switch {
	case bad == 0:
	case utf8.Valid(b):
		return string(b), true
	case label != "gb18030" || bad*8 > utf8.RuneCountInString(text):
		if guess, score := guessed(b, locale); score > 0 && strings.Count(guess, "\uFFFD") < bad {
			return guess, true
		}
	}
	return text, true
}

// charsetName brings a label to the form of our tables.
func charsetName(label string) string {
	label = strings.ToLower(strings.Trim(strings.TrimSpace(label), `"'`))
	label = strings.TrimPrefix(label, "charset=")
	label, _, _ = strings.Cut(label, "*") // RFC 2231 puts a language behind
	if strings.HasPrefix(label, "gb") || chineseLabel[label] {
		return "gb18030" // the superset of all of them
	}
	return label
}

var (
	plainLabel   = map[string]bool{"": true, "utf-8": true, "utf8": true, "us-ascii": true, "ascii": true, "unknown-8bit": true, "unknown": true, "x-unknown": true, "default": true, "8bit": true, "binary": true, "utf8mb4": true, "ansi_x3.4-1968": true}
	chineseLabel = map[string]bool{"x-gbk": true, "cp936": true, "ms936": true, "windows-936": true, "euc-cn": true, "csgb2312": true, "chinese": true, "x-euc-cn": true, "iso-ir-58": true}
)

// singleByte tells whether a label is one of Latin letters.
func singleByte(label string) bool {
	return strings.HasPrefix(label, "iso-8859-") || strings.HasPrefix(label, "windows-125") || label == "latin1" || label == "iso8859-1" || label == "cp1252"
}

// escapes tells whether a charset puts other characters into ASCII bytes.
func escapes(label string) bool {
	return strings.HasPrefix(label, "iso-2022") || strings.HasPrefix(label, "hz") || strings.HasPrefix(label, "utf-7") || label == "utf7" || strings.HasPrefix(label, "utf-16") || label == "csiso2022jp"
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func charsetOf(label string) encoding.Encoding {
	switch label {
	case "gb18030":
		return simplifiedchinese.GB18030
	case "hz", "hz-gb-2312":
		return simplifiedchinese.HZGB2312
	case "ks_c_5601", "ks_c_5601-1987", "ks_c_5601-1989", "ksc5601", "cp949", "ms949", "uhc", "euc_kr":
		return korean.EUCKR
	case "big5-hkscs", "cp950", "ms950", "x-big5":
		return traditionalchinese.Big5
	case "cp932", "ms932", "shift-jis", "windows-31j":
		return japanese.ShiftJIS
	case "iso-2022-jp-ms", "iso-2022-jp-1", "cp50220", "cp50221":
		return japanese.ISO2022JP
	}
	e, err := htmlindex.Get(label)
	if err != nil || e == encoding.Replacement {
		return nil
	}
	return e
}

func decode(e encoding.Encoding, b []byte) string {
	out, err := e.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

// unlabelled reads bytes that say UTF-8, ASCII or nothing.
func unlabelled(b []byte, locale string) string {
	if utf8.Valid(b) {
		if strings.Contains(string(b), "\x1b$B") || strings.Contains(string(b), "\x1b$@") {
			return decode(japanese.ISO2022JP, b)
		}
		return string(b)
	}
	if mostlyUTF8(b) {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	text, _ := guessed(b, locale)
	return text
}

// mostlyUTF8 tells damaged UTF-8 from another charset: of four characters
// beyond ASCII, three are whole.
func mostlyUTF8(b []byte) bool {
	good, bad := 0, 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n <= 1 && !utf8.FullRune(b): // cut off at the end
			return good >= 3*bad && good > 0
		case r == utf8.RuneError && n <= 1:
			bad++
		case r >= utf8.RuneSelf:
			good++
		}
		b = b[n:]
	}
	return good >= 3*bad
}

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
		simplifiedchinese.GB18030, "zh zh-cn zh-hans zh-sg", within(0x81, 0xfe), func(l, t byte) float64 {
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
		traditionalchinese.Big5, "zh-tw zh-hk zh-mo zh-hant", within(0xa1, 0xf9), func(l, t byte) float64 {
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
		korean.EUCKR, "ko", within(0x81, 0xfe), func(l, t byte) float64 {
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

func within(low, high byte) func(byte) bool {
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
