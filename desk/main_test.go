package desk_test

import (
	"testing"

	_ "tributary/channels/all"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/interaction"
	"tributary/internal/gid"
)

// each is a world on both dialects, side by side.
func each(t *testing.T, f func(t *testing.T, w *desktest.World)) {
	t.Helper()
	t.Parallel()
	desktest.Each(t, f)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inState(t *testing.T, i *ent.Interaction, want interaction.State) {
	t.Helper()
	if i.State != want {
		t.Fatalf("the interaction is %s, want %s", i.State, want)
	}
}

func is(id *gid.ID, want gid.ID) bool { return id != nil && *id == want }

// carries asserts the agent's whole load: a leak of one unit would take him out of routing one day.
func carries(t *testing.T, a *desktest.Agent, used, count int) {
	t.Helper()
	l := a.Load()
	kinds := 0
	for _, n := range l.UsedBy {
		kinds += n
	}
	if l.Used != used || l.Count != count || used == 0 && kinds != 0 || count == 0 && l.BlockerID != nil {
		t.Fatalf("carries used %d, count %d, by kind %v, blocker %v; want used %d, count %d", l.Used, l.Count, l.UsedBy, l.BlockerID, used, count)
	}
}

func site(w *desktest.World) *ent.Channel { return w.Channel(desk.ChannelCreateInput{Kind: "webchat"}) }

func ptr[T any](v T) *T { return &v }
