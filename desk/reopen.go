package desk

import (
	"context"
	"fmt"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/assignment"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Reopen opens a resolved matter again: the owner's last asynchronous interaction comes back as PAUSED. Where none can be
// continued the matter is open without a contact, and StartInteraction begins one (MODEL 3).
func (d *Desk) Reopen(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.matter(ctx, id, key, "conversationReopen", func(ctx context.Context, w *work, c *ent.Conversation) error {
		if c.State != conversation.StateRESOLVED {
			return refuse(WrongState, "only a RESOLVED conversation is reopened; this one is "+string(c.State), "id")
		}
		sys := asSystem(ctx)
		i, err := w.continuable(sys, c)
		if err != nil {
			return err
		}
		if i != nil {
			if i, err = w.move(sys, i, onReopen, func(u *ent.InteractionUpdateOne) {
				u.ClearEndedAt().ClearUnansweredSince().SetAbandoned(false).SetTakesMatter(false).ClearWrapUpUntil().SetRefused([]gid.ID{})
				if i.AgentID != nil {
					u.SetPreviousAgentID(*i.AgentID).ClearAgentID().SetCost(0)
				}
			}); err != nil {
				return err
			}
			w.told(c, i, gid.ID{}, "state")
		}
		_, err = w.settle(sys, c, func(u *ent.ConversationUpdateOne) { u.ClearOutcome() }, awake)
		return err
	})
}

// continuable is the owner's last interaction of an asynchronous kind, if its thread is not open elsewhere by now; nil
// if there is none. In a matter without an owner anybody's counts.
func (w *work) continuable(ctx context.Context, c *ent.Conversation) (*ent.Interaction, error) {
	rows, err := w.tx.Interaction.Query().Where(interaction.ConversationID(c.ID), interaction.StateEQ(interaction.StateENDED), interaction.ChannelIDNotNil()).
		Order(ent.Desc(interaction.FieldStartedAt, interaction.FieldID)).Limit(50).WithChannel().All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read interactions: %w", err)
	}
	for _, i := range rows {
		last := lastServer(i)
		if c.OwnerID != nil && !same(last, c.OwnerID) || w.alwaysLive(ctx, i.Edges.Channel) {
			continue
		}
		taken, err := w.openOnThread(ctx, i)
		if err != nil {
			return nil, err
		}
		if taken == nil {
			return i, nil
		}
	}
	return nil, nil
}

// openOnThread is the interaction that is open on another one's thread; nil if none is.
func (w *work) openOnThread(ctx context.Context, i *ent.Interaction) (*ent.Interaction, error) {
	got, err := w.tx.Interaction.Query().Where(interaction.ChannelID(*i.ChannelID), interaction.ThreadKey(i.ThreadKey), interaction.StateNEQ(interaction.StateENDED)).First(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read thread: %w", err)
	}
	return got, nil
}

// StartInteraction begins a contact to the customer in this matter, on a thread that he has used: a channel cannot call
// somebody who never wrote. The caller serves it.
func (d *Desk) StartInteraction(ctx context.Context, conversationID, channelID gid.ID, identityID *gid.ID, key *string) (gid.ID, error) {
	return d.inMatter(ctx, conversationID, key, []any{"interactionStart", channelID, identityID}, func(ctx context.Context, w *work, c *ent.Conversation) (gid.ID, error) {
		if viewer.From(ctx).Actor.Kind() != gid.Agent {
			return gid.ID{}, refuse(NotAllowed, "only an agent can serve")
		}
		if c.State == conversation.StateARCHIVED {
			return gid.ID{}, refuse(WrongState, "the conversation is ARCHIVED", "conversationId")
		}
		last, err := w.threadTo(asSystem(ctx), c, channelID, identityID)
		if err != nil {
			return gid.ID{}, err
		}
		if err := withheld(ctx, last, "channelId"); err != nil {
			return gid.ID{}, err
		}
		return w.openOutbound(ctx, c, last)
	})
}

