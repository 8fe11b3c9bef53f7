package desk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/ent/channel"
	"tributary/ent/message"
	"tributary/ent/recipient"
	"tributary/ent/schema"
	"tributary/internal/gid"
	"tributary/internal/jobs"
)

// deliver is the job that calls the provider. Before the call the message is SENDING in a transaction of its own, so
// that a crash in between is seen afterwards: then only a provider that drops doubles by our key is called again, one
// that can be asked is asked, and everything else is UNCERTAIN until a person decides (P3).
func (d *Desk) deliver(ctx context.Context, c *jobs.Claim) error {
	var args sendArgs
	if err := c.Decode(&args); err != nil {
		return jobs.Permanent(err)
	}
	ctx = within(ctx)
	m, err := d.db.Message.Query().Where(message.ID(args.Message)).WithInteraction().Only(ctx)
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	ch, err := d.db.Channel.Get(ctx, *m.ChannelID)
	if err != nil {
		return fmt.Errorf("read channel: %w", err)
	}
	if !ch.Enabled {
		return jobs.Snooze(10 * time.Second)
	}
	o, err := d.runningChannel(ctx, ch)
	if err != nil {
		return err
	}
	out, ok := o.channel.(channels.Sender)
	if !ok {
		return d.finish(ctx, c, m, message.DeliveryFAILED, &schema.DeliveryError{Code: "no_sender", Message: "this channel cannot send", Permanent: true}, channels.Receipt{})
	}
	switch m.Delivery {
	case message.DeliveryQUEUED:
	case message.DeliverySENDING:
		again, err := d.afterCrash(ctx, c, o, m)
		if err != nil || !again {
			return err
		}
	default: // settled meanwhile by a receipt or a person
		return nil
	}
	if m, err = d.markSending(ctx, c, m); err != nil {
		return err
	}
	letter, err := d.letter(ctx, m)
	if err != nil {
		return err
	}
	receipt, err := out.Send(ctx, letter)
	// What the provider did is noted even if our time is over: the context of the call is not that of the note.
	note, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	return d.outcome(note, c, o, ch, m, receipt, err)
}

// afterCrash decides what to do with a message whose call was begun and never noted. It says whether to send again.
func (d *Desk) afterCrash(ctx context.Context, c *jobs.Claim, o *opened, m *ent.Message) (again bool, err error) {
	if o.guarantee() == channels.IdempotencyKey {
		return true, nil
	}
	if q, ok := o.channel.(channels.DeliveryQuerier); ok && o.guarantee() == channels.IdempotencyQueryable {
		ans, err := q.Query(ctx, m.ID.String())
		switch {
		case err != nil:
			d.Log.WarnContext(ctx, "ask for delivery", "message", m.ID, "error", err)
		case ans.State == channels.DeliverySent:
			return false, d.finish(ctx, c, m, message.DeliverySENT, nil, channels.Receipt{ExternalID: ans.ExternalID})
		case ans.State == channels.DeliveryFailed:
			return false, d.finish(ctx, c, m, message.DeliveryFAILED, &schema.DeliveryError{Code: "provider_failed", Message: orText(ans.Reason, "the provider did not take it"), Permanent: true}, channels.Receipt{})
		}
		// Unknown may become known: ask again for a while before a person is asked.
		if asked := d.now().Sub(m.UpdatedAt); asked < queryFor {
			return false, jobs.Snooze(min(queryFor/12, 5*time.Second))
		}
	}
	return false, d.finish(ctx, c, m, message.DeliveryUNCERTAIN,
		&schema.DeliveryError{Code: "crash", Message: "sending was interrupted; the provider may have taken it"}, channels.Receipt{})
}

// queryFor is how long a provider that answers "unknown" is asked again.
const queryFor = time.Minute

