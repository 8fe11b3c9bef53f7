package desk

import (
	"context"
	"fmt"
	"strconv"

	"tributary/ent"
	"tributary/ent/agentskill"
	"tributary/ent/skill"
	"tributary/ent/skillneed"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/opt"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

type (
	// SkillCreateInput makes a skill.
	SkillCreateInput struct {
		Name        string
		Description *string
	}
	// SkillUpdateInput changes a skill.
	SkillUpdateInput struct {
		Name        *string
		Description opt.String
	}
	// SkillLevelInput is a skill with a level.
	SkillLevelInput struct {
		SkillID gid.ID
		Level   int
	}
	// SkillNeedInput is what a queue asks for.
	SkillNeedInput struct {
		SkillID      gid.ID
		MinimumLevel int
	}
)

// maxSkills bounds what an agent has and what a queue asks for.
const maxSkills = 100

// Skills of the workspace, by age.
func (d *Desk) Skills(ctx context.Context) (*ent.SkillQuery, page.Order, error) {
	return d.db.Skill.Query(), Age, need(ctx, viewer.PeopleRead)
}

// Skill by id.
func (d *Desk) Skill(ctx context.Context, id gid.ID) (*ent.SkillQuery, error) {
	return d.db.Skill.Query().Where(skill.ID(id)), need(ctx, viewer.Self)
}

// CreateSkill makes a skill.
func (d *Desk) CreateSkill(ctx context.Context, in SkillCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"skillCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		if there, err := w.tx.Skill.Query().Where(skill.Name(name)).Exist(ctx); err != nil || there {
			return gid.ID{}, orDuplicate(err, "a skill of this name exists", "input", "name")
		}
		s, err := w.tx.Skill.Create().SetName(name).SetNillableDescription(line(in.Description)).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write skill: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: s.ID, version: s.Version})
		return s.ID, nil
	})
}

// line cleans a description.
func line(s *string) *string {
	if s == nil {
		return nil
	}
	out := clean.Line(*s, 1000)
	return &out
}

// UpdateSkill changes a skill.
func (d *Desk) UpdateSkill(ctx context.Context, id gid.ID, in SkillUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"skillUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		s, err := w.readSkill(ctx, id, ifVersion)
		if err != nil {
			return gid.ID{}, err
		}
		u := w.tx.Skill.UpdateOneID(id).Where(skill.Version(s.Version)).AddVersion(1).SetUpdatedAt(w.at)
		if in.Name != nil {
			n, err := checkName(*in.Name, "input", "name")
			if err != nil {
				return id, err
			}
			if there, err := w.tx.Skill.Query().Where(skill.Name(n), skill.IDNEQ(id)).Exist(ctx); err != nil || there {
				return id, orDuplicate(err, "a skill of this name exists", "input", "name")
			}
			u.SetName(n)
		}
		if in.Description.Set {
			u.SetNillableDescription(line(in.Description.V))
			if in.Description.V == nil {
				u.ClearDescription()
			}
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return id, stale()
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("save skill: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: n.Version})
		return id, nil
	})
}

func (w *work) readSkill(ctx context.Context, id gid.ID, ifVersion *int) (*ent.Skill, error) {
	s, err := w.tx.Skill.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, notFound("skill", "id")
	}
	if err != nil {
		return nil, fmt.Errorf("read skill: %w", err)
	}
	return s, fits(s.Version, ifVersion)
}

// DeleteSkill deletes a skill that nobody has and no queue asks for. Somebody who gets it meanwhile makes the delete fail
// at the row that names it; the next try refuses.
func (d *Desk) DeleteSkill(ctx context.Context, id gid.ID, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"skillDelete", id, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		s, err := w.readSkill(ctx, id, ifVersion)
		if err != nil {
			return gid.ID{}, err
		}
		a, err := w.tx.AgentSkill.Query().Where(agentskill.SkillID(id)).First(ctx)
		if err == nil {
			return gid.ID{}, inUse("an agent has this skill", a.AgentID)
		}
		if !ent.IsNotFound(err) {
			return gid.ID{}, fmt.Errorf("read agents' skills: %w", err)
		}
		n, err := w.tx.SkillNeed.Query().Where(skillneed.SkillID(id)).First(ctx)
		if err == nil {
			return gid.ID{}, inUse("a queue asks for this skill", n.QueueID)
		}
		if !ent.IsNotFound(err) {
			return gid.ID{}, fmt.Errorf("read queues' needs: %w", err)
		}
		if err := w.tx.Skill.DeleteOneID(id).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete skill: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: s.Version + 1, changed: []string{"deleted"}})
		return id, nil
	})
}

// checkLevels refuses levels out of bounds, skills named twice and skills that are not there.
func (w *work) checkLevels(ctx context.Context, list []SkillLevelInput, member string) error {
	if len(list) > maxSkills {
		return refuse(LimitReached, fmt.Sprintf("at most %d skills", maxSkills), "input", member)
	}
	seen := map[gid.ID]bool{}
	for n, s := range list {
		switch at := strconv.Itoa(n); {
		case s.Level < 1 || s.Level > 5:
			return refuse(Invalid, "a level is 1 to 5", "input", member, at)
		case seen[s.SkillID]:
			return refuse(Invalid, "a skill is named twice", "input", member, at, "skillId")
		}
		seen[s.SkillID] = true
	}
	n, err := w.tx.Skill.Query().Where(skill.IDIn(keys(seen)...)).Count(ctx)
	if err != nil {
		return fmt.Errorf("read skills: %w", err)
	}
	if n != len(seen) {
		return notFound("skill", "input", member)
	}
	return nil
}

// setSkills makes the skills of an agent exactly these.
func (w *work) setSkills(ctx context.Context, agentID gid.ID, list []SkillLevelInput) error {
	if err := w.checkLevels(ctx, list, "skills"); err != nil {
		return err
	}
	if _, err := w.tx.AgentSkill.Delete().Where(agentskill.AgentID(agentID)).Exec(ctx); err != nil {
		return fmt.Errorf("forget skills: %w", err)
	}
	rows := make([]*ent.AgentSkillCreate, len(list))
	for n, s := range list {
		rows[n] = w.tx.AgentSkill.Create().SetAgentID(agentID).SetSkillID(s.SkillID).SetLevel(s.Level)
	}
	if err := w.tx.AgentSkill.CreateBulk(rows...).Exec(ctx); err != nil {
		return fmt.Errorf("write skills: %w", err)
	}
	return nil
}

// setNeeds makes what a queue asks for exactly this.
func (w *work) setNeeds(ctx context.Context, queueID gid.ID, list []SkillNeedInput) error {
	levels := make([]SkillLevelInput, len(list))
	for n, s := range list {
		levels[n] = SkillLevelInput{SkillID: s.SkillID, Level: s.MinimumLevel}
	}
	if err := w.checkLevels(ctx, levels, "needs"); err != nil {
		return err
	}
	if _, err := w.tx.SkillNeed.Delete().Where(skillneed.QueueID(queueID)).Exec(ctx); err != nil {
		return fmt.Errorf("forget needs: %w", err)
	}
	rows := make([]*ent.SkillNeedCreate, len(list))
	for n, s := range list {
		rows[n] = w.tx.SkillNeed.Create().SetQueueID(queueID).SetSkillID(s.SkillID).SetMinimumLevel(s.MinimumLevel)
	}
	if err := w.tx.SkillNeed.CreateBulk(rows...).Exec(ctx); err != nil {
		return fmt.Errorf("write needs: %w", err)
	}
	return nil
}
