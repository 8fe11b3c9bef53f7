package desk

import (
	"context"
	"fmt"
	"time"

	"tributary/ent"
	"tributary/ent/assignment"
	"tributary/ent/consultant"
	"tributary/ent/conversation"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/viewer"
)

// Claim takes a waiting, offered or paused interaction by hand. Exactly one taker wins; the others learn who. A call rings
// the taker's phone first, as an offer that is accepted already: he serves when his leg is up.
func (d *Desk) Claim(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	var rings *gid.ID
	done, err := d.serving(ctx, id, key, "interactionClaim", func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction) error {
		rings = nil
		v := viewer.From(ctx)
		if v.Actor.Kind() != gid.Agent {
			return refuse(NotAllowed, "only an agent can serve")
		}
		if i.AgentID != nil && (i.State == interaction.StateACTIVE || i.State == interaction.StateWRAP_UP) {
			if *i.AgentID == v.Actor {
				return refuse(WrongState, "you serve it already", "id")
			}
			return &Refusal{Code: AlreadyTaken, Message: "another agent was first", Field: []string{"id"}, ConflictID: *i.AgentID}
		}
		if _, err := next(i.State, onClaim); err != nil {
			return err
		}
		sys := asSystem(ctx)
		cl, err := w.openCallOfKind(ctx, i)
		if err != nil {
			return err
		}
		if cl != nil {
			rings, err = w.claimCall(ctx, c, i, cl)
			return err
		}
		if i.OpenOfferID != nil {
			o, err := w.tx.Offer.Get(sys, *i.OpenOfferID)
			if err != nil {
				return fmt.Errorf("read offer: %w", err)
			}
			if err := w.lockLoads(sys, o.AgentID, v.Actor); err != nil {
				return err
			}
			if c, err = w.withdraw(sys, c, i, offer.OutcomeWITHDRAWN); err != nil {
				return err
			}
		}
		cost, _, err := w.reserve(sys, v.Actor, i)
		if err != nil {
			return err
		}
		_, _, err = w.serve(ctx, c, i, onClaim, v.Actor, cost, assignment.KindCLAIM, nil, "claimed by hand")
		return err
	})
	if err != nil || rings == nil {
		return done, err
	}
	return done, d.ringOut(ctx, *rings)
}

// withdraw takes the pending offer back and gives its agent's capacity back; the interaction's own move follows. The
// conversation comes back as it is then: its audience may have changed.
func (w *work) withdraw(ctx context.Context, c *ent.Conversation, i *ent.Interaction, out offer.Outcome) (*ent.Conversation, error) {
	o, err := w.tx.Offer.Get(ctx, *i.OpenOfferID)
	if err != nil {
		return nil, fmt.Errorf("read offer: %w", err)
	}
	if o, err = w.closeOffer(ctx, o, offer.StateWITHDRAWN, &out, nil); err != nil {
		return nil, err
	}
	if err := w.release(ctx, o.AgentID, i, o.Cost); err != nil {
		return nil, err
	}
	w.emit(fact{typ: OfferClosed, subject: o.ID, version: o.Version, conv: c, inter: i, agent: o.AgentID, audience: []gid.ID{o.AgentID}, changed: []string{"state"}})
	return w.revoke(ctx, c, o.AgentID, "OFFER")
}

// serving is the frame of operations on one interaction; what names the operation with its input.
func (d *Desk) serving(ctx context.Context, id gid.ID, key *string, what any, f func(context.Context, *work, *ent.Conversation, *ent.Interaction) error) (gid.ID, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{what, id}, func(ctx context.Context, w *work) (gid.ID, error) {
		c, i, err := w.lockInteraction(ctx, id)
		if err != nil {
			return gid.ID{}, err
		}
		if err := withheldFromOthers(ctx, i); err != nil {
			return gid.ID{}, err
		}
		return id, f(ctx, w, c, i)
	})
}

