package desk

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"tributary/ent"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/schema"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/viewer"
)

const (
	maxText        = 8000 // characters of one message, where the channel says no other
	maxAttachments = 10
)

// Sent is the outcome of SendMessage: the message, or what the author has not seen.
type Sent struct {
	Message gid.ID
	Missed  []gid.ID
}

type sendArgs struct {
	Message gid.ID `json:"message"`
}

// SendMessage queues an agent's message and answers at once: row, job and event are one transaction. On our own surface
// it is SENT when it is committed, for there is no provider to fail.
func (d *Desk) SendMessage(ctx context.Context, interactionID gid.ID, in MessageInput, key *string) (Sent, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return Sent{}, err
	}
	v := viewer.From(ctx)
	if v.Kind == viewer.KindApp && key == nil {
		return Sent{}, refuse(Required, "app keys send with an idempotency key", "idempotencyKey")
	}
	text, err := checkMessage(in)
	if err != nil {
		return Sent{}, err
	}
	var missed []gid.ID
	id, err := d.once(ctx, key, []any{"messageSend", interactionID, in}, func(ctx context.Context, w *work) (gid.ID, error) {
		missed = nil
		c, i, err := w.lockInteraction(ctx, interactionID)
		if err != nil {
			return gid.ID{}, fieldOf(err, "interactionId")
		}
		if err := firstError(withheld(ctx, i, "interactionId"), w.maySend(ctx, i)); err != nil {
			return gid.ID{}, err
		}
		if missed, err = w.unseen(ctx, i, in); err != nil {
			return gid.ID{}, err
		}
		m, err := w.outbound(ctx, c, i, text, in)
		if err != nil {
			return gid.ID{}, err
		}
		return m.ID, nil
	})
	return Sent{Message: id, Missed: missed}, err
}

func checkMessage(in MessageInput) (string, error) {
	text := ""
	if in.Text != nil {
		text = clean.Text(*in.Text)
	}
	switch {
	case strings.TrimSpace(text) == "" && len(in.AttachmentIds) == 0:
		return "", refuse(Required, "a message has a text or a file", "input", "text")
	case utf8.RuneCountInString(text) > maxText:
		return "", refuse(TooLong, fmt.Sprintf("a text has at most %d characters", maxText), "input", "text")
	case len(in.AttachmentIds) > maxAttachments:
		return "", refuse(LimitReached, fmt.Sprintf("a message has at most %d files", maxAttachments), "input", "attachmentIds")
	}
	return text, nil
}

// maySend: who serves it writes, who joined it as consultant and a supervisor, too; where nobody serves a paused one,
// whoever sees it. What waits must be taken first, but who handed it over and stayed goes on (MODEL 7).
func (w *work) maySend(ctx context.Context, i *ent.Interaction) error {
	if waits(i) {
		stayed, err := w.consults(ctx, i, viewer.From(ctx).Actor)
		if err != nil || stayed {
			return err
		}
	}
	switch i.State {
	case interaction.StateACTIVE, interaction.StateWRAP_UP:
		if ok, err := w.canWrite(ctx, i); ok || err != nil {
			return err
		}
		r := refuse(ServedByOthers, "another agent serves it: join it to write", "interactionId")
		if i.AgentID != nil {
			r.ConflictID = *i.AgentID
		}
		return r
	case interaction.StatePAUSED:
		return nil
	case interaction.StateENDED:
		return refuse(WrongState, "the contact is over", "interactionId")
	default:
		return refuse(WrongState, "nobody serves it yet: take it first", "interactionId")
	}
}

// unseen guards against answering what one has not read.
func (w *work) unseen(ctx context.Context, i *ent.Interaction, in MessageInput) ([]gid.ID, error) {
	if in.SeenUpTo == nil || in.SendAnyway != nil && *in.SendAnyway {
		return nil, nil
	}
	seen, err := w.tx.Message.Query().Where(message.ID(*in.SeenUpTo), message.InteractionID(i.ID)).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, notFound("message in this interaction", "input", "seenUpTo")
	}
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	ids, err := w.tx.Message.Query().Where(message.InteractionID(i.ID), message.NumberGT(seen.Number), message.DirectionEQ(message.DirectionINBOUND)).
		Order(ent.Asc(message.FieldNumber)).Limit(100).IDs(ctx)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	if len(ids) > 0 {
		return ids, &Refusal{Code: UnseenMessages, Message: "newer messages came in", Field: []string{"input", "seenUpTo"}, Retryable: true}
	}
	return nil, nil
}

