package crypt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Open reads the keyset at path, or makes one there if nothing exists. Any number of processes may open the same path at
// once: all end with the keyset of the first.
func Open(path string) (*Box, error) {
	k, err := load(path)
	if errors.Is(err, fs.ErrNotExist) {
		k, err = create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open keyset: %w", err)
	}
	b := &Box{path: path}
	b.keys.Store(k)
	return b, nil
}

func load(path string) (*keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names the path already
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s is open to every user of this machine (mode %v): chmod 600 it", path, info.Mode().Perm())
	}
	data := make([]byte, min(info.Size(), 1<<20))
	if _, err := f.ReadAt(data, 0); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	k, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	k.stamp = info
	return k, nil
}

func create(path string) (*keys, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if k, err := load(path); !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k, err := generate()
	if err != nil {
		return nil, err
	}
	if k.stamp, err = save(path, k, false); errors.Is(err, fs.ErrExist) {
		return load(path)
	} else if err != nil {
		return nil, err
	}
	// The folder may be new, too; a crash must not take it away with the only key inside. Not every parent may be opened.
	_ = syncDir(filepath.Dir(filepath.Dir(path)))
	return k, nil
}

// save writes k beside path, syncs, and moves it into place. Without replace an existing file wins even where the file
// system knows no locks: a hard link never overwrites.
func save(path string, k *keys, replace bool) (_ fs.FileInfo, err error) {
	data, err := k.encode()
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".keyset-*") // made 0600
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = os.Remove(f.Name()) // gone already after a rename
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("write keyset %s: %w", path, err)
	}
	if err := place(f.Name(), path, replace); err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("sync %s: %w", dir, err)
	}
	return os.Stat(path)
}

func place(temp, path string, replace bool) error {
	if !replace {
		err := os.Link(temp, path)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
		// No hard links here (some network and container mounts): we hold the lock and saw no file.
	}
	return os.Rename(temp, path)
}

// changed reports whether the file at path is another one than stamp; a missing file is not a change.
func changed(path string, stamp fs.FileInfo) bool {
	now, err := os.Stat(path)
	if err != nil || stamp == nil {
		return false
	}
	return !os.SameFile(now, stamp) || now.Size() != stamp.Size() || !now.ModTime().Equal(stamp.ModTime())
}

// syncDir makes a rename durable. Windows cannot sync a directory and does not need to.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
