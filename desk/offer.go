package desk

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/agentstatus"
	"tributary/ent/assignment"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/ent/schema"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/viewer"
	"tributary/router"
)

type offerArgs struct {
	Offer gid.ID `json:"offer"`
}

// timerArgs is a timer of an interaction; it has work only if the number is still the newest.
type timerArgs struct {
	Interaction gid.ID    `json:"interaction"`
	Number      int       `json:"number"`
	Since       time.Time `json:"since,omitzero"` // of a pause: when the silence began
}

// silenceArgs is the timer of an agent's silence; it has work only if the silence that began then goes on.
type silenceArgs struct {
	Interaction gid.ID    `json:"interaction"`
	Since       time.Time `json:"since"`
}

// makeOffer commits a decision of the router: it counts only if the interaction is still queued and the agent still has
// room, whoever else decided meanwhile. Row, reason, timer and event are one transaction.
func (w *work) makeOffer(ctx context.Context, d router.Decision) (*ent.AgentLoad, error) {
	c, i, err := w.lockInteraction(ctx, gid.ID(d.Item))
	if err != nil {
		return nil, err
	}
	agentID := gid.ID(d.Agent)
	if i.State != interaction.StateQUEUED {
		return nil, refuse(WrongState, "it waits no more")
	}
	if slices.Contains(i.Refused, agentID) && !d.NewRound {
		return nil, refuse(WrongState, "he has refused it meanwhile")
	}
	if err := w.takesOffers(ctx, agentID); err != nil {
		return nil, err
	}
	cost, load, err := w.reserve(ctx, agentID, i)
	if err != nil {
		return nil, err
	}
	why, err := w.decided(ctx, i, d)
	if err != nil {
		return nil, err
	}
	reasons, err := w.callerKnown(ctx, i, d.Reasons)
	if err != nil {
		return nil, err
	}
	o, err := w.writeOffer(ctx, i, &ent.Offer{AgentID: agentID, Reasons: reasons, DecisionID: &why, Cost: cost, Epoch: d.Epoch, ExpiresAt: w.at.Add(d.Expires)})
	if err != nil {
		return nil, err
	}
	i, err = w.move(ctx, i, onOffer, func(u *ent.InteractionUpdateOne) {
		u.SetOpenOfferID(o.ID)
		if d.NewRound {
			u.SetRefused([]gid.ID{})
		}
	})
	if err != nil {
		return nil, err
	}
	if c, err = w.grant(ctx, c, agentID, access.ReasonOFFER); err != nil {
		return nil, err
	}
	w.emit(fact{typ: OfferCreated, subject: o.ID, version: o.Version, conv: c, inter: i, agent: agentID, audience: []gid.ID{agentID}})
	w.told(c, i, agentID, "state", "openOffer")
	return load, nil
}

// writeOffer writes the offer of an interaction as o says, with its timer.
func (w *work) writeOffer(ctx context.Context, i *ent.Interaction, o *ent.Offer) (*ent.Offer, error) {
	row, err := w.tx.Offer.Create().SetConversationID(i.ConversationID).SetInteractionID(i.ID).SetAgentID(o.AgentID).SetNillableQueueID(i.QueueID).
		SetReasons(orEmpty(o.Reasons)).SetNillableDecisionID(o.DecisionID).SetCost(o.Cost).SetEpoch(o.Epoch).SetOfferedAt(w.at).SetExpiresAt(o.ExpiresAt).
		SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("write offer: %w", err)
	}
	_, _, err = jobs.Enqueue(ctx, w.tx, jobs.New{Kind: jobOfferExpire, Unique: row.ID.String(), Args: offerArgs{row.ID}, Subject: row.ID, RunAt: row.ExpiresAt})
	return row, err
}

// takesOffers checks the agent's one status over all channels, in force before the next decision.
func (w *work) takesOffers(ctx context.Context, agentID gid.ID) error {
	a, err := w.tx.Agent.Get(ctx, agentID)
	if err != nil {
		return fmt.Errorf("read agent: %w", err)
	}
	s, err := w.tx.AgentStatus.Query().Where(agentstatus.AgentID(agentID), agentstatus.EndedAtIsNil()).Only(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return fmt.Errorf("read status: %w", err)
	}
	if !a.Active || s == nil || s.State != agentstatus.StateAVAILABLE {
		return refuse(CapacityFull, "the agent takes no offers now")
	}
	return nil
}

