package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

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

func TestReplacingDoesNotDisturbAReader(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	put(t, s, "w/a", "old")
	r, _, err := s.Get(t.Context(), "w/a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	put(t, s, "w/a", "newer")
	if err := s.Delete(t.Context(), "w/a"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "old" || err != nil {
		t.Errorf("the reader of the old file got %q, %v", b, err)
	}
}

// A symbolic link planted in the folder leads nowhere outside.
func TestLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	dir := filepath.Join(base, "files")
	s := open(t, dir)
	if err := os.WriteFile(filepath.Join(base, "secret"), []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, s, "wsp_06h0/2026/att-1.v2_x", "x") // the twin
	if len(files(t, base)) != 2 {
		t.Errorf("files: %v", files(t, base))
	}
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

// A start in the middle must not sweep what is being written.
func TestStartsAmongPuts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			content := iotest.OneByteReader(strings.NewReader(strings.Repeat("x", 10000+i)))
			if _, err := s.Put(context.WithoutCancel(t.Context()), fmt.Sprintf("own/deep/%d/key", i), content, 1<<20); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			f, err := blob.OpenFolder(dir)
			if err != nil {
				t.Error(err)
				return
			}
			_ = f.Close()
		})
	}
	wg.Wait()
	if n := len(files(t, dir)); n != 20 {
		t.Errorf("%d files, want 20", n)
	}
}

// The test binary is its own child: it begins a file in the named folder and waits to be killed.
const childEnv = "BLOB_TEST_HANG"

func TestMain(m *testing.M) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		code := m.Run()
		if err := goleak.Find(); err != nil && code == 0 {
			fmt.Println(err)
			code = 1
		}
		os.Exit(code)
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
