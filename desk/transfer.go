package desk

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/assignment"
	"tributary/ent/consultant"
	"tributary/ent/interaction"
	"tributary/ent/queue"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Transfer hands an interaction over (MODEL 2): to a queue or team it is QUEUED with the age it has, to an agent it is an
// offer. Warm: the giver stays as consultant until the taker serves. The matter goes along only by `withOwner`, and
// only when somebody takes it.
func (d *Desk) Transfer(ctx context.Context, id gid.ID, in TransferInput, key *string) (gid.ID, error) {
	if named(in.AgentID, in.QueueID, in.TeamID) != 1 {
		return gid.ID{}, refuse(Invalid, "name one of agentId, queueId and teamId", "input")
	}
	return d.serving(ctx, id, key, []any{"interactionTransfer", in}, func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction) error {
		if err := mine(ctx, i); err != nil {
			return err
		}
		if deref(in.WithOwner, false) {
			if err := mayPass(ctx, c, "input", "withOwner"); err != nil {
				return err
			}
		}
		h := handOver{in: in, giver: i.AgentID, warm: in.Mode != nil && *in.Mode == Warm}
		if h.warm && liveKind(i.ChannelKind) {
			return refuse(NotSupported, "a call is handed over cold", "input", "mode")
		}
		if in.AgentID != nil {
			return w.transferToAgent(ctx, c, i, h)
		}
		q, err := w.targetQueue(ctx, in)
		if err != nil {
			return err
		}
		return w.transferToQueue(ctx, c, i, h, q)
	})
}

func named(ids ...*gid.ID) (n int) {
	for _, id := range ids {
		if id != nil {
			n++
		}
	}
	return n
}

// handOver is a transfer on its way.
type handOver struct {
	in    TransferInput
	giver *gid.ID
	warm  bool
}

// apply sets what every transfer sets. Who gives it away is not asked next.
func (h handOver) apply(u *ent.InteractionUpdateOne) {
	u.ClearPreferID().ClearPreferUntil().SetTakesMatter(deref(h.in.WithOwner, false)).SetNillablePriority(h.in.Priority)
	if h.giver != nil {
		u.SetRefused([]gid.ID{*h.giver})
	}
}

// targetQueue is the named queue, or the oldest one of the named team.
func (w *work) targetQueue(ctx context.Context, in TransferInput) (*ent.Queue, error) {
	q, field := w.tx.Queue.Query().Order(ent.Asc(queue.FieldID)), "queueId"
	if in.QueueID != nil {
		q.Where(queue.ID(*in.QueueID))
	} else {
		q.Where(queue.TeamID(*in.TeamID))
		field = "teamId"
	}
	got, err := q.First(asSystem(ctx))
	if ent.IsNotFound(err) {
		return nil, notFound("queue", "input", field)
	}
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	return got, nil
}

func (w *work) transferToQueue(ctx context.Context, c *ent.Conversation, i *ent.Interaction, h handOver, q *ent.Queue) error {
	if _, err := next(i.State, onTransfer); err != nil {
		return err
	}
	if err := w.changed(ctx, c, i, "interaction.queue", textOfID(i.QueueID), textOfID(&q.ID), h.in.Reason); err != nil {
		return err
	}
	sys := asSystem(ctx)
	c, err := w.movedQueue(sys, c, i, q)
	if err != nil {
		return err
	}
	m, err := w.leave(ctx, c, i, onTransfer, func(u *ent.InteractionUpdateOne) {
		h.apply(u)
		u.SetQueueID(q.ID).ClearOpenOfferID()
		w.keepAge(u, i)
	})
	if err != nil || !h.warm {
		return err
	}
	return w.stayBeside(sys, m, h.giver)
}

// movedQueue gives the new queue's team sight and takes it from the old one's, unless another contact of the
// conversation waits or waited with that team.
func (w *work) movedQueue(ctx context.Context, c *ent.Conversation, i *ent.Interaction, to *ent.Queue) (*ent.Conversation, error) {
	var err error
	if to.TeamID != nil {
		if c, err = w.grant(ctx, c, *to.TeamID, access.ReasonQUEUE); err != nil {
			return nil, err
		}
	}
	if i.QueueID == nil || *i.QueueID == to.ID {
		return c, nil
	}
	from, err := w.tx.Queue.Get(ctx, *i.QueueID)
	if err != nil {
		return nil, fmt.Errorf("read queue: %w", err)
	}
	if from.TeamID == nil || same(from.TeamID, to.TeamID) {
		return c, nil
	}
	other, err := w.tx.Interaction.Query().Where(interaction.ConversationID(c.ID), interaction.IDNEQ(i.ID), interaction.HasQueueWith(queue.TeamID(*from.TeamID))).Exist(ctx)
	if err != nil {
		return nil, fmt.Errorf("read interactions: %w", err)
	}
	if other {
		return c, nil
	}
	return w.revoke(ctx, c, *from.TeamID, access.ReasonQUEUE)
}

