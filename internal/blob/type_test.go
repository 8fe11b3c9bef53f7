package blob_test

import (
	"strings"
	"testing"

	"tributary/internal/blob"
)

func TestContentType(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		const png = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
		for _, c := range []struct {
			content, want string
			inline        bool
		}{
			{png, "image/png", true},
			{"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg", true},
			{"GIF89a\x01\x00\x01\x00", "image/gif", true},
			{"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp", true},
			{`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`, "image/svg+xml", false},
			{"<html><script>alert(1)</script></html>", "text/html; charset=utf-8", false},
			{"%PDF-1.7\n", "application/pdf", false},
			{"hello", "text/plain; charset=utf-8", false},
			{"", "text/plain", false},
			{`{"a":[` + strings.Repeat("1,", 5000) + "1]}", "application/json", false},
			{"\x00\x01\x02\x03", "application/octet-stream", false},
		} {
			info := put(t, s, "a", c.content)
			if !strings.HasPrefix(info.ContentType, c.want) {
				t.Errorf("%.20q is %s, want %s", c.content, info.ContentType, c.want)
			}
			if blob.SafeInline(info.ContentType) != c.inline {
				t.Errorf("SafeInline(%s) = %v", info.ContentType, !c.inline)
			}
		}
	})
}

func TestSafeInline(t *testing.T) {
	t.Parallel()
	for _, ct := range []string{"image/png", "IMAGE/PNG", "image/jpeg; x=y", "image/gif", "image/webp"} {
		if !blob.SafeInline(ct) {
			t.Errorf("%s is refused", ct)
		}
	}
	for _, ct := range []string{"", "image", "image/*", "image/svg+xml", "image/png, text/html", "image/png+xml", "text/html", "application/pdf", "image/bmp", "image/avif", ";", "image/png;=;"} {
		if blob.SafeInline(ct) {
			t.Errorf("%s passes", ct)
		}
	}
}
