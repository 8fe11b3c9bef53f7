package live

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tributary/ent"
	"tributary/graph/model"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// retry is the pause after the log could not be read: a stream outlives a database that is away.
const retry = time.Second

// place is where a stream stands in its log.
type place struct {
	workspace gid.ID
	pos       int64
	reason    *model.ResetReason // to be told in the next frame
	told      bool               // that the stream has caught up
}

// frame is what a stream tells at once, before it takes the form of its field.
type frame[T any] struct {
	cursor   page.EventCursor
	items    []T
	caughtUp bool
	reason   *model.ResetReason
}

// pick makes of the log's events what a stream tells of them.
type pick[T any] func(ctx context.Context, evs []*ent.Event) ([]T, error)

// reset tells why an error of the log makes a stream begin anew; nil if it does not.
func (l *Live) reset(err error) *model.ResetReason {
	switch {
	case err == nil:
		return nil
	case l.cfg.Expired(err):
		return new(model.ResetReasonCursorExpired)
	case l.cfg.Unknown(err):
		return new(model.ResetReasonCursorUnknown)
	default:
		return nil
	}
}

// begin is the place a stream starts from: after the cursor, or now. A cursor of another workspace is told as unknown.
func (l *Live) begin(ctx context.Context, v *viewer.Viewer, after *page.EventCursor) (place, error) {
	p := place{workspace: v.Workspace}
	if after != nil && after.Workspace == v.Workspace {
		p.pos = after.Seq
		return p, nil
	}
	if after != nil {
		p.reason = new(model.ResetReasonCursorUnknown)
	}
	var err error
	p.pos, err = l.head(ctx, v.Workspace)
	return p, err
}

// step reads the log once. It gives a frame if there is something to tell, and a channel if there is nothing left to
// read until it closes.
func step[T any](ctx context.Context, l *Live, p *place, pick pick[T]) (*frame[T], <-chan struct{}, error) {
	evs, head, more, err := l.cfg.Log.Since(ctx, p.workspace, p.pos, l.cfg.Batch)
	if why := l.reset(err); why != nil {
		p.pos, p.reason, p.told = head, nil, true
		return &frame[T]{cursor: p.cursor(), caughtUp: true, reason: why}, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var items []T
	if len(evs) > 0 {
		if items, err = pick(ctx, evs); err != nil {
			return nil, nil, err
		}
		p.pos, more = evs[len(evs)-1].Seq, nil
	}
	caught := p.pos >= head || p.told // once live, a stream stays so
	if len(items) == 0 && p.reason == nil && (p.told || !caught) {
		return nil, more, nil
	}
	fr := &frame[T]{cursor: p.cursor(), items: items, caughtUp: caught, reason: p.reason}
	p.reason, p.told = nil, p.told || caught
	return fr, more, nil
}

func (p *place) cursor() page.EventCursor {
	return page.EventCursor{Workspace: p.workspace, Seq: p.pos}
}

// errCaughtUp is how emit ends a stream that is to go on in a group.
var errCaughtUp = errors.New("caught up")

// follow reads the log from p on and tells what is picked of it, until ctx ends or emit fails. It reads only what emit
// has taken: nothing is kept for a reader.
func follow[T any](ctx context.Context, l *Live, p *place, pick pick[T], emit func(frame[T]) error) error {
	last, failing := time.Now(), false
	for {
		fr, more, err := step(ctx, l, p, pick)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if !failing {
				l.cfg.Logger.LogAttrs(ctx, slog.LevelError, "stream cannot read the log", slog.Any("err", err))
			}
			failing = true
			if !pause(ctx, nil, retry) {
				return context.Cause(ctx)
			}
			continue
		case fr == nil && time.Since(last) >= l.cfg.Heartbeat:
			fr = &frame[T]{cursor: p.cursor(), caughtUp: more != nil}
		}
		failing = false
		if fr != nil {
			if err := emit(*fr); err != nil {
				return err
			}
			last = time.Now()
		}
		if more != nil && !pause(ctx, more, l.cfg.Heartbeat-time.Since(last)) {
			return context.Cause(ctx)
		}
	}
}

// pause waits until more closes or d is over; false if ctx ended.
func pause(ctx context.Context, more <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-more:
	case <-t.C:
	case <-ctx.Done():
		return false
	}
	return true
}
