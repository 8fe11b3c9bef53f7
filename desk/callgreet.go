package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/channel"
	"tributary/ent/interaction"
	"tributary/ent/timelineitem"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/personal"
	"tributary/internal/viewer"
)

// Greet takes an inbound call in: who calls, which conversation, which flow, in one transaction. The same Arrival.Key gives
// the same greeting. voice.ErrRefused: there is no such channel, or it is switched off.
func (v *Voice) Greet(ctx context.Context, a voice.Arrival) (voice.Greeting, error) {
	d := v.d
	global := within(viewer.Global(ctx))
	ch, err := d.db.Channel.Query().Where(channel.ID(rowID(a.Trunk))).Only(global)
	switch {
	case ent.IsNotFound(err):
		return voice.Greeting{}, fmt.Errorf("greet by %s: %w", a.Trunk, voice.ErrRefused)
	case err != nil:
		return voice.Greeting{}, fmt.Errorf("read channel: %w", err)
	}
	var out voice.Greeting
	err = d.do(viewer.System(ctx, ch.WorkspaceID), nil, func(ctx context.Context, w *work) error {
		out = voice.Greeting{}
		known, err := w.tx.Call.Query().Where(call.Arrival(a.Key)).WithFlowVersion().Only(ctx)
		if err == nil {
			out, err = w.greeting(ctx, known)
			return err
		}
		if !ent.IsNotFound(err) {
			return fmt.Errorf("find call: %w", err)
		}
		on, err := w.tx.Channel.Query().Where(channel.ID(ch.ID), channel.Enabled(true)).Only(ctx)
		if ent.IsNotFound(err) {
			return voice.ErrRefused
		}
		if err != nil {
			return fmt.Errorf("read channel: %w", err)
		}
		made, err := w.callIn(ctx, on, a)
		if err != nil {
			return err
		}
		out, err = w.greeting(ctx, made)
		return err
	})
	if errors.Is(err, voice.ErrRefused) {
		return voice.Greeting{}, fmt.Errorf("greet by %s: %w", a.Trunk, voice.ErrRefused)
	}
	return out, err
}

// greeting is what telephony is told of a call: its flow while it is in it, else that it waits.
func (w *work) greeting(ctx context.Context, c *ent.Call) (voice.Greeting, error) {
	leg, err := w.tx.CallLeg.Query().Where(callleg.CallID(c.ID), callleg.RoleEQ(callleg.RoleCUSTOMER)).Only(ctx)
	if err != nil {
		return voice.Greeting{}, fmt.Errorf("read leg: %w", err)
	}
	out := voice.Greeting{Call: voiceID(c.ID), Leg: voiceID(leg.ID), Version: c.Version}
	if c.FlowVersionID != nil {
		version, err := w.tx.FlowVersion.Get(ctx, *c.FlowVersionID)
		if err != nil {
			return out, fmt.Errorf("read flow: %w", err)
		}
		if out.Flow, err = w.playedFlow(ctx, version); err != nil {
			return out, err
		}
	}
	i, err := w.tx.Interaction.Get(ctx, c.InteractionID)
	if err != nil {
		return out, fmt.Errorf("read interaction: %w", err)
	}
	out.Waiting, err = w.waitingSound(ctx, i)
	return out, err
}