// decided stores why, with the best candidates and the counts of those left out.
func (w *work) decided(ctx context.Context, i *ent.Interaction, d router.Decision) (gid.ID, error) {
	list := make([]schema.Candidate, len(d.Candidates))
	for n, c := range d.Candidates {
		list[n] = schema.Candidate{AgentID: gid.ID(c.Agent), Score: c.IdleFor.Seconds(), IdleSeconds: int(c.IdleFor / time.Second), Left: max(c.Units-c.Used, 0)}
	}
	out := make(map[string]int, len(d.Excluded))
	for cause, n := range d.Excluded {
		out[string(cause)] = n
	}
	row, err := w.tx.RoutingDecision.Create().SetInteractionID(i.ID).SetNillableQueueID(i.QueueID).SetChosenID(gid.ID(d.Agent)).SetOutcome("OFFERED").
		SetReasons(orEmpty(d.Reasons)).SetCandidates(list).SetExcluded(out).SetMicroseconds(d.Took.Microseconds()).SetAt(w.at).Save(ctx)
	if err != nil {
		return gid.ID{}, fmt.Errorf("write decision: %w", err)
	}
	return row.ID, nil
}

// AcceptOffer takes what is offered. It belongs to the offered agent alone; a late one learns who won.
func (d *Desk) AcceptOffer(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.AcceptOfferBy(ctx, id, nil, key)
}

// AcceptOfferBy is AcceptOffer with the phone that a call is taken by; nil: the agent's preferred one, else all that can be
// reached. A call is his when his leg is up: until then the offer is connecting.
func (d *Desk) AcceptOfferBy(ctx context.Context, id gid.ID, phone *gid.ID, key *string) (gid.ID, error) {
	isCall, ran := false, false
	done, err := d.answerOffer(ctx, id, key, acceptName(phone), func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction, o *ent.Offer) error {
		ran = true
		if !o.ExpiresAt.After(w.at) {
			return refuse(OfferExpired, "the offer's time is over", "id")
		}
		if err := withheld(ctx, i, "id"); err != nil {
			return err
		}
		cl, err := w.openCallOfKind(ctx, i)
		if err != nil {
			return err
		}
		if isCall = cl != nil; isCall {
			return w.ringFor(ctx, c, i, o, cl, phone)
		}
		return w.accept(ctx, c, i, o, assignment.KindOFFER, "offer accepted")
	})
	if err != nil || ran && !isCall {
		return done, err
	}
	return done, d.ringOut(ctx, id)
}

// acceptName is the operation behind an idempotency key.
func acceptName(phone *gid.ID) string {
	if phone == nil {
		return "offerAccept"
	}
	return "offerAccept " + phone.String()
}

// accept makes the offered agent the server.
func (w *work) accept(ctx context.Context, c *ent.Conversation, i *ent.Interaction, o *ent.Offer, kind assignment.Kind, why string) error {
	o, err := w.closeOffer(ctx, o, offer.StateACCEPTED, nil, nil)
	if err != nil {
		return err
	}
	load, err := w.lockLoad(ctx, o.AgentID)
	if err != nil {
		return err
	}
	if _, err := w.saveLoad(ctx, load, func(u *ent.AgentLoadUpdateOne) { u.SetMisses(0) }); err != nil {
		return err
	}
	c, i, err = w.serve(ctx, c, i, onAccept, o.AgentID, o.Cost, kind, &o.ID, why)
	if err != nil {
		return err
	}
	w.emit(fact{typ: OfferClosed, subject: o.ID, version: o.Version, conv: c, inter: i, agent: o.AgentID, audience: []gid.ID{o.AgentID}, changed: []string{"state"}})
	return nil
}

// DeclineOffer refuses it: the next agent is asked, the interaction keeps its age.
func (d *Desk) DeclineOffer(ctx context.Context, id gid.ID, reason *string, key *string) (gid.ID, error) {
	return d.answerOffer(ctx, id, key, "offerDecline "+deref(reason, ""), func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction, o *ent.Offer) error {
		out := offer.OutcomeDECLINED
		return w.offerFailed(ctx, c, i, o, onDecline, offer.StateDECLINED, out, reason)
	})
}

func (d *Desk) answerOffer(ctx context.Context, id gid.ID, key *string, name string, f func(context.Context, *work, *ent.Conversation, *ent.Interaction, *ent.Offer) error) (gid.ID, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return gid.ID{}, err
	}
	v := viewer.From(ctx)
	return d.once(ctx, key, []any{name, id}, func(ctx context.Context, w *work) (gid.ID, error) {
		o, err := w.tx.Offer.Query().Where(offer.ID(id), offer.AgentID(v.Actor)).Only(ctx)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("offer", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read offer: %w", err)
		}
		// The offer is his; what it stands on he may have lost sight of, and then he learns who won.
		sys := asSystem(ctx)
		c, i, err := w.lockInteraction(sys, o.InteractionID)
		if err != nil {
			return gid.ID{}, err
		}
		if o, err = w.tx.Offer.Get(sys, id); err != nil {
			return gid.ID{}, fmt.Errorf("read offer: %w", err)
		}
		if o.State != offer.StatePENDING {
			return id, offerGone(i, o, v.Actor)
		}
		return id, f(ctx, w, c, i, o)
	})
}

