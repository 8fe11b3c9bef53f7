package desk

import (
	"context"
	"fmt"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Connected is a call that a browser is joined to, with the answer to its offer of media; empty where a phone rings.
type Connected struct {
	Call      gid.ID
	SDPAnswer string
}

// maxSDP bounds an offer of media.
const maxSDP = 32 << 10

func checkSDP(s string, field ...string) error {
	if s == "" || len(s) > maxSDP {
		return refuse(Invalid, fmt.Sprintf("an offer of media has 1 to %d bytes", maxSDP), field...)
	}
	return nil
}

// AnswerCall accepts the caller's pending offer of a call and answers in the browser. Again with the same key, or while it
// connects, it gives the same answer. A phone that rings for the offer is given up for the browser.
func (d *Desk) AnswerCall(ctx context.Context, id gid.ID, sdpOffer string, key *string) (Connected, error) {
	if err := firstError(need(ctx, viewer.CallControl), checkSDP(sdpOffer, "sdpOffer")); err != nil {
		return Connected{}, err
	}
	leg, err := d.once(ctx, key, []any{"callAnswer", id, sdpOffer}, func(ctx context.Context, w *work) (gid.ID, error) {
		leg, err := w.answerInBrowser(ctx, id)
		if leg == nil || err != nil {
			return gid.ID{}, err
		}
		return leg.ID, nil
	})
	if err != nil {
		return Connected{Call: id}, err
	}
	answer, err := d.connectBrowser(ctx, leg, sdpOffer)
	return Connected{id, answer}, err
}

// answerInBrowser is the leg by which the caller answers: a new one, or the one that connects already.
func (w *work) answerInBrowser(ctx context.Context, id gid.ID) (*ent.CallLeg, error) {
	me, sys := viewer.From(ctx).Actor, asSystem(ctx)
	mine, err := w.tx.Offer.Query().Where(offer.AgentID(me), offer.HasInteractionWith(interaction.HasCallsWith(call.ID(id)))).
		Order(ent.Desc(offer.FieldOfferedAt, offer.FieldID)).First(sys)
	if ent.IsNotFound(err) {
		return nil, notFound("call that is offered to you", "id")
	}
	if err != nil {
		return nil, fmt.Errorf("read offer: %w", err)
	}
	c, i, cl, err := w.lockCall(sys, id)
	if err != nil {
		return nil, err
	}
	o, err := w.tx.Offer.Get(sys, mine.ID)
	if err != nil {
		return nil, fmt.Errorf("read offer: %w", err)
	}
	switch {
	case o.State == offer.StateACCEPTED && i.State == interaction.StateACTIVE && i.AgentID != nil && *i.AgentID == me:
		return nil, refuse(WrongState, "you are on the line: callMediaRenew renews your media", "id")
	case o.State != offer.StatePENDING || cl.State == call.StateENDED:
		return nil, offerGone(i, o, me)
	case !o.ExpiresAt.After(w.at):
		return nil, refuse(OfferExpired, "the offer's time is over", "id")
	}
	if err := firstError(withheld(ctx, i, "id"), w.canReach("id")); err != nil {
		return nil, err
	}
	leg, err := w.tx.CallLeg.Query().Where(callleg.OfferID(o.ID), callleg.Browser(true), callleg.StateEQ(callleg.StateRINGING)).First(sys)
	if err == nil || !ent.IsNotFound(err) {
		return leg, wrapped("read leg", err)
	}
	return w.connect(ctx, c, i, o, cl, legWay{browser: true})
}

// connectBrowser gives a leg its browser, after the commit. What the node cannot do takes the leg back.
func (d *Desk) connectBrowser(ctx context.Context, legID gid.ID, sdpOffer string) (string, error) {
	ctx, cancel := d.verb(ctx)
	defer cancel()
	leg, err := d.db.CallLeg.Query().Where(callleg.ID(legID)).WithCall().Only(ctx)
	if err != nil {
		return "", fmt.Errorf("read leg: %w", err)
	}
	if leg.State == callleg.StateENDED || leg.Edges.Call.State == call.StateENDED {
		return "", refuse(WrongState, "the call is over, or this leg of it", "id")
	}
	answer, err := d.Switchboard.Connect(ctx, refOf(leg.Edges.Call, leg.ID), voice.ConnectOrder{Agent: voiceID(*leg.AgentID), SDPOffer: sdpOffer})
	if err != nil {
		return "", d.legFailed(ctx, leg, err, "id")
	}
	return answer, nil
}
