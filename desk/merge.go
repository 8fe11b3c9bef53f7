package desk

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/conversation"
	"tributary/ent/conversationmerge"
	"tributary/ent/interaction"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// maxMerged bounds how many rows one operation joins.
const maxMerged = 20

// MergeConversations makes conversations of one customer one matter. Nothing is taken away from who serves in them.
func (d *Desk) MergeConversations(ctx context.Context, intoID gid.ID, fromIDs []gid.ID, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return gid.ID{}, err
	}
	from := unique(slices.Clone(fromIDs))
	switch {
	case len(from) == 0:
		return gid.ID{}, refuse(Required, "name what goes into it", "fromIds")
	case len(from) > maxMerged:
		return gid.ID{}, refuse(LimitReached, fmt.Sprintf("at most %d at once", maxMerged), "fromIds")
	case slices.Contains(from, intoID):
		return gid.ID{}, refuse(Invalid, "a conversation does not go into itself", "fromIds")
	}
	return d.once(ctx, key, []any{"conversationMerge", intoID, from}, func(ctx context.Context, w *work) (gid.ID, error) {
		rows, err := w.lockConversations(ctx, conversation.IDIn(append(slices.Clone(from), intoID)...)) // cut by the viewer's reach
		if err != nil {
			return gid.ID{}, err
		}
		into, err := pickConversation(rows, intoID, "intoId")
		if err != nil {
			return gid.ID{}, err
		}
		for _, id := range from {
			c, err := pickConversation(rows, id, "fromIds")
			if err != nil {
				return intoID, err
			}
			if c.CustomerID != into.CustomerID {
				return intoID, refuse(NotAllowed, "it is another customer's: merge the customers first", "fromIds")
			}
			if err := w.allShown(ctx, c.ID, "fromIds"); err != nil {
				return intoID, err
			}
			if into, err = w.mergeInto(ctx, into, c); err != nil {
				return intoID, err
			}
		}
		return intoID, nil
	})
}

func pickConversation(rows []*ent.Conversation, id gid.ID, field string) (*ent.Conversation, error) {
	for _, c := range rows {
		switch {
		case c.ID != id:
		case c.MergedIntoID != nil:
			return nil, whole(c, field)
		case c.State == conversation.StateARCHIVED:
			return nil, refuse(WrongState, "the conversation is ARCHIVED", field)
		default:
			return c, nil
		}
	}
	return nil, notFound("conversation", field)
}

// mergeInto moves all of a conversation into another one; both are locked. What stays is a pointer to it.
func (w *work) mergeInto(ctx context.Context, into, from *ent.Conversation) (*ent.Conversation, error) {
	sys := asSystem(ctx)
	ids, err := w.tx.Interaction.Query().Where(interaction.ConversationID(from.ID)).IDs(sys)
	if err != nil {
		return nil, fmt.Errorf("read interactions: %w", err)
	}
	items, err := w.tx.TimelineItem.Query().Where(timelineitem.ConversationID(from.ID), timelineitem.InteractionIDIsNil()).IDs(sys)
	if err != nil {
		return nil, fmt.Errorf("read timeline: %w", err)
	}
	followers, err := w.newFollowers(sys, into, from)
	if err != nil {
		return nil, err
	}
	row := w.tx.ConversationMerge.Create().SetIntoID(into.ID).SetFromID(from.ID).SetInteractions(orEmpty(ids)).SetItems(orEmpty(items)).SetFollowers(followers).
		SetState(string(from.State)).SetNillableResolvedAt(from.ResolvedAt).SetOwnerGiven(into.OwnerID == nil && from.OwnerID != nil).SetAt(w.at)
	if err := row.Exec(sys); err != nil {
		return nil, fmt.Errorf("write merge: %w", err)
	}
	if err := w.relocate(sys, from, into, ids, true); err != nil {
		return nil, err
	}
	if err := w.moveItems(sys, from, into, items); err != nil {
		return nil, err
	}
	if into, err = w.takeOver(sys, into, from, followers); err != nil {
		return nil, err
	}
	if err := w.retire(ctx, from, into); err != nil {
		return nil, err
	}
	if err := w.mergedSuggestions(sys, into.ID, from.ID); err != nil {
		return nil, err
	}
	before, after := strconv.Itoa(from.Number), strconv.Itoa(into.Number)
	if err := w.changed(ctx, into, nil, "conversation.merged", &before, &after, nil); err != nil {
		return nil, err
	}
	if into, err = w.resettle(sys, into); err != nil {
		return nil, err
	}
	return into, w.tellMoved(sys, into, ids)
}

