package blob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"syscall"
	"time"

	"github.com/gabriel-vasile/mimetype"
)

// Folder is a Store in a directory of the local machine. Nothing in a key leads out of it, symbolic links included.
//
// Each file carries its description behind its content: one rename then makes both visible at once, which a second file
// could not promise.
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
	// The library must know where the head was cut, or it takes the head of a long JSON file for broken JSON.
	mimetype.SetLimit(sniffed)
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
	if info, err = fill(ctx, temp, r, max); err != nil {
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

// fill streams r into w, then the description behind it.
func fill(ctx context.Context, w io.Writer, r io.Reader, max int64) (Info, error) {
	src := &counter{ctx: ctx, r: r, left: max}
	head := make([]byte, sniffed)
	n, err := io.ReadFull(src, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Info{}, err
	}
	head = head[:n]
	sum := sha256.New()
	both := io.MultiWriter(w, sum)
	if _, err := both.Write(head); err != nil {
		return Info{}, err
	}
	if _, err := io.Copy(both, src); err != nil {
		return Info{}, err
	}
	info := Info{Bytes: max - src.left, SHA256: hex.EncodeToString(sum.Sum(nil)), ContentType: sniff(head)}
	_, err = w.Write(footer(info))
	return info, err
}

// counter reads at most left bytes; one more is ErrTooLarge. It ends when ctx does.
type counter struct {
	ctx  context.Context // lives for one Put, like the counter itself
	r    io.Reader
	left int64
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	if int64(len(p)) > c.left { // room for one byte more than allowed shows whether there is one
		p = p[:max(c.left, 0)+1]
	}
	n, err := c.r.Read(p)
	if int64(n) > c.left {
		return 0, ErrTooLarge
	}
	c.left -= int64(n)
	return n, err
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

// The description: JSON, its length in four bytes, and eight bytes that say what this is.
const (
	magic    = "TRBFILE1"
	tailSize = 4 + len(magic)
)

type meta struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Type   string `json:"type"`
}

func footer(i Info) []byte {
	b, _ := json.Marshal(meta{i.Bytes, i.SHA256, i.ContentType}) // plain fields cannot fail
	b = binary.BigEndian.AppendUint32(b, uint32(len(b)))
	return append(b, magic...)
}

func describe(file *os.File) (Info, error) {
	stat, err := file.Stat()
	if err != nil {
		return Info{}, err
	}
	if stat.IsDir() {
		return Info{}, ErrNotFound // a key that is the beginning of other keys
	}
	tail := make([]byte, tailSize)
	at := stat.Size() - int64(tailSize)
	if at < 0 {
		return Info{}, ErrDamaged
	}
	if _, err := file.ReadAt(tail, at); err != nil {
		return Info{}, err
	}
	size := int64(binary.BigEndian.Uint32(tail))
	if string(tail[4:]) != magic || size > 4096 || size > at {
		return Info{}, ErrDamaged
	}
	b := make([]byte, size)
	if _, err := file.ReadAt(b, at-size); err != nil {
		return Info{}, err
	}
	var m meta
	if err := json.Unmarshal(b, &m); err != nil || m.Bytes != at-size {
		return Info{}, ErrDamaged
	}
	return Info{Bytes: m.Bytes, SHA256: m.SHA256, ContentType: m.Type, ModTime: stat.ModTime().UTC()}, nil
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
