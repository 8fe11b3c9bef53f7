package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/minio/minio-go/v7"
)

// small is how many bytes at the end Get asks for: description, and whole files of this size in one request.
const small = 64 << 10

// Get implements Store.
func (s *S3) Get(ctx context.Context, key string) (io.ReadSeekCloser, Info, error) {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return nil, Info{}, err
	}
	e, err := s.end(ctx, s.prefix+key, small)
	if err != nil {
		return nil, Info{}, fmt.Errorf("open file %s: %w", key, err)
	}
	if e.all {
		return held{bytes.NewReader(e.tail[:e.info.Bytes])}, e.info, nil
	}
	return &object{ctx: ctx, store: s, key: key, etag: e.etag, size: e.info.Bytes}, e.info, nil
}

// held is a file that is in memory already.
type held struct{ *bytes.Reader }

func (held) Close() error { return nil }

// object reads a file from where it is asked to, over one request for as long as the reading goes straight on. A cut
// connection is replaced at the same place; the tag makes sure that it is the same file.
type object struct {
	ctx   context.Context // lives for one Get, like the reader itself
	store *S3
	key   string
	etag  string
	size  int64 // of the content
	pos   int64
	body  io.ReadCloser
	at    int64 // where body is
}

var errClosed = errors.New("file is closed")

func (o *object) Read(p []byte) (int, error) {
	if o.size < 0 {
		return 0, errClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	if o.pos >= o.size {
		return 0, io.EOF
	}
	if o.body != nil && o.at != o.pos {
		o.drop()
	}
	n := 0
	err := o.store.again(o.ctx, func() (err error) {
		if o.body == nil {
			if err := o.open(); err != nil {
				return err
			}
		}
		n, err = o.body.Read(p[:min(int64(len(p)), o.size-o.pos)])
		if n > 0 {
			return nil // what is wrong with the rest is seen at the next Read
		}
		o.drop()
		return errors.Join(io.ErrUnexpectedEOF, err)
	})
	if err != nil {
		return 0, fmt.Errorf("read file %s: %w", o.key, err)
	}
	o.pos += int64(n)
	o.at = o.pos
	return n, nil
}

func (o *object) open() error {
	var opt minio.GetObjectOptions
	if err := errors.Join(opt.SetRange(o.pos, o.size-1), opt.SetMatchETag(o.etag)); err != nil {
		return err
	}
	body, info, _, err := o.store.core.GetObject(o.ctx, o.store.bucket, o.store.prefix+o.key, opt)
	if err != nil {
		return err
	}
	if info.ETag != o.etag { // not every store minds the condition
		_ = body.Close()
		return errReplaced
	}
	o.body, o.at = body, o.pos
	return nil
}

func (o *object) drop() {
	if o.body != nil {
		_ = o.body.Close() // nothing to learn: it was only read
		o.body = nil
	}
}

// Seek implements io.Seeker and asks the store nothing.
func (o *object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += o.pos
	case io.SeekEnd:
		offset += o.size
	default:
		return 0, fmt.Errorf("read file %s: seek from %d", o.key, whence)
	}
	if o.size < 0 {
		return 0, errClosed
	}
	if offset < 0 {
		return 0, fmt.Errorf("read file %s: seek to before its beginning", o.key)
	}
	o.pos = offset
	return offset, nil
}

// Close implements io.Closer. It may be repeated.
func (o *object) Close() error {
	o.drop()
	o.size = -1
	return nil
}
