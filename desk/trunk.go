package desk

import (
	"context"
	"fmt"
	"slices"

	"tributary/channels"
	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/channel"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// callKinds are the kinds whose contacts last only while the customer is at the other end: what is served by a phone as
// well as by a screen.
func callKinds() (out []string) {
	for _, k := range channels.Kinds() {
		if k.Live == channels.Live {
			out = append(out, k.Name)
		}
	}
	return out
}

// isCall reports whether a kind is one of callKinds.
func isCall(kind string) bool {
	k, ok := channels.Lookup(kind)
	return ok && k.Live == channels.Live
}

// line is the trunk behind an opened channel; nil: it is none.
func (o *opened) line() voice.Line {
	l, _ := o.channel.(voice.Line)
	return l
}

// trunkOf is the trunk as the channel's row says.
func trunkOf(row *ent.Channel, l voice.Line) voice.Trunk {
	t := l.Trunk()
	t.ID, t.Version, t.Paused = voice.ID(row.ID.String()), row.Version, !row.Enabled
	return t
}

// Trunks implements voice.Desk: one query, whatever their number; what did not change is not opened again. One whose
// settings do not work is left out and shows that in its health.
func (v *Voice) Trunks(ctx context.Context) ([]voice.Trunk, error) {
	d := v.d
	ctx = within(viewer.Global(ctx))
	rows, err := d.db.Channel.Query().Where(channel.KindIn(callKinds()...)).Order(ent.Asc(channel.FieldID)).All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read trunks: %w", err)
	}
	out := make([]voice.Trunk, 0, len(rows))
	for _, row := range rows {
		o, err := d.runningChannel(ctx, row)
		if err != nil {
			if err := d.trunkHealth(ctx, row, err); err != nil {
				return nil, err
			}
			continue
		}
		if l := o.line(); l != nil {
			out = append(out, trunkOf(row, l))
		}
	}
	return out, nil
}

// TrunkHealth implements voice.Desk. It writes only what is new: that a trunk failed, failed for another reason, or
// answers again.
func (v *Voice) TrunkHealth(ctx context.Context, trunk voice.ID, cause error) error {
	d := v.d
	id, err := idOf(trunk, gid.Channel)
	if err != nil {
		return err
	}
	row, err := d.db.Channel.Query().Where(channel.ID(id), channel.KindIn(callKinds()...)).Only(within(viewer.Global(ctx)))
	if ent.IsNotFound(err) {
		return voice.ErrUnknown
	}
	if err != nil {
		return fmt.Errorf("read trunk: %w", err)
	}
	return d.trunkHealth(ctx, row, cause)
}

// maxCause bounds what is kept of a trunk's failure.
const maxCause = 500

func (d *Desk) trunkHealth(ctx context.Context, seen *ent.Channel, cause error) error {
	text := ""
	if cause != nil {
		text = clean.Line(reason(cause, cause.Error()), maxCause)
	}
	if !healthNew(seen, text) {
		return nil
	}
	return d.do(viewer.System(ctx, seen.WorkspaceID), nil, func(ctx context.Context, w *work) error {
		row, err := w.tx.Channel.Get(ctx, seen.ID)
		if ent.IsNotFound(err) {
			return voice.ErrUnknown
		}
		if err != nil {
			return fmt.Errorf("read trunk: %w", err)
		}
		if !healthNew(row, text) {
			return nil
		}
		u := w.tx.Channel.Update().Where(channel.ID(row.ID)).SetUpdatedAt(row.UpdatedAt)
		if text == "" {
			u.SetLastOutboundAt(w.at)
		} else {
			u.SetLastError(text).SetLastErrorAt(w.at)
		}
		if err := u.Exec(ctx); err != nil {
			return fmt.Errorf("save trunk's health: %w", err)
		}
		if failing(row) != (text != "") {
			w.emit(fact{typ: ChannelHealthChanged, subject: row.ID, version: row.Version})
		}
		return nil
	})
}

// failing reports whether the last thing that a channel did failed.
func failing(row *ent.Channel) bool {
	return row.LastErrorAt != nil && (row.LastOutboundAt == nil || row.LastErrorAt.After(*row.LastOutboundAt))
}

func healthNew(row *ent.Channel, text string) bool {
	if text == "" {
		return failing(row)
	}
	return !failing(row) || row.LastError == nil || *row.LastError != text
}

// idOf reads an id of telephony's; one of another kind names nothing.
func idOf(id voice.ID, kind gid.Kind) (gid.ID, error) {
	out, err := gid.Parse(string(id))
	if err != nil || out.Kind() != kind {
		return gid.ID{}, voice.ErrUnknown
	}
	return out, nil
}

// liveNodes are the processes that are believed to live; nil: that is not known, so every node counts.
func (d *Desk) liveNodes(ctx context.Context) ([]string, error) {
	if d.Cluster.Member == nil {
		return nil, nil
	}
	nodes, err := d.Cluster.Member.Live(ctx)
	if err != nil {
		return nil, fmt.Errorf("read live nodes: %w", err)
	}
	out := []string{d.Node} // which asks, so it lives
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
