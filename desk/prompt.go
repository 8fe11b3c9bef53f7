package desk

import (
	"context"
	"errors"
	"fmt"

	"entgo.io/ent/dialect/sql"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/ent/predicate"
	"tributary/ent/prompt"
	"tributary/ent/queue"
	"tributary/internal/blob"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

type (
	// PromptCreateInput makes a prompt.
	PromptCreateInput struct {
		Name         string
		AttachmentID gid.ID
	}
	// PromptUpdateInput changes a prompt.
	PromptUpdateInput struct {
		Name         *string
		AttachmentID *gid.ID
	}
)

const (
	maxPromptBytes   = 20 << 20
	maxPromptSeconds = 600
)

// Prompts of the workspace, by age.
func (d *Desk) Prompts(ctx context.Context) (*ent.PromptQuery, page.Order, error) {
	return d.db.Prompt.Query(), Age, need(ctx, viewer.RoutingRead)
}

// Prompt by id.
func (d *Desk) Prompt(ctx context.Context, id gid.ID) (*ent.PromptQuery, error) {
	return d.db.Prompt.Query().Where(prompt.ID(id)), need(ctx, viewer.RoutingRead)
}

// PromptURL is a signed address of a prompt's file: only a file that is here becomes a prompt.
func (d *Desk) PromptURL(p *ent.Prompt) string {
	return d.downloadURL(&ent.Attachment{ID: p.AttachmentID, State: attachment.StateREADY})
}

// soundOf finds how long the viewer's own uploaded file lasts. It reads the file's header from the store, so no
// transaction is open.
func (d *Desk) soundOf(ctx context.Context, id gid.ID) (float64, error) {
	field := []string{"input", "attachmentId"}
	a, err := d.db.Attachment.Query().Where(attachment.ID(id), attachment.CreatorID(viewer.From(ctx).Actor)).Only(within(ctx))
	if ent.IsNotFound(err) {
		return 0, notFound("file", field...)
	}
	if err != nil {
		return 0, fmt.Errorf("read attachment: %w", err)
	}
	switch {
	case a.State != attachment.StateREADY:
		return 0, refuse(WrongState, "the file is not put up yet", field...)
	case a.Bytes > maxPromptBytes:
		return 0, refuse(LimitReached, fmt.Sprintf("a prompt has at most %d MiB", maxPromptBytes>>20), field...)
	}
	f, info, err := d.Blob.Get(ctx, storedAt(a))
	if errors.Is(err, blob.ErrNotFound) {
		return 0, notFound("file", field...)
	}
	if err != nil {
		return 0, fmt.Errorf("open the sound: %w", err)
	}
	seconds, err := wavSeconds(f, info.Bytes)
	if err2 := f.Close(); err == nil && err2 != nil {
		err = fmt.Errorf("close the sound: %w", err2)
	}
	var why errSound
	switch {
	case errors.As(err, &why):
		return 0, refuse(Invalid, why.Error(), field...)
	case err != nil:
		return 0, err
	case seconds == 0:
		return 0, refuse(Invalid, "it has no samples", field...)
	case seconds > maxPromptSeconds:
		return 0, refuse(LimitReached, fmt.Sprintf("a prompt lasts at most %d minutes", maxPromptSeconds/60), field...)
	}
	return seconds, nil
}

// fileFree locks an uploaded file and refuses one that belongs to something already.
func (w *work) fileFree(ctx context.Context, id gid.ID) error {
	q := w.tx.Attachment.Query().Where(attachment.ID(id))
	if w.pg {
		q.ForUpdate()
	}
	a, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return notFound("file", "input", "attachmentId")
	}
	if err != nil {
		return fmt.Errorf("lock attachment: %w", err)
	}
	used := a.MessageID != nil
	if !used {
		if used, err = w.tx.Prompt.Query().Where(prompt.AttachmentID(id)).Exist(ctx); err != nil {
			return fmt.Errorf("read prompts: %w", err)
		}
	}
	if used {
		return refuse(InUse, "this file belongs to something already: put it up once more", "input", "attachmentId")
	}
	return nil
}

// CreatePrompt makes a prompt of a sound file that the caller put up.
func (d *Desk) CreatePrompt(ctx context.Context, in PromptCreateInput, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	name, err := checkName(in.Name, "input", "name")
	if err != nil {
		return gid.ID{}, err
	}
	seconds, unfit := d.soundOf(ctx, in.AttachmentID)
	return d.once(ctx, key, []any{"promptCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		if unfit != nil { // a repeat has had its effect, whatever became of the file
			return gid.ID{}, unfit
		}
		if there, err := w.tx.Prompt.Query().Where(prompt.Name(name)).Exist(ctx); err != nil || there {
			return gid.ID{}, orDuplicate(err, "a prompt of this name exists", "input", "name")
		}
		if err := w.fileFree(ctx, in.AttachmentID); err != nil {
			return gid.ID{}, err
		}
		p, err := w.tx.Prompt.Create().SetName(name).SetAttachmentID(in.AttachmentID).SetSeconds(seconds).SetCreatedAt(w.at).Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write prompt: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: p.ID, version: p.Version})
		return p.ID, nil
	})
}

