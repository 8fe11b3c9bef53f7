package desk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/offer"
	"tributary/ent/presence"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Times of liveness (MODEL 2).
const (
	Heartbeat  = 10 * time.Second // rows of this node's connections are renewed so often, in one statement
	LostAfter  = 30 * time.Second // without a connection or a heartbeat
	SweepEvery = time.Second
)

// connections counts this node's sockets by agent or visitor's identity.
type connections struct {
	mu    sync.Mutex
	count map[gid.ID]*connection
}

type connection struct {
	workspace gid.ID
	sockets   int
	written   int // what the row says
	writing   bool
}

// Connect notes a socket of the viewer and returns what notes its end. The row follows in the background: a socket never
// waits for the database.
func (d *Desk) Connect(v *viewer.Viewer) (release func()) {
	subject := v.Actor
	if v.Kind == viewer.KindCustomer {
		subject = v.Identity
	} else if v.Kind != viewer.KindAgent {
		return func() {}
	}
	d.connected(v.Workspace, subject, 1)
	var once sync.Once
	return func() { once.Do(func() { d.connected(v.Workspace, subject, -1) }) }
}

func (d *Desk) connected(workspace, subject gid.ID, by int) {
	d.live.mu.Lock()
	defer d.live.mu.Unlock()
	c := d.live.count[subject]
	if c == nil {
		c = &connection{workspace: workspace}
		d.live.count[subject] = c
	}
	c.sockets += by
	if !c.writing && (c.sockets > 0) != (c.written > 0) {
		c.writing = true
		go d.writePresence(subject, c)
	}
}

// writePresence brings the row after the count until they agree, and then ends. One runs per subject.
func (d *Desk) writePresence(subject gid.ID, c *connection) {
	for {
		d.live.mu.Lock()
		now := c.sockets
		if (now > 0) == (c.written > 0) {
			c.writing = false
			if now == 0 {
				delete(d.live.count, subject)
			}
			d.live.mu.Unlock()
			return
		}
		d.live.mu.Unlock()
		ctx, cancel := context.WithTimeout(viewer.System(context.Background(), c.workspace), 10*time.Second) //nolint:forbidigo // outlives the socket
		err := d.setPresence(ctx, subject, now)
		cancel()
		if err != nil {
			d.Log.Warn("write presence", "subject", subject, "error", err)
			time.Sleep(200 * time.Millisecond)
			continue
		}
		d.live.mu.Lock()
		c.written = now
		d.live.mu.Unlock()
	}
}

func (d *Desk) setPresence(ctx context.Context, subject gid.ID, sockets int) error {
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		err := w.tx.Presence.Create().SetSubjectID(subject).SetNode(d.Node).SetSockets(sockets).SetSeenAt(w.at).
			OnConflictColumns(presence.FieldWorkspaceID, presence.FieldSubjectID, presence.FieldNode).
			Update(func(u *ent.PresenceUpsert) { u.SetSockets(sockets).SetSeenAt(w.at) }).Exec(ctx)
		if err != nil {
			return fmt.Errorf("write presence: %w", err)
		}
		if subject.Kind() == gid.Agent {
			w.emit(fact{typ: AgentStatusChanged, subject: subject, version: 1, agent: subject, changed: []string{"live"}})
			return nil
		}
		return w.visitorMoved(ctx, subject, sockets > 0)
	})
}