// transferToAgent reserves the taker's capacity, gives the giver's back and makes an offer, all or nothing.
func (w *work) transferToAgent(ctx context.Context, c *ent.Conversation, i *ent.Interaction, h handOver) error {
	taker, sys := *h.in.AgentID, asSystem(ctx)
	if _, err := next(i.State, onTransferTo); err != nil {
		return err
	}
	if err := w.mayTake(sys, i, taker); err != nil {
		return err
	}
	if err := w.lockLoads(sys, append([]gid.ID{taker}, h.from()...)...); err != nil {
		return err
	}
	cost, _, err := w.reserve(sys, taker, i)
	if err != nil {
		return fieldTo(err, "input", "agentId")
	}
	why, err := w.decidedByHand(sys, i, taker, reasonTransfer)
	if err != nil {
		return err
	}
	until, err := w.offerTime(sys, i)
	if err != nil {
		return err
	}
	reasons, err := w.callerKnown(sys, i, []string{reasonTransfer})
	if err != nil {
		return err
	}
	o, err := w.writeOffer(sys, i, &ent.Offer{AgentID: taker, Reasons: reasons, DecisionID: &why, Cost: cost, ExpiresAt: until})
	if err != nil {
		return err
	}
	if err := w.changed(ctx, c, i, "interaction.agent", textOfID(h.giver), textOfID(&taker), h.in.Reason); err != nil {
		return err
	}
	return w.handToAgent(sys, c, i, h, o)
}

func (h handOver) from() []gid.ID {
	if h.giver == nil {
		return nil
	}
	return []gid.ID{*h.giver}
}

// handToAgent moves the interaction from its server to the offer.
func (w *work) handToAgent(ctx context.Context, c *ent.Conversation, i *ent.Interaction, h handOver, o *ent.Offer) error {
	m, err := w.move(ctx, i, onTransferTo, func(u *ent.InteractionUpdateOne) {
		h.apply(u)
		u.SetOpenOfferID(o.ID).ClearAgentID().SetCost(0).SetNillablePreviousAgentID(h.giver)
		w.keepAge(u, i)
	})
	if err != nil {
		return err
	}
	if h.giver != nil {
		if err := w.release(ctx, *h.giver, i, i.Cost); err != nil {
			return err
		}
	}
	if err := w.endAssignments(ctx, i.ID); err != nil {
		return err
	}
	if h.warm {
		if err := w.stayBeside(ctx, m, h.giver); err != nil {
			return err
		}
	}
	if c, err = w.grant(ctx, c, o.AgentID, access.ReasonOFFER); err != nil {
		return err
	}
	w.emit(fact{typ: OfferCreated, subject: o.ID, version: o.Version, conv: c, inter: m, agent: o.AgentID, audience: []gid.ID{o.AgentID}})
	w.told(c, m, deref(h.giver, gid.ID{}), "state", "agent", "openOffer")
	_, err = w.settle(ctx, c, nil)
	return err
}

// reasonTransfer is why an offer was made by a colleague's hand.
const reasonTransfer = "transferred"

// mayTake checks that an agent can be handed an interaction now: he takes offers, is there, and may read it.
func (w *work) mayTake(ctx context.Context, i *ent.Interaction, taker gid.ID) error {
	if err := w.agentsExist(ctx, []gid.ID{taker}, "input", "agentId"); err != nil {
		return err
	}
	if i.AgentID != nil && *i.AgentID == taker {
		return refuse(WrongState, "he serves it already", "input", "agentId")
	}
	if err := w.takesOffers(ctx, taker); err != nil {
		return fieldTo(err, "input", "agentId")
	}
	live, err := w.aliveAgents(ctx, w.tx.Client(), taker)
	if err != nil {
		return err
	}
	if !live.serves(taker, i.ChannelKind) {
		return refuse(CapacityFull, "the agent is not connected", "input", "agentId")
	}
	v, err := w.viewerOfAgent(ctx, w.tx.Client(), taker)
	if err != nil {
		return err
	}
	if v.Withholds(i.QueueID) {
		return refuse(NotAllowed, "he is no member of this restricted queue", "input", "agentId")
	}
	return nil
}

// fieldTo names the argument that a refusal is about.
func fieldTo(err error, field ...string) error {
	if r, ok := RefusalOf(err); ok {
		r.Field = field
	}
	return err
}

func (w *work) offerTime(ctx context.Context, i *ent.Interaction) (time.Time, error) {
	if i.QueueID == nil {
		return w.at.Add(30 * time.Second), nil
	}
	q, err := w.tx.Queue.Get(ctx, *i.QueueID)
	if err != nil {
		return time.Time{}, fmt.Errorf("read queue: %w", err)
	}
	return w.at.Add(time.Duration(q.OfferSeconds) * time.Second), nil
}

