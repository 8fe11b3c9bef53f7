package desk

import (
	"context"
	"fmt"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/flow"
	"tributary/ent/prompt"
	"tributary/internal/gid"
)

// flowFor is the published version of a channel's flow; nil if it has none.
func (w *work) flowFor(ctx context.Context, ch *ent.Channel) (*ent.FlowVersion, error) {
	if ch.FlowID == nil {
		return nil, nil
	}
	f, err := w.tx.Flow.Query().Where(flow.ID(*ch.FlowID)).WithPublished().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read flow: %w", err)
	}
	return f.Edges.Published, nil
}

// sound is a prompt's file, or a built-in sound by its name. A prompt that is gone is the sound of an error: a caller hears
// that something is wrong, and the flow goes on.
func (w *work) sound(ctx context.Context, name string) (*voice.Sound, error) {
	id := rowID(voice.ID(name))
	if id.Kind() != gid.Prompt {
		return &voice.Sound{Name: name}, nil
	}
	p, err := w.tx.Prompt.Query().Where(prompt.ID(id)).WithAudio().Only(ctx)
	if ent.IsNotFound(err) || err == nil && p.Edges.Audio == nil {
		return &voice.Sound{Name: voice.SoundError}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read prompt: %w", err)
	}
	return &voice.Sound{Name: name, Blob: storedAt(p.Edges.Audio)}, nil
}

// waitingSound is what a customer hears while he waits where the interaction is.
func (w *work) waitingSound(ctx context.Context, i *ent.Interaction) (*voice.Sound, error) {
	name := voice.SoundWaiting
	if i.QueueID != nil {
		q, err := w.tx.Queue.Get(ctx, *i.QueueID)
		if err != nil {
			return nil, fmt.Errorf("read queue: %w", err)
		}
		if q.WaitingPromptID != nil {
			name = q.WaitingPromptID.String()
		}
	}
	return w.sound(ctx, name)
}
