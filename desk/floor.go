package desk

import (
	"context"
	"fmt"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/agentstatus"
	"tributary/ent/event"
	"tributary/ent/interaction"
	"tributary/ent/loghead"
	"tributary/ent/offer"
	"tributary/ent/queue"
	"tributary/ent/workspace"
	"tributary/internal/bus"
	"tributary/internal/gid"
	"tributary/internal/viewer"
	"tributary/router"
)

// Floor is the desk as the router sees it: what waits and who is there, told by the log, and decisions made true by
// conditional commits.
type Floor struct{ d *Desk }

// Floor gives the router its port.
func (d *Desk) Floor() *Floor { return &Floor{d} }

var _ router.Floor = (*Floor)(nil)

// place is a position in the logs of all workspaces.
type place map[gid.ID]int64

const (
	floorPoll  = time.Second // the net beneath the bus
	floorBatch = 500
)

// Snapshot reads the floor whole. The position is read first: what is committed meanwhile comes again as a change.
func (f *Floor) Snapshot(ctx context.Context) (router.Snapshot, error) {
	ctx = within(viewer.Global(ctx))
	at, err := f.heads(ctx)
	if err != nil {
		return router.Snapshot{}, err
	}
	waiting, err := f.items(ctx, nil)
	if err != nil {
		return router.Snapshot{}, err
	}
	agents, err := f.agents(ctx, nil)
	if err != nil {
		return router.Snapshot{}, err
	}
	return router.Snapshot{Items: waiting, Agents: agents, Position: at}, nil
}

func (f *Floor) heads(ctx context.Context) (place, error) {
	rows, err := f.d.db.LogHead.Query().Select(loghead.FieldWorkspaceID, loghead.FieldSeq).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read heads of the log: %w", err)
	}
	out := make(place, len(rows))
	for _, r := range rows {
		out[r.WorkspaceID] = r.Seq
	}
	return out, nil
}

// Changes waits for the log to move and tells what became of the interactions and agents that its events name.
func (f *Floor) Changes(ctx context.Context, from router.Position) (router.Changes, error) {
	at, ok := from.(place)
	if !ok {
		return router.Changes{Resync: true}, nil
	}
	ctx = within(viewer.Global(ctx))
	notes := f.d.Store.Bus.Listen(bus.Log)
	defer notes.Close()
	poll := time.NewTicker(floorPoll)
	defer poll.Stop()
	for {
		out, moved, err := f.read(ctx, at)
		if err != nil || moved {
			return out, err
		}
		select {
		case <-ctx.Done():
			return router.Changes{}, ctx.Err()
		case <-notes.C():
			notes.Take()
		case <-poll.C:
		}
	}
}

// read takes what the logs hold after a place.
func (f *Floor) read(ctx context.Context, at place) (router.Changes, bool, error) {
	heads, err := f.heads(ctx)
	if err != nil {
		return router.Changes{}, false, err
	}
	next := make(place, len(heads))
	items, agents, settings := map[gid.ID]bool{}, map[gid.ID]bool{}, false
	for ws, head := range heads {
		pos := at[ws]
		next[ws] = pos
		if pos >= head {
			continue
		}
		evs, err := f.d.db.Event.Query().Where(event.WorkspaceID(ws), event.SeqGT(pos)).Order(ent.Asc(event.FieldSeq)).Limit(floorBatch).All(ctx)
		if err != nil {
			return router.Changes{}, false, fmt.Errorf("read log: %w", err)
		}
		if len(evs) == 0 || evs[0].Seq != pos+1 { // pruned beneath us
			return router.Changes{Resync: true}, true, nil
		}
		for _, e := range evs {
			if e.InteractionID != nil {
				items[*e.InteractionID] = true
			}
			if e.AgentID != nil {
				agents[*e.AgentID] = true
			}
			settings = settings || EventType(e.Type) == SettingChanged
		}
		next[ws] = evs[len(evs)-1].Seq
	}
	if settings { // queues, teams or profiles: every row may read differently
		out, err := f.whole(ctx, items)
		out.Position = next
		return out, true, err
	}
	if len(items)+len(agents) == 0 {
		for ws, pos := range next { // nothing that concerns the router: move on silently
			at[ws] = pos
		}
		return router.Changes{}, false, nil
	}
	out, err := f.changed(ctx, items, agents)
	out.Position = next
	return out, true, err
}

// whole tells all rows anew; of those named, what waits no more.
func (f *Floor) whole(ctx context.Context, named map[gid.ID]bool) (out router.Changes, err error) {
	if out.Items, err = f.items(ctx, nil); err != nil {
		return out, err
	}
	for _, i := range out.Items {
		delete(named, gid.ID(i.ID))
	}
	for id := range named {
		out.Removed = append(out.Removed, router.ID(id))
	}
	out.Agents, err = f.agents(ctx, nil)
	return out, err
}

