package blob_test

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"tributary/internal/blob"
)

// A real full disk: a file system of one megabyte. Mounting needs privileges, so elsewhere the test says
// that it did not run, or fails where a skip is no option.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		if os.Getenv("TEST_REQUIRE_SERVERS") == "1" {
			t.Fatal("TEST_REQUIRE_SERVERS=1, but a small file system cannot be mounted:", err)
		}
		t.Skip("SKIPPED, needs the right to mount:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	s, err := blob.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, "w/kept", "old")
	for _, key := range []string{"w/kept", "w/new"} {
		_, err = s.Put(t.Context(), key, bytes.NewReader(make([]byte, 4<<20)), 8<<20)
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("put on a full disk: %v", err)
		}
	}
	if got, _ := get(t, s, "w/kept"); got != "old" {
		t.Errorf("the file of before is now %q", got)
	}
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	put(t, s, "w/new", "fits") // room again: nothing was leaked
}
