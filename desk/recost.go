package desk

import (
	"context"
	"fmt"
	"maps"

	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/gid"
)

// recostAll keeps true, after interactions moved between conversations, that one more interaction of the same
// conversation costs its server nothing (MODEL 2). Only those who carry what moved can carry more or less now.
func (w *work) recostAll(ctx context.Context, moved []gid.ID, conversations ...gid.ID) error {
	rows, err := w.tx.Interaction.Query().Where(interaction.IDIn(moved...), interaction.StateNEQ(interaction.StateENDED)).WithOpenOffer().All(ctx)
	if err != nil {
		return fmt.Errorf("read what moved: %w", err)
	}
	var agents []gid.ID
	for _, i := range rows {
		if i.AgentID != nil {
			agents = append(agents, *i.AgentID)
		}
		if o := i.Edges.OpenOffer; o != nil {
			agents = append(agents, o.AgentID)
		}
	}
	agents = unique(agents)
	if err := w.lockLoads(ctx, agents...); err != nil {
		return err
	}
	for _, id := range agents {
		if err := w.recost(ctx, id, conversations); err != nil {
			return err
		}
	}
	return nil
}

// recosted is what an agent's load changes by.
type recosted struct {
	units  int
	byKind map[string]int
}

func (r *recosted) set(kind string, before, after int) {
	r.units += after - before
	switch {
	case before == 0 && after > 0:
		r.byKind[kind]++
	case before > 0 && after == 0:
		r.byKind[kind]--
	}
}

func (w *work) recost(ctx context.Context, agentID gid.ID, conversations []gid.ID) error {
	p, err := w.tx.Agent.Query().Where(agent.ID(agentID)).QueryCapacityProfile().Only(ctx)
	if err != nil {
		return fmt.Errorf("read capacity profile: %w", err)
	}
	r := &recosted{byKind: map[string]int{}}
	for _, c := range unique(append([]gid.ID{}, conversations...)) {
		if err := w.recostIn(ctx, p, agentID, c, r); err != nil {
			return err
		}
	}
	if r.units == 0 && len(r.byKind) == 0 {
		return nil
	}
	l, err := w.lockLoad(ctx, agentID)
	if err != nil {
		return err
	}
	used := maps.Clone(l.UsedBy)
	if used == nil {
		used = map[string]int{}
	}
	for kind, n := range r.byKind {
		if used[kind] += n; used[kind] <= 0 {
			delete(used, kind)
		}
	}
	// Above the profile's bounds, too: it is served already.
	_, err = w.saveLoad(ctx, l, func(u *ent.AgentLoadUpdateOne) { u.AddUsed(r.units).SetUsedBy(used) })
	return err
}

// recostIn decides who carries an agent's cost of one conversation: what always counts carries its own; of the
// others one does, and none beside what always counts. An offer costs nothing where he serves the conversation already.
func (w *work) recostIn(ctx context.Context, p *ent.CapacityProfile, agentID, conv gid.ID, r *recosted) error {
	served, err := w.tx.Interaction.Query().Where(interaction.ConversationID(conv), interaction.AgentID(agentID),
		interaction.StateIn(interaction.StateACTIVE, interaction.StateWRAP_UP)).Order(ent.Desc(interaction.FieldCost), ent.Asc(interaction.FieldID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read what the agent serves: %w", err)
	}
	carried := false
	for _, i := range served {
		carried = carried || burdenOf(p, i.ChannelKind).always
	}
	for _, i := range served {
		b := burdenOf(p, i.ChannelKind)
		if b.always {
			continue
		}
		cost := 0
		if !carried {
			if cost = i.Cost; cost == 0 {
				cost = b.units
			}
			carried = true
		}
		if cost == i.Cost {
			continue
		}
		if err := w.tx.Interaction.UpdateOneID(i.ID).SetCost(cost).Exec(ctx); err != nil {
			return fmt.Errorf("save cost: %w", err)
		}
		r.set(i.ChannelKind, i.Cost, cost)
	}
	return w.recostOffers(ctx, p, agentID, conv, len(served) > 0, r)
}

func (w *work) recostOffers(ctx context.Context, p *ent.CapacityProfile, agentID, conv gid.ID, serves bool, r *recosted) error {
	offers, err := w.tx.Offer.Query().Where(offer.ConversationID(conv), offer.AgentID(agentID), offer.StateEQ(offer.StatePENDING)).WithInteraction().All(ctx)
	if err != nil {
		return fmt.Errorf("read offers: %w", err)
	}
	for _, o := range offers {
		b := burdenOf(p, o.Edges.Interaction.ChannelKind)
		cost := b.units
		if serves && !b.always {
			cost = 0
		}
		if cost == o.Cost || o.Cost > 0 && cost > 0 {
			continue
		}
		if err := w.tx.Offer.UpdateOneID(o.ID).SetCost(cost).AddVersion(1).SetUpdatedAt(w.at).Exec(ctx); err != nil {
			return fmt.Errorf("save offer's cost: %w", err)
		}
		r.set(o.Edges.Interaction.ChannelKind, o.Cost, cost)
	}
	return nil
}
