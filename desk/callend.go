package desk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// closing is how a call ends.
type closing struct {
	cause   voice.Cause
	code    int
	quality *voice.Quality
	at      time.Time
}

// endCall ends a call's row with its legs.
func (w *work) endCall(ctx context.Context, c *ent.Call, how closing) error {
	err := w.tx.CallLeg.Update().Where(callleg.CallID(c.ID), callleg.StateNEQ(callleg.StateENDED)).
		SetState(callleg.StateENDED).SetLeftAt(w.at).SetCause(string(how.cause)).SetHeld(false).Exec(ctx)
	if err != nil {
		return fmt.Errorf("end legs: %w", err)
	}
	u := w.tx.Call.UpdateOneID(c.ID).SetState(call.StateENDED).SetEndedAt(how.at).SetEndCause(endCause(how.cause)).SetRecordingState(call.RecordingStateOFF).
		AddVersion(1).SetUpdatedAt(w.at)
	w.unhold(u, c)
	if how.code > 0 {
		u.SetSipCode(how.code)
	}
	if q := how.quality; q != nil {
		u.SetLossRate(q.LossRate).SetJitterMs(q.JitterMs)
	}
	if err := u.Exec(ctx); err != nil {
		return fmt.Errorf("end call: %w", err)
	}
	w.callTouched(c.ID, "state", "endCause")
	return nil
}

// hangUp is what the end of a call means for its contact: nobody served yet, so it was abandoned; or it is over, with
// wrap-up if somebody spoke with the customer.
func (w *work) hangUp(ctx context.Context, conv *ent.Conversation, i *ent.Interaction, c *ent.Call, how closing) error {
	if err := w.endCall(ctx, c, how); err != nil {
		return err
	}
	switch i.State {
	case interaction.StateIN_FLOW, interaction.StateQUEUED, interaction.StateOFFERED:
		return w.abandon(ctx, conv, i)
	case interaction.StateACTIVE:
		if c.AnsweredAt != nil {
			return w.end(ctx, conv, i)
		}
		_, err := w.leave(ctx, conv, i, onEnd, nil)
		return err
	default:
		return nil
	}
}

// callLost ends a call whose node is gone (MODEL 2): its contact is over and its agents are free. What waited may be called
// back by the caller within RedialWithin.
func (w *work) callLost(ctx context.Context, conv *ent.Conversation, i *ent.Interaction, c *ent.Call) error {
	if err := w.endCall(ctx, c, closing{cause: voice.NodeLost, at: w.at}); err != nil {
		return err
	}
	if i.State == interaction.StateENDED {
		return nil
	}
	if i.OpenOfferID != nil {
		var err error
		if conv, err = w.withdraw(ctx, conv, i, offer.OutcomeLOST); err != nil {
			return err
		}
	}
	before, after, why := string(i.State), string(interaction.StateENDED), "the node of the call was lost"
	if err := w.changed(ctx, conv, i, "interaction.state", &before, &after, &why); err != nil {
		return err
	}
	_, err := w.leave(ctx, conv, i, onNodeLost, func(u *ent.InteractionUpdateOne) { u.ClearUnansweredSince() })
	return err
}

// sweepCalls finds the calls whose node has given no sign for CallLostAfter, twice: a database that was away kept the signs
// of all nodes away, too, and they come with the next pulse.
func (d *Desk) sweepCalls(ctx context.Context) error {
	old := d.now().Add(-CallLostAfter)
	rows, err := d.db.Call.Query().Where(call.StateNEQ(call.StateENDED), call.BeatAtLT(old)).Order(ent.Asc(call.FieldBeatAt)).Limit(200).All(within(viewer.Global(ctx)))
	if err != nil {
		return fmt.Errorf("read calls without a sign: %w", err)
	}
	return d.loseCalls(ctx, d.unheard.longEnough(rows, d.now()), func(c *ent.Call) bool { return c.BeatAt.Before(old) })
}

// unheard remembers since when this process, which sweeps, has missed the sign of a call.
type unheard struct {
	mu    sync.Mutex
	since map[gid.ID]time.Time
}

// longEnough are the calls that were missed by looks at least two pulses apart, and remembers the others.
func (s *unheard) longEnough(rows []*ent.Call, now time.Time) []*ent.Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, out := make(map[gid.ID]time.Time, len(rows)), []*ent.Call(nil)
	for _, c := range rows {
		first, known := s.since[c.ID]
		if !known {
			first = now
		}
		since[c.ID] = first
		if now.Sub(first) >= twoPulses {
			out = append(out, c)
		}
	}
	s.since = since
	return out
}

// recoverCalls ends what an earlier life of this node has left.
func (d *Desk) recoverCalls(ctx context.Context) error {
	rows, err := d.db.Call.Query().Where(call.Node(d.Node), call.StateNEQ(call.StateENDED), call.EpochNEQ(d.Epoch)).All(within(viewer.Global(ctx)))
	if err != nil {
		return fmt.Errorf("read calls of an earlier life: %w", err)
	}
	return d.loseCalls(ctx, rows, func(*ent.Call) bool { return true })
}

// loseCalls ends each in a transaction of its own, if it is still as it was found. One that cannot be ended does not keep
// the others waiting.
func (d *Desk) loseCalls(ctx context.Context, rows []*ent.Call, still func(*ent.Call) bool) error {
	var errs []error
	for _, row := range rows {
		errs = append(errs, d.do(viewer.System(ctx, row.WorkspaceID), nil, func(ctx context.Context, w *work) error {
			conv, i, c, err := w.lockCall(ctx, row.ID)
			if err != nil || c.State == call.StateENDED || !still(c) {
				return err
			}
			return w.callLost(ctx, conv, i, c)
		}))
	}
	return errors.Join(errs...)
}

// lockCall locks the conversation of a call, then reads all three.
func (w *work) lockCall(ctx context.Context, id gid.ID) (*ent.Conversation, *ent.Interaction, *ent.Call, error) {
	c, err := w.tx.Call.Get(ctx, id)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read call: %w", err)
	}
	conv, i, err := w.lockInteraction(ctx, c.InteractionID)
	if err != nil {
		return nil, nil, nil, err
	}
	if w.pg { // what was read before the lock may be old
		if c, err = w.tx.Call.Get(ctx, id); err != nil {
			return nil, nil, nil, fmt.Errorf("read call: %w", err)
		}
	}
	return conv, i, c, nil
}
