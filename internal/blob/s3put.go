package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	// partSize is the smallest part that S3 allows but at the end: 10,000 of them are 50 GB, and a Put holds one in memory.
	partSize = 5 << 20
	// firstSize is what a Put holds at first. Most files are smaller than a part.
	firstSize = 128 << 10
	// abandonedAfter is when Sweep takes an upload for one whose process died: longer than any that goes on.
	abandonedAfter = 24 * time.Hour
)

// Put implements Store. It holds at most one part in memory.
func (s *S3) Put(ctx context.Context, key string, r io.Reader, max int64) (Info, error) {
	if err := checkKey(key); err != nil {
		return Info{}, err
	}
	u := &upload{ctx: ctx, store: s, name: s.prefix + key, buf: make([]byte, 0, firstSize)}
	info, err := fill(ctx, u, r, max, time.Now)
	if err == nil {
		err = u.finish()
	}
	if err != nil && !u.doneAfterAll(info) {
		return Info{}, fmt.Errorf("store file %s: %w", key, err)
	}
	u.giveBack()
	return info, nil
}

// upload is an io.Writer that becomes an object when it is finished: in one request if it fits into a part, else part by
// part.
type upload struct {
	ctx   context.Context // lives for one Put, like the upload itself
	store *S3
	name  string
	buf   []byte // the part that is being filled
	id    string // of the multipart upload; empty before there is one
	parts []minio.CompletePart
	last  bool // the step that makes it visible was begun
}

func (u *upload) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		if len(u.buf) == cap(u.buf) { // emptied only when more comes, so the last part has something in it
			if err := u.makeRoom(); err != nil {
				return 0, err
			}
		}
		n := copy(u.buf[len(u.buf):cap(u.buf)], p)
		u.buf, p = u.buf[:len(u.buf)+n], p[n:]
	}
	return written, nil
}

// free are parts to be used again. Only those that no request can be reading any more come here.
var free = sync.Pool{New: func() any { return new([partSize]byte) }}

func (u *upload) makeRoom() error {
	if cap(u.buf) < partSize {
		part := free.Get().(*[partSize]byte)[:]
		u.buf = part[:copy(part, u.buf)]
		return nil
	}
	return u.sendPart()
}

func (u *upload) giveBack() {
	if cap(u.buf) == partSize {
		free.Put((*[partSize]byte)(u.buf[:partSize]))
	}
}

func (u *upload) sendPart() error {
	core, bucket := u.store.core, u.store.bucket
	if u.id == "" {
		err := u.store.again(u.ctx, func() (err error) {
			u.id, err = core.NewMultipartUpload(u.ctx, bucket, u.name, minio.PutObjectOptions{})
			return err
		})
		if err != nil {
			return err
		}
	}
	var part minio.ObjectPart
	err := u.send(func(body io.Reader, size int64, sum string) (err error) {
		part, err = core.PutObjectPart(u.ctx, bucket, u.name, u.id, len(u.parts)+1, body, size,
			minio.PutObjectPartOptions{Sha256Hex: sum, DisableContentSha256: true})
		return err
	})
	u.parts = append(u.parts, minio.CompletePart{PartNumber: len(u.parts) + 1, ETag: part.ETag})
	return err
}

// send gives the buffer to one request after another until one succeeds, and empties it. The hash goes with it as part of
// the signature, so the store refuses what was changed on the way; the library's own way would sign piece by piece and,
// over TLS, nothing.
//
// The transport of a request that failed may still be reading. So each request has a reader of its own, which the library
// with its one attempt does not rewind, and after a failure the buffer is left to whoever still holds it.
func (u *upload) send(request func(body io.Reader, size int64, sum string) error) error {
	sum := sha256.Sum256(u.buf)
	tries := 0
	err := u.store.again(u.ctx, func() error {
		tries++
		return request(bytes.NewReader(u.buf), int64(len(u.buf)), hex.EncodeToString(sum[:]))
	})
	if tries > 1 || err != nil {
		u.buf = make([]byte, 0, cap(u.buf))
	}
	u.buf = u.buf[:0]
	return err
}

// finish makes the object visible.
func (u *upload) finish() error {
	core, bucket := u.store.core, u.store.bucket
	if u.id == "" {
		u.last = true
		return u.send(func(body io.Reader, size int64, sum string) error {
			_, err := core.PutObject(u.ctx, bucket, u.name, body, size, "", sum, minio.PutObjectOptions{DisableContentSha256: true})
			return err
		})
	}
	if err := u.sendPart(); err != nil {
		return err
	}
	u.last = true
	return u.store.again(u.ctx, func() error {
		_, err := core.CompleteMultipartUpload(u.ctx, bucket, u.name, u.id, u.parts, minio.PutObjectOptions{})
		return err
	})
}

// doneAfterAll cleans up after a failure and reports whether the upload was done all the same: the answer to its last step may
// have been lost, and its repetition refused because the first was taken. It works although the caller may have gone,
// but not for long; parts that cannot be thrown away now are left to Sweep.
func (u *upload) doneAfterAll(want Info) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), cleanup)
	defer cancel()
	if u.last {
		if e, err := u.store.end(ctx, u.name, maxTail); err == nil && e.info == want {
			return true
		}
	}
	if u.id != "" {
		_ = u.store.again(ctx, func() error {
			return u.store.core.AbortMultipartUpload(ctx, u.store.bucket, u.name, u.id)
		})
	}
	return false
}

// Sweep removes what uploads left that were begun a day ago and not finished: their process died. Nobody sees it, but it
// takes room. Stores with a rule of their own for this, or without such a list, need no Sweep.
func (s *S3) Sweep(ctx context.Context) error {
	var errs []error
	var after, id string
	for {
		list, err := s.core.ListMultipartUploads(ctx, s.bucket, s.prefix, after, id, "", 1000)
		if err != nil {
			return fmt.Errorf("list unfinished uploads: %w", errors.Join(append(errs, err)...))
		}
		for _, u := range list.Uploads {
			if time.Since(u.Initiated) < abandonedAfter {
				continue
			}
			if err := s.core.AbortMultipartUpload(ctx, s.bucket, u.Key, u.UploadID); err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload {
				errs = append(errs, fmt.Errorf("remove the unfinished upload of %s: %w", u.Key, err))
			}
		}
		if !list.IsTruncated || list.NextKeyMarker == "" || list.NextKeyMarker == after && list.NextUploadIDMarker == id {
			return errors.Join(errs...)
		}
		after, id = list.NextKeyMarker, list.NextUploadIDMarker
	}
}
