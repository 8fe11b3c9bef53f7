package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/agentphone"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/offer"
	"tributary/ent/phonecontact"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/viewer"
)

// legWay is how an agent comes to a call: by his browser, or by a phone that rings; nil: several of them.
type legWay struct {
	browser bool
	phone   *gid.ID
}

const noPhone = "no phone is registered: answer in the browser with callAnswer"

// ringFor accepts the offer of a call by phone: the offer is connecting until the leg is up. Who does it again while it
// rings changes nothing.
func (w *work) ringFor(ctx context.Context, c *ent.Conversation, i *ent.Interaction, o *ent.Offer, cl *ent.Call, phone *gid.ID) error {
	if err := w.canReach("id"); err != nil || o.Connecting {
		return err
	}
	list, err := w.reachable(ctx, o.AgentID, phone)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return refuse(WrongState, noPhone, "id")
	}
	_, err = w.connect(ctx, c, i, o, cl, legWay{phone: onePhone(list)})
	return err
}

func (w *work) canReach(field ...string) error {
	if w.Switchboard == nil {
		return refuse(ChannelUnavailable, "this node serves no calls", field...)
	}
	return nil
}

// connect makes an offer connecting: the agent's leg begins, and the offer lives until it must be up.
func (w *work) connect(ctx context.Context, c *ent.Conversation, i *ent.Interaction, o *ent.Offer, cl *ent.Call, way legWay) (*ent.CallLeg, error) {
	sys := asSystem(ctx)
	rings, err := w.ringTime(sys, i)
	if err != nil {
		return nil, err
	}
	until := w.at.Add(rings)
	o, err = w.tx.Offer.UpdateOneID(o.ID).Where(offer.StateEQ(offer.StatePENDING)).SetConnecting(true).SetExpiresAt(until.Add(ringSlack)).
		AddVersion(1).SetUpdatedAt(w.at).Save(sys)
	if ent.IsNotFound(err) {
		return nil, refuse(WrongState, "the offer was closed meanwhile", "id")
	}
	if err != nil {
		return nil, fmt.Errorf("save offer: %w", err)
	}
	if i, err = w.move(sys, i, onConnect, func(u *ent.InteractionUpdateOne) { u.SetConnecting(true) }); err != nil {
		return nil, err
	}
	leg, err := w.tx.CallLeg.Create().SetCallID(cl.ID).SetRole(callleg.RoleAGENT).SetAgentID(o.AgentID).SetOfferID(o.ID).SetBrowser(way.browser).SetNillablePhoneID(way.phone).
		SetState(callleg.StateRINGING).SetStartedAt(w.at).SetRingUntil(until).Save(sys)
	if err != nil {
		return nil, fmt.Errorf("write leg: %w", err)
	}
	_, _, err = jobs.Enqueue(ctx, w.tx, jobs.New{Kind: jobOfferExpire, Unique: leg.ID.String(), Args: offerArgs{o.ID}, Subject: o.ID, RunAt: o.ExpiresAt})
	if err != nil {
		return nil, err
	}
	w.told(c, i, gid.ID{}, "connecting", "openOffer")
	return leg, nil
}

// ringTime is how long an agent's leg rings in the interaction's queue.
func (w *work) ringTime(ctx context.Context, i *ent.Interaction) (time.Duration, error) {
	if i.QueueID == nil {
		return ringDefault, nil
	}
	q, err := w.tx.Queue.Get(ctx, *i.QueueID)
	if err != nil {
		return 0, fmt.Errorf("read queue: %w", err)
	}
	return time.Duration(q.RingSeconds) * time.Second, nil
}

// reachable are the places where an agent's phones are registered now: of the named phone, else of the preferred one, else
// of all.
func (w *work) reachable(ctx context.Context, agentID gid.ID, phone *gid.ID) ([]*ent.PhoneContact, error) {
	sys := asSystem(ctx)
	if phone != nil {
		own, err := w.tx.AgentPhone.Query().Where(agentphone.ID(*phone), agentphone.AgentID(agentID)).Exist(sys)
		if err != nil {
			return nil, fmt.Errorf("read phone: %w", err)
		}
		if !own {
			return nil, notFound("phone", "phoneId")
		}
	}
	return contactsOf(sys, w.tx.Client(), agentID, phone, w.at)
}

