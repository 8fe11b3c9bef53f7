package desk

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/channel"
	"tributary/ent/identity"
	"tributary/ent/interaction"
	"tributary/ent/job"
	"tributary/ent/message"
	"tributary/ent/pull"
	"tributary/ent/rawinbound"
	"tributary/ent/visitorsession"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// SecretState is a channel's secret without its value.
type SecretState struct {
	Name                      string
	Set                       bool
	SetAt, PreviousValidUntil *time.Time
}

// changeAt is when the set of valid values next grows smaller by itself; zero: never.
func (s secretSet) changeAt(now time.Time) (at time.Time) {
	for _, v := range s {
		if v.Previous != "" && now.Before(v.PreviousUntil) && (at.IsZero() || v.PreviousUntil.Before(at)) {
			at = v.PreviousUntil
		}
	}
	return at
}

func rotates(k channels.Kind, name string) bool {
	return slices.ContainsFunc(channels.SecretFields(k), func(f channels.SecretField) bool { return f.Name == name && f.Rotates })
}

// SecretStates are the secrets of a channel's kind, in the order of its settings, and how far their rotation is.
func (d *Desk) SecretStates(row *ent.Channel) ([]*SecretState, error) {
	set, err := d.channelSecrets(row)
	if err != nil {
		return nil, err
	}
	k, _ := channels.Lookup(row.Kind)
	out := []*SecretState{}
	for _, f := range channels.SecretFields(k) {
		v, known := set[f.Name]
		s := &SecretState{Name: f.Name, Set: known && v.Value != ""}
		if s.Set {
			s.SetAt = &v.SetAt
		}
		if v.Previous != "" && d.now().Before(v.PreviousUntil) {
			s.PreviousValidUntil = &v.PreviousUntil
		}
		out = append(out, s)
	}
	return out, nil
}

// PauseChannel switches a channel off and keeps why.
func (d *Desk) PauseChannel(ctx context.Context, id gid.ID, reason, key *string) (gid.ID, error) {
	if reason != nil {
		if len([]rune(*reason)) > 500 {
			return gid.ID{}, refuse(TooLong, "a reason has at most 500 characters", "reason")
		}
		cleaned := clean.Line(*reason, 500)
		reason = &cleaned
	}
	return d.switchChannel(ctx, id, false, reason, key)
}

// switchChannel changes whether a channel takes in and sends, and with it its health.
func (d *Desk) switchChannel(ctx context.Context, id gid.ID, on bool, reason, key *string) (gid.ID, error) {
	return d.changeChannel(ctx, id, nil, key, []any{"channelEnable", on, reason}, func(_ context.Context, w *work, c *ent.Channel, u *ent.ChannelUpdateOne) error {
		u.SetEnabled(on).SetNillablePausedBecause(reason)
		if reason == nil {
			u.ClearPausedBecause()
		}
		if c.Enabled != on {
			w.emit(fact{typ: ChannelHealthChanged, subject: id, version: c.Version + 1, changed: []string{"health"}})
		}
		return nil
	})
}

// Backlog is what a channel has still to do.
type Backlog struct{ In, Out, Dead int }

// Backlogs of all channels of the workspace that have one, in one statement.
func (d *Desk) Backlogs(ctx context.Context) (map[gid.ID]Backlog, error) {
	return d.backlogs(ctx, nil)
}

// Backlog of one channel.
func (d *Desk) Backlog(ctx context.Context, id gid.ID) (Backlog, error) {
	all, err := d.backlogs(ctx, &id)
	return all[id], err
}

// backlogs counts unfinished work by channel; numbers alone, so whoever sees a channel may see them.
func (d *Desk) backlogs(ctx context.Context, id *gid.ID) (map[gid.ID]Backlog, error) {
	if err := need(ctx, viewer.ConversationRead); err != nil {
		return nil, err
	}
	q := d.db.Job.Query().Where(job.ChannelIDNotNil(), job.StateIn(job.StateReady, job.StateRunning, job.StateDead))
	if id != nil {
		q.Where(job.ChannelID(*id))
	}
	var rows []struct {
		ChannelID gid.ID    `json:"channel_id"`
		Kind      string    `json:"kind"`
		State     job.State `json:"state"`
		Count     int       `json:"count"`
	}
	if err := q.GroupBy(job.FieldChannelID, job.FieldKind, job.FieldState).Aggregate(ent.Count()).Scan(within(ctx), &rows); err != nil {
		return nil, fmt.Errorf("count backlog: %w", err)
	}
	out := map[gid.ID]Backlog{}
	for _, r := range rows {
		b := out[r.ChannelID]
		switch {
		case r.State == job.StateDead:
			b.Dead += r.Count
		case r.Kind == jobSend:
			b.Out += r.Count
		case r.Kind == jobIngest:
			b.In += r.Count
		}
		out[r.ChannelID] = b
	}
	return out, nil
}

// DeleteChannel deletes a channel by which nobody ever wrote. One with a history is refused: its conversations need it to
// say where they were held, so pausing is the way.
func (d *Desk) DeleteChannel(ctx context.Context, id gid.ID, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.ChannelWrite); err != nil {
		return gid.ID{}, err
	}
	out, err := d.once(ctx, key, []any{"channelDelete", id, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		lock := w.tx.Channel.Query().Where(channel.ID(id))
		if w.pg {
			lock.ForUpdate()
		}
		c, err := lock.Only(ctx)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("channel", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("lock channel: %w", err)
		}
		if err := fits(c.Version, ifVersion); err != nil {
			return gid.ID{}, err
		}
		used, err := w.channelUsed(ctx, id)
		if err != nil {
			return gid.ID{}, err
		}
		if used {
			return gid.ID{}, inUse("people have written by this channel: pause it, its history needs it", gid.ID{})
		}
		if _, err := w.tx.Pull.Delete().Where(pull.ChannelID(id)).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete pulls: %w", err)
		}
		if err := w.tx.Channel.DeleteOneID(id).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete channel: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: c.Version + 1, changed: []string{"deleted"}})
		return id, nil
	})
	if err == nil {
		d.closeChannel(ctx, id)
	}
	return out, err
}

// channelUsed reports whether anything ever came in or went out by the channel.
func (w *work) channelUsed(ctx context.Context, id gid.ID) (bool, error) {
	for _, exist := range []func(context.Context) (bool, error){
		w.tx.RawInbound.Query().Where(rawinbound.ChannelID(id)).Exist,
		w.tx.Identity.Query().Where(identity.ChannelID(id)).Exist,
		w.tx.VisitorSession.Query().Where(visitorsession.ChannelID(id)).Exist,
		w.tx.Interaction.Query().Where(interaction.ChannelID(id)).Exist,
		w.tx.Message.Query().Where(message.ChannelID(id)).Exist,
		w.tx.Job.Query().Where(job.ChannelID(id)).Exist,
	} {
		if there, err := exist(ctx); err != nil || there {
			return there, err
		}
	}
	return false, nil
}

// closeChannel closes what this node runs of a channel.
func (d *Desk) closeChannel(ctx context.Context, id gid.ID) {
	d.open.mu.Lock()
	defer d.open.mu.Unlock()
	if o := d.open.byID[id]; o != nil {
		delete(d.open.byID, id)
		if err := o.channel.Close(); err != nil {
			d.Log.WarnContext(ctx, "close channel", "channel", id, "error", err)
		}
	}
}
