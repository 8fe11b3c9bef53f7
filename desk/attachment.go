package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/attachment"
	"tributary/internal/blob"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/jobs"
	"tributary/internal/viewer"
)

const (
	// MaxUpload is the largest file, in bytes.
	MaxUpload  = 25 << 20
	uploadLife = 15 * time.Minute // of a signed address
	linkLife   = 5 * time.Minute
	unusedLife = time.Hour // a file that belongs to no message and no prompt

	fetchTimeout = 2 * time.Minute
	// sendTimeout is for the slowest kind: a mail server may take ten minutes for its last word (RFC 5321, 4.5.3.2.6). Kinds
	// bound their own calls.
	sendTimeout = 12 * time.Minute
)

// Upload is where to put an announced file.
type Upload struct {
	Attachment gid.ID
	URL        string
	ExpiresAt  time.Time
}

type fetchArgs struct {
	Attachment gid.ID `json:"attachment"`
}

// blobKey is where the bytes of an upload or a fetched file lie; it is also what a link to any file signs.
func blobKey(id gid.ID) string { return "att/" + id.String() }

// storedAt is where an attachment's bytes lie.
func storedAt(a *ent.Attachment) string {
	if a.BlobKey != "" {
		return a.BlobKey
	}
	return blobKey(a.ID)
}

// CreateUpload announces an agent's or app's file.
func (d *Desk) CreateUpload(ctx context.Context, in UploadInput, key *string) (Upload, error) {
	if err := need(ctx, viewer.ConversationWrite); err != nil {
		return Upload{}, err
	}
	return d.announce(ctx, in, key, viewer.From(ctx).Actor)
}

func (d *Desk) announce(ctx context.Context, in UploadInput, key *string, creator gid.ID) (Upload, error) {
	switch {
	case in.Bytes < 1:
		return Upload{}, refuse(Invalid, "a file has at least one byte", "input", "bytes")
	case in.Bytes > MaxUpload:
		return Upload{}, refuse(LimitReached, fmt.Sprintf("a file has at most %d bytes", MaxUpload), "input", "bytes")
	case in.Sha256 != nil && (len(*in.Sha256) != 64 || strings.Trim(strings.ToLower(*in.Sha256), "0123456789abcdef") != ""):
		return Upload{}, refuse(Invalid, "a SHA-256 has 64 hex digits", "input", "sha256")
	}
	id, err := d.once(ctx, key, []any{"uploadCreate", in}, func(ctx context.Context, w *work) (gid.ID, error) {
		row := w.tx.Attachment.Create().SetCreatorID(creator).SetName(clean.FileName(in.Name)).SetKind(kindOfType(in.ContentType)).SetBytes(in.Bytes).SetCreatedAt(w.at)
		if in.Sha256 != nil {
			row.SetSha256(strings.ToLower(*in.Sha256))
		}
		a, err := row.Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write attachment: %w", err)
		}
		return a.ID, nil
	})
	if err != nil {
		return Upload{}, err
	}
	until := d.now().Add(uploadLife)
	q := d.Links.Sign("PUT", blobKey(id), until, in.Bytes)
	return Upload{Attachment: id, URL: d.PublicURL + "/files/" + id.String() + "?" + q.Encode(), ExpiresAt: until}, nil
}

// TakeUpload stores an announced file's bytes: exactly as many as announced, with the announced hash if there was one.
// Its type is what its content says.
func (d *Desk) TakeUpload(ctx context.Context, id gid.ID, r io.Reader) error {
	global := within(viewer.Global(ctx))
	a, err := d.db.Attachment.Query().Where(attachment.ID(id)).Only(global)
	if ent.IsNotFound(err) {
		return notFound("file")
	}
	if err != nil {
		return fmt.Errorf("read attachment: %w", err)
	}
	if a.State != attachment.StateEXPECTED {
		return refuse(WrongState, "the file is here already")
	}
	info, err := d.Blob.Put(ctx, blobKey(id), r, a.Bytes)
	if errors.Is(err, blob.ErrTooLarge) {
		return refuse(TooLong, fmt.Sprintf("the file has more than the announced %d bytes", a.Bytes))
	}
	if err != nil {
		return fmt.Errorf("store file: %w", err)
	}
	if info.Bytes != a.Bytes || a.Sha256 != "" && a.Sha256 != info.SHA256 {
		if err := d.Blob.Delete(ctx, blobKey(id)); err != nil {
			d.Log.WarnContext(ctx, "delete refused file", "attachment", id, "error", err)
		}
		return refuse(Invalid, "the file is not the announced one: its size or hash differs")
	}
	return d.do(viewer.System(ctx, a.WorkspaceID), nil, func(ctx context.Context, w *work) error {
		return w.tx.Attachment.UpdateOneID(id).SetState(attachment.StateREADY).SetContentType(info.ContentType).SetKind(kindOfType(info.ContentType)).SetSha256(info.SHA256).Exec(ctx)
	})
}

