package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/customer"
	"tributary/ent/customermerge"
	"tributary/ent/schema"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// MergeCustomers makes customers one by a person's word.
func (d *Desk) MergeCustomers(ctx context.Context, intoID gid.ID, fromIDs []gid.ID, reason *string, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.CustomerWrite); err != nil {
		return gid.ID{}, err
	}
	from := unique(slices.Clone(fromIDs))
	switch {
	case len(from) == 0:
		return gid.ID{}, refuse(Required, "name who goes into whom", "fromIds")
	case len(from) > maxMerged:
		return gid.ID{}, refuse(LimitReached, fmt.Sprintf("at most %d at once", maxMerged), "fromIds")
	case slices.Contains(from, intoID):
		return gid.ID{}, refuse(Invalid, "a customer does not go into himself", "fromIds")
	}
	return d.once(ctx, key, []any{"customerMerge", intoID, from, reason, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		m, err := w.mergeByHand(ctx, intoID, from, ifVersion, merging{reason: shortReason(reason), evidence: w.stated()})
		if err != nil {
			return gid.ID{}, err
		}
		return m.ID, nil
	})
}

// stated is the evidence of a person's word.
func (w *work) stated() []schema.IdentityEvidence {
	return []schema.IdentityEvidence{{Kind: "AGENT_STATEMENT", Detail: "a person said so", Confidence: 1, At: w.at}}
}

func shortReason(s *string) *string {
	if s == nil {
		return nil
	}
	t := clean.Line(*s, 500)
	return &t
}

// mergeByHand merges, and suggests that open conversations of both sides may be one matter. Two who are served at once
// go on being served: nothing moves.
func (w *work) mergeByHand(ctx context.Context, into gid.ID, from []gid.ID, ifVersion *int, m merging) (*ent.CustomerMerge, error) {
	sys := asSystem(ctx)
	g, err := w.lockMatters(sys, from, []gid.ID{into}, nil)
	if err != nil {
		return nil, err
	}
	rows, err := w.tx.Customer.Query().Where(customer.IDIn(append(slices.Clone(from), into)...)).All(sys)
	if err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}
	if len(rows) != len(from)+1 {
		return nil, notFound("customer", "fromIds")
	}
	for _, c := range rows {
		if c.MergedIntoID != nil {
			return nil, &Refusal{Code: WrongState, Message: "he went into another customer", Field: []string{"fromIds"}, ConflictID: *c.MergedIntoID}
		}
		if c.ID == into {
			if err := fits(c.Version, ifVersion); err != nil {
				return nil, err
			}
		}
	}
	if against := singleValues(g.identities, append(slices.Clone(from), into), nil); against != nil {
		return nil, &Refusal{Code: Duplicate, Message: "they have different values of a kind of which a customer has one", Field: []string{"fromIds"}, ConflictID: against.ID}
	}
	theirs := map[gid.ID][]*ent.Conversation{}
	for _, id := range from {
		theirs[id] = g.of(id)
	}
	ours := g.of(into)
	merge, err := w.mergeCustomers(ctx, g, into, from, m)
	if err != nil {
		return nil, err
	}
	for _, id := range from {
		for _, c := range theirs[id] {
			if err := w.suggestOne(sys, g, c.ID, ours); err != nil {
				return nil, err
			}
		}
		ours = append(ours, theirs[id]...)
	}
	return merge, nil
}

// suggestOne suggests a conversation's merge with that of others which was active last.
func (w *work) suggestOne(ctx context.Context, g *ground, id gid.ID, others []*ent.Conversation) error {
	var best *ent.Conversation
	for _, o := range others {
		if n := g.conversation(o.ID); n != nil && n.ID != id && isOpen(n) && (best == nil || activeAt(n).After(activeAt(best))) {
			best = n
		}
	}
	if best == nil {
		return nil
	}
	a, b, err := w.suggest(ctx, g.conversation(id), best)
	if err == nil {
		g.put(a, b)
	}
	return err
}

// CustomerMerge by id.
func (d *Desk) CustomerMerge(ctx context.Context, id gid.ID) (*ent.CustomerMergeQuery, error) {
	return d.db.CustomerMerge.Query().Where(customermerge.ID(id)), need(ctx, viewer.CustomerRead)
}
