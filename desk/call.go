package desk

import (
	"context"
	"fmt"
	"time"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/interaction"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Voice is the desk as telephony sees it: it greets callers, takes facts, and says what it wants of each call. Rows of
// calls change in the transaction that moves their interaction, under the lock of its conversation.
type Voice struct{ d *Desk }

// Voice gives telephony its port.
func (d *Desk) Voice() *Voice { return &Voice{d} }

// Times of calls.
const (
	// CallLostAfter is how long a call lives without a sign of its node (TELEPHONY's lease of nodes, and two beats more).
	CallLostAfter = 8 * time.Second
	// twoPulses is what a node needs to say that it lives, after a database was away.
	twoPulses = 4 * time.Second
	// RedialWithin is how long a caller whose call was lost keeps his place (MODEL 2).
	RedialWithin = 2 * time.Minute
	// verbTimeout bounds a request to the node of a call.
	verbTimeout = 5 * time.Second
	// ringSlack is what an offer lives longer than its leg rings, so that the node's own word comes first.
	ringSlack = 5 * time.Second
	// ringDefault is how long a leg rings where no queue says.
	ringDefault = 20 * time.Second
)

func voiceID(id gid.ID) voice.ID { return voice.ID(id.String()) }

// rowID reads an id of telephony's; the zero id names no row.
func rowID(id voice.ID) gid.ID {
	x, err := gid.Parse(string(id))
	if err != nil {
		return gid.ID{}
	}
	return x
}

// liveKind reports whether a kind's contacts last only while the customer is at the other end: they always count, and
// block by default.
func liveKind(kind string) bool {
	k, ok := channels.Lookup(kind)
	return ok && k.Live == channels.Live
}

// openCall is the call of an interaction that is not over; nil if it has none.
func (w *work) openCall(ctx context.Context, interactionID gid.ID) (*ent.Call, error) {
	c, err := w.tx.Call.Query().Where(call.InteractionID(interactionID), call.StateNEQ(call.StateENDED)).Only(asSystem(ctx))
	if ent.IsNotFound(err) {
		return nil, nil
	}
	return c, wrapped("read call", err)
}

// refOf names a call, and a leg of it, to the node that owns it.
func refOf(c *ent.Call, leg gid.ID) voice.Ref {
	return voice.Ref{Call: voiceID(c.ID), Leg: voiceID(leg), Node: c.Node, Epoch: c.Epoch, Version: c.Version}
}

// callTouched notes that a call changed; its event is written with the transaction's others.
func (w *work) callTouched(id gid.ID, changed ...string) {
	if w.calls == nil {
		w.calls = map[gid.ID]*callChange{}
	}
	c := w.calls[id]
	if c == nil {
		c = &callChange{}
		w.calls[id] = c
	}
	c.changed = append(c.changed, changed...)
}

// callChange is what a transaction did to a call.
type callChange struct {
	made, digit bool
	changed     []string
}

// emitCalls writes the events of the calls that this transaction changed, one for each, for whoever sees the
// conversation by then.
func (w *work) emitCalls(ctx context.Context) error {
	for id, ch := range w.calls {
		c, err := w.tx.Call.Query().Where(call.ID(id)).WithInteraction(func(q *ent.InteractionQuery) { q.WithConversation() }).Only(asSystem(ctx))
		if err != nil {
			return fmt.Errorf("read call: %w", err)
		}
		typ := CallUpdated
		switch {
		case ch.made:
			typ = CallCreated
		case c.State == call.StateENDED:
			typ = CallEnded
		}
		i := c.Edges.Interaction
		w.emit(fact{typ: typ, subject: c.ID, version: c.Version, conv: i.Edges.Conversation, inter: i, changed: ch.changed})
		if ch.digit {
			w.emit(fact{typ: CallDigit, subject: c.ID, version: c.Version, conv: i.Edges.Conversation, inter: i, changed: []string{"digits"}})
		}
	}
	return nil
}

// callFollows lets the call of an interaction follow where it went, and the version that verbs are made upon rise: an
// older wish of the desk never undoes a newer one. Whoever serves no more has no leg.
func (w *work) callFollows(ctx context.Context, i *ent.Interaction) error {
	w.moved = append(w.moved, i.ID)
	c, err := w.openCall(ctx, i.ID)
	if c == nil || err != nil {
		return err
	}
	u := w.tx.Call.UpdateOneID(c.ID).AddVersion(1).SetUpdatedAt(w.at)
	state := c.State
	switch i.State {
	case interaction.StateQUEUED:
		state = call.StateQUEUED
	case interaction.StateOFFERED:
		state = call.StateQUEUED
		if i.Connecting {
			state = call.StateRINGING
		}
	case interaction.StateACTIVE:
		state = call.StateACTIVE
	default:
	}
	if state != c.State {
		w.unhold(u, c)
		u.SetState(state)
	}
	if i.State == interaction.StateQUEUED || i.State == interaction.StateOFFERED {
		u.SetRecordingState(call.RecordingStateOFF)
		if err := w.dropLegs(ctx, c.ID); err != nil {
			return err
		}
	}
	if err := u.Exec(asSystem(ctx)); err != nil {
		return fmt.Errorf("save call: %w", err)
	}
	w.callTouched(c.ID, "state")
	return nil
}

// unhold ends a hold and counts it.
func (w *work) unhold(u *ent.CallUpdateOne, c *ent.Call) {
	if c.HeldSince != nil {
		u.ClearHeldSince().AddHeldTotal(int(w.at.Sub(*c.HeldSince) / time.Second))
	}
}

// dropLegs takes the agents' legs away: the node drops them when it hears of it.
func (w *work) dropLegs(ctx context.Context, callID gid.ID) error {
	err := w.tx.CallLeg.Update().Where(callleg.CallID(callID), callleg.RoleEQ(callleg.RoleAGENT), callleg.StateNEQ(callleg.StateENDED)).
		SetState(callleg.StateENDED).SetLeftAt(w.at).SetCause(string(voice.Dropped)).SetHeld(false).Exec(asSystem(ctx))
	if err != nil {
		return fmt.Errorf("drop legs: %w", err)
	}
	return nil
}

// legOf is a leg of a call; nil if it has no such one.
func (w *work) legOf(ctx context.Context, c *ent.Call, id voice.ID) (*ent.CallLeg, error) {
	l, err := w.tx.CallLeg.Query().Where(callleg.ID(rowID(id)), callleg.CallID(c.ID)).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	return l, wrapped("read leg", err)
}

// hasLiveLeg reports whether an agent is on the line of an interaction's call: who loses the socket keeps the call.
func (w *work) hasLiveLeg(ctx context.Context, i *ent.Interaction, agentID gid.ID) (bool, error) {
	if !liveKind(i.ChannelKind) {
		return false, nil
	}
	on, err := w.tx.CallLeg.Query().Where(callleg.AgentID(agentID), callleg.StateEQ(callleg.StateACTIVE),
		callleg.HasCallWith(call.InteractionID(i.ID), call.StateNEQ(call.StateENDED))).Exist(asSystem(ctx))
	return on, wrapped("read legs", err)
}

// causes of telephony as the contract names them; what is missing stands for itself.
var causes = map[voice.Cause]call.EndCause{
	voice.Dropped: call.EndCauseAGENT_HUNG_UP, voice.MediaLost: call.EndCauseFAILED, voice.NodeLost: call.EndCauseLOST, "": call.EndCauseFAILED,
}

func endCause(c voice.Cause) call.EndCause {
	if e, ok := causes[c]; ok {
		return e
	}
	e := call.EndCause(c)
	if call.EndCauseValidator(e) != nil {
		return call.EndCauseFAILED
	}
	return e
}

// callOwner is the workspace of a call and what it belongs to, for telephony, which knows no workspace.
func (d *Desk) callOwner(ctx context.Context, id gid.ID) (*ent.Call, error) {
	c, err := d.db.Call.Get(within(viewer.Global(ctx)), id)
	if ent.IsNotFound(err) {
		return nil, voice.ErrStale
	}
	return c, wrapped("read call", err)
}
