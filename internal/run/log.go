package run

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// NewLogger writes text, or JSON where format is "json", and hides what looks
// like a credential: by the name of its key, and passwords inside addresses
// in any text. It is the second net; the first is that credentials are of
// types that do not print.
func NewLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: redact}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

const hidden = "[hidden]"

// secretWords make a key secret wherever they stand in its name.
var secretWords = []string{"authorization", "password", "passwd", "secret", "token", "cookie", "credential", "apikey", "signature"}

// harmlessEndings are names about a secret, not the secret.
var harmlessEndings = []string{"id", "kind", "count", "expiresat"}

var addressPassword = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*):[^\s/]*@`)

func redact(groups []string, a slog.Attr) slog.Attr {
	if secretKey(a.Key) || slices.ContainsFunc(groups, secretKey) {
		return slog.String(a.Key, hidden)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		if text := a.Value.String(); strings.Contains(text, "://") {
			return slog.String(a.Key, hidePasswords(text))
		}
	case slog.KindAny:
		return slog.Any(a.Key, redactAny(a.Value.Any()))
	}
	return a
}

// redactAny knows the few composed values that are logged; others should be
// groups of plain ones.
func redactAny(v any) any {
	switch v := v.(type) {
	case error:
		return hidePasswords(v.Error())
	case *url.URL:
		if v == nil {
			return v
		}
		return hidePasswords(v.Redacted())
	case http.Header:
		return redactHeader(v)
	case fmt.Stringer:
		return v
	case string:
		return hidePasswords(v)
	}
	return v
}

func redactHeader(h http.Header) http.Header {
	clean := h.Clone()
	for name := range clean {
		if secretKey(name) {
			clean[name] = []string{hidden}
		}
	}
	return clean
}

func secretKey(key string) bool {
	// ApiKey, api_key and Api-Key are one name.
	folded := strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(key))
	for _, ending := range harmlessEndings {
		if strings.HasSuffix(folded, ending) {
			return false
		}
	}
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(folded, word) })
}

func hidePasswords(text string) string {
	return addressPassword.ReplaceAllString(text, "$1:xxxxx@")
}