// newFollowers are those who would lose sight by the merge, for they neither serve nor own what stays.
func (w *work) newFollowers(ctx context.Context, into, from *ent.Conversation) ([]gid.ID, error) {
	var out, there []gid.ID
	err := w.tx.Access.Query().Where(access.ConversationID(from.ID), access.ReasonEQ(access.ReasonFOLLOWS)).Select(access.FieldSubjectID).Scan(ctx, &out)
	if err == nil {
		err = w.tx.Access.Query().Where(access.ConversationID(into.ID), access.ReasonEQ(access.ReasonFOLLOWS)).Select(access.FieldSubjectID).Scan(ctx, &there)
	}
	if err != nil {
		return nil, fmt.Errorf("read followers: %w", err)
	}
	if from.OwnerID != nil && into.OwnerID != nil && *from.OwnerID != *into.OwnerID {
		out = append(out, *from.OwnerID)
	}
	return orEmpty(slices.DeleteFunc(unique(out), func(id gid.ID) bool { return slices.Contains(there, id) })), nil
}

// takeOver gives into what the matter of from brings: its owner where there is none, its followers, its servers' sight.
func (w *work) takeOver(ctx context.Context, into, from *ent.Conversation, followers []gid.ID) (*ent.Conversation, error) {
	var err error
	if into.OwnerID == nil && from.OwnerID != nil {
		if into, err = w.tx.Conversation.UpdateOneID(into.ID).SetOwnerID(*from.OwnerID).AddVersion(1).SetUpdatedAt(w.at).Save(ctx); err != nil {
			return nil, fmt.Errorf("save owner: %w", err)
		}
	}
	if into, err = w.follow(ctx, into, followers, true); err != nil {
		return nil, err
	}
	return w.resight(ctx, into)
}

// retire closes a conversation that holds nothing any more. Who saw it by what moved sees it no more; the rest of its
// audience learns where its matter went.
func (w *work) retire(ctx context.Context, from, into *ent.Conversation) error {
	sys := asSystem(ctx)
	u := w.tx.Conversation.UpdateOneID(from.ID).SetState(conversation.StateRESOLVED).SetMergedIntoID(into.ID).ClearLastMessageID().ClearLastMessageAt().ClearWaitingSince().ClearSnoozedUntil().
		AddVersion(1).SetUpdatedAt(w.at)
	if from.ResolvedAt == nil {
		u.SetResolvedAt(w.at)
	}
	n, err := u.Save(sys)
	if err != nil {
		return fmt.Errorf("close conversation: %w", err)
	}
	before, after := string(from.State), strconv.Itoa(into.Number)
	if err := w.changed(ctx, n, nil, "conversation.mergedInto", &before, &after, nil); err != nil {
		return err
	}
	w.emit(fact{typ: ConversationUpdated, subject: n.ID, version: n.Version, conv: n, changed: []string{"state", "mergedInto", "interactions", "timeline"}})
	_, err = w.resight(sys, n)
	return err
}

// UndoConversationMerge gives a merged conversation back what went, and what came in its threads since. Whoever sees the
// other one may do it.
func (d *Desk) UndoConversationMerge(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"conversationMergeUndo", id}, func(ctx context.Context, w *work) (gid.ID, error) {
		sys := asSystem(ctx)
		row, err := w.tx.ConversationMerge.Query().Where(conversationmerge.FromID(id), conversationmerge.UndoneAtIsNil()).Only(sys)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("merged conversation", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read merge: %w", err)
		}
		if seen, err := w.tx.Conversation.Query().Where(conversation.ID(row.IntoID)).Exist(ctx); err != nil || !seen {
			return gid.ID{}, notFound("merged conversation", "id")
		}
		rows, err := w.lockConversations(sys, conversation.IDIn(row.IntoID, id))
		if err != nil {
			return gid.ID{}, err
		}
		into, err := pickConversation(rows, row.IntoID, "id")
		if err != nil {
			return gid.ID{}, err
		}
		from := rows[slices.IndexFunc(rows, func(c *ent.Conversation) bool { return c.ID == id })]
		// Under the lock: somebody else may have taken it back.
		if row, err = w.tx.ConversationMerge.Query().Where(conversationmerge.ID(row.ID), conversationmerge.UndoneAtIsNil()).Only(sys); err != nil {
			return gid.ID{}, errAgain
		}
		if err := w.allShown(ctx, into.ID, "id"); err != nil {
			return gid.ID{}, err
		}
		_, from, err = w.takeBack(ctx, row, into, from)
		if err != nil {
			return gid.ID{}, err
		}
		return id, w.letSee(ctx, from)
	})
}

