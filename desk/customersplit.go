package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/conversationmerge"
	"tributary/ent/customer"
	"tributary/ent/customermerge"
	"tributary/ent/customermergepart"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/participant"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// UndoCustomerMerge takes a merge back. What came by an identity goes with it, also what was said since; matters that
// hold contacts of both are parted.
func (d *Desk) UndoCustomerMerge(ctx context.Context, id gid.ID, reason *string, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.CustomerWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"customerMergeUndo", id, reason}, func(ctx context.Context, w *work) (gid.ID, error) {
		sys := asSystem(ctx)
		m, parts, err := w.undoable(sys, id)
		if err != nil {
			return gid.ID{}, err
		}
		g, err := w.lockUndo(sys, m, parts)
		if err != nil {
			return gid.ID{}, err
		}
		n, err := w.tx.CustomerMerge.Update().Where(customermerge.ID(id), customermerge.UndoneAtIsNil()).SetUndoneAt(w.at).SetNillableUndoReason(shortReason(reason)).Save(sys)
		if err != nil {
			return gid.ID{}, fmt.Errorf("end merge: %w", err)
		}
		if n == 0 {
			return gid.ID{}, errAgain
		}
		for _, p := range parts {
			if err := w.partCustomer(ctx, g, m.IntoID, p); err != nil {
				return gid.ID{}, err
			}
		}
		if err := w.partedCustomers(sys, g, m, parts); err != nil {
			return gid.ID{}, err
		}
		w.emit(fact{typ: CustomerSplit, subject: m.ID, version: 2, customer: m.IntoID})
		return id, nil
	})
}

// undoable is a merge that can be taken back, with its parts.
func (w *work) undoable(ctx context.Context, id gid.ID) (*ent.CustomerMerge, []*ent.CustomerMergePart, error) {
	m, err := w.tx.CustomerMerge.Query().Where(customermerge.ID(id)).WithInto().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, nil, notFound("merge", "mergeId")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read merge: %w", err)
	}
	switch {
	case m.UndoneAt != nil:
		return nil, nil, refuse(WrongState, "it was taken back already", "mergeId")
	case m.Given:
		return nil, nil, refuse(NotAllowed, "the visitor proved by a signed token who he is", "mergeId")
	case m.Edges.Into.MergedIntoID != nil:
		return nil, nil, &Refusal{Code: WrongState, Message: "take the later merge back first", Field: []string{"mergeId"}, ConflictID: *m.Edges.Into.MergedIntoID}
	}
	parts, err := w.tx.CustomerMergePart.Query().Where(customermergepart.CustomerMergeID(id)).Order(ent.Asc(customermergepart.FieldCustomerID)).All(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read merge: %w", err)
	}
	return m, parts, nil
}

// lockUndo locks every conversation that an identity of the parts, or what came by one, stands in, and those that went
// over; then the identities.
func (w *work) lockUndo(ctx context.Context, m *ent.CustomerMerge, parts []*ent.CustomerMergePart) (*ground, error) {
	var convs, ids []gid.ID
	for _, p := range parts {
		convs, ids = append(convs, p.Conversations...), append(ids, p.Identities...)
	}
	var mergedInto []gid.ID
	err := w.tx.ConversationMerge.Query().Where(conversationmerge.FromIDIn(convs...), conversationmerge.UndoneAtIsNil()).Select(conversationmerge.FieldIntoID).Scan(ctx, &mergedInto)
	if err != nil {
		return nil, fmt.Errorf("read merges: %w", err)
	}
	which := conversation.And(conversation.CustomerID(m.IntoID), conversation.Or(conversation.IDIn(append(convs, mergedInto...)...),
		conversation.HasInteractionsWith(interaction.IdentityIDIn(ids...))))
	rows, err := w.lockConversations(ctx, which)
	if err != nil {
		return nil, err
	}
	q := w.tx.Identity.Query().Where(identity.CustomerID(m.IntoID)).Order(ent.Asc(identity.FieldID))
	if w.pg {
		q.ForUpdate()
	}
	all, err := q.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock identities: %w", err)
	}
	n, err := w.tx.Conversation.Query().Where(which).Count(ctx) // what came between the two locks
	if err == nil && n != len(rows) {
		err = errAgain
	}
	return &ground{rows, all}, err
}

// partCustomer gives one customer back what was his.
func (w *work) partCustomer(ctx context.Context, g *ground, into gid.ID, p *ent.CustomerMergePart) error {
	sys := asSystem(ctx)
	if err := w.takeBackMatters(ctx, g, p); err != nil {
		return err
	}
	for n := 0; n < len(g.conversations); n++ {
		if err := w.partMatter(ctx, g, g.conversations[n], into, p); err != nil {
			return err
		}
	}
	return w.giveBack(sys, into, p)
}

