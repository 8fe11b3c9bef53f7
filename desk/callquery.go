package desk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callfact"
	"tributary/ent/callleg"
	"tributary/ent/interaction"
	"tributary/ent/predicate"
	"tributary/ent/recording"
	"tributary/internal/blob"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/personal"
	"tributary/internal/viewer"
)

// callSight cuts calls and what belongs to them to the reach of the viewer (MODEL 6).
func (d *Desk) callSight() {
	of := func(p predicate.Conversation) predicate.Call {
		return call.HasInteractionWith(interaction.HasConversationWith(p))
	}
	d.db.Call.Intercept(reach(func(_ *viewer.Viewer, q *ent.CallQuery, p predicate.Conversation) { q.Where(of(p)) }))
	d.db.CallLeg.Intercept(reach(func(_ *viewer.Viewer, q *ent.CallLegQuery, p predicate.Conversation) {
		q.Where(callleg.HasCallWith(of(p)))
	}))
	d.db.CallFact.Intercept(reach(func(_ *viewer.Viewer, q *ent.CallFactQuery, p predicate.Conversation) {
		q.Where(callfact.HasCallWith(of(p)))
	}))
	d.db.Recording.Intercept(reach(func(_ *viewer.Viewer, q *ent.RecordingQuery, p predicate.Conversation) {
		q.Where(recording.HasCallWith(of(p)))
	}))
}

// withholdCalls hides the calls of restricted queues from who is no member: numbers, keys and recordings are content.
func (d *Desk) withholdCalls() {
	d.db.Call.Intercept(content(func(q *ent.CallQuery, shown predicate.Interaction) { q.Where(call.HasInteractionWith(shown)) }))
	d.db.CallLeg.Intercept(content(func(q *ent.CallLegQuery, shown predicate.Interaction) {
		q.Where(callleg.HasCallWith(call.HasInteractionWith(shown)))
	}))
	d.db.CallFact.Intercept(content(func(q *ent.CallFactQuery, shown predicate.Interaction) {
		q.Where(callfact.HasCallWith(call.HasInteractionWith(shown)))
	}))
	d.db.Recording.Intercept(content(func(q *ent.RecordingQuery, shown predicate.Interaction) {
		q.Where(recording.HasCallWith(call.HasInteractionWith(shown)))
	}))
}

// CallFilter narrows calls.
type CallFilter struct {
	States                     []call.State
	Directions                 []call.Direction
	EndCauses                  []call.EndCause
	AgentIds                   []gid.ID
	StartedFrom, StartedBefore *time.Time
}

// Calls within the viewer's reach, newest first.
func (d *Desk) Calls(ctx context.Context, f *CallFilter) (*ent.CallQuery, page.Order, error) {
	q := d.db.Call.Query()
	if f != nil {
		if len(f.States) > 0 {
			q.Where(call.StateIn(f.States...))
		}
		if len(f.Directions) > 0 {
			q.Where(call.DirectionIn(f.Directions...))
		}
		if len(f.EndCauses) > 0 {
			q.Where(call.EndCauseIn(f.EndCauses...))
		}
		if len(f.AgentIds) > 0 {
			q.Where(call.HasLegsWith(callleg.AgentIDIn(f.AgentIds...)))
		}
		if f.StartedFrom != nil {
			q.Where(call.CreatedAtGTE(*f.StartedFrom))
		}
		if f.StartedBefore != nil {
			q.Where(call.CreatedAtLT(*f.StartedBefore))
		}
	}
	return q, page.Order{Column: "id", Desc: true}, need(ctx, viewer.ConversationRead)
}

// Call by id.
func (d *Desk) Call(ctx context.Context, id gid.ID) (*ent.CallQuery, error) {
	return d.db.Call.Query().Where(call.ID(id)), need(ctx, viewer.ConversationRead)
}

// CallLeg by id.
func (d *Desk) CallLeg(ctx context.Context, id gid.ID) (*ent.CallLegQuery, error) {
	return d.db.CallLeg.Query().Where(callleg.ID(id)), need(ctx, viewer.ConversationRead)
}

// Recording by id.
func (d *Desk) Recording(ctx context.Context, id gid.ID) (*ent.RecordingQuery, error) {
	return d.db.Recording.Query().Where(recording.ID(id)), need(ctx, viewer.RecordingRead)
}

// CallDigits are the keys that were pressed in a call, in their order; empty if none was.
func (d *Desk) CallDigits(ctx context.Context, id gid.ID) (personal.Value, error) {
	rows, err := d.db.CallFact.Query().Where(callfact.CallID(id), callfact.Kind(string(voice.Digit))).Order(ent.Asc(callfact.FieldNumber)).All(ctx)
	if err != nil {
		return personal.Value{}, fmt.Errorf("read digits: %w", err)
	}
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(r.Input.Clear())
	}
	return personal.Of(b.String()), nil
}

// recordingLife is how long a recording's address is good.
const recordingLife = 5 * time.Minute

// RecordingURL is a signed address of a recording, nil when it was deleted.
func (d *Desk) RecordingURL(r *ent.Recording) *string {
	if r.DeletedAt != nil {
		return nil
	}
	u := d.PublicURL + "/files/" + r.ID.String() + "?" + d.Links.Sign("GET", blobKey(r.ID), d.now().Add(recordingLife), 0).Encode()
	return &u
}

// openRecording opens the file of a recording whose address was checked.
func (d *Desk) openRecording(ctx context.Context, id gid.ID) (io.ReadSeekCloser, blob.Info, string, error) {
	r, err := d.db.Recording.Query().Where(recording.ID(id), recording.DeletedAtIsNil()).Only(within(viewer.Global(ctx)))
	if ent.IsNotFound(err) {
		return nil, blob.Info{}, "", notFound("file")
	}
	if err != nil {
		return nil, blob.Info{}, "", fmt.Errorf("read recording: %w", err)
	}
	f, info, err := d.Blob.Get(ctx, r.BlobKey)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, blob.Info{}, "", notFound("file")
	}
	return f, info, r.ID.String() + ".wav", err
}
