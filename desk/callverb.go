package desk

import (
	"context"
	"fmt"
	"strings"
	"time"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/idempotencykey"
	"tributary/ent/interaction"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// HoldCall puts the customer on hold, or takes him back. The serving agent alone may. The call shows it when it returns.
func (d *Desk) HoldCall(ctx context.Context, id gid.ID, held bool, key *string) (gid.ID, error) {
	return d.callVerb(ctx, id, key, []any{"callHold", id, held}, func(ctx context.Context, to voice.Ref) error {
		return d.Switchboard.Hold(ctx, to, held)
	})
}

// MuteCall silences the serving agent's leg, or lets it be heard again.
func (d *Desk) MuteCall(ctx context.Context, id gid.ID, muted bool, key *string) (gid.ID, error) {
	return d.callVerb(ctx, id, key, []any{"callMute", id, muted}, func(ctx context.Context, to voice.Ref) error {
		return d.Switchboard.Mute(ctx, to, muted)
	})
}

// RenewMedia takes a new offer of media of the serving agent's browser: an ICE restart, or a new connection.
func (d *Desk) RenewMedia(ctx context.Context, id gid.ID, sdpOffer string) (Connected, error) {
	if err := checkSDP(sdpOffer, "sdpOffer"); err != nil {
		return Connected{}, err
	}
	out := Connected{Call: id}
	_, err := d.callVerb(ctx, id, nil, "callMediaRenew", func(ctx context.Context, to voice.Ref) (err error) {
		out.SDPAnswer, err = d.Switchboard.Renew(ctx, to, sdpOffer)
		return err
	})
	return out, err
}

const (
	// maxDigits is how many keys are sent at once.
	maxDigits = 32
	// keyTime is what each takes at most.
	keyTime = 200 * time.Millisecond
)

// SendDigits sends keys to the customer's side. One key sends them once, unless the node said that it did not.
func (d *Desk) SendDigits(ctx context.Context, id gid.ID, digits string, key *string) (gid.ID, error) {
	wrong := func(r rune) bool { return !strings.ContainsRune(voice.Digits, r) }
	if digits == "" || len(digits) > maxDigits || strings.ContainsFunc(digits, wrong) {
		return gid.ID{}, refuse(Invalid, fmt.Sprintf("1 to %d of the keys %s", maxDigits, voice.Digits), "digits")
	}
	ref, err := d.myLine(ctx, id)
	if err != nil {
		return id, err
	}
	_, fresh, err := d.onceFresh(ctx, key, []any{"callDigitsSend", id, digits}, func(context.Context, *work) (gid.ID, error) { return id, nil })
	if err != nil || !fresh {
		return id, err
	}
	// They are sent one after the other, which takes its time beside that of the request.
	verb, cancel := context.WithTimeout(context.WithoutCancel(asSystem(ctx)), verbTimeout+time.Duration(len(digits))*keyTime)
	defer cancel()
	if err := d.Switchboard.Digits(verb, ref, digits); err != nil {
		if key != nil {
			if err := d.forgetKey(ctx, *key); err != nil {
				d.Log.WarnContext(ctx, "forget the key of what was not done", "error", err)
			}
		}
		return id, verbRefused(err, "id")
	}
	return id, nil
}

// forgetKey lets a key be used again for what had no effect.
func (d *Desk) forgetKey(ctx context.Context, key string) error {
	me := viewer.From(ctx).Actor
	return d.do(context.WithoutCancel(asSystem(ctx)), nil, func(ctx context.Context, w *work) error {
		_, err := w.tx.IdempotencyKey.Delete().Where(idempotencykey.ActorID(me), idempotencykey.Key(key)).Exec(ctx)
		return err
	})
}

// callVerb asks the node of a call to do something with the caller's own leg. It may be asked again: the verb says how
// things shall be.
func (d *Desk) callVerb(ctx context.Context, id gid.ID, key *string, what any, f func(context.Context, voice.Ref) error) (gid.ID, error) {
	ref, err := d.myLine(ctx, id)
	if err != nil {
		return id, err
	}
	if key != nil {
		if _, err := d.once(ctx, key, what, func(context.Context, *work) (gid.ID, error) { return id, nil }); err != nil {
			return id, err
		}
	}
	verb, cancel := d.verb(ctx)
	defer cancel()
	if err := f(verb, ref); err != nil {
		return id, verbRefused(err, "id")
	}
	return id, nil
}

// myLine names the leg by which the caller serves a call. Of others' calls he learns no more than he sees.
func (d *Desk) myLine(ctx context.Context, id gid.ID) (voice.Ref, error) {
	if err := need(ctx, viewer.CallControl); err != nil {
		return voice.Ref{}, err
	}
	me, sys := viewer.From(ctx).Actor, asSystem(ctx)
	cl, err := d.db.Call.Query().Where(call.ID(id)).WithInteraction().WithLegs(func(q *ent.CallLegQuery) {
		q.Where(callleg.AgentID(me), callleg.StateEQ(callleg.StateACTIVE)).Order(ent.Desc(callleg.FieldID))
	}).Only(sys)
	if ent.IsNotFound(err) {
		return voice.Ref{}, notFound("call", "id")
	}
	if err != nil {
		return voice.Ref{}, fmt.Errorf("read call: %w", err)
	}
	i := cl.Edges.Interaction
	if i.AgentID == nil || *i.AgentID != me {
		return voice.Ref{}, d.othersCall(ctx, cl)
	}
	if i.State != interaction.StateACTIVE || cl.State == call.StateENDED || len(cl.Edges.Legs) == 0 {
		return voice.Ref{}, refuse(WrongState, "you are not on the line", "id")
	}
	if d.Switchboard == nil {
		return voice.Ref{}, refuse(ChannelUnavailable, "this node serves no calls", "id")
	}
	return refOf(cl, cl.Edges.Legs[0].ID), nil
}

// othersCall refuses to touch what somebody else serves; out of sight it is absent.
func (d *Desk) othersCall(ctx context.Context, cl *ent.Call) error {
	seen, err := d.db.Call.Query().Where(call.ID(cl.ID)).Exist(within(ctx))
	if err != nil {
		return fmt.Errorf("read call: %w", err)
	}
	if !seen {
		return notFound("call", "id")
	}
	r := refuse(ServedByOthers, "you do not serve it", "id")
	if a := cl.Edges.Interaction.AgentID; a != nil {
		r.ConflictID = *a
	}
	return r
}

// EndCall hangs up: the contact ends, with wrap-up if its queue asks for it and somebody spoke. What nobody serves yet, a
// supervisor may end. The node does it before this returns, or at the next pulse.
func (d *Desk) EndCall(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.CallControl); err != nil {
		return gid.ID{}, err
	}
	cl, err := d.db.Call.Get(asSystem(ctx), id)
	if ent.IsNotFound(err) {
		return gid.ID{}, notFound("call", "id")
	}
	if err != nil {
		return gid.ID{}, fmt.Errorf("read call: %w", err)
	}
	_, err = d.serving(ctx, cl.InteractionID, key, "callEnd", func(ctx context.Context, w *work, c *ent.Conversation, i *ent.Interaction) error {
		if err := mine(ctx, i); err != nil {
			return err
		}
		switch i.State {
		case interaction.StateACTIVE:
			return w.end(ctx, c, i)
		case interaction.StateIN_FLOW, interaction.StateQUEUED, interaction.StateOFFERED:
			return w.abandon(asSystem(ctx), c, i)
		}
		return refuse(WrongState, "the call is over", "id")
	})
	if err != nil {
		return id, err
	}
	if d.Switchboard != nil {
		if err := d.conformOne(context.WithoutCancel(ctx), cl.InteractionID); err != nil {
			d.Log.WarnContext(ctx, "a call is hung up at the next pulse", "call", id, "error", err)
		}
	}
	return id, nil
}