// takeBackMatters undoes merges of conversations of the two customers: newest first, as they were made.
func (w *work) takeBackMatters(ctx context.Context, g *ground, p *ent.CustomerMergePart) error {
	sys := asSystem(ctx)
	rows, err := w.tx.ConversationMerge.Query().Where(conversationmerge.FromIDIn(p.Conversations...), conversationmerge.UndoneAtIsNil()).
		Order(ent.Desc(conversationmerge.FieldAt, conversationmerge.FieldID)).All(sys)
	if err != nil {
		return fmt.Errorf("read merges: %w", err)
	}
	for _, r := range rows {
		if slices.Contains(p.Conversations, r.IntoID) {
			continue // both are his
		}
		into, from := g.conversation(r.IntoID), g.conversation(r.FromID)
		if into == nil || from == nil || into.MergedIntoID != nil {
			continue // a chain: what is his is parted contact by contact
		}
		if into, from, err = w.takeBack(ctx, r, into, from); err != nil {
			return err
		}
		g.put(into, from)
	}
	return nil
}

// partMatter decides whose a conversation is: his if all in it came by his identities, or if it was his and nothing came
// by another's; where both have contacts in it, the lesser side's go out into a conversation of their own.
func (w *work) partMatter(ctx context.Context, g *ground, c *ent.Conversation, into gid.ID, p *ent.CustomerMergePart) error {
	sys := asSystem(ctx)
	if c.CustomerID != into {
		return nil
	}
	all, err := w.tx.Interaction.Query().Where(interaction.ConversationID(c.ID)).Order(ent.Asc(interaction.FieldID)).All(sys)
	if err != nil {
		return fmt.Errorf("read interactions: %w", err)
	}
	var his, others []*ent.Interaction
	for _, i := range all {
		if i.IdentityID != nil && slices.Contains(p.Identities, *i.IdentityID) {
			his = append(his, i)
		} else {
			others = append(others, i)
		}
	}
	was := slices.Contains(p.Conversations, c.ID)
	goes, whose := his, p.CustomerID
	if was {
		goes, whose = others, into
	}
	switch {
	case len(his) == 0 && (!was || len(others) > 0): // nothing of his, or nothing any more
		return nil
	case len(goes) > 0 && len(goes) < len(all):
		n, err := w.splitOff(ctx, c, goes, whose, nil)
		if err != nil {
			return err
		}
		if c, err = w.tx.Conversation.Get(sys, c.ID); err != nil {
			return fmt.Errorf("read conversation: %w", err)
		}
		g.put(c)
		g.conversations = append(g.conversations, n)
		if !was {
			return nil
		}
	}
	return w.ownMatter(sys, g, c, p.CustomerID)
}

// ownMatter makes a conversation a customer's.
func (w *work) ownMatter(ctx context.Context, g *ground, c *ent.Conversation, customerID gid.ID) error {
	n, err := w.tx.Conversation.UpdateOneID(c.ID).SetCustomerID(customerID).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("save conversation: %w", err)
	}
	g.put(n)
	if err := w.tx.TimelineItem.Update().Where(timelineitem.ConversationID(c.ID)).SetCustomerID(customerID).Exec(ctx); err != nil {
		return fmt.Errorf("give timeline back: %w", err)
	}
	w.emit(fact{typ: ConversationUpdated, subject: n.ID, version: n.Version, conv: n, changed: []string{"customer"}})
	return nil
}

// giveBack returns the identities with what came by them.
func (w *work) giveBack(ctx context.Context, into gid.ID, p *ent.CustomerMergePart) error {
	his := p.Identities
	err := w.tx.Identity.Update().Where(identity.IDIn(his...), identity.CustomerID(into)).SetCustomerID(p.CustomerID).AddVersion(1).Exec(ctx)
	if err == nil {
		err = w.tx.Interaction.Update().Where(interaction.IdentityIDIn(his...)).SetCustomerID(p.CustomerID).Exec(ctx)
	}
	if err == nil {
		err = w.tx.Message.Update().Where(message.SenderIDIn(his...)).SetCustomerID(p.CustomerID).Exec(ctx)
	}
	if err == nil {
		err = w.tx.Participant.Update().Where(participant.IdentityIDIn(his...)).SetCustomerID(p.CustomerID).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("give back: %w", err)
	}
	return nil
}

// partedCustomers changes the customers' own rows, in the order of their ids, the roles and the suggestions.
func (w *work) partedCustomers(ctx context.Context, g *ground, m *ent.CustomerMerge, parts []*ent.CustomerMergePart) error {
	ids := []gid.ID{m.IntoID}
	for _, p := range parts {
		ids = append(ids, p.CustomerID)
	}
	for _, id := range unique(ids) {
		if err := w.recast(ctx, id); err != nil {
			return err
		}
	}
	for _, id := range unique(ids) {
		u := w.tx.Customer.UpdateOneID(id).AddVersion(1).SetUpdatedAt(w.at)
		if id == m.IntoID {
			u.Where(customer.MergedIntoIDIsNil())
		} else {
			u.Where(customer.MergedIntoID(m.IntoID)).ClearMergedIntoID()
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return errAgain
		}
		if err != nil {
			return fmt.Errorf("save customer: %w", err)
		}
		w.emit(fact{typ: CustomerUpdated, subject: n.ID, version: n.Version, customer: n.ID, changed: []string{"identities", "conversations", "mergedInto"}})
	}
	convs := make([]gid.ID, len(g.conversations))
	for n, c := range g.conversations {
		convs[n] = c.ID
	}
	return w.foreignSuggestions(ctx, convs)
}
