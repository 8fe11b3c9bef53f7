package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// grant gives a subject sight of the conversation for a reason. A subject who had none before is told that the
// conversation came into reach.
func (w *work) grant(ctx context.Context, c *ent.Conversation, subject gid.ID, reason access.Reason) (*ent.Conversation, error) {
	id := gid.Make(gid.Other)
	err := w.tx.Access.Create().SetID(id).SetConversationID(c.ID).SetSubjectID(subject).SetReason(reason).
		OnConflictColumns(access.FieldWorkspaceID, access.FieldConversationID, access.FieldSubjectID, access.FieldReason).DoNothing().Exec(ctx)
	if err != nil && !isNoRows(err) {
		return nil, fmt.Errorf("grant access: %w", err)
	}
	if slices.Contains(c.Audience, subject) {
		return c, nil
	}
	c, err = w.setAudience(ctx, c, append(slices.Clone(c.Audience), subject))
	if err != nil || subject.Kind() != gid.Agent {
		return c, err
	}
	w.emit(fact{typ: ConversationCreated, subject: c.ID, version: c.Version, conv: c, audience: []gid.ID{subject}, private: true})
	return c, nil
}

// revoke takes one reason away. A subject left without any loses sight at once, and is told without content (MODEL 6).
func (w *work) revoke(ctx context.Context, c *ent.Conversation, subject gid.ID, reason access.Reason) (*ent.Conversation, error) {
	if reason == access.ReasonOFFER { // another contact of the conversation may be offered to him, too
		other, err := w.tx.Offer.Query().Where(offer.ConversationID(c.ID), offer.AgentID(subject), offer.StateEQ(offer.StatePENDING)).Exist(asSystem(ctx))
		if err != nil {
			return nil, fmt.Errorf("read offers: %w", err)
		}
		if other {
			return c, nil
		}
	}
	_, err := w.tx.Access.Delete().Where(access.ConversationID(c.ID), access.SubjectID(subject), access.ReasonEQ(reason)).Exec(ctx)
	if err != nil {
		return nil, fmt.Errorf("revoke access: %w", err)
	}
	left, err := w.tx.Access.Query().Where(access.ConversationID(c.ID), access.SubjectID(subject)).Exist(ctx)
	if err != nil {
		return nil, fmt.Errorf("read access: %w", err)
	}
	if left || !slices.Contains(c.Audience, subject) {
		return c, nil
	}
	rest := slices.DeleteFunc(slices.Clone(c.Audience), func(id gid.ID) bool { return id == subject })
	if c, err = w.setAudience(ctx, c, rest); err != nil {
		return nil, err
	}
	if subject.Kind() != gid.Agent { // a team: but for those of it who see the conversation otherwise
		w.emit(fact{typ: ConversationRemoved, subject: c.ID, version: c.Version, conv: c, audience: []gid.ID{subject}, except: slices.Clone(c.Audience), private: true})
		return c, nil
	}
	sees, err := w.seesOtherwise(ctx, c, subject)
	if err == nil && !sees {
		w.emit(fact{typ: ConversationRemoved, subject: c.ID, version: c.Version, conv: c, audience: []gid.ID{subject}, private: true})
	}
	return c, err
}

// seesOtherwise asks whether the agent's role or teams show him the conversation without a reason of his own.
func (w *work) seesOtherwise(ctx context.Context, c *ent.Conversation, agentID gid.ID) (bool, error) {
	v, err := w.viewerOfAgent(ctx, w.tx.Client(), agentID)
	if errors.Is(err, ErrUnauthenticated) { // he was switched off: he sees nothing
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return v.Reach == viewer.ReachAll || v.Reach == viewer.ReachTeams && slices.ContainsFunc(v.Teams, func(t gid.ID) bool { return slices.Contains(c.Audience, t) }), nil
}

func (w *work) setAudience(ctx context.Context, c *ent.Conversation, audience []gid.ID) (*ent.Conversation, error) {
	n, err := w.tx.Conversation.UpdateOneID(c.ID).SetAudience(unique(audience)).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("save audience: %w", err)
	}
	return n, nil
}

