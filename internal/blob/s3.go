package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tributary/internal/crypt"
	"tributary/internal/dial"
)

// Purpose is what S3 dials for. The store's address is the operator's, and a private one needs a rule of his all the
// same: `blob=10.0.0.0/8:9000`.
const Purpose = "blob"

// Dialer connects for a purpose; dial.Guard is one.
type Dialer interface {
	DialContext(ctx context.Context, purpose, network, addr string) (net.Conn, error)
}

// S3Config says where the bucket is. Everything but Region, Prefix and BucketInHost is required.
type S3Config struct {
	Endpoint  string // http://host:port or https://host, nothing behind
	Region    string // empty: us-east-1, which stores without regions expect
	Bucket    string // must exist
	AccessKey string
	SecretKey crypt.Secret
	Prefix    string // names inside the bucket begin with it and a slash; empty: none
	// BucketInHost asks https://bucket.host instead of https://host/bucket, as some stores require. Amazon's, Google's and
	// Aliyun's are known and need no saying.
	BucketInHost bool
	Dialer       Dialer
}

// S3 is a Store in a bucket of an S3-compatible object store, which several nodes may share.
//
// A file is one object: content and description behind it, in one upload that the store makes visible at once or never.
// Hash and size are known only when the content has gone by, and object metadata has to be sent before it. The other
// ways are worse: a second object for the description leaves a moment in which a replaced file is damaged, and a copy
// onto itself with new metadata leaves the same moment and costs the store another file.
//
// A crash in mid-upload leaves parts that nobody sees; Sweep removes them. A bucket that keeps versions keeps what was
// deleted, too: erasing needs one that does not, or a lifecycle rule that ends old versions.
type S3 struct {
	core   *minio.Core
	bucket string
	prefix string        // empty or with a slash at the end
	pause  time.Duration // before the second attempt; each other one is four times as long
	idle   func()        // closes connections without work
}

// Patience with the object store. A call that has less time says so by its context.
const (
	silence  = time.Minute     // longest time without a byte in either direction
	attempts = 4               // for one request
	cleanup  = 3 * time.Second // for what must be done although the caller has gone
)

// OpenS3 checks that the bucket is there and open to these keys. They need the right to list it, too: without that a store
// says of what is not there that it is forbidden.
func OpenS3(ctx context.Context, c S3Config) (*S3, error) {
	prepareSniffing()
	s, err := newS3(c)
	if err != nil {
		return nil, fmt.Errorf("object store: %w", err)
	}
	var found bool
	err = s.again(ctx, func() (err error) {
		found, err = s.core.BucketExists(ctx, c.Bucket)
		return err
	})
	if err == nil && !found {
		err = errors.New("there is no such bucket")
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("object store: look for bucket %q at %s: %w", c.Bucket, c.Endpoint, err)
	}
	return s, nil
}

// Close drops idle connections. Files opened by Get stay readable.
func (s *S3) Close() { s.idle() }

func newS3(c S3Config) (*S3, error) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil:
		return nil, fmt.Errorf("endpoint: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
		return nil, fmt.Errorf("endpoint %s is not of the form https://host or http://host:port", u.Redacted())
	case c.Bucket == "" || c.AccessKey == "" || c.SecretKey == "":
		return nil, errors.New("bucket, access key and secret key are needed")
	case c.Dialer == nil:
		return nil, errors.New("a dialer is needed")
	}
	prefix := strings.Trim(c.Prefix, "/")
	if prefix != "" {
		if err := checkKey(prefix); err != nil {
			return nil, fmt.Errorf("prefix: %w", err)
		}
		prefix += "/"
	}
	t := transport(c.Dialer)
	lookup := minio.BucketLookupAuto
	if c.BucketInHost {
		lookup = minio.BucketLookupDNS
	}
	region := c.Region
	if region == "" {
		region = "us-east-1"
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey.Clear(), ""), Secure: u.Scheme == "https",
		Transport: t, Region: region, BucketLookup: lookup, MaxRetries: 1, // again is the one that repeats
	})
	if err != nil {
		return nil, err
	}
	return &S3{core: core, bucket: c.Bucket, prefix: prefix, pause: 100 * time.Millisecond, idle: t.CloseIdleConnections}, nil
}

