package desk

import (
	"context"
	"fmt"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/message"
	"tributary/ent/predicate"
	"tributary/ent/schema"
	"tributary/internal/gid"
)

// rank orders the stages of an outbound message: a receipt never takes one back. Evidence of arrival settles even a
// FAILED or UNCERTAIN one.
var rank = map[message.Delivery]int{
	message.DeliveryQUEUED: 1, message.DeliverySENDING: 2, message.DeliveryUNCERTAIN: 3, message.DeliveryFAILED: 3,
	message.DeliverySENT: 4, message.DeliveryDELIVERED: 5, message.DeliveryREAD: 6,
}

// receipt notes what the provider says became of a message of ours.
func (w *work) receipt(ctx context.Context, ch *ent.Channel, in channels.Inbound) (*ent.Message, error) {
	m, err := w.ownMessage(ctx, ch, in)
	if m == nil || err != nil {
		return nil, err
	}
	to, ok := map[channels.DeliveryState]message.Delivery{
		channels.DeliverySent: message.DeliverySENT, channels.DeliveryDelivered: message.DeliveryDELIVERED,
		channels.DeliveryRead: message.DeliveryREAD, channels.DeliveryFailed: message.DeliveryFAILED,
	}[in.State]
	if in.Kind == channels.InboundRead {
		to, ok = message.DeliveryREAD, true
	}
	if !ok {
		return nil, nil
	}
	if to == message.DeliveryFAILED {
		return w.bounced(ctx, m, orText(in.Reason, "the provider reports a failure"))
	}
	if rank[to] <= rank[m.Delivery] {
		return nil, nil
	}
	return w.delivered(ctx, m, to, nil, nil)
}

// codeReceipt is the code of a failure that a provider reported later.
const codeReceipt = "receipt"

// bounced notes a provider's late refusal. It counts, unless the customer has the message. Of several recipients the
// others may have it, and sending it again would give it to them twice: it is shown where the message stands.
func (w *work) bounced(ctx context.Context, m *ent.Message, reason string) (*ent.Message, error) {
	several, err := m.QueryRecipients().Limit(2).Count(ctx)
	if err != nil {
		return nil, fmt.Errorf("count recipients: %w", err)
	}
	to, why := message.DeliveryFAILED, &schema.DeliveryError{Code: codeReceipt, Message: reason, Permanent: true}
	switch {
	case m.Delivery == message.DeliveryFAILED:
		return nil, nil
	case several > 1:
		to, why.Permanent = m.Delivery, false
	case m.Delivery == message.DeliveryDELIVERED || m.Delivery == message.DeliveryREAD:
		return nil, nil
	}
	return w.delivered(ctx, m, to, why, nil)
}

// partly reports whether one of several recipients is known not to have the message: that stays shown, whatever the
// others say.
func partly(m *ent.Message) bool {
	return m.DeliveryError != nil && m.DeliveryError.Code == codeReceipt && !m.DeliveryError.Permanent
}

// ownMessage finds the outbound message that a receipt names, by our id or by the provider's.
func (w *work) ownMessage(ctx context.Context, ch *ent.Channel, in channels.Inbound) (*ent.Message, error) {
	q := w.tx.Message.Query().Where(message.ChannelID(ch.ID), message.DirectionEQ(message.DirectionOUTBOUND))
	switch id, err := gid.Parse(in.MessageID); {
	case in.MessageID != "" && err == nil:
		q.Where(message.ID(id))
	default:
		return w.targeted(ctx, q, ch, in)
	}
	m, err := q.First(ctx)
	if ent.IsNotFound(err) {
		return nil, nil // of another system, or pruned
	}
	if err != nil {
		return nil, fmt.Errorf("find message: %w", err)
	}
	return m, nil
}

