package email

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"tributary/channels"
)

const (
	maxRaw     = 100 << 20 // bytes that are read (MODEL 10)
	maxRawRow  = 256 << 10 // bytes that are kept with the event; beyond, in the file store
	mailType   = "message/rfc822"
	binaryType = "application/octet-stream"
)

// original copies a mail as it is read: a short one into memory, a long one
// into the file store, which reads it from a goroutine of its own. finish or
// abort ends that, and must be called.
type original struct {
	ctx  context.Context // of one call of read
	blob channels.Blob
	in   io.Reader
	sum  hash.Hash
	size int64
	head []byte

	pipe   *io.PipeWriter // nil as long as the mail is short
	stored chan struct{}
	key    string
	err    error // of the mail's reader or of the store; then nothing is taken
	putErr error // of the store, to be read when stored is closed
}

func newOriginal(ctx context.Context, blob channels.Blob, mail io.Reader) *original {
	return &original{ctx: ctx, blob: blob, in: io.LimitReader(mail, maxRaw), sum: sha256.New()}
}

// Read implements io.Reader.
func (o *original) Read(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.in.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		o.err = fmt.Errorf("read mail: %w", err)
		return 0, o.err
	}
	o.sum.Write(p[:n])
	o.size += int64(n)
	if keepErr := o.keep(p[:n]); keepErr != nil {
		o.err = keepErr
		return 0, o.err
	}
	return n, err
}

func (o *original) keep(b []byte) error {
	if o.pipe == nil {
		o.head = append(o.head, b...)
		if len(o.head) > maxRawRow {
			o.store()
		}
		return nil
	}
	if _, err := o.pipe.Write(b); err != nil {
		return fmt.Errorf("store mail: %w", err)
	}
	return nil
}

// store begins to hand the mail to the file store.
func (o *original) store() {
	r, w := io.Pipe()
	head := o.head
	o.pipe, o.head, o.stored = w, nil, make(chan struct{})
	go func() {
		defer close(o.stored)
		o.key, _, o.putErr = o.blob.Put(o.ctx, io.MultiReader(bytes.NewReader(head), r), mailType)
		err := o.putErr
		if err == nil {
			err = io.ErrClosedPipe
		}
		r.CloseWithError(err) // who writes on is not left waiting
	}()
}

// finish returns the whole mail as the event keeps it, after its end was read.
func (o *original) finish() (channels.Raw, error) {
	raw := channels.Raw{ContentType: mailType, Bytes: o.head, Size: o.size, SHA256: hex.EncodeToString(o.sum.Sum(nil))}
	if o.pipe == nil {
		return raw, nil
	}
	_ = o.pipe.Close() // never fails
	<-o.stored
	if o.putErr != nil {
		return raw, fmt.Errorf("store mail: %w", o.putErr)
	}
	raw.Blob = o.key
	return raw, nil
}

// abort ends the copying without a result.
func (o *original) abort(err error) {
	if o.pipe != nil {
		_ = o.pipe.CloseWithError(err) // never fails
		<-o.stored
	}
}

// attach stores the mail once more, as a file of the message: the event's own
// copy is kept for a shorter time.
func (o *original) attach(raw channels.Raw) (channels.MediaRef, error) {
	var content io.Reader = bytes.NewReader(raw.Bytes)
	if raw.Blob != "" {
		stored, err := o.blob.Get(o.ctx, raw.Blob)
		if err != nil {
			return channels.MediaRef{}, fmt.Errorf("read stored mail: %w", err)
		}
		defer func() { _ = stored.Close() }() // it was read
		content = stored
	}
	key, size, err := o.blob.Put(o.ctx, content, mailType)
	if err != nil {
		return channels.MediaRef{}, fmt.Errorf("store mail: %w", err)
	}
	return channels.MediaRef{Kind: channels.MediaFile, Blob: key, Name: "mail.eml", ContentType: mailType, Size: size}, nil
}