func contactsOf(ctx context.Context, db *ent.Client, agentID gid.ID, phone *gid.ID, now time.Time) ([]*ent.PhoneContact, error) {
	q := db.PhoneContact.Query().Where(phonecontact.AgentID(agentID), phonecontact.ExpiresAtGT(now)).Order(ent.Asc(phonecontact.FieldID)).WithPhone()
	if phone != nil {
		q.Where(phonecontact.AgentPhoneID(*phone))
	}
	rows, err := q.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read where phones are: %w", err)
	}
	preferred := slices.DeleteFunc(slices.Clone(rows), func(r *ent.PhoneContact) bool { return r.Edges.Phone == nil || !r.Edges.Phone.Preferred })
	if len(preferred) > 0 {
		return preferred, nil
	}
	return rows, nil
}

// onePhone is the phone of these places if they are of one.
func onePhone(list []*ent.PhoneContact) *gid.ID {
	for _, r := range list {
		if r.AgentPhoneID != list[0].AgentPhoneID {
			return nil
		}
	}
	return &list[0].AgentPhoneID
}

// claimCall takes a waiting call by hand: as an offer to the taker, accepted already. It returns the offer whose phone rings.
func (w *work) claimCall(ctx context.Context, c *ent.Conversation, i *ent.Interaction, cl *ent.Call) (*gid.ID, error) {
	me, sys := viewer.From(ctx).Actor, asSystem(ctx)
	if err := w.canReach("id"); err != nil {
		return nil, err
	}
	list, err := w.reachable(ctx, me, nil)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, refuse(WrongState, "no phone of yours is registered: a waiting call is taken by hand with a phone", "id")
	}
	if i.OpenOfferID != nil {
		o, err := w.tx.Offer.Get(sys, *i.OpenOfferID)
		if err != nil {
			return nil, fmt.Errorf("read offer: %w", err)
		}
		if o.AgentID == me {
			return &o.ID, w.ringFor(ctx, c, i, o, cl, nil)
		}
		if err := w.lockLoads(sys, o.AgentID, me); err != nil {
			return nil, err
		}
		if c, err = w.withdraw(sys, c, i, offer.OutcomeWITHDRAWN); err != nil {
			return nil, err
		}
	}
	o, c, i, err := w.offerByClaim(sys, c, i, me)
	if err != nil {
		return nil, err
	}
	_, err = w.connect(ctx, c, i, o, cl, legWay{phone: onePhone(list)})
	return &o.ID, err
}

// offerByClaim reserves the taker and writes the offer that his claim is.
func (w *work) offerByClaim(ctx context.Context, c *ent.Conversation, i *ent.Interaction, me gid.ID) (*ent.Offer, *ent.Conversation, *ent.Interaction, error) {
	cost, _, err := w.reserve(ctx, me, i)
	if err != nil {
		return nil, nil, nil, err
	}
	why, err := w.decidedByHand(ctx, i, me, reasonClaimed)
	if err != nil {
		return nil, nil, nil, err
	}
	until, err := w.offerTime(ctx, i)
	if err != nil {
		return nil, nil, nil, err
	}
	reasons, err := w.callerKnown(ctx, i, []string{reasonClaimed})
	if err != nil {
		return nil, nil, nil, err
	}
	o, err := w.writeOffer(ctx, i, &ent.Offer{AgentID: me, Reasons: reasons, DecisionID: &why, Cost: cost, ExpiresAt: until})
	if err != nil {
		return nil, nil, nil, err
	}
	if i, err = w.move(ctx, i, onClaimCall, func(u *ent.InteractionUpdateOne) { u.SetOpenOfferID(o.ID) }); err != nil {
		return nil, nil, nil, err
	}
	if c, err = w.grant(ctx, c, me, access.ReasonOFFER); err != nil {
		return nil, nil, nil, err
	}
	w.emit(fact{typ: OfferCreated, subject: o.ID, version: o.Version, conv: c, inter: i, agent: me, audience: []gid.ID{me}})
	return o, c, i, nil
}

// callerKnown adds to an offer's reasons what the caller's number is worth: whoever takes the call sees how we know who it
// is.
func (w *work) callerKnown(ctx context.Context, i *ent.Interaction, reasons []string) ([]string, error) {
	cl, err := w.openCallOfKind(ctx, i)
	if cl == nil || err != nil {
		return reasons, err
	}
	return append(slices.Clone(reasons), callerReason(cl.CallerProof)), nil
}

