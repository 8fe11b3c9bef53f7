package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/role"
	"tributary/internal/gid"
	"tributary/internal/opt"
	"tributary/internal/viewer"
)

type (
	// RoleCreateInput makes a role.
	RoleCreateInput struct {
		Name          string
		Description   *string
		Scopes        []viewer.Scope
		Reach         role.Reach
		PersonalShown []string
	}
	// RoleUpdateInput changes a role.
	RoleUpdateInput struct {
		Name          *string
		Description   opt.String
		Scopes        *[]viewer.Scope
		Reach         *role.Reach
		PersonalShown *[]string
	}
)

var reachOrder = []viewer.Reach{viewer.ReachOwn, viewer.ReachTeams, viewer.ReachAll}

// mayGive refuses what the viewer does not hold himself: scopes, a wider reach, personal values that he sees masked.
func mayGive(ctx context.Context, scopes []viewer.Scope, reach role.Reach, shown []string, field func(string) []string) error {
	v := viewer.From(ctx)
	for _, s := range scopes {
		if s == viewer.SystemAdmin || s == viewer.Visitor || !v.Has(s) {
			return refuse(NotAllowed, "you cannot give the scope "+string(s), field("scopes")...)
		}
	}
	if slices.Index(reachOrder, viewer.Reach(reach)) > slices.Index(reachOrder, v.Reach) {
		return refuse(NotAllowed, "you cannot give a reach wider than yours", field("reach")...)
	}
	for _, k := range shown {
		if !slices.Contains(v.Clear, k) {
			return refuse(NotAllowed, "you cannot show "+k+", which you do not see", field("personalShown")...)
		}
	}
	return nil
}

func inputField(name string) []string { return []string{"input", name} }

// withSelf adds the scope that every agent holds.
func withSelf(scopes []viewer.Scope) []viewer.Scope {
	out := []viewer.Scope{viewer.Self}
	for _, s := range scopes {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// CreateRole makes a role of the workspace's own.
func (d *Desk) CreateRole(ctx context.Context, in RoleCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.APIWrite); err != nil {
		return gid.ID{}, err
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return gid.ID{}, err
	}
	if err := mayGive(ctx, in.Scopes, in.Reach, in.PersonalShown, inputField); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"roleCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		if there, err := w.tx.Role.Query().Where(role.Name(name)).Exist(ctx); err != nil || there {
			return gid.ID{}, orDuplicate(err, "a role of this name exists", "input", "name")
		}
		r, err := w.tx.Role.Create().SetName(name).SetNillableDescription(line(in.Description)).SetScopes(withSelf(in.Scopes)).SetReach(in.Reach).
			SetPersonalShown(orEmpty(in.PersonalShown)).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write role: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: r.ID, version: r.Version})
		return r.ID, nil
	})
}

// lockRole keeps agents who would get the role waiting until the change is made or refused.
func (w *work) lockRole(ctx context.Context, id gid.ID, ifVersion *int) (*ent.Role, error) {
	q := w.tx.Role.Query().Where(role.ID(id))
	if w.pg {
		q.ForUpdate()
	}
	r, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return nil, notFound("role", "id")
	}
	if err != nil {
		return nil, fmt.Errorf("lock role: %w", err)
	}
	if r.BuiltIn {
		return r, refuse(NotAllowed, "a built-in role stays as it is", "id")
	}
	return r, fits(r.Version, ifVersion)
}

// UpdateRole changes a role. Its sessions feel it at once, sockets with their next proof (MODEL 10). Whoever changes a
// role must hold all that it gave before, too: or he could take away what he does not know.
func (d *Desk) UpdateRole(ctx context.Context, id gid.ID, in RoleUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.APIWrite); err != nil {
		return gid.ID{}, err
	}
	defer d.viewer.clear()
	return d.once(ctx, key, []any{"roleUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		change := func() (gid.ID, error) { return w.updateRole(ctx, id, in, ifVersion) }
		if in.Scopes == nil {
			return change()
		}
		return w.keepsHolders(ctx, change)
	})
}

