package desk

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/ent/schema"
	"tributary/internal/gid"
	"tributary/internal/personal"
)

// joinKnown makes one of the customers whom the proved values of one event or token belong to: what was known apart is
// the same person (MODEL 5). Whoever has another value of a single-valued kind stays apart. The customer and the known
// rows come back as they are then.
func (w *work) joinKnown(ctx context.Context, ch *ent.Channel, cust gid.ID, keys []channels.IdentityKey, known []*ent.Identity) (gid.ID, []*ent.Identity, error) {
	others := strangers(cust, known)
	if len(others) == 0 {
		return cust, known, nil
	}
	all := append([]gid.ID{cust}, others...)
	into, err := w.survivor(ctx, all)
	if err != nil {
		return cust, known, err
	}
	g, err := w.lockMatters(ctx, without(all, into), []gid.ID{into}, nil)
	if err != nil {
		return cust, known, err
	}
	if into, err = w.joinThem(ctx, g, ch.WorkspaceID, cust, keys, known, nil, false); err != nil {
		return cust, known, err
	}
	if known, err = w.knownIdentities(ctx, ch, keys); err != nil {
		return cust, nil, err
	}
	return into, known, nil
}

// strangers are the customers of known values beside one, in the order of the values.
func strangers(cust gid.ID, known []*ent.Identity) (out []gid.ID) {
	for _, k := range known {
		if k != nil && k.CustomerID != cust && !slices.Contains(out, k.CustomerID) {
			out = append(out, k.CustomerID)
		}
	}
	return out
}

func without(ids []gid.ID, one gid.ID) []gid.ID {
	return slices.DeleteFunc(slices.Clone(ids), func(id gid.ID) bool { return id == one })
}

// survivor is who stays when customers become one: whom the operator's own system knows, else the one known longest.
func (w *work) survivor(ctx context.Context, ids []gid.ID) (gid.ID, error) {
	kinds := make([]string, 0, len(singleValued))
	for k := range singleValued {
		kinds = append(kinds, k)
	}
	row, err := w.tx.Identity.Query().Where(identity.CustomerIDIn(ids...), identity.KindIn(kinds...), identity.Claim("")).Order(ent.Asc(identity.FieldCustomerID)).First(ctx)
	switch {
	case err == nil:
		return row.CustomerID, nil
	case !ent.IsNotFound(err):
		return gid.ID{}, fmt.Errorf("find who stays: %w", err)
	}
	return unique(slices.Clone(ids))[0], nil
}

// joinThem merges those of the known values' customers who can be one with cust, on locked ground, and lets the contacts
// that nobody has accepted join the known matter. It returns who cust is now.
func (w *work) joinThem(ctx context.Context, g *ground, workspace, cust gid.ID, keys []channels.IdentityKey, known []*ent.Identity, home map[gid.ID]placing, given bool) (gid.ID, error) {
	for _, k := range known { // what was read before the locks may be old
		if k != nil && !slices.ContainsFunc(g.identities, func(i *ent.Identity) bool { return i.ID == k.ID && i.CustomerID == k.CustomerID }) {
			return cust, errAgain
		}
	}
	proved := map[string]string{}
	for _, k := range keys {
		if singleValued[k.Kind] {
			proved[k.Kind] = blind(workspace, k.Value)
		}
	}
	one := []gid.ID{cust}
	for _, o := range strangers(cust, known) {
		if singleValues(g.identities, append(slices.Clone(one), o), proved) == nil {
			one = append(one, o)
		}
	}
	if len(one) == 1 {
		return cust, nil
	}
	into, err := w.survivor(ctx, one)
	if err != nil {
		return cust, err
	}
	from := without(one, into)
	theirs, ours := []*ent.Conversation{}, g.of(into)
	for _, id := range from {
		theirs = append(theirs, g.of(id)...)
	}
	if _, err := w.mergeCustomers(ctx, g, into, from, merging{evidence: w.provedTogether(known, one), given: given}); err != nil {
		return cust, err
	}
	return into, w.regroup(ctx, g, theirs, ours, home)
}

