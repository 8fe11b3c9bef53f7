package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"syscall"
	"time"
)

// Folder is a Store in a directory of the local machine. Nothing in a key leads out of it, symbolic links included.
//
// One rename makes content and description visible at once, which a second file could not promise.
type Folder struct {
	root *os.Root
}

// incoming holds unfinished files. A key cannot begin with a dot, so nothing stored ever meets it.
const incoming = ".incoming"

// OpenFolder opens or makes a store in dir and sweeps away what a crash left unfinished. Several processes may share it.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open file store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open file store: %w", err)
	}
	prepareSniffing()
	f := &Folder{root}
	if err := f.sweep(); err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("sweep file store %s: %w", dir, err)
	}
	return f, nil
}

// Close gives the directory back. Files opened by Get stay readable.
func (f *Folder) Close() error { return f.root.Close() }

// Put implements Store.
func (f *Folder) Put(ctx context.Context, key string, r io.Reader, max int64) (Info, error) {
	if err := checkKey(key); err != nil {
		return Info{}, err
	}
	info, err := f.put(ctx, key, r, max)
	if err != nil {
		return Info{}, fmt.Errorf("store file %s: %w", key, err)
	}
	return info, nil
}

func (f *Folder) put(ctx context.Context, key string, r io.Reader, max int64) (info Info, err error) {
	temp, name, err := f.create()
	if err != nil {
		return Info{}, err
	}
	defer func() {
		_ = temp.Close() // nothing to learn after Sync
		if err != nil {
			_ = f.root.Remove(name)
		}
	}()
	if info, err = fill(ctx, temp, r, max, nil); err != nil {
		return Info{}, err
	}
	if err = temp.Sync(); err != nil {
		return Info{}, err
	}
	stat, err := temp.Stat()
	if err != nil {
		return Info{}, err
	}
	info.ModTime = stat.ModTime().UTC()
	dir := path.Dir(key)
	if err = f.mkdir(dir); err != nil {
		return Info{}, err
	}
	if !locks { // Windows renames no open file; elsewhere closing gives the lock away, and with it the file to a sweep
		_ = temp.Close()
	}
	if err = f.root.Rename(name, key); err != nil {
		return Info{}, err
	}
	return info, f.syncDir(dir)
}

// Get implements Store.
func (f *Folder) Get(ctx context.Context, key string) (io.ReadSeekCloser, Info, error) {
	file, info, err := f.open(ctx, key)
	if err != nil {
		return nil, Info{}, err
	}
	return &content{io.NewSectionReader(file, 0, info.Bytes), file}, info, nil
}

// Stat implements Store.
func (f *Folder) Stat(ctx context.Context, key string) (Info, error) {
	file, info, err := f.open(ctx, key)
	if err != nil {
		return Info{}, err
	}
	return info, file.Close()
}

// Delete implements Store.
func (f *Folder) Delete(ctx context.Context, key string) error {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return err
	}
	err := f.root.Remove(key)
	if absent(err) {
		return nil
	}
	if err == nil {
		err = f.syncDir(path.Dir(key)) // what was erased must not come back after a crash
	}
	if err != nil {
		return fmt.Errorf("delete file %s: %w", key, err)
	}
	return nil
}

// content is the stored bytes without the description behind them.
type content struct {
	*io.SectionReader
	file *os.File
}

func (c *content) Close() error { return c.file.Close() }

func (f *Folder) open(ctx context.Context, key string) (*os.File, Info, error) {
	if err := errors.Join(checkKey(key), ctx.Err()); err != nil {
		return nil, Info{}, err
	}
	file, err := f.root.Open(key)
	if absent(err) {
		return nil, Info{}, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	if err != nil {
		return nil, Info{}, fmt.Errorf("open file %s: %w", key, err)
	}
	info, err := describe(file)
	if err != nil {
		_ = file.Close()
		return nil, Info{}, fmt.Errorf("open file %s: %w", key, err)
	}
	return file, info, nil
}

// absent reports whether err says that a path leads nowhere, also by passing through a file as if it were a folder.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) }

// describe reads the description at the end of an open file.
func describe(file *os.File) (Info, error) {
	stat, err := file.Stat()
	if err != nil {
		return Info{}, err
	}
	if stat.IsDir() {
		return Info{}, ErrNotFound // a key that is the beginning of other keys
	}
	tail := make([]byte, min(stat.Size(), maxTail))
	if _, err := file.ReadAt(tail, stat.Size()-int64(len(tail))); err != nil {
		return Info{}, err
	}
	return parseTail(tail, stat.Size(), stat.ModTime())
}

// create makes a locked file in incoming. The lock tells a sweep in another process that somebody still writes; a sweep
// that got in between making and locking has removed the file, so that is looked at again.
func (f *Folder) create() (*os.File, string, error) {
	for {
		name := incoming + "/" + rand.Text()
		file, err := f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return nil, "", err
		}
		locked, err := tryLock(file)
		if err != nil {
			_ = file.Close()
			_ = f.root.Remove(name)
			return nil, "", fmt.Errorf("lock incoming file: %w", err)
		}
		if locked {
			if _, err := f.root.Lstat(name); err == nil {
				return file, name, nil
			}
		}
		_ = file.Close()
	}
}

func (f *Folder) sweep() error {
	if err := f.root.MkdirAll(incoming, 0o700); err != nil {
		return err
	}
	list, err := fs.ReadDir(f.root.FS(), incoming)
	if err != nil {
		return err
	}
	for _, e := range list {
		name := incoming + "/" + e.Name()
		file, err := f.root.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // finished or swept by another process
		}
		if err != nil {
			return err
		}
		if abandoned(file) {
			err = f.root.Remove(name)
		}
		_ = file.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// abandoned reports whether nobody writes file any more. Where there are no locks, a day without a write has to do.
func abandoned(file *os.File) bool {
	if !locks {
		stat, err := file.Stat()
		return err == nil && time.Since(stat.ModTime()) > 24*time.Hour
	}
	ok, err := tryLock(file)
	return ok && err == nil
}

// mkdir makes dir and its parents durable, top down.
func (f *Folder) mkdir(dir string) error {
	if dir == "." {
		return nil
	}
	if stat, err := f.root.Stat(dir); err == nil && stat.IsDir() {
		return nil
	}
	if err := f.mkdir(path.Dir(dir)); err != nil {
		return err
	}
	if err := f.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.syncDir(path.Dir(dir))
}

// syncDir makes a rename durable. Windows cannot sync a directory and does not need to.
func (f *Folder) syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