// transport speaks HTTP/1: an upload that is cut off then costs its own connection and nobody else's.
func transport(d Dialer) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, Purpose, network, addr)
			if err != nil {
				return nil, err
			}
			return &impatient{conn}, nil
		},
		Proxy:                  nil,  // never from the environment: it would connect for us unseen
		DisableCompression:     true, // a file is what it is
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  silence,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        30 * time.Second,
		MaxIdleConns:           32,
		MaxIdleConnsPerHost:    32,
		MaxConnsPerHost:        128,
		MaxResponseHeaderBytes: 64 << 10,
		WriteBufferSize:        64 << 10,
	}
}

// impatient is a connection that ends when neither side has sent anything for a while, so that a store that stopped in
// the middle of a file does not hold a reader whose context has no end.
type impatient struct{ net.Conn }

func (c *impatient) Read(p []byte) (int, error) {
	_ = c.SetDeadline(time.Now().Add(silence))
	return c.Conn.Read(p)
}

// Write moves the deadline of reading, too: while a part goes out, nothing comes in.
func (c *impatient) Write(p []byte) (int, error) {
	_ = c.SetDeadline(time.Now().Add(silence))
	return c.Conn.Write(p)
}

// Delete implements Store.
func (s *S3) Delete(ctx context.Context, key string) error {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return err
	}
	err := s.again(ctx, func() error {
		return s.core.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{})
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete file %s: %w", key, err)
	}
	return nil
}

// Stat implements Store.
func (s *S3) Stat(ctx context.Context, key string) (Info, error) {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return Info{}, err
	}
	e, err := s.end(ctx, s.prefix+key, maxTail)
	if err != nil {
		return Info{}, fmt.Errorf("describe file %s: %w", key, err)
	}
	return e.info, nil
}

// end is the last bytes of an object and what they say.
type end struct {
	info Info
	etag string
	tail []byte
	all  bool // tail is the whole object
}

func (s *S3) end(ctx context.Context, name string, want int64) (end, error) {
	var e end
	err := s.again(ctx, func() error {
		body, o, total, err := s.suffix(ctx, name, want)
		if err != nil {
			return err
		}
		defer body.Close()
		if e.tail, err = io.ReadAll(io.LimitReader(body, want)); err != nil {
			return err
		}
		e.etag, e.all = o.ETag, int64(len(e.tail)) == total
		e.info, err = parseTail(e.tail, total, o.LastModified)
		return err
	})
	return e, err
}

// suffix asks for the last bytes of an object. An empty object has none, and some stores refuse to give more than there
// is: then the object is smaller than that, and all of it is asked for.
func (s *S3) suffix(ctx context.Context, name string, want int64) (io.ReadCloser, minio.ObjectInfo, int64, error) {
	var opt minio.GetObjectOptions
	_ = opt.SetRange(0, -want) // a fixed form cannot be wrong
	body, o, head, err := s.core.GetObject(ctx, s.bucket, name, opt)
	if minio.ToErrorResponse(err).Code == minio.InvalidRange {
		body, o, head, err = s.core.GetObject(ctx, s.bucket, name, minio.GetObjectOptions{})
	}
	if err != nil {
		return nil, o, 0, err
	}
	total := o.Size
	if _, after, ok := strings.Cut(head.Get("Content-Range"), "/"); ok {
		total, err = strconv.ParseInt(after, 10, 64)
	} else if total > want {
		err = errors.New("the object store gives no ranges")
	}
	if err != nil {
		_ = body.Close()
		return nil, o, 0, err
	}
	return body, o, total, nil
}

// again tries f until it succeeds, with pauses, unless what went wrong will not get better.
func (s *S3) again(ctx context.Context, f func() error) error {
	pause := s.pause
	for try := 1; ; try++ {
		err := f()
		if err == nil {
			return nil
		}
		if ended := ctx.Err(); ended != nil {
			return ended
		}
		if final(err) || try == attempts {
			return mapped(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause *= 4
	}
}

// final reports whether the store has understood and refused, or our own guard has. No answer, an answer cut off and a
// store in trouble are worth another try.
func final(err error) bool {
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotFound) || errors.Is(err, dial.ErrRefused) {
		return true
	}
	code := minio.ToErrorResponse(err).StatusCode
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}

// mapped gives an answer of the store its name here.
func mapped(err error) error {
	switch r := minio.ToErrorResponse(err); {
	case err == nil:
		return nil
	case r.Code == minio.NoSuchKey:
		return ErrNotFound
	case r.StatusCode == http.StatusPreconditionFailed:
		return errReplaced
	}
	return err
}

var errReplaced = fmt.Errorf("%w: it was replaced while it was read", ErrNotFound)
