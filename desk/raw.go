package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/ent/rawinbound"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// rawInRow is how much of an event its row holds, in bytes; beyond that it lies in the blob store (MODEL 10).
const rawInRow = 256 << 10

// maxRaw bounds an event in the blob store, in bytes. The largest that a kind gives (a mail's text, its HTML and what it
// quotes, a MiB each) is larger as JSON and sealed.
const maxRaw = 32 << 20

// parcel is an event sealed for storage, in its row or beside it.
type parcel struct {
	id    gid.ID
	event channels.Inbound
	row   []byte
	blob  string
}

// files are the keys of what came beside the event. What becomes no attachment goes when the event's row goes.
func (p parcel) files() (keys []string) {
	if p.event.Raw.Blob != "" {
		keys = append(keys, p.event.Raw.Blob)
	}
	for _, ref := range p.event.Media() {
		if ref.Blob != "" {
			keys = append(keys, ref.Blob)
		}
	}
	return keys
}

func rawAD(id gid.ID) []byte { return []byte("raw_inbound.payload|" + id.UUID()) }

// pack seals an event. A large one is put into the blob store before the transaction that stores its row.
func (d *Desk) pack(ctx context.Context, e channels.Inbound) (parcel, error) {
	p := parcel{id: gid.Make(gid.RawInbound), event: e}
	plain, err := encode(e)
	if err != nil {
		return p, err
	}
	if len(plain) > maxRaw/2 { // no kind should give it; it must not keep away what comes behind it
		e.Parts, e.HTML, e.Quoted, e.Raw.Bytes = nil, "", "", nil
		e.Unreadable = "the message is too large to be shown"
		if plain, err = encode(e); err != nil {
			return p, err
		}
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

// encode writes an event's JSON; letters that HTML escapes stay as they are, or a page of them would grow sixfold.
func encode(e channels.Inbound) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode event: %w", err)
	}
	return b.Bytes(), nil
}

// drop deletes what was put for an event that came to nothing: a repeat, or a failed transaction.
func (d *Desk) drop(ctx context.Context, p parcel) {
	d.deleteFiles(ctx, append(p.files(), p.blob)...)
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

// SweepRaw deletes stored events that were taken in or given up so long ago, with what came beside them and is no
// attachment: the raw mail, files of a copy.
func (d *Desk) SweepRaw(ctx context.Context, older time.Duration) error {
	before, global := d.now().Add(-older), within(viewer.Global(ctx))
	for more := true; more && ctx.Err() == nil; {
		var err error
		if more, err = d.sweepLarge(global, before); err != nil {
			return err
		}
	}
	const old = "state IN ('DONE', 'DISCARDED') AND received_at < $1 AND blob_key = '' AND files IS NULL"
	if _, err := d.Store.Delete(ctx, rawinbound.Table, old, before); err != nil {
		return fmt.Errorf("prune stored events: %w", err)
	}
	return nil
}

// sweptAtOnce is how many events with files are deleted before the next look.
const sweptAtOnce = 200

func (d *Desk) sweepLarge(ctx context.Context, before time.Time) (more bool, err error) {
	large, err := d.db.RawInbound.Query().Where(rawinbound.StateIn(rawinbound.StateDONE, rawinbound.StateDISCARDED), rawinbound.ReceivedAtLT(before),
		rawinbound.Or(rawinbound.BlobKeyNEQ(""), rawinbound.FilesNotNil())).Limit(sweptAtOnce).
		Select(rawinbound.FieldID, rawinbound.FieldBlobKey, rawinbound.FieldFiles).All(ctx)
	if err != nil {
		return false, fmt.Errorf("read large stored events: %w", err)
	}
	for _, r := range large { // the row goes first: a file without a row is waste, a row without its file a lie
		var used []string
		if len(r.Files) > 0 {
			if err := d.db.Attachment.Query().Where(attachment.BlobKeyIn(r.Files...)).Select(attachment.FieldBlobKey).Scan(ctx, &used); err != nil {
				return false, fmt.Errorf("read which files are attached: %w", err)
			}
		}
		if _, err := d.db.RawInbound.Delete().Where(rawinbound.ID(r.ID)).Exec(ctx); err != nil {
			return false, fmt.Errorf("prune stored events: %w", err)
		}
		d.deleteFiles(ctx, append(slices.DeleteFunc(r.Files, func(k string) bool { return slices.Contains(used, k) }), r.BlobKey)...)
	}
	return len(large) == sweptAtOnce, nil
}
