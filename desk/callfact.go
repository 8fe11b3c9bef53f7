package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callfact"
	"tributary/ent/callleg"
	"tributary/ent/interaction"
	"tributary/ent/queue"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/personal"
	"tributary/internal/viewer"
)

// Report stores a fact with its effect, once: a repeat is answered by how things stand. voice.ErrStale: the call is of
// another node or life, or unknown. voice.ErrRefused: what the fact tells is not admitted, and was not stored.
func (v *Voice) Report(ctx context.Context, f voice.Fact) (voice.Answer, error) {
	d := v.d
	row, err := d.callOwner(ctx, rowID(f.Call))
	if err != nil {
		return voice.Answer{}, fmt.Errorf("fact %d of %s: %w", f.Number, f.Call, err)
	}
	var out voice.Answer
	err = d.do(viewer.System(ctx, row.WorkspaceID), nil, func(ctx context.Context, w *work) error {
		out = voice.Answer{}
		c, i, cl, err := w.lockCall(ctx, row.ID)
		if err != nil {
			return err
		}
		if cl.Node != f.Node || cl.Epoch != f.Epoch {
			return voice.ErrStale
		}
		if err := w.factOnce(ctx, c, i, cl, f); err != nil {
			return err
		}
		out, err = w.factAnswer(ctx, cl.ID, f)
		return err
	})
	if _, no := RefusalOf(err); no { // the state it is in does not admit it
		err = fmt.Errorf("%w: %w", voice.ErrRefused, err)
	}
	if errors.Is(err, voice.ErrStale) || errors.Is(err, voice.ErrRefused) {
		return voice.Answer{}, fmt.Errorf("fact %d of %s: %w", f.Number, f.Call, err)
	}
	return out, err
}

// factOnce writes the fact and does what it means, unless it was stored before. What comes after the end changes nothing,
// but a recording may: it is stored when it is whole.
func (w *work) factOnce(ctx context.Context, c *ent.Conversation, i *ent.Interaction, cl *ent.Call, f voice.Fact) error {
	if cl.State == call.StateENDED && f.Kind != voice.Recorded {
		if f.Kind == voice.Up {
			return voice.ErrRefused
		}
		return nil
	}
	there, err := w.tx.CallFact.Query().Where(callfact.CallID(cl.ID), callfact.Number(f.Number)).Exist(ctx)
	if err != nil {
		return fmt.Errorf("find fact: %w", err)
	}
	if there {
		return nil
	}
	input := f.Input
	if f.Kind == voice.Digit {
		input = f.Digit
	}
	row := w.tx.CallFact.Create().SetCallID(cl.ID).SetNumber(f.Number).SetKind(string(f.Kind)).SetAt(w.factTime(f)).
		SetStep(clean.Line(f.Step, maxCallerName)).SetExit(clean.Line(f.Exit, maxCallerName)).SetInput(personal.Of(clean.Line(input, maxHeader)))
	if leg := rowID(f.Leg); !leg.IsZero() {
		row.SetLegID(leg)
	}
	if err := row.Exec(ctx); err != nil {
		return fmt.Errorf("write fact: %w", err)
	}
	if err := w.tx.Call.UpdateOneID(cl.ID).SetLastFact(max(cl.LastFact, f.Number)).Exec(ctx); err != nil {
		return fmt.Errorf("count facts: %w", err)
	}
	return w.effect(ctx, c, i, cl, f)
}

// factTime is when it happened, cut to what the rows keep; the node's clock may be ahead.
func (w *work) factTime(f voice.Fact) time.Time {
	at := f.At.UTC().Truncate(time.Microsecond)
	if f.At.IsZero() || at.After(w.at) {
		return w.at
	}
	return at
}

// effect is what a fact means (MODEL 2).
func (w *work) effect(ctx context.Context, c *ent.Conversation, i *ent.Interaction, cl *ent.Call, f voice.Fact) error {
	switch f.Kind {
	case voice.Stepped:
		return nil
	case voice.Queued:
		return w.handedOver(ctx, c, i, f)
	case voice.Digit:
		w.callTouched(cl.ID, "digits")
		w.calls[cl.ID].digit = true
		return w.callChanged(ctx, cl, nil)
	case voice.Recorded:
		return w.recorded(ctx, cl, f)
	case voice.Ended:
		return w.hangUp(ctx, c, i, cl, closing{cause: f.Cause, code: f.Code, quality: f.Quality, at: w.factTime(f)})
	}
	leg, err := w.legOf(ctx, cl, f.Leg)
	if err != nil {
		return err
	}
	if leg == nil || leg.State == callleg.StateENDED { // the desk has dropped it, or never knew it
		if f.Kind == voice.Up {
			return voice.ErrRefused
		}
		return nil
	}
	return w.legEffect(ctx, c, i, cl, leg, f)
}

