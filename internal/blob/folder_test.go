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
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"tributary/internal/blob"
)

func open(t *testing.T, dir string) *blob.Folder {
	t.Helper()
	f, err := blob.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
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

// files lists everything under dir but the empty folder for incoming files.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, strings.TrimPrefix(p, dir+string(filepath.Separator)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFolderKeepsWhatItGot(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "files")
	s := open(t, dir)
	for _, size := range []int{0, 1, 3071, 3072, 3073, 1 << 16, 1<<20 - 1, 1 << 20} {
		key := fmt.Sprintf("wsp_1/att_%d", size)
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(rand.Uint32())
		}
		put, err := s.Put(t.Context(), key, iotest.HalfReader(bytes.NewReader(content)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if put.Bytes != int64(size) || put.SHA256 != fmt.Sprintf("%x", sha256.Sum256(content)) || put.ModTime.IsZero() {
			t.Errorf("%d bytes: %+v", size, put)
		}
		again := open(t, dir) // what another start sees
		got, info := get(t, again, key)
		if got != string(content) {
			t.Errorf("%d bytes came back as %d others", size, len(got))
		}
		stat, err := again.Stat(t.Context(), key)
		if err != nil || info != put || stat != put {
			t.Errorf("described as %+v, %+v and %+v, %v", put, info, stat, err)
		}
	}
}

func TestGetSeeks(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	put(t, s, "a", "0123456789")
	r, _, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if end, err := r.Seek(0, io.SeekEnd); end != 10 || err != nil {
		t.Errorf("end at %d, %v", end, err)
	}
	if _, err := r.Seek(-3, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "789" || err != nil {
		t.Errorf("tail %q, %v", b, err)
	}
}

func TestReplaceAndDelete(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "w/a", "old")
	r, _, err := s.Get(t.Context(), "w/a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, s, "w/a", "newer")
	if got, info := get(t, s, "w/a"); got != "newer" || info.Bytes != 5 {
		t.Errorf("after replacing: %q, %+v", got, info)
	}
	for range 2 { // a repeated erasure succeeds
		if err := s.Delete(t.Context(), "w/a"); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := io.ReadAll(r); string(b) != "old" || err != nil {
		t.Errorf("the reader of the old file got %q, %v", b, err)
	}
	if _, _, err := s.Get(t.Context(), "w/a"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Get after Delete: %v", err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
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
}

func TestPutFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, c := range map[string]struct {
		ctx  context.Context
		r    func() io.Reader
		max  int64
		want error
	}{
		"one over":      {t.Context(), func() io.Reader { return strings.NewReader("123456") }, 5, blob.ErrTooLarge},
		"far over":      {t.Context(), func() io.Reader { return endless{} }, 1 << 20, blob.ErrTooLarge},
		"none allowed":  {t.Context(), func() io.Reader { return strings.NewReader("1") }, 0, blob.ErrTooLarge},
		"negative":      {t.Context(), func() io.Reader { return strings.NewReader("1") }, -1, blob.ErrTooLarge},
		"early failure": {t.Context(), func() io.Reader { return iotest.ErrReader(boom) }, 10, boom},
		"late failure": {t.Context(), func() io.Reader {
			return io.MultiReader(strings.NewReader(strings.Repeat("x", 99999)), iotest.ErrReader(boom))
		}, 1 << 20, boom},
		"cancelled": {stopped, func() io.Reader { return strings.NewReader("1") }, 10, context.Canceled},
	} {
		dir := t.TempDir()
		s := open(t, dir)
		put(t, s, "kept", "old")
		for _, key := range []string{"new/key", "kept"} {
			if _, err := s.Put(c.ctx, key, c.r(), c.max); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got, _ := get(t, s, "kept"); got != "old" {
			t.Errorf("%s: the file of before is now %q", name, got)
		}
		if left := files(t, dir); len(left) != 1 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	s := open(t, t.TempDir())
	for content, max := range map[string]int64{"12345": 5, "": 0, "1": math.MaxInt64} { // the twins that fit
		if info, err := s.Put(t.Context(), "a", strings.NewReader(content), max); err != nil || info.Bytes != int64(len(content)) {
			t.Errorf("%q within %d: %+v, %v", content, max, info, err)
		}
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestKeysStayInside(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := filepath.Join(base, "files")
	s := open(t, dir)
	if err := os.WriteFile(filepath.Join(base, "secret"), []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
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
	if len(files(t, base)) != 2 {
		t.Errorf("files: %v", files(t, base))
	}
	// A symbolic link planted in the folder leads nowhere outside.
	if err := os.Symlink(base, filepath.Join(dir, "out")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if _, _, err := s.Get(t.Context(), "out/secret"); err == nil {
		t.Error("a link leads outside")
	}
	if _, err := s.Put(t.Context(), "out/planted", strings.NewReader("x"), 9); err == nil {
		t.Error("a link lets a file be written outside")
	}
}

func TestDamageIsSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	put(t, s, "a", strings.Repeat("content ", 100))
	whole, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string][]byte{
		"empty": {}, "cut": whole[:len(whole)-1], "head cut": whole[1:], "longer": append(bytes.Clone(whole), 'x'),
		"no description": []byte("plain text that is long enough"), "only a mark": []byte("TRBFILE1"),
		"length": append(bytes.Clone(whole[:len(whole)-12]), "\xff\xff\xff\xffTRBFILE1"...),
	}
	for name, b := range bad {
		if err := os.WriteFile(filepath.Join(dir, "a"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Get(t.Context(), "a"); !errors.Is(err, blob.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParallelPuts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := open(t, dir), open(t, dir)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			s := []*blob.Folder{one, two}[i%2]
			content := strings.Repeat(string(rune('a'+i)), 10000+i)
			for _, key := range []string{"same/key", fmt.Sprintf("own/deep/%d/key", i)} {
				if _, err := s.Put(context.WithoutCancel(t.Context()), key, iotest.OneByteReader(strings.NewReader(content)), 1<<20); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() { // a start in the middle must not sweep what is being written
			f, err := blob.OpenFolder(dir)
			if err != nil {
				t.Error(err)
				return
			}
			_ = f.Close()
		})
	}
	wg.Wait()
	got, info := get(t, one, "same/key")
	if info.SHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte(got))) {
		t.Error("two writers mixed")
	}
	if n := len(files(t, dir)); n != 21 {
		t.Errorf("%d files, want 21", n)
	}
}

// The test binary is its own child: it begins a file in the named folder and waits to be killed.
const childEnv = "BLOB_TEST_HANG"

func TestMain(m *testing.M) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	f, err := blob.OpenFolder(dir)
	if err != nil {
		os.Exit(1)
	}
	told := io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), readFunc(func([]byte) (int, error) {
		fmt.Println("writing")
		select {}
	}))
	_, _ = f.Put(context.Background(), "w/a", told, 1<<30)
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestKilledWriterIsSwept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("writing\n"))); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("a start took the file of a living writer: %v", left)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s := open(t, dir)
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("left after a kill and a start: %v", left)
	}
	if _, err := s.Stat(t.Context(), "w/a"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("half a file is visible: %v", err)
	}
}

func TestContentType(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	const png = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
	for _, c := range []struct {
		content, want string
		inline        bool
	}{
		{png, "image/png", true},
		{"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "image/jpeg", true},
		{"GIF89a\x01\x00\x01\x00", "image/gif", true},
		{"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp", true},
		{`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`, "image/svg+xml", false},
		{"<html><script>alert(1)</script></html>", "text/html; charset=utf-8", false},
		{"%PDF-1.7\n", "application/pdf", false},
		{"hello", "text/plain; charset=utf-8", false},
		{"", "text/plain", false},
		{`{"a":[` + strings.Repeat("1,", 5000) + "1]}", "application/json", false},
		{"\x00\x01\x02\x03", "application/octet-stream", false},
	} {
		info := put(t, s, "a", c.content)
		if !strings.HasPrefix(info.ContentType, c.want) {
			t.Errorf("%.20q is %s, want %s", c.content, info.ContentType, c.want)
		}
		if blob.SafeInline(info.ContentType) != c.inline {
			t.Errorf("SafeInline(%s) = %v", info.ContentType, !c.inline)
		}
	}
}

func TestSafeInline(t *testing.T) {
	t.Parallel()
	for _, ct := range []string{"image/png", "IMAGE/PNG", "image/jpeg; x=y", "image/gif", "image/webp"} {
		if !blob.SafeInline(ct) {
			t.Errorf("%s is refused", ct)
		}
	}
	for _, ct := range []string{"", "image", "image/*", "image/svg+xml", "image/png, text/html", "image/png+xml", "text/html", "application/pdf", "image/bmp", "image/avif", ";", "image/png;=;"} {
		if blob.SafeInline(ct) {
			t.Errorf("%s passes", ct)
		}
	}
}

func TestModTimeIsStable(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	before := time.Now().Add(-time.Minute)
	info := put(t, s, "a", "x")
	if info.ModTime.Before(before) || info.ModTime.Location() != time.UTC {
		t.Errorf("stored at %v", info.ModTime)
	}
}
