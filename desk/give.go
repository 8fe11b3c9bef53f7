package desk

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/ent/idempotencykey"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/offer"
	"tributary/ent/participant"
	"tributary/ent/presence"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

// give lets the identity that a visitor proved to be take over all that was said under his anonymous one: contacts,
// messages, files, the memory of his calls. Everything is locked and of one customer.
func (w *work) give(ctx context.Context, g *ground, ch *ent.Channel, from, to gid.ID) error {
	if err := w.oneChat(ctx, g, ch, from, to); err != nil {
		return err
	}
	if err := w.giveContacts(ctx, ch, from, to); err != nil {
		return err
	}
	if err := w.giveParticipants(ctx, from, to); err != nil {
		return err
	}
	if err := w.giveMessages(ctx, from, to); err != nil {
		return err
	}
	if err := w.giveKeys(ctx, from, to); err != nil {
		return err
	}
	err := w.tx.Attachment.Update().Where(attachment.CreatorID(from)).SetCreatorID(to).Exec(ctx)
	if err != nil {
		return fmt.Errorf("give files: %w", err)
	}
	err = w.tx.Identity.UpdateOneID(from).SetGivenToID(to).SetVisibleCount(0).SetReadUpTo(0).SetDeliveredUpTo(0).AddVersion(1).Exec(ctx)
	if err != nil {
		return fmt.Errorf("give identity: %w", err)
	}
	return nil
}

