package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/channel"
	"tributary/ent/pull"
	"tributary/internal/blob"
	"tributary/internal/bus"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/store"
	"tributary/internal/viewer"
)

// Channels that are fetched from: one node at a time reads a stream, and what it read is stored together with the place
// it read up to. A crash before that repeats the batch, and the unique (channel, external id) removes it.

// Times of fetching.
const (
	// PullLease is how long a crashed node's streams wait.
	PullLease = 5 * time.Second
	pullPoll  = 2 * time.Minute // the net beneath a watching connection, which a server may drop in silence
	pullBlind = 30 * time.Second
	pullFirst = time.Second // the first pause after a failure, doubled up to pullLast
	pullLast  = 5 * time.Minute
	// pullTime bounds one fetch: a whole large mail over a slow line.
	pullTime = 10 * time.Minute
)

// errNotOurs says that another node fetches the stream now.
var errNotOurs = errors.New("another node fetches this stream")

// listPulls brings the rows of a channel's streams after its settings, in the transaction that changes them.
func (w *work) listPulls(ctx context.Context, ch *ent.Channel) error {
	o, err := w.openUnshared(ch)
	if err != nil { // its settings do not work yet: there is nothing to fetch
		o = nil
	}
	streams := streamsOf(o)
	if o != nil {
		defer func() { _ = o.channel.Close() }()
	}
	rows, err := w.tx.Pull.Query().Where(pull.ChannelID(ch.ID)).All(ctx)
	if err != nil {
		return fmt.Errorf("read pulls: %w", err)
	}
	known := map[string]*ent.Pull{}
	for _, r := range rows {
		known[r.Stream] = r
	}
	for _, s := range streams {
		r := known[s]
		delete(known, s)
		switch {
		case r == nil:
			err = w.tx.Pull.Create().SetChannelID(ch.ID).SetStream(s).SetActive(ch.Enabled).Exec(ctx)
		case r.Active != ch.Enabled:
			err = w.switchPull(ctx, r, ch.Enabled)
		}
		if err != nil {
			return fmt.Errorf("save pull: %w", err)
		}
	}
	for _, r := range known { // kept with its place: the setting may come back
		if err := w.switchPull(ctx, r, false); err != nil {
			return fmt.Errorf("save pull: %w", err)
		}
	}
	if len(rows)+len(streams) > 0 {
		store.Announce(ctx, bus.Note{Topic: bus.Pulls, Workspace: ch.WorkspaceID})
	}
	return nil
}

// switchPull lets a stream be fetched, or takes it from whoever fetches it: what he reads from now on is not stored.
func (w *work) switchPull(ctx context.Context, r *ent.Pull, on bool) error {
	return w.tx.Pull.UpdateOneID(r.ID).SetActive(on).SetHolder("").SetWatching(false).SetExpiresAt(time.Unix(0, 0).UTC()).Exec(ctx)
}

// streamsOf are what is fetched from an opened channel.
func streamsOf(o *opened) []string {
	if o == nil {
		return nil
	}
	if _, ok := o.channel.(channels.Fetcher); !ok {
		return nil
	}
	if s, ok := o.channel.(channels.Streamer); ok {
		return s.Streams()
	}
	return []string{""}
}

// PullNow reads a stream until there is no more.
func (d *Desk) PullNow(ctx context.Context, h store.Held) error {
	ctx = within(viewer.System(ctx, h.Workspace))
	for ctx.Err() == nil {
		more, err := d.pullBatch(ctx, h)
		if err != nil || !more {
			return err
		}
	}
	return ctx.Err()
}

func (d *Desk) pullBatch(ctx context.Context, h store.Held) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, pullTime)
	defer cancel()
	ch, f, err := d.fetcher(ctx, h)
	if err != nil {
		return false, err
	}
	row, err := d.db.Pull.Query().Where(pull.ID(h.ID)).Only(ctx)
	if err != nil {
		return false, fmt.Errorf("read pull: %w", err)
	}
	after := channels.Cursor{Stream: h.Stream}
	if row.Position != nil {
		after.Position = *row.Position
	}
	noting, noted := blob.Noting(ctx)
	batch, err := f.Fetch(noting, after)
	d.dropUntold(ctx, noted, batch.Events)
	if err != nil {
		return false, err
	}
	err = d.storeWith(ctx, ch, batch.Events, func(ctx context.Context, w *work) error {
		n, err := h.Fenced(w.tx.Pull.Update(), d.Node).SetPosition(batch.Next.Position).SetFetchedAt(w.at).ClearError().ClearErrorAt().Save(ctx)
		if err != nil {
			return fmt.Errorf("save position: %w", err)
		}
		if n == 0 {
			return errNotOurs
		}
		if row.ErrorAt != nil {
			w.emit(fact{typ: ChannelHealthChanged, subject: ch.ID, version: ch.Version, changed: []string{"health"}})
		}
		return nil
	})
	// A kind that promises more and gives nothing would be asked for ever.
	stuck := len(batch.Events) == 0 && bytes.Equal(batch.Next.Position, after.Position)
	return batch.More && !stuck, err
}

