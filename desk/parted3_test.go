package desk_test

import (
	"context"
	"testing"
	"time"

	"entgo.io/ent/dialect"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/interaction"
	"tributary/ent/queue"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

// A contact that commits between the undo's two locks.
func TestAnUndoSeesWhatCommitsBetweenItsLocks(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		if w.Store.Dialect != dialect.Postgres {
			t.Skip("one writer at a time")
		}
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.JoinOpen = ptr(false) })
		one, two := b.Say("t1", "u1", "a"), b.Say("t2", "u2", "b")
		m, err := w.Desk.MergeCustomers(w.Admin, two.CustomerID, []gid.ID{one.CustomerID}, nil, nil, nil)
		ok(t, err)
		done := make(chan error, 1)
		var late *ent.Interaction
		err = w.Store.Tx(w.Sys, func(ctx context.Context, tx *ent.Tx) error { // what arrive does
			who, err := tx.Identity.UpdateOneID(*one.IdentityID).AddVisibleCount(1).Save(ctx)
			if err != nil {
				return err
			}
			c, err := tx.Conversation.Create().SetCustomerID(who.CustomerID).SetNumber(99).Save(ctx)
			if err != nil {
				return err
			}
			q, err := tx.Queue.Query().Order(queue.ByID()).FirstID(ctx)
			if err != nil {
				return err
			}
			late, err = tx.Interaction.Create().SetConversationID(c.ID).SetCustomerID(who.CustomerID).SetChannelID(b.ID).SetChannelKind("custom").SetIdentityID(who.ID).
				SetThreadKey("x").SetThread(personal.Of("x")).SetState(interaction.StateQUEUED).SetQueueID(q).SetJoinedBy(interaction.JoinedByNEW).Save(ctx)
			if err != nil {
				return err
			}
			go func() { _, err := w.Desk.UndoCustomerMerge(w.Admin, m, nil, nil); done <- err }()
			time.Sleep(700 * time.Millisecond)
			return nil
		})
		ok(t, err)
		ok(t, <-done)
		n := w.Interaction(late.ID)
		if c := w.Conversation(late.ConversationID); c.CustomerID != n.CustomerID {
			t.Errorf("after the undo the conversation is %v's, its only contact %v's", c.CustomerID, n.CustomerID)
		}
	})
}