// oneChat makes one contact of two open ones of the same visitor on the same site, as they would have been had he been
// known: what nobody has accepted goes into the other one. Two that were accepted stay, each with its server.
func (w *work) oneChat(ctx context.Context, g *ground, ch *ent.Channel, from, to gid.ID) error {
	open, err := w.tx.Interaction.Query().Where(interaction.ChannelID(ch.ID), interaction.StateNEQ(interaction.StateENDED), interaction.Or(
		interaction.IdentityID(from), interaction.ThreadKey(chatKey(ch.WorkspaceID, to)))).Order(ent.Asc(interaction.FieldID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read chats: %w", err)
	}
	if len(open) != 2 || was(open[0]) && was(open[1]) {
		return nil
	}
	if alike, err := w.restrictedAlike(ctx, open[0], open[1]); err != nil || !alike {
		return err // what was said behind a restriction stays behind it
	}
	goes, stays := open[0], open[1]
	if was(goes) || !was(stays) && *stays.IdentityID == from {
		goes, stays = stays, goes
	}
	return w.fold(ctx, g, goes, stays)
}

// fold puts what was said in a contact that nobody has accepted behind what was said in another one, and ends it.
func (w *work) fold(ctx context.Context, g *ground, goes, stays *ent.Interaction) error {
	a, b := g.conversation(goes.ConversationID), g.conversation(stays.ConversationID)
	if a == nil || b == nil {
		return errAgain
	}
	var err error
	if goes.OpenOfferID != nil {
		if a, err = w.withdraw(ctx, a, goes, offer.OutcomeWITHDRAWN); err != nil {
			return err
		}
		g.put(a)
	}
	said, err := w.tx.Message.Query().Where(message.InteractionID(goes.ID)).Order(ent.Asc(message.FieldNumber)).All(ctx)
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	last := stays.LastNumber
	for _, m := range said {
		last++
		if err := w.tx.Message.UpdateOneID(m.ID).SetInteractionID(stays.ID).SetConversationID(b.ID).SetNumber(last).Exec(ctx); err != nil {
			return fmt.Errorf("move message: %w", err)
		}
	}
	err = w.tx.TimelineItem.Update().Where(timelineitem.InteractionID(goes.ID), timelineitem.TypeEQ(timelineitem.TypeMESSAGE)).
		SetInteractionID(stays.ID).SetConversationID(b.ID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move timeline: %w", err)
	}
	if err := w.endAssignments(ctx, goes.ID); err != nil {
		return err
	}
	owed := goes.UnansweredSince
	ended, err := w.move(ctx, goes, onLeave, func(u *ent.InteractionUpdateOne) { u.SetLastNumber(0).ClearUnansweredSince() })
	if err != nil {
		return err
	}
	if stays, err = w.heard(ctx, stays, last, owed); err != nil {
		return err
	}
	return w.folded(ctx, g, ended, stays, goes.IdentityID)
}

// heard moves a contact as the words that came into it move it.
func (w *work) heard(ctx context.Context, i *ent.Interaction, last int, owed *time.Time) (*ent.Interaction, error) {
	count := func(u *ent.InteractionUpdateOne) {
		u.SetLastNumber(last).ClearWrapUpUntil()
		if owed != nil && (i.UnansweredSince == nil || owed.Before(*i.UnansweredSince)) {
			u.SetUnansweredSince(*owed)
		}
	}
	if owed == nil {
		n, err := w.tx.Interaction.UpdateOneID(i.ID).SetLastNumber(last).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
		if err != nil {
			return nil, fmt.Errorf("count messages: %w", err)
		}
		return n, nil
	}
	if i.State != interaction.StatePAUSED {
		n, err := w.move(ctx, i, onWrite, count)
		if err != nil || i.UnansweredSince != nil {
			return n, err
		}
		return n, w.silentLater(ctx, n)
	}
	sticky, err := w.stickyOf(ctx, i)
	if err != nil {
		return nil, err
	}
	return w.move(ctx, i, onWrite, func(u *ent.InteractionUpdateOne) {
		count(u)
		w.requeue(u, i)
		u.SetQueuedAt(w.at).SetPreferUntil(w.at.Add(sticky))
	})
}

// folded settles both conversations and says what became of the contacts.
func (w *work) folded(ctx context.Context, g *ground, ended, stays *ent.Interaction, speaker *gid.ID) error {
	for _, i := range []*ent.Interaction{ended, stays} {
		c, err := w.resettle(ctx, g.conversation(i.ConversationID))
		if err != nil {
			return err
		}
		g.put(c)
		w.told(c, i, gid.ID{}, "state", "messages")
	}
	if speaker == nil || ended.ConversationID == stays.ConversationID {
		return nil
	}
	who, err := w.tx.Identity.Get(ctx, *speaker)
	if err != nil {
		return fmt.Errorf("read identity: %w", err)
	}
	return w.participate(ctx, g.conversation(stays.ConversationID), who)
}

// giveContacts hands interactions over with their thread: the next word finds them under the proved identity. One that
// was accepted beside another of the same visitor keeps its own thread.
func (w *work) giveContacts(ctx context.Context, ch *ent.Channel, from, to gid.ID) error {
	key := chatKey(ch.WorkspaceID, to)
	taken, err := w.tx.Interaction.Query().Where(interaction.ChannelID(ch.ID), interaction.ThreadKey(key), interaction.StateNEQ(interaction.StateENDED)).Exist(ctx)
	if err != nil {
		return fmt.Errorf("read chats: %w", err)
	}
	online, err := w.tx.Presence.Query().Where(presence.SubjectID(to), presence.SocketsGT(0), presence.SeenAtGT(w.at.Add(-LostAfter))).Exist(ctx)
	if err != nil {
		return fmt.Errorf("read presence: %w", err)
	}
	rows, err := w.tx.Interaction.Query().Where(interaction.IdentityID(from)).All(ctx)
	if err != nil {
		return fmt.Errorf("read contacts: %w", err)
	}
	for _, i := range rows {
		u := w.tx.Interaction.UpdateOneID(i.ID).SetIdentityID(to).AddVersion(1).SetUpdatedAt(w.at)
		if i.State != interaction.StateENDED {
			u.SetLive(online) // his next socket, as who he is now, says it again
		}
		if i.State == interaction.StateENDED || !taken {
			u.SetThreadKey(key).SetThread(personal.Of(to.String()))
		}
		if err := u.Exec(ctx); err != nil {
			return fmt.Errorf("give contact: %w", err)
		}
	}
	return nil
}

func (w *work) giveParticipants(ctx context.Context, from, to gid.ID) error {
	rows, err := w.tx.Participant.Query().Where(participant.IdentityIDIn(from, to)).All(ctx)
	if err != nil {
		return fmt.Errorf("read participants: %w", err)
	}
	known := map[gid.ID]bool{}
	for _, p := range rows {
		known[p.ConversationID] = known[p.ConversationID] || p.IdentityID == to
	}
	for _, p := range rows {
		switch {
		case p.IdentityID == to:
		case known[p.ConversationID]:
			err = w.tx.Participant.DeleteOneID(p.ID).Exec(ctx)
		default:
			err = w.tx.Participant.UpdateOneID(p.ID).SetIdentityID(to).Exec(ctx)
		}
		if err != nil {
			return fmt.Errorf("give participant: %w", err)
		}
	}
	return nil
}

// giveKeys lets a call that is repeated under the proved identity have no second effect.
func (w *work) giveKeys(ctx context.Context, from, to gid.ID) error {
	var theirs, ours []string
	err := w.tx.IdempotencyKey.Query().Where(idempotencykey.ActorID(from)).Select(idempotencykey.FieldKey).Scan(ctx, &theirs)
	if err == nil && len(theirs) > 0 {
		err = w.tx.IdempotencyKey.Query().Where(idempotencykey.ActorID(to), idempotencykey.KeyIn(theirs...)).Select(idempotencykey.FieldKey).Scan(ctx, &ours)
	}
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	theirs = slices.DeleteFunc(theirs, func(k string) bool { return slices.Contains(ours, k) })
	if len(theirs) == 0 {
		return nil
	}
	if err := w.tx.IdempotencyKey.Update().Where(idempotencykey.ActorID(from), idempotencykey.KeyIn(theirs...)).SetActorID(to).Exec(ctx); err != nil {
		return fmt.Errorf("give keys: %w", err)
	}
	return nil
}

// giveMessages numbers what both identities said and heard in one row without gaps, in the order of time.
func (w *work) giveMessages(ctx context.Context, from, to gid.ID) error {
	first, err := w.tx.Message.Query().Where(message.IdentityID(from)).Order(ent.Asc(message.FieldCreatedAt)).First(ctx)
	if ent.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	// What the known one saw before keeps its numbers.
	before, err := w.tx.Message.Query().Where(message.IdentityID(to), message.CreatedAtLT(first.CreatedAt)).Count(ctx)
	if err != nil {
		return fmt.Errorf("count messages: %w", err)
	}
	rows, err := w.tx.Message.Query().Where(message.Or(message.IdentityID(from), message.And(message.IdentityID(to), message.CreatedAtGTE(first.CreatedAt)))).
		Order(ent.Asc(message.FieldCreatedAt, message.FieldID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	var changed []*ent.Message
	ids := []gid.ID{}
	for n, m := range rows {
		if *m.IdentityID == from || *m.VisibleNumber != before+n+1 {
			changed, ids = append(changed, m), append(ids, m.ID)
		}
	}
	if err := w.tx.Message.Update().Where(message.IDIn(ids...)).ClearVisibleNumber().SetIdentityID(to).Exec(ctx); err != nil {
		return fmt.Errorf("give messages: %w", err)
	}
	if err := w.tx.Message.Update().Where(message.SenderID(from)).SetSenderID(to).Exec(ctx); err != nil {
		return fmt.Errorf("give messages: %w", err)
	}
	for n, m := range rows {
		if !slices.Contains(changed, m) {
			continue
		}
		now, err := w.tx.Message.UpdateOneID(m.ID).SetVisibleNumber(before + n + 1).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
		if err != nil {
			return fmt.Errorf("number message: %w", err)
		}
		if err := w.tellMessage(ctx, now, "number"); err != nil {
			return err
		}
	}
	return w.places(ctx, to, rows, before)
}

// places sets how far the proved identity has read and got: up to the first message that is open to either side.
func (w *work) places(ctx context.Context, to gid.ID, rows []*ent.Message, before int) error {
	who, err := w.tx.Identity.Get(ctx, to)
	if err != nil {
		return fmt.Errorf("read identity: %w", err)
	}
	total := before + len(rows)
	read, got := total, total
	for n := len(rows) - 1; n >= 0; n-- {
		if rows[n].Direction != message.DirectionOUTBOUND {
			continue
		}
		switch rows[n].Delivery {
		case message.DeliveryREAD:
		case message.DeliveryDELIVERED:
			read = before + n
		default:
			read, got = before+n, before+n
		}
	}
	if who.ReadUpTo < before {
		read = min(read, who.ReadUpTo)
	}
	if who.DeliveredUpTo < before {
		got = min(got, who.DeliveredUpTo)
	}
	err = w.tx.Identity.Update().Where(identity.ID(to)).SetVisibleCount(total).SetReadUpTo(read).SetDeliveredUpTo(got).SetLastSeenAt(w.at).AddVersion(1).Exec(ctx)
	if err != nil {
		return fmt.Errorf("save places: %w", err)
	}
	return nil
}

// was reports whether anybody has ever served a contact, also one that waits again.
func was(i *ent.Interaction) bool { return accepted(i) || i.AcceptedAt != nil }
