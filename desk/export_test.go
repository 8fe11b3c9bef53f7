package desk

import (
	"context"
	"io"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/internal/gid"
)

// Overdue lets the time of every retired channel come now, which is minutes away.
func (d *Desk) Overdue() {
	d.open.mu.Lock()
	defer d.open.mu.Unlock()
	for t := range d.open.retired {
		t.Reset(0)
	}
}

// PublishedFlow is what a channel's callers go through now, as telephony runs it, and its version.
func (d *Desk) PublishedFlow(ctx context.Context, ch *ent.Channel) (f *voice.Flow, version gid.ID, err error) {
	err = d.do(ctx, nil, func(ctx context.Context, w *work) error {
		v, err := w.flowFor(ctx, ch)
		if v == nil || err != nil {
			return err
		}
		version = v.ID
		f, err = w.playedFlow(ctx, v)
		return err
	})
	return f, version, err
}

// WAVSeconds is how long a WAV file lasts.
func WAVSeconds(r io.ReadSeeker, size int64) (float64, error) { return wavSeconds(r, size) }
