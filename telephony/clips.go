package telephony

import (
	"context"
	"fmt"
	"io"
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
	if s.Blob == "" {
		return media.BuiltIn(s.Name), nil
	}
	k.mu.Lock()
	c, ok := k.byKey[s.Blob]
	k.mu.Unlock()
	if ok {
		return c, nil
	}
	f, _, err := k.files.Get(ctx, s.Blob)
	if err != nil {
		return c, fmt.Errorf("open sound: %w", err)
	}
	defer func() { _ = f.Close() }()
	if c, err = media.LoadClip(io.Reader(f)); err != nil {
		return c, fmt.Errorf("read sound: %w", err)
	}
	k.add(s.Blob, c)
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
	k.bytes += c.Bytes()
	for k.bytes > clipsMax && len(k.order) > 1 {
		k.bytes -= k.byKey[k.order[0]].Bytes()
		delete(k.byKey, k.order[0])
		k.order = k.order[1:]
	}
}