// ringOut rings the phones of an offer that is connecting, after its commit. What cannot be rung goes back to the queue. If
// this process ends before, the offer's timer does the same.
func (d *Desk) ringOut(ctx context.Context, offerID gid.ID) error {
	ctx, cancel := d.verb(ctx)
	defer cancel()
	leg, err := d.db.CallLeg.Query().Where(callleg.OfferID(offerID), callleg.StateEQ(callleg.StateRINGING), callleg.Browser(false),
		callleg.HasOfferWith(offer.StateEQ(offer.StatePENDING), offer.Connecting(true)), callleg.HasCallWith(call.StateNEQ(call.StateENDED))).WithCall().First(ctx)
	if ent.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read leg: %w", err)
	}
	order, err := d.ringOrder(ctx, leg.Edges.Call, leg)
	if err != nil {
		return err
	}
	if len(order.At) == 0 {
		return d.legFailed(ctx, leg, voice.ErrUnreachable, "id")
	}
	if err := d.Switchboard.Ring(ctx, refOf(leg.Edges.Call, leg.ID), *order); err != nil {
		return d.legFailed(ctx, leg, err, "id")
	}
	return nil
}

// verb is the context of a request to a call's node: of the desk, with a deadline, whatever becomes of the caller's.
func (d *Desk) verb(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(asSystem(ctx)), verbTimeout)
}

// ringOrder says whom to ring for a leg, and what his phone shows: the number as far as his role shows it.
func (d *Desk) ringOrder(ctx context.Context, cl *ent.Call, leg *ent.CallLeg) (*voice.RingOrder, error) {
	list, err := contactsOf(ctx, d.db, *leg.AgentID, leg.PhoneID, d.now())
	if err != nil {
		return nil, err
	}
	v, err := d.viewerOfAgent(ctx, d.db, *leg.AgentID)
	if err != nil {
		return nil, err
	}
	other := cl.From
	if cl.Direction == call.DirectionOUTBOUND {
		other = cl.To
	}
	shown := other.String()
	if slices.Contains(v.Clear, phoneShown) {
		shown = other.Clear()
	}
	o := &voice.RingOrder{Agent: voiceID(*leg.AgentID), From: shown, Name: cl.Name, Seconds: wholeSeconds(ringDefault)}
	if other.IsZero() {
		o.From = ""
	}
	if leg.RingUntil != nil {
		o.Seconds = wholeSeconds(leg.RingUntil.Sub(d.now()))
	}
	for _, r := range list {
		o.At = append(o.At, voice.Registration{
			Phone: voiceID(r.AgentPhoneID), Node: r.Node, Contact: r.Contact, Source: r.Source, Transport: r.Transport,
			CallID: r.CallID, Seq: uint32(r.Seq), UserAgent: r.UserAgent, Expires: r.ExpiresAt, //nolint:gosec // CSeq has 31 bits
		})
	}
	return o, nil
}

// phoneShown is the personal kind of numbers, as roles name it.
const phoneShown = "PHONE"

// legFailed takes back what a leg was to accept, because its node could not make it, and says why.
func (d *Desk) legFailed(ctx context.Context, leg *ent.CallLeg, cause error, field ...string) error {
	ctx = context.WithoutCancel(ctx)
	err := d.do(ctx, nil, func(ctx context.Context, w *work) error {
		c, i, cl, err := w.lockCall(ctx, leg.CallID)
		if err != nil {
			return err
		}
		l, err := w.legOf(ctx, cl, voiceID(leg.ID))
		if err != nil || l == nil || l.State != callleg.StateRINGING { // it came up, or ended, meanwhile
			return err
		}
		how := voice.Failed
		if errors.Is(cause, voice.ErrUnreachable) {
			how = voice.Unreachable
		}
		if cl.Direction == call.DirectionOUTBOUND && cl.AnsweredAt == nil {
			return w.hangUp(ctx, c, i, cl, closing{cause: how, at: w.at})
		}
		if err := w.endLeg(ctx, l, voice.Fact{Cause: how}); err != nil {
			return err
		}
		o, err := w.offerOf(ctx, i, l)
		if o == nil || err != nil {
			return err
		}
		return w.offerFailed(ctx, c, i, o, onUnanswered, offer.StateEXPIRED, offer.OutcomeNO_ANSWER, nil)
	})
	if err != nil {
		return err
	}
	return verbRefused(cause, field...)
}

// verbRefused is what a node's error means for whoever asked.
func verbRefused(err error, field ...string) error {
	switch {
	case errors.Is(err, voice.ErrMedia):
		return refuse(Invalid, "the browser's offer holds no audio that we speak", "sdpOffer")
	case errors.Is(err, voice.ErrNoCall), errors.Is(err, voice.ErrStale), errors.Is(err, voice.ErrRefused):
		return refuse(WrongState, "the call is over, or this leg of it", field...)
	}
	return &Refusal{Code: ChannelUnavailable, Message: "the node of the call did not do it: try again", Field: field, Retryable: true}
}