// visitorMoved makes a chat live while its visitor is online. One who leaves without having written is gone; a question
// that was asked is owed (MODEL 2).
func (w *work) visitorMoved(ctx context.Context, identityID gid.ID, online bool) error {
	open, err := w.tx.Interaction.Query().Where(interaction.IdentityID(identityID), interaction.StateNEQ(interaction.StateENDED)).IDs(ctx)
	if err != nil {
		return fmt.Errorf("read chats: %w", err)
	}
	if err := w.lockTheirs(ctx, open); err != nil {
		return err
	}
	for _, id := range open {
		c, i, err := w.lockInteraction(ctx, id)
		if err != nil {
			return err
		}
		if i.State == interaction.StateENDED || i.Live == online {
			continue
		}
		wrote, err := w.tx.Message.Query().Where(message.InteractionID(i.ID), message.DirectionEQ(message.DirectionINBOUND)).Exist(ctx)
		if err != nil {
			return fmt.Errorf("read messages: %w", err)
		}
		if !online && !wrote && (i.State == interaction.StateQUEUED || i.State == interaction.StateOFFERED) {
			if err := w.abandon(ctx, c, i); err != nil {
				return err
			}
			continue
		}
		if i, err = w.tx.Interaction.UpdateOneID(i.ID).SetLive(online).AddVersion(1).SetUpdatedAt(w.at).Save(ctx); err != nil {
			return fmt.Errorf("save interaction: %w", err)
		}
		w.told(c, i, gid.ID{}, "live")
		if !online && i.UnansweredSince == nil { // asynchronous from now on: the timer that fired meanwhile did nothing
			if err := w.pauseLater(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// abandon ends a contact whose customer left before anybody served him.
func (w *work) abandon(ctx context.Context, c *ent.Conversation, i *ent.Interaction) error {
	if i.OpenOfferID != nil {
		var err error
		if c, err = w.withdraw(ctx, c, i, offer.OutcomeWITHDRAWN); err != nil {
			return err
		}
	}
	i, err := w.move(ctx, i, onLeave, func(u *ent.InteractionUpdateOne) { u.SetAbandoned(true).ClearUnansweredSince() })
	if err != nil {
		return err
	}
	if err := w.endAssignments(ctx, i.ID); err != nil { // of one who handed it over and stayed
		return err
	}
	w.told(c, i, gid.ID{}, "state")
	_, err = w.settle(ctx, c, nil)
	return err
}

// Online renews the leases of this node's connections, all in one statement. A lease that was swept while the database
// did not answer is written anew.
func (d *Desk) Online(ctx context.Context) error {
	n, err := d.db.Presence.Update().Where(presence.Node(d.Node), presence.SocketsGT(0)).SetSeenAt(d.now()).Save(within(viewer.Global(ctx)))
	if err != nil {
		return fmt.Errorf("renew presence: %w", err)
	}
	connected := d.connectedHere()
	if n >= len(connected) {
		return nil
	}
	for subject, c := range connected {
		if err := d.setPresence(viewer.System(ctx, c.workspace), subject, c.sockets); err != nil {
			return err
		}
	}
	return nil
}

// connectedHere are the subjects whose connection this node has written.
func (d *Desk) connectedHere() map[gid.ID]connection {
	d.live.mu.Lock()
	defer d.live.mu.Unlock()
	out := map[gid.ID]connection{}
	for subject, c := range d.live.count {
		if c.sockets > 0 && c.written > 0 {
			out[subject] = *c
		}
	}
	return out
}

// Recover is the start-up path, always run: the sockets and the calls of this node's last life are gone.
func (d *Desk) Recover(ctx context.Context) error {
	err := d.db.Presence.Update().Where(presence.Node(d.Node), presence.SocketsGT(0)).SetSockets(0).Exec(within(viewer.Global(ctx)))
	if err != nil {
		return fmt.Errorf("recover presence: %w", err)
	}
	return errors.Join(d.recoverPhones(ctx), d.recoverCalls(ctx))
}

// Sweep finds what time has changed: connections whose node died, agents who are lost, offers of the gone, calls whose node
// gives no sign. It runs under a lease, once a second, and costs a query for each sort of lease when there is nothing.
func (d *Desk) Sweep(ctx context.Context) error {
	global := within(viewer.Global(ctx))
	old := d.now().Add(-LostAfter)
	stale, err := d.db.Presence.Query().Where(presence.SeenAtLT(old)).Order(ent.Asc(presence.FieldSeenAt)).Limit(200).All(global)
	if err != nil {
		return fmt.Errorf("read presence: %w", err)
	}
	for _, p := range stale {
		if err := d.sweepOne(within(viewer.System(ctx, p.WorkspaceID)), p, old); err != nil {
			return err
		}
	}
	return errors.Join(d.sweepPhones(global), d.sweepCalls(ctx))
}

// sweepOne ends a lease that nobody renewed. If it was the subject's last one, the subject is lost: his work goes first,
// so that a crash in between leaves the lease to be found again.
func (d *Desk) sweepOne(ctx context.Context, p *ent.Presence, old time.Time) error {
	others, err := d.db.Presence.Query().Where(presence.SubjectID(p.SubjectID), presence.SeenAtGTE(old)).Exist(ctx)
	if err != nil {
		return fmt.Errorf("read presence: %w", err)
	}
	isAgent := p.SubjectID.Kind() == gid.Agent
	if !others && isAgent {
		a, err := d.aliveAgents(ctx, d.db, p.SubjectID)
		if err != nil {
			return err
		}
		left := callsTalk
		if a.phone[p.SubjectID] {
			left = callsStay
		}
		if err := d.agentLost(ctx, p.SubjectID, "the agent was lost", left); err != nil {
			return err
		}
	}
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		n, err := w.tx.Presence.Delete().Where(presence.ID(p.ID), presence.SeenAtLT(old)).Exec(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("end presence: %w", err)
		case n == 0 || others:
			return nil
		case !isAgent:
			return w.visitorMoved(ctx, p.SubjectID, false)
		}
		w.emit(fact{typ: AgentStatusChanged, subject: p.SubjectID, version: 1, agent: p.SubjectID, changed: []string{"live"}})
		return nil
	})
}

// agentLost returns an agent's work: offers at once, what he serves with its age and raised priority. Each in a
// transaction of its own: much work is returned without a long lock. What stays of his calls, c says.
func (d *Desk) agentLost(ctx context.Context, agentID gid.ID, why string, c calls) error {
	ids, err := d.db.Interaction.Query().Where(interaction.Or(
		interaction.And(interaction.AgentID(agentID), interaction.StateIn(interaction.StateACTIVE, interaction.StateWRAP_UP)),
		interaction.HasOpenOfferWith(offer.AgentID(agentID), offer.StateEQ(offer.StatePENDING)),
		interaction.HasConsultantsWith(agent.ID(agentID)))).IDs(within(ctx))
	if err != nil {
		return fmt.Errorf("read the agent's work: %w", err)
	}
	for _, id := range ids {
		if err := d.do(ctx, nil, func(ctx context.Context, w *work) error { return w.takeFrom(ctx, agentID, id, why, c) }); err != nil {
			return err
		}
	}
	return nil
}

// takeFrom returns one interaction of an agent, if it is still his.
func (w *work) takeFrom(ctx context.Context, agentID, id gid.ID, why string, left calls) error {
	c, i, err := w.lockInteraction(ctx, id)
	if err != nil {
		return err
	}
	if stays, err := w.staysWith(ctx, i, agentID, left); stays || err != nil {
		return err
	}
	switch {
	case i.State == interaction.StateOFFERED && i.OpenOfferID != nil:
		o, err := w.tx.Offer.Get(ctx, *i.OpenOfferID)
		if err != nil {
			return fmt.Errorf("read offer: %w", err)
		}
		if o.AgentID != agentID {
			return nil
		}
		return w.offerFailed(ctx, c, i, o, onAgentGone, offer.StateWITHDRAWN, offer.OutcomeLOST, nil)
	case i.State == interaction.StateACTIVE && i.AgentID != nil && *i.AgentID == agentID:
		return w.serverLost(ctx, c, i, why)
	case i.State == interaction.StateWRAP_UP && i.AgentID != nil && *i.AgentID == agentID:
		_, err := w.leave(ctx, c, i, onWrapUpDone, nil)
		return err
	}
	_, err = w.endConsult(ctx, c, i, agentID)
	return err
}

// liveAgents are the agents of the workspaces with a connection that was seen lately.
func (d *Desk) liveAgents(ctx context.Context, db *ent.Client, subjects ...gid.ID) (map[gid.ID]bool, error) {
	q := db.Presence.Query().Where(presence.SocketsGT(0), presence.SeenAtGT(d.now().Add(-LostAfter)))
	if len(subjects) > 0 {
		q.Where(presence.SubjectIDIn(subjects...))
	}
	rows, err := q.Select(presence.FieldSubjectID).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read presence: %w", err)
	}
	out := make(map[gid.ID]bool, len(rows))
	for _, r := range rows {
		out[r.SubjectID] = true
	}
	return out, nil
}
