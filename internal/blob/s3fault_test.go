package blob_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/minio/minio-go/v7"

	"tributary/internal/blob"
	"tributary/internal/dial"
)

// step names what a request does.
func step(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("uploads"):
		return r.Method + " uploads"
	case q.Has("partNumber"):
		return "PUT part " + q.Get("partNumber")
	case q.Has("uploadId"):
		return r.Method + " upload"
	}
	return r.Method
}

// faulty lets f spoil a request: it returns true when it has answered. n counts the requests for the same step from 1.
func faulty(f func(w http.ResponseWriter, r *http.Request, step string, n int) bool) func(http.Handler) http.Handler {
	var mu sync.Mutex
	seen := map[string]int{}
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := step(r)
			mu.Lock()
			seen[s]++
			n := seen[s]
			mu.Unlock()
			if !f(w, r, s, n) {
				h.ServeHTTP(w, r)
			}
		})
	}
}

// large is a file of three parts. Nobody writes to it.
var large = sync.OnceValue(func() []byte {
	return bytes.Repeat([]byte("0123456789abcdefg"), (2*part+999)/17)
})

var largeHash = sync.OnceValue(func() string { return fmt.Sprintf("%x", sha256.Sum256(large())) })

func putLarge(t *testing.T, s blob.Store) {
	t.Helper()
	if _, err := s.Put(t.Context(), "a", bytes.NewReader(large()), 1<<30); err != nil {
		t.Fatal(err)
	}
	if got, info := get(t, s, "a"); got != string(large()) || info.SHA256 != largeHash() {
		t.Errorf("%d bytes came back, %+v", len(got), info)
	}
}