// outbound writes the message, its job and what it means for interaction and conversation.
func (w *work) outbound(ctx context.Context, c *ent.Conversation, i *ent.Interaction, text string, in MessageInput) (*ent.Message, error) {
	ch, o, err := w.wayOut(ctx, i, text)
	if err != nil {
		return nil, err
	}
	m, err := w.writeOutbound(ctx, c, i, text, in, o)
	if err != nil {
		return nil, err
	}
	if !o.surface() {
		_, _, err = jobs.Enqueue(ctx, w.tx, jobs.New{Kind: jobSend, Group: "out|" + i.ID.String(), Unique: m.ID.String(), Args: sendArgs{m.ID}, Subject: m.ID, Channel: ch.ID})
		if err != nil {
			return nil, err
		}
	}
	first := i.FirstRespondedAt == nil
	u := w.tx.Interaction.UpdateOneID(i.ID).SetLastNumber(m.Number).ClearUnansweredSince().AddVersion(1).SetUpdatedAt(w.at)
	if first {
		u.SetFirstRespondedAt(w.at)
	}
	if i, err = u.Save(ctx); err != nil {
		return nil, fmt.Errorf("save interaction: %w", err)
	}
	if err := w.pauseLater(ctx, i); err != nil {
		return nil, err
	}
	w.emit(fact{typ: MessageCreated, subject: m.ID, version: m.Version, conv: c, inter: i})
	w.told(c, i, gid.ID{}, "messages")
	_, err = w.settle(ctx, c, func(u *ent.ConversationUpdateOne) {
		u.SetLastMessageID(m.ID).SetLastMessageAt(w.at)
		if c.FirstRespondedAt == nil {
			u.SetFirstRespondedAt(w.at)
		}
	})
	return m, err
}

func errNoAddress() *Refusal {
	return refuse(IdentityUnreachable, "there is no address to send to", "interactionId")
}

// wayOut is the interaction's channel, running and able to carry the text.
func (w *work) wayOut(ctx context.Context, i *ent.Interaction, text string) (*ent.Channel, *opened, error) {
	if i.ChannelID == nil {
		return nil, nil, errNoAddress()
	}
	ch, err := w.tx.Channel.Get(ctx, *i.ChannelID)
	if err != nil {
		return nil, nil, fmt.Errorf("read channel: %w", err)
	}
	o, err := w.runningChannel(ctx, ch)
	if err != nil {
		return nil, nil, refuse(ChannelUnavailable, "the channel's settings do not work", "interactionId")
	}
	if !o.carriesText() {
		return nil, nil, refuse(NotSupported, "nothing can be written by this channel", "interactionId")
	}
	if i.IdentityID == nil {
		return nil, nil, errNoAddress()
	}
	if l := o.capabilities().MaxText; !l.Allows(text) {
		return nil, nil, refuse(TooLong, fmt.Sprintf("this channel carries at most %d %s", l.Max, l.Unit), "input", "text")
	}
	return ch, o, nil
}

func (w *work) writeOutbound(ctx context.Context, c *ent.Conversation, i *ent.Interaction, text string, in MessageInput, o *opened) (*ent.Message, error) {
	who, err := w.tx.Identity.UpdateOneID(*i.IdentityID).AddVisibleCount(1).Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("count identity's messages: %w", err)
	}
	if in.InReplyToID != nil {
		ok, err := w.tx.Message.Query().Where(message.ID(*in.InReplyToID), message.ConversationID(c.ID)).Exist(ctx)
		if err != nil {
			return nil, fmt.Errorf("read message: %w", err)
		}
		if !ok {
			return nil, notFound("message in this conversation", "input", "inReplyToId")
		}
	}
	state := message.DeliveryQUEUED
	if o.surface() {
		state = message.DeliverySENT
	}
	row := w.tx.Message.Create().SetConversationID(c.ID).SetInteractionID(i.ID).SetNillableChannelID(i.ChannelID).SetChannelKind(i.ChannelKind).
		SetDirection(message.DirectionOUTBOUND).SetNumber(i.LastNumber + 1).SetText(text).SetNillableInReplyToID(in.InReplyToID).SetIdentityID(who.ID).
		SetVisibleNumber(who.VisibleCount).SetDelivery(state).SetSteps([]schema.DeliveryStep{{State: string(state), At: w.at}}).
		SetNillableCausedByKey(w.key).SetCreatedAt(w.at)
	if o.surface() {
		row.SetSentAt(w.at)
	}
	to, err := w.answering(ctx, i, in, o.capabilities())
	if err != nil {
		return nil, err
	}
	if to != nil {
		row.SetNillableSubject(some(to.subject)).SetRefs(to.refs)
		if in.InReplyToID == nil {
			row.SetNillableInReplyToID(to.inReplyToID)
		}
	}
	switch v := viewer.From(ctx); v.Kind {
	case viewer.KindApp:
		row.SetAppID(v.Actor)
	case viewer.KindAgent:
		row.SetAgentID(v.Actor)
	}
	m, err := row.Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	if err := w.sentTo(ctx, c, m, to); err != nil {
		return nil, err
	}
	if err := w.bindUploads(ctx, m, in.AttachmentIds); err != nil {
		return nil, err
	}
	return m, w.said(ctx, c, i, m)
}