// offerGone says what became of an offer that is answered too late.
func offerGone(i *ent.Interaction, o *ent.Offer, me gid.ID) error {
	switch {
	case o.State == offer.StateEXPIRED:
		return refuse(OfferExpired, "the offer's time is over", "id")
	case o.State == offer.StateWITHDRAWN && i.AgentID != nil && *i.AgentID != me:
		return &Refusal{Code: AlreadyTaken, Message: "another agent was first", Field: []string{"id"}, ConflictID: *i.AgentID}
	}
	return refuse(WrongState, "the offer is "+string(o.State), "id")
}

// closeOffer ends a pending offer, conditionally: of two who close it one does.
func (w *work) closeOffer(ctx context.Context, o *ent.Offer, to offer.State, out *offer.Outcome, reason *string) (*ent.Offer, error) {
	n, err := w.tx.Offer.UpdateOneID(o.ID).Where(offer.StateEQ(offer.StatePENDING)).SetState(to).SetNillableOutcome(out).SetNillableDeclineReason(reason).
		SetConnecting(false).SetClosedAt(w.at).AddVersion(1).SetUpdatedAt(w.at).Save(asSystem(ctx))
	if ent.IsNotFound(err) {
		return nil, refuse(WrongState, "the offer was closed meanwhile", "id")
	}
	if err != nil {
		return nil, fmt.Errorf("close offer: %w", err)
	}
	return n, nil
}

// serve makes an agent the interaction's server: assignment, ownership of an ownerless matter, sight. The agent's load
// is reserved already.
func (w *work) serve(ctx context.Context, c *ent.Conversation, i *ent.Interaction, t trigger, agentID gid.ID, cost int, kind assignment.Kind, offerID *gid.ID, reason string) (*ent.Conversation, *ent.Interaction, error) {
	if i.PreviousAgentID != nil { // who handed it over may have stayed beside it until now
		if err := w.endAssignments(ctx, i.ID); err != nil {
			return nil, nil, err
		}
	}
	takesMatter := c.OwnerID == nil || i.TakesMatter
	i, err := w.move(ctx, i, t, func(u *ent.InteractionUpdateOne) {
		u.SetAgentID(agentID).SetCost(cost).ClearOpenOfferID().ClearPreferID().ClearPreferUntil().SetRefused([]gid.ID{}).SetTakesMatter(false)
		if i.AcceptedAt == nil {
			u.SetAcceptedAt(w.at)
		}
	})
	if err != nil {
		return nil, nil, err
	}
	as, err := w.tx.Assignment.Create().SetInteractionID(i.ID).SetAgentID(agentID).SetNillableQueueID(i.QueueID).SetNillableOfferID(offerID).
		SetKind(kind).SetReason(reason).SetStartedAt(w.at).Save(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("write assignment: %w", err)
	}
	err = w.tx.TimelineItem.Create().SetType(timelineitem.TypeASSIGNMENT).SetAt(w.at).SetConversationID(c.ID).SetCustomerID(c.CustomerID).
		SetInteractionID(i.ID).SetAssignmentID(as.ID).SetAgentID(agentID).Exec(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("write timeline: %w", err)
	}
	sys := asSystem(ctx)
	if c, err = w.grant(sys, c, agentID, access.ReasonSERVED); err != nil {
		return nil, nil, err
	}
	if c, err = w.revoke(sys, c, agentID, access.ReasonOFFER); err != nil {
		return nil, nil, err
	}
	var own func(*ent.ConversationUpdateOne)
	if takesMatter {
		if c, own, err = w.passMatter(sys, c, &agentID); err != nil {
			return nil, nil, err
		}
	}
	if c, err = w.settle(sys, c, own); err != nil {
		return nil, nil, err
	}
	w.told(c, i, agentID, "state", "agent", "openOffer")
	if i.UnansweredSince == nil && !i.Live { // answered before he took it
		return c, i, w.pauseLater(sys, i)
	}
	return c, i, w.silentLater(ctx, i)
}

