package bench

import (
	"fmt"
	"testing"
	"time"

	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

// hall is a workspace with many agents, each of whom owns conversations of many messages.
type hall struct {
	*desktest.World
	agents []*desktest.Agent
}

// fillHall writes the rows themselves: what the product does on the way in is measured elsewhere.
func fillHall(b *testing.B, w *desktest.World) *hall {
	b.Helper()
	h := &hall{World: w}
	for k := range inboxAgents {
		a := w.Agent(fmt.Sprintf("Agent%d", k), "agent")
		h.agents = append(h.agents, a)
		if err := h.fill(k, a); err != nil {
			b.Fatal(err)
		}
	}
	// What the server's own upkeep does by and by; without it the first plans are guesses.
	if _, err := w.Store.DB.ExecContext(b.Context(), "ANALYZE"); err != nil {
		b.Fatal(err)
	}
	return h
}

// fill gives one agent his conversations, in few statements.
func (h *hall) fill(k int, a *desktest.Agent) error {
	var (
		db        = h.Store.Ent
		now       = h.Clock.Now().Truncate(time.Second)
		customers []*ent.CustomerCreate
		matters   []*ent.ConversationCreate
		accesses  []*ent.AccessCreate
		contacts  []*ent.InteractionCreate
		messages  []*ent.MessageCreate
		items     []*ent.TimelineItemCreate
	)
	for n := range inboxEach {
		cus, conv, in := gid.Make(gid.Customer), gid.Make(gid.Conversation), gid.Make(gid.Interaction)
		customers = append(customers, db.Customer.Create().SetID(cus).SetDisplayName(fmt.Sprintf("Customer %d-%d", k, n)))
		matters = append(matters, db.Conversation.Create().SetID(conv).SetCustomerID(cus).SetNumber(1+k*inboxEach+n).SetState(conversation.StateOPEN).
			SetSubject("A parcel that has not come").SetOwnerID(a.ID).SetAudience([]gid.ID{a.ID}).SetUpdatedAt(now.Add(time.Duration(n)*time.Second)))
		accesses = append(accesses, db.Access.Create().SetConversationID(conv).SetSubjectID(a.ID).SetReason(access.ReasonOWNER))
		contacts = append(contacts, db.Interaction.Create().SetID(in).SetConversationID(conv).SetCustomerID(cus).SetChannelKind("custom").SetThread(personal.Value{}).
			SetState(interaction.StatePAUSED).SetJoinedBy(interaction.JoinedByNEW).SetLastNumber(inboxWords))
		for word := range inboxWords {
			msg, at := gid.Make(gid.Message), now.Add(time.Duration(word-inboxWords)*time.Minute)
			m := db.Message.Create().SetID(msg).SetConversationID(conv).SetInteractionID(in).SetChannelKind("custom").SetNumber(word + 1).SetText(words(word)).SetCreatedAt(at)
			if word%2 == 0 {
				m.SetDirection(message.DirectionINBOUND).SetDelivery(message.DeliveryRECEIVED).SetCustomerID(cus)
			} else {
				m.SetDirection(message.DirectionOUTBOUND).SetDelivery(message.DeliverySENT).SetAgentID(a.ID)
			}
			messages = append(messages, m)
			items = append(items, db.TimelineItem.Create().SetType(timelineitem.TypeMESSAGE).SetAt(at).SetConversationID(conv).SetCustomerID(cus).SetInteractionID(in).
				SetMessageID(msg).SetInternal(false))
		}
	}
	for _, write := range []func() error{
		func() error { return db.Customer.CreateBulk(customers...).Exec(h.Sys) },
		func() error { return db.Conversation.CreateBulk(matters...).Exec(h.Sys) },
		func() error { return db.Access.CreateBulk(accesses...).Exec(h.Sys) },
		func() error { return db.Interaction.CreateBulk(contacts...).Exec(h.Sys) },
		func() error { return db.Message.CreateBulk(messages...).Exec(h.Sys) },
		func() error { return db.TimelineItem.CreateBulk(items...).Exec(h.Sys) },
	} {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}
