package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/identity"
	"tributary/ent/mergecandidacy"
	"tributary/ent/mergecandidate"
	"tributary/ent/schema"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/personal"
	"tributary/internal/viewer"
)

// maxRaised bounds how many candidates one value raises: what everybody claims says nothing.
const maxRaised = 5

// raise looks for others who are known by, or claim, the value that a customer has just brought. It only suggests: what
// is claimed on either side joins nobody (MODEL 5).
func (w *work) raise(ctx context.Context, i *ent.Identity) error {
	q := w.tx.Identity.Query().Where(identity.Kind(i.Kind), identity.Scope(i.Scope), identity.ValueBlind(i.ValueBlind), identity.CustomerIDNEQ(i.CustomerID))
	if i.Claim == "" { // of two proved values none is raised: they have joined, or something speaks against it
		q.Where(identity.ClaimNEQ(""))
	}
	rows, err := q.Order(ent.Asc(identity.FieldClaim, identity.FieldID)).Limit(maxRaised).All(ctx)
	if err != nil {
		return fmt.Errorf("find who has the value: %w", err)
	}
	for _, o := range rows {
		if err := w.raiseOne(ctx, i, o); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) raiseOne(ctx context.Context, a, b *ent.Identity) error {
	ev := w.shared(a, b)
	c, err := w.tx.MergeCandidate.Query().Where(mergecandidate.Pair(pairOf(a.CustomerID, b.CustomerID))).Only(ctx)
	if ent.IsNotFound(err) {
		return w.newCandidate(ctx, ev, a.CustomerID, b.CustomerID)
	}
	if err != nil {
		return fmt.Errorf("read candidate: %w", err)
	}
	known := func(e schema.IdentityEvidence) bool { return e.Key == ev.Key }
	if slices.Contains(c.Dismissed, ev.Key) || c.State == mergecandidate.StateOPEN && slices.ContainsFunc(c.Evidence, known) {
		return nil
	}
	list := append(slices.DeleteFunc(slices.Clone(c.Evidence), known), ev)
	c, err = w.tx.MergeCandidate.UpdateOneID(c.ID).SetEvidence(list).SetConfidence(sureness(list)).SetState(mergecandidate.StateOPEN).ClearDecidedByID().ClearDecidedAt().ClearReason().Save(ctx)
	if err != nil {
		return fmt.Errorf("save candidate: %w", err)
	}
	w.emit(fact{typ: MergeCandidateFound, subject: c.ID, version: 1, customer: a.CustomerID})
	return nil
}

func (w *work) newCandidate(ctx context.Context, ev schema.IdentityEvidence, a, b gid.ID) error {
	list := []schema.IdentityEvidence{ev}
	c, err := w.tx.MergeCandidate.Create().SetPair(pairOf(a, b)).SetEvidence(list).SetConfidence(sureness(list)).SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("write candidate: %w", err)
	}
	for _, id := range []gid.ID{a, b} {
		if err := w.tx.MergeCandidacy.Create().SetMergeCandidateID(c.ID).SetCustomerID(id).Exec(ctx); err != nil {
			return fmt.Errorf("write candidate: %w", err)
		}
	}
	w.emit(fact{typ: MergeCandidateFound, subject: c.ID, version: 1, customer: a})
	return nil
}

func pairOf(a, b gid.ID) string {
	ids := unique([]gid.ID{a, b})
	return ids[0].String() + "|" + ids[len(ids)-1].String()
}

// sureness is that the pieces of evidence do not all mislead.
func sureness(list []schema.IdentityEvidence) float64 {
	doubt := 1.0
	for _, e := range list {
		doubt *= 1 - e.Confidence
	}
	return 1 - doubt
}

// shared is the evidence of one value at two customers: which kind, how well it is proved on either side, the value
// masked.
func (w *work) shared(a, b *ent.Identity) schema.IdentityEvidence {
	confidence := 0.3
	if a.Claim == "" || b.Claim == "" {
		confidence = 0.6
	}
	return schema.IdentityEvidence{
		Kind: evidenceKind(a.Kind), IdentityKind: a.Kind, Confidence: confidence, Key: a.Kind + "|" + a.Scope + "|" + a.ValueBlind, At: w.at,
		Detail: fmt.Sprintf("%s %s: %s and %s", a.Kind, personal.Mask(a.Value.Clear()), a.Verification, b.Verification),
	}
}

