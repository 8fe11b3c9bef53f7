package crypt_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"tributary/internal/crypt"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const s = crypt.Secret("hunter2")
	type config struct {
		Name  string
		Key   crypt.Secret
		Many  []crypt.Secret
		Names map[string]crypt.Secret
		Ptr   *crypt.Secret
	}
	p := s
	c := config{"n", s, []crypt.Secret{s}, map[string]crypt.Secret{"k": s}, &p}
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%5.2f"} {
		out = append(out, fmt.Sprintf(verb, s), fmt.Sprintf(verb, c), fmt.Sprintf(verb, &c))
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, string(j), fmt.Sprint(s), fmt.Errorf("dial with %v: %w", s, errors.New("refused")).Error(), s.String())
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(h).Info("m", "secret", s, "config", c, "many", c.Many)
	}
	out = append(out, log.String())
	for _, text := range out {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("printed: %s", text)
		}
	}
	if got := fmt.Sprintf("%v %+v %#v", s, s, s); got != "[secret] [secret] [secret]" {
		t.Errorf("got %s", got)
	}
	if string(j[:30]) != `{"Name":"n","Key":"[secret]","` {
		t.Errorf("json: %s", j)
	}
	if s.Clear() != "hunter2" {
		t.Error("Clear is not the text")
	}
}

func TestSecretIsRead(t *testing.T) {
	t.Parallel()
	var c struct{ Key crypt.Secret }
	if err := json.Unmarshal([]byte(`{"Key":"hunter2"}`), &c); err != nil || c.Key.Clear() != "hunter2" {
		t.Errorf("%q, %v", c.Key.Clear(), err)
	}
}
