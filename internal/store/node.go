package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrInUse says that another process runs on the data folder.
var ErrInUse = errors.New("another process uses this data folder")

// Node is this process's claim to its data folder. Its name is made once and kept there: a node that comes back takes up
// at once what it held before. That is safe only while one process has the name, so the file is locked until Close; the
// kernel frees the lock of one that dies.
type Node struct {
	Name string
	file *os.File
}

// patience is how long a folder is waited for: a process that was killed a moment ago may still be dying.
const patience = 2 * time.Second

// OpenNode claims the data folder; ErrInUse if somebody else has it.
func OpenNode(dir string) (*Node, error) {
	f, err := os.OpenFile(filepath.Join(dir, "node"), os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's own folder
	if err != nil {
		return nil, fmt.Errorf("the node's name cannot be opened: %w", err)
	}
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		ok, err := tryLock(f)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("the data folder %s cannot be locked: %w", dir, err), f.Close())
		}
		if ok {
			break
		}
		if time.Now().After(until) {
			return nil, errors.Join(fmt.Errorf("%w: %s", ErrInUse, dir), f.Close())
		}
	}
	name, err := nameIn(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Node{Name: name, file: f}, nil
}

// nameIn reads the name, or makes one.
func nameIn(f *os.File) (string, error) {
	b, err := io.ReadAll(io.LimitReader(f, 200))
	if err != nil {
		return "", fmt.Errorf("read the node's name: %w", err)
	}
	if name := strings.TrimSpace(string(b)); name != "" {
		return name, nil
	}
	raw := make([]byte, 8)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make the node's name: %w", err)
	}
	name := "node-" + hex.EncodeToString(raw)
	if _, err := f.WriteString(name + "\n"); err != nil {
		return "", fmt.Errorf("the node's name cannot be written: %w", err)
	}
	return name, f.Sync()
}

// Close gives the folder back.
func (n *Node) Close() error { return n.file.Close() }