func evidenceKind(identityKind string) string {
	switch identityKind {
	case channels.IdentityPhone:
		return "SHARED_PHONE"
	case channels.IdentityEmail:
		return "SHARED_EMAIL"
	}
	return "SHARED_ID"
}

// decidePairs closes the candidates of customers who are one now.
func (w *work) decidePairs(ctx context.Context, into gid.ID, from []gid.ID) error {
	all := append(slices.Clone(from), into)
	var pairs []string
	for n, a := range all {
		for _, b := range all[n+1:] {
			pairs = append(pairs, pairOf(a, b))
		}
	}
	u := w.tx.MergeCandidate.Update().Where(mergecandidate.PairIn(pairs...), mergecandidate.StateEQ(mergecandidate.StateOPEN)).
		SetState(mergecandidate.StateACCEPTED).SetDecidedAt(w.at)
	if v := viewer.From(ctx); v.Actor.Kind() == gid.Agent {
		u.SetDecidedByID(v.Actor)
	}
	if err := u.Exec(ctx); err != nil {
		return fmt.Errorf("close candidates: %w", err)
	}
	return w.repoint(asSystem(ctx), into, from)
}

// repoint makes what waits for those who went a candidate of who stays. Where that pair is one already, this one is over.
func (w *work) repoint(ctx context.Context, into gid.ID, from []gid.ID) error {
	rows, err := w.tx.MergeCandidacy.Query().Where(mergecandidacy.CustomerIDIn(from...), mergecandidacy.HasCandidateWith(mergecandidate.StateEQ(mergecandidate.StateOPEN))).
		WithCandidate(func(q *ent.MergeCandidateQuery) { q.WithCustomers() }).All(ctx)
	if err != nil {
		return fmt.Errorf("read candidates: %w", err)
	}
	for _, r := range rows {
		c := r.Edges.Candidate
		other := into
		for _, x := range c.Edges.Customers {
			if x.ID != r.CustomerID {
				other = x.ID
			}
		}
		there, err := w.tx.MergeCandidate.Query().Where(mergecandidate.Pair(pairOf(into, other))).Exist(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("read candidates: %w", err)
		case there || other == into:
			err = w.tx.MergeCandidate.UpdateOneID(c.ID).SetState(mergecandidate.StateEXPIRED).SetDecidedAt(w.at).Exec(ctx)
		default:
			if err = w.tx.MergeCandidate.UpdateOneID(c.ID).SetPair(pairOf(into, other)).Exec(ctx); err == nil {
				err = w.tx.MergeCandidacy.UpdateOneID(r.ID).SetCustomerID(into).Exec(ctx)
			}
		}
		if err != nil {
			return fmt.Errorf("save candidate: %w", err)
		}
	}
	return nil
}

// AcceptCandidate follows a candidate: the two become one.
func (d *Desk) AcceptCandidate(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	return d.decide(ctx, id, key, "mergeCandidateAccept", func(ctx context.Context, w *work, c *ent.MergeCandidate, two []*ent.Customer) (gid.ID, error) {
		into, err := w.survivor(asSystem(ctx), []gid.ID{two[0].ID, two[1].ID})
		if err != nil {
			return gid.ID{}, err
		}
		from := two[0].ID
		if from == into {
			from = two[1].ID
		}
		m, err := w.mergeByHand(ctx, into, []gid.ID{from}, nil, merging{evidence: append(slices.Clone(c.Evidence), w.stated()...)})
		if err != nil {
			return gid.ID{}, fieldOf(err, "id")
		}
		return m.ID, w.closeCandidate(ctx, c, mergecandidate.StateACCEPTED, nil)
	})
}

