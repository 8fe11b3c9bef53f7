package desk

import (
	"context"
	"fmt"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/channel"
	"tributary/ent/conversation"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/internal/gid"
	"tributary/internal/personal"
	"tributary/internal/viewer"
)

// CallStartInput says whom to call: a conversation's customer or a customer, at one of his numbers. Exactly one of PhoneID
// and SDPOffer may be given; neither rings the agent's phones.
type CallStartInput struct {
	ConversationID, CustomerID, IdentityID *gid.ID
	Number                                 *string
	ChannelID, PhoneID                     *gid.ID
	SDPOffer                               *string
}

// trunkLine is what a channel that carries calls offers; voice's own kind has it.
type trunkLine interface{ Trunk() voice.Trunk }

// dialSeconds is how long a customer's phone rings at the most.
const dialSeconds = 60

// StartCall calls a customer: the caller serves the contact from the start, his own leg comes first. Nobody who has not
// answered leaves work behind.
func (d *Desk) StartCall(ctx context.Context, in CallStartInput, key *string) (Connected, error) {
	if err := firstError(need(ctx, viewer.CallControl), need(ctx, viewer.ConversationWrite), checkStart(in)); err != nil {
		return Connected{}, err
	}
	id, fresh, err := d.onceFresh(ctx, key, []any{"callStart", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		return w.startCall(ctx, in)
	})
	if err != nil {
		return Connected{}, err
	}
	answer, err := d.dialOut(ctx, id, in, fresh)
	return Connected{id, answer}, err
}

func checkStart(in CallStartInput) error {
	switch {
	case named(in.ConversationID, in.CustomerID) != 1:
		return refuse(Invalid, "name one of conversationId and customerId", "input")
	case in.PhoneID != nil && in.SDPOffer != nil:
		return refuse(Invalid, "name one of phoneId and sdpOffer", "input")
	case in.IdentityID != nil && in.Number != nil:
		return refuse(Invalid, "name one of identityId and number", "input")
	case in.SDPOffer != nil:
		return checkSDP(*in.SDPOffer, "input", "sdpOffer")
	}
	return nil
}

// startCall writes everything about a call that is about to be dialled.
func (w *work) startCall(ctx context.Context, in CallStartInput) (gid.ID, error) {
	me, sys := viewer.From(ctx).Actor, asSystem(ctx)
	if me.Kind() != gid.Agent {
		return gid.ID{}, refuse(NotAllowed, "only an agent can call")
	}
	if err := w.canReach("input"); err != nil {
		return gid.ID{}, err
	}
	way, err := w.startWay(ctx, me, in)
	if err != nil {
		return gid.ID{}, err
	}
	ch, err := w.dialChannel(sys, in.ChannelID)
	if err != nil {
		return gid.ID{}, err
	}
	c, customer, err := w.dialMatter(ctx, in)
	if err != nil {
		return gid.ID{}, err
	}
	who, number, err := w.dialled(sys, ch, customer, in)
	if err != nil {
		return gid.ID{}, err
	}
	id := gid.Make(gid.Call)
	if c == nil {
		if c, err = w.dialNewMatter(ctx, ch, who); err != nil {
			return gid.ID{}, err
		}
	}
	i, err := w.outboundCall(ctx, c, ch, who, id)
	if err != nil {
		return gid.ID{}, err
	}
	return id, w.writeOutboundCall(sys, i, ch, who, number, id, me, way)
}

// startWay is how the caller himself comes to the call.
func (w *work) startWay(ctx context.Context, me gid.ID, in CallStartInput) (legWay, error) {
	if in.SDPOffer != nil {
		return legWay{browser: true}, nil
	}
	list, err := w.reachable(ctx, me, in.PhoneID)
	if err != nil {
		return legWay{}, fieldTo(err, "input", "phoneId")
	}
	if len(list) == 0 {
		return legWay{}, refuse(WrongState, "no phone is registered: call from the browser with sdpOffer", "input", "phoneId")
	}
	return legWay{phone: onePhone(list)}, nil
}