// targeted finds the message of a receipt that does not know our id: by our mark, by the provider's id, by the id that
// answers name it by. Nil: it is of another system, or pruned.
func (w *work) targeted(ctx context.Context, q *ent.MessageQuery, ch *ent.Channel, in channels.Inbound) (*ent.Message, error) {
	var ways []predicate.Message
	if id, ok := markedMessage(ch.WorkspaceID, in.Marks, markDelivery); ok {
		ways = append(ways, message.ID(id))
	}
	if in.TargetID != "" {
		ways = append(ways, message.ExternalID(in.TargetID), message.RefID(in.TargetID))
	}
	for _, way := range ways {
		m, err := q.Clone().Where(way).First(ctx)
		if err == nil {
			return m, nil
		}
		if !ent.IsNotFound(err) {
			return nil, fmt.Errorf("find message: %w", err)
		}
	}
	return nil, nil
}

// delivered moves a message along its way, notes the step and tells it. The conversation is locked by nobody here: a
// delivery changes no state of it.
func (w *work) delivered(ctx context.Context, m *ent.Message, to message.Delivery, why *schema.DeliveryError, change func(*ent.MessageUpdateOne)) (*ent.Message, error) {
	step := schema.DeliveryStep{State: string(to), At: w.at}
	if why != nil {
		step.Detail = why.Message
	}
	u := w.tx.Message.UpdateOneID(m.ID).Where(message.DeliveryEQ(m.Delivery)).SetDelivery(to).SetSteps(append(m.Steps, step)).AddVersion(1).SetUpdatedAt(w.at)
	switch {
	case why != nil:
		u.SetDeliveryError(why)
	case !partly(m) || rank[to] < rank[message.DeliverySENT]: // before that it is sent anew
		u.ClearDeliveryError()
	}
	if to != m.Delivery && (to == message.DeliverySENT || m.SentAt == nil && rank[to] > rank[message.DeliverySENT]) {
		u.SetSentAt(w.at)
	}
	if change != nil {
		change(u)
	}
	n, err := u.Save(ctx)
	if ent.IsNotFound(err) {
		return nil, refuse(WrongState, "its delivery changed meanwhile")
	}
	if err != nil {
		return nil, fmt.Errorf("save delivery: %w", err)
	}
	return n, w.tellMessage(ctx, n, "delivery")
}

// tellMessage emits MESSAGE_UPDATED with the audience of its conversation.
func (w *work) tellMessage(ctx context.Context, m *ent.Message, changed ...string) error {
	i, err := w.tx.Interaction.Get(ctx, m.InteractionID)
	if err != nil {
		return fmt.Errorf("read interaction: %w", err)
	}
	c, err := w.tx.Conversation.Get(ctx, m.ConversationID)
	if err != nil {
		return fmt.Errorf("read conversation: %w", err)
	}
	w.emit(fact{typ: MessageUpdated, subject: m.ID, version: m.Version, conv: c, inter: i, changed: changed})
	return nil
}

// amend takes a customer's edit or recall of what he wrote. What was never seen is ignored: the message may come yet,
// and then it comes as it is now.
func (w *work) amend(ctx context.Context, ch *ent.Channel, in channels.Inbound) (*ent.Message, error) {
	m, err := w.tx.Message.Query().Where(message.ChannelID(ch.ID), message.DirectionEQ(message.DirectionINBOUND), message.ExternalID(in.TargetID)).First(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find message: %w", err)
	}
	at := w.at
	if !in.OccurredAt.IsZero() {
		at = in.OccurredAt.UTC().Truncate(time.Microsecond)
	}
	u := w.tx.Message.UpdateOneID(m.ID).AddVersion(1).SetUpdatedAt(w.at)
	if in.Kind == channels.InboundRecall {
		u.SetRecalledAt(at).ClearText().ClearHTML().ClearSubject().ClearQuoted().ClearUnreadable()
	} else {
		u.SetEditedAt(at).SetText(textOf(in.Parts))
	}
	n, err := u.Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("save message: %w", err)
	}
	return n, w.tellMessage(ctx, n, "text")
}
