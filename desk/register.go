package desk

import (
	"context"
	"fmt"
	"time"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/agentphone"
	"tributary/ent/phonecontact"
	"tributary/ent/predicate"
	"tributary/ent/presence"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Register implements voice.Desk. Requests of one phone are put in order by its Call-ID and CSeq (RFC 3261 section 10.3,
// step 7): an older one is refused, and a repeat of what is stored does nothing.
func (v *Voice) Register(ctx context.Context, r voice.Registration) error {
	d := v.d
	id, err := idOf(r.Phone, gid.AgentPhone)
	if err != nil {
		return err
	}
	if r, err = cleanContact(r); err != nil {
		return err
	}
	p, err := d.db.AgentPhone.Query().Where(agentphone.ID(id), agentphone.HasAgentWith(agent.Active(true))).Only(within(viewer.Global(ctx)))
	if ent.IsNotFound(err) {
		return voice.ErrUnknown
	}
	if err != nil {
		return fmt.Errorf("read phone: %w", err)
	}
	return d.do(viewer.System(ctx, p.WorkspaceID), nil, func(ctx context.Context, w *work) error { return w.register(ctx, id, r) })
}

// lockPhone keeps a phone's requests one after the other.
func (w *work) lockPhone(ctx context.Context, id gid.ID) (*ent.AgentPhone, error) {
	q := w.tx.AgentPhone.Query().Where(agentphone.ID(id))
	if w.pg {
		q.ForUpdate()
	}
	p, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return nil, voice.ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("lock phone: %w", err)
	}
	return p, nil
}

func (w *work) register(ctx context.Context, id gid.ID, r voice.Registration) error {
	p, err := w.lockPhone(ctx, id)
	if err != nil {
		return err
	}
	old, err := w.tx.PhoneContact.Query().Where(phonecontact.AgentPhoneID(id)).Only(ctx)
	if ent.IsNotFound(err) {
		old, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("read registration: %w", err)
	}
	was, will := old != nil && old.ExpiresAt.After(w.at), r.Expires.After(w.at)
	if was && old.CallID == r.CallID && int64(r.Seq) <= old.Seq {
		if sameContact(old, r) {
			return nil
		}
		return voice.ErrRefused
	}
	if !will {
		return w.unregister(ctx, p)
	}
	if err := w.writeContact(ctx, p, r); err != nil {
		return err
	}
	if was {
		return nil
	}
	return w.phoneMoved(ctx, p)
}

// sameContact reports whether this very request is stored: its answer was lost.
func sameContact(old *ent.PhoneContact, r voice.Registration) bool {
	return int64(r.Seq) == old.Seq && old.Contact == r.Contact && old.Node == r.Node && old.Source == r.Source && old.ExpiresAt.Equal(cut(r.Expires))
}

// cut is a time as both dialects keep it.
func cut(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func (w *work) writeContact(ctx context.Context, p *ent.AgentPhone, r voice.Registration) error {
	err := w.tx.PhoneContact.Create().SetAgentPhoneID(p.ID).SetAgentID(p.AgentID).SetNode(r.Node).SetContact(r.Contact).SetSource(r.Source).SetTransport(r.Transport).
		SetCallID(r.CallID).SetSeq(int64(r.Seq)).SetUserAgent(r.UserAgent).SetExpiresAt(cut(r.Expires)).SetSeenAt(w.at).
		OnConflictColumns(phonecontact.FieldWorkspaceID, phonecontact.FieldAgentPhoneID).
		Update(func(u *ent.PhoneContactUpsert) {
			u.SetNode(r.Node).SetContact(r.Contact).SetSource(r.Source).SetTransport(r.Transport).SetCallID(r.CallID).SetSeq(int64(r.Seq)).
				SetUserAgent(r.UserAgent).SetExpiresAt(cut(r.Expires)).SetSeenAt(w.at)
		}).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write registration: %w", err)
	}
	return nil
}

// unregister ends a phone's registration, if it has one.
func (w *work) unregister(ctx context.Context, p *ent.AgentPhone) error {
	return w.endContacts(ctx, p, phonecontact.AgentPhoneID(p.ID))
}

func (w *work) endContacts(ctx context.Context, p *ent.AgentPhone, which ...predicate.PhoneContact) error {
	n, err := w.tx.PhoneContact.Delete().Where(which...).Exec(ctx)
	if err != nil {
		return fmt.Errorf("end registration: %w", err)
	}
	if n == 0 {
		return nil
	}
	return w.phoneMoved(ctx, p)
}

// phoneMoved tells that a phone is registered, or no more. Where nothing else makes its agent reachable, his liveness
// changed with it.
func (w *work) phoneMoved(ctx context.Context, p *ent.AgentPhone) error {
	other, err := w.tx.PhoneContact.Query().Where(phonecontact.AgentID(p.AgentID), phonecontact.AgentPhoneIDNEQ(p.ID), phonecontact.ExpiresAtGT(w.at)).Exist(ctx)
	if err == nil && !other {
		other, err = w.tx.Presence.Query().Where(presence.SubjectID(p.AgentID), presence.SocketsGT(0), presence.SeenAtGT(w.at.Add(-LostAfter))).Exist(ctx)
	}
	if err != nil {
		return fmt.Errorf("read whether the agent is reachable: %w", err)
	}
	changed := []string{"phones"}
	if !other {
		changed = []string{"live", "phones"}
	}
	w.emit(fact{typ: AgentStatusChanged, subject: p.AgentID, version: 1, agent: p.AgentID, changed: changed})
	return nil
}

// recoverPhones ends the registrations whose connection died with this node's last life. One over UDP has none: the
// phone is reached as before.
func (d *Desk) recoverPhones(ctx context.Context) error {
	err := d.db.PhoneContact.Update().Where(phonecontact.Node(d.Node), phonecontact.TransportNEQ(overUDP), phonecontact.ExpiresAtGT(d.now())).
		SetExpiresAt(d.now()).Exec(within(viewer.Global(ctx)))
	if err != nil {
		return fmt.Errorf("recover phones' registrations: %w", err)
	}
	return nil
}

// overUDP is the transport without connections (RFC 3261 section 18).
const overUDP = "udp"

// sweepAtOnce bounds what one sweep ends of each sort.
const sweepAtOnce = 200

// sweepPhones ends registrations whose time is over, or whose node died: only that node held the way to the phone.
func (d *Desk) sweepPhones(ctx context.Context) error {
	over, err := d.db.PhoneContact.Query().Where(phonecontact.ExpiresAtLTE(d.now())).Order(ent.Asc(phonecontact.FieldExpiresAt)).Limit(sweepAtOnce).All(ctx)
	if err != nil {
		return fmt.Errorf("read phones' registrations: %w", err)
	}
	nodes, err := d.liveNodes(ctx)
	if err != nil {
		return err
	}
	if nodes != nil {
		lost, err := d.db.PhoneContact.Query().Where(phonecontact.NodeNotIn(nodes...), phonecontact.ExpiresAtGT(d.now())).Limit(sweepAtOnce).All(ctx)
		if err != nil {
			return fmt.Errorf("read registrations of dead nodes: %w", err)
		}
		over = append(over, lost...)
	}
	for _, c := range over {
		if err := d.sweepPhone(within(viewer.System(ctx, c.WorkspaceID)), c); err != nil {
			return err
		}
	}
	return nil
}

// sweepPhone ends one registration. If nothing else makes the agent reachable, the calls that wait for him go first, so
// that a crash in between leaves the row to be found again; one in which he talks stays.
func (d *Desk) sweepPhone(ctx context.Context, c *ent.PhoneContact) error {
	a, err := d.aliveAgents(ctx, d.db, c.AgentID)
	if err != nil {
		return err
	}
	others, err := d.db.PhoneContact.Query().Where(phonecontact.AgentID(c.AgentID), phonecontact.IDNEQ(c.ID), phonecontact.ExpiresAtGT(d.now())).Exist(ctx)
	if err != nil {
		return fmt.Errorf("read phones' registrations: %w", err)
	}
	if !others && !a.socket[c.AgentID] {
		if err := d.agentLost(ctx, c.AgentID, "the agent's phone was lost", callsTalk); err != nil {
			return err
		}
	}
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		p, err := w.lockPhone(ctx, c.AgentPhoneID)
		if err != nil {
			return err
		}
		// Registered anew meanwhile: another row by its time or its node.
		return w.endContacts(ctx, p, phonecontact.ID(c.ID), phonecontact.Node(c.Node), phonecontact.CallID(c.CallID), phonecontact.Seq(c.Seq))
	})
}