// pauseLater sets the timer of the queue's pauseAfterReply. A customer's word in between makes it find nothing to do.
func (w *work) pauseLater(ctx context.Context, i *ent.Interaction) error {
	if i.State != interaction.StateACTIVE || i.QueueID == nil {
		return nil
	}
	q, err := w.tx.Queue.Get(ctx, *i.QueueID)
	if err != nil {
		return fmt.Errorf("read queue: %w", err)
	}
	if q.PauseAfterReplySeconds == nil {
		return nil
	}
	_, _, err = jobs.Enqueue(ctx, w.tx, jobs.New{
		Kind: jobPause, Args: timerArgs{Interaction: i.ID, Number: i.LastNumber, Since: w.at}, Subject: i.ID,
		RunAt: w.at.Add(time.Duration(*q.PauseAfterReplySeconds) * time.Second),
	})
	return err
}

// SendAgain sends an UNCERTAIN or FAILED message once more, by a person's choice.
func (d *Desk) SendAgain(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.settleMessage(ctx, id, key, "messageSendAgain", func(ctx context.Context, w *work, m *ent.Message) error {
		if m.Delivery != message.DeliveryUNCERTAIN && m.Delivery != message.DeliveryFAILED {
			return refuse(WrongState, "only an UNCERTAIN or FAILED message is sent again", "id")
		}
		if _, err := w.delivered(ctx, m, message.DeliveryQUEUED, nil, nil); err != nil {
			return err
		}
		_, _, err := jobs.Enqueue(ctx, w.tx, jobs.New{Kind: jobSend, Group: "out|" + m.InteractionID.String(), Unique: m.ID.String(), Args: sendArgs{m.ID}, Subject: m.ID, Channel: *m.ChannelID})
		return err
	})
}

// SettleMessage says what became of an UNCERTAIN message.
func (d *Desk) SettleMessage(ctx context.Context, id gid.ID, arrived bool, key *string) (gid.ID, error) {
	return d.settleMessage(ctx, id, key, fmt.Sprint("messageSettle ", arrived), func(ctx context.Context, w *work, m *ent.Message) error {
		if m.Delivery != message.DeliveryUNCERTAIN {
			return refuse(WrongState, "only an UNCERTAIN message is settled", "id")
		}
		if arrived {
			_, err := w.delivered(ctx, m, message.DeliverySENT, nil, nil)
			return err
		}
		_, err := w.delivered(ctx, m, message.DeliveryFAILED, &schema.DeliveryError{Code: "settled", Message: "a person found that it did not arrive", Permanent: true}, nil)
		return err
	})
}

func (d *Desk) settleMessage(ctx context.Context, id gid.ID, key *string, name string, f func(context.Context, *work, *ent.Message) error) (gid.ID, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{name, id}, func(ctx context.Context, w *work) (gid.ID, error) {
		m, err := w.tx.Message.Query().Where(message.ID(id), message.DirectionEQ(message.DirectionOUTBOUND)).Only(ctx)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("message", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read message: %w", err)
		}
		return id, f(ctx, w, m)
	})
}

// fieldOf renames the argument that a refusal is about.
func fieldOf(err error, field ...string) error {
	if r, ok := RefusalOf(err); ok && len(r.Field) == 1 && r.Field[0] == "id" {
		r.Field = field
	}
	return err
}