// decidedByHand stores that a person chose.
func (w *work) decidedByHand(ctx context.Context, i *ent.Interaction, chosen gid.ID, reason string) (gid.ID, error) {
	row, err := w.tx.RoutingDecision.Create().SetInteractionID(i.ID).SetNillableQueueID(i.QueueID).SetChosenID(chosen).SetOutcome("ASSIGNED_BY_HAND").
		SetReasons([]string{reason}).SetCandidates(nil).SetExcluded(map[string]int{}).SetAt(w.at).Save(ctx)
	if err != nil {
		return gid.ID{}, fmt.Errorf("write decision: %w", err)
	}
	return row.ID, nil
}

// stayBeside makes the giver a consultant: he may write, and carries nothing.
func (w *work) stayBeside(ctx context.Context, i *ent.Interaction, agentID *gid.ID) error {
	if agentID == nil {
		return nil
	}
	err := w.tx.Consultant.Create().SetInteractionID(i.ID).SetAgentID(*agentID).
		OnConflictColumns(consultant.FieldWorkspaceID, consultant.FieldInteractionID, consultant.FieldAgentID).DoNothing().Exec(ctx)
	if err != nil && !isNoRows(err) {
		return fmt.Errorf("write consultant: %w", err)
	}
	as, err := w.tx.Assignment.Create().SetInteractionID(i.ID).SetAgentID(*agentID).SetNillableQueueID(i.QueueID).SetKind(assignment.KindCONSULT).
		SetReason("beside the server").SetStartedAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("write assignment: %w", err)
	}
	err = w.tx.TimelineItem.Create().SetType(timelineitem.TypeASSIGNMENT).SetAt(w.at).SetConversationID(i.ConversationID).SetCustomerID(i.CustomerID).
		SetInteractionID(i.ID).SetAssignmentID(as.ID).SetAgentID(*agentID).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	return nil
}

// Join makes the caller a consultant of what another agent serves (MODEL 7).
func (d *Desk) Join(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.serving(ctx, id, key, "interactionJoin", func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction) error {
		v := viewer.From(ctx)
		switch {
		case v.Actor.Kind() != gid.Agent:
			return refuse(NotAllowed, "only an agent can help", "id")
		case i.State != interaction.StateACTIVE:
			return refuse(WrongState, "nobody serves it: take it", "id")
		case i.AgentID != nil && *i.AgentID == v.Actor:
			return refuse(WrongState, "you serve it", "id")
		}
		there, err := w.consults(ctx, i, v.Actor)
		if err != nil || there {
			return err
		}
		sys := asSystem(ctx)
		if err := w.stayBeside(sys, i, &v.Actor); err != nil {
			return err
		}
		if c, err = w.grant(sys, c, v.Actor, access.ReasonSERVED); err != nil {
			return err
		}
		return w.tellConsultants(sys, c, i)
	})
}

// Leave ends the caller's help.
func (d *Desk) Leave(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.serving(ctx, id, key, "interactionLeave", func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction) error {
		me, sys := viewer.From(ctx).Actor, asSystem(ctx)
		helped, err := w.endConsult(sys, c, i, me)
		if err == nil && !helped {
			err = refuse(WrongState, "you do not help here", "id")
		}
		return err
	})
}

// endConsult ends an agent's help, if he helps.
func (w *work) endConsult(ctx context.Context, c *ent.Conversation, i *ent.Interaction, agentID gid.ID) (bool, error) {
	n, err := w.tx.Consultant.Delete().Where(consultant.InteractionID(i.ID), consultant.AgentID(agentID)).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("end consultant: %w", err)
	}
	if n == 0 {
		return false, nil
	}
	err = w.tx.Assignment.Update().Where(assignment.InteractionID(i.ID), assignment.AgentID(agentID), assignment.KindEQ(assignment.KindCONSULT), assignment.EndedAtIsNil()).
		SetEndedAt(w.at).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("end assignment: %w", err)
	}
	return true, w.tellConsultants(ctx, c, i)
}

func (w *work) consults(ctx context.Context, i *ent.Interaction, agentID gid.ID) (bool, error) {
	there, err := w.tx.Consultant.Query().Where(consultant.InteractionID(i.ID), consultant.AgentID(agentID)).Exist(asSystem(ctx))
	if err != nil {
		return false, fmt.Errorf("read consultants: %w", err)
	}
	return there, nil
}

func (w *work) tellConsultants(ctx context.Context, c *ent.Conversation, i *ent.Interaction) error {
	n, err := w.tx.Interaction.UpdateOneID(i.ID).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("save interaction: %w", err)
	}
	w.told(c, n, gid.ID{}, "consultants")
	return nil
}

// canWrite lists who may write in what an agent serves: he himself, who joined, a supervisor, a program.
func (w *work) canWrite(ctx context.Context, i *ent.Interaction) (bool, error) {
	v := viewer.From(ctx)
	if i.AgentID != nil && *i.AgentID == v.Actor || v.Has(viewer.Supervise) || v.Kind == viewer.KindApp {
		return true, nil
	}
	return w.consults(ctx, i, v.Actor)
}

var waiting = []interaction.State{interaction.StateQUEUED, interaction.StateOFFERED}

func waits(i *ent.Interaction) bool { return slices.Contains(waiting, i.State) }