// mine checks that the viewer serves the interaction, or supervises.
func mine(ctx context.Context, i *ent.Interaction) error {
	v := viewer.From(ctx)
	if i.AgentID != nil && *i.AgentID == v.Actor || v.Has(viewer.Supervise) {
		return nil
	}
	r := refuse(ServedByOthers, "you do not serve it", "id")
	if i.AgentID != nil {
		r.ConflictID = *i.AgentID
	}
	return r
}

// Pause makes an asynchronous interaction wait for the customer; its capacity is released.
func (d *Desk) Pause(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.serving(ctx, id, key, "interactionPause", func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction) error {
		if err := mine(ctx, i); err != nil {
			return err
		}
		return w.pause(ctx, c, i)
	})
}

func (w *work) pause(ctx context.Context, c *ent.Conversation, i *ent.Interaction) error {
	if i.Live {
		return refuse(WrongState, "the customer waits at the other end: a live contact does not pause", "id")
	}
	_, err := w.leave(ctx, c, i, onPause, func(u *ent.InteractionUpdateOne) { u.ClearUnansweredSince() })
	return err
}

// leave moves an interaction away from its server: capacity, assignment, states and events.
func (w *work) leave(ctx context.Context, c *ent.Conversation, i *ent.Interaction, t trigger, change func(*ent.InteractionUpdateOne)) (*ent.Interaction, error) {
	n, err := next(i.State, t)
	if err != nil {
		return nil, err
	}
	sys := asSystem(ctx)
	server := i.AgentID
	m, err := w.move(sys, i, t, func(u *ent.InteractionUpdateOne) {
		if n.cap == capRelease && server != nil {
			u.SetPreviousAgentID(*server).ClearAgentID().SetCost(0)
		}
		if change != nil {
			change(u)
		}
	})
	if err != nil {
		return nil, err
	}
	if n.cap == capRelease && server != nil {
		if err := w.release(sys, *server, i, i.Cost); err != nil {
			return nil, err
		}
		if err := w.endAssignments(sys, i.ID); err != nil {
			return nil, err
		}
	}
	agentID := gid.ID{}
	if server != nil {
		agentID = *server
	}
	w.told(c, m, agentID, "state", "agent")
	_, err = w.settle(sys, c, nil)
	return m, err
}

// endAssignments ends who serves the interaction and who helps beside.
func (w *work) endAssignments(ctx context.Context, interactionID gid.ID) error {
	err := w.tx.Assignment.Update().Where(assignment.InteractionID(interactionID), assignment.EndedAtIsNil()).SetEndedAt(w.at).Exec(ctx)
	if err != nil {
		return fmt.Errorf("end assignment: %w", err)
	}
	if _, err := w.tx.Consultant.Delete().Where(consultant.InteractionID(interactionID)).Exec(ctx); err != nil {
		return fmt.Errorf("end consultants: %w", err)
	}
	return nil
}

// Release gives an interaction back to its queue with the age it had.
func (d *Desk) Release(ctx context.Context, id gid.ID, reason *string, key *string) (gid.ID, error) {
	return d.serving(ctx, id, key, "interactionRelease "+deref(reason, ""), func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction) error {
		if err := mine(ctx, i); err != nil {
			return err
		}
		before, after := string(i.State), string(interaction.StateQUEUED)
		if err := w.changed(ctx, c, i, "interaction.state", &before, &after, reason); err != nil {
			return err
		}
		giver := i.AgentID
		_, err := w.leave(ctx, c, i, onRelease, func(u *ent.InteractionUpdateOne) {
			u.ClearPreferID().ClearPreferUntil().ClearOpenOfferID()
			if giver != nil { // who gives it back is asked last
				u.SetRefused([]gid.ID{*giver})
			}
			w.keepAge(u, i)
		})
		return err
	})
}