// downloadURL is a signed address of a file, empty until it can be had.
func (d *Desk) downloadURL(a *ent.Attachment) string {
	if a.State != attachment.StateREADY {
		return ""
	}
	return d.PublicURL + "/files/" + a.ID.String() + "?" + d.Links.Sign("GET", blobKey(a.ID), d.now().Add(linkLife), 0).Encode()
}

// DownloadURL is a signed address of a file, nil until it can be had.
func (d *Desk) DownloadURL(a *ent.Attachment) *string {
	if u := d.downloadURL(a); u != "" {
		return &u
	}
	return nil
}

// CheckLink reports whether a signed address is ours and still good, and how many bytes it admits.
func (d *Desk) CheckLink(method string, id gid.ID, q map[string][]string) (int64, error) {
	return d.Links.Verify(method, blobKey(id), q)
}

// OpenFile opens a file whose address was checked.
func (d *Desk) OpenFile(ctx context.Context, id gid.ID) (io.ReadSeekCloser, blob.Info, string, error) {
	if id.Kind() == gid.Recording {
		return d.openRecording(ctx, id)
	}
	a, err := d.db.Attachment.Query().Where(attachment.ID(id), attachment.StateEQ(attachment.StateREADY)).Only(within(viewer.Global(ctx)))
	if ent.IsNotFound(err) {
		return nil, blob.Info{}, "", notFound("file")
	}
	if err != nil {
		return nil, blob.Info{}, "", fmt.Errorf("read attachment: %w", err)
	}
	f, info, err := d.Blob.Get(ctx, storedAt(a))
	return f, info, a.Name, err
}

func (w *work) enqueueFetch(ctx context.Context, f *ent.Attachment, channelID gid.ID) error {
	_, _, err := jobs.Enqueue(ctx, w.tx, jobs.New{Kind: jobFetch, Unique: f.ID.String(), Args: fetchArgs{f.ID}, Subject: f.ID, Channel: channelID})
	return err
}

// fetchMedia is the job that brings a provider's file into the store, never inside a webhook.
func (d *Desk) fetchMedia(ctx context.Context, c *jobs.Claim) error {
	var args fetchArgs
	if err := c.Decode(&args); err != nil {
		return jobs.Permanent(err)
	}
	ctx = within(ctx)
	a, err := d.db.Attachment.Query().Where(attachment.ID(args.Attachment)).WithMessage().Only(ctx)
	if err != nil {
		return fmt.Errorf("read attachment: %w", err)
	}
	if a.State == attachment.StateREADY { // FAILED comes back only when a person asks for it again
		return nil
	}
	ch, err := d.db.Channel.Get(ctx, c.Channel)
	if err != nil {
		return fmt.Errorf("read channel: %w", err)
	}
	o, err := d.runningChannel(ctx, ch)
	if err != nil {
		return err
	}
	f, ok := o.channel.(channels.MediaFetcher)
	if !ok {
		return jobs.Permanent(errors.New("this channel cannot fetch files"))
	}
	info, err := d.pull(ctx, f, a)
	if err != nil {
		return err
	}
	return d.do(ctx, nil, func(ctx context.Context, w *work) error {
		err := w.tx.Attachment.UpdateOneID(a.ID).SetState(attachment.StateREADY).SetContentType(info.ContentType).SetKind(kindOfType(info.ContentType)).
			SetBytes(info.Bytes).SetSha256(info.SHA256).ClearError().Exec(ctx)
		if err != nil {
			return fmt.Errorf("save attachment: %w", err)
		}
		if err := w.attachmentTold(ctx, a); err != nil {
			return err
		}
		return c.Complete(ctx, w.tx)
	})
}

// pull streams a provider's file into the store: no more than a buffer of it is ever in memory.
func (d *Desk) pull(ctx context.Context, f channels.MediaFetcher, a *ent.Attachment) (blob.Info, error) {
	var ref channels.MediaRef
	b, err := json.Marshal(a.Media)
	if err == nil {
		err = json.Unmarshal(b, &ref)
	}
	if err != nil {
		return blob.Info{}, jobs.Permanent(fmt.Errorf("decode reference: %w", err))
	}
	r, w := io.Pipe()
	fetched := make(chan error, 1)
	go func() {
		_, err := f.FetchMedia(ctx, ref, w, MaxUpload)
		w.CloseWithError(err)
		fetched <- err
	}()
	info, err := d.Blob.Put(ctx, blobKey(a.ID), r, MaxUpload)
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if ferr := <-fetched; ferr != nil {
		err = ferr
	}
	if errors.Is(err, blob.ErrTooLarge) {
		return info, jobs.Permanent(err)
	}
	switch channels.ClassOf(err) {
	case channels.ClassPermanent, channels.ClassAttachmentExpired, channels.ClassContentRejected, channels.ClassConfig:
		return info, jobs.Permanent(err)
	}
	return info, err
}

