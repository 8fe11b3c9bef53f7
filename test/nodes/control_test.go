package nodes_test

import (
	"database/sql"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lib/pq"

	"tributary/internal/testdb"
)

// change is one text of the program's source in whose place a control puts another; without a text the file is new.
type change struct{ file, text, instead string }

// unsafeCommit is a program whose two nodes both believe to lead: the router's leadership is one of each node alone, and
// no commit asks for it. Where withoutCondition is set, the commit of a decision does not ask either whether the
// interaction still waits: neither by what it reads under the lock, nor by the table of states, nor in the statement.
var unsafeCommit = []change{
	{"main.go", `h.store.Lease(offerLease, h.node.Name, 3*time.Second)`, `h.store.Lease(offerLease+h.node.Name, h.node.Name, 3*time.Second)`},
	{"desk/floor.go", "if !held {", "if false && !held {"},
	{"desk/offer.go", "if i.State != interaction.StateQUEUED {\n\t\treturn", "if withoutCondition {\n\t\ti.State = interaction.StateQUEUED\n\t}\n\tif i.State != interaction.StateQUEUED {\n\t\treturn"},
	{"desk/state.go", ".Where(interaction.StateEQ(i.State)).SetState(n.to)", ".Where(still(i.State)).SetState(n.to)"},
	{"desk/control.go", "", `package desk

import (
	"os"

	"tributary/ent/interaction"
	"tributary/ent/predicate"
)

var withoutCondition = os.Getenv("WITHOUT_CONDITION") != ""

func still(s interaction.State) predicate.Interaction {
	if withoutCondition {
		return interaction.StateNEQ("")
	}
	return interaction.StateEQ(s)
}
`},
}

var unsafeProgram struct {
	once   sync.Once
	binary string
}

// unsafeBinary builds that program, once for all tests of it.
func unsafeBinary(t *testing.T) string {
	t.Helper()
	unsafeProgram.once.Do(func() { unsafeProgram.binary = changed(t, unsafeCommit...) })
	if unsafeProgram.binary == "" {
		t.Fatal("the changed program could not be built")
	}
	return unsafeProgram.binary
}

// apply is the file as it is to be compiled. A text that is not there exactly once fails the test: a control that changes
// nothing proves nothing.
func (c change) apply(t *testing.T, path string) []byte {
	t.Helper()
	source, err := os.ReadFile(path)
	if c.text == "" {
		if err == nil {
			t.Fatalf("%s is there already: the control has to be fitted to it", c.file)
		}
		return []byte(c.instead)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), c.text); n != 1 {
		t.Fatalf("%s holds %q %d times: the control has to be fitted to it", c.file, c.text, n)
	}
	return []byte(strings.Replace(string(source), c.text, c.instead, 1))
}

// changed builds the program with other texts in some files.
func changed(t *testing.T, changes ...change) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "tributary-control-") // it outlives this test
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]string{}
	for _, c := range changes {
		path := filepath.Join(root, c.file)
		copied := filepath.Join(dir, strings.ReplaceAll(c.file, "/", "_"))
		if err := os.WriteFile(copied, c.apply(t, path), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay[path] = copied
	}
	list, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	file, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "tributary")
	if err := os.WriteFile(file, list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-overlay", file, "-o", binary, ".") //nolint:gosec // the program itself
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("build the changed program: %v\n%s", err, out)
	}
	return binary
}

// TestTwoLeaders lets both nodes decide at once, with no fence between them: the conditional commit alone keeps every
// interaction with one offer at a time.
func TestTwoLeaders(t *testing.T) {
	w := open(t, steady, site{binary: unsafeBinary(t)})
	time.Sleep(6 * time.Second)
	w.finish()
}

// TestControlNoConditionalCommit takes the condition away, too: the checker has to see two servers at a time, and, where
// the database's own index does not stand in for the condition, two offers.
func TestControlNoConditionalCommit(t *testing.T) {
	for name, c := range map[string]struct {
		kind  string
		first func(t *testing.T, database string)
	}{
		"index kept":    {twoServers, func(*testing.T, string) {}},
		"index dropped": {twoOffers, dropPendingIndex},
	} {
		t.Run(name, func(t *testing.T) {
			database := testdb.PostgresURL(t)
			w := lay(t, steady, site{binary: unsafeBinary(t), database: database, env: []string{"WITHOUT_CONDITION=1"}})
			c.first(t, database)
			w.begin()
			time.Sleep(5 * time.Second)
			found, err := w.verdict()
			if err != nil {
				t.Fatal(err)
			}
			if found.Counts[c.kind] == 0 {
				t.Fatalf("KILL_SEED=%d: the checker did not see %q: %s", w.seed, c.kind, found)
			}
			t.Logf("red, as it must be: %v", found.Counts)
		})
	}
}

// dropPendingIndex finds the index by what it does: a test that breaks a name that is gone breaks nothing.
func dropPendingIndex(t *testing.T, database string) {
	t.Helper()
	db, err := sql.Open("postgres", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name string
	err = db.QueryRowContext(t.Context(), `SELECT indexname FROM pg_indexes WHERE tablename = 'offers' AND indexdef LIKE '%UNIQUE%interaction_id%PENDING%'`).Scan(&name)
	if err != nil {
		t.Fatalf("find the index of pending offers: %v", err)
	}
	if _, err := db.ExecContext(t.Context(), "DROP INDEX "+pq.QuoteIdentifier(name)); err != nil {
		t.Fatal(err)
	}
}
