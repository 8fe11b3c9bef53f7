package desk

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"tributary/ent"
	"tributary/ent/assignment"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

const maxSubject = 500 // characters

// SplitConversation takes contacts out into a conversation of their own: what a guess joined, a person can part.
func (d *Desk) SplitConversation(ctx context.Context, id gid.ID, interactions []gid.ID, subject *string, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return gid.ID{}, err
	}
	ids := unique(slices.Clone(interactions))
	switch {
	case len(ids) == 0:
		return gid.ID{}, refuse(Required, "name what goes out", "interactionIds")
	case len(ids) > 100:
		return gid.ID{}, refuse(LimitReached, "at most 100 at once", "interactionIds")
	}
	return d.once(ctx, key, []any{"conversationSplit", id, ids, subject}, func(ctx context.Context, w *work) (gid.ID, error) {
		rows, err := w.lockConversations(ctx, conversation.ID(id))
		if err != nil {
			return gid.ID{}, err
		}
		c, err := pickConversation(rows, id, "id")
		if err != nil {
			return gid.ID{}, err
		}
		sys := asSystem(ctx)
		all, err := w.tx.Interaction.Query().Where(interaction.ConversationID(id)).Order(ent.Asc(interaction.FieldID)).All(sys)
		if err != nil {
			return gid.ID{}, fmt.Errorf("read interactions: %w", err)
		}
		moved := slices.DeleteFunc(slices.Clone(all), func(i *ent.Interaction) bool { return !slices.Contains(ids, i.ID) })
		switch {
		case len(moved) != len(ids):
			return gid.ID{}, notFound("interaction in this conversation", "interactionIds")
		case len(moved) == len(all):
			return gid.ID{}, refuse(Invalid, "at least one contact stays", "interactionIds")
		}
		for _, i := range moved {
			if err := withheld(ctx, i, "interactionIds"); err != nil {
				return gid.ID{}, err
			}
			if v := viewer.From(ctx); i.AgentID != nil && *i.AgentID != v.Actor && !v.Has(viewer.Supervise) {
				return gid.ID{}, &Refusal{Code: ServedByOthers, Message: "another agent serves it", Field: []string{"interactionIds"}, ConflictID: *i.AgentID}
			}
		}
		stands, err := w.stands(ctx, c)
		if err != nil {
			return gid.ID{}, err
		}
		if !stands {
			return gid.ID{}, refuse(NotAllowed, "a pending offer alone does not part a matter", "id")
		}
		n, err := w.splitOff(ctx, c, moved, oneCustomer(c, moved), subject)
		if err != nil {
			return gid.ID{}, err
		}
		return n.ID, w.letSee(ctx, n)
	})
}

// oneCustomer is whose matter the contacts are: theirs, if they are all of one customer.
func oneCustomer(c *ent.Conversation, list []*ent.Interaction) gid.ID {
	for _, i := range list {
		if i.CustomerID != list[0].CustomerID {
			return c.CustomerID
		}
	}
	return list[0].CustomerID
}

// splitOff opens a conversation for contacts of a locked one. Who took the first of them owns it; without one nobody.
func (w *work) splitOff(ctx context.Context, c *ent.Conversation, moved []*ent.Interaction, customer gid.ID, subject *string) (*ent.Conversation, error) {
	sys := asSystem(ctx)
	ids := make([]gid.ID, len(moved))
	for n, i := range moved {
		ids[n] = i.ID
	}
	number, err := w.nextNumber(sys, "conversation")
	if err != nil {
		return nil, err
	}
	row := w.tx.Conversation.Create().SetCustomerID(customer).SetNumber(number).SetRelatedID(c.ID).SetPriority(c.Priority).SetNillableTeamID(c.TeamID).
		SetState(conversation.StatePENDING).SetOpenedAt(moved[0].StartedAt).SetCreatedAt(w.at)
	if c.State == conversation.StateRESOLVED { // what was over stays over
		row.SetState(c.State).SetNillableResolvedAt(c.ResolvedAt)
	}
	if subject != nil {
		row.SetSubject(clean.Line(*subject, maxSubject))
	}
	first, err := w.tx.Assignment.Query().Where(assignment.InteractionIDIn(ids...)).Order(ent.Asc(assignment.FieldStartedAt, assignment.FieldID)).First(sys)
	switch {
	case err == nil:
		row.SetOwnerID(first.AgentID)
	case !ent.IsNotFound(err):
		return nil, fmt.Errorf("read assignments: %w", err)
	}
	n, err := row.Save(sys)
	if err != nil {
		return nil, fmt.Errorf("write conversation: %w", err)
	}
	if err := w.relocate(sys, c, n, ids, false); err != nil {
		return nil, err
	}
	err = w.tx.Interaction.Update().Where(interaction.IDIn(ids...)).SetJoinedBy(interaction.JoinedByBY_HAND).Exec(sys)
	if err != nil {
		return nil, fmt.Errorf("save how they joined: %w", err)
	}
	w.emit(fact{typ: ConversationCreated, subject: n.ID, version: n.Version, conv: n})
	before, after := strconv.Itoa(c.Number), strconv.Itoa(n.Number)
	_, n, err = w.parted(ctx, c, n, ids, "conversation.split", before, after)
	return n, err
}
