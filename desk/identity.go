package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/customer"
	"tributary/ent/customermerge"
	"tributary/ent/customermergepart"
	"tributary/ent/identity"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/personal"
	"tributary/internal/viewer"
)

// singleValued are the kinds of which a customer has one value in a namespace: two different values never join by
// themselves (MODEL 5). They are data of identities, not of channels.
var singleValued = map[string]bool{channels.IdentityExternal: true}

// sender is who an event came from: the identity it speaks by, with its customer.
func (w *work) sender(ctx context.Context, ch *ent.Channel, in channels.Inbound) (*ent.Identity, error) {
	var proved, claimed []channels.IdentityKey
	for _, k := range in.Sender {
		if k.Level >= channels.ChannelProved && in.Proof.Kind != channels.ProofNone {
			proved = append(proved, k)
		} else {
			claimed = append(claimed, k)
		}
	}
	if len(proved) == 0 {
		// Nothing is proved: what the event says stands for itself, in the channel's namespace, and joins nobody.
		if len(claimed) == 0 {
			return nil, jobs.Permanent(errors.New("the event names no sender"))
		}
		proved, claimed = claimed[:1], claimed[1:]
		proved[0].Scope = channels.ScopeChannel
	}
	known, err := w.knownIdentities(ctx, ch, proved)
	if err != nil {
		return nil, err
	}
	cust, err := w.customerOf(ctx, proved, known, in.SenderName)
	if err != nil {
		return nil, err
	}
	if cust, known, err = w.joinKnown(ctx, ch, cust, proved, known); err != nil {
		return nil, err
	}
	if err := w.addProved(ctx, ch, cust, proved, known, in.SenderName); err != nil {
		return nil, err
	}
	if err := w.claim(ctx, ch, cust, claimed); err != nil {
		return nil, err
	}
	if known[0] == nil {
		return nil, jobs.Permanent(errors.New("the sender's first identity belongs to somebody else"))
	}
	return known[0], nil
}

// vouched raises a sender whom our own mark proves (MODEL 5): the mark of a message that went to this address alone comes
// back from there. That nobody vouched before does not matter then; that the address's domain says no does. What went to
// several proves none of them: each knows the mark. The second result is the claimed identity that is proved by it.
func (w *work) vouched(ctx context.Context, ch *ent.Channel, in channels.Inbound) (channels.Inbound, *gid.ID, error) {
	if len(in.Sender) != 1 || in.Proof.Kind != channels.ProofNone || slices.Contains(in.Warnings, channels.WarnSenderForged) {
		return in, nil, nil
	}
	m, err := w.messageOfMark(ctx, ch, in.Marks)
	if m == nil || err != nil {
		return in, nil, err
	}
	to, err := m.QueryRecipients().WithIdentity().All(ctx)
	if err != nil {
		return in, nil, fmt.Errorf("read who a mark was sent to: %w", err)
	}
	key := in.Sender[0]
	if len(to) != 1 || to[0].Edges.Identity == nil {
		return in, nil, nil
	}
	known := to[0].Edges.Identity
	if known.Kind != key.Kind || known.Claim != "" || known.ValueBlind != blind(ch.WorkspaceID, key.Value) {
		return in, nil, nil
	}
	key.Level = channels.ChannelProved
	in.Sender = []channels.IdentityKey{key}
	if known.Scope != key.Scope { // as it was known: the customer is the same
		before := key
		before.Scope = known.Scope
		in.Sender = append(in.Sender, before)
	}
	in.Proof = channels.Proof{Kind: channels.ProofToken, Scheme: "mark"}
	in.Warnings = slices.DeleteFunc(slices.Clone(in.Warnings), func(s string) bool { return s == channels.WarnSenderUnproved })
	return in, &known.ID, nil
}

// addProved gives the customer the proved values that are new, but those that say he is somebody else, and the name that
// came with them where he has none. known is filled.
func (w *work) addProved(ctx context.Context, ch *ent.Channel, cust gid.ID, proved []channels.IdentityKey, known []*ent.Identity, name string) error {
	added := false
	for n, k := range proved {
		if known[n] != nil {
			continue
		}
		other, err := w.conflicts(ctx, cust, k)
		if err != nil {
			return err
		}
		if other {
			continue
		}
		added = true
		by := slices.Clone(known)
		if known[n], err = w.addIdentity(ctx, ch, cust, k, ""); err != nil {
			return err
		}
		if err := w.broughtBy(ctx, cust, by, known[n]); err != nil {
			return err
		}
		if err := w.raise(ctx, known[n]); err != nil {
			return err
		}
	}
	if !added {
		return nil
	}
	return w.nameCustomer(ctx, cust, name)
}

// broughtBy notes a new identity in the merges that brought those it came with: if one is taken back, it goes with them.
func (w *work) broughtBy(ctx context.Context, cust gid.ID, by []*ent.Identity, added *ent.Identity) error {
	parts, err := w.tx.CustomerMergePart.Query().Where(customermergepart.HasMergeWith(customermerge.IntoID(cust), customermerge.UndoneAtIsNil())).All(ctx)
	if err != nil {
		return fmt.Errorf("read merges: %w", err)
	}
	for _, p := range parts {
		came := slices.ContainsFunc(by, func(i *ent.Identity) bool { return i != nil && slices.Contains(p.Identities, i.ID) })
		if !came {
			continue
		}
		if err := w.tx.CustomerMergePart.UpdateOneID(p.ID).SetIdentities(append(slices.Clone(p.Identities), added.ID)).Exec(ctx); err != nil {
			return fmt.Errorf("save merge: %w", err)
		}
	}
	return nil
}