// settling is what a settle does beside deriving the state.
type settling int

// awake: a closed or sleeping matter opens, though nothing is owed in it yet.
const awake settling = 1

// settle derives the conversation's state from its interactions (MODEL 3) and says what changed. RESOLVED and SNOOZED
// stay until something is owed again, or until somebody wakes them.
func (w *work) settle(ctx context.Context, c *ent.Conversation, change func(*ent.ConversationUpdateOne), how ...settling) (*ent.Conversation, error) {
	open, err := w.tx.Interaction.Query().Where(interaction.ConversationID(c.ID), interaction.StateNEQ(interaction.StateENDED)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read interactions: %w", err)
	}
	state, since := conversation.StatePENDING, (*time.Time)(nil)
	for _, i := range open {
		if owes(i) {
			state = conversation.StateOPEN
		}
		if i.UnansweredSince != nil && (since == nil || i.UnansweredSince.Before(*since)) {
			since = i.UnansweredSince
		}
	}
	closed := c.State == conversation.StateRESOLVED || c.State == conversation.StateSNOOZED || c.State == conversation.StateARCHIVED
	if state == conversation.StatePENDING && closed && len(how) == 0 {
		state = c.State
	}
	u := w.tx.Conversation.UpdateOneID(c.ID).SetState(state).SetNillableWaitingSince(since).AddVersion(1).SetUpdatedAt(w.at)
	if since == nil {
		u.ClearWaitingSince()
	}
	if c.State == conversation.StateRESOLVED && state != c.State {
		u.ClearResolvedAt()
	}
	if c.SnoozedUntil != nil && state != conversation.StateSNOOZED {
		u.ClearSnoozedUntil()
	}
	if change != nil {
		change(u)
	}
	n, err := u.Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("save conversation: %w", err)
	}
	if n.State != c.State {
		before, after := string(c.State), string(n.State)
		if err := w.changed(ctx, n, nil, "conversation.state", &before, &after, nil); err != nil {
			return nil, err
		}
	}
	w.emit(fact{typ: ConversationUpdated, subject: n.ID, version: n.Version, conv: n, changed: diff(c, n)})
	return n, nil
}

// owes reports whether an interaction keeps its conversation OPEN.
func owes(i *ent.Interaction) bool {
	switch i.State {
	case interaction.StateIN_FLOW, interaction.StateQUEUED, interaction.StateOFFERED:
		return true
	case interaction.StateACTIVE:
		return i.UnansweredSince != nil
	default:
		return false
	}
}

func diff(a, b *ent.Conversation) []string {
	var out []string
	if a.State != b.State {
		out = append(out, "state")
	}
	if !same(a.OwnerID, b.OwnerID) {
		out = append(out, "owner")
	}
	if !same(a.LastMessageID, b.LastMessageID) {
		out = append(out, "lastMessage")
	}
	if !same(a.WaitingSince, b.WaitingSince) {
		out = append(out, "waitingSince")
	}
	if !same(a.SnoozedUntil, b.SnoozedUntil) {
		out = append(out, "snoozedUntil")
	}
	if !same(a.Subject, b.Subject) {
		out = append(out, "subject")
	}
	if a.Priority != b.Priority {
		out = append(out, "priority")
	}
	if !same(a.TeamID, b.TeamID) {
		out = append(out, "team")
	}
	return out
}

func same[T comparable](a, b *T) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// changed writes a ChangeItem into the timeline.
func (w *work) changed(ctx context.Context, c *ent.Conversation, i *ent.Interaction, what string, before, after, reason *string) error {
	row := w.tx.TimelineItem.Create().SetType(timelineitem.TypeCHANGE).SetAt(w.at).SetConversationID(c.ID).SetCustomerID(c.CustomerID).
		SetChanged(what).SetNillableBefore(before).SetNillableAfter(after).SetNillableReason(reason)
	if i != nil {
		row.SetInteractionID(i.ID)
	}
	if v := viewer.From(ctx); v.Actor.Kind() == gid.Agent {
		row.SetAgentID(v.Actor)
	}
	if err := row.Exec(ctx); err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	return nil
}
