// Package badday_test plays bad days against the real program: races, restarts of the database, hostile clients, a full
// disk, lost agents. Every test speaks GraphQL and the wire as a stranger would; where a checker decides, a forged
// history beside it proves that the checker can fail.
package badday_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"tributary/internal/testdb"
	"tributary/test/rig"
)

// long reports whether the long forms are asked for.
func long() bool { return os.Getenv("TEST_LONG") == "1" }

// each runs f on both dialects. f may call t.Parallel.
func each(t *testing.T, f func(t *testing.T, o rig.Options)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, rig.Options{}) })
	t.Run("postgres", func(t *testing.T) { f(t, rig.Options{DatabaseURL: testdb.PostgresURL(t)}) })
}

// office is a workspace with a bridge by which test messages come in.
type office struct {
	*rig.Workspace
	bridge *rig.Bridge
	site   string
}

func open(t *testing.T, n *rig.Node) *office {
	t.Helper()
	w := n.NewWorkspace(t)
	return &office{w, w.NewBridge(t, "", "", nil), w.Site(t, "")}
}

// deliver posts one text message from a new person and wants it taken.
func (o *office) deliver(t *testing.T, text string) {
	t.Helper()
	code, body, err := o.bridge.Deliver(context.Background(), fresh(text))
	if err != nil || code != 200 {
		t.Fatalf("a normal message: %d %s %v", code, body, err)
	}
}

// fresh is a message event of a new person in a new thread.
func fresh(text string) rig.M {
	id := rig.Unique("m")
	return rig.Text(id, "t-"+id, "u-"+id, text)
}

// goesOn proves that the service works: a message of a bridge and one of a visitor get through.
func (o *office) goesOn(t *testing.T) {
	t.Helper()
	at := cursor(t, o.Admin)
	one, two := rig.Unique("through"), rig.Unique("through")
	o.deliver(t, one)
	o.Node.Visit(t, o.site, "").Say(t, two)
	o.arrives(t, at, one)
	o.arrives(t, at, two)
}

// arrives waits until the log holds a message of this text after a place, and returns its id.
func (o *office) arrives(t *testing.T, after, text string) string {
	t.Helper()
	id := ""
	rig.Eventually(t, 30*time.Second, "the message "+text+" is in the log", func() bool {
		for _, e := range pull(t, o.Admin, after, `subject{... on Message{text}}`, "MESSAGE_CREATED") {
			if e.At("subject", "text").String() == text {
				id = e.At("subjectId").String()
			}
		}
		return id != ""
	})
	return id
}

// cursor is where the log stands.
func cursor(t *testing.T, c *rig.Client) string {
	t.Helper()
	return c.Must(t, `{eventCursor}`, nil).At("eventCursor").String()
}

// pull reads the log after a place to its end by the query: what every stream is measured by. more is selected of each
// event beside what tells it.
func pull(t *testing.T, c *rig.Client, after, more string, types ...string) []rig.Value {
	t.Helper()
	var out []rig.Value
	query := `query($a:EventCursor,$t:[EventType!]){events(after:$a,first:100,filter:{scope:ALL,types:$t}){` + frame(more) + `}}`
	for {
		vars := rig.M{"a": after}
		if len(types) > 0 {
			vars["t"] = types
		}
		f := c.Must(t, query, vars).At("events")
		if r := f.At("resetReason"); !r.Nil() {
			t.Fatalf("the pull twin was reset: %s", r.JSON())
		}
		out = append(out, f.At("events").List()...)
		after = f.At("cursor").String()
		if f.At("caughtUp").Bool() {
			return out
		}
	}
}

func frame(more string) string {
	return `cursor caughtUp resetReason events{id cursor type subjectId subjectVersion conversationId interactionId ` + more + `}`
}

// report fails with all that was found, the first twenty in full.
func report(t *testing.T, found []string) {
	t.Helper()
	if len(found) > 0 {
		t.Errorf("%d violations:\n%s", len(found), strings.Join(found[:min(len(found), 20)], "\n"))
	}
}

// wants proves that a checker finds something in a forged history: one that never fails proves nothing.
func wants(t *testing.T, what string, found []string) {
	t.Helper()
	if len(found) == 0 {
		t.Errorf("the checker does not see %s", what)
	}
}

// figures prints a number to report; numbers never decide a test.
func figures(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Log("FIGURE " + fmt.Sprintf(format, args...))
}
