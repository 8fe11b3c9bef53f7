package bench

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	_ "tributary/channels/all"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/store"
	"tributary/internal/testdb"
)

func TestMain(m *testing.M) {
	box, err := crypt.New()
	if err != nil {
		panic(err)
	}
	crypt.Use(box)
	m.Run()
}

// BenchmarkIngest takes in a customer's next message in an open chat: the whole transaction of the product against the
// same rows written by prepared SQL in one transaction, one client, durable.
func BenchmarkIngest(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		b.Run(dialect, func(b *testing.B) {
			w := world(b, dialect)
			v := w.Visitor(w.Channel(desk.ChannelCreateInput{Kind: "webchat"}))
			v.Say("the first word opens the conversation")
			var took time.Duration
			b.Run("product", func(b *testing.B) {
				say(b, w, v)
				took = b.Elapsed() / time.Duration(b.N)
			})
			b.Run("floor", func(b *testing.B) {
				floor(b, w)
				if b.N > 1 && took > 0 {
					b.ReportMetric(float64(b.Elapsed()/time.Duration(b.N))/float64(took), "of-floor")
				}
			})
		})
	}
}

func world(b *testing.B, dialect string) *desktest.World {
	url := ""
	if dialect == "postgres" {
		url = testdb.PostgresURL(b)
	}
	s, err := store.Open(b.Context(), store.Config{URL: url, Dir: b.TempDir()}) // durable: synchronous FULL
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	if err := s.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	return desktest.New(b, s)
}

func say(b *testing.B, w *desktest.World, v *desktest.Visitor) {
	text := "another word"
	ctx, count := store.Count(v.Context)
	b.ResetTimer()
	for n := range b.N {
		key := fmt.Sprintf("%d-%d", b.N, n)
		if _, err := w.Desk.VisitorSays(ctx, desk.VisitorMessageInput{Text: &text}, &key); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(count.N())/float64(b.N), "statements")
}

// rows are what one such message writes, in the order in which the product writes them. $ws, $conv … are bound by name.
var rows = []string{
	`INSERT INTO idempotency_keys (id, workspace_id, actor_id, key, input_hash, at) VALUES ($key_id, $ws, $actor, $key, 'hash', $at)`,
	`UPDATE identities SET visible_count = visible_count + 1, last_seen_at = $at, updated_at = $at WHERE id = $identity`,
	`INSERT INTO messages (id, workspace_id, version, created_at, updated_at, conversation_id, interaction_id, channel_id, channel_kind, direction, number, customer_id, sender_id, identity_id, visible_number, text, delivery, steps, sends, automatic)
	 VALUES ($msg, $ws, 1, $at, $at, $conv, $int, $channel, 'webchat', 'INBOUND', $n, $customer, $identity, $identity, $n, 'another word', 'RECEIVED', '[]', 0, false)`,
	`INSERT INTO timeline_items (id, workspace_id, type, at, conversation_id, customer_id, interaction_id, message_id, changed, internal) VALUES ($item, $ws, 'MESSAGE', $at, $conv, $customer, $int, $msg, '', false)`,
	`UPDATE interactions SET last_number = $n, version = version + 1, updated_at = $at WHERE id = $int`,
	`UPDATE conversations SET last_message_id = $msg, last_message_at = $at, version = version + 1, updated_at = $at WHERE id = $conv`,
	`UPDATE customers SET last_contact_at = $at, updated_at = $at WHERE id = $customer`,
	`UPDATE idempotency_keys SET result_id = $msg WHERE id = $key_id`,
	outboxRow("MESSAGE_CREATED", "$msg"), outboxRow("INTERACTION_UPDATED", "$int"), outboxRow("CONVERSATION_UPDATED", "$conv"),
}

func outboxRow(typ, subject string) string {
	return fmt.Sprintf(`INSERT INTO outboxes (workspace_id, type, at, subject_id, subject_version, conversation_id, interaction_id, customer_id, identity_id, changed, audience, private)
	 VALUES ($ws, '%s', $at, %s, 1, $conv, $int, $customer, $identity, '[]', '[]', false)`, typ, subject)
}

// prepared is a statement with the names of its parameters in order.
type prepared struct {
	*sql.Stmt
	names []string
}

func prepare(b *testing.B, s *store.Store, query string) prepared {
	b.Helper()
	var names []string
	var out strings.Builder
	for query != "" {
		at := strings.IndexByte(query, '$')
		if at < 0 {
			out.WriteString(query)
			break
		}
		end := at + 1
		for end < len(query) && (query[end] == '_' || query[end] >= 'a' && query[end] <= 'z') {
			end++
		}
		names = append(names, query[at+1:end])
		fmt.Fprintf(&out, "%s$%d", query[:at], len(names))
		query = query[end:]
	}
	st, err := s.DB.PrepareContext(b.Context(), s.SQL(out.String()))
	if err != nil {
		b.Fatalf("%v\n%s", err, out.String())
	}
	return prepared{st, names}
}

func floor(b *testing.B, w *desktest.World) {
	i, err := w.Store.Ent.Interaction.Query().First(w.Sys)
	if err != nil {
		b.Fatal(err)
	}
	sts := make([]prepared, len(rows))
	for n, q := range rows {
		sts[n] = prepare(b, w.Store, q)
		defer func() { _ = sts[n].Close() }()
	}
	from := i.LastNumber + 1_000_000*(b.N%1000+1)
	b.ResetTimer()
	for n := range b.N {
		if err := writeRows(b.Context(), w, sts, values(w, i, from+n, fmt.Sprintf("floor-%d-%d", b.N, n))); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(len(rows)), "statements")
}

func values(w *desktest.World, i *ent.Interaction, n int, key string) map[string]any {
	return map[string]any{
		"ws": i.WorkspaceID, "actor": i.CustomerID, "key": key, "key_id": gid.Make(gid.Other), "at": w.Clock.Now().Truncate(time.Microsecond),
		"identity": *i.IdentityID, "msg": gid.Make(gid.Message), "conv": i.ConversationID, "int": i.ID, "channel": *i.ChannelID, "customer": i.CustomerID, "n": n, "item": gid.Make(gid.TimelineItem),
	}
}

func writeRows(ctx context.Context, w *desktest.World, sts []prepared, v map[string]any) error {
	tx, err := w.Store.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, st := range sts {
		args := make([]any, len(st.names))
		for n, name := range st.names {
			args[n] = v[name]
		}
		if _, err := tx.StmtContext(ctx, st.Stmt).ExecContext(ctx, args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
