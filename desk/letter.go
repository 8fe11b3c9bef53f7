package desk

import (
	"context"
	"fmt"

	"tributary/channels"
	"tributary/ent"
	entarrival "tributary/ent/arrival"
	"tributary/ent/identity"
	"tributary/ent/message"
	"tributary/ent/participant"
	"tributary/ent/recipient"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

// Messages that are addressed to several people and may arrive by several ways: mail.

// maxAddressed is how many of a message's recipients are kept. A mail to thousands is a mailing.
const maxAddressed = 50

// addressed notes to whom a message was sent, and that they take part. Nothing proves who they are: they are shown, and
// see nothing by it.
func (w *work) addressed(ctx context.Context, c *ent.Conversation, m *ent.Message, ch *ent.Channel, in channels.Inbound) error {
	left := maxAddressed
	for _, list := range []struct {
		role      recipient.Role
		addresses []channels.Address
	}{{recipient.RoleREPLY_TO, in.ReplyTo}, {recipient.RoleTO, in.To}, {recipient.RoleCC, in.Cc}} {
		for _, a := range list.addresses {
			if a.Own || a.Value == "" || left == 0 {
				continue
			}
			left--
			who, err := w.identityOf(ctx, ch, a)
			if err != nil {
				return err
			}
			if err := w.address(ctx, m, who, list.role, a.Name); err != nil {
				return err
			}
			if list.role == recipient.RoleREPLY_TO {
				continue
			}
			role := participant.RoleCC
			if who.CustomerID == c.CustomerID {
				role = participant.RoleCUSTOMER
			}
			if err := w.takesPart(ctx, c, who, role); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *work) address(ctx context.Context, m *ent.Message, who *ent.Identity, role recipient.Role, name string) error {
	err := w.tx.Recipient.Create().SetMessageID(m.ID).SetIdentityID(who.ID).SetRole(role).SetName(name).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write recipient: %w", err)
	}
	return nil
}

// identityOf is the identity of an address that was only named: the proved one of this value, else that of this channel,
// else a new one, of a customer of his own.
func (w *work) identityOf(ctx context.Context, ch *ent.Channel, a channels.Address) (*ent.Identity, error) {
	q := w.tx.Identity.Query().Where(identity.Kind(a.Kind), identity.ScopeIn(channels.ScopeWorkspace, ch.ID.String()),
		identity.ValueBlind(blind(ch.WorkspaceID, a.Value)), identity.Claim("")).Order(ent.Asc(identity.FieldScope))
	if w.pg { // its customer must not be merged away before this is committed
		q.ForShare()
	}
	rows, err := q.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("find identity: %w", err)
	}
	if len(rows) > 0 {
		return rows[0], nil
	}
	key := a.IdentityKey
	key.Scope, key.Level = channels.ScopeChannel, channels.Claimed
	cust, err := w.customerOf(ctx, []channels.IdentityKey{key}, []*ent.Identity{nil}, a.Name)
	if err != nil {
		return nil, err
	}
	return w.addIdentity(ctx, ch, cust, key, "")
}

// takesPart notes that somebody takes part, once per identity.
func (w *work) takesPart(ctx context.Context, c *ent.Conversation, who *ent.Identity, role participant.Role) error {
	err := w.tx.Participant.Create().SetConversationID(c.ID).SetIdentityID(who.ID).SetCustomerID(who.CustomerID).SetRole(role).SetSince(w.at).
		OnConflictColumns(participant.FieldWorkspaceID, participant.FieldConversationID, participant.FieldIdentityID).DoNothing().Exec(ctx)
	if err != nil && !isNoRows(err) {
		return fmt.Errorf("write participant: %w", err)
	}
	return nil
}

func sameBlind(workspace gid.ID, id string) string {
	return personal.Blind(workspace, "message.same", id)
}

// copyOf is the message that an event is a copy of, if it came before by another way.
func (w *work) copyOf(ctx context.Context, ch *ent.Channel, in channels.Inbound) (*ent.Message, error) {
	if in.SameID == "" {
		return nil, nil
	}
	m, err := w.tx.Message.Query().Where(message.SameID(sameBlind(ch.WorkspaceID, in.SameID))).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find copy: %w", err)
	}
	return m, nil
}

// arrived notes a way by which the message came. It reports whether the way is new.
func (w *work) arrived(ctx context.Context, m *ent.Message, ch *ent.Channel, in channels.Inbound) (bool, error) {
	there, err := w.tx.Arrival.Query().Where(entarrival.MessageID(m.ID), entarrival.ChannelID(ch.ID)).Exist(ctx)
	if err != nil || there {
		return false, err
	}
	if err := w.tx.Arrival.Create().SetMessageID(m.ID).SetChannelID(ch.ID).SetExternalID(in.ExternalID).SetAt(w.at).Exec(ctx); err != nil {
		return false, fmt.Errorf("write arrival: %w", err)
	}
	return true, nil
}

// copied takes in one more copy of a message: it is shown there and changes nothing else.
func (w *work) copied(ctx context.Context, m *ent.Message, ch *ent.Channel, in channels.Inbound) (*ent.Message, error) {
	fresh, err := w.arrived(ctx, m, ch, in)
	if err != nil || !fresh {
		return m, err
	}
	n, err := w.tx.Message.UpdateOneID(m.ID).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("save message: %w", err)
	}
	return n, w.tellMessage(ctx, n, "arrivals")
}