// keepAge keeps the waiting time an interaction had; one that was never queued begins now.
func (w *work) keepAge(u *ent.InteractionUpdateOne, i *ent.Interaction) {
	if i.QueuedAt == nil {
		u.SetQueuedAt(w.at)
	}
}

// End ends the contact: wrap-up if its queue asks for it.
func (d *Desk) End(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.serving(ctx, id, key, "interactionEnd", func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction) error {
		if i.State != interaction.StatePAUSED {
			if err := mine(ctx, i); err != nil {
				return err
			}
		}
		return w.end(ctx, c, i)
	})
}

func (w *work) end(ctx context.Context, c *ent.Conversation, i *ent.Interaction) error {
	after, err := w.wrapUpOf(ctx, i)
	if err != nil {
		return err
	}
	cl, err := w.openCallOfKind(ctx, i)
	if err != nil {
		return err
	}
	if cl != nil && cl.AnsweredAt == nil { // nobody spoke: there is nothing to write up
		after = 0
	}
	if i.State != interaction.StateACTIVE || after == 0 {
		_, err := w.leave(ctx, c, i, onEnd, func(u *ent.InteractionUpdateOne) { u.ClearUnansweredSince() })
		return err
	}
	until := w.at.Add(after)
	m, err := w.leave(ctx, c, i, onEndWrapUp, func(u *ent.InteractionUpdateOne) { u.SetWrapUpUntil(until).ClearUnansweredSince().SetLive(false) })
	if err != nil {
		return err
	}
	_, _, err = jobs.Enqueue(ctx, w.tx, jobs.New{Kind: jobWrapUp, Args: timerArgs{Interaction: m.ID}, Subject: m.ID, RunAt: until})
	return err
}

func (w *work) wrapUpOf(ctx context.Context, i *ent.Interaction) (time.Duration, error) {
	if i.QueueID == nil {
		return 0, nil
	}
	q, err := w.tx.Queue.Get(asSystem(ctx), *i.QueueID)
	if err != nil {
		return 0, fmt.Errorf("read queue: %w", err)
	}
	return time.Duration(q.WrapUpSeconds) * time.Second, nil
}

// WrapUp ends the work after the contact.
func (d *Desk) WrapUp(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.serving(ctx, id, key, "interactionWrapUp", func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction) error {
		if err := mine(ctx, i); err != nil {
			return err
		}
		_, err := w.leave(ctx, c, i, onWrapUpDone, nil)
		return err
	})
}

// Resolved is the outcome of Resolve: the conversation, or who else serves it.
type Resolved struct {
	Conversation gid.ID
	ServedBy     []gid.ID
}

// Resolve ends the resolver's own interactions and those nobody serves, and closes the matter (MODEL 3).
func (d *Desk) Resolve(ctx context.Context, id gid.ID, in *ResolveInput, ifVersion *int, key *string) (Resolved, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return Resolved{}, err
	}
	if in == nil {
		in = &ResolveInput{}
	}
	var others []gid.ID
	out, err := d.once(ctx, key, []any{"conversationResolve", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		others = nil
		c, err := w.lockConversation(ctx, id)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("conversation", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("lock conversation: %w", err)
		}
		if err := fits(c.Version, ifVersion); err != nil {
			return id, err
		}
		if err := whole(c, "id"); err != nil {
			return id, err
		}
		if c.State == conversation.StateRESOLVED || c.State == conversation.StateARCHIVED {
			return id, refuse(WrongState, "the conversation is "+string(c.State), "id")
		}
		sys := asSystem(ctx)
		open, err := w.tx.Interaction.Query().Where(interaction.ConversationID(id), interaction.StateNEQ(interaction.StateENDED)).All(sys)
		if err != nil {
			return gid.ID{}, fmt.Errorf("read interactions: %w", err)
		}
		me := viewer.From(ctx).Actor
		for _, i := range open {
			if err := withheldFromOthers(ctx, i); err != nil {
				return id, err
			}
			if i.AgentID != nil && *i.AgentID != me {
				others = append(others, *i.AgentID)
			}
		}
		if len(others) > 0 && (in.EndOthers == nil || !*in.EndOthers) {
			others = unique(others)
			return id, refuse(ServedByOthers, "another agent serves it", "input", "endOthers")
		}
		others = nil
		if err := w.lockCarriers(sys, open); err != nil {
			return gid.ID{}, err
		}
		for _, i := range open {
			if c, err = w.endForResolve(sys, c, i.ID); err != nil {
				return gid.ID{}, err
			}
		}
		return id, w.resolve(ctx, id, in)
	})
	return Resolved{out, others}, err
}

