package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/channel"
	"tributary/ent/identity"
	"tributary/ent/rawinbound"
	"tributary/internal/blob"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/viewer"
)

// The kinds of jobs.
const (
	jobIngest      = "ingest"
	jobSend        = "send"
	jobFetch       = "media.fetch"
	jobOfferExpire = "offer.expire"
	jobPause       = "interaction.pause"
	jobSilent      = "interaction.silent"
	jobWrapUp      = "interaction.wrap_up"
	jobDismiss     = "agent.dismiss"
	jobWake        = "conversation.wake"
	jobQueueMoved  = "queue.moved"
)

// ErrNoHook is the answer to an address that is none, or whose secret is wrong: both look the same.
var ErrNoHook = errors.New("there is no such address")

// ErrChannelPaused is the answer while a channel is switched off: the provider repeats later.
var ErrChannelPaused = errors.New("the channel is switched off")

type ingestArgs struct {
	Raw gid.ID `json:"raw"`
}

// Receive takes a provider's request: verified and decoded by the kind, stored and committed before it is answered. No
// business happens here; a job does the rest (P1: what we acknowledged is never lost).
func (d *Desk) Receive(ctx context.Context, kind string, channelID gid.ID, secret string, r *channels.Request) (channels.Answer, int, error) {
	ctx = within(viewer.Global(ctx))
	row, err := d.db.Channel.Query().Where(channel.ID(channelID), channel.Kind(kind)).Only(ctx)
	if ent.IsNotFound(err) {
		return channels.Answer{}, 0, ErrNoHook
	}
	if err != nil {
		return channels.Answer{}, 0, fmt.Errorf("find channel: %w", err)
	}
	if !d.hookSecretFits(row, secret) {
		return channels.Answer{}, 0, ErrNoHook
	}
	if !row.Enabled {
		return channels.Answer{}, 0, ErrChannelPaused
	}
	o, err := d.runningChannel(ctx, row)
	if err != nil {
		return channels.Answer{}, 0, err
	}
	rec, ok := o.channel.(channels.Receiver)
	if !ok {
		return channels.Answer{}, 0, ErrNoHook
	}
	got, err := rec.Receive(ctx, r)
	if err != nil {
		return channels.Answer{}, 0, err
	}
	ctx = within(viewer.System(ctx, row.WorkspaceID))
	if err := d.store(ctx, row, got.Events); err != nil {
		return channels.Answer{}, 0, err
	}
	return got.Answer, len(got.Events), nil
}

// store writes the events that are new, each with its job, in one transaction. A repeat is no second message: the unique
// (channel, external id) decides, not a look before.
func (d *Desk) store(ctx context.Context, ch *ent.Channel, events []channels.Inbound) error {
	if len(events) == 0 {
		return nil
	}
	return d.storeWith(ctx, ch, events, nil)
}

// storeWith is store with something that is stored in the same transaction.
func (d *Desk) storeWith(ctx context.Context, ch *ent.Channel, events []channels.Inbound, more func(context.Context, *work) error) error {
	ids, parcels := make([]string, len(events)), make([]parcel, len(events))
	fresh, err := map[gid.ID]bool{}, error(nil)
	defer func() { d.dropUnstored(ctx, parcels, fresh, err) }()
	for n, e := range events {
		ids[n], parcels[n] = e.ExternalID, parcel{event: e}
	}
	for n, e := range events {
		if parcels[n], err = d.pack(ctx, e); err != nil {
			return err
		}
	}
	err = d.do(ctx, nil, func(ctx context.Context, w *work) error {
		clear(fresh)
		if more != nil {
			if err := more(ctx, w); err != nil {
				return err
			}
		}
		if len(events) == 0 {
			return nil
		}
		var known []string
		err := w.tx.RawInbound.Query().Where(rawinbound.ChannelID(ch.ID), rawinbound.ExternalIDIn(ids...)).Select(rawinbound.FieldExternalID).Scan(ctx, &known)
		if err != nil {
			return fmt.Errorf("find repeats: %w", err)
		}
		seen := map[string]bool{}
		for _, id := range known {
			seen[id] = true
		}
		for _, p := range parcels {
			if seen[p.event.ExternalID] {
				continue
			}
			seen[p.event.ExternalID], fresh[p.id] = true, true
			if err := w.storeOne(ctx, ch, p); err != nil {
				return err
			}
		}
		return w.touchChannel(ctx, ch)
	})
	return err
}

// dropUnstored deletes what was put for events that are not stored. A commit whose answer was lost may have stored them:
// then their rows say so, and where nobody can tell, waste is better than loss.
func (d *Desk) dropUnstored(ctx context.Context, parcels []parcel, fresh map[gid.ID]bool, failed error) {
	stored := fresh
	if failed != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		ids := make([]gid.ID, len(parcels))
		for n, p := range parcels {
			ids[n] = p.id
		}
		there, err := d.db.RawInbound.Query().Where(rawinbound.IDIn(ids...)).IDs(ctx)
		if err != nil {
			d.Log.WarnContext(ctx, "keep files of events that may be stored", "error", err)
			return
		}
		stored = map[gid.ID]bool{}
		for _, id := range there {
			stored[id] = true
		}
	}
	for _, p := range parcels {
		if !stored[p.id] {
			d.drop(ctx, p)
		}
	}
}

// touchChannel notes that something came in, once a minute: the row is shared by all that comes in.
func (w *work) touchChannel(ctx context.Context, ch *ent.Channel) error {
	if ch.LastInboundAt != nil && w.at.Sub(*ch.LastInboundAt) < time.Minute {
		return nil
	}
	err := w.tx.Channel.Update().Where(channel.ID(ch.ID)).SetLastInboundAt(w.at).SetUpdatedAt(ch.UpdatedAt).Exec(ctx)
	if err != nil {
		return fmt.Errorf("touch channel: %w", err)
	}
	return nil
}

