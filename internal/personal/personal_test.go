package personal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"tributary/internal/personal"
	"tributary/internal/viewer"
)

const canary = "+8613811112222"

// row is a struct as ent makes them: the value lies in an exported field.
type row struct{ Value personal.Value }

func TestNoWayOfPrintingShowsTheValue(t *testing.T) {
	v, r := personal.Of(canary), row{personal.Of(canary)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10v"} {
		for _, x := range []any{v, &v, r, &r, []personal.Value{v}, map[string]personal.Value{"a": v}} {
			got := fmt.Sprintf(verb, x)
			if strings.Contains(got, "1381111") || strings.Contains(strings.ToLower(got), fmt.Sprintf("%x", canary)) {
				t.Errorf("%s of %T shows %q", verb, x, got)
			}
		}
	}
	for _, x := range []any{v, &v, r, map[string]any{"a": v}} {
		b, err := json.Marshal(x)
		if err != nil || bytes.Contains(b, []byte("1381111")) || !bytes.Contains(b, []byte("****")) {
			t.Errorf("JSON of %T: %s, %v", x, b, err)
		}
	}
}

func TestLogsShowTheMask(t *testing.T) {
	var b bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		l := slog.New(h)
		l.Info("x", "value", personal.Of(canary), "row", row{personal.Of(canary)}, slog.Group("g", "value", personal.Of(canary)))
	}
	if got := b.String(); strings.Contains(got, "1381111") || strings.Count(got, "****") < 6 {
		t.Errorf("the log reads %s", got)
	}
}

func TestMaskHidesTheMiddleAndAllOfWhatIsShort(t *testing.T) {
	for in, want := range map[string]string{
		"": "****", "abc": "****", "1234567": "****", "13812345678": "138****5678", "wang@example.com": "w****@example.com",
		"王小明": "****", "王小明王小明王小明": "王小明****明王小明", "@x": "****",
	} {
		if got := personal.Mask(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestOnlyARoleThatShowsTheKindReadsItAndNeverInAStream(t *testing.T) {
	v := personal.Of(canary)
	clear := viewer.With(t.Context(), &viewer.Viewer{Clear: []string{"PHONE"}})
	if got := personal.Show(clear, "PHONE", v); got.Text != canary || got.Masked {
		t.Errorf("%+v for a role that shows it", got)
	}
	for name, got := range map[string]*personal.Text{
		"another kind": personal.Show(clear, "EMAIL", v), "nobody": personal.Show(t.Context(), "PHONE", v),
		"a stream": personal.Show(viewer.Live(clear), "PHONE", v),
	} {
		if got.Text == canary || !got.Masked {
			t.Errorf("%+v for %s", got, name)
		}
	}
	if got := personal.Show(clear, "PHONE", personal.Value{}); got != nil {
		t.Errorf("%+v of nothing", got)
	}
}
