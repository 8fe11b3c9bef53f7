package desk

import (
	"context"
	"fmt"
	"maps"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/prompt"
)

// playedFlow is a version of a flow as telephony runs it: prompts are files. A prompt that is gone is the sound of an error: a caller hears
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
	f.ID, f.Version, f.Nodes = voiceID(v.FlowID), v.Number, maps.Clone(f.Nodes)
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