// UpdatePrompt changes a prompt. A file that was replaced is deleted with the unused ones.
func (d *Desk) UpdatePrompt(ctx context.Context, id gid.ID, in PromptUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	var seconds float64
	var unfit error
	if in.AttachmentID != nil {
		seconds, unfit = d.soundOf(ctx, *in.AttachmentID)
	}
	return d.once(ctx, key, []any{"promptUpdate", id, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		p, err := w.lockPrompt(ctx, id, "id")
		if err != nil {
			return gid.ID{}, err
		}
		if err := firstError(fits(p.Version, ifVersion), unfit); err != nil {
			return id, err
		}
		u := w.tx.Prompt.UpdateOneID(id).Where(prompt.Version(p.Version)).AddVersion(1).SetUpdatedAt(w.at)
		if in.Name != nil {
			n, err := checkName(*in.Name, "input", "name")
			if err != nil {
				return id, err
			}
			if there, err := w.tx.Prompt.Query().Where(prompt.Name(n), prompt.IDNEQ(id)).Exist(ctx); err != nil || there {
				return id, orDuplicate(err, "a prompt of this name exists", "input", "name")
			}
			u.SetName(n)
		}
		if in.AttachmentID != nil && *in.AttachmentID != p.AttachmentID {
			if err := w.fileFree(ctx, *in.AttachmentID); err != nil {
				return id, err
			}
			u.SetAttachmentID(*in.AttachmentID).SetSeconds(seconds)
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return id, stale()
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("save prompt: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: n.Version})
		return id, nil
	})
}

// lockPrompt keeps whoever is about to name a prompt waiting until it is changed or deleted.
func (w *work) lockPrompt(ctx context.Context, id gid.ID, field ...string) (*ent.Prompt, error) {
	q := w.tx.Prompt.Query().Where(prompt.ID(id))
	if w.pg {
		q.ForUpdate()
	}
	p, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return nil, notFound("prompt", field...)
	}
	if err != nil {
		return nil, fmt.Errorf("lock prompt: %w", err)
	}
	return p, nil
}

// promptExists locks the prompt that a queue is to play.
func (w *work) promptExists(ctx context.Context, id *gid.ID) error {
	if id == nil {
		return nil
	}
	_, err := w.lockPrompt(ctx, *id, "input", "waitingPromptId")
	return err
}

// DeletePrompt deletes a prompt that no published flow and no queue plays. Its file goes with the unused ones.
func (d *Desk) DeletePrompt(ctx context.Context, id gid.ID, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"promptDelete", id, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		p, err := w.lockPrompt(ctx, id, "id")
		if err != nil {
			return gid.ID{}, err
		}
		if err := firstError(fits(p.Version, ifVersion), w.promptFree(ctx, id)); err != nil {
			return gid.ID{}, err
		}
		if err := w.tx.Prompt.DeleteOneID(id).Exec(ctx); err != nil {
			return gid.ID{}, fmt.Errorf("delete prompt: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: p.Version + 1, changed: []string{"deleted"}})
		return id, nil
	})
}

func (w *work) promptFree(ctx context.Context, id gid.ID) error {
	q, err := w.tx.Queue.Query().Where(queue.WaitingPromptID(id)).First(ctx)
	if err == nil {
		return inUse(fmt.Sprintf("who waits in the queue %q hears it", q.Name), q.ID)
	}
	if !ent.IsNotFound(err) {
		return fmt.Errorf("read queues: %w", err)
	}
	f, err := w.publishedUser(ctx, func(n voice.Node) bool { return n.Sound != nil && n.Sound.Name == id.String() })
	if err != nil {
		return err
	}
	if f != nil {
		return inUse(fmt.Sprintf("the published flow %q plays it", f.Name), f.ID)
	}
	return nil
}

// unprompted are the files that no prompt plays.
func unprompted() predicate.Attachment {
	return func(s *sql.Selector) {
		t := sql.Table(prompt.Table)
		s.Where(sql.NotIn(s.C(attachment.FieldID), sql.Select(t.C(prompt.FieldAttachmentID)).From(t)))
	}
}
