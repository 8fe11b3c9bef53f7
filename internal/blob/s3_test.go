package blob_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"tributary/internal/blob"
	"tributary/internal/crypt"
	"tributary/internal/dial"
)

// realStore names a server to use instead of the fake one, as http://access:secret@host:port/bucket. Each test takes a
// prefix of its own in that bucket and leaves it behind.
const realStore = "TEST_S3_URL"

var loopbackPrefix = netip.MustParsePrefix("127.0.0.0/8")

// loopback lets the store's purpose reach this machine, and nothing else.
func loopback() *dial.Guard {
	return dial.New(map[dial.Purpose][]dial.Rule{blob.Purpose: {{Prefix: loopbackPrefix}}})
}

// bucket is a place for one test in an object store.
type bucket struct {
	config blob.S3Config
	client *minio.Core
}

func newBucket(t *testing.T) *bucket {
	if text := os.Getenv(realStore); text != "" {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		secret, _ := u.User.Password()
		return bucketAt(t, blob.S3Config{
			Endpoint: u.Scheme + "://" + u.Host, Bucket: strings.Trim(u.Path, "/"), Prefix: "test/" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + time.Now().Format("150405.000000"),
			AccessKey: u.User.Username(), SecretKey: crypt.Secret(secret), Dialer: loopback(),
		})
	}
	return fakeBucket(t, nil)
}

// fakeBucket is one in this process; around stands between it and us.
func fakeBucket(t *testing.T, around func(http.Handler) http.Handler, o ...gofakes3.Option) *bucket {
	backend := s3mem.New()
	if err := backend.CreateBucket("files"); err != nil {
		t.Fatal(err)
	}
	h := gofakes3.New(backend, o...).Server()
	if around != nil {
		h = around(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return bucketAt(t, blob.S3Config{
		Endpoint: server.URL, Bucket: "files", Prefix: "wsp/x", AccessKey: "key", SecretKey: "secret", Dialer: loopback(),
	})
}

func bucketAt(t *testing.T, c blob.S3Config) *bucket {
	core, err := minio.NewCore(strings.TrimPrefix(c.Endpoint, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey.Clear(), ""), Region: "us-east-1", Transport: &http.Transport{DisableKeepAlives: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &bucket{c, core}
}

func (b *bucket) open(t *testing.T) *blob.S3 {
	t.Helper()
	s, err := blob.OpenS3(t.Context(), b.config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	blob.Hasten(s)
	return s
}

func (b *bucket) name(key string) string { return b.config.Prefix + "/" + key }

func (b *bucket) rig(t *testing.T) rig {
	return rig{
		Store: b.open(t),
		again: func(t *testing.T) blob.Store { return b.open(t) },
		raw: func(t *testing.T, key string) []byte {
			r, _, _, err := b.client.GetObject(t.Context(), b.config.Bucket, b.name(key), minio.GetObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			all, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return all
		},
		overwrite: func(t *testing.T, key string, with []byte) {
			_, err := b.client.PutObject(t.Context(), b.config.Bucket, b.name(key), bytes.NewReader(with), int64(len(with)), "", "", minio.PutObjectOptions{DisableContentSha256: true})
			if err != nil {
				t.Fatal(err)
			}
		},
		left: b.left,
	}
}

// left lists objects and unfinished uploads.
func (b *bucket) left(t *testing.T) (out []string) {
	ctx := context.WithoutCancel(t.Context())
	for o := range b.client.Client.ListObjects(ctx, b.config.Bucket, minio.ListObjectsOptions{Prefix: b.config.Prefix, Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		out = append(out, o.Key)
	}
	list, err := b.client.ListMultipartUploads(ctx, b.config.Bucket, b.config.Prefix, "", "", "", 1000)
	if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload { // how the fake says that there was never one
		t.Fatal(err)
	}
	for _, u := range list.Uploads {
		out = append(out, "unfinished: "+u.Key)
	}
	return out
}
