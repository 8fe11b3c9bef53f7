package desk

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/participant"
	"tributary/ent/timelineitem"
	"tributary/internal/blob"
	"tributary/internal/gid"
)

func isNoRows(err error) bool { return errors.Is(err, stdsql.ErrNoRows) }

// arrival is a customer's message on its way in, from a provider or from our own surface.
type arrival struct {
	channel  *ent.Channel
	identity *ent.Identity
	in       channels.Inbound
	live     bool     // the customer waits at the other end now
	uploads  []gid.ID // files that a visitor put up before
	thread   thread
	files    map[string]blob.Info // what came with the event and lies in the file store, by key
	inFlow   bool                 // a flow serves first
	regains  *lost                // the place of a call that was lost
}

// arrive takes a message in: conversation, interaction, message, routing work and events (MODEL 2 to 4).
func (w *work) arrive(ctx context.Context, a arrival) (*ent.Message, error) {
	c, i, err := w.place(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := w.participate(ctx, c, a.identity); err != nil {
		return nil, err
	}
	m, err := w.inboundMessage(ctx, c, i, a)
	if err != nil {
		return nil, err
	}
	if err := w.addressed(ctx, c, m, a.channel, a.in); err != nil {
		return nil, err
	}
	if i, err = w.wakeInteraction(ctx, i, a, m.Number); err != nil {
		return nil, err
	}
	w.emit(fact{typ: MessageCreated, subject: m.ID, version: m.Version, conv: c, inter: i})
	w.told(c, i, gid.ID{}, "state", "messages")
	_, err = w.settle(ctx, c, func(u *ent.ConversationUpdateOne) { u.SetLastMessageID(m.ID).SetLastMessageAt(w.at) })
	if err != nil {
		return nil, err
	}
	return m, w.touchCustomer(ctx, c.CustomerID)
}

// participate notes who takes part, once per identity.
func (w *work) participate(ctx context.Context, c *ent.Conversation, who *ent.Identity) error {
	role := participant.RoleCUSTOMER
	if who.CustomerID != c.CustomerID {
		role = participant.RoleTHIRD_PARTY
	}
	return w.takesPart(ctx, c, who, role)
}

// inboundMessage writes the message with its files and its timeline item, and gives it its numbers.
func (w *work) inboundMessage(ctx context.Context, c *ent.Conversation, i *ent.Interaction, a arrival) (*ent.Message, error) {
	who, err := w.tx.Identity.UpdateOneID(a.identity.ID).AddVisibleCount(1).SetLastSeenAt(w.at).Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("count identity's messages: %w", err)
	}
	if who.CustomerID != a.identity.CustomerID || who.GivenToID != nil { // joined another customer meanwhile
		return nil, errAgain
	}
	row := w.tx.Message.Create().SetConversationID(c.ID).SetInteractionID(i.ID).SetNillableChannelID(i.ChannelID).SetChannelKind(i.ChannelKind).
		SetDirection(message.DirectionINBOUND).SetNumber(i.LastNumber + 1).SetCustomerID(who.CustomerID).SetSenderID(who.ID).
		SetIdentityID(who.ID).SetVisibleNumber(who.VisibleCount).SetDelivery(message.DeliveryRECEIVED).SetAutomatic(a.in.Automatic).
		SetNillableCausedByKey(w.key).SetCreatedAt(w.at).SetText(textOf(a.in.Parts))
	if a.in.ExternalID != "" {
		row.SetExternalID(a.in.ExternalID)
	}
	w.lettered(row, a)
	if !a.in.OccurredAt.IsZero() {
		row.SetOccurredAt(a.in.OccurredAt.UTC().Truncate(time.Microsecond))
	}
	if id, ok := w.answered(ctx, i, a.in.InReplyTo); ok {
		row.SetInReplyToID(id)
	}
	m, err := row.Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	if err := w.attach(ctx, m, a); err != nil {
		return nil, err
	}
	return m, w.said(ctx, c, i, m)
}

