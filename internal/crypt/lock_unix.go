//go:build darwin || linux || freebsd || netbsd || openbsd || dragonfly

package crypt

import (
	"errors"
	"os"
	"syscall"
)

// lock waits for the advisory lock on path. The kernel frees it when the process dies, so nothing stale stays behind.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		}
	}
}