func (w *work) storeOne(ctx context.Context, ch *ent.Channel, p parcel) error {
	row := w.tx.RawInbound.Create().SetID(p.id).SetChannelID(ch.ID).SetExternalID(p.event.ExternalID).SetKind(string(p.event.Kind)).
		SetPayload(p.row).SetBlobKey(p.blob).SetReceivedAt(w.at)
	if keys := p.files(); len(keys) > 0 { // an empty list would be no NULL
		row.SetFiles(keys)
	}
	if err := row.Exec(ctx); err != nil {
		return fmt.Errorf("store event: %w", err)
	}
	_, _, err := jobs.Enqueue(ctx, w.tx, jobs.New{
		Kind: jobIngest, Group: ingestGroup(ch, p.event), Unique: p.id.String(), Args: ingestArgs{p.id}, Subject: p.id, Channel: ch.ID,
	})
	return err
}

// ingestGroup orders what one external user sends on a channel; the key is blind, for job rows are plain.
func ingestGroup(ch *ent.Channel, e channels.Inbound) string {
	by := e.ThreadKey
	if len(e.Sender) > 0 {
		by = e.Sender[0].Kind + "|" + e.Sender[0].Value
	}
	if by == "" {
		return "in|" + ch.ID.String()
	}
	return "in|" + ch.ID.String() + "|" + crypt.Current().Blind([16]byte(ch.WorkspaceID), "ingest", by)
}

// ingest is the job that makes a stored event ours. Its effect and its end are one transaction.
func (d *Desk) ingest(ctx context.Context, c *jobs.Claim) error {
	var args ingestArgs
	if err := c.Decode(&args); err != nil {
		return jobs.Permanent(err)
	}
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		raw, err := w.tx.RawInbound.Query().Where(rawinbound.ID(args.Raw)).WithChannel().Only(ctx)
		if err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		in, err := d.unpack(ctx, raw)
		if err != nil {
			return err
		}
		files, err := d.filesOf(ctx, in)
		if err != nil {
			return err
		}
		u := w.tx.RawInbound.UpdateOneID(raw.ID).SetState(rawinbound.StateDONE).SetDoneAt(w.at)
		m, err := w.takeIn(ctx, raw.Edges.Channel, in, files)
		if err != nil {
			return err
		}
		if m != nil {
			u.SetMessageID(m.ID)
		}
		if err := u.Exec(ctx); err != nil {
			return fmt.Errorf("end event: %w", err)
		}
		return c.Complete(ctx, w.tx)
	})
}

// takeIn does what an event asks for; what the desk does not know stays stored and harms nothing.
func (w *work) takeIn(ctx context.Context, ch *ent.Channel, in channels.Inbound, files map[string]blob.Info) (*ent.Message, error) {
	switch in.Kind {
	case channels.InboundMessage, channels.InboundMenu:
		return w.takeMessage(ctx, ch, in, files)
	case channels.InboundDelivery, channels.InboundRead:
		return w.receipt(ctx, ch, in)
	case channels.InboundEdit, channels.InboundRecall:
		return w.amend(ctx, ch, in)
	}
	return nil, nil
}

func (w *work) takeMessage(ctx context.Context, ch *ent.Channel, in channels.Inbound, files map[string]blob.Info) (*ent.Message, error) {
	if m, err := w.copyOf(ctx, ch, in); err != nil || m != nil {
		if err != nil {
			return nil, err
		}
		return w.copied(ctx, m, ch, in)
	}
	if in.ThreadKey == "" {
		return nil, jobs.Permanent(errors.New("the event names no thread"))
	}
	th, err := w.threadOf(ctx, ch, in)
	if err != nil {
		return nil, err
	}
	in, proved, err := w.vouched(ctx, ch, in)
	if err != nil {
		return nil, err
	}
	who, err := w.sender(ctx, ch, in)
	if err != nil { // a database that is away is no fault of the event: only sender knows what is
		return nil, err
	}
	m, err := w.arrive(ctx, arrival{channel: ch, identity: who, in: in, live: w.alwaysLive(ctx, ch), thread: th, files: files})
	if err != nil {
		return nil, err
	}
	if proved != nil { // after the conversation's lock, as every change of an identity
		if err := w.tx.Identity.Update().Where(identity.ID(*proved), identity.VerificationEQ(identity.VerificationCLAIMED)).SetVerification(identity.VerificationCHANNEL_PROVED).Exec(ctx); err != nil {
			return nil, fmt.Errorf("raise identity: %w", err)
		}
	}
	if in.SameID != "" {
		if _, err := w.arrived(ctx, m, ch, in); err != nil {
			return nil, err
		}
	}
	return m, w.remember(ctx, m, in)
}

// filesOf describes what came with an event and lies in the file store.
func (d *Desk) filesOf(ctx context.Context, in channels.Inbound) (map[string]blob.Info, error) {
	var out map[string]blob.Info
	for _, ref := range in.Media() {
		if ref.Blob == "" {
			continue
		}
		info, err := d.Blob.Stat(ctx, ref.Blob)
		if errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrDamaged) {
			continue // shown as missing: a lost file must not keep the message away
		}
		if err != nil {
			return nil, fmt.Errorf("look at a file of the event: %w", err)
		}
		if out == nil {
			out = map[string]blob.Info{}
		}
		out[ref.Blob] = info
	}
	return out, nil
}

func (w *work) alwaysLive(ctx context.Context, ch *ent.Channel) bool {
	o, err := w.runningChannel(ctx, ch)
	return err == nil && o.liveness() == channels.Live
}
