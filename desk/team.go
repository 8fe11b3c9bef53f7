package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/access"
	"tributary/ent/agent"
	"tributary/ent/conversation"
	"tributary/ent/queue"
	"tributary/ent/team"
	"tributary/ent/teammember"
	"tributary/internal/gid"
	"tributary/internal/opt"
	"tributary/internal/viewer"
)

// TeamUpdateInput changes a team.
type TeamUpdateInput struct {
	Name      *string
	ParentID  opt.ID
	MemberIds *[]gid.ID
}

// stale is the answer to a change that lost a race.
func stale() *Refusal { return refuse(StaleVersion, "somebody changed it meanwhile", "ifVersion") }

// inUse names what stands in the way of a deletion.
func inUse(message string, by gid.ID) *Refusal {
	return &Refusal{Code: InUse, Message: message, Field: []string{"id"}, ConflictID: by}
}

// UpdateTeam changes a team. Whoever joined or left sees so at once: proved viewers are forgotten here, and other nodes
// prove theirs again within the time that MODEL 10 allows.
func (d *Desk) UpdateTeam(ctx context.Context, id gid.ID, in TeamUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	defer d.viewer.clear()
	return d.once(ctx, key, []any{"teamUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		t, all, err := w.lockTeams(ctx, id, in.ParentID.V != nil)
		if err != nil {
			return gid.ID{}, err
		}
		if err := fits(t.Version, ifVersion); err != nil {
			return id, err
		}
		u := w.tx.Team.UpdateOneID(id).Where(team.Version(t.Version)).AddVersion(1).SetUpdatedAt(w.at)
		if err := w.teamChanges(ctx, u, id, in, all); err != nil {
			return id, err
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return id, stale()
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("save team: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: n.Version})
		return id, nil
	})
}

// lockTeams takes the team, or all teams of the workspace where a parent changes: two changes at once could close a
// circle of which each saw one half.
func (w *work) lockTeams(ctx context.Context, id gid.ID, all bool) (*ent.Team, []*ent.Team, error) {
	q := w.tx.Team.Query().Order(ent.Asc(team.FieldID))
	if !all {
		q.Where(team.ID(id))
	}
	if w.pg {
		q.ForUpdate()
	}
	rows, err := q.All(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("lock teams: %w", err)
	}
	n := slices.IndexFunc(rows, func(t *ent.Team) bool { return t.ID == id })
	if n < 0 {
		return nil, nil, notFound("team", "id")
	}
	return rows[n], rows, nil
}

func (w *work) teamChanges(ctx context.Context, u *ent.TeamUpdateOne, id gid.ID, in TeamUpdateInput, all []*ent.Team) error {
	if in.Name != nil {
		n, err := checkName(*in.Name, "input", "name")
		if err != nil {
			return err
		}
		if there, err := w.tx.Team.Query().Where(team.Name(n), team.IDNEQ(id)).Exist(ctx); err != nil || there {
			return orDuplicate(err, "a team of this name exists", "input", "name")
		}
		u.SetName(n)
	}
	switch {
	case in.ParentID.Set && in.ParentID.V == nil:
		u.ClearParentID()
	case in.ParentID.V != nil:
		if err := noCircle(all, id, *in.ParentID.V); err != nil {
			return err
		}
		u.SetParentID(*in.ParentID.V)
	}
	if in.MemberIds != nil {
		return w.setMembers(ctx, id, *in.MemberIds)
	}
	return nil
}

// noCircle follows the parents up from the new one: it must not come by the team itself.
func noCircle(all []*ent.Team, id, parent gid.ID) error {
	above := make(map[gid.ID]*gid.ID, len(all))
	for _, t := range all {
		above[t.ID] = t.ParentID
	}
	if _, known := above[parent]; !known {
		return notFound("team", "input", "parentId")
	}
	for at, steps := &parent, 0; at != nil && steps <= len(all); at, steps = above[*at], steps+1 {
		if *at == id {
			return refuse(Invalid, "a team is no part of itself", "input", "parentId")
		}
	}
	return nil
}

// setMembers makes the members of a team exactly these.
func (w *work) setMembers(ctx context.Context, id gid.ID, want []gid.ID) error {
	want = unique(slices.Clone(want))
	n, err := w.tx.Agent.Query().Where(agent.IDIn(want...)).Count(ctx)
	if err != nil {
		return fmt.Errorf("read agents: %w", err)
	}
	if n != len(want) {
		return notFound("agent", "input", "memberIds")
	}
	have, err := w.members(ctx, id)
	if err != nil {
		return err
	}
	var moved []gid.ID
	for _, a := range want {
		if slices.Contains(have, a) {
			continue
		}
		if err := givenTeam(ctx, id, "input", "memberIds"); err != nil {
			return err
		}
		moved = append(moved, a)
		err := w.tx.TeamMember.Create().SetAgentID(a).SetTeamID(id).
			OnConflictColumns(teammember.FieldWorkspaceID, teammember.FieldTeamID, teammember.FieldAgentID).DoNothing().Exec(ctx)
		if err != nil && !isNoRows(err) {
			return fmt.Errorf("join team: %w", err)
		}
	}
	left := slices.DeleteFunc(have, func(a gid.ID) bool { return slices.Contains(want, a) })
	if len(left) > 0 {
		if _, err := w.tx.TeamMember.Delete().Where(teammember.TeamID(id), teammember.AgentIDIn(left...)).Exec(ctx); err != nil {
			return fmt.Errorf("leave team: %w", err)
		}
	}
	return w.agentsChanged(ctx, append(moved, left...), "teams")
}

func (w *work) members(ctx context.Context, id gid.ID) ([]gid.ID, error) {
	rows, err := w.tx.TeamMember.Query().Where(teammember.TeamID(id)).Select(teammember.FieldAgentID).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	out := make([]gid.ID, len(rows))
	for n, r := range rows {
		out[n] = r.AgentID
	}
	return out, nil
}

// agentsChanged raises the versions of agents and says what changed of them.
func (w *work) agentsChanged(ctx context.Context, ids []gid.ID, changed ...string) error {
	if len(ids) == 0 {
		return nil
	}
	ids = unique(slices.Clone(ids))
	if err := w.tx.Agent.Update().Where(agent.IDIn(ids...)).AddVersion(1).SetUpdatedAt(w.at).Exec(ctx); err != nil {
		return fmt.Errorf("save agents: %w", err)
	}
	rows, err := w.tx.Agent.Query().Where(agent.IDIn(ids...)).Select(agent.FieldID, agent.FieldVersion).Order(ent.Asc(agent.FieldID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read agents: %w", err)
	}
	for _, a := range rows {
		w.emit(fact{typ: AgentUpdated, subject: a.ID, version: a.Version, agent: a.ID, changed: changed})
	}
	return nil
}

// DeleteTeam deletes a team that nothing names. The row is locked first: whatever is about to name it waits, and finds it
// gone.
func (d *Desk) DeleteTeam(ctx context.Context, id gid.ID, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	defer d.viewer.clear()
	return d.once(ctx, key, []any{"teamDelete", id, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		t, _, err := w.lockTeams(ctx, id, false)
		if err != nil {
			return gid.ID{}, err
		}
		if err := fits(t.Version, ifVersion); err != nil {
			return gid.ID{}, err
		}
		if err := w.teamFree(ctx, id); err != nil {
			return gid.ID{}, err
		}
		if err := w.setMembers(ctx, id, nil); err != nil {
			return gid.ID{}, err
		}
		if err := w.tx.Team.DeleteOneID(id).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete team: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: t.Version + 1, changed: []string{"deleted"}})
		return id, nil
	})
}

// teamFree refuses while something names the team.
func (w *work) teamFree(ctx context.Context, id gid.ID) error {
	q, err := w.tx.Queue.Query().Where(queue.TeamID(id)).FirstID(ctx)
	if err == nil {
		return inUse("a queue is served by this team", q)
	}
	if !ent.IsNotFound(err) {
		return fmt.Errorf("read queues: %w", err)
	}
	sub, err := w.tx.Team.Query().Where(team.ParentID(id)).FirstID(ctx)
	if err == nil {
		return inUse("another team is part of this one", sub)
	}
	if !ent.IsNotFound(err) {
		return fmt.Errorf("read teams: %w", err)
	}
	seen, err := w.tx.Access.Query().Where(access.SubjectID(id)).Exist(ctx)
	if err == nil && !seen {
		seen, err = w.tx.Conversation.Query().Where(conversation.TeamID(id)).Exist(ctx)
	}
	if err != nil {
		return fmt.Errorf("read conversations: %w", err)
	}
	if seen {
		return inUse("conversations belong to this team", gid.ID{})
	}
	return nil
}
