package desk

import (
	"context"
	"fmt"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/channel"
	"tributary/ent/interaction"
	"tributary/ent/queue"
	"tributary/ent/workspace"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// DeleteQueue deletes a queue where nothing waits or is served and that nothing names. The row is locked first: what is
// about to be queued in it waits and finds it gone, so nothing is left without a queue.
func (d *Desk) DeleteQueue(ctx context.Context, id gid.ID, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"queueDelete", id, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		q, err := w.lockQueue(ctx, id, ifVersion)
		if err != nil {
			return gid.ID{}, err
		}
		if err := w.queueFree(ctx, q); err != nil {
			return gid.ID{}, err
		}
		if err := w.tx.Queue.DeleteOneID(id).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete queue: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: q.Version + 1, changed: []string{"deleted"}})
		return id, nil
	})
}

func (w *work) lockQueue(ctx context.Context, id gid.ID, ifVersion *int) (*ent.Queue, error) {
	lock := w.tx.Queue.Query().Where(queue.ID(id))
	if w.pg {
		lock.ForUpdate()
	}
	q, err := lock.Only(ctx)
	if ent.IsNotFound(err) {
		return nil, notFound("queue", "id")
	}
	if err != nil {
		return nil, fmt.Errorf("lock queue: %w", err)
	}
	return q, fits(q.Version, ifVersion)
}

// openContacts are all but ENDED, named so that the index on the state helps.
var openContacts = []interaction.State{
	interaction.StateIN_FLOW, interaction.StateQUEUED, interaction.StateOFFERED, interaction.StateACTIVE, interaction.StatePAUSED, interaction.StateWRAP_UP,
}

// queueFree refuses while something needs the queue.
func (w *work) queueFree(ctx context.Context, q *ent.Queue) error {
	id := q.ID
	if q.Restricted {
		i, err := w.tx.Interaction.Query().Where(interaction.QueueID(id)).FirstID(asSystem(ctx))
		if err == nil {
			return inUse("what was said in this restricted queue would be open to all: lift the restriction first", i)
		}
		if !ent.IsNotFound(err) {
			return fmt.Errorf("read interactions: %w", err)
		}
	}
	i, err := w.tx.Interaction.Query().Where(interaction.QueueID(id), interaction.StateIn(openContacts...)).FirstID(ctx)
	if err == nil {
		return inUse("something is not over in this queue", i)
	}
	if !ent.IsNotFound(err) {
		return fmt.Errorf("read interactions: %w", err)
	}
	ch, err := w.tx.Channel.Query().Where(channel.QueueID(id)).FirstID(ctx)
	if err == nil {
		return inUse("a channel's contacts wait in this queue", ch)
	}
	if !ent.IsNotFound(err) {
		return fmt.Errorf("read channels: %w", err)
	}
	f, err := w.publishedUser(ctx, func(n voice.Node) bool { return n.Queue == voice.ID(id.String()) })
	if err != nil {
		return err
	}
	if f != nil {
		return inUse(fmt.Sprintf("the published flow %q hands over to this queue", f.Name), f.ID)
	}
	ws, err := w.tx.Workspace.Query().Where(workspace.DefaultQueueID(id)).FirstID(ctx)
	if err == nil {
		return inUse("this is the workspace's default queue", ws)
	}
	if !ent.IsNotFound(err) {
		return fmt.Errorf("read workspace: %w", err)
	}
	return nil
}