func (f *Floor) changed(ctx context.Context, items, agents map[gid.ID]bool) (router.Changes, error) {
	var out router.Changes
	var err error
	if len(items) > 0 {
		if out.Items, err = f.items(ctx, keys(items)); err != nil {
			return out, err
		}
		for _, i := range out.Items {
			delete(items, gid.ID(i.ID))
		}
		for id := range items {
			out.Removed = append(out.Removed, router.ID(id))
		}
	}
	if len(agents) > 0 {
		if out.Agents, err = f.agents(ctx, keys(agents)); err != nil {
			return out, err
		}
		for _, a := range out.Agents {
			delete(agents, gid.ID(a.ID))
		}
		for id := range agents {
			out.Gone = append(out.Gone, router.ID(id))
		}
	}
	return out, nil
}

func keys(m map[gid.ID]bool) []gid.ID {
	out := make([]gid.ID, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

// items are the interactions that wait, all or those named.
func (f *Floor) items(ctx context.Context, ids []gid.ID) ([]router.Item, error) {
	q := f.d.db.Interaction.Query().Where(interaction.StateEQ(interaction.StateQUEUED), interaction.QueueIDNotNil())
	if ids != nil {
		q.Where(interaction.IDIn(ids...))
	}
	rows, err := q.WithQueue(func(q *ent.QueueQuery) { q.WithNeeds() }).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read what waits: %w", err)
	}
	weights, err := f.weights(ctx)
	if err != nil {
		return nil, err
	}
	servers, err := f.servers(ctx, rows)
	if err != nil {
		return nil, err
	}
	out := make([]router.Item, 0, len(rows))
	for _, i := range rows {
		qu := i.Edges.Queue
		if qu == nil {
			continue
		}
		free := router.ID(servers[i.ConversationID])
		if liveKind(i.ChannelKind) { // a call always counts
			free = router.ID{}
		}
		item := router.Item{
			ID: router.ID(i.ID), Workspace: router.ID(i.WorkspaceID), Conversation: router.ID(i.ConversationID), Queue: router.ID(*i.QueueID), Kind: i.ChannelKind,
			Live: i.Live, QueuedAt: i.StartedAt, Priority: priorityStep[string(i.Priority)], Weight: weights[i.WorkspaceID], OfferFor: time.Duration(qu.OfferSeconds) * time.Second,
			Version: i.Version, CostFreeFor: free,
		}
		for _, n := range qu.Edges.Needs {
			item.Needs = append(item.Needs, router.Need{Skill: router.ID(n.SkillID), Level: n.MinimumLevel})
		}
		if i.QueuedAt != nil {
			item.QueuedAt = *i.QueuedAt
		}
		for _, r := range i.Refused {
			item.Refused = append(item.Refused, router.ID(r))
		}
		if i.PreferID != nil && i.PreferUntil != nil {
			item.Prefer, item.PreferUntil = router.ID(*i.PreferID), *i.PreferUntil
		}
		out = append(out, item)
	}
	return out, nil
}

var priorityStep = map[string]int{"LOW": router.PriorityLow, "NORMAL": router.PriorityNormal, "HIGH": router.PriorityHigh, "URGENT": router.PriorityUrgent}

// weights is what one step of priority is worth, by workspace: weighed once per shard, never per queue.
func (f *Floor) weights(ctx context.Context) (map[gid.ID]time.Duration, error) {
	rows, err := f.d.db.Workspace.Query().Select(workspace.FieldID, workspace.FieldPriorityWeightSeconds).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read workspaces: %w", err)
	}
	out := make(map[gid.ID]time.Duration, len(rows))
	for _, r := range rows {
		out[r.ID] = time.Duration(r.PriorityWeightSeconds) * time.Second
	}
	return out, nil
}

// servers is who serves the conversations of these interactions already: one more costs him nothing.
func (f *Floor) servers(ctx context.Context, rows []*ent.Interaction) (map[gid.ID]gid.ID, error) {
	convs := map[gid.ID]bool{}
	for _, r := range rows {
		convs[r.ConversationID] = true
	}
	out := map[gid.ID]gid.ID{}
	if len(convs) == 0 {
		return out, nil
	}
	served, err := f.d.db.Interaction.Query().Where(interaction.ConversationIDIn(keys(convs)...), interaction.AgentIDNotNil(),
		interaction.StateIn(interaction.StateACTIVE, interaction.StateWRAP_UP)).Select(interaction.FieldConversationID, interaction.FieldAgentID).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read who serves: %w", err)
	}
	for _, s := range served {
		out[s.ConversationID] = *s.AgentID
	}
	return out, nil
}