// markSending commits that the provider is about to be called.
func (d *Desk) markSending(ctx context.Context, c *jobs.Claim, m *ent.Message) (*ent.Message, error) {
	var out *ent.Message
	err := d.do(ctx, nil, func(ctx context.Context, w *work) error {
		if err := c.Holds(ctx, w.tx); err != nil {
			return err
		}
		var err error
		out, err = w.delivered(ctx, m, message.DeliverySENDING, nil, func(u *ent.MessageUpdateOne) { u.AddSends(1) })
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Edges = m.Edges
	return out, nil
}

// keyOf is an identity as a kind knows it.
func keyOf(who *ent.Identity) channels.IdentityKey {
	key := channels.IdentityKey{Kind: who.Kind, Scope: who.Scope, Value: who.Value.Clear()}
	if who.ChannelID != nil {
		key.Scope = channels.ScopeChannel
	}
	return key
}

// letter is what the kind gets to send.
func (d *Desk) letter(ctx context.Context, m *ent.Message) (channels.Outbound, error) {
	out := channels.Outbound{ID: m.ID.String(), ThreadKey: m.Edges.Interaction.Thread.Clear(), Attempt: m.Sends}
	who, err := d.db.Identity.Get(ctx, *m.IdentityID)
	if err != nil {
		return out, fmt.Errorf("read identity: %w", err)
	}
	out.To = []channels.IdentityKey{keyOf(who)}
	if m.Text != nil && *m.Text != "" {
		out.Parts = append(out.Parts, channels.Part{Type: channels.PartText, Text: *m.Text})
	}
	files, err := d.db.Attachment.Query().Where(attachment.MessageID(m.ID)).Order(ent.Asc(attachment.FieldID)).All(ctx)
	if err != nil {
		return out, fmt.Errorf("read attachments: %w", err)
	}
	for _, f := range files {
		kind := mediaOfKind(f.Kind)
		ref := &channels.MediaRef{Kind: kind, Blob: storedAt(f), Name: f.Name, ContentType: f.ContentType, Size: f.Bytes, URL: d.downloadURL(f)}
		out.Parts = append(out.Parts, channels.Part{Type: partOfMedia(kind), Media: ref})
	}
	if err := d.addressLetter(ctx, m, &out); err != nil {
		return out, err
	}
	if m.InReplyToID != nil {
		if to, err := d.db.Message.Get(ctx, *m.InReplyToID); err == nil && to.ExternalID != nil {
			out.ReplyTo = *to.ExternalID
		}
	}
	return out, nil
}

// addressLetter fills in what kinds with recipients and references send along.
func (d *Desk) addressLetter(ctx context.Context, m *ent.Message, out *channels.Outbound) error {
	rows, err := d.db.Recipient.Query().Where(recipient.MessageID(m.ID)).Order(ent.Asc(recipient.FieldID)).WithIdentity().All(ctx)
	if err != nil {
		return fmt.Errorf("read recipients: %w", err)
	}
	if len(rows) == 0 {
		return nil
	}
	for _, r := range rows {
		a := channels.Address{IdentityKey: keyOf(r.Edges.Identity), Name: r.Name}
		if r.Role == recipient.RoleCC {
			out.Recipients.Cc = append(out.Recipients.Cc, a)
		} else {
			out.Recipients.To = append(out.Recipients.To, a)
		}
	}
	c, err := d.db.Conversation.Get(ctx, m.ConversationID)
	if err != nil {
		return fmt.Errorf("read conversation: %w", err)
	}
	out.Marks, out.At, out.References = marksOf(m, c.Number), m.CreatedAt, m.Refs
	if m.Subject != nil {
		out.Subject = *m.Subject
	}
	return nil
}

// outcome notes what the provider's answer means.
func (d *Desk) outcome(ctx context.Context, c *jobs.Claim, o *opened, ch *ent.Channel, m *ent.Message, r channels.Receipt, sendErr error) error {
	if sendErr == nil {
		err := d.finish(ctx, c, m, message.DeliverySENT, nil, r)
		if errors.Is(err, jobs.ErrLost) { // somebody else has the job, and nobody but us the provider's word
			return errors.Join(err, d.taken(ctx, m, r))
		}
		return err
	}
	why := deliveryError(sendErr)
	switch class := channels.ClassOf(sendErr); class {
	case channels.ClassRetry, channels.ClassThrottled, channels.ClassAuthExpired, channels.ClassBalance, channels.ClassAuthBroken, channels.ClassConfig:
		// Not taken, for sure: it waits in its place, and nothing behind it overtakes it.
		d.noteChannelError(ctx, ch, why)
		if err := d.back(ctx, c, m, why); err != nil {
			return err
		}
		if after := channels.RetryAfterOf(sendErr); after > 0 {
			return jobs.RetryAfter(sendErr, after)
		}
		return sendErr
	case channels.ClassUncertain:
		if g := o.guarantee(); g == channels.IdempotencyKey || g == channels.IdempotencyQueryable {
			// It stays SENDING: the next claim sends with the same key, or asks.
			return jobs.RetryAfter(sendErr, max(channels.RetryAfterOf(sendErr), time.Second))
		}
		return d.finish(ctx, c, m, message.DeliveryUNCERTAIN, why, channels.Receipt{})
	default:
		return d.finish(ctx, c, m, message.DeliveryFAILED, why, channels.Receipt{})
	}
}

// back returns a message that was certainly not taken to QUEUED.
func (d *Desk) back(ctx context.Context, c *jobs.Claim, m *ent.Message, why *schema.DeliveryError) error {
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		if err := c.Holds(ctx, w.tx); err != nil {
			return err
		}
		_, err := w.delivered(ctx, m, message.DeliveryQUEUED, why, nil)
		return ignoreRefusal(err)
	})
}

