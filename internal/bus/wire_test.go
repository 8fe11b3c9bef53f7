package bus_test

import (
	"maps"
	"math"
	"strings"
	"testing"

	"tributary/internal/bus"
	"tributary/internal/gid"
)

func TestPayloads(t *testing.T) {
	t.Parallel()
	for _, count := range []int{0, 1, bus.PerPayload, bus.PerPayload + 1, 4096} {
		want := map[bus.Key]int64{}
		for len(want) < count {
			want[bus.Key{Topic: 255, Workspace: gid.Make(gid.Workspace)}] = math.MaxInt64
		}
		got, missed := map[bus.Key]int64{}, false
		payloads := bus.Encode(strings.Repeat("z", 13), want, true)
		for _, p := range payloads {
			if len(p) >= 8000 {
				t.Errorf("%d bytes in a payload: PostgreSQL takes less than 8000", len(p))
			}
			from, notes, lost, err := bus.Decode(p)
			if err != nil || from != strings.Repeat("z", 13) {
				t.Fatalf("%q: from %q, %v", p, from, err)
			}
			missed = missed || lost
			for _, n := range notes {
				got[bus.Key{Topic: n.Topic, Workspace: n.Workspace}] = n.Seq
			}
		}
		if !missed || !maps.Equal(got, want) {
			t.Errorf("%d notes: %d came out, missed %v", count, len(got), missed)
		}
		if most := max(1, (count+bus.PerPayload-1)/bus.PerPayload); len(payloads) != most {
			t.Errorf("%d notes in %d payloads", count, len(payloads))
		}
	}
}

var foreign = []string{
	"", " ", "a", "a ", "b tag", "a tag ", "a tag  !", "a tag x", "a tag 0::1", "a tag 256::1", "a tag -1::1", "a tag 1", "a tag 1:", "a tag 1::",
	"a tag 1::-1", "a tag 1::1:1", "a tag 1::9223372036854775808", "a tag 1:00:1", "a tag 1:zz:1", "a tag 1::1 x", "\x00", "a tag 1::1\n",
	"a " + strings.Repeat("t", 8000), strings.Repeat(" ", 7999), strings.Repeat("!", 1<<20), "你好",
}

func TestForeignPayloads(t *testing.T) {
	t.Parallel()
	for _, p := range foreign {
		if from, notes, missed, err := bus.Decode(p); err == nil {
			t.Errorf("%.60q is taken: %q %v %v", p, from, notes, missed)
		}
	}
	if _, notes, missed, err := bus.Decode("a tag ! 1::0"); err != nil || !missed || len(notes) != 1 || notes[0] != (bus.Note{Topic: bus.Outbox}) {
		t.Errorf("%v %v %v", notes, missed, err)
	}
}

// FuzzDecode: whatever comes over the wire, it is refused or it is what a node could have sent.
func FuzzDecode(f *testing.F) {
	for _, p := range foreign {
		f.Add(p)
	}
	f.Add(bus.Encode("tag", map[bus.Key]int64{{Topic: bus.Log, Workspace: gid.Make(gid.Workspace)}: 7, {Topic: bus.Jobs}: 0}, true)[0])
	f.Fuzz(func(t *testing.T, payload string) {
		from, notes, missed, err := bus.Decode(payload)
		if err != nil {
			return
		}
		newest := map[bus.Key]int64{}
		for _, n := range notes {
			k := bus.Key{Topic: n.Topic, Workspace: n.Workspace}
			newest[k] = max(newest[k], n.Seq)
		}
		again, lost := map[bus.Key]int64{}, false
		for _, p := range bus.Encode(from, newest, missed) {
			tag, notes, l, err := bus.Decode(p)
			if len(from) < 100 && (err != nil || tag != from) {
				t.Fatalf("%q became %q: %q, %v", payload, p, tag, err)
			}
			lost = lost || l
			for _, n := range notes {
				again[bus.Key{Topic: n.Topic, Workspace: n.Workspace}] = n.Seq
			}
		}
		if len(from) < 100 && (lost != missed || !maps.Equal(again, newest)) {
			t.Fatalf("%q: %v %v, then %v %v", payload, newest, missed, again, lost)
		}
	})
}
