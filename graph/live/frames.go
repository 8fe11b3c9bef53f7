package live

import (
	"context"

	"tributary/desk"
	"tributary/ent"
	"tributary/graph/model"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// scan bounds how many events one pull looks at: what a viewer sees little of is pulled in several steps.
const scan = 5000

// Frames is the resolver of the subscription `events`. Under Join it only takes the frames that are made for it.
func (l *Live) Frames(ctx context.Context, after *page.EventCursor, filter *desk.EventFilter) (<-chan *model.EventFrame, error) {
	f := desk.EventFilter{}
	if filter != nil {
		f = *filter
	}
	if d, ok := ctx.Value(feedKey{}).(*feed); ok {
		d.called, d.filter = true, f
		return d.events, nil
	}
	v := viewer.From(ctx)
	if v == nil {
		return nil, viewer.ErrNone
	}
	p, err := l.begin(ctx, v, after)
	if err != nil {
		return nil, err
	}
	return stream(ctx, l, p, picks(v, f), eventFrame)
}

// VisitorFrames is the resolver of the subscription `visitorEvents`. Under Join it only takes the frames that are made
// for it.
func (l *Live) VisitorFrames(ctx context.Context, after *page.EventCursor) (<-chan *model.VisitorFrame, error) {
	v := viewer.From(ctx)
	if v == nil {
		return nil, viewer.ErrNone
	}
	l.ack(ctx, v, after)
	if d, ok := ctx.Value(feedKey{}).(*feed); ok {
		d.called = true
		return d.visitor, nil
	}
	p, err := l.begin(ctx, v, after)
	if err != nil {
		return nil, err
	}
	return stream(ctx, l, p, l.visits(v), visitorFrame)
}

// stream runs follow behind a channel, until ctx ends.
func stream[T, F any](ctx context.Context, l *Live, p place, pick pick[T], form func(frame[T]) F) (<-chan F, error) {
	out := make(chan F)
	ctx = viewer.Live(ctx)
	_, ok := l.start(ctx, func(ctx context.Context) {
		defer close(out)
		_ = follow(ctx, l, &p, pick, func(fr frame[T]) error {
			select {
			case out <- form(fr):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}) // ends with ctx alone
	})
	if !ok {
		return nil, errClosed
	}
	return out, nil
}

// Pull is the twin of Frames for a query: the same predicate over the same log. Without a cursor it begins at the
// oldest event that is kept.
func (l *Live) Pull(ctx context.Context, after *page.EventCursor, first *int, filter *desk.EventFilter) (*model.EventFrame, error) {
	v := viewer.From(ctx)
	if v == nil {
		return nil, viewer.ErrNone
	}
	n, err := count(first, 100)
	if err != nil {
		return nil, err
	}
	f := desk.EventFilter{}
	if filter != nil {
		f = *filter
	}
	p := place{workspace: v.Workspace}
	switch {
	case after != nil:
		p, err = l.begin(ctx, v, after)
	case l.cfg.Oldest != nil:
		p.pos, err = l.cfg.Oldest(ctx, v.Workspace)
	}
	if err != nil {
		return nil, err
	}
	fr, err := pull(ctx, l, p, n, picks(v, f), func(e *ent.Event) int64 { return e.Seq })
	if err != nil {
		return nil, err
	}
	return eventFrame(fr), nil
}

// VisitorPull is the twin of VisitorFrames for a query. Without a cursor it begins now.
func (l *Live) VisitorPull(ctx context.Context, after *page.EventCursor, first *int) (*model.VisitorFrame, error) {
	v := viewer.From(ctx)
	if v == nil {
		return nil, viewer.ErrNone
	}
	n, err := count(first, 50)
	if err != nil {
		return nil, err
	}
	l.ack(ctx, v, after)
	p, err := l.begin(ctx, v, after)
	if err != nil {
		return nil, err
	}
	fr, err := pull(ctx, l, p, n, l.visits(v), func(e *desk.VisitorEvent) int64 { return e.Event.Seq })
	if err != nil {
		return nil, err
	}
	return visitorFrame(fr), nil
}

// pull gathers up to n items after p.
func pull[T any](ctx context.Context, l *Live, p place, n int, pick pick[T], seq func(T) int64) (frame[T], error) {
	fr := frame[T]{cursor: p.cursor(), reason: p.reason}
	for read := 0; read < scan && len(fr.items) < n; {
		evs, head, _, err := l.cfg.Log.Since(ctx, p.workspace, p.pos, l.cfg.Batch)
		if why := l.reset(err); why != nil {
			p.pos = head
			return frame[T]{cursor: p.cursor(), caughtUp: true, reason: why}, nil
		}
		if err != nil {
			return fr, err
		}
		if len(evs) == 0 {
			fr.caughtUp = true
			return fr, nil
		}
		items, err := pick(ctx, evs)
		if err != nil {
			return fr, err
		}
		p.pos, read = evs[len(evs)-1].Seq, read+len(evs)
		if room := n - len(fr.items); len(items) > room {
			items = items[:room]
			p.pos = seq(items[room-1])
		}
		fr.items = append(fr.items, items...)
		fr.cursor, fr.caughtUp = p.cursor(), p.pos >= head
	}
	return fr, nil
}

// count checks how many events a pull asks for.
func count(first *int, n int) (int, error) {
	if first == nil {
		return n, nil
	}
	if *first < 1 || *first > 100 {
		return 0, &desk.Refusal{Code: desk.Invalid, Message: "first is 1 to 100", Field: []string{"first"}}
	}
	return *first, nil
}

func picks(v *viewer.Viewer, f desk.EventFilter) pick[*ent.Event] {
	return func(_ context.Context, evs []*ent.Event) ([]*ent.Event, error) {
		var out []*ent.Event
		for _, e := range evs {
			if Sees(v, e, f) {
				out = append(out, e)
			}
		}
		return out, nil
	}
}

func (l *Live) visits(v *viewer.Viewer) pick[*desk.VisitorEvent] {
	return func(ctx context.Context, evs []*ent.Event) ([]*desk.VisitorEvent, error) {
		var own []*ent.Event
		for _, e := range evs {
			if l.cfg.VisitorSees(v, e) {
				own = append(own, e)
			}
		}
		if len(own) == 0 || l.cfg.Visitor == nil {
			return nil, nil
		}
		return l.cfg.Visitor(ctx, own)
	}
}

func (l *Live) ack(ctx context.Context, v *viewer.Viewer, after *page.EventCursor) {
	if l.cfg.Ack != nil && after != nil && after.Workspace == v.Workspace {
		l.cfg.Ack(ctx, after.Seq)
	}
}

func eventFrame(fr frame[*ent.Event]) *model.EventFrame {
	if fr.items == nil {
		fr.items = []*ent.Event{}
	}
	return &model.EventFrame{Cursor: fr.cursor, Events: fr.items, CaughtUp: fr.caughtUp, ResetReason: fr.reason}
}

func visitorFrame(fr frame[*desk.VisitorEvent]) *model.VisitorFrame {
	if fr.items == nil {
		fr.items = []*desk.VisitorEvent{}
	}
	return &model.VisitorFrame{Cursor: fr.cursor, Events: fr.items, CaughtUp: fr.caughtUp, ResetReason: fr.reason}
}