// lettered sets what messages of kinds with subjects and references have beside their text.
func (w *work) lettered(row *ent.MessageCreate, a arrival) {
	row.SetNillableSubject(some(a.in.Subject)).SetNillableHTML(some(a.in.HTML)).SetNillableQuoted(some(a.in.Quoted)).
		SetNillableUnreadable(some(a.in.Unreadable)).SetNillableRefID(some(a.in.RefID))
	warnings := a.in.Warnings
	if len(a.in.To)+len(a.in.Cc)+len(a.in.ReplyTo) > maxAddressed {
		warnings = append(slices.Clone(warnings), channels.WarnCut)
	}
	if len(warnings) > 0 {
		row.SetWarnings(warnings)
	}
	if len(a.in.References) > 0 {
		row.SetRefs(a.in.References)
	}
	if a.in.SameID != "" {
		row.SetSameID(sameBlind(a.channel.WorkspaceID, a.in.SameID))
	}
}

// some is a text, nil where there is none.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// said puts a message into the timeline.
func (w *work) said(ctx context.Context, c *ent.Conversation, i *ent.Interaction, m *ent.Message) error {
	err := w.tx.TimelineItem.Create().SetType(timelineitem.TypeMESSAGE).SetAt(w.at).SetConversationID(c.ID).SetCustomerID(c.CustomerID).
		SetInteractionID(i.ID).SetMessageID(m.ID).SetNillableAgentID(m.AgentID).SetInternal(false).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	return nil
}

// answered finds the message of ours that the provider's id names.
func (w *work) answered(ctx context.Context, i *ent.Interaction, externalID string) (gid.ID, bool) {
	if externalID == "" || i.ChannelID == nil {
		return gid.ID{}, false
	}
	id, err := w.tx.Message.Query().Where(message.ChannelID(*i.ChannelID), message.ExternalID(externalID), message.ConversationID(i.ConversationID)).FirstID(ctx)
	return id, err == nil
}

func textOf(parts []channels.Part) string {
	out := ""
	for _, p := range parts {
		line := p.Text
		if line == "" && p.Type == channels.PartLink {
			line = p.URL
		}
		if line == "" {
			continue
		}
		if out != "" {
			out += "\n"
		}
		out += line
	}
	return out
}

// attach binds uploaded files and announces those that a worker will fetch from the provider.
func (w *work) attach(ctx context.Context, m *ent.Message, a arrival) error {
	if err := w.bindUploads(ctx, m, a.uploads); err != nil {
		return err
	}
	for _, ref := range a.in.Media() {
		row := w.tx.Attachment.Create().SetMessageID(m.ID).SetName(ref.Name).SetContentType(orText(ref.ContentType, "application/octet-stream")).
			SetKind(kindOfMedia(ref.Kind)).SetBytes(ref.Size).SetState(attachment.StateFETCHING).SetContentID(ref.ContentID).SetCreatedAt(w.at)
		if ref.Name == "" {
			row.SetName(string(ref.Kind))
		}
		if ref.Blob != "" { // it came with the event
			hasFile(row, ref, a.files)
			if err := row.Exec(ctx); err != nil {
				return fmt.Errorf("write attachment: %w", err)
			}
			continue
		}
		row.SetMedia(toMap(ref))
		f, err := row.Save(ctx)
		if err != nil {
			return fmt.Errorf("write attachment: %w", err)
		}
		if err := w.enqueueFetch(ctx, f, *m.ChannelID); err != nil {
			return err
		}
	}
	return nil
}

// hasFile makes an attachment of a file that lies in the store; its content says what it is.
func hasFile(row *ent.AttachmentCreate, ref channels.MediaRef, files map[string]blob.Info) {
	info, ok := files[ref.Blob]
	if !ok {
		row.SetState(attachment.StateFAILED).SetError("the file is missing in the store")
		return
	}
	row.SetState(attachment.StateREADY).SetBlobKey(ref.Blob).SetBytes(info.Bytes).SetSha256(info.SHA256).SetContentType(info.ContentType).SetKind(kindOfType(info.ContentType))
}

