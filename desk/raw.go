package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/rawinbound"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// rawInRow is how much of an event its row holds, in bytes; beyond that it lies in the blob store (MODEL 10).
const rawInRow = 256 << 10

// maxRaw bounds an event in the blob store, in bytes: a body of 1 MiB is larger as JSON and sealed.
const maxRaw = 8 << 20

// parcel is an event sealed for storage, in its row or beside it.
type parcel struct {
	id    gid.ID
	event channels.Inbound
	row   []byte
	blob  string
}

// files are the keys of what came beside the event and is no attachment: it goes when the event's row goes.
func (p parcel) files() []string {
	if p.event.Raw.Blob == "" {
		return nil
	}
	return []string{p.event.Raw.Blob}
}

func rawAD(id gid.ID) []byte { return []byte("raw_inbound.payload|" + id.UUID()) }

// pack seals an event. A large one is put into the blob store before the transaction that stores its row.
func (d *Desk) pack(ctx context.Context, e channels.Inbound) (parcel, error) {
	p := parcel{id: gid.Make(gid.RawInbound), event: e}
	plain, err := json.Marshal(e)
	if err != nil {
		return p, fmt.Errorf("encode event: %w", err)
	}
	if p.row, err = crypt.Current().Seal(plain, rawAD(p.id)); err != nil {
		return p, fmt.Errorf("seal event: %w", err)
	}
	if len(p.row) <= rawInRow {
		return p, nil
	}
	p.blob = "raw/" + p.id.String()
	if _, err := d.Blob.Put(ctx, p.blob, bytes.NewReader(p.row), maxRaw); err != nil {
		return p, fmt.Errorf("store large event: %w", err)
	}
	p.row = []byte{}
	return p, nil
}

// drop deletes what was put for an event that came to nothing: a repeat, or a failed transaction.
func (d *Desk) drop(ctx context.Context, p parcel) {
	keys := p.files()
	for _, ref := range p.event.Media() {
		keys = append(keys, ref.Blob)
	}
	d.deleteFiles(ctx, append(keys, p.blob)...)
}

func (d *Desk) deleteFiles(ctx context.Context, keys ...string) {
	for _, key := range keys {
		if key == "" {
			continue
		}
		if err := d.Blob.Delete(context.WithoutCancel(ctx), key); err != nil {
			d.Log.WarnContext(ctx, "delete stored event", "key", key, "error", err)
		}
	}
}

// unpack reads a stored event.
func (d *Desk) unpack(ctx context.Context, raw *ent.RawInbound) (in channels.Inbound, err error) {
	sealed := raw.Payload
	if raw.BlobKey != "" {
		f, _, err := d.Blob.Get(ctx, raw.BlobKey)
		if err != nil {
			return in, fmt.Errorf("open stored event: %w", err)
		}
		defer func() { _ = f.Close() }()
		if sealed, err = io.ReadAll(io.LimitReader(f, maxRaw+1)); err != nil {
			return in, fmt.Errorf("read stored event: %w", err)
		}
	}
	plain, err := crypt.Current().Unseal(sealed, rawAD(raw.ID))
	if err != nil {
		return in, fmt.Errorf("unseal event: %w", err)
	}
	if err := json.Unmarshal(plain, &in); err != nil {
		return in, fmt.Errorf("decode event: %w", err)
	}
	return in, nil
}

// SweepRaw deletes stored events that were taken in or given up so long ago.
func (d *Desk) SweepRaw(ctx context.Context, older time.Duration) error {
	const old = "state IN ('DONE', 'DISCARDED') AND received_at < $1"
	before, global := d.now().Add(-older), within(viewer.Global(ctx))
	large, err := d.db.RawInbound.Query().Where(rawinbound.StateIn(rawinbound.StateDONE, rawinbound.StateDISCARDED),
		rawinbound.ReceivedAtLT(before), rawinbound.Or(rawinbound.BlobKeyNEQ(""), rawinbound.FilesNotNil())).Limit(500).
		Select(rawinbound.FieldID, rawinbound.FieldBlobKey, rawinbound.FieldFiles).All(global)
	if err != nil {
		return fmt.Errorf("read large stored events: %w", err)
	}
	for _, r := range large { // the row goes first: a file without a row is waste, a row without its file a lie
		if _, err := d.db.RawInbound.Delete().Where(rawinbound.ID(r.ID)).Exec(global); err != nil {
			return fmt.Errorf("prune stored events: %w", err)
		}
		d.deleteFiles(ctx, append(r.Files, r.BlobKey)...)
	}
	if _, err := d.Store.Delete(ctx, rawinbound.Table, old+" AND blob_key = '' AND files IS NULL", before); err != nil {
		return fmt.Errorf("prune stored events: %w", err)
	}
	return nil
}
