package desk

import (
	"context"
	"fmt"
	"maps"

	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/agentload"
	"tributary/ent/interaction"
	"tributary/ent/offer"
	"tributary/internal/gid"
)

// burden is what one interaction costs an agent by his profile.
type burden struct {
	units  int
	max    int // of the kind at once; 0: no bound of its own
	blocks bool
	always bool // costs its server also in a conversation that he serves already
}

func burdenOf(p *ent.CapacityProfile, kind string) burden {
	for _, r := range p.Rules {
		if r.ChannelKind == kind {
			return burden{units: r.UnitsEach, max: r.MaxAtOnce, blocks: r.BlocksOthers, always: r.BlocksOthers || liveKind(kind)}
		}
	}
	return burden{units: 1, blocks: liveKind(kind), always: liveKind(kind)} // MODEL 2: voice blocks by default
}

// reserve takes the interaction's cost from the agent's capacity, or refuses with CAPACITY_FULL. One more asynchronous
// or chat interaction of a conversation that he serves already costs nothing (MODEL 2). It returns what was taken.
func (w *work) reserve(ctx context.Context, agentID gid.ID, i *ent.Interaction) (cost int, l *ent.AgentLoad, err error) {
	p, err := w.tx.Agent.Query().Where(agent.ID(agentID)).QueryCapacityProfile().Only(ctx)
	if err != nil {
		return 0, nil, fmt.Errorf("read capacity profile: %w", err)
	}
	if l, err = w.lockLoad(ctx, agentID); err != nil {
		return 0, nil, err
	}
	b := burdenOf(p, i.ChannelKind)
	free := false
	if !b.always {
		free, err = w.tx.Interaction.Query().Where(interaction.ConversationID(i.ConversationID), interaction.AgentID(agentID),
			interaction.IDNEQ(i.ID), interaction.StateIn(interaction.StateACTIVE, interaction.StateWRAP_UP)).Exist(ctx)
		if err != nil {
			return 0, nil, fmt.Errorf("read what the agent serves: %w", err)
		}
	}
	switch {
	case free:
		l, err = w.saveLoad(ctx, l, func(u *ent.AgentLoadUpdateOne) { u.AddCount(1).SetIdleSince(w.at) })
		return 0, l, err
	case l.BlockerID != nil, b.blocks && l.Count > 0, l.Used+b.units > p.Units, b.max > 0 && l.UsedBy[i.ChannelKind] >= b.max:
		return 0, nil, refuse(CapacityFull, "the agent carries as much as the capacity profile allows")
	}
	used := maps.Clone(l.UsedBy)
	if used == nil {
		used = map[string]int{}
	}
	used[i.ChannelKind]++
	l, err = w.saveLoad(ctx, l, func(u *ent.AgentLoadUpdateOne) {
		u.AddUsed(b.units).AddCount(1).SetUsedBy(used).SetIdleSince(w.at)
		if b.blocks {
			u.SetBlockerID(i.ID)
		}
	})
	return b.units, l, err
}

// release gives the interaction's cost back. If the agent goes on with the conversation by an interaction that cost
// nothing, served or offered to him, that one carries the cost from now on.
func (w *work) release(ctx context.Context, agentID gid.ID, i *ent.Interaction, cost int) error {
	l, err := w.lockLoad(ctx, agentID)
	if err != nil {
		return err
	}
	if cost > 0 {
		heir, err := w.heir(ctx, agentID, i)
		if err != nil {
			return err
		}
		if heir != nil {
			return w.inherit(ctx, l, i, heir, cost)
		}
	}
	used := maps.Clone(l.UsedBy)
	if cost > 0 {
		if used[i.ChannelKind]--; used[i.ChannelKind] <= 0 {
			delete(used, i.ChannelKind)
		}
	}
	_, err = w.saveLoad(ctx, l, func(u *ent.AgentLoadUpdateOne) {
		u.AddUsed(-cost).AddCount(-1)
		if used != nil {
			u.SetUsedBy(used)
		}
		if l.BlockerID != nil && *l.BlockerID == i.ID {
			u.ClearBlockerID()
		}
		if l.Count == 1 {
			u.SetIdleSince(w.at)
		}
	})
	return err
}

