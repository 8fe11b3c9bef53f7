package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/assignment"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/ent/queue"
	"tributary/internal/viewer"
)

// legUp notes that somebody is on the line. Customer and agent both up: they speak.
func (w *work) legUp(ctx context.Context, cl *ent.Call, leg *ent.CallLeg) error {
	if leg.State != callleg.StateACTIVE {
		if err := w.tx.CallLeg.UpdateOneID(leg.ID).SetState(callleg.StateACTIVE).SetJoinedAt(w.at).ClearRingUntil().Exec(ctx); err != nil {
			return fmt.Errorf("save leg: %w", err)
		}
	}
	up, err := w.tx.CallLeg.Query().Where(callleg.CallID(cl.ID), callleg.StateEQ(callleg.StateACTIVE)).All(ctx)
	if err != nil {
		return fmt.Errorf("read legs: %w", err)
	}
	role := func(r callleg.Role) bool {
		return slices.ContainsFunc(up, func(l *ent.CallLeg) bool { return l.Role == r })
	}
	both := role(callleg.RoleAGENT) && (cl.Direction == call.DirectionINBOUND || role(callleg.RoleCUSTOMER))
	if !both {
		return w.callChanged(ctx, cl, nil, "legs")
	}
	record, err := w.records(ctx, cl)
	if err != nil {
		return err
	}
	return w.callChanged(ctx, cl, func(u *ent.CallUpdateOne) {
		u.SetState(call.StateACTIVE)
		if cl.AnsweredAt == nil {
			u.SetAnsweredAt(w.at)
		}
		if record {
			u.SetRecordingState(call.RecordingStateRECORDING)
		}
	}, "state", "legs")
}

// records reports whether the queue of the call wants the two to be recorded.
func (w *work) records(ctx context.Context, cl *ent.Call) (bool, error) {
	yes, err := w.tx.Interaction.Query().Where(interaction.ID(cl.InteractionID), interaction.HasQueueWith(queue.RecordingEQ(queue.RecordingALWAYS))).Exist(ctx)
	return yes, wrapped("read queue", err)
}

// agentUp is an agent's leg that came up: his offer is accepted now, and he serves. Whoever's offer is gone is dropped and
// hears nobody.
func (w *work) agentUp(ctx context.Context, c *ent.Conversation, i *ent.Interaction, cl *ent.Call, leg *ent.CallLeg) error {
	if leg.Role != callleg.RoleAGENT || leg.AgentID == nil {
		return voice.ErrRefused
	}
	if i.State == interaction.StateACTIVE && i.AgentID != nil && *i.AgentID == *leg.AgentID { // he began the call, or it is said again
		return w.legUp(ctx, cl, leg)
	}
	if leg.OfferID == nil || i.State != interaction.StateOFFERED || i.OpenOfferID == nil || *i.OpenOfferID != *leg.OfferID {
		return voice.ErrRefused
	}
	o, err := w.tx.Offer.Get(ctx, *leg.OfferID)
	if err != nil {
		return fmt.Errorf("read offer: %w", err)
	}
	if o.State != offer.StatePENDING || !o.Connecting {
		return voice.ErrRefused
	}
	kind, why := assignment.KindOFFER, "offer accepted"
	if slices.Contains(o.Reasons, reasonClaimed) {
		kind, why = assignment.KindCLAIM, "claimed by hand"
	}
	if err := w.accept(within(viewer.Acting(ctx, viewer.From(ctx).Workspace, o.AgentID)), c, i, o, kind, why); err != nil {
		return err
	}
	return w.legUp(ctx, cl, leg)
}

// legMissed is a leg that ended without ever having been up.
func (w *work) legMissed(ctx context.Context, c *ent.Conversation, i *ent.Interaction, cl *ent.Call, leg *ent.CallLeg, f voice.Fact) error {
	if err := w.endLeg(ctx, leg, f); err != nil {
		return err
	}
	if cl.Direction == call.DirectionOUTBOUND && cl.AnsweredAt == nil { // whichever of the two: nobody has spoken
		return w.hangUp(ctx, c, i, cl, closing{cause: f.Cause, code: f.Code, at: w.factTime(f)})
	}
	if err := w.callChanged(ctx, cl, nil, "legs"); err != nil {
		return err
	}
	o, err := w.offerOf(ctx, i, leg)
	if o == nil || err != nil || f.Cause == voice.Dropped {
		return err
	}
	if byHand(f) {
		return w.offerFailed(ctx, c, i, o, onDecline, offer.StateDECLINED, offer.OutcomeDECLINED, nil)
	}
	if err := w.offerFailed(ctx, c, i, o, onUnanswered, offer.StateEXPIRED, offer.OutcomeNO_ANSWER, nil); err != nil {
		return err
	}
	if f.Cause == voice.NoAnswer || f.Cause == voice.Unreachable {
		return w.missed(ctx, o)
	}
	return nil
}

// byHand reports whether the agent himself refused: a decline is no miss.
func byHand(f voice.Fact) bool {
	return f.Cause == voice.Rejected || f.Cause == voice.Busy || f.Code == 603 || f.Code == 486
}