func (w *work) attachmentTold(ctx context.Context, a *ent.Attachment) error {
	if a.Edges.Message == nil {
		return nil
	}
	m, err := w.tx.Message.UpdateOneID(a.Edges.Message.ID).AddVersion(1).SetUpdatedAt(w.at).Save(ctx)
	if err != nil {
		return fmt.Errorf("save message: %w", err)
	}
	return w.tellMessage(ctx, m, "attachments")
}

// fetchDead shows a file that could not be had at its message.
func (d *Desk) fetchDead(ctx context.Context, tx *ent.Tx, c *jobs.Claim, cause error) error {
	var args fetchArgs
	if err := c.Decode(&args); err != nil {
		return nil //nolint:nilerr // arguments that cannot be read name no file
	}
	return d.inTx(ctx, tx, func(ctx context.Context, w *work) error {
		a, err := w.tx.Attachment.Query().Where(attachment.ID(args.Attachment)).WithMessage().Only(ctx)
		if err != nil {
			return fmt.Errorf("read attachment: %w", err)
		}
		why := deliveryError(cause)
		text := "the file could not be had"
		if why.ProviderCode != "" {
			text += " (" + why.ProviderCode + ")"
		}
		if err := w.tx.Attachment.UpdateOneID(a.ID).SetState(attachment.StateFAILED).SetError(text).Exec(ctx); err != nil {
			return fmt.Errorf("save attachment: %w", err)
		}
		w.emit(fact{typ: DeadLetterCreated, subject: c.ID, version: 1})
		return w.attachmentTold(ctx, a)
	})
}

// SweepUploads deletes files that were put up and belong to no message and no prompt.
func (d *Desk) SweepUploads(ctx context.Context) error {
	global := within(viewer.Global(ctx))
	old, err := d.db.Attachment.Query().Where(attachment.MessageIDIsNil(), unprompted(), attachment.CreatedAtLT(d.now().Add(-unusedLife))).Limit(100).All(global)
	if err != nil {
		return fmt.Errorf("read unused files: %w", err)
	}
	for _, a := range old {
		// The row goes first: a file without a row is waste, a row without its file a lie.
		n, err := d.db.Attachment.Delete().Where(attachment.ID(a.ID), attachment.MessageIDIsNil(), unprompted()).Exec(global)
		if err != nil {
			return fmt.Errorf("delete attachment: %w", err)
		}
		if n == 0 {
			continue
		}
		if err := d.Blob.Delete(ctx, storedAt(a)); err != nil && !errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("delete file: %w", err)
		}
	}
	return nil
}

func kindOfType(contentType string) attachment.Kind {
	switch {
	case strings.HasPrefix(contentType, "image/svg"):
		return attachment.KindFILE // a document that can carry script, not a picture
	case strings.HasPrefix(contentType, "image/"):
		return attachment.KindIMAGE
	case strings.HasPrefix(contentType, "audio/"):
		return attachment.KindAUDIO
	case strings.HasPrefix(contentType, "video/"):
		return attachment.KindVIDEO
	}
	return attachment.KindFILE
}

func kindOfMedia(k channels.MediaKind) attachment.Kind {
	switch k {
	case channels.MediaImage:
		return attachment.KindIMAGE
	case channels.MediaVoice:
		return attachment.KindAUDIO
	case channels.MediaVideo:
		return attachment.KindVIDEO
	default:
		return attachment.KindFILE
	}
}

func mediaOfKind(k attachment.Kind) channels.MediaKind {
	switch k {
	case attachment.KindIMAGE, attachment.KindSTICKER:
		return channels.MediaImage
	case attachment.KindAUDIO:
		return channels.MediaVoice
	case attachment.KindVIDEO:
		return channels.MediaVideo
	default:
		return channels.MediaFile
	}
}

func partOfMedia(k channels.MediaKind) channels.PartType {
	return map[channels.MediaKind]channels.PartType{
		channels.MediaImage: channels.PartImage, channels.MediaVoice: channels.PartVoice, channels.MediaVideo: channels.PartVideo, channels.MediaFile: channels.PartFile,
	}[k]
}

// toMap is a reference in the form of the column.
func toMap(v any) map[string]any {
	out := map[string]any{}
	if b, err := json.Marshal(v); err == nil {
		_ = json.Unmarshal(b, &out)
	}
	return out
}