// heir is what the agent goes on with for nothing in the conversation: what he serves, else what is offered to him; nil if
// there is none.
func (w *work) heir(ctx context.Context, agentID gid.ID, i *ent.Interaction) (*ent.Interaction, error) {
	mine := w.tx.Interaction.Query().Where(interaction.ConversationID(i.ConversationID), interaction.IDNEQ(i.ID)).Order(ent.Asc(interaction.FieldID))
	now := mine.Clone().Where(interaction.AgentID(agentID), interaction.StateIn(interaction.StateACTIVE, interaction.StateWRAP_UP))
	served, err := now.Clone().Where(interaction.Cost(0)).First(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return nil, wrapped("read what the agent serves", err)
	}
	if served != nil {
		if !liveKind(i.ChannelKind) { // he was the one who carried
			return served, nil
		}
		carried, err := now.Where(interaction.CostGT(0)).Exist(ctx)
		if carried || err != nil { // another one carries, too
			return nil, wrapped("read what the agent serves", err)
		}
		return served, nil
	}
	offered, err := mine.Where(interaction.HasOpenOfferWith(offer.AgentID(agentID), offer.Cost(0), offer.StateEQ(offer.StatePENDING))).First(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	return offered, wrapped("read what the agent is offered", err)
}

func wrapped(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// inherit lets the heir carry what its own kind costs, even above the profile's bounds: it is served or promised already.
func (w *work) inherit(ctx context.Context, l *ent.AgentLoad, i, heir *ent.Interaction, cost int) error {
	p, err := w.tx.Agent.Query().Where(agent.ID(l.AgentID)).QueryCapacityProfile().Only(ctx)
	if err != nil {
		return fmt.Errorf("read capacity profile: %w", err)
	}
	units := burdenOf(p, heir.ChannelKind).units
	if heir.OpenOfferID != nil {
		err = w.tx.Offer.UpdateOneID(*heir.OpenOfferID).SetCost(units).Exec(ctx)
	} else {
		err = w.tx.Interaction.UpdateOneID(heir.ID).SetCost(units).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("hand cost over: %w", err)
	}
	used := maps.Clone(l.UsedBy)
	if used[i.ChannelKind]--; used[i.ChannelKind] <= 0 {
		delete(used, i.ChannelKind)
	}
	used[heir.ChannelKind]++
	_, err = w.saveLoad(ctx, l, func(u *ent.AgentLoadUpdateOne) {
		u.AddUsed(units - cost).AddCount(-1).SetUsedBy(used)
		if l.BlockerID != nil && *l.BlockerID == i.ID {
			u.ClearBlockerID()
		}
	})
	return err
}

func (w *work) lockLoad(ctx context.Context, agentID gid.ID) (*ent.AgentLoad, error) {
	q := w.tx.AgentLoad.Query().Where(agentload.AgentID(agentID))
	if w.pg {
		q.ForUpdate()
	}
	l, err := q.Only(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock agent's load: %w", err)
	}
	return l, nil
}

// lockLoads takes the locks of several agents in one order, whoever asks: two transactions that each need both would else
// wait for each other, and the database ends such a wait by a deadlock only after a second.
func (w *work) lockLoads(ctx context.Context, agentIDs ...gid.ID) error {
	if !w.pg { // one writer at a time
		return nil
	}
	for _, id := range unique(agentIDs) {
		if _, err := w.lockLoad(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// saveLoad is conditional on the version that was read: two decisions can never both count on the same free unit.
func (w *work) saveLoad(ctx context.Context, l *ent.AgentLoad, change func(*ent.AgentLoadUpdateOne)) (*ent.AgentLoad, error) {
	u := w.tx.AgentLoad.UpdateOneID(l.ID).Where(agentload.Version(l.Version)).AddVersion(1)
	change(u)
	n, err := u.Save(ctx)
	if ent.IsNotFound(err) {
		return nil, refuse(CapacityFull, "the agent's load changed meanwhile")
	}
	if err != nil {
		return nil, fmt.Errorf("save agent's load: %w", err)
	}
	return n, nil
}