// silentLater sets the timer of the queue's silentAfter where the server's silence begins now: he took it, or the
// customer wrote. An agent who says nothing loses the interaction.
func (w *work) silentLater(ctx context.Context, i *ent.Interaction) error {
	if i.QueueID == nil || i.State != interaction.StateACTIVE || i.UnansweredSince == nil {
		return nil
	}
	q, err := w.tx.Queue.Get(asSystem(ctx), *i.QueueID)
	if err != nil {
		return fmt.Errorf("read queue: %w", err)
	}
	if q.SilentAfterSeconds == nil {
		return nil
	}
	_, _, err = jobs.Enqueue(ctx, w.tx, jobs.New{
		Kind: jobSilent, Args: silenceArgs{Interaction: i.ID, Since: w.at}, Subject: i.ID,
		RunAt: w.at.Add(time.Duration(*q.SilentAfterSeconds) * time.Second),
	})
	return err
}

// offerFailed returns an offered interaction to its queue with its age: declined, expired, agent gone.
func (w *work) offerFailed(ctx context.Context, c *ent.Conversation, i *ent.Interaction, o *ent.Offer, t trigger, to offer.State, out offer.Outcome, reason *string) error {
	o, err := w.closeOffer(ctx, o, to, &out, reason)
	if err != nil {
		return err
	}
	sys := asSystem(ctx)
	if err := w.release(sys, o.AgentID, i, o.Cost); err != nil {
		return err
	}
	refused := i.Refused
	if t != onAgentGone {
		refused = unique(append(append([]gid.ID{}, refused...), o.AgentID))
	}
	i, err = w.move(sys, i, t, func(u *ent.InteractionUpdateOne) {
		u.ClearOpenOfferID().SetRefused(refused)
		if i.PreferID != nil && *i.PreferID == o.AgentID {
			u.ClearPreferID().ClearPreferUntil()
		}
	})
	if err != nil {
		return err
	}
	// The audience of the closing is that of the offer: the agent hears of it before he loses sight.
	w.emit(fact{typ: OfferClosed, subject: o.ID, version: o.Version, conv: c, inter: i, agent: o.AgentID, audience: []gid.ID{o.AgentID}, changed: []string{"state"}})
	if c, err = w.revoke(sys, c, o.AgentID, access.ReasonOFFER); err != nil {
		return err
	}
	w.told(c, i, o.AgentID, "state", "openOffer")
	return nil
}

// expireOffer is the timer of an offer. A miss counts; enough of them in a row make a BREAK.
func (d *Desk) expireOffer(ctx context.Context, cl *jobs.Claim) error {
	var args offerArgs
	if err := cl.Decode(&args); err != nil {
		return jobs.Permanent(err)
	}
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		o, err := w.tx.Offer.Get(ctx, args.Offer)
		if err != nil {
			return fmt.Errorf("read offer: %w", err)
		}
		if o.State != offer.StatePENDING {
			return cl.Complete(ctx, w.tx)
		}
		c, i, err := w.lockInteraction(ctx, o.InteractionID)
		if err != nil {
			return err
		}
		if o, err = w.tx.Offer.Get(ctx, args.Offer); err != nil {
			return fmt.Errorf("read offer: %w", err)
		}
		// The offer of a call lives on while the leg rings; that has a timer of its own.
		if o.State == offer.StatePENDING && !o.ExpiresAt.After(w.at) {
			on, out := onExpire, offer.OutcomeEXPIRED
			if o.Connecting {
				on, out = onUnanswered, offer.OutcomeNO_ANSWER
			}
			if err := w.offerFailed(ctx, c, i, o, on, offer.StateEXPIRED, out, nil); err != nil {
				return err
			}
			if err := w.missed(ctx, o); err != nil {
				return err
			}
		}
		return cl.Complete(ctx, w.tx)
	})
}

// missed counts a miss of the agent; after the queue's breakAfterMisses in a row he is on BREAK, so that offers go to
// those who are there.
func (w *work) missed(ctx context.Context, o *ent.Offer) error {
	l, err := w.lockLoad(ctx, o.AgentID)
	if err != nil {
		return err
	}
	limit := 0
	if o.QueueID != nil {
		q, err := w.tx.Queue.Get(ctx, *o.QueueID)
		if err != nil {
			return fmt.Errorf("read queue: %w", err)
		}
		limit = q.BreakAfterMisses
	}
	misses := l.Misses + 1
	onBreak := limit > 0 && misses >= limit
	if onBreak {
		misses = 0
	}
	if _, err := w.saveLoad(ctx, l, func(u *ent.AgentLoadUpdateOne) { u.SetMisses(misses) }); err != nil || !onBreak {
		return err
	}
	reason, err := w.builtInReason(ctx, reasonNoAnswer)
	if err != nil {
		return err
	}
	return w.setStatus(ctx, o.AgentID, agentstatus.StateBREAK, &reason)
}
