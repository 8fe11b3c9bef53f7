package desk

import (
	"context"
	"fmt"

	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/phonecontact"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// alive is who can be reached now, and how. What is served on a screen needs a socket; a call needs a socket or a
// registered phone (MODEL 2).
type alive struct{ socket, phone map[gid.ID]bool }

// serves reports whether an agent can be reached for a kind.
func (a alive) serves(agentID gid.ID, kind string) bool {
	return a.socket[agentID] || a.phone[agentID] && isCall(kind)
}

// kinds is what the router is told: the entry "" holds for every kind that has none of its own.
func (a alive) kinds(agentID gid.ID) map[string]bool {
	out := map[string]bool{"": a.socket[agentID]}
	for _, k := range callKinds() {
		out[k] = a.serves(agentID, k)
	}
	return out
}

// aliveAgents are the agents, all or those named, who can be reached. Contacts of nodes that died are ended by the sweep,
// so the row alone says whether a phone is registered.
func (d *Desk) aliveAgents(ctx context.Context, db *ent.Client, agents ...gid.ID) (alive, error) {
	out := alive{phone: map[gid.ID]bool{}}
	var err error
	if out.socket, err = d.liveAgents(ctx, db, agents...); err != nil {
		return out, err
	}
	q := db.PhoneContact.Query().Where(phonecontact.ExpiresAtGT(d.now()))
	if len(agents) > 0 {
		q.Where(phonecontact.AgentIDIn(agents...))
	}
	rows, err := q.Select(phonecontact.FieldAgentID).All(ctx)
	if err != nil {
		return out, fmt.Errorf("read phones' registrations: %w", err)
	}
	for _, r := range rows {
		out.phone[r.AgentID] = true
	}
	return out, nil
}

// AgentsAlive are the agents of the workspace who can be reached now, in some way.
func (d *Desk) AgentsAlive(ctx context.Context) (map[gid.ID]bool, error) {
	return d.agentsAlive(ctx)
}

// AgentAlive reports whether an agent can be reached now, in some way.
func (d *Desk) AgentAlive(ctx context.Context, id gid.ID) (bool, error) {
	out, err := d.agentsAlive(ctx, id)
	return out[id], err
}

func (d *Desk) agentsAlive(ctx context.Context, agents ...gid.ID) (map[gid.ID]bool, error) {
	if err := need(ctx, viewer.Self); err != nil {
		return nil, err
	}
	a, err := d.aliveAgents(within(ctx), d.db, agents...)
	if err != nil {
		return nil, err
	}
	out := a.socket
	for id := range a.phone {
		out[id] = true
	}
	return out, nil
}

// calls says what becomes of an agent's calls when he is lost.
type calls int

const (
	// callsGo: he serves nothing any more.
	callsGo calls = iota
	// callsTalk: only those where he is in the middle of talking stay.
	callsTalk
	// callsStay: he has a phone.
	callsStay
)

// staysWith reports whether an interaction of a lost agent stays his.
func (w *work) staysWith(ctx context.Context, i *ent.Interaction, agentID gid.ID, c calls) (bool, error) {
	if !isCall(i.ChannelKind) || c == callsGo {
		return false, nil
	}
	if c == callsStay {
		return true, nil
	}
	talks, err := w.tx.CallLeg.Query().Where(callleg.AgentID(agentID), callleg.StateEQ(callleg.StateACTIVE), callleg.HasCallWith(call.InteractionID(i.ID))).Exist(ctx)
	if err != nil {
		return false, fmt.Errorf("read legs: %w", err)
	}
	return talks, nil
}
