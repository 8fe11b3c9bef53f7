package opt_test

import (
	"encoding/json"
	"testing"

	"tributary/internal/gid"
	"tributary/internal/opt"
)

// Absent leaves unchanged, null clears, a value sets: three answers, never two.
func TestAbsentNullAndValueDiffer(t *testing.T) {
	var absent, null, value opt.String
	if err := null.UnmarshalGQL(nil); err != nil || !null.Set || null.V != nil {
		t.Errorf("null: %+v, %v", null, err)
	}
	if err := value.UnmarshalGQL("x"); err != nil || !value.Set || *value.V != "x" {
		t.Errorf("value: %+v, %v", value, err)
	}
	if absent.Set {
		t.Error("absent is set")
	}
	if err := value.UnmarshalGQL(1); err == nil {
		t.Error("a number is no text")
	}
}

func TestIntsComeInEveryFormThatTheExecutorGives(t *testing.T) {
	for _, in := range []any{7, int64(7), json.Number("7")} {
		var o opt.Int
		if err := o.UnmarshalGQL(in); err != nil || o.V == nil || *o.V != 7 {
			t.Errorf("%T: %+v, %v", in, o, err)
		}
	}
	var o opt.Int
	if err := o.UnmarshalGQL(json.Number("1.5")); err == nil {
		t.Error("a fraction is no Int")
	}
}

func TestAMalformedIdNamesNothing(t *testing.T) {
	var o opt.ID
	if err := o.UnmarshalGQL("nonsense"); err != nil || o.V == nil || !o.V.IsZero() {
		t.Errorf("%+v, %v", o, err)
	}
	id := gid.Make(gid.Team)
	if err := o.UnmarshalGQL(id.String()); err != nil || *o.V != id {
		t.Errorf("%+v, %v", o, err)
	}
}