// provedTogether is the evidence of several proved values in one event or token.
func (w *work) provedTogether(known []*ent.Identity, customers []gid.ID) []schema.IdentityEvidence {
	out := []schema.IdentityEvidence{}
	for _, k := range known {
		if k == nil || !slices.Contains(customers, k.CustomerID) {
			continue
		}
		e := schema.IdentityEvidence{
			Kind: evidenceKind(k.Kind), IdentityKind: k.Kind, Confidence: 1, At: w.at,
			Detail: fmt.Sprintf("%s %s: %s, proved together", k.Kind, personal.Mask(k.Value.Clear()), k.Verification),
		}
		if singleValued[k.Kind] || k.Kind == visitorKind {
			e.Kind = "SIGNED_TOKEN"
		}
		out = append(out, e)
	}
	return out
}

// regroup lets the open matters of those who became known join the known customer's, as if they had been known from the
// start (MODEL 4): by rule 2 where nobody serves in them, and as a suggestion where somebody does. home is where a thread
// says that one belongs, which comes before rule 2.
func (w *work) regroup(ctx context.Context, g *ground, theirs, ours []*ent.Conversation, home map[gid.ID]placing) error {
	for _, c := range theirs {
		c = g.conversation(c.ID)
		open, err := w.tx.Interaction.Query().Where(interaction.ConversationID(c.ID), interaction.StateNEQ(interaction.StateENDED)).WithChannel().WithQueue().
			Order(ent.Desc(interaction.FieldStartedAt, interaction.FieldID)).All(ctx)
		if err != nil {
			return fmt.Errorf("read interactions: %w", err)
		}
		target := home[c.ID]
		switch {
		case isServed(open):
			target.conv = nil
		case target.conv == nil:
			target = w.joinOpen(g, open, ours)
		default:
			target.conv = g.conversation(target.conv.ID)
		}
		if target.conv == nil || target.conv.ID == c.ID {
			if err := w.suggestOne(ctx, g, c.ID, ours); err != nil {
				return err
			}
			continue
		}
		if err := w.joinMatter(ctx, g, c, target, open); err != nil {
			return err
		}
	}
	return nil
}

// isServed reports whether a matter is in somebody's hands: a contact was accepted and is not over, or all are over.
func isServed(open []*ent.Interaction) bool {
	return len(open) == 0 || slices.ContainsFunc(open, accepted)
}

func accepted(i *ent.Interaction) bool {
	switch i.State {
	case interaction.StateACTIVE, interaction.StatePAUSED, interaction.StateWRAP_UP:
		return true
	default:
		return false
	}
}

// joinOpen is rule 2 for a contact that is there already, by its channel's settings.
func (w *work) joinOpen(g *ground, open []*ent.Interaction, ours []*ent.Conversation) placing {
	ch := open[0].Edges.Channel
	if ch == nil || !ch.JoinOpen {
		return placing{}
	}
	now := make([]*ent.Conversation, 0, len(ours))
	for _, o := range ours {
		if n := g.conversation(o.ID); isOpen(n) {
			now = append(now, n)
		}
	}
	return chooseOpen(now, w.at.Add(-hours(ch.JoinWithinHours)))
}

// joinMatter moves a matter into the one it belongs to, and notes by which rule.
func (w *work) joinMatter(ctx context.Context, g *ground, c *ent.Conversation, to placing, open []*ent.Interaction) error {
	for _, i := range open {
		u := w.tx.Interaction.UpdateOneID(i.ID).SetJoinedBy(to.rule)
		if q := i.Edges.Queue; q != nil && to.prefer != nil && i.State == interaction.StateQUEUED {
			u.SetPreferID(*to.prefer).SetPreferUntil(w.at.Add(time.Duration(q.StickySeconds) * time.Second))
		}
		if err := u.Exec(ctx); err != nil {
			return fmt.Errorf("save how it joined: %w", err)
		}
	}
	n, err := w.mergeInto(ctx, to.conv, c)
	if err != nil {
		return err
	}
	g.put(n)
	from, err := w.tx.Conversation.Get(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("read conversation: %w", err)
	}
	g.put(from)
	return nil
}