// takeBack undoes one merge; both conversations are locked.
func (w *work) takeBack(ctx context.Context, row *ent.ConversationMerge, into, from *ent.Conversation) (*ent.Conversation, *ent.Conversation, error) {
	sys := asSystem(ctx)
	ids, err := w.returning(sys, row, into)
	if err != nil {
		return nil, nil, err
	}
	state := conversation.State(row.State)
	if state == conversation.StateSNOOZED { // its time may have passed: somebody looks at it
		state = conversation.StatePENDING
	}
	u := w.tx.Conversation.UpdateOneID(from.ID).SetState(state).ClearMergedIntoID().AddVersion(1).SetUpdatedAt(w.at)
	if row.ResolvedAt != nil {
		u.SetResolvedAt(*row.ResolvedAt)
	} else {
		u.ClearResolvedAt()
	}
	if from, err = u.Save(sys); err != nil {
		return nil, nil, fmt.Errorf("open conversation: %w", err)
	}
	if err := w.relocate(sys, into, from, ids, false); err != nil {
		return nil, nil, err
	}
	if err := w.moveItems(sys, into, from, row.Items); err != nil {
		return nil, nil, err
	}
	if row.OwnerGiven && into.OwnerID != nil && from.OwnerID != nil && *into.OwnerID == *from.OwnerID {
		if into, err = w.tx.Conversation.UpdateOneID(into.ID).ClearOwnerID().AddVersion(1).SetUpdatedAt(w.at).Save(sys); err != nil {
			return nil, nil, fmt.Errorf("save owner: %w", err)
		}
	}
	if into, err = w.follow(sys, into, row.Followers, false); err != nil {
		return nil, nil, err
	}
	if err := w.tx.ConversationMerge.UpdateOneID(row.ID).SetUndoneAt(w.at).Exec(sys); err != nil {
		return nil, nil, fmt.Errorf("end merge: %w", err)
	}
	before, after := strconv.Itoa(into.Number), strconv.Itoa(from.Number)
	return w.parted(ctx, into, from, ids, "conversation.mergeUndone", before, after)
}

// parted settles two conversations after contacts went from one to the other, and says so in both.
func (w *work) parted(ctx context.Context, a, b *ent.Conversation, moved []gid.ID, what, before, after string) (*ent.Conversation, *ent.Conversation, error) {
	sys := asSystem(ctx)
	for _, c := range []**ent.Conversation{&a, &b} {
		if err := w.changed(ctx, *c, nil, what, &before, &after, nil); err != nil {
			return nil, nil, err
		}
		var err error
		if *c, err = w.resight(sys, *c); err != nil {
			return nil, nil, err
		}
		if *c, err = w.resettle(sys, *c); err != nil {
			return nil, nil, err
		}
	}
	return a, b, w.tellMoved(sys, b, moved)
}

// returning are the interactions that an undo takes along: those that went and are there still, and later ones of the
// same threads.
func (w *work) returning(ctx context.Context, row *ent.ConversationMerge, into *ent.Conversation) ([]gid.ID, error) {
	all, err := w.tx.Interaction.Query().Where(interaction.ConversationID(into.ID)).Order(ent.Asc(interaction.FieldID)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read interactions: %w", err)
	}
	threads, out := map[string]bool{}, []gid.ID{}
	for _, i := range all {
		if i.ChannelID != nil && i.ThreadKey != "" && slices.Contains(row.Interactions, i.ID) {
			threads[i.ChannelID.String()+i.ThreadKey] = true
		}
	}
	for _, i := range all {
		if slices.Contains(row.Interactions, i.ID) || i.ChannelID != nil && threads[i.ChannelID.String()+i.ThreadKey] {
			out = append(out, i.ID)
		}
	}
	return out, nil
}

// letSee lets an agent follow what he has just made, where he would not see it otherwise.
func (w *work) letSee(ctx context.Context, c *ent.Conversation) error {
	v := viewer.From(ctx)
	if v.Actor.Kind() != gid.Agent || v.SeesAll() || slices.ContainsFunc(v.Subjects(), func(id gid.ID) bool { return slices.Contains(c.Audience, id) }) {
		return nil
	}
	_, err := w.follow(asSystem(ctx), c, []gid.ID{v.Actor}, true)
	return err
}