// offerOf is the pending offer that a leg was to accept; nil if it is gone.
func (w *work) offerOf(ctx context.Context, i *ent.Interaction, leg *ent.CallLeg) (*ent.Offer, error) {
	if leg.OfferID == nil || i.OpenOfferID == nil || *i.OpenOfferID != *leg.OfferID || i.State != interaction.StateOFFERED {
		return nil, nil
	}
	o, err := w.tx.Offer.Query().Where(offer.ID(*leg.OfferID), offer.StateEQ(offer.StatePENDING)).Only(asSystem(ctx))
	if ent.IsNotFound(err) {
		return nil, nil
	}
	return o, wrapped("read offer", err)
}

func (w *work) endLeg(ctx context.Context, leg *ent.CallLeg, f voice.Fact) error {
	u := w.tx.CallLeg.UpdateOneID(leg.ID).SetState(callleg.StateENDED).SetLeftAt(w.factTime(f)).SetCause(string(f.Cause)).SetHeld(false)
	if f.Code > 0 {
		u.SetSipCode(f.Code)
	}
	if err := u.Exec(ctx); err != nil {
		return fmt.Errorf("end leg: %w", err)
	}
	return nil
}

// legLeft is a leg that was up and ended while the call goes on. An agent who is gone without the desk's wish is lost: the
// customer waits again, before others.
func (w *work) legLeft(ctx context.Context, c *ent.Conversation, i *ent.Interaction, cl *ent.Call, leg *ent.CallLeg, f voice.Fact) error {
	if err := w.endLeg(ctx, leg, f); err != nil {
		return err
	}
	if err := w.legHeldNow(ctx, cl, "legs"); err != nil {
		return err
	}
	if f.Cause == voice.Dropped || leg.AgentID == nil || i.State != interaction.StateACTIVE || i.AgentID == nil || *i.AgentID != *leg.AgentID {
		return nil
	}
	return w.serverLost(ctx, c, i, "the agent's leg was lost")
}

// legHeld notes that a leg put the other side on hold, or took it back.
func (w *work) legHeld(ctx context.Context, cl *ent.Call, leg *ent.CallLeg, held bool) error {
	if err := w.tx.CallLeg.UpdateOneID(leg.ID).SetHeld(held).Exec(ctx); err != nil {
		return fmt.Errorf("save leg: %w", err)
	}
	return w.legHeldNow(ctx, cl, "state", "legs")
}

// legHeldNow derives whether the call is held from its legs: one of them holds.
func (w *work) legHeldNow(ctx context.Context, cl *ent.Call, changed ...string) error {
	held, err := w.tx.CallLeg.Query().Where(callleg.CallID(cl.ID), callleg.Held(true), callleg.StateEQ(callleg.StateACTIVE)).Exist(ctx)
	if err != nil {
		return fmt.Errorf("read legs: %w", err)
	}
	return w.callChanged(ctx, cl, func(u *ent.CallUpdateOne) {
		switch {
		case held && cl.State == call.StateACTIVE:
			u.SetState(call.StateHELD).SetHeldSince(w.at)
		case !held && cl.State == call.StateHELD:
			w.unhold(u, cl)
			u.SetState(call.StateACTIVE)
		}
	}, changed...)
}

// serverLost takes an interaction from an agent who is gone, if he is: with a live leg he is not (MODEL 2). A call that he
// began and that nobody has answered yet is over.
func (w *work) serverLost(ctx context.Context, c *ent.Conversation, i *ent.Interaction, why string) error {
	there, err := w.staysOnTheLine(ctx, i)
	if err != nil || there {
		return err
	}
	cl, err := w.openCallOfKind(ctx, i)
	if err != nil {
		return err
	}
	if cl != nil && cl.AnsweredAt == nil && cl.Direction == call.DirectionOUTBOUND {
		_, err := w.leave(ctx, c, i, onEnd, nil)
		return err
	}
	return w.giveUp(ctx, c, i, why)
}

// openCallOfKind is openCall, without a question where the kind has no calls.
func (w *work) openCallOfKind(ctx context.Context, i *ent.Interaction) (*ent.Call, error) {
	if !liveKind(i.ChannelKind) {
		return nil, nil
	}
	return w.openCall(ctx, i.ID)
}

// staysOnTheLine reports whether the server of a call speaks with the customer now. Whoever was switched off does not stay.
func (w *work) staysOnTheLine(ctx context.Context, i *ent.Interaction) (bool, error) {
	if i.AgentID == nil {
		return false, nil
	}
	on, err := w.hasLiveLeg(ctx, i, *i.AgentID)
	if err != nil || !on {
		return false, err
	}
	a, err := w.tx.Agent.Get(asSystem(ctx), *i.AgentID)
	if err != nil {
		return false, fmt.Errorf("read agent: %w", err)
	}
	return a.Active, nil
}

// reasonClaimed is why an offer was made to whoever claimed the call.
const reasonClaimed = "claimed"
