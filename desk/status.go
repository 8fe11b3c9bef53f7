package desk

import (
	"context"
	"fmt"

	"tributary/ent"
	"tributary/ent/agentstatus"
	"tributary/ent/statusreason"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

type (
	// StatusReasonCreateInput makes a reason.
	StatusReasonCreateInput struct {
		Name                  string
		State                 statusreason.State
		CountsAsWork, Enabled *bool
	}
	// StatusReasonUpdateInput changes a reason.
	StatusReasonUpdateInput struct {
		Name                  *string
		State                 *statusreason.State
		CountsAsWork, Enabled *bool
	}
)

// reasonNoAnswer is the key of the BREAK after misses.
const reasonNoAnswer = "no_answer"

// builtInReasons come with every workspace.
var builtInReasons = map[string]struct {
	name  string
	state statusreason.State
}{
	reasonNoAnswer: {"No answer", statusreason.StateBREAK},
}

// StatusReasons of the workspace, by age.
func (d *Desk) StatusReasons(ctx context.Context) (*ent.StatusReasonQuery, page.Order, error) {
	return d.db.StatusReason.Query(), Age, need(ctx, viewer.Self)
}

// StatusReason by id.
func (d *Desk) StatusReason(ctx context.Context, id gid.ID) (*ent.StatusReasonQuery, error) {
	return d.db.StatusReason.Query().Where(statusreason.ID(id)), need(ctx, viewer.Self)
}

// builtInReason finds a built-in reason, or makes it: every new workspace gets it with its roles, one from before there
// were reasons when it first needs one.
func (w *work) builtInReason(ctx context.Context, key string) (gid.ID, error) {
	id, err := w.tx.StatusReason.Query().Where(statusreason.Key(key)).OnlyID(ctx)
	if !ent.IsNotFound(err) {
		return id, err
	}
	b := builtInReasons[key]
	name := b.name
	taken, err := w.tx.StatusReason.Query().Where(statusreason.Name(name)).Exist(ctx)
	if err != nil {
		return gid.ID{}, fmt.Errorf("read reasons: %w", err)
	}
	if taken {
		name += " (" + key + ")"
	}
	r, err := w.tx.StatusReason.Create().SetKey(key).SetName(name).SetState(b.state).SetCreatedAt(w.at).Save(ctx)
	if err != nil {
		return gid.ID{}, fmt.Errorf("write reason: %w", err)
	}
	return r.ID, nil
}

// chosenReason checks that a reason may be given with a state.
func (w *work) chosenReason(ctx context.Context, id *gid.ID, state agentstatus.State) error {
	if id == nil {
		return nil
	}
	r, err := w.tx.StatusReason.Get(ctx, *id)
	switch {
	case ent.IsNotFound(err):
		return notFound("reason", "input", "reasonId")
	case err != nil:
		return fmt.Errorf("read reason: %w", err)
	case !r.Enabled:
		return refuse(WrongState, "this reason is switched off", "input", "reasonId")
	case string(r.State) != string(state):
		return refuse(Invalid, "this reason explains "+string(r.State), "input", "reasonId")
	}
	return nil
}

// CreateStatusReason makes a reason.
func (d *Desk) CreateStatusReason(ctx context.Context, in StatusReasonCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"statusReasonCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		if there, err := w.tx.StatusReason.Query().Where(statusreason.Name(name)).Exist(ctx); err != nil || there {
			return gid.ID{}, orDuplicate(err, "a reason of this name exists", "input", "name")
		}
		r, err := w.tx.StatusReason.Create().SetName(name).SetState(in.State).SetCountsAsWork(deref(in.CountsAsWork, false)).
			SetEnabled(deref(in.Enabled, true)).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write reason: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: r.ID, version: r.Version})
		return r.ID, nil
	})
}

// lockReason keeps statuses that would name the reason waiting until the change is made or refused.
func (w *work) lockReason(ctx context.Context, id gid.ID, ifVersion *int) (*ent.StatusReason, error) {
	q := w.tx.StatusReason.Query().Where(statusreason.ID(id))
	if w.pg {
		q.ForUpdate()
	}
	r, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return nil, notFound("reason", "id")
	}
	if err != nil {
		return nil, fmt.Errorf("lock reason: %w", err)
	}
	return r, fits(r.Version, ifVersion)
}

func (w *work) reasonGiven(ctx context.Context, id gid.ID) (bool, error) {
	given, err := w.tx.AgentStatus.Query().Where(agentstatus.ReasonID(id)).Exist(ctx)
	if err != nil {
		return false, fmt.Errorf("read statuses: %w", err)
	}
	return given, nil
}

// UpdateStatusReason changes a reason; the history keeps its meaning.
func (d *Desk) UpdateStatusReason(ctx context.Context, id gid.ID, in StatusReasonUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"statusReasonUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		r, err := w.lockReason(ctx, id, ifVersion)
		if err != nil {
			return gid.ID{}, err
		}
		u := w.tx.StatusReason.UpdateOneID(id).Where(statusreason.Version(r.Version)).AddVersion(1).SetUpdatedAt(w.at)
		if err := w.reasonChanges(ctx, u, r, in); err != nil {
			return id, err
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return id, stale()
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("save reason: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: n.Version})
		return id, nil
	})
}

func (w *work) reasonChanges(ctx context.Context, u *ent.StatusReasonUpdateOne, r *ent.StatusReason, in StatusReasonUpdateInput) error {
	if in.Name != nil {
		n, err := checkName(*in.Name, "input", "name")
		if err != nil {
			return err
		}
		if there, err := w.tx.StatusReason.Query().Where(statusreason.Name(n), statusreason.IDNEQ(r.ID)).Exist(ctx); err != nil || there {
			return orDuplicate(err, "a reason of this name exists", "input", "name")
		}
		u.SetName(n)
	}
	if in.State != nil && *in.State != r.State {
		if r.Key != nil {
			return refuse(NotAllowed, "a built-in reason keeps its state", "input", "state")
		}
		given, err := w.reasonGiven(ctx, r.ID)
		if err != nil {
			return err
		}
		if given {
			return refuse(InUse, "agents have had this reason: make another one", "input", "state")
		}
		u.SetState(*in.State)
	}
	if in.Enabled != nil && !*in.Enabled && r.Key != nil {
		return refuse(NotAllowed, "a built-in reason stays on", "input", "enabled")
	}
	u.SetNillableCountsAsWork(in.CountsAsWork).SetNillableEnabled(in.Enabled)
	return nil
}

// DeleteStatusReason deletes a reason that no status has ever named.
func (d *Desk) DeleteStatusReason(ctx context.Context, id gid.ID, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.PeopleWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"statusReasonDelete", id, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		r, err := w.lockReason(ctx, id, ifVersion)
		if err != nil {
			return gid.ID{}, err
		}
		if r.Key != nil {
			return gid.ID{}, refuse(NotAllowed, "a built-in reason stays", "id")
		}
		given, err := w.reasonGiven(ctx, id)
		if err != nil {
			return gid.ID{}, err
		}
		if given {
			return gid.ID{}, inUse("agents have had this reason: switch it off, their history needs it", gid.ID{})
		}
		if err := w.tx.StatusReason.DeleteOneID(id).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete reason: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: r.Version + 1, changed: []string{"deleted"}})
		return id, nil
	})
}
