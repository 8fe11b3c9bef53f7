package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sync"
)

// maxOfChannel is the largest file that a channel kind may put, in bytes: a whole mail (MODEL 10).
const maxOfChannel = 100 << 20

// OfChannels is the store as channel kinds see it: they name nothing, they are given keys.
type OfChannels struct{ Store Store }

// Put stores r under a key of its own and returns it with the size in bytes. The type is found by content.
func (b OfChannels) Put(ctx context.Context, r io.Reader, _ string) (key string, size int64, err error) {
	raw := make([]byte, 16)
	if _, err := rand.Read(raw); err != nil {
		return "", 0, fmt.Errorf("name a blob: %w", err)
	}
	key = "channel/" + hex.EncodeToString(raw)
	info, err := b.Store.Put(ctx, key, r, maxOfChannel)
	if n, ok := ctx.Value(noting{}).(*Noted); ok && err == nil {
		n.add(key)
	}
	return key, info.Bytes, err
}

// Get opens what Put stored; the caller closes it.
func (b OfChannels) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	f, _, err := b.Store.Get(ctx, key)
	return f, err
}

// Noted are the keys that a kind was given in one call of it, also those that it did not tell.
type Noted struct {
	mu   sync.Mutex
	keys []string
}

type noting struct{}

// Noting gives the context of a call whose Puts are noted.
func Noting(ctx context.Context) (context.Context, *Noted) {
	n := &Noted{}
	return context.WithValue(ctx, noting{}, n), n
}

// Keys are what was noted until now.
func (n *Noted) Keys() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.keys)
}

func (n *Noted) add(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys = append(n.keys, key)
}
