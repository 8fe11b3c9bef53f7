package desk

import (
	"context"
	"fmt"

	"tributary/ent"
	"tributary/ent/interaction"
	"tributary/internal/gid"
)

// trigger is what can happen to an interaction.
type trigger string

const (
	onOffer      trigger = "router offers"
	onAccept     trigger = "accept"
	onDecline    trigger = "decline"
	onExpire     trigger = "expiry"
	onAgentGone  trigger = "offered agent gone"
	onLeave      trigger = "customer leaves without having written, or ends it"
	onClaim      trigger = "claimed by hand"
	onResolve    trigger = "conversation resolved"
	onPause      trigger = "answered and silent, or set to wait"
	onWrite      trigger = "customer writes"
	onAgentLost  trigger = "agent lost or silent"
	onRelease    trigger = "given back"
	onEnd        trigger = "contact ended"
	onEndWrapUp  trigger = "contact ended, wrap-up asked for"
	onWrapUpDone trigger = "wrap-up done"
	onHandOver   trigger = "flow hands over"
	onTransfer   trigger = "transfer to a queue or team"
	onTransferTo trigger = "transfer to an agent"
	onReopen     trigger = "conversation reopened"
	onConnect    trigger = "accepted, the agent's leg is not up yet"
	onUnanswered trigger = "the agent's leg is not answered"
	onClaimCall  trigger = "a waiting call is claimed: its taker's leg comes first"
	onNodeLost   trigger = "node of the call lost"
)

// capacity is what a transition does to the agent's load.
type capacity string

const (
	capNone    capacity = "-"
	capReserve capacity = "reserved"
	capHold    capacity = "held"
	capKeep    capacity = "kept"
	capRelease capacity = "released"
	capMove    capacity = "moves"
)

type transition struct {
	to  interaction.State
	cap capacity
}

// states is the table of MODEL 2; the golden file in testdata shows it. What is not in it does not happen.
var states = map[interaction.State]map[trigger]transition{
	interaction.StateIN_FLOW: {
		onNodeLost: {interaction.StateENDED, capNone},
		onHandOver: {interaction.StateQUEUED, capNone},
		onResolve:  {interaction.StateENDED, capNone},
		onLeave:    {interaction.StateENDED, capNone},
	},
	interaction.StateQUEUED: {
		onClaimCall: {interaction.StateOFFERED, capReserve},
		onNodeLost:  {interaction.StateENDED, capNone},
		onOffer:     {interaction.StateOFFERED, capReserve},
		onClaim:     {interaction.StateACTIVE, capHold},
		onLeave:     {interaction.StateENDED, capNone},
		onResolve:   {interaction.StateENDED, capNone},
		onWrite:     {interaction.StateQUEUED, capNone},
	},
	interaction.StateOFFERED: {
		onConnect:    {interaction.StateOFFERED, capKeep},
		onUnanswered: {interaction.StateQUEUED, capRelease},
		onClaimCall:  {interaction.StateOFFERED, capMove},
		onNodeLost:   {interaction.StateENDED, capRelease},
		onAccept:     {interaction.StateACTIVE, capHold},
		onDecline:    {interaction.StateQUEUED, capRelease},
		onExpire:     {interaction.StateQUEUED, capRelease},
		onAgentGone:  {interaction.StateQUEUED, capRelease},
		onClaim:      {interaction.StateACTIVE, capHold},
		onLeave:      {interaction.StateENDED, capRelease},
		onResolve:    {interaction.StateENDED, capRelease},
		onWrite:      {interaction.StateOFFERED, capKeep},
	},
	interaction.StateACTIVE: {
		onNodeLost:   {interaction.StateENDED, capRelease},
		onPause:      {interaction.StatePAUSED, capRelease},
		onTransfer:   {interaction.StateQUEUED, capRelease},
		onTransferTo: {interaction.StateOFFERED, capMove},
		onAgentLost:  {interaction.StateQUEUED, capRelease},
		onRelease:    {interaction.StateQUEUED, capRelease},
		onResolve:    {interaction.StateENDED, capRelease},
		onEnd:        {interaction.StateENDED, capRelease},
		onEndWrapUp:  {interaction.StateWRAP_UP, capKeep},
		onWrite:      {interaction.StateACTIVE, capKeep},
	},
	interaction.StatePAUSED: {
		onNodeLost: {interaction.StateENDED, capNone},
		onWrite:    {interaction.StateQUEUED, capNone},
		onClaim:    {interaction.StateACTIVE, capHold},
		onResolve:  {interaction.StateENDED, capNone},
		onEnd:      {interaction.StateENDED, capNone},
	},
	interaction.StateWRAP_UP: {
		onNodeLost:   {interaction.StateENDED, capRelease},
		onWrite:      {interaction.StateACTIVE, capKeep},
		onWrapUpDone: {interaction.StateENDED, capRelease},
		onResolve:    {interaction.StateENDED, capRelease},
	},
	interaction.StateENDED: {
		onReopen: {interaction.StatePAUSED, capNone},
	},
}

// next is the table's answer, or a refusal that names what stands in the way.
func next(from interaction.State, t trigger) (transition, error) {
	n, ok := states[from][t]
	if !ok {
		return n, refuse(WrongState, fmt.Sprintf("an interaction that is %s does not admit: %s", from, t))
	}
	return n, nil
}

// move takes an interaction through the table by a conditional update: only from the state that was read. change sets
// what else the transition brings; the load of the agent is the caller's concern. The updated row comes back.
func (w *work) move(ctx context.Context, i *ent.Interaction, t trigger, change func(*ent.InteractionUpdateOne)) (*ent.Interaction, error) {
	n, err := next(i.State, t)
	if err != nil {
		return nil, err
	}
	u := w.tx.Interaction.UpdateOneID(i.ID).Where(interaction.StateEQ(i.State)).SetState(n.to).AddVersion(1).SetUpdatedAt(w.at)
	if n.to == interaction.StateENDED {
		u.SetEndedAt(w.at).SetLive(false).ClearOpenOfferID()
	}
	if i.Connecting {
		u.SetConnecting(false)
	}
	if change != nil {
		change(u)
	}
	m, err := u.Save(ctx)
	if ent.IsNotFound(err) {
		return nil, refuse(WrongState, "somebody changed it meanwhile")
	}
	if err != nil {
		return nil, fmt.Errorf("move interaction: %w", err)
	}
	if liveKind(m.ChannelKind) {
		return m, w.callFollows(ctx, m)
	}
	return m, nil
}

// told emits what became of an interaction; agent is the one whose load changed, if one's did.
func (w *work) told(c *ent.Conversation, i *ent.Interaction, agent gid.ID, changed ...string) {
	typ := InteractionUpdated
	if i.State == interaction.StateENDED {
		typ = InteractionEnded
	}
	w.emit(fact{typ: typ, subject: i.ID, version: i.Version, conv: c, inter: i, agent: agent, changed: changed})
}
