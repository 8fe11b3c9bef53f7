package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/role"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// keepsHolders does a change of who may do what, and refuses it if nobody would be left who can log in with a scope that
// somebody had: nobody could ever give it again (mayGive). Such changes of a workspace come one after the other, or two
// admins who take each other's rights at once would both be right.
func (w *work) keepsHolders(ctx context.Context, change func() (gid.ID, error)) (gid.ID, error) {
	q := w.tx.Role.Query().Order(ent.Asc(role.FieldID))
	if w.pg {
		q.ForUpdate()
	}
	if _, err := q.IDs(ctx); err != nil {
		return gid.ID{}, fmt.Errorf("lock roles: %w", err)
	}
	before, err := w.heldScopes(ctx)
	if err != nil {
		return gid.ID{}, err
	}
	id, err := change()
	if err != nil {
		return id, err
	}
	after, err := w.heldScopes(ctx)
	if err != nil {
		return gid.ID{}, err
	}
	for _, s := range before {
		if !slices.Contains(after, s) {
			return id, refuse(NotAllowed, "nobody would be left who has the scope "+string(s), "id")
		}
	}
	return id, nil
}

// heldScopes are those of all agents who can log in, as who is at work here has done.
func (w *work) heldScopes(ctx context.Context) ([]viewer.Scope, error) {
	joined := agent.Or(agent.PasswordHashNotNil(), agent.ID(viewer.From(ctx).Actor))
	held, err := w.tx.Agent.Query().Where(agent.Active(true), joined).QueryRole().All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read who has which role: %w", err)
	}
	var out []viewer.Scope
	for _, r := range held {
		out = append(out, r.Scopes...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