func TestS3TroubleThatPasses(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(http.ResponseWriter, *http.Request){
		"busy": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"busy, having read": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		"cut at once": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		"cut in the middle": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := fakeBucket(t, faulty(func(w http.ResponseWriter, r *http.Request, _ string, n int) bool {
				if n != 1 {
					return false
				}
				spoil(w, r)
				return true
			}))
			s := b.open(t)
			putLarge(t, s)
			put(t, s, "b", "small")
			if err := s.Delete(t.Context(), "a"); err != nil {
				t.Error(err)
			}
			if left := b.left(t); len(left) != 1 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// What fails for good leaves the file of before and nothing else.
func TestS3TroubleThatStays(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{"begin": "POST uploads", "first part": "PUT part 1", "last part": "PUT part 3", "end": "POST upload", "whole": "PUT"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			armed := make(chan struct{})
			b := fakeBucket(t, faulty(func(w http.ResponseWriter, r *http.Request, step string, _ int) bool {
				select {
				case <-armed:
				default:
					return false
				}
				if step != at {
					return false
				}
				_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
				panic(http.ErrAbortHandler)
			}))
			s := b.open(t)
			put(t, s, "a", "old")
			close(armed)
			content := large()
			if at == "PUT" {
				content = content[:2<<20]
			}
			if _, err := s.Put(t.Context(), "a", bytes.NewReader(content), 1<<30); err == nil {
				t.Error("stored")
			}
			if got, _ := get(t, s, "a"); got != "old" {
				t.Errorf("the file of before is now %.20q", got)
			}
			if left := b.left(t); len(left) != 1 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A caller who leaves in mid-upload leaves nothing behind.
func TestS3CallerLeaves(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	b := fakeBucket(t, faulty(func(_ http.ResponseWriter, _ *http.Request, step string, _ int) bool {
		if step == "PUT part 2" {
			leave()
		}
		return false
	}))
	if _, err := b.open(t).Put(ctx, "a", bytes.NewReader(large()), 1<<30); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	if left := b.left(t); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// The store does the last step and its answer gets lost: the file is there, and Put says so.
func TestS3LostAnswer(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{"large": "POST upload", "small": "PUT"} {
		for often, times := range map[string]int{"once": 1, "always": 99} {
			t.Run(name+" "+often, func(t *testing.T) {
				t.Parallel()
				var inner http.Handler
				f := faulty(func(_ http.ResponseWriter, r *http.Request, step string, n int) bool {
					if step != at || n > times {
						return false
					}
					inner.ServeHTTP(httptest.NewRecorder(), r)
					panic(http.ErrAbortHandler) // no answer
				})
				s := fakeBucket(t, func(h http.Handler) http.Handler { inner = h; return f(h) }).open(t)
				if at == "PUT" {
					put(t, s, "a", "x")
				} else {
					putLarge(t, s)
				}
			})
		}
	}
}

func TestS3SlowAnswersEndWithTheContext(t *testing.T) {
	t.Parallel()
	slow := make(chan struct{})
	b := fakeBucket(t, faulty(func(_ http.ResponseWriter, r *http.Request, _ string, _ int) bool {
		select {
		case <-slow:
			_, _ = io.Copy(io.Discard, r.Body) // or the server does not see the client leave
			<-r.Context().Done()
			return true
		default:
			return false
		}
	}))
	s := b.open(t)
	if _, err := s.Put(t.Context(), "a", bytes.NewReader(large()), 1<<30); err != nil {
		t.Fatal(err)
	}
	reading, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer stop()
	r, _, err := s.Get(reading, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	close(slow)
	for name, f := range map[string]func(context.Context) error{
		"Put": func(ctx context.Context) error { _, err := s.Put(ctx, "b", strings.NewReader("x"), 9); return err },
		"large": func(ctx context.Context) error {
			_, err := s.Put(ctx, "b", bytes.NewReader(large()), 1<<30)
			return err
		},
		"Get":    func(ctx context.Context) error { _, _, err := s.Get(ctx, "a"); return err },
		"Stat":   func(ctx context.Context) error { _, err := s.Stat(ctx, "a"); return err },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, "a") },
		"Sweep":  s.Sweep,
		"Read":   func(context.Context) error { _, err := io.ReadAll(r); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		if err := f(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("%s took %s", name, took)
		}
		cancel()
	}
}

// short ends an answer after some bytes.
type short struct {
	http.ResponseWriter
	left int
}

func (s *short) Write(p []byte) (int, error) {
	if len(p) > s.left {
		_, _ = s.ResponseWriter.Write(p[:s.left])
		_ = http.NewResponseController(s.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	s.left -= len(p)
	return s.ResponseWriter.Write(p)
}

func TestS3ReadingGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	var inner http.Handler
	f := faulty(func(w http.ResponseWriter, r *http.Request, step string, n int) bool {
		if step != "GET" || n%4 == 3 {
			return false
		}
		inner.ServeHTTP(&short{w, 700_000}, r)
		return true
	})
	s := fakeBucket(t, func(h http.Handler) http.Handler { inner = h; return f(h) }).open(t)
	if _, err := s.Put(t.Context(), "a", bytes.NewReader(large()), 1<<30); err != nil {
		t.Fatal(err)
	}
	if got, _ := get(t, s, "a"); got != string(large()) {
		t.Errorf("%d bytes came back", len(got))
	}
}

// A process that dies in mid-upload leaves parts that nobody sees; Sweep takes the old ones.
func TestS3Sweep(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		begun time.Time
		stays int
	}{"old": {time.Now().Add(-25 * time.Hour), 0}, "young": {time.Now(), 1}} {
		b := fakeBucket(t, nil, gofakes3.WithTimeSource(gofakes3.FixedTimeSource(c.begun)), gofakes3.WithTimeSkewLimit(0))
		s := b.open(t)
		id, err := b.client.NewMultipartUpload(t.Context(), "files", b.name("a"), minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p := bytes.NewReader(make([]byte, part))
		if _, err := b.client.PutObjectPart(t.Context(), "files", b.name("a"), id, 1, p, part, minio.PutObjectPartOptions{DisableContentSha256: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("half a file is visible: %v", err)
		}
		if err := s.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		if left := b.left(t); len(left) != c.stays {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

// Every upload says the hash of what it sends, under the signature.
func TestS3UploadsCarryTheirHash(t *testing.T) {
	t.Parallel()
	s := fakeBucket(t, faulty(func(_ http.ResponseWriter, r *http.Request, step string, _ int) bool {
		if !strings.HasPrefix(step, "PUT") {
			return false
		}
		b, err := io.ReadAll(r.Body)
		if sum := fmt.Sprintf("%x", sha256.Sum256(b)); err != nil || r.Header.Get("X-Amz-Content-Sha256") != sum {
			t.Errorf("%s: said %s, sent %s, %v", step, r.Header.Get("X-Amz-Content-Sha256"), sum, err)
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		return false
	})).open(t)
	put(t, s, "b", "small")
	putLarge(t, s)
}

// A file of 100 MiB costs no more than 16 MiB altogether, garbage included. Not parallel: it counts what the process
// allocates.
func TestS3Memory(t *testing.T) {
	forgetful := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("ETag", `"e"`)
			switch step(r) {
			case "POST uploads":
				_, _ = io.WriteString(w, `<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>`)
			case "POST upload":
				_, _ = io.WriteString(w, `<CompleteMultipartUploadResult><Bucket>files</Bucket></CompleteMultipartUploadResult>`)
			}
		})
	}
	s := fakeBucket(t, forgetful).open(t)
	for _, c := range []struct{ size, most uint64 }{{100 << 20, 16 << 20}, {10_000, 1 << 20}} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		info, err := s.Put(t.Context(), "a", io.LimitReader(endless{}, int64(c.size)), int64(c.size))
		if err != nil || info.Bytes != int64(c.size) {
			t.Fatal(info, err)
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > c.most {
			t.Errorf("%d bytes took %d bytes of memory", c.size, took)
		}
	}
}

func TestOpenS3SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := fakeBucket(t, nil).config
	denied := fakeBucket(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	}).config
	for name, c := range map[string]struct {
		change func(*blob.S3Config)
		want   string
	}{
		"no bucket there": {func(c *blob.S3Config) { c.Bucket = "other" }, "there is no such bucket"},
		"denied":          {func(c *blob.S3Config) { *c = denied }, "Access Denied"},
		"endpoint":        {func(c *blob.S3Config) { c.Endpoint = "store.example:9000" }, "endpoint"},
		"path":            {func(c *blob.S3Config) { c.Endpoint += "/files" }, "is not of the form"},
		"password":        {func(c *blob.S3Config) { c.Endpoint = "http://me:hush@host" }, "is not of the form"},
		"scheme":          {func(c *blob.S3Config) { c.Endpoint = "ftp://host" }, "is not of the form"},
		"no key":          {func(c *blob.S3Config) { c.SecretKey = "" }, "are needed"},
		"no dialer":       {func(c *blob.S3Config) { c.Dialer = nil }, "a dialer"},
		"prefix":          {func(c *blob.S3Config) { c.Prefix = "../x" }, "prefix"},
	} {
		config := good
		c.change(&config)
		_, err := blob.OpenS3(t.Context(), config)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.Prefix, good.Endpoint = "", good.Endpoint+"/" // the twins
	s, err := blob.OpenS3(t.Context(), good)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, "a", "x")
}

// The store is reached by the rules of its own purpose and no others.
func TestS3GoesThroughTheGuard(t *testing.T) {
	t.Parallel()
	c := fakeBucket(t, nil).config
	rule := []dial.Rule{{Prefix: loopbackPrefix}}
	c.Dialer = dial.New(map[dial.Purpose][]dial.Rule{"webhook": rule})
	if _, err := blob.OpenS3(t.Context(), c); !errors.Is(err, dial.ErrRefused) {
		t.Errorf("without a rule: %v", err)
	}
	c.Dialer = dial.New(map[dial.Purpose][]dial.Rule{blob.Purpose: rule})
	s, err := blob.OpenS3(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}