// dropUntold deletes files that a fetch put and no event of its batch names: those of a mail that broke off. It is fetched
// again, and its files are put again.
func (d *Desk) dropUntold(ctx context.Context, noted *blob.Noted, events []channels.Inbound) {
	keys := noted.Keys()
	for _, e := range events {
		told := parcel{event: e}.files()
		keys = slices.DeleteFunc(keys, func(k string) bool { return slices.Contains(told, k) })
	}
	d.deleteFiles(ctx, keys...)
}

func (d *Desk) fetcher(ctx context.Context, h store.Held) (*ent.Channel, channels.Fetcher, error) {
	ch, err := d.db.Channel.Query().Where(channel.ID(h.Channel)).Only(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read channel: %w", err)
	}
	if !ch.Enabled {
		return nil, nil, errNotOurs
	}
	o, err := d.runningChannel(ctx, ch)
	if err != nil {
		return nil, nil, channels.ConfigError(err)
	}
	f, ok := o.channel.(channels.Fetcher)
	if !ok {
		return nil, nil, errNotOurs
	}
	return ch, f, nil
}

// watch holds the kind's watching connection, if it has one, and calls wake. It returns when that breaks; false says that
// the kind cannot watch.
func (d *Desk) watch(ctx context.Context, h store.Held, wake func()) (bool, error) {
	ctx = within(viewer.System(ctx, h.Workspace))
	_, f, err := d.fetcher(ctx, h)
	if err != nil {
		return true, err
	}
	watcher, ok := f.(channels.Watcher)
	if !ok {
		return false, nil
	}
	return true, watcher.Watch(ctx, h.Stream, wake)
}

// pullFailed shows a failure to fetch in the stream's and the channel's health, told once until it works again.
func (d *Desk) pullFailed(ctx context.Context, h store.Held, cause error) error {
	ctx = within(viewer.System(ctx, h.Workspace))
	why := deliveryError(cause)
	text := reason(cause, "the provider cannot be read")
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		row, err := w.tx.Pull.Query().Where(pull.ID(h.ID), pull.Epoch(h.Epoch)).WithChannel().Only(ctx)
		if ent.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read pull: %w", err)
		}
		text := clean.Line(text, 500)
		if why.ProviderCode != "" {
			text += " (" + why.ProviderCode + ")"
		}
		if _, err := h.Fenced(w.tx.Pull.Update(), d.Node).SetError(text).SetErrorAt(w.at).Save(ctx); err != nil {
			return fmt.Errorf("save failure: %w", err)
		}
		if row.ErrorAt == nil {
			w.emit(fact{typ: ChannelHealthChanged, subject: h.Channel, version: row.Edges.Channel.Version, changed: []string{"health"}})
		}
		return nil
	})
}

// setWatching notes whether a connection is held.
func (d *Desk) setWatching(ctx context.Context, h store.Held, on bool) error {
	_, err := h.Fenced(d.db.Pull.Update(), d.Node).SetWatching(on).Save(within(viewer.System(ctx, h.Workspace)))
	return err
}

// activePulls counts the streams that somebody should fetch, of all workspaces.
func (d *Desk) activePulls(ctx context.Context) (int, error) {
	n, err := d.db.Pull.Query().Where(pull.Active(true)).Count(within(viewer.Global(ctx)))
	if err != nil {
		return 0, fmt.Errorf("count streams: %w", err)
	}
	return n, nil
}

// Pulls of all channels of the workspace that are fetched from, by channel, in one statement.
func (d *Desk) Pulls(ctx context.Context) (map[gid.ID][]*ent.Pull, error) {
	if err := need(ctx, viewer.ConversationRead); err != nil {
		return nil, err
	}
	rows, err := d.db.Pull.Query().Order(ent.Asc(pull.FieldStream)).All(within(ctx))
	if err != nil {
		return nil, fmt.Errorf("read pulls: %w", err)
	}
	out := map[gid.ID][]*ent.Pull{}
	for _, r := range rows {
		out[r.ChannelID] = append(out[r.ChannelID], r)
	}
	return out, nil
}

// PulledBy is the node that fetches a stream now, empty while nobody does.
func (d *Desk) PulledBy(p *ent.Pull) string {
	if p.ExpiresAt.Before(d.now()) {
		return ""
	}
	return p.Holder
}