// finish notes the end of a delivery and of its job in one transaction. A receipt that came before the answer stands.
func (d *Desk) finish(ctx context.Context, c *jobs.Claim, m *ent.Message, to message.Delivery, why *schema.DeliveryError, r channels.Receipt) error {
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		now, err := w.tx.Message.Get(ctx, m.ID)
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		external := func(u *ent.MessageUpdateOne) {
			u.SetNillableExternalID(some(r.ExternalID)).SetNillableRefID(some(r.RefID))
		}
		switch {
		case rank[now.Delivery] < rank[to]:
			if _, err := w.delivered(ctx, now, to, why, external); err != nil {
				return err
			}
		case r != (channels.Receipt{}):
			u := w.tx.Message.UpdateOneID(m.ID)
			external(u)
			if err := u.Exec(ctx); err != nil {
				return fmt.Errorf("save message: %w", err)
			}
		}
		if to == message.DeliverySENT {
			if err := w.channelWorks(ctx, *m.ChannelID); err != nil {
				return err
			}
		}
		return c.Complete(ctx, w.tx)
	})
}

// taken notes that the provider has a message, whoever has its job by now: that is true, and settles an UNCERTAIN one.
func (d *Desk) taken(ctx context.Context, m *ent.Message, r channels.Receipt) error {
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		now, err := w.tx.Message.Get(ctx, m.ID)
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		if rank[now.Delivery] >= rank[message.DeliverySENT] {
			return nil
		}
		_, err = w.delivered(ctx, now, message.DeliverySENT, nil, func(u *ent.MessageUpdateOne) {
			u.SetNillableExternalID(some(r.ExternalID)).SetNillableRefID(some(r.RefID))
		})
		return ignoreRefusal(err)
	})
}

// channelWorks notes a good send, once a minute unless the channel was failing.
func (w *work) channelWorks(ctx context.Context, id gid.ID) error {
	ch, err := w.tx.Channel.Get(ctx, id)
	if err != nil {
		return fmt.Errorf("read channel: %w", err)
	}
	failing := ch.LastErrorAt != nil && (ch.LastOutboundAt == nil || ch.LastErrorAt.After(*ch.LastOutboundAt))
	if !failing && ch.LastOutboundAt != nil && w.at.Sub(*ch.LastOutboundAt) < time.Minute {
		return nil
	}
	if err := w.tx.Channel.Update().Where(channel.ID(id)).SetLastOutboundAt(w.at).SetUpdatedAt(ch.UpdatedAt).Exec(ctx); err != nil {
		return fmt.Errorf("touch channel: %w", err)
	}
	if failing {
		w.emit(fact{typ: ChannelHealthChanged, subject: id, version: ch.Version})
	}
	return nil
}

// noteChannelError shows a channel's failure in its health, told once until it works again.
func (d *Desk) noteChannelError(ctx context.Context, ch *ent.Channel, why *schema.DeliveryError) {
	err := d.do(ctx, nil, func(ctx context.Context, w *work) error {
		row, err := w.tx.Channel.Get(ctx, ch.ID)
		if err != nil {
			return err
		}
		was := row.LastErrorAt != nil && (row.LastOutboundAt == nil || row.LastErrorAt.After(*row.LastOutboundAt))
		err = w.tx.Channel.Update().Where(channel.ID(ch.ID)).SetLastError(why.Message).SetLastErrorAt(w.at).SetUpdatedAt(row.UpdatedAt).Exec(ctx)
		if err == nil && !was {
			w.emit(fact{typ: ChannelHealthChanged, subject: ch.ID, version: row.Version})
		}
		return err
	})
	if err != nil {
		d.Log.WarnContext(ctx, "note channel error", "channel", ch.ID, "error", err)
	}
}

func deliveryError(err error) *schema.DeliveryError {
	class := channels.ClassOf(err)
	out := &schema.DeliveryError{Code: string(class), Message: reason(err, "the provider did not take it")}
	var e *channels.Error
	if errors.As(err, &e) {
		out.ProviderCode = e.Code
	}
	if class == channels.ClassUncertain && (e == nil || e.Text == "") { // why it is so matters less than that it is
		out.Message = "the provider may have taken it"
	}
	switch class {
	case channels.ClassBlocked, channels.ClassInvalidRecipient, channels.ClassContentRejected, channels.ClassPermanent, channels.ClassWindowClosed, channels.ClassAttachmentExpired:
		out.Permanent = true
	}
	return out
}

// sendDead is called in the transaction that ends a send job for good: the message shows it.
func (d *Desk) sendDead(ctx context.Context, tx *ent.Tx, c *jobs.Claim, cause error) error {
	var args sendArgs
	if err := c.Decode(&args); err != nil {
		return nil //nolint:nilerr // arguments that cannot be read name no message
	}
	return d.inTx(ctx, tx, func(ctx context.Context, w *work) error {
		m, err := w.tx.Message.Get(ctx, args.Message)
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		w.emit(fact{typ: DeadLetterCreated, subject: c.ID, version: 1})
		to := message.DeliveryFAILED
		if m.Delivery == message.DeliverySENDING {
			to = message.DeliveryUNCERTAIN // it was being called when it was given up
		}
		if rank[m.Delivery] >= rank[to] {
			return nil
		}
		_, err = w.delivered(ctx, m, to, deliveryError(cause), nil)
		return err
	})
}

func ignoreRefusal(err error) error {
	if _, ok := RefusalOf(err); ok {
		return nil
	}
	return err
}
