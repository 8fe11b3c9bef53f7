package email

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
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
