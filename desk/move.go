package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/assignment"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/note"
	"tributary/ent/offer"
	"tributary/ent/participant"
	"tributary/ent/predicate"
	"tributary/ent/recipient"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
)

// Moving contacts from one conversation to another. The locks are taken in one order, by whoever needs several:
// conversations by id, identities by id, then customers, then agents' loads. Whoever finds that something moved before
// he had its lock begins anew, instead of waiting for one more lock.

// errAgain says that what a transaction stood on was moved before its locks were held: it is run again from the start.
var errAgain = errors.New("what this stood on moved meanwhile")

// stays refuses a conversation whose contacts went into another one before it was locked.
func stays(c *ent.Conversation) error {
	if c.MergedIntoID != nil {
		return errAgain
	}
	return nil
}

// lockConversations locks all that match, in the order of their ids.
func (w *work) lockConversations(ctx context.Context, which ...predicate.Conversation) ([]*ent.Conversation, error) {
	q := w.tx.Conversation.Query().Where(which...).Order(ent.Asc(conversation.FieldID))
	if w.pg {
		q.ForUpdate()
	}
	rows, err := q.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock conversations: %w", err)
	}
	return rows, nil
}

// lockTheirs locks the conversations of interactions before they are taken one by one.
func (w *work) lockTheirs(ctx context.Context, interactions []gid.ID) error {
	if !w.pg || len(interactions) < 2 {
		return nil
	}
	_, err := w.lockConversations(ctx, conversation.HasInteractionsWith(interaction.IDIn(interactions...)))
	return err
}

// relocate moves interactions with their messages, timeline, offers, participants and costs. Both conversations are
// locked; sight and state of both are the caller's next step. whole: everything of from goes.
func (w *work) relocate(ctx context.Context, from, to *ent.Conversation, ids []gid.ID, whole bool) error {
	if len(ids) > 0 {
		if err := w.moveRows(ctx, to, ids); err != nil {
			return err
		}
	}
	if err := w.moveParticipants(ctx, from, to, ids, whole); err != nil {
		return err
	}
	return w.recostAll(ctx, ids, from.ID, to.ID)
}

func (w *work) moveRows(ctx context.Context, to *ent.Conversation, ids []gid.ID) error {
	err := w.tx.Interaction.Update().Where(interaction.IDIn(ids...)).SetConversationID(to.ID).SetTakesMatter(false).AddVersion(1).SetUpdatedAt(w.at).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move interactions: %w", err)
	}
	if err := w.tx.Message.Update().Where(message.InteractionIDIn(ids...)).SetConversationID(to.ID).Exec(ctx); err != nil {
		return fmt.Errorf("move messages: %w", err)
	}
	err = w.tx.TimelineItem.Update().Where(timelineitem.InteractionIDIn(ids...)).SetConversationID(to.ID).SetCustomerID(to.CustomerID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move timeline: %w", err)
	}
	if err := w.tx.Offer.Update().Where(offer.InteractionIDIn(ids...)).SetConversationID(to.ID).Exec(ctx); err != nil {
		return fmt.Errorf("move offers: %w", err)
	}
	if err := w.tx.Note.Update().Where(note.InteractionIDIn(ids...)).SetConversationID(to.ID).Exec(ctx); err != nil {
		return fmt.Errorf("move notes: %w", err)
	}
	return nil
}

// moveItems moves what stands in a timeline beside all contacts, with the notes among it. Only what is in from goes.
func (w *work) moveItems(ctx context.Context, from, to *ent.Conversation, items []gid.ID) error {
	var notes []gid.ID
	err := w.tx.TimelineItem.Query().Where(timelineitem.IDIn(items...), timelineitem.ConversationID(from.ID), timelineitem.NoteIDNotNil()).
		Select(timelineitem.FieldNoteID).Scan(ctx, &notes)
	if err != nil {
		return fmt.Errorf("read notes: %w", err)
	}
	if err := w.tx.Note.Update().Where(note.IDIn(notes...)).SetConversationID(to.ID).Exec(ctx); err != nil {
		return fmt.Errorf("move notes: %w", err)
	}
	err = w.tx.TimelineItem.Update().Where(timelineitem.IDIn(items...), timelineitem.ConversationID(from.ID)).
		SetConversationID(to.ID).SetCustomerID(to.CustomerID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move timeline: %w", err)
	}
	return nil
}

