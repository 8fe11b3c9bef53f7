package desk

import (
	"context"
	"fmt"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/channel"
	"tributary/ent/flow"
	"tributary/ent/flowversion"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// Flows of the workspace, by age.
func (d *Desk) Flows(ctx context.Context) (*ent.FlowQuery, page.Order, error) {
	return d.db.Flow.Query(), Age, need(ctx, viewer.RoutingRead)
}

// Flow by id.
func (d *Desk) Flow(ctx context.Context, id gid.ID) (*ent.FlowQuery, error) {
	return d.db.Flow.Query().Where(flow.ID(id)), need(ctx, viewer.RoutingRead)
}

// FlowVersion by id.
func (d *Desk) FlowVersion(ctx context.Context, id gid.ID) (*ent.FlowVersionQuery, error) {
	return d.db.FlowVersion.Query().Where(flowversion.ID(id)), need(ctx, viewer.RoutingRead)
}

// CreateFlow makes a flow without a version.
func (d *Desk) CreateFlow(ctx context.Context, in FlowCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"flowCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		if there, err := w.tx.Flow.Query().Where(flow.Name(name)).Exist(ctx); err != nil || there {
			return gid.ID{}, orDuplicate(err, "a flow of this name exists", "input", "name")
		}
		f, err := w.tx.Flow.Create().SetName(name).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write flow: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: f.ID, version: f.Version})
		return f.ID, nil
	})
}

// lockFlow keeps a flow's changes one after the other; field is the argument that names it.
func (w *work) lockFlow(ctx context.Context, id gid.ID, field ...string) (*ent.Flow, error) {
	q := w.tx.Flow.Query().Where(flow.ID(id))
	if w.pg {
		q.ForUpdate()
	}
	f, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return nil, notFound("flow", field...)
	}
	if err != nil {
		return nil, fmt.Errorf("lock flow: %w", err)
	}
	return f, nil
}

// changeFlow saves what f sets on a locked flow, and tells of it.
func (w *work) changeFlow(ctx context.Context, was *ent.Flow, f func(*ent.FlowUpdateOne)) error {
	u := w.tx.Flow.UpdateOneID(was.ID).Where(flow.Version(was.Version)).AddVersion(1).SetUpdatedAt(w.at)
	f(u)
	n, err := u.Save(ctx)
	if ent.IsNotFound(err) {
		return stale()
	}
	if err != nil {
		return fmt.Errorf("save flow: %w", err)
	}
	w.emit(fact{typ: SettingChanged, subject: n.ID, version: n.Version})
	return nil
}

// UpdateFlow changes a flow.
func (d *Desk) UpdateFlow(ctx context.Context, id gid.ID, in FlowUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"flowUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		f, err := w.lockFlow(ctx, id, "id")
		if err != nil {
			return gid.ID{}, err
		}
		if err := fits(f.Version, ifVersion); err != nil {
			return id, err
		}
		name := f.Name
		if in.Name != nil {
			if name, err = checkName(*in.Name, "input", "name"); err != nil {
				return id, err
			}
			if there, err := w.tx.Flow.Query().Where(flow.Name(name), flow.IDNEQ(id)).Exist(ctx); err != nil || there {
				return id, orDuplicate(err, "a flow of this name exists", "input", "name")
			}
		}
		return id, w.changeFlow(ctx, f, func(u *ent.FlowUpdateOne) { u.SetName(name) })
	})
}

// DeleteFlow deletes a flow with its versions, unless a channel or a running call goes by it. Calls that are over keep
// what was entered in them.
func (d *Desk) DeleteFlow(ctx context.Context, id gid.ID, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"flowDelete", id, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		f, err := w.lockFlow(ctx, id, "id")
		if err != nil {
			return gid.ID{}, err
		}
		if err := firstError(fits(f.Version, ifVersion), w.flowFree(ctx, id)); err != nil {
			return gid.ID{}, err
		}
		if err := w.tx.Flow.UpdateOneID(id).ClearPublishedID().ClearDraftID().Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("save flow: %w", err)
		}
		if _, err := w.tx.FlowVersion.Delete().Where(flowversion.FlowID(id)).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete versions: %w", err)
		}
		if err := w.tx.Flow.DeleteOneID(id).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete flow: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: f.Version + 1, changed: []string{"deleted"}})
		return id, nil
	})
}

func (w *work) flowFree(ctx context.Context, id gid.ID) error {
	ch, err := w.tx.Channel.Query().Where(channel.FlowID(id)).First(ctx)
	if err == nil {
		return inUse(fmt.Sprintf("the callers of the channel %q go through it", ch.Name), ch.ID)
	}
	if !ent.IsNotFound(err) {
		return fmt.Errorf("read channels: %w", err)
	}
	runs, err := w.tx.Call.Query().Where(call.StateNEQ(call.StateENDED), call.HasFlowVersionWith(flowversion.FlowID(id))).Exist(asSystem(ctx))
	if err != nil {
		return fmt.Errorf("read calls: %w", err)
	}
	if runs {
		return inUse("a call runs that began with it", gid.ID{})
	}
	return nil
}

// publishedUser is a flow whose published version fulfils a condition; nil: there is none.
func (w *work) publishedUser(ctx context.Context, uses func(voice.Node) bool) (*ent.Flow, error) {
	rows, err := w.tx.Flow.Query().Where(flow.PublishedIDNotNil()).WithPublished().Order(ent.Asc(flow.FieldID)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read flows: %w", err)
	}
	for _, f := range rows {
		doc, err := documentOf(f.Edges.Published)
		if err != nil {
			return nil, err
		}
		for _, n := range doc.Nodes {
			if uses(n) {
				return f, nil
			}
		}
	}
	return nil, nil
}

// carriesFlow refuses a flow for a channel without calls, and one that is not there.
func (w *work) carriesFlow(ctx context.Context, id *gid.ID, line bool) error {
	switch {
	case id == nil:
		return nil
	case !line:
		return refuse(NotSupported, "only a channel with calls has a flow", "input", "flowId")
	}
	_, err := w.lockFlow(ctx, *id, "input", "flowId")
	return err
}
