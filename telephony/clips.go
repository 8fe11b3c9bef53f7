package telephony

import (
	"context"
	"fmt"
	"sync"

	"tributary/channels/voice"
	"tributary/telephony/media"
)

// clips keeps decoded sounds, the newest within a bound. A blob never changes under its key.
type clips struct {
	files Files
	mu    sync.Mutex
	byKey map[string]media.Clip
	order []string
	bytes int
}

// clipsMax bounds the decoded sounds that are kept, in bytes.
const clipsMax = 64 << 20

// get is the sound, decoded.
func (k *clips) get(ctx context.Context, s voice.Sound) (media.Clip, error) {
	key := s.Blob
	if key == "" {
		key = builtIn + s.Name
	}
	k.mu.Lock()
	c, ok := k.byKey[key]
	k.mu.Unlock()
	if ok {
		return c, nil
	}
	c, err := k.load(ctx, s)
	if err == nil {
		k.add(key, c)
	}
	return c, err
}

// builtIn keeps names of sounds apart from keys of the blob store, which have no colon.
const builtIn = "built-in:"

func (k *clips) load(ctx context.Context, s voice.Sound) (media.Clip, error) {
	if s.Blob == "" {
		return media.BuiltIn(s.Name)
	}
	f, _, err := k.files.Get(ctx, s.Blob)
	if err != nil {
		return media.Clip{}, fmt.Errorf("open sound: %w", err)
	}
	defer func() { _ = f.Close() }()
	c, err := media.LoadClip(f)
	if err != nil {
		return c, fmt.Errorf("read sound: %w", err)
	}
	return c, nil
}

func (k *clips) add(key string, c media.Clip) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byKey == nil {
		k.byKey = map[string]media.Clip{}
	}
	if _, twice := k.byKey[key]; twice {
		return
	}
	k.byKey[key] = c
	k.order = append(k.order, key)
	k.bytes += bytesOf(c)
	for k.bytes > clipsMax && len(k.order) > 1 {
		k.bytes -= bytesOf(k.byKey[k.order[0]])
		delete(k.byKey, k.order[0])
		k.order = k.order[1:]
	}
}

// bytesOf is what a clip takes: one byte a sample in each codec.
func bytesOf(c media.Clip) int { return 2 * c.Len() }
