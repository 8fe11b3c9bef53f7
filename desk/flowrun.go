package desk

import (
	"context"
	"fmt"
	"maps"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/flow"
	"tributary/ent/prompt"
	"tributary/internal/gid"
)

// publishedFlow is what a channel's callers go through now, as telephony runs it: prompts are files. Nil: they wait at
// once. The version's id is kept with the call.
func (w *work) publishedFlow(ctx context.Context, ch *ent.Channel) (*voice.Flow, gid.ID, error) {
	if ch.FlowID == nil {
		return nil, gid.ID{}, nil
	}
	row, err := w.tx.Flow.Query().Where(flow.ID(*ch.FlowID)).WithPublished().Only(ctx)
	if ent.IsNotFound(err) || err == nil && row.Edges.Published == nil {
		return nil, gid.ID{}, nil
	}
	if err != nil {
		return nil, gid.ID{}, fmt.Errorf("read flow: %w", err)
	}
	f, err := w.playedFlow(ctx, row.Edges.Published)
	return f, row.Edges.Published.ID, err
}

// playedFlow names the file of each prompt of a version. A prompt that is gone is the sound of an error: a caller hears
// that something is wrong, and the flow goes on.
func (w *work) playedFlow(ctx context.Context, v *ent.FlowVersion) (*voice.Flow, error) {
	f, err := documentOf(v)
	if err != nil {
		return nil, err
	}
	_, ids := namedBy(f)
	rows, err := w.tx.Prompt.Query().Where(prompt.IDIn(ids...)).WithAudio().All(ctx)
	if err != nil {
		return nil, fmt.Errorf("read prompts: %w", err)
	}
	files := make(map[string]string, len(rows))
	for _, p := range rows {
		if p.Edges.Audio != nil {
			files[p.ID.String()] = storedAt(p.Edges.Audio)
		}
	}
	f.Nodes = maps.Clone(f.Nodes)
	for key, n := range f.Nodes {
		if n.Sound == nil {
			continue
		}
		if _, ours := keyFor(builtIn, n.Sound.Name); !ours {
			sound := voice.Sound{Name: n.Sound.Name, Blob: files[n.Sound.Name]}
			if sound.Blob == "" {
				sound.Name = voice.SoundError
			}
			n.Sound = &sound
			f.Nodes[key] = n
		}
	}
	return &f, nil
}
