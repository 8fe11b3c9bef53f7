package email

import (
	"strings"
	"testing"
	"time"

	"tributary/internal/run"
)

// Cleaning writes out what was short in the mail; what comes of it must not grow without a bound.
func TestCleanedHTMLIsBounded(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("&", 70) + "\r\n"
	for name, size := range map[string]int{"a page": 100 << 10, "a book": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mail := "From: x@c.test\r\nMessage-ID: <a@b>\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>" + strings.Repeat(line, size/len(line)) + "</p>\r\n"
			r := &reader{own: []string{"help@ours.test"}, blob: &shelf{}, clock: run.Clock{}}
			in, err := r.read(t.Context(), strings.NewReader(mail), int64(len(mail)), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if len(in.HTML) > maxSafeHTML || (size < 1<<20) != (in.HTML != "") || in.Parts[0].Text == "" {
				t.Errorf("%d bytes of HTML from %d, text of %d, warnings %v", len(in.HTML), size, len(in.Parts[0].Text), in.Warnings)
			}
		})
	}
}