// knownIdentities are the rows of proved keys, in their order; nil where a value is new.
func (w *work) knownIdentities(ctx context.Context, ch *ent.Channel, keys []channels.IdentityKey) ([]*ent.Identity, error) {
	out := make([]*ent.Identity, len(keys))
	for n, k := range keys {
		row, err := w.tx.Identity.Query().Where(identity.Kind(k.Kind), identity.Scope(scopeOfKey(ch, k)), identity.ValueBlind(blind(ch.WorkspaceID, k.Value)), identity.Claim("")).Only(ctx)
		if err != nil && !ent.IsNotFound(err) {
			return nil, fmt.Errorf("find identity: %w", err)
		}
		out[n] = row
	}
	return out, nil
}

func blind(workspace gid.ID, value string) string {
	return personal.Blind(workspace, "identity.value", value)
}

// scopeOfKey is the namespace: the workspace, the channel, or a provider's.
func scopeOfKey(ch *ent.Channel, k channels.IdentityKey) string {
	if k.Scope == channels.ScopeChannel {
		return ch.ID.String()
	}
	return k.Scope
}

// customerOf is the customer of the first known identity; the event's own address comes first, so that an unexpected
// second one never moves a person to a stranger. One who has another value of a single-valued namespace is somebody
// else, whatever they share. Nobody known: a new customer.
func (w *work) customerOf(ctx context.Context, keys []channels.IdentityKey, known []*ent.Identity, name string) (gid.ID, error) {
	if known[0] != nil {
		return known[0].CustomerID, nil
	}
	for _, row := range known {
		if row == nil {
			continue
		}
		other, err := w.another(ctx, row.CustomerID, keys, known)
		if err != nil {
			return gid.ID{}, err
		}
		if !other {
			return row.CustomerID, nil
		}
	}
	c, err := w.tx.Customer.Create().SetDisplayName(name).SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return gid.ID{}, fmt.Errorf("write customer: %w", err)
	}
	w.emit(fact{typ: CustomerCreated, subject: c.ID, version: c.Version, customer: c.ID})
	return c.ID, nil
}

// another reports whether a new value among the keys says that this customer is not who speaks.
func (w *work) another(ctx context.Context, cust gid.ID, keys []channels.IdentityKey, known []*ent.Identity) (bool, error) {
	for n, k := range keys {
		if known[n] != nil {
			if singleValued[k.Kind] && known[n].CustomerID != cust {
				return true, nil
			}
			continue
		}
		if other, err := w.conflicts(ctx, cust, k); err != nil || other {
			return other, err
		}
	}
	return false, nil
}

// conflicts reports whether the customer has another value in a single-valued namespace: then the new one is not his.
func (w *work) conflicts(ctx context.Context, cust gid.ID, k channels.IdentityKey) (bool, error) {
	if !singleValued[k.Kind] {
		return false, nil
	}
	other, err := w.tx.Identity.Query().Where(identity.CustomerID(cust), identity.Kind(k.Kind), identity.Claim("")).Exist(ctx)
	if err != nil {
		return false, fmt.Errorf("find conflict: %w", err)
	}
	return other, nil
}

func (w *work) addIdentity(ctx context.Context, ch *ent.Channel, cust gid.ID, k channels.IdentityKey, claim string) (*ent.Identity, error) {
	row := w.tx.Identity.Create().SetCustomerID(cust).SetKind(k.Kind).SetScope(scopeOfKey(ch, k)).SetValue(personal.Of(k.Value)).SetClaim(claim).
		SetVerification(identity.Verification(k.Level.String())).SetFirstSeenAt(w.at).SetLastSeenAt(w.at).SetCreatedAt(w.at)
	if k.Scope == channels.ScopeChannel {
		row.SetChannelID(ch.ID)
	}
	i, err := row.Save(ctx)
	if err != nil {
		return nil, fmt.Errorf("write identity: %w", err)
	}
	return i, nil
}

// claim notes what was only said: shown to agents, joining nobody. Several customers may claim one value.
func (w *work) claim(ctx context.Context, ch *ent.Channel, cust gid.ID, keys []channels.IdentityKey) error {
	for _, k := range keys {
		there, err := w.tx.Identity.Query().Where(identity.CustomerID(cust), identity.Kind(k.Kind), identity.ValueBlind(blind(ch.WorkspaceID, k.Value))).Exist(ctx)
		if err != nil {
			return fmt.Errorf("find claim: %w", err)
		}
		if there {
			continue
		}
		k.Level = channels.Claimed
		row, err := w.addIdentity(ctx, ch, cust, k, cust.String())
		if err != nil {
			return err
		}
		if err := w.raise(ctx, row); err != nil {
			return err
		}
	}
	return nil
}

// CustomerByIdentity finds the customer of a proved value.
func (d *Desk) CustomerByIdentity(ctx context.Context, kind, value string, channel *gid.ID) (*ent.CustomerQuery, error) {
	if err := need(ctx, viewer.CustomerRead); err != nil {
		return nil, err
	}
	scope := ""
	if channel != nil {
		scope = channel.String()
	}
	return d.db.Customer.Query().Where(customer.HasIdentitiesWith(identity.Kind(kind), identity.Scope(scope), identity.Claim(""),
		identity.ValueBlind(blind(viewer.From(ctx).Workspace, value)))), nil
}
