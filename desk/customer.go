package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/conversation"
	"tributary/ent/customer"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/ent/message"
	"tributary/ent/participant"
	"tributary/ent/schema"
	"tributary/ent/timelineitem"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// openStates are those of a matter that is not over.
var openStates = []conversation.State{conversation.StateOPEN, conversation.StatePENDING, conversation.StateSNOOZED}

func isOpen(c *ent.Conversation) bool {
	return slices.Contains(openStates, c.State) && c.MergedIntoID == nil
}

// ground is what an operation on customers stands on, locked.
type ground struct {
	conversations []*ent.Conversation
	identities    []*ent.Identity
}

// of are the open conversations of a customer.
func (g *ground) of(customer gid.ID) (out []*ent.Conversation) {
	for _, c := range g.conversations {
		if c.CustomerID == customer && isOpen(c) {
			out = append(out, c)
		}
	}
	return out
}

func (g *ground) conversation(id gid.ID) *ent.Conversation {
	for _, c := range g.conversations {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// put notes a conversation as it is after a change.
func (g *ground) put(list ...*ent.Conversation) {
	for _, n := range list {
		for k, c := range g.conversations {
			if c.ID == n.ID {
				g.conversations[k] = n
			}
		}
	}
}

// lockMatters locks the conversations of those who go, the open ones of those who stay and the further ones named, and
// then the identities of all. Customers come last, by touchCustomer: whoever takes a message in holds conversation,
// identity and customer in this order, too.
func (w *work) lockMatters(ctx context.Context, going, staying, further []gid.ID) (*ground, error) {
	convs, err := w.lockConversations(ctx, conversation.Or(conversation.CustomerIDIn(going...), conversation.IDIn(further...),
		conversation.And(conversation.CustomerIDIn(staying...), conversation.StateIn(openStates...))))
	if err != nil {
		return nil, err
	}
	q := w.tx.Identity.Query().Where(identity.CustomerIDIn(append(slices.Clone(going), staying...)...)).Order(ent.Asc(identity.FieldID))
	if w.pg {
		q.ForUpdate()
	}
	ids, err := q.All(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock identities: %w", err)
	}
	return &ground{convs, ids}, nil
}

// touchCustomer notes a contact. A customer who went into another one since the transaction began takes nothing more:
// the transaction begins anew.
func (w *work) touchCustomer(ctx context.Context, id gid.ID) error {
	n, err := w.tx.Customer.Update().Where(customer.ID(id), customer.MergedIntoIDIsNil()).SetLastContactAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("touch customer: %w", err)
	}
	if n == 0 {
		return errAgain
	}
	return nil
}

// singleValues finds an identity that speaks against these customers being one: another value of a kind of which a
// customer has one. keys are values that are about to be proved for them.
func singleValues(list []*ent.Identity, customers []gid.ID, blinds map[string]string) *ent.Identity {
	seen := map[string]string{}
	for kind, v := range blinds {
		seen[kind] = v
	}
	for _, i := range list {
		if !singleValued[i.Kind] || i.Claim != "" || !slices.Contains(customers, i.CustomerID) {
			continue
		}
		if v, ok := seen[i.Kind]; ok && v != i.ValueBlind {
			return i
		}
		seen[i.Kind] = i.ValueBlind
	}
	return nil
}

// merging is why customers become one.
type merging struct {
	reason   *string
	evidence []schema.IdentityEvidence
	given    bool // an anonymous visitor's words go to the proved identity, which nothing takes back
}

// mergeCustomers makes customers one. Their ground is locked; nothing is destroyed. What came meanwhile and was not
// locked makes it begin anew.
func (w *work) mergeCustomers(ctx context.Context, g *ground, into gid.ID, from []gid.ID, m merging) (*ent.CustomerMerge, error) {
	sys := asSystem(ctx)
	row := w.tx.CustomerMerge.Create().SetIntoID(into).SetEvidence(m.evidence).SetNillableReason(m.reason).SetGiven(m.given).SetAt(w.at)
	switch v := viewer.From(ctx); v.Actor.Kind() {
	case gid.Agent:
		row.SetAgentID(v.Actor)
	case gid.App:
		row.SetAppID(v.Actor)
	}
	merge, err := row.Save(sys)
	if err != nil {
		return nil, fmt.Errorf("write merge: %w", err)
	}
	for _, id := range from {
		if err := w.writePart(sys, merge, g, id); err != nil {
			return nil, err
		}
	}
	if err := w.reassign(sys, into, from); err != nil {
		return nil, err
	}
	if err := w.becomeOne(sys, into, from); err != nil {
		return nil, err
	}
	if err := w.nothingLeft(sys, from); err != nil {
		return nil, err
	}
	if err := w.retellConversations(sys, g, into, from); err != nil {
		return nil, err
	}
	if err := w.decidePairs(sys, into, from); err != nil {
		return nil, err
	}
	w.emit(fact{typ: CustomerMerged, subject: merge.ID, version: 1, customer: into})
	return merge, nil
}

func (w *work) writePart(ctx context.Context, merge *ent.CustomerMerge, g *ground, id gid.ID) error {
	ids, convs := []gid.ID{}, []gid.ID{}
	for _, i := range g.identities {
		if i.CustomerID == id {
			ids = append(ids, i.ID)
		}
	}
	for _, c := range g.conversations {
		if c.CustomerID == id {
			convs = append(convs, c.ID)
		}
	}
	err := w.tx.CustomerMergePart.Create().SetCustomerMergeID(merge.ID).SetCustomerID(id).SetIdentities(ids).SetConversations(convs).Exec(ctx)
	if err != nil {
		return fmt.Errorf("write merge: %w", err)
	}
	return nil
}

// reassign gives one customer everything that others have.
func (w *work) reassign(ctx context.Context, into gid.ID, from []gid.ID) error {
	steps := []func() error{
		func() error {
			return w.tx.Identity.Update().Where(identity.CustomerIDIn(from...)).SetCustomerID(into).AddVersion(1).Exec(ctx)
		},
		func() error {
			return w.tx.Conversation.Update().Where(conversation.CustomerIDIn(from...)).SetCustomerID(into).Exec(ctx)
		},
		func() error {
			return w.tx.Interaction.Update().Where(interaction.CustomerIDIn(from...)).SetCustomerID(into).Exec(ctx)
		},
		func() error {
			return w.tx.Message.Update().Where(message.CustomerIDIn(from...)).SetCustomerID(into).Exec(ctx)
		},
		func() error {
			return w.tx.TimelineItem.Update().Where(timelineitem.CustomerIDIn(from...)).SetCustomerID(into).Exec(ctx)
		},
		func() error {
			return w.tx.Participant.Update().Where(participant.CustomerIDIn(from...)).SetCustomerID(into).Exec(ctx)
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("reassign: %w", err)
		}
	}
	return w.recast(ctx, into)
}

// recast gives the participants of a customer the role that follows from whose conversation it is.
func (w *work) recast(ctx context.Context, customerID gid.ID) error {
	err := w.tx.Participant.Update().Where(participant.CustomerID(customerID), participant.RoleEQ(participant.RoleTHIRD_PARTY),
		participant.HasConversationWith(conversation.CustomerID(customerID))).SetRole(participant.RoleCUSTOMER).Exec(ctx)
	if err == nil {
		err = w.tx.Participant.Update().Where(participant.CustomerID(customerID), participant.RoleEQ(participant.RoleCUSTOMER),
			participant.HasConversationWith(conversation.CustomerIDNEQ(customerID))).SetRole(participant.RoleTHIRD_PARTY).Exec(ctx)
	}
	if err == nil { // and those of others in his conversations
		err = w.tx.Participant.Update().Where(participant.CustomerIDNEQ(customerID), participant.RoleEQ(participant.RoleCUSTOMER),
			participant.HasConversationWith(conversation.CustomerID(customerID))).SetRole(participant.RoleTHIRD_PARTY).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("recast participants: %w", err)
	}
	return nil
}

// becomeOne changes the customers' own rows, in the order of their ids.
func (w *work) becomeOne(ctx context.Context, into gid.ID, from []gid.ID) error {
	all, err := w.tx.Customer.Query().Where(customer.IDIn(append(slices.Clone(from), into)...)).Order(ent.Asc(customer.FieldID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read customers: %w", err)
	}
	name, last := "", (*ent.Customer)(nil)
	for _, c := range all {
		if name == "" {
			name = c.DisplayName
		}
		if c.LastContactAt != nil && (last == nil || c.LastContactAt.After(*last.LastContactAt)) {
			last = c
		}
	}
	for _, c := range all {
		u := w.tx.Customer.UpdateOneID(c.ID).Where(customer.MergedIntoIDIsNil()).AddVersion(1).SetUpdatedAt(w.at)
		changed := []string{"mergedInto", "identities"}
		if c.ID != into {
			u.SetMergedIntoID(into)
		} else {
			changed = []string{"identities", "conversations", "merges"}
			if c.DisplayName == "" && name != "" {
				u.SetDisplayName(name)
			}
			if last != nil {
				u.SetLastContactAt(*last.LastContactAt)
			}
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return errAgain // merged by somebody else meanwhile
		}
		if err != nil {
			return fmt.Errorf("save customer: %w", err)
		}
		w.emit(fact{typ: CustomerUpdated, subject: n.ID, version: n.Version, customer: n.ID, changed: changed})
	}
	return nil
}

// nothingLeft finds what was committed for those who went after it was looked for.
func (w *work) nothingLeft(ctx context.Context, from []gid.ID) error {
	left, err := w.tx.Identity.Query().Where(identity.CustomerIDIn(from...)).Exist(ctx)
	if err == nil && !left {
		left, err = w.tx.Conversation.Query().Where(conversation.CustomerIDIn(from...)).Exist(ctx)
	}
	if err != nil {
		return fmt.Errorf("look for what is left: %w", err)
	}
	if left {
		return errAgain
	}
	return nil
}

// retellConversations says of the open conversations that went over whose they are now.
func (w *work) retellConversations(ctx context.Context, g *ground, into gid.ID, from []gid.ID) error {
	for _, c := range g.conversations {
		if !slices.Contains(from, c.CustomerID) {
			continue
		}
		if !isOpen(c) {
			c.CustomerID = into
			continue
		}
		n, err := w.tx.Conversation.UpdateOneID(c.ID).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
		if err != nil {
			return fmt.Errorf("save conversation: %w", err)
		}
		g.put(n)
		w.emit(fact{typ: ConversationUpdated, subject: n.ID, version: n.Version, conv: n, changed: []string{"customer"}})
	}
	return nil
}
