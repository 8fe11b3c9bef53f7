package run_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"tributary/internal/run"
)

const canary = "c4n4ry"

func TestSecretsAreHidden(t *testing.T) {
	t.Parallel()
	address := "postgres://desk:" + canary + "@db:5432/desk"
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for name, attr := range map[string]slog.Attr{
		"authorization":     slog.String("Authorization", "Bearer "+canary),
		"token":             slog.String("accessToken", canary),
		"password":          slog.Any("new_password", []byte(canary)),
		"secret":            slog.Any("client-secret", map[string]string{"a": canary}),
		"key":               slog.String("api_key", canary),
		"cookie":            slog.String("Set-Cookie", canary),
		"group":             slog.Group("request", slog.Group("token", slog.String("value", canary))),
		"address in a text": slog.String("note", "reach "+address+" again"),
		"address in error":  slog.Any("err", errors.New("dial "+address+": refused")),
		"address":           slog.Any("database", parsed),
		"header":            slog.Any("header", http.Header{"Authorization": {canary}, "Accept": {"text/html"}}),
		"slash in password": slog.String("note", "redis://:"+canary+"@x@cache:6379"),
	} {
		for _, format := range []string{"text", "json"} {
			var out bytes.Buffer
			run.NewLogger(&out, format, slog.LevelInfo).Info("event", attr)
			if strings.Contains(out.String(), canary) {
				t.Errorf("%s, %s: %s", name, format, out.String())
			}
		}
	}
}

func TestTheRestIsShown(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := run.NewLogger(&out, "json", slog.LevelInfo)
	log.Info("event", "token_id", "tok_1", "conversation", "cnv_1", "url", "https://desk.example:8443/a@b",
		"header", http.Header{"Accept": {"text/html"}}, "err", errors.New("no such row"))
	for _, want := range []string{"tok_1", "cnv_1", "https://desk.example:8443/a@b", "text/html", "no such row"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is missing: %s", want, out.String())
		}
	}
	out.Reset()
	log.Debug("quiet")
	if out.Len() > 0 {
		t.Errorf("below the level, but logged: %s", out.String())
	}
}
