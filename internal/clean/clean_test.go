package clean_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"tributary/internal/clean"
)

func TestText(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":               "",
		"hello\tworld\n": "hello\tworld\n",
		"你好，世界 👩‍👩‍👧 café עברית": "你好，世界 👩‍👩‍👧 café עברית",
		"a\x00b":                    "ab",
		"a\r\nb\rc\n\rd":            "a\nb\nc\n\nd",
		"\r\x00\n":                  "\n\n",
		"\x1b[31mred\x1b[0m":        "[31mred[0m",
		"bell\a back\b del\x7f":     "bell back del",
		"c1 \u0085\u009b":           "c1 ",
		"lone \xed\xa0\x80 high":    "lone \uFFFD high",
		"lone \xed\xbf\xbf low":     "lone \uFFFD low",
		"cut \xe4\xbd":              "cut \uFFFD",
		"over\xc0\x80long":          "over\uFFFDlong",
		"\xff\xfe":                  "\uFFFD",
		"past \xf4\x90\x80\x80 end": "past \uFFFD end",
		"line\u2028sep":             "line\u2028sep",
	} {
		if got := clean.Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		max  int
		want string
	}{
		{"", 5, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"ab cd", 4, "ab…"},
		{"你好世界", 4, "你好世界"},
		{"你好世界们", 4, "你好世…"},
		{"  a \r\n\t b\u2028c\u00a0d\u3000e ", 99, "a b c d e"},
		{"a\x00b\x1bc", 9, "abc"},
		{"abc", 1, "…"},
		{"abc", 0, ""},
		{"abc", -1, ""},
		{"", 0, ""},
		{" \n ", 3, ""},
	} {
		if got := clean.Line(c.in, c.max); got != c.want {
			t.Errorf("Line(%q, %d) = %q, want %q", c.in, c.max, got, c.want)
		}
	}
}

func TestFileName(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"report.pdf":                           "report.pdf",
		"发票 2026年.pdf":                         "发票 2026年.pdf",
		"👩‍👩‍👧.png":                            "👩‍👩‍👧.png",
		"":                                     "file",
		".":                                    "file",
		"..":                                   "file",
		"...":                                  "file",
		" ":                                    "file",
		"/":                                    "file",
		"a/":                                   "file",
		"../../etc/passwd":                     "passwd",
		`..\..\windows\system32\cmd.exe`:       "cmd.exe",
		`C:\Users\me\a.txt`:                    "a.txt",
		"C:a.txt":                              "C_a.txt",
		"a\x00b.txt":                           "ab.txt",
		"a\r\nSet-Cookie: x.txt":               "a Set-Cookie_ x.txt",
		"photo\u202egpj.exe":                   "photogpj.exe",
		"\u2066a\u2069\u200f\u200b\ufeff.txt":  "a.txt",
		"\u200b":                               "file",
		".htaccess":                            "htaccess",
		"name. ":                               "name",
		`a<b>c:d"e|f?g*h`:                      "a_b_c_d_e_f_g_h",
		"CON":                                  "_CON",
		"con.txt":                              "_con.txt",
		"Nul.tar.gz":                           "_Nul.tar.gz",
		"com1":                                 "_com1",
		"console.txt":                          "console.txt",
		"\xff\xfe.txt":                         "\uFFFD.txt",
		strings.Repeat("a", 300) + ".pdf":      strings.Repeat("a", 196) + ".pdf",
		strings.Repeat("好", 100) + ".pdf":      strings.Repeat("好", 65) + ".pdf",
		strings.Repeat("a", 300):               strings.Repeat("a", 200),
		"a." + strings.Repeat("b", 300):        "a." + strings.Repeat("b", 198),
		strings.Repeat("a", 199) + " .longext": strings.Repeat("a", 192) + ".longext",
	} {
		if got := clean.FileName(in); got != want {
			t.Errorf("FileName(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", "\r\x00\n", "\xed\xa0\x80", "\x1b[0m", "你好", "\u0085"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean.Text(s)
		if !utf8.ValidString(got) {
			t.Errorf("%q: not UTF-8: %q", s, got)
		}
		for _, r := range got {
			if r != '\n' && r != '\t' && unicode.IsControl(r) {
				t.Errorf("%q: control %U left", s, r)
			}
		}
		if again := clean.Text(got); again != got {
			t.Errorf("%q: %q, then %q", s, got, again)
		}
		for _, max := range []int{0, 1, 7, 80} {
			line := clean.Line(s, max)
			if utf8.RuneCountInString(line) > max || strings.ContainsAny(line, "\n\t\u2028") || clean.Line(line, max) != line {
				t.Errorf("Line(%q, %d) = %q", s, max, line)
			}
		}
	})
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{
		"", "a/b.txt", "..", ". .", "\u202e", "CON", "CON .txt", strings.Repeat("好", 99) + ".pdf", strings.Repeat("a", 199) + ". ",
		"COM1" + strings.Repeat("x", 220), "CON." + strings.Repeat("x", 196), strings.Repeat("a", 190) + ".\u200d.......bcdefgh",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean.FileName(s)
		if got == "" || len(got) > 200 || !utf8.ValidString(got) {
			t.Errorf("%q: %q", s, got)
		}
		if strings.ContainsAny(got, "/\\<>:\"|?*\u202e\u2066") || strings.TrimLeft(got, " .") != got || strings.TrimRight(got, " .") != got {
			t.Errorf("%q: %q", s, got)
		}
		if again := clean.FileName(got); again != got {
			t.Errorf("%q: %q, then %q", s, got, again)
		}
	})
}
