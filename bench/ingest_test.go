package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/internal/gid"
	"tributary/internal/store"
)

// BenchmarkIngest takes in a customer's next message in an open chat: the product's whole transaction (the desk's
// operation, without HTTP) against the same rows written by prepared SQL in one transaction, durable, with one client
// and with eight, each in a chat of its own. cpu is the processor time of this process and of its PostgreSQL sessions.
func BenchmarkIngest(b *testing.B) {
	dialects(b, func(b *testing.B, dialect string) {
		for _, clients := range []int{1, 8} {
			b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { ingest(b, dialect, clients) })
		}
	})
}

func ingest(b *testing.B, dialect string, clients int) {
	w := world(b, address(b, dialect), nil)
	site := w.Channel(desk.ChannelCreateInput{Kind: "webchat"})
	chats := make([]chat, clients)
	for n := range chats {
		v := w.Visitor(site)
		chats[n] = chat{Visitor: v, row: v.Say("the first word opens the conversation")}
	}
	ctx, count := store.Count(chats[0].Context)
	if err := chats[0].say(ctx, w); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(count.N()), "statements")
	sts := prepareRows(b, w)
	b.ReportMetric(float64(len(sts)), "floor-statements")
	var e expense
	product := func(d time.Duration) float64 {
		return crowd(b, clients, d, func(_ context.Context, k int) error { return chats[k].say(chats[k].Context, w) })
	}
	floor := func(d time.Duration) float64 {
		for k := range chats {
			chats[k].written += ahead
		}
		return crowd(b, clients, d, func(ctx context.Context, k int) error { return chats[k].write(ctx, w, sts) })
	}
	against(b, 3, time.Second, "msg/s", costing(b, w, product, &e.product), costing(b, w, floor, &e.floor))
	e.report(b, "msg")
}

// chat is one visitor's open conversation.
type chat struct {
	*desktest.Visitor
	row     *ent.Interaction
	written int
}

// say is the product.
func (c *chat) say(ctx context.Context, w *desktest.World) error {
	text, key := "another word", w.Unique("key")
	_, err := w.Desk.VisitorSays(ctx, desk.VisitorMessageInput{Text: &text}, &key)
	return err
}

// ahead is by how much the floor's turn begins above the last one: between two turns the product counts on from the
// highest number.
const ahead = 1_000_000

// write is the floor.
func (c *chat) write(ctx context.Context, w *desktest.World, sts []prepared) error {
	c.written++
	return writeRows(ctx, w, sts, c.values(w))
}

// rows are what one such message writes, in the order in which the product writes them. $ws, $conv … are bound by name.
var rows = []string{
	`INSERT INTO idempotency_keys (id, workspace_id, actor_id, key, input_hash, at) VALUES ($key_id, $ws, $actor, $key, 'hash', $at)`,
	`UPDATE identities SET visible_count = visible_count + 1, last_seen_at = $at, updated_at = $at WHERE id = $identity`,
	`INSERT INTO messages (id, workspace_id, version, created_at, updated_at, conversation_id, interaction_id, channel_id, channel_kind, direction, number, customer_id, sender_id, identity_id, visible_number, text, delivery, steps, sends, automatic, caused_by_key)
	 VALUES ($msg, $ws, 1, $at, $at, $conv, $int, $channel, 'webchat', 'INBOUND', $n, $customer, $identity, $identity, $n, 'another word', 'RECEIVED', '[]', 0, false, $key)`,
	`INSERT INTO timeline_items (id, workspace_id, type, at, conversation_id, customer_id, interaction_id, message_id, changed, internal) VALUES ($item, $ws, 'MESSAGE', $at, $conv, $customer, $int, $msg, '', false)`,
	`UPDATE interactions SET last_number = $n, version = version + 1, updated_at = $at WHERE id = $int`,
	`UPDATE conversations SET last_message_id = $msg, last_message_at = $at, version = version + 1, updated_at = $at WHERE id = $conv`,
	`UPDATE customers SET last_contact_at = $at, updated_at = $at WHERE id = $customer`,
	`UPDATE idempotency_keys SET result_id = $msg WHERE id = $key_id`,
	`INSERT INTO outboxes (workspace_id, type, at, subject_id, subject_version, conversation_id, interaction_id, queue_id, customer_id, identity_id, actor_id, changed, audience, hidden_from, private, caused_by_key)
	 VALUES ` + outboxRow("MESSAGE_CREATED", "$msg", "$int, $queue", "$identity") + `, ` + outboxRow("INTERACTION_UPDATED", "$int", "$int, $queue", "$identity") +
		`, ` + outboxRow("CONVERSATION_UPDATED", "$conv", "NULL, NULL", "NULL"),
}

func outboxRow(typ, subject, contact, identity string) string {
	return fmt.Sprintf(`($ws, '%s', $at, %s, 1, $conv, %s, $customer, %s, $actor, '[]', '[]', '[]', false, $key)`, typ, subject, contact, identity)
}

func prepareRows(b testing.TB, w *desktest.World) []prepared {
	sts := make([]prepared, len(rows))
	for n, q := range rows {
		sts[n] = prepare(b, w.Store, q)
	}
	return sts
}

func (c *chat) values(w *desktest.World) map[string]any {
	i := c.row
	return map[string]any{
		"ws": i.WorkspaceID, "actor": i.CustomerID, "key": w.Unique("floor"), "key_id": gid.Make(gid.Other), "at": w.Clock.Now().Truncate(time.Microsecond),
		"identity": *i.IdentityID, "msg": gid.Make(gid.Message), "conv": i.ConversationID, "int": i.ID, "channel": *i.ChannelID, "customer": i.CustomerID, "queue": *i.QueueID,
		"n": c.written, "item": gid.Make(gid.TimelineItem),
	}
}

func writeRows(ctx context.Context, w *desktest.World, sts []prepared, v map[string]any) error {
	tx, err := w.Store.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, st := range sts {
		if _, err := tx.StmtContext(ctx, st.Stmt).ExecContext(ctx, st.args(v)...); err != nil {
			return err
		}
	}
	return tx.Commit()
}
