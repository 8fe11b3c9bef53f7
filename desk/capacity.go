package desk

import (
	"context"
	"fmt"
	"strconv"

	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/capacityprofile"
	"tributary/ent/schema"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// CapacityProfileUpdateInput changes a profile.
type CapacityProfileUpdateInput struct {
	Name  *string
	Units *int
	Rules *[]CapacityRuleInput
}

// capacityRules are the rules of an input.
func capacityRules(in []CapacityRuleInput) []schema.CapacityRule {
	out := make([]schema.CapacityRule, len(in))
	for n, r := range in {
		out[n] = schema.CapacityRule{ChannelKind: r.ChannelKind, UnitsEach: r.UnitsEach, MaxAtOnce: r.MaxAtOnce, BlocksOthers: deref(r.BlocksOthers, false)}
	}
	return out
}

// checkCapacity refuses a profile under which somebody could never be given what it allows.
func checkCapacity(units int, rules []schema.CapacityRule) error {
	if units < 1 || units > 1000 {
		return refuse(Invalid, "units are 1 to 1000", "input", "units")
	}
	seen := map[string]bool{}
	for n, r := range rules {
		// A cost of 0 marks what is carried for another interaction of its conversation.
		if r.UnitsEach < 1 || r.MaxAtOnce < 0 || r.UnitsEach > units {
			return refuse(Invalid, "a rule costs 1 to all units and admits 0 or more at once", "input", "rules", strconv.Itoa(n))
		}
		if seen[r.ChannelKind] {
			return refuse(Invalid, "a kind has one rule", "input", "rules", strconv.Itoa(n), "channelKind")
		}
		seen[r.ChannelKind] = true
	}
	return nil
}

func (w *work) readProfile(ctx context.Context, id gid.ID, ifVersion *int) (*ent.CapacityProfile, error) {
	p, err := w.tx.CapacityProfile.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, notFound("capacity profile", "id")
	}
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return p, fits(p.Version, ifVersion)
}

// UpdateCapacityProfile changes a profile; in force for the next decision, which reads it in its own transaction. What an
// agent serves already stays his, also above the new bound.
func (d *Desk) UpdateCapacityProfile(ctx context.Context, id gid.ID, in CapacityProfileUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"capacityProfileUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		p, err := w.readProfile(ctx, id, ifVersion)
		if err != nil {
			return gid.ID{}, err
		}
		units, rules := deref(in.Units, p.Units), p.Rules
		if in.Rules != nil {
			rules = capacityRules(*in.Rules)
		}
		if err := checkCapacity(units, rules); err != nil {
			return id, err
		}
		u := w.tx.CapacityProfile.UpdateOneID(id).Where(capacityprofile.Version(p.Version)).AddVersion(1).SetUpdatedAt(w.at).SetUnits(units).SetRules(rules)
		if in.Name != nil {
			n, err := checkName(*in.Name, "input", "name")
			if err != nil {
				return id, err
			}
			if there, err := w.tx.CapacityProfile.Query().Where(capacityprofile.Name(n), capacityprofile.IDNEQ(id)).Exist(ctx); err != nil || there {
				return id, orDuplicate(err, "a profile of this name exists", "input", "name")
			}
			u.SetName(n)
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return id, stale()
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("save profile: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: n.Version})
		return id, nil
	})
}

// DeleteCapacityProfile deletes a profile that nobody has. An agent who gets it meanwhile makes the delete fail at his
// row; the next try refuses.
func (d *Desk) DeleteCapacityProfile(ctx context.Context, id gid.ID, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"capacityProfileDelete", id, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		p, err := w.readProfile(ctx, id, ifVersion)
		if err != nil {
			return gid.ID{}, err
		}
		if p.BuiltIn {
			return gid.ID{}, refuse(NotAllowed, "the built-in profile stays", "id")
		}
		a, err := w.tx.Agent.Query().Where(agent.CapacityProfileID(id)).FirstID(ctx)
		if err == nil {
			return gid.ID{}, inUse("an agent has this profile", a)
		}
		if !ent.IsNotFound(err) {
			return gid.ID{}, fmt.Errorf("read agents: %w", err)
		}
		if err := w.tx.CapacityProfile.DeleteOneID(id).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete profile: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: p.Version + 1, changed: []string{"deleted"}})
		return id, nil
	})
}