// callIn writes what an inbound call is: identity, conversation, interaction, call, the customer's leg, and their place in
// the timeline.
func (w *work) callIn(ctx context.Context, ch *ent.Channel, a voice.Arrival) (*ent.Call, error) {
	id := gid.Make(gid.Call)
	who, err := w.caller(ctx, ch, a, id)
	if err != nil {
		return nil, err
	}
	last, err := w.dropped(ctx, who.identity)
	if err != nil {
		return nil, err
	}
	flow, err := w.flowFor(ctx, ch)
	if err != nil {
		return nil, err
	}
	in := arrival{channel: ch, identity: who.identity, live: true, in: channels.Inbound{ThreadKey: id.String()}}
	state := call.StateQUEUED
	switch {
	case last != nil && last.waited(): // he has been through the flow
		in.regains, flow = last, nil
	case flow != nil:
		in.inFlow, state = true, call.StateIN_FLOW
	}
	c, i, err := w.place(ctx, in)
	if err != nil {
		return nil, err
	}
	// After the conversation's lock, as messages do.
	seen, err := w.tx.Identity.UpdateOneID(who.identity.ID).SetLastSeenAt(w.at).Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("note identity: %w", err)
	}
	if seen.CustomerID != who.identity.CustomerID || seen.GivenToID != nil { // joined another customer meanwhile
		return nil, errAgain
	}
	if err := w.participate(ctx, c, seen); err != nil {
		return nil, err
	}
	row := w.tx.Call.Create().SetID(id).SetInteractionID(i.ID).SetChannelID(ch.ID).SetDirection(call.DirectionINBOUND).SetState(state).
		SetFrom(personal.Of(who.number)).SetTo(personal.Of(clean.Line(a.To, maxNumber))).SetName(clean.Line(a.Name, maxCallerName)).SetCallerProof(who.proof).
		SetNode(a.Node).SetEpoch(a.Epoch).SetArrival(a.Key).SetBeatAt(w.at).SetCreatedAt(w.at).SetHeaders(headers(a.Headers))
	if flow != nil {
		row.SetFlowVersionID(flow.ID)
	}
	if last != nil {
		row.SetResumedFromID(last.call.ID)
	}
	made, err := row.Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("write call: %w", err)
	}
	err = w.tx.CallLeg.Create().SetCallID(made.ID).SetRole(callleg.RoleCUSTOMER).SetIdentityID(seen.ID).SetState(callleg.StateRINGING).SetStartedAt(w.at).Exec(ctx)
	if err != nil {
		return nil, fmt.Errorf("write leg: %w", err)
	}
	return made, w.called(ctx, c, i, made)
}

// called puts a call into the timeline and says what it means for its matter.
func (w *work) called(ctx context.Context, c *ent.Conversation, i *ent.Interaction, made *ent.Call) error {
	err := w.tx.TimelineItem.Create().SetType(timelineitem.TypeCALL).SetAt(w.at).SetConversationID(c.ID).SetCustomerID(c.CustomerID).
		SetInteractionID(i.ID).SetCallID(made.ID).SetNillableAgentID(i.AgentID).SetInternal(false).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write timeline: %w", err)
	}
	w.callTouched(made.ID)
	w.calls[made.ID].made = true
	w.told(c, i, gid.ID{}, "state", "call")
	if _, err := w.settle(ctx, c, nil); err != nil {
		return err
	}
	return w.touchCustomer(ctx, c.CustomerID)
}

// Bounds of what a stranger's INVITE says.
const (
	maxNumber     = 64
	maxCallerName = 100
	maxHeaders    = 20
	maxHeader     = 500
)

// headers are those of an INVITE that the trunk's settings name, bounded.
func headers(in map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range in {
		if len(out) == maxHeaders {
			break
		}
		out[clean.Line(k, maxCallerName)] = clean.Line(v, maxHeader)
	}
	return out
}

// lost is a call that its caller did not end, and the place that it had.
type lost struct {
	call  *ent.Call
	inter *ent.Interaction
}

// waited reports whether the caller had been through the flow: he has a place in a queue.
func (l *lost) waited() bool { return l.inter.QueuedAt != nil && l.inter.QueueID != nil }

// dropped is the last call of this caller, if it was not he who ended it and it was a moment ago (MODEL 2); nil if there is
// none, or if he came back for it before. Whoever withholds his number is not known again.
func (w *work) dropped(ctx context.Context, who *ent.Identity) (*lost, error) {
	c, err := w.tx.Call.Query().Where(call.DirectionEQ(call.DirectionINBOUND), call.StateEQ(call.StateENDED), call.EndedAtGTE(w.at.Add(-RedialWithin)),
		call.EndCauseIn(call.EndCauseLOST, call.EndCauseFAILED), call.HasInteractionWith(interaction.IdentityID(who.ID)), call.Not(call.HasResumedBy())).
		Order(ent.Desc(call.FieldCreatedAt, call.FieldID)).WithInteraction().First(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find lost call: %w", err)
	}
	return &lost{c, c.Edges.Interaction}, nil
}

// restore gives a new contact the place of the lost one: its queue, its age, and who served it.
func (l *lost) restore(row *ent.InteractionCreate, sticky time.Duration, now time.Time) {
	row.SetQueuedAt(*l.inter.QueuedAt).SetPriority(l.inter.Priority)
	if prefer := lastServer(l.inter); prefer != nil {
		row.SetPreferID(*prefer).SetPreferUntil(now.Add(sticky))
	}
}