// dialChannel is the named channel, or the only one that can call.
func (w *work) dialChannel(ctx context.Context, named *gid.ID) (*ent.Channel, error) {
	q := w.tx.Channel.Query().Order(ent.Asc(channel.FieldID))
	if named != nil {
		q.Where(channel.ID(*named))
	} else {
		q.Where(channel.Enabled(true), channel.KindIn(lineKinds()...))
	}
	rows, err := q.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read channels: %w", err)
	}
	if named != nil && len(rows) == 0 {
		return nil, notFound("channel", "input", "channelId")
	}
	var can []*ent.Channel
	for _, ch := range rows {
		if w.dials(ctx, ch) {
			can = append(can, ch)
		}
	}
	switch {
	case named != nil && !rows[0].Enabled:
		return nil, refuse(ChannelUnavailable, "the channel is switched off", "input", "channelId")
	case named != nil && len(can) == 0:
		return nil, refuse(NotSupported, "this channel cannot call", "input", "channelId")
	case len(can) == 0:
		return nil, refuse(ChannelUnavailable, "no channel can call", "input", "channelId")
	case len(can) > 1:
		return nil, refuse(Required, "several channels can call: name one", "input", "channelId")
	}
	return can[0], nil
}

// lineKinds are the kinds whose contacts last only while the customer is there.
func lineKinds() (out []string) {
	for _, k := range channels.Kinds() {
		if k.Live == channels.Live {
			out = append(out, k.Name)
		}
	}
	return out
}

// dials reports whether a channel's trunk has somewhere to send calls to.
func (w *work) dials(ctx context.Context, ch *ent.Channel) bool {
	o, err := w.runningChannel(ctx, ch)
	if err != nil {
		return false
	}
	l, ok := o.channel.(trunkLine)
	return ok && l.Trunk().Server != ""
}

// dialMatter is the conversation that the call belongs to, locked, and whom it is to; nil: the customer has no open one, or
// several.
func (w *work) dialMatter(ctx context.Context, in CallStartInput) (*ent.Conversation, gid.ID, error) {
	if in.ConversationID == nil {
		return w.customersMatter(ctx, *in.CustomerID)
	}
	c, err := w.lockConversation(ctx, *in.ConversationID)
	if ent.IsNotFound(err) {
		return nil, gid.ID{}, notFound("conversation", "input", "conversationId")
	}
	if err != nil {
		return nil, gid.ID{}, fmt.Errorf("lock conversation: %w", err)
	}
	if err := whole(c, "input", "conversationId"); err != nil {
		return nil, gid.ID{}, err
	}
	if c.State == conversation.StateARCHIVED {
		return nil, gid.ID{}, refuse(WrongState, "the conversation is ARCHIVED", "input", "conversationId")
	}
	return c, c.CustomerID, nil
}

// customersMatter is the customer's one open conversation within the caller's reach.
func (w *work) customersMatter(ctx context.Context, id gid.ID) (*ent.Conversation, gid.ID, error) {
	cust, err := w.tx.Customer.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, id, notFound("customer", "input", "customerId")
	}
	if err != nil {
		return nil, id, fmt.Errorf("read customer: %w", err)
	}
	if cust.MergedIntoID != nil {
		return nil, id, notFound("customer", "input", "customerId")
	}
	open, err := w.tx.Conversation.Query().Where(conversation.CustomerID(id), conversation.MergedIntoIDIsNil(),
		conversation.StateIn(conversation.StateOPEN, conversation.StatePENDING, conversation.StateSNOOZED)).Limit(2).IDs(ctx)
	if err != nil || len(open) != 1 {
		return nil, id, wrapped("read conversations", err)
	}
	c, err := w.lockConversation(ctx, open[0])
	if err != nil {
		return nil, id, fmt.Errorf("lock conversation: %w", err)
	}
	return c, id, stays(c)
}

