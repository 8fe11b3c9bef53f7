package bench

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"entgo.io/ent/dialect"
)

// The row queries of an inbox: the list with customer and owner, and the last five things of each with their messages
// and authors; one row more than shown tells of a next page, as in the product. $ws and $me are bound by name.
const (
	inboxList = `SELECT c.id, c.number, c.state, c.subject, c.updated_at, u.id, u.display_name, a.id, a.display_name
 FROM conversations c JOIN customers u ON u.id = c.customer_id LEFT JOIN agents a ON a.id = c.owner_id
 WHERE c.workspace_id = $ws AND c.owner_id = $me ORDER BY c.updated_at DESC, c.id DESC LIMIT 51`
	inboxItems = `SELECT t.conversation_id, t.id, t.at, t.type, m.id, m.number, m.direction, m.text, m.delivery, m.created_at, a.display_name, u.display_name
 FROM (SELECT id FROM conversations WHERE workspace_id = $ws AND owner_id = $me ORDER BY updated_at DESC, id DESC LIMIT 50) c %s
 LEFT JOIN messages m ON m.id = t.message_id LEFT JOIN agents a ON a.id = m.agent_id LEFT JOIN customers u ON u.id = m.customer_id`
	lateralItems = `CROSS JOIN LATERAL (SELECT * FROM timeline_items i WHERE i.conversation_id = c.id ORDER BY i.at DESC, i.id DESC LIMIT 6) t`
	listedItems  = `CROSS JOIN timeline_items t ON t.id IN (SELECT i.id FROM timeline_items i WHERE i.conversation_id = c.id ORDER BY i.at DESC, i.id DESC LIMIT 6)`
	inboxExpects = inboxRows + 1 + inboxRows*6
)

// rawFloor sends the queries through the product's own pool and reads every value.
func (h *hall) rawFloor(b *testing.B) side {
	items := listedItems
	if h.Store.Dialect == dialect.Postgres {
		items = lateralItems
	}
	queries := []prepared{prepare(b, h.Store, inboxList), prepare(b, h.Store, fmt.Sprintf(inboxItems, items))}
	var turn atomic.Int64
	return func(d time.Duration) float64 {
		return crowd(b, inboxClients, d, func(ctx context.Context, _ int) error {
			v := map[string]any{"ws": h.ID, "me": h.agents[turn.Add(1)%inboxAgents].ID}
			n := 0
			for _, q := range queries {
				got, err := readAll(ctx, q, v)
				if err != nil {
					return err
				}
				n += got
			}
			if n != inboxExpects {
				return fmt.Errorf("%d rows, not %d", n, inboxExpects)
			}
			return nil
		})
	}
}

func readAll(ctx context.Context, q prepared, v map[string]any) (n int, err error) {
	rows, err := q.QueryContext(ctx, q.args(v)...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	cols, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	cells, into := make([]sql.RawBytes, len(cols)), make([]any, len(cols))
	for i := range cells {
		into[i] = &cells[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

// pgbench finds the program that comes with PostgreSQL's server.
func pgbench(b *testing.B) string {
	b.Helper()
	if path, err := exec.LookPath("pgbench"); err == nil {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench") // the pattern is a good one
	if len(found) == 0 {
		skip(b, "there is no pgbench, neither in PATH nor under /usr/lib/postgresql")
	}
	slices.Sort(found)
	return found[len(found)-1]
}

// pgbenchFloor lets pgbench send the queries, prepared, a script for each agent.
func (h *hall) pgbenchFloor(b *testing.B, url string) side {
	args := []string{"--no-vacuum", "--protocol=prepared", "--client=" + strconv.Itoa(inboxClients), "--jobs=2"}
	dir := b.TempDir()
	for n, a := range h.agents {
		bind := strings.NewReplacer("$ws", "'"+h.ID.UUID()+"'", "$me", "'"+a.ID.UUID()+"'")
		script := bind.Replace(inboxList + ";\n" + fmt.Sprintf(inboxItems, lateralItems) + ";\n")
		path := filepath.Join(dir, fmt.Sprintf("inbox%d.sql", n))
		if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
			b.Fatal(err)
		}
		args = append(args, "--file="+path)
	}
	program := pgbench(b)
	return func(d time.Duration) float64 {
		cmd := exec.CommandContext(b.Context(), program, append(slices.Clone(args), fmt.Sprintf("--time=%d", int(d.Seconds())), url)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("pgbench: %v\n%s", err, out)
		}
		m := tps.FindSubmatch(out)
		if m == nil || !strings.Contains(string(out), "failed transactions: 0 ") {
			b.Fatalf("pgbench says:\n%s", out)
		}
		rate, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil {
			b.Fatal(err)
		}
		return rate
	}
}

var tps = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \(without initial connection time\)`)

// skip says loudly what was not measured.
func skip(b *testing.B, why string) {
	b.Helper()
	loud(b, "SKIPPED: "+why)
	b.SkipNow()
}