func (w *work) legEffect(ctx context.Context, c *ent.Conversation, i *ent.Interaction, cl *ent.Call, leg *ent.CallLeg, f voice.Fact) error {
	switch f.Kind {
	case voice.Answered:
		return w.legUp(ctx, cl, leg)
	case voice.Ringing:
		return w.callChanged(ctx, cl, func(u *ent.CallUpdateOne) {
			if cl.RingingAt == nil {
				u.SetRingingAt(w.factTime(f))
			}
		})
	case voice.Up:
		return w.agentUp(ctx, c, i, cl, leg)
	case voice.Missed:
		return w.legMissed(ctx, c, i, cl, leg, f)
	case voice.Left:
		return w.legLeft(ctx, c, i, cl, leg, f)
	case voice.Held, voice.Resumed:
		return w.legHeld(ctx, cl, leg, f.Kind == voice.Held)
	case voice.Muted, voice.Unmuted:
		if err := w.tx.CallLeg.UpdateOneID(leg.ID).SetMuted(f.Kind == voice.Muted).Exec(ctx); err != nil {
			return fmt.Errorf("save leg: %w", err)
		}
		return w.callChanged(ctx, cl, nil, "legs")
	}
	return nil
}

// callChanged saves a change of a call that moves no interaction.
func (w *work) callChanged(ctx context.Context, cl *ent.Call, change func(*ent.CallUpdateOne), changed ...string) error {
	u := w.tx.Call.UpdateOneID(cl.ID).AddVersion(1).SetUpdatedAt(w.at)
	if change != nil {
		change(u)
	}
	if err := u.Exec(ctx); err != nil {
		return fmt.Errorf("save call: %w", err)
	}
	w.callTouched(cl.ID, changed...)
	return nil
}

// handedOver takes a call out of its flow into a queue: its age starts here.
func (w *work) handedOver(ctx context.Context, c *ent.Conversation, i *ent.Interaction, f voice.Fact) error {
	if i.State != interaction.StateIN_FLOW {
		return nil
	}
	to := i.QueueID
	if id := rowID(f.Queue); !id.IsZero() {
		q, err := w.tx.Queue.Query().Where(queue.ID(id)).Only(ctx)
		if err != nil && !ent.IsNotFound(err) {
			return fmt.Errorf("read queue: %w", err)
		}
		if q != nil { // one that is gone: the channel's own
			if c, err = w.movedQueue(ctx, c, i, q); err != nil {
				return err
			}
			to = &q.ID
		}
	}
	m, err := w.move(ctx, i, onHandOver, func(u *ent.InteractionUpdateOne) { u.SetNillableQueueID(to).SetQueuedAt(w.at) })
	if err != nil {
		return err
	}
	w.told(c, m, gid.ID{}, "state", "queue")
	_, err = w.settle(ctx, c, nil)
	return err
}

// recorded keeps what was heard. The file lies in the store already.
func (w *work) recorded(ctx context.Context, cl *ent.Call, f voice.Fact) error {
	r := f.Recording
	if r == nil || r.Blob == "" {
		return voice.ErrRefused
	}
	err := w.tx.Recording.Create().SetCallID(cl.ID).SetBlobKey(r.Blob).SetBytes(r.Bytes).SetSha256(r.SHA256).SetSeconds(r.Seconds).
		SetStartedAt(r.StartedAt.UTC().Truncate(time.Microsecond)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	return w.callChanged(ctx, cl, nil, "recordings")
}

// factAnswer is what telephony does next, by how things stand now: the same for a repeat.
func (w *work) factAnswer(ctx context.Context, id gid.ID, f voice.Fact) (voice.Answer, error) {
	cl, err := w.tx.Call.Query().Where(call.ID(id)).WithInteraction().Only(ctx)
	if err != nil {
		return voice.Answer{}, fmt.Errorf("read call: %w", err)
	}
	out := voice.Answer{Version: cl.Version}
	switch f.Kind {
	case voice.Queued:
		out.Waiting, err = w.waitingSound(ctx, cl.Edges.Interaction)
	case voice.Up:
		out.Record = cl.RecordingState == call.RecordingStateRECORDING
	}
	return out, err
}
