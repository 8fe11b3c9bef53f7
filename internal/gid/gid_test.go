package gid_test

import (
	"encoding/json"
	"slices"
	"testing"

	"tributary/internal/gid"
)

func TestTextFormIsOneToOne(t *testing.T) {
	t.Parallel()
	for k := gid.Workspace; k <= gid.Event; k++ {
		id := gid.Make(k)
		back, err := gid.Parse(id.String())
		if err != nil || back != id || back.Kind() != k {
			t.Fatalf("%d: %v %v %v", k, id, back, err)
		}
		var viaJSON gid.ID
		b, _ := json.Marshal(id)
		if err := json.Unmarshal(b, &viaJSON); err != nil || viaJSON != id {
			t.Fatalf("json of %v: %v", id, err)
		}
	}
}

func TestPrefixesAreUnique(t *testing.T) {
	t.Parallel()
	var seen []string
	for k := gid.Workspace; k <= gid.Event; k++ {
		p := gid.Make(k).String()[:3]
		if slices.Contains(seen, p) {
			t.Errorf("prefix %q stands twice", p)
		}
		seen = append(seen, p)
	}
}

func TestRefusesOtherText(t *testing.T) {
	t.Parallel()
	good := gid.Make(gid.Message).String()
	for _, s := range []string{"", "_", "msg_", "msg", good + "0", "cnv" + good[3:], good[:len(good)-1] + "z", "MSG" + good[3:]} {
		if id, err := gid.Parse(s); err == nil {
			t.Errorf("%q was read as %v", s, id)
		}
	}
}

func TestLaterSortsLater(t *testing.T) {
	t.Parallel()
	var all []string
	for range 5000 {
		all = append(all, gid.Make(gid.Message).String())
	}
	if !slices.IsSorted(all) {
		t.Error("ids of one process are not in order")
	}
}
