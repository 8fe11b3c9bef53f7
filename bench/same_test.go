package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/migrate"
	"tributary/internal/testdb"
)

// The floor of ingest inserts what the product inserts: as many rows of each table, with the same columns filled. Or the
// ratio would flatter one of them, and a new column that must not be NULL would break the benchmark unseen.
func TestTheFloorInsertsWhatTheProductInserts(t *testing.T) {
	t.Parallel()
	testdb.Each(t, func(t *testing.T, url string) {
		t.Parallel()
		if strings.HasPrefix(url, "file:") {
			url = "" // the world's own file
		}
		w := world(t, url, nil)
		v := w.Visitor(w.Channel(desk.ChannelCreateInput{Kind: "webchat"}))
		c := chat{Visitor: v, row: v.Say("the first word opens the conversation")}
		product := inserted(t, w, func() error { return c.say(c.Context, w) })
		c.written = 100
		floor := inserted(t, w, func() error { return c.write(t.Context(), w, prepareRows(t, w)) })
		if !slices.Equal(product, floor) {
			t.Errorf("the product inserts\n%s\nthe floor inserts\n%s", strings.Join(product, "\n"), strings.Join(floor, "\n"))
		}
	})
}

// inserted are the rows that f adds, each as its table and the columns that are not NULL.
func inserted(t *testing.T, w *desktest.World, f func() error) []string {
	t.Helper()
	before := map[string]int{}
	for _, row := range shapes(t, w) {
		before[row]++
	}
	if err := f(); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(shapes(t, w), func(row string) bool { before[row]--; return before[row] >= 0 })
}

func shapes(t *testing.T, w *desktest.World) (rows []string) {
	t.Helper()
	for _, table := range migrate.Tables {
		filled := make([]string, len(table.Columns))
		for n, c := range table.Columns {
			filled[n] = fmt.Sprintf(`CASE WHEN "%s" IS NULL THEN '' ELSE ' %s' END`, c.Name, c.Name)
		}
		got, err := w.Store.DB.QueryContext(t.Context(), fmt.Sprintf(`SELECT %s FROM "%s"`, strings.Join(filled, " || "), table.Name))
		if err != nil {
			t.Fatal(err)
		}
		for got.Next() {
			var columns string
			if err := got.Scan(&columns); err != nil {
				t.Fatal(err)
			}
			rows = append(rows, table.Name+":"+columns)
		}
		if err := errors.Join(got.Err(), got.Close()); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(rows)
	return rows
}