// moveParticipants lets those take part who speak in what moved, since when they did, and takes those out of from who
// have nothing left there.
func (w *work) moveParticipants(ctx context.Context, from, to *ent.Conversation, ids []gid.ID, whole bool) error {
	here, err := w.tx.Participant.Query().Where(participant.ConversationID(from.ID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read participants: %w", err)
	}
	var there, moved, left []gid.ID
	err = w.tx.Participant.Query().Where(participant.ConversationID(to.ID)).Select(participant.FieldIdentityID).Scan(ctx, &there)
	if err != nil {
		return fmt.Errorf("read participants: %w", err)
	}
	if !whole {
		if moved, err = w.speakers(ctx, interaction.IDIn(ids...)); err != nil {
			return err
		}
		if left, err = w.speakers(ctx, interaction.ConversationID(from.ID)); err != nil {
			return err
		}
	}
	for _, p := range here {
		if !whole && !slices.Contains(moved, p.IdentityID) {
			continue
		}
		if err := w.moveParticipant(ctx, p, to, slices.Contains(there, p.IdentityID), slices.Contains(left, p.IdentityID)); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) moveParticipant(ctx context.Context, p *ent.Participant, to *ent.Conversation, known, stays bool) error {
	var err error
	switch {
	case known && stays:
	case known:
		err = w.tx.Participant.DeleteOneID(p.ID).Exec(ctx)
	case stays:
		err = w.tx.Participant.Create().SetConversationID(to.ID).SetIdentityID(p.IdentityID).SetCustomerID(p.CustomerID).SetRole(p.Role).SetSince(p.Since).Exec(ctx)
	default:
		err = w.tx.Participant.UpdateOneID(p.ID).SetConversationID(to.ID).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("move participant: %w", err)
	}
	return nil
}

// speakers are the identities that some interactions belong to, that spoke in them or were addressed.
func (w *work) speakers(ctx context.Context, which predicate.Interaction) ([]gid.ID, error) {
	var by, spoke []gid.ID
	err := w.tx.Interaction.Query().Where(which, interaction.IdentityIDNotNil()).Unique(true).Select(interaction.FieldIdentityID).Scan(ctx, &by)
	if err != nil {
		return nil, fmt.Errorf("read whose contacts: %w", err)
	}
	err = w.tx.Message.Query().Where(message.HasInteractionWith(which), message.SenderIDNotNil()).Unique(true).Select(message.FieldSenderID).Scan(ctx, &spoke)
	if err != nil {
		return nil, fmt.Errorf("read who spoke: %w", err)
	}
	var told []gid.ID
	err = w.tx.Recipient.Query().Where(recipient.HasMessageWith(message.HasInteractionWith(which)), recipient.RoleNEQ(recipient.RoleREPLY_TO)).
		Unique(true).Select(recipient.FieldIdentityID).Scan(ctx, &told)
	if err != nil {
		return nil, fmt.Errorf("read who was addressed: %w", err)
	}
	return unique(append(append(by, spoke...), told...)), nil
}

// sightKey is an access row: who sees by what.
type sightKey struct {
	subject gid.ID
	reason  access.Reason
}

// resight makes the access rows what the conversation's matter says (MODEL 6). Who follows goes on following.
func (w *work) resight(ctx context.Context, c *ent.Conversation) (*ent.Conversation, error) {
	want, err := w.reasons(ctx, c)
	if err != nil {
		return nil, err
	}
	rows, err := w.tx.Access.Query().Where(access.ConversationID(c.ID)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read access: %w", err)
	}
	have := map[sightKey]bool{}
	for _, r := range rows {
		have[sightKey{r.SubjectID, r.Reason}] = true
	}
	for _, k := range want {
		if !have[k] {
			if c, err = w.grant(ctx, c, k.subject, k.reason); err != nil {
				return nil, err
			}
		}
	}
	for _, r := range rows {
		if derived := r.Reason != access.ReasonFOLLOWS && r.Reason != access.ReasonTEAM; derived && !slices.Contains(want, sightKey{r.SubjectID, r.Reason}) {
			if c, err = w.revoke(ctx, c, r.SubjectID, r.Reason); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// reasons are the access rows that follow from owner, team, queues, offers and assignments.
func (w *work) reasons(ctx context.Context, c *ent.Conversation) ([]sightKey, error) {
	var out []sightKey
	add := func(r access.Reason, ids ...gid.ID) {
		for _, id := range unique(ids) {
			out = append(out, sightKey{id, r})
		}
	}
	if c.OwnerID != nil {
		add(access.ReasonOWNER, *c.OwnerID)
	}
	if c.TeamID != nil {
		add(access.ReasonTEAM, *c.TeamID)
	}
	rows, err := w.tx.Interaction.Query().Where(interaction.ConversationID(c.ID), interaction.QueueIDNotNil()).WithQueue().All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	var teams []gid.ID
	for _, i := range rows {
		if q := i.Edges.Queue; q != nil && q.TeamID != nil {
			teams = append(teams, *q.TeamID)
		}
	}
	add(access.ReasonQUEUE, teams...)
	var offered, served []gid.ID
	err = w.tx.Offer.Query().Where(offer.ConversationID(c.ID), offer.StateEQ(offer.StatePENDING)).Select(offer.FieldAgentID).Scan(ctx, &offered)
	if err != nil {
		return nil, fmt.Errorf("read offers: %w", err)
	}
	add(access.ReasonOFFER, offered...)
	err = w.tx.Assignment.Query().Where(assignment.HasInteractionWith(interaction.ConversationID(c.ID))).Unique(true).Select(assignment.FieldAgentID).Scan(ctx, &served)
	if err != nil {
		return nil, fmt.Errorf("read assignments: %w", err)
	}
	add(access.ReasonSERVED, served...)
	return out, nil
}

// resettle derives what a conversation shows of its contacts after some came or went.
func (w *work) resettle(ctx context.Context, c *ent.Conversation) (*ent.Conversation, error) {
	last, err := w.tx.Message.Query().Where(message.ConversationID(c.ID)).Order(ent.Desc(message.FieldID)).First(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return nil, fmt.Errorf("read last message: %w", err)
	}
	first, err := w.tx.Interaction.Query().Where(interaction.ConversationID(c.ID), interaction.FirstRespondedAtNotNil()).Order(ent.Asc(interaction.FieldFirstRespondedAt)).First(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return nil, fmt.Errorf("read first answer: %w", err)
	}
	var how []settling
	if c.State == conversation.StateRESOLVED { // something goes on in it now: it is not over
		open, err := w.tx.Interaction.Query().Where(interaction.ConversationID(c.ID), interaction.StateNEQ(interaction.StateENDED)).Exist(ctx)
		if err != nil {
			return nil, fmt.Errorf("read interactions: %w", err)
		}
		if open {
			how = append(how, awake)
		}
	}
	n, err := w.settle(ctx, c, func(u *ent.ConversationUpdateOne) {
		if last != nil {
			u.SetLastMessageID(last.ID).SetLastMessageAt(last.CreatedAt)
		} else {
			u.ClearLastMessageID().ClearLastMessageAt()
		}
		if first != nil {
			u.SetFirstRespondedAt(*first.FirstRespondedAt)
		} else {
			u.ClearFirstRespondedAt()
		}
	}, how...)
	if err != nil {
		return nil, err
	}
	w.emit(fact{typ: ConversationUpdated, subject: n.ID, version: n.Version, conv: n, changed: []string{"interactions", "timeline", "participants"}})
	return n, nil
}

// tellMoved says of each contact that goes on where it is now, and wakes the router for whoever carries it.
func (w *work) tellMoved(ctx context.Context, c *ent.Conversation, ids []gid.ID) error {
	rows, err := w.tx.Interaction.Query().Where(interaction.IDIn(ids...), interaction.StateNEQ(interaction.StateENDED)).WithOpenOffer().Order(ent.Asc(interaction.FieldID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read interactions: %w", err)
	}
	for _, i := range rows {
		var carrier gid.ID
		if i.AgentID != nil {
			carrier = *i.AgentID
		} else if o := i.Edges.OpenOffer; o != nil {
			carrier = o.AgentID
		}
		w.told(c, i, carrier, "conversation")
	}
	return nil
}