// dialled is the number to call: one of the customer's own. A withheld one, and what is no number, cannot be called.
func (w *work) dialled(ctx context.Context, ch *ent.Channel, customer gid.ID, in CallStartInput) (*ent.Identity, string, error) {
	rows, err := w.tx.Identity.Query().Where(identity.CustomerID(customer), identity.Kind(channels.IdentityPhone)).Order(ent.Asc(identity.FieldClaim, identity.FieldID)).All(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("read numbers: %w", err)
	}
	country := lineOf(ch).Country
	wanted := ""
	if in.Number != nil {
		wanted, _ = e164(*in.Number, country)
	}
	found := map[string]*ent.Identity{}
	first := ""
	for _, r := range rows {
		n, ok := e164(r.Value.Clear(), country)
		if !ok || in.IdentityID != nil && r.ID != *in.IdentityID || in.Number != nil && n != wanted {
			continue
		}
		if found[n] == nil {
			found[n] = r
		}
		if first == "" {
			first = n
		}
	}
	switch len(found) {
	case 0:
		return nil, "", refuse(IdentityUnreachable, "the customer has no such number", "input")
	case 1:
		return found[first], first, nil
	}
	return nil, "", refuse(Required, "the customer has several numbers: name one", "input", "identityId")
}

// dialNewMatter opens a conversation for the call.
func (w *work) dialNewMatter(ctx context.Context, ch *ent.Channel, who *ent.Identity) (*ent.Conversation, error) {
	c, err := w.newConversation(asSystem(ctx), arrival{channel: ch, identity: who}, placing{rule: interaction.JoinedByNEW})
	if err != nil {
		return nil, err
	}
	w.emit(fact{typ: ConversationCreated, subject: c.ID, version: c.Version, conv: c})
	return c, nil
}

// outboundCall opens the contact: the caller serves it, with capacity.
func (w *work) outboundCall(ctx context.Context, c *ent.Conversation, ch *ent.Channel, who *ent.Identity, id gid.ID) (*ent.Interaction, error) {
	sys, me := asSystem(ctx), viewer.From(ctx).Actor
	q, err := w.queueOf(sys, ch)
	if err != nil {
		return nil, err
	}
	if viewer.From(ctx).Withholds(&q.ID) {
		return nil, refuse(NotAllowed, "the channel's queue is restricted to members", "input", "channelId")
	}
	i, err := w.tx.Interaction.Create().SetConversationID(c.ID).SetCustomerID(c.CustomerID).SetChannelID(ch.ID).SetChannelKind(ch.Kind).SetIdentityID(who.ID).
		SetThreadKey(personal.Blind(ch.WorkspaceID, "interaction.thread", id.String())).SetThread(personal.Of(id.String())).SetDirection(interaction.DirectionOUTBOUND).
		SetState(interaction.StateACTIVE).SetLive(true).SetPriority(interaction.Priority(c.Priority)).SetQueueID(q.ID).SetAgentID(me).SetAcceptedAt(w.at).
		SetJoinedBy(interaction.JoinedByBY_HAND).SetStartedAt(w.at).SetCreatedAt(w.at).Save(sys)
	if err != nil {
		return nil, fmt.Errorf("write interaction: %w", err)
	}
	cost, _, err := w.reserve(sys, me, i)
	if err != nil {
		return nil, err
	}
	if i, err = w.tx.Interaction.UpdateOneID(i.ID).SetCost(cost).Save(sys); err != nil {
		return nil, fmt.Errorf("save interaction: %w", err)
	}
	if q.TeamID != nil {
		if c, err = w.grant(sys, c, *q.TeamID, access.ReasonQUEUE); err != nil {
			return nil, err
		}
	}
	if err := w.participate(sys, c, who); err != nil {
		return nil, err
	}
	w.emit(fact{typ: InteractionStarted, subject: i.ID, version: i.Version, conv: c, inter: i, agent: me})
	return i, w.servesNow(sys, c, i, me)
}