// agents are the active agents, all or those named, as they stand: status, liveness, load, queues.
func (f *Floor) agents(ctx context.Context, ids []gid.ID) ([]router.Agent, error) {
	q := f.d.db.Agent.Query().Where(agent.Active(true))
	if ids != nil {
		q.Where(agent.IDIn(ids...))
	}
	rows, err := q.WithTeams().WithSkills().WithCapacityProfile().WithLoad().WithStatus().All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read agents: %w", err)
	}
	live, err := f.d.aliveAgents(ctx, f.d.db, ids...)
	if err != nil {
		return nil, err
	}
	queues, err := f.d.db.Queue.Query().Select(queue.FieldID, queue.FieldWorkspaceID, queue.FieldTeamID).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	pending, err := f.pending(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := make([]router.Agent, 0, len(rows))
	for _, a := range rows {
		if a.Edges.Load == nil || a.Edges.CapacityProfile == nil {
			continue
		}
		out = append(out, asRouterAgent(a, queues, live.kinds(a.ID), pending[a.ID]))
	}
	return out, nil
}

func (f *Floor) pending(ctx context.Context, ids []gid.ID) (map[gid.ID]int, error) {
	q := f.d.db.Offer.Query().Where(offer.StateEQ(offer.StatePENDING))
	if ids != nil {
		q.Where(offer.AgentIDIn(ids...))
	}
	rows, err := q.Select(offer.FieldAgentID).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read offers: %w", err)
	}
	out := map[gid.ID]int{}
	for _, r := range rows {
		out[r.AgentID]++
	}
	return out, nil
}

func asRouterAgent(a *ent.Agent, queues []*ent.Queue, live map[string]bool, pending int) router.Agent {
	l, p := a.Edges.Load, a.Edges.CapacityProfile
	out := router.Agent{
		ID: router.ID(a.ID), Workspace: router.ID(a.WorkspaceID), Live: live, Units: p.Units, Used: l.Used, UsedBy: l.UsedBy,
		Limits: map[string]router.Limit{}, Pending: pending, IdleSince: l.IdleSince, LoadVersion: l.Version,
	}
	if s := a.Edges.Status; s != nil {
		out.Available = s.State == agentstatus.StateAVAILABLE
	}
	if l.BlockerID != nil {
		out.Blocker = l.BlockerID.String()
	}
	for _, k := range channels.Kinds() {
		if k.Live == channels.Live { // blocks, unless the profile says otherwise
			out.Limits[k.Name] = router.Limit{UnitsEach: 1, Blocks: true}
		}
	}
	for _, r := range p.Rules {
		out.Limits[r.ChannelKind] = router.Limit{UnitsEach: r.UnitsEach, MaxAtOnce: r.MaxAtOnce, Blocks: r.BlocksOthers}
	}
	if len(a.Edges.Skills) > 0 {
		out.Skills = make(map[router.ID]int, len(a.Edges.Skills))
		for _, s := range a.Edges.Skills {
			out.Skills[router.ID(s.SkillID)] = s.Level
		}
	}
	mine := map[gid.ID]bool{}
	for _, t := range a.Edges.Teams {
		mine[t.ID] = true
	}
	for _, q := range queues {
		if q.WorkspaceID == a.WorkspaceID && (q.TeamID == nil || mine[*q.TeamID]) {
			out.Queues = append(out.Queues, router.ID(q.ID))
		}
	}
	return out
}

// Commit makes each decision true, or not.
func (f *Floor) Commit(ctx context.Context, list []router.Decision) ([]router.Outcome, error) {
	out := make([]router.Outcome, len(list))
	for n, dec := range list {
		out[n].Item = dec.Item
		var load *ent.AgentLoad
		err := f.d.do(viewer.System(ctx, gid.ID(dec.Workspace)), nil, func(ctx context.Context, w *work) error {
			held, err := f.d.Store.HeldIn(ctx, w.tx, f.d.OfferLease, dec.Epoch)
			if err != nil {
				return err
			}
			if !held {
				return errDeposed
			}
			load, err = w.makeOffer(ctx, dec)
			return err
		})
		r, refused := RefusalOf(err)
		switch {
		case err == nil:
			out[n].Result, out[n].LoadVersion = router.Committed, load.Version
		case err == errDeposed: //nolint:errorlint // ours, never wrapped
			out[n].Result = router.Lost
		case refused && r.Code == CapacityFull:
			out[n].Result = router.AgentBusy
		case refused:
			out[n].Result = router.Taken
		default:
			return nil, err
		}
	}
	return out, nil
}

var errDeposed = fmt.Errorf("somebody else decides by now")
