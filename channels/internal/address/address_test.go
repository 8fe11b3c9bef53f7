package address_test

import (
	"strings"
	"testing"

	"tributary/channels/internal/address"
)

func TestPhone(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"+8613800138000":     "+8613800138000",
		"+86 138-0013-8000":  "+8613800138000",
		"+1 (415) 555.0100":  "+14155550100",
		"13800138000":        "",
		"+0123456789":        "",
		"+12345678901234567": "",
		"+86138001380oo":     "",
		"":                   "",
	} {
		got, ok := address.Phone(in)
		if ok != (want != "") || ok && got != want {
			t.Errorf("Phone(%q) = %q, %v; want %q", in, got, ok, want)
		}
	}
}

func TestEmail(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Wang.Fang@Example.COM":                 "wang.fang@example.com",
		" a@example.com ":                       "a@example.com",
		"ÄRGER@example.com":                     "ärger@example.com",
		"\u212Aevin@example.com":                "\u212Aevin@example.com", // the Kelvin sign
		"\u0130van@example.com":                 "\u0130van@example.com",
		"Wang <a@example.com>":                  "",
		"a@example.com, b@example.com":          "",
		"a@example.com\r\nBcc: b@x.org":         "",
		"plain":                                 "",
		strings.Repeat("a", 250) + "@x.example": "",
	} {
		got, ok := address.Email(in)
		if ok != (want != "") || got != want {
			t.Errorf("Email(%q) = %q, %v; want %q", in, got, ok, want)
		}
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		"evt_981": true, "王芳": true, strings.Repeat("x", address.MaxID): true,
		"": false, strings.Repeat("x", address.MaxID+1): false,
		"a\x00b": false, "a\nb": false, "a\ufffdb": false, "a\xffb": false,
	} {
		if got := address.ID(in); got != want {
			t.Errorf("ID(%q) = %v, want %v", in, got, want)
		}
	}
}