func (w *work) updateRole(ctx context.Context, id gid.ID, in RoleUpdateInput, ifVersion *int) (gid.ID, error) {
	r, err := w.lockRole(ctx, id, ifVersion)
	if err != nil {
		return gid.ID{}, err
	}
	u := w.tx.Role.UpdateOneID(id).Where(role.Version(r.Version)).AddVersion(1).SetUpdatedAt(w.at)
	if err := w.roleChanges(ctx, u, r, in); err != nil {
		return id, err
	}
	n, err := u.Save(ctx)
	if ent.IsNotFound(err) {
		return id, stale()
	}
	if err != nil {
		return gid.ID{}, fmt.Errorf("save role: %w", err)
	}
	w.emit(fact{typ: SettingChanged, subject: id, version: n.Version})
	return id, nil
}

func (w *work) roleChanges(ctx context.Context, u *ent.RoleUpdateOne, r *ent.Role, in RoleUpdateInput) error {
	if err := mayGive(ctx, r.Scopes, r.Reach, r.PersonalShown, func(string) []string { return []string{"id"} }); err != nil {
		return err
	}
	scopes, reach, shown := deref(in.Scopes, r.Scopes), deref(in.Reach, r.Reach), deref(in.PersonalShown, r.PersonalShown)
	if err := mayGive(ctx, scopes, reach, shown, inputField); err != nil {
		return err
	}
	u.SetScopes(withSelf(scopes)).SetReach(reach).SetPersonalShown(orEmpty(shown))
	if in.Name != nil {
		n, err := checkName(*in.Name, "input", "name")
		if err != nil {
			return err
		}
		if there, err := w.tx.Role.Query().Where(role.Name(n), role.IDNEQ(r.ID)).Exist(ctx); err != nil || there {
			return orDuplicate(err, "a role of this name exists", "input", "name")
		}
		u.SetName(n)
	}
	if in.Description.Set {
		u.SetNillableDescription(line(in.Description.V))
		if in.Description.V == nil {
			u.ClearDescription()
		}
	}
	return nil
}

// DeleteRole deletes a role that nobody has.
func (d *Desk) DeleteRole(ctx context.Context, id gid.ID, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.APIWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"roleDelete", id, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		r, err := w.lockRole(ctx, id, ifVersion)
		if err != nil {
			return gid.ID{}, err
		}
		a, err := w.tx.Agent.Query().Where(agent.RoleID(id)).FirstID(ctx)
		if err == nil {
			return gid.ID{}, inUse("an agent has this role", a)
		}
		if !ent.IsNotFound(err) {
			return gid.ID{}, fmt.Errorf("read agents: %w", err)
		}
		if err := w.tx.Role.DeleteOneID(id).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete role: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: r.Version + 1, changed: []string{"deleted"}})
		return id, nil
	})
}

// outranks refuses to change, or to let in as, an agent who may do what the viewer may not.
func (w *work) outranks(ctx context.Context, a *ent.Agent) error {
	err := w.givenRole(ctx, a.RoleID)
	if r, ok := RefusalOf(err); ok {
		return &Refusal{Code: NotAllowed, Message: "he may do what you may not: " + r.Message, Field: []string{"id"}}
	}
	return err
}

// givenRole checks that there is the role and that the viewer may give it.
func (w *work) givenRole(ctx context.Context, id gid.ID) error {
	r, err := w.tx.Role.Get(ctx, id)
	if ent.IsNotFound(err) {
		return notFound("role", "input", "roleId")
	}
	if err != nil {
		return fmt.Errorf("read role: %w", err)
	}
	shown := r.PersonalShown
	if viewer.From(ctx).Kind != viewer.KindAgent {
		shown = nil // an app sees everything masked, and may bring in people by roles that an admin has made
	}
	return mayGive(ctx, r.Scopes, r.Reach, shown, func(string) []string { return []string{"input", "roleId"} })
}