// writeOutboundCall writes the call with its two legs. This node dials: media live where the call began.
func (w *work) writeOutboundCall(ctx context.Context, i *ent.Interaction, ch *ent.Channel, who *ent.Identity, number string, id, me gid.ID, way legWay) error {
	cl, err := w.tx.Call.Create().SetID(id).SetInteractionID(i.ID).SetChannelID(ch.ID).SetDirection(call.DirectionOUTBOUND).SetState(call.StateRINGING).
		SetFrom(personal.Of(lineOf(ch).CallerID)).SetTo(personal.Of(number)).SetCallerProof(call.CallerProofDIALLED).SetNode(w.Node).SetEpoch(w.Epoch).
		SetArrival("out|" + id.String()).SetBeatAt(w.at).SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("write call: %w", err)
	}
	q, err := w.ringTime(ctx, i)
	if err != nil {
		return err
	}
	err = w.tx.CallLeg.CreateBulk(
		w.tx.CallLeg.Create().SetCallID(id).SetRole(callleg.RoleAGENT).SetAgentID(me).SetBrowser(way.browser).SetNillablePhoneID(way.phone).
			SetState(callleg.StateRINGING).SetStartedAt(w.at).SetRingUntil(w.at.Add(q)),
		w.tx.CallLeg.Create().SetCallID(id).SetRole(callleg.RoleCUSTOMER).SetIdentityID(who.ID).SetState(callleg.StateRINGING).SetStartedAt(w.at),
	).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write legs: %w", err)
	}
	c, err := w.tx.Conversation.Get(ctx, i.ConversationID)
	if err != nil {
		return fmt.Errorf("read conversation: %w", err)
	}
	return w.called(ctx, c, i, cl)
}

// dialOut has the node dial, after the commit. A repeat asks for the browser's answer again and dials nobody twice.
func (d *Desk) dialOut(ctx context.Context, id gid.ID, in CallStartInput, fresh bool) (string, error) {
	ctx, cancel := d.verb(ctx)
	defer cancel()
	cl, err := d.db.Call.Query().Where(call.ID(id)).WithInteraction().WithChannel().WithLegs().Only(ctx)
	if err != nil {
		return "", fmt.Errorf("read call: %w", err)
	}
	var mine, theirs *ent.CallLeg
	for _, l := range cl.Edges.Legs {
		if l.Role == callleg.RoleAGENT {
			mine = l
		} else {
			theirs = l
		}
	}
	switch {
	case cl.State == call.StateENDED:
		return "", nil
	case !fresh && in.SDPOffer != nil:
		return d.connectBrowser(ctx, mine.ID, *in.SDPOffer)
	case !fresh:
		return "", nil
	}
	order, err := d.dialOrder(ctx, cl, mine, in)
	if err != nil {
		return "", err
	}
	answer, err := d.Switchboard.Dial(ctx, refOf(cl, theirs.ID), *order)
	if err != nil {
		return "", d.legFailed(ctx, mine, err, "input")
	}
	return answer, nil
}

func (d *Desk) dialOrder(ctx context.Context, cl *ent.Call, mine *ent.CallLeg, in CallStartInput) (*voice.DialOrder, error) {
	o := &voice.DialOrder{
		AgentLeg: voiceID(mine.ID), Trunk: voiceID(*cl.ChannelID), Number: cl.To.Clear(), From: lineOf(cl.Edges.Channel).CallerID,
		Seconds: dialSeconds, Waiting: &voice.Sound{Name: voice.SoundWaiting},
	}
	if in.SDPOffer != nil {
		o.Connect = &voice.ConnectOrder{Agent: voiceID(*mine.AgentID), SDPOffer: *in.SDPOffer}
		return o, nil
	}
	var err error
	o.Ring, err = d.ringOrder(ctx, cl, mine)
	return o, err
}