// threadTo is the last interaction by which this channel reached the customer.
func (w *work) threadTo(ctx context.Context, c *ent.Conversation, channelID gid.ID, identityID *gid.ID) (*ent.Interaction, error) {
	q := w.tx.Interaction.Query().Where(interaction.ChannelID(channelID), interaction.CustomerID(c.CustomerID), interaction.IdentityIDNotNil()).
		Order(ent.Desc(interaction.FieldStartedAt, interaction.FieldID)).WithChannel()
	if identityID != nil {
		q.Where(interaction.IdentityID(*identityID))
	}
	last, err := q.First(ctx)
	if ent.IsNotFound(err) {
		return nil, refuse(IdentityUnreachable, "the customer has not used this channel: there is no address to begin with", "channelId")
	}
	if err != nil {
		return nil, fmt.Errorf("find thread: %w", err)
	}
	switch open, err := w.openOnThread(ctx, last); {
	case err != nil:
		return nil, err
	case open != nil:
		return nil, &Refusal{Code: InUse, Message: "a contact with this address is open", Field: []string{"channelId"}, ConflictID: open.ID}
	case !last.Edges.Channel.Enabled:
		return nil, refuse(ChannelUnavailable, "the channel is switched off", "channelId")
	}
	if o, err := w.runningChannel(ctx, last.Edges.Channel); err != nil || o.liveness() == channels.Live {
		return nil, refuse(NotSupported, "this kind cannot be begun by writing", "channelId")
	}
	return last, nil
}

func (w *work) openOutbound(ctx context.Context, c *ent.Conversation, last *ent.Interaction) (gid.ID, error) {
	sys, me := asSystem(ctx), viewer.From(ctx).Actor
	q, err := w.queueFor(sys, last.Edges.Channel, last)
	if err != nil {
		return gid.ID{}, err
	}
	if viewer.From(ctx).Withholds(&q.ID) {
		return gid.ID{}, refuse(NotAllowed, "the channel's queue is restricted to members", "channelId")
	}
	row := w.tx.Interaction.Create().SetConversationID(c.ID).SetCustomerID(c.CustomerID).SetNillableChannelID(last.ChannelID).SetChannelKind(last.ChannelKind).
		SetNillableIdentityID(last.IdentityID).SetThreadKey(last.ThreadKey).SetThread(last.Thread).SetDirection(interaction.DirectionOUTBOUND).
		SetState(interaction.StateACTIVE).SetPriority(interaction.Priority(c.Priority)).SetQueueID(q.ID).SetAgentID(me).SetAcceptedAt(w.at).
		SetJoinedBy(interaction.JoinedByBY_HAND).SetContinuedFromID(last.ID).SetStartedAt(w.at).SetCreatedAt(w.at)
	i, err := row.Save(sys)
	if err != nil {
		return gid.ID{}, fmt.Errorf("write interaction: %w", err)
	}
	cost, _, err := w.reserve(sys, me, i)
	if err != nil {
		return gid.ID{}, err
	}
	if i, err = w.tx.Interaction.UpdateOneID(i.ID).SetCost(cost).Save(sys); err != nil {
		return gid.ID{}, fmt.Errorf("save interaction: %w", err)
	}
	if q.TeamID != nil {
		if c, err = w.grant(sys, c, *q.TeamID, access.ReasonQUEUE); err != nil {
			return gid.ID{}, err
		}
	}
	w.emit(fact{typ: InteractionStarted, subject: i.ID, version: i.Version, conv: c, inter: i, agent: me})
	return i.ID, w.servesNow(sys, c, i, me)
}

// servesNow writes who serves what he began, and what that means for the matter.
func (w *work) servesNow(ctx context.Context, c *ent.Conversation, i *ent.Interaction, me gid.ID) error {
	as, err := w.tx.Assignment.Create().SetInteractionID(i.ID).SetAgentID(me).SetNillableQueueID(i.QueueID).SetKind(assignment.KindCLAIM).
		SetReason("began the contact").SetStartedAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("write assignment: %w", err)
	}
	err = w.tx.TimelineItem.Create().SetType(timelineitem.TypeASSIGNMENT).SetAt(w.at).SetConversationID(c.ID).SetCustomerID(c.CustomerID).
		SetInteractionID(i.ID).SetAssignmentID(as.ID).SetAgentID(me).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	if c, err = w.grant(ctx, c, me, access.ReasonSERVED); err != nil {
		return err
	}
	var own func(*ent.ConversationUpdateOne)
	if c.OwnerID == nil {
		if c, own, err = w.passMatter(ctx, c, &me); err != nil {
			return err
		}
	}
	if _, err = w.settle(ctx, c, own, awake); err != nil {
		return err
	}
	return w.pauseLater(ctx, i)
}