// lockCarriers locks the loads of all who carry one of these, in one order.
func (w *work) lockCarriers(ctx context.Context, open []*ent.Interaction) error {
	var carriers, offers []gid.ID
	for _, i := range open {
		if i.AgentID != nil {
			carriers = append(carriers, *i.AgentID)
		}
		if i.OpenOfferID != nil {
			offers = append(offers, *i.OpenOfferID)
		}
	}
	if !w.pg || len(carriers)+len(offers) < 2 {
		return nil
	}
	var offered []gid.ID
	if err := w.tx.Offer.Query().Where(offer.IDIn(offers...)).Select(offer.FieldAgentID).Scan(ctx, &offered); err != nil {
		return fmt.Errorf("read offers: %w", err)
	}
	return w.lockLoads(ctx, append(carriers, offered...)...)
}

func (w *work) endForResolve(ctx context.Context, c *ent.Conversation, id gid.ID) (*ent.Conversation, error) {
	// As it is now: another one that ended before may have left its cost to this one, or to its offer.
	i, err := w.tx.Interaction.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read interaction: %w", err)
	}
	if i.OpenOfferID != nil {
		if c, err = w.withdraw(ctx, c, i, offer.OutcomeWITHDRAWN); err != nil {
			return nil, err
		}
	}
	m, err := w.move(ctx, i, onResolve, func(u *ent.InteractionUpdateOne) {
		u.ClearUnansweredSince()
		if i.AgentID != nil {
			u.SetPreviousAgentID(*i.AgentID).ClearAgentID().SetCost(0)
		}
	})
	if err != nil {
		return nil, err
	}
	if i.AgentID != nil {
		if err := w.release(ctx, *i.AgentID, i, i.Cost); err != nil {
			return nil, err
		}
	}
	if err := w.endAssignments(ctx, i.ID); err != nil {
		return nil, err
	}
	w.told(c, m, deref(i.AgentID, gid.ID{}), "state", "agent")
	return c, nil
}

func (w *work) resolve(ctx context.Context, id gid.ID, in *ResolveInput) error {
	sys := asSystem(ctx)
	c, err := w.tx.Conversation.Get(sys, id)
	if err != nil {
		return fmt.Errorf("read conversation: %w", err)
	}
	u := w.tx.Conversation.UpdateOneID(id).SetState(conversation.StateRESOLVED).SetResolvedAt(w.at).ClearWaitingSince().ClearSnoozedUntil().AddVersion(1).SetUpdatedAt(w.at)
	if in.Outcome != nil {
		u.SetOutcome(*in.Outcome)
	}
	n, err := u.Save(sys)
	if err != nil {
		return fmt.Errorf("resolve conversation: %w", err)
	}
	before, after := string(c.State), string(n.State)
	if err := w.changed(ctx, n, nil, "conversation.state", &before, &after, in.Outcome); err != nil {
		return err
	}
	w.emit(fact{typ: ConversationUpdated, subject: id, version: n.Version, conv: n, changed: []string{"state"}})
	return w.unsuggest(sys, id)
}

// fits compares the version that a change was made upon.
func fits(version int, ifVersion *int) error {
	if ifVersion != nil && *ifVersion != version {
		return refuse(StaleVersion, "somebody changed it meanwhile", "ifVersion")
	}
	return nil
}
