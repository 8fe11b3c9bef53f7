package blob_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"tributary/internal/blob"
)

// part is where S3 begins a new part of an upload.
const part = 5 << 20

// rig is a store that these tests hold to its contract, with a look behind it.
type rig struct {
	blob.Store
	again     func(t *testing.T) blob.Store               // as another process opens it
	raw       func(t *testing.T, key string) []byte       // what is stored
	overwrite func(t *testing.T, key string, with []byte) // as somebody else would
	left      func(t *testing.T) []string                 // everything in it, finished or not
}

// each runs f over every implementation of Store.
func each(t *testing.T, f func(t *testing.T, s rig)) {
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		f(t, folderRig(t))
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		f(t, newBucket(t).rig(t))
	})
}

func folderRig(t *testing.T) rig {
	dir := filepath.Join(t.TempDir(), "files")
	return rig{
		Store: open(t, dir),
		again: func(t *testing.T) blob.Store { return open(t, dir) },
		raw: func(t *testing.T, key string) []byte {
			b, err := os.ReadFile(filepath.Join(dir, key))
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		overwrite: func(t *testing.T, key string, with []byte) {
			if err := os.WriteFile(filepath.Join(dir, key), with, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		left: func(t *testing.T) []string { return files(t, dir) },
	}
}

func put(t *testing.T, s blob.Store, key, content string) blob.Info {
	t.Helper()
	info, err := s.Put(t.Context(), key, strings.NewReader(content), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func get(t *testing.T, s blob.Store, key string) (string, blob.Info) {
	t.Helper()
	r, info, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), info
}

func TestStoreKeepsWhatItGot(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		for _, size := range []int{
			0, 1, 3071, 3072, 3073, 1<<16 - 150, 1 << 16, 1<<17 - 1, 1 << 17, 1<<17 + 1, 1<<20 - 1, 1 << 20,
			part - 150, part - 1, part, part + 1, 2*part + 1, // where S3 begins another part, with and without the description
		} {
			key := fmt.Sprintf("wsp_1/att_%d", size)
			content := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(content) // never fails
			put, err := s.Put(t.Context(), key, iotest.HalfReader(bytes.NewReader(content)), 4*part)
			if err != nil {
				t.Fatal(err)
			}
			if put.Bytes != int64(size) || put.SHA256 != fmt.Sprintf("%x", sha256.Sum256(content)) || put.ModTime.IsZero() {
				t.Errorf("%d bytes: %+v", size, put)
			}
			again := s.again(t) // what another start sees
			got, info := get(t, again, key)
			if got != string(content) {
				t.Errorf("%d bytes came back as %d others", size, len(got))
			}
			stat, err := again.Stat(t.Context(), key)
			if err != nil || info != put || stat != put {
				t.Errorf("described as %+v, %+v and %+v, %v", put, info, stat, err)
			}
		}
	})
}

func TestGetSeeks(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		for _, size := range []int{10, 300_000} { // in one piece and in several
			content := make([]byte, size)
			for i := range content {
				content[i] = byte('a' + i%26)
			}
			put(t, s, "a", string(content))
			r, _, err := s.Get(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(r, content); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
			if end, err := r.Seek(0, io.SeekEnd); end != int64(size) || err != nil {
				t.Errorf("end at %d, %v", end, err)
			}
			if _, err := r.Seek(-3, io.SeekEnd); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(r); string(b) != string(content[size-3:]) || err != nil {
				t.Errorf("tail %q, %v", b, err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestReplaceAndDelete(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		for _, size := range []int{3, 300_000} {
			old := strings.Repeat("o", size)
			put(t, s, "w/a", old)
			r, _, err := s.Get(t.Context(), "w/a")
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, "w/a", strings.Repeat("n", size+2))
			if got, info := get(t, s, "w/a"); got != strings.Repeat("n", size+2) || info.Bytes != int64(size+2) {
				t.Errorf("after replacing: %.9q, %+v", got, info)
			}
			if b, err := io.ReadAll(r); string(b) != old && !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("the reader of the old file got %.9q, %v", b, err)
			}
			for range 2 { // a repeated erasure succeeds
				if err := s.Delete(t.Context(), "w/a"); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := r.Seek(0, io.SeekStart); err != nil {
				t.Error(err)
			}
			if b, err := io.ReadAll(r); string(b) != old && !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("the reader of the deleted file got %.9q, %v", b, err)
			}
			_ = r.Close()
			if _, _, err := s.Get(t.Context(), "w/a"); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("Get after Delete: %v", err)
			}
			if left := s.left(t); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		}
	})
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		put(t, s, "w/a", "x")
		for _, key := range []string{"b", "w/b", "x/y/z", "w", "w/a/b"} {
			if _, err := s.Stat(t.Context(), key); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("Stat(%s): %v", key, err)
			}
			if _, _, err := s.Get(t.Context(), key); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("Get(%s): %v", key, err)
			}
		}
		if err := s.Delete(t.Context(), "w/a/b"); err != nil {
			t.Errorf("Delete of nothing: %v", err)
		}
	})
}

func TestPutFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		boom := errors.New("boom")
		stopped, stop := context.WithCancel(t.Context())
		stop()
		for name, c := range map[string]struct {
			ctx  context.Context
			r    func() io.Reader
			max  int64
			want error
		}{
			"one over":           {t.Context(), func() io.Reader { return strings.NewReader("123456") }, 5, blob.ErrTooLarge},
			"far over":           {t.Context(), func() io.Reader { return endless{} }, 1 << 20, blob.ErrTooLarge},
			"none allowed":       {t.Context(), func() io.Reader { return strings.NewReader("1") }, 0, blob.ErrTooLarge},
			"negative":           {t.Context(), func() io.Reader { return strings.NewReader("1") }, -1, blob.ErrTooLarge},
			"far over, in parts": {t.Context(), func() io.Reader { return endless{} }, 2*part + 1, blob.ErrTooLarge},
			"early failure":      {t.Context(), func() io.Reader { return iotest.ErrReader(boom) }, 10, boom},
			"early break":        {t.Context(), func() io.Reader { return io.MultiReader(strings.NewReader("x"), &broken{}) }, 10, io.ErrUnexpectedEOF},
			"late failure": {t.Context(), func() io.Reader {
				return io.MultiReader(strings.NewReader(strings.Repeat("x", 99999)), iotest.ErrReader(boom))
			}, 1 << 20, boom},
			"cancelled": {stopped, func() io.Reader { return strings.NewReader("1") }, 10, context.Canceled},
			"late failure, in parts": {t.Context(), func() io.Reader {
				return io.MultiReader(io.LimitReader(endless{}, part+9), iotest.ErrReader(boom))
			}, 1 << 30, boom},
		} {
			put(t, s, "kept", "old")
			for _, key := range []string{"new/key", "kept"} {
				if _, err := s.Put(c.ctx, key, c.r(), c.max); !errors.Is(err, c.want) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if got, _ := get(t, s, "kept"); got != "old" {
				t.Errorf("%s: the file of before is now %q", name, got)
			}
			if left := s.left(t); len(left) != 1 {
				t.Errorf("%s: left %v", name, left)
			}
		}
		for content, max := range map[string]int64{"12345": 5, "": 0, "1": math.MaxInt64} { // the twins that fit
			if info, err := s.Put(t.Context(), "a", strings.NewReader(content), max); err != nil || info.Bytes != int64(len(content)) {
				t.Errorf("%q within %d: %+v, %v", content, max, info, err)
			}
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// broken says once that it broke off.
type broken struct{ said bool }

func (b *broken) Read([]byte) (int, error) {
	if b.said {
		return 0, io.EOF
	}
	b.said = true
	return 0, io.ErrUnexpectedEOF
}

func TestKeysAreBoring(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		for _, key := range []string{
			"", ".", "..", "/", "/a", "a/", "a//b", "../secret", "a/../../secret", "a/./b", ".incoming/x", ".hidden", "a/.b",
			`..\secret`, `a\b`, "C:a", "a\x00b", "a\nb", "a b", "文件", "a%2f..", "~", "a:b", "a?b", "a*",
			strings.Repeat("a", 201), strings.Repeat("a/", 20) + "a", strings.Repeat("aaaaaaaaa/", 60) + "a",
		} {
			if _, err := s.Put(t.Context(), key, strings.NewReader("x"), 9); !errors.Is(err, blob.ErrKey) {
				t.Errorf("Put(%q): %v", key, err)
			}
			if _, _, err := s.Get(t.Context(), key); !errors.Is(err, blob.ErrKey) {
				t.Errorf("Get(%q): %v", key, err)
			}
			if _, err := s.Stat(t.Context(), key); !errors.Is(err, blob.ErrKey) {
				t.Errorf("Stat(%q): %v", key, err)
			}
			if err := s.Delete(t.Context(), key); !errors.Is(err, blob.ErrKey) {
				t.Errorf("Delete(%q): %v", key, err)
			}
		}
		put(t, s, "wsp_06h0/2026/att-1.v2_x", "x") // the twin
	})
}

func TestDamageIsSeen(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		put(t, s, "a", strings.Repeat("content ", 100))
		whole := s.raw(t, "a")
		bad := map[string][]byte{
			"empty": {}, "cut": whole[:len(whole)-1], "head cut": whole[1:], "longer": append(bytes.Clone(whole), 'x'),
			"no description": []byte("plain text that is long enough"), "only a mark": []byte("TRBFILE1"),
			"another mark":      append(bytes.Clone(whole[:len(whole)-1]), '2'),
			"large and foreign": bytes.Repeat([]byte("x"), 200_000),
			"length":            append(bytes.Clone(whole[:len(whole)-12]), "\xff\xff\xff\xffTRBFILE1"...),
		}
		for name, b := range bad {
			s.overwrite(t, "a", b)
			if _, _, err := s.Get(t.Context(), "a"); !errors.Is(err, blob.ErrDamaged) {
				t.Errorf("Get, %s: %v", name, err)
			}
			if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, blob.ErrDamaged) {
				t.Errorf("Stat, %s: %v", name, err)
			}
		}
		s.overwrite(t, "a", whole) // the twin
		if got, _ := get(t, s, "a"); got != strings.Repeat("content ", 100) {
			t.Errorf("got %.20q", got)
		}
	})
}

func TestParallelPuts(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		one, two := s.Store, s.again(t)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				s := []blob.Store{one, two}[i%2]
				content := strings.Repeat(string(rune('a'+i)), 10000+i)
				for _, key := range []string{"same/key", fmt.Sprintf("own/deep/%d/key", i)} {
					if _, err := s.Put(context.WithoutCancel(t.Context()), key, iotest.OneByteReader(strings.NewReader(content)), 1<<20); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		got, info := get(t, one, "same/key")
		if info.SHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte(got))) {
			t.Error("two writers mixed")
		}
		if n := len(s.left(t)); n != 21 {
			t.Errorf("%d files, want 21", n)
		}
	})
}

func TestModTimeIsStable(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s rig) {
		before := time.Now().Add(-time.Minute)
		info := put(t, s, "a", "x")
		if info.ModTime.Before(before) || info.ModTime.Location() != time.UTC {
			t.Errorf("stored at %v", info.ModTime)
		}
	})
}