// DismissCandidate refuses a candidate. What speaks for it now does not raise it again.
func (d *Desk) DismissCandidate(ctx context.Context, id gid.ID, reason *string, key *string) (gid.ID, error) {
	return d.decide(ctx, id, key, "mergeCandidateDismiss "+deref(reason, ""), func(ctx context.Context, w *work, c *ent.MergeCandidate, _ []*ent.Customer) (gid.ID, error) {
		return id, w.closeCandidate(ctx, c, mergecandidate.StateDISMISSED, shortReason(reason))
	})
}

// decide is the frame of both: the candidate is locked and open, its customers are who they are by now.
func (d *Desk) decide(ctx context.Context, id gid.ID, key *string, name string, f func(context.Context, *work, *ent.MergeCandidate, []*ent.Customer) (gid.ID, error)) (gid.ID, error) {
	if err := need(ctx, viewer.CustomerWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{name, id}, func(ctx context.Context, w *work) (gid.ID, error) {
		c, err := w.tx.MergeCandidate.Query().Where(mergecandidate.ID(id)).WithCustomers().Only(ctx)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("candidate", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read candidate: %w", err)
		}
		if c.State != mergecandidate.StateOPEN {
			return gid.ID{}, refuse(WrongState, "the candidate is "+string(c.State), "id")
		}
		two := c.Edges.Customers
		for n := range two {
			for two[n].MergedIntoID != nil { // a chain of merges ends
				if two[n], err = w.tx.Customer.Get(ctx, *two[n].MergedIntoID); err != nil {
					return gid.ID{}, fmt.Errorf("read customer: %w", err)
				}
			}
		}
		if len(two) != 2 || two[0].ID == two[1].ID {
			return gid.ID{}, refuse(WrongState, "they are one already", "id")
		}
		return f(ctx, w, c, two)
	})
}

// closeCandidate ends an open candidate, conditionally: of two who decide one does.
func (w *work) closeCandidate(ctx context.Context, c *ent.MergeCandidate, to mergecandidate.State, reason *string) error {
	keys := slices.Clone(c.Dismissed)
	if to == mergecandidate.StateDISMISSED {
		for _, e := range c.Evidence {
			if !slices.Contains(keys, e.Key) {
				keys = append(keys, e.Key)
			}
		}
	}
	from := []mergecandidate.State{mergecandidate.StateOPEN}
	if to == mergecandidate.StateACCEPTED { // the merge itself has closed it
		from = append(from, mergecandidate.StateACCEPTED)
	}
	u := w.tx.MergeCandidate.Update().Where(mergecandidate.ID(c.ID), mergecandidate.StateIn(from...)).SetState(to).SetDismissed(orEmpty(keys)).
		SetNillableReason(reason).SetDecidedAt(w.at)
	if v := viewer.From(ctx); v.Actor.Kind() == gid.Agent {
		u.SetDecidedByID(v.Actor)
	}
	n, err := u.Save(ctx)
	if err != nil {
		return fmt.Errorf("save candidate: %w", err)
	}
	if n == 0 {
		return refuse(WrongState, "somebody decided meanwhile", "id")
	}
	return nil
}

// MergeCandidate by id.
func (d *Desk) MergeCandidate(ctx context.Context, id gid.ID) (*ent.MergeCandidateQuery, error) {
	return d.db.MergeCandidate.Query().Where(mergecandidate.ID(id)), need(ctx, viewer.CustomerRead)
}

// MergeCandidates of the workspace in some states, oldest first.
func (d *Desk) MergeCandidates(ctx context.Context, states []mergecandidate.State) (*ent.MergeCandidateQuery, page.Order, error) {
	q := d.db.MergeCandidate.Query()
	if len(states) > 0 {
		q.Where(mergecandidate.StateIn(states...))
	}
	return q, Age, need(ctx, viewer.CustomerRead)
}

// OpenCandidates of a customer by edges that are loaded.
func OpenCandidates(list []*ent.MergeCandidate) []*ent.MergeCandidate {
	return slices.DeleteFunc(slices.Clone(list), func(c *ent.MergeCandidate) bool { return c.State != mergecandidate.StateOPEN })
}