// bindUploads takes files that the caller put up and that belong to no message yet.
func (w *work) bindUploads(ctx context.Context, m *ent.Message, ids []gid.ID) error {
	if len(ids) == 0 {
		return nil
	}
	creator := m.SenderID
	if m.Direction == message.DirectionOUTBOUND {
		creator = m.AgentID
		if creator == nil {
			creator = m.AppID
		}
	}
	n, err := w.tx.Attachment.Update().Where(attachment.IDIn(ids...), attachment.StateEQ(attachment.StateREADY), attachment.MessageIDIsNil(),
		attachment.CreatorID(*creator)).SetMessageID(m.ID).Save(ctx)
	if err != nil {
		return fmt.Errorf("bind uploads: %w", err)
	}
	if n != len(ids) {
		return refuse(NotFound, "a file is absent, used already or not put up yet", "input", "attachmentIds")
	}
	return nil
}

// wakeInteraction counts the message and moves the interaction as a customer's word moves it.
func (w *work) wakeInteraction(ctx context.Context, i *ent.Interaction, a arrival, number int) (*ent.Interaction, error) {
	count := func(u *ent.InteractionUpdateOne) {
		u.SetLastNumber(number)
		if i.State != interaction.StateENDED {
			u.SetLive(a.live)
		}
		if !a.in.Automatic && i.UnansweredSince == nil {
			u.SetUnansweredSince(w.at)
		}
	}
	// What ended, and every machine's word, only counts.
	if _, moves := states[i.State][onWrite]; !moves || a.in.Automatic {
		u := w.tx.Interaction.UpdateOneID(i.ID).AddVersion(1).SetUpdatedAt(w.at)
		count(u)
		n, err := u.Save(ctx)
		if err != nil {
			return nil, fmt.Errorf("count message: %w", err)
		}
		return n, nil
	}
	if i.State != interaction.StatePAUSED {
		n, err := w.move(ctx, i, onWrite, func(u *ent.InteractionUpdateOne) {
			count(u)
			u.ClearWrapUpUntil()
		})
		if err != nil || i.UnansweredSince != nil {
			return n, err
		}
		return n, w.silentLater(ctx, n)
	}
	if i.QueueID == nil { // its queue was deleted while nothing waited in it
		q, err := w.queueOf(ctx, a.channel)
		if err != nil {
			return nil, err
		}
		i.QueueID = &q.ID
	}
	sticky, err := w.stickyOf(ctx, i)
	if err != nil {
		return nil, err
	}
	return w.move(ctx, i, onWrite, func(u *ent.InteractionUpdateOne) {
		u.SetQueueID(*i.QueueID)
		count(u)
		w.requeue(u, i)
		u.SetQueuedAt(w.at).SetPreferUntil(w.at.Add(sticky))
	})
}

// requeue sets what every return to the queue sets; who served last stands as preferred.
func (w *work) requeue(u *ent.InteractionUpdateOne, i *ent.Interaction) {
	u.ClearAgentID().SetCost(0).SetRefused([]gid.ID{}).ClearOpenOfferID()
	if last := lastServer(i); last != nil {
		u.SetPreviousAgentID(*last).SetPreferID(*last)
	}
}

// stickyOf is how long the interaction's queue prefers the last agent.
func (w *work) stickyOf(ctx context.Context, i *ent.Interaction) (time.Duration, error) {
	if i.QueueID == nil {
		return 0, nil
	}
	q, err := w.tx.Queue.Get(ctx, *i.QueueID)
	if err != nil {
		return 0, fmt.Errorf("read queue: %w", err)
	}
	return time.Duration(q.StickySeconds) * time.Second, nil
}

func lastServer(i *ent.Interaction) *gid.ID {
	if i.AgentID != nil {
		return i.AgentID
	}
	return i.PreviousAgentID
}

func orText(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
