package live

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"

	"tributary/desk"
	"tributary/ent"
	"tributary/graph/model"
	"tributary/internal/gid"
	"tributary/internal/page"
	"tributary/internal/viewer"
)

// replay and replayBytes bound what a member gets out of the ring at once: more than that comes at its own pace.
const (
	replay      = 64
	replayBytes = 256 << 10
)

// ringBytes bounds what a group remembers, beside the number of events.
const ringBytes = 1 << 20

// group is one execution for all who asked the same. Its goroutine alone reads the log, executes, and moves pos.
type group struct {
	l    *Live
	key  string
	v    *viewer.Viewer // one of the class
	stop context.CancelFunc
	wake chan struct{}

	mu      sync.Mutex           // after the registry's
	all     map[*Member]struct{} // keep the group alive
	waiting []*Member            // want in
	members map[*Member]struct{} // are in: at pos
	pos     int64

	// The goroutine's own.
	enc    encoder
	filter desk.EventFilter
	base   int64   // the ring holds everything after it, up to pos
	ring   []entry // the newest events
	held   int     // bytes of encodings in it
	idle   []byte  // the empty frame at idleAt
	idleAt int64
	beat   time.Time
	away   bool // the log could not be read the last time
}

// entry is an event with what has been encoded of it, by owner.
type entry struct {
	e  *ent.Event
	by map[gid.ID][]byte
}

// nudge tells the goroutine that somebody waits.
func (g *group) nudge() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// remove takes a member out; the last one ends the group. The registry's lock is held.
func (g *group) remove(m *Member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.all[m]; !ok {
		return
	}
	if _, in := g.members[m]; in {
		m.sent = max(m.sent, g.pos)
	}
	delete(g.all, m)
	delete(g.members, m)
	if len(g.all) == 0 && g.l.groups[g.key] == g {
		delete(g.l.groups, g.key)
		g.stop()
	}
}

// back takes a member that has caught up.
func (g *group) back(m *Member) {
	g.mu.Lock()
	if _, ok := g.all[m]; ok {
		g.waiting = append(g.waiting, m)
	}
	g.mu.Unlock()
	g.nudge()
}

// fail ends the group and all its streams.
func (g *group) fail(ctx context.Context, fatal []byte) {
	g.l.mu.Lock()
	if g.l.groups[g.key] == g {
		delete(g.l.groups, g.key)
	}
	g.mu.Lock()
	all := g.all
	g.all, g.members, g.waiting = map[*Member]struct{}{}, map[*Member]struct{}{}, nil
	g.mu.Unlock()
	g.l.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	for m := range all {
		m.fail(ctx, fatal)
	}
}

func (g *group) run(ctx context.Context, exec graphql.GraphExecutor, oc *graphql.OperationContext) {
	enc, f, fatal := g.l.open(ctx, exec, oc)
	if fatal != nil {
		g.fail(ctx, fatal)
		return
	}
	g.enc, g.filter = enc, f.filter
	if !g.begin(ctx) {
		return
	}
	for ctx.Err() == nil {
		if fatal := g.turn(ctx); fatal != nil {
			g.fail(ctx, fatal)
			return
		}
	}
}

// begin stands at the log's head.
func (g *group) begin(ctx context.Context) bool {
	for {
		pos, err := g.l.head(ctx, g.v.Workspace)
		if err == nil {
			g.jump(pos)
			g.beat = time.Now()
			return true
		}
		g.failing(ctx, err)
		if !pause(ctx, nil, retry) {
			return false
		}
	}
}

func (g *group) failing(ctx context.Context, err error) {
	if ctx.Err() == nil && !g.away {
		g.away = true
		g.l.cfg.Logger.LogAttrs(ctx, slog.LevelError, "group cannot read the log", slog.Any("err", err))
	}
}

// jump goes to a place without what lies before it.
func (g *group) jump(pos int64) {
	g.mu.Lock()
	g.pos = pos
	g.mu.Unlock()
	g.base, g.ring, g.held, g.idle = pos, nil, 0, nil
}

// turn lets in who waits, and tells what is new or waits for it.
func (g *group) turn(ctx context.Context) (fatal []byte) {
	if fatal := g.admit(); fatal != nil {
		return fatal
	}
	if time.Since(g.beat) >= g.l.cfg.Heartbeat {
		if fatal := g.heartbeat(nil); fatal != nil {
			return fatal
		}
		g.beat = time.Now()
	}
	evs, head, more, err := g.l.cfg.Log.Since(ctx, g.v.Workspace, g.pos, g.l.cfg.Batch)
	if why := g.l.reset(err); why != nil {
		g.jump(head)
		return g.heartbeat(why)
	}
	if err != nil {
		g.failing(ctx, err)
		pause(ctx, nil, retry)
		return nil
	}
	g.away = false
	for _, e := range evs {
		if fatal := g.publish(e); fatal != nil || ctx.Err() != nil {
			return fatal
		}
	}
	if len(evs) == 0 {
		t := time.NewTimer(max(g.l.cfg.Heartbeat-time.Since(g.beat), 0))
		defer t.Stop()
		select {
		case <-more:
		case <-g.wake:
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// heartbeat tells every member where the stream stands.
func (g *group) heartbeat(why *model.ResetReason) (fatal []byte) {
	payload, fatal := g.empty(why)
	if fatal != nil {
		return fatal
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for m := range g.members {
		if why != nil || m.place.pos <= g.pos {
			m.sink.Next(payload)
			m.sent = g.pos
		}
		if why != nil {
			m.place.pos = g.pos
		}
	}
	return nil
}

// empty is the frame without events at pos.
func (g *group) empty(why *model.ResetReason) (payload, fatal []byte) {
	if why == nil && g.idle != nil && g.idleAt == g.pos {
		return g.idle, nil
	}
	payload, fatal = g.enc(nil, &model.EventFrame{
		Cursor: g.cursor(g.pos), Events: []*ent.Event{}, CaughtUp: true, ResetReason: why,
	})
	if why == nil {
		g.idle, g.idleAt = payload, g.pos
	}
	return payload, fatal
}

func (g *group) cursor(pos int64) page.EventCursor {
	return page.EventCursor{Workspace: g.v.Workspace, Seq: pos}
}

// publish encodes an event for those members who see it, moves pos, and tells them. Who joined while it was encoded is
// looked at again before pos moves.
func (g *group) publish(e *ent.Event) (fatal []byte) {
	x := entry{e: e}
	for {
		g.mu.Lock()
		need := g.missing(x)
		if len(need) == 0 {
			g.pos = e.Seq
			for m := range g.members {
				if b := g.share(m, x); b != nil && e.Seq > m.place.pos {
					m.sink.Next(b)
				}
			}
			g.mu.Unlock()
			g.remember(x)
			return nil
		}
		g.mu.Unlock()
		for who, v := range need {
			if fatal := g.encode(&x, who, v); fatal != nil {
				return fatal
			}
		}
	}
}

func (g *group) encode(x *entry, who gid.ID, v *viewer.Viewer) (fatal []byte) {
	b, fatal := g.enc(v, &model.EventFrame{
		Cursor: g.cursor(x.e.Seq), Events: []*ent.Event{x.e}, CaughtUp: true, // who is in a group is live
	})
	if x.by == nil {
		x.by = make(map[gid.ID][]byte, 1)
	}
	x.by[who] = b
	g.held += len(b)
	return fatal
}

// missing are the encodings that members need and x has not.
func (g *group) missing(x entry) map[gid.ID]*viewer.Viewer {
	var need map[gid.ID]*viewer.Viewer
	for m := range g.members {
		if x.e.Seq <= m.place.pos || !Sees(m.v, x.e, g.filter) {
			continue
		}
		who := owner(m.v, x.e)
		if _, ok := x.by[who]; ok {
			continue
		}
		if need == nil {
			need = map[gid.ID]*viewer.Viewer{}
		}
		need[who] = m.v
	}
	return need
}

// share is what a member gets of an event; nil if it does not see it.
func (g *group) share(m *Member, x entry) []byte {
	if !Sees(m.v, x.e, g.filter) {
		return nil
	}
	return x.by[owner(m.v, x.e)]
}

func (g *group) remember(x entry) {
	g.ring = append(g.ring, x)
	keep := g.l.cfg.Ring
	if g.held > ringBytes {
		keep = min(keep, len(g.ring)/2)
	} else if len(g.ring) < 2*keep {
		return
	}
	cut := len(g.ring) - keep
	g.base = g.ring[cut-1].e.Seq
	g.ring = append([]entry(nil), g.ring[cut:]...)
	g.held = 0
	for _, x := range g.ring {
		for _, b := range x.by {
			g.held += len(b)
		}
	}
}

// admit lets in who waits.
func (g *group) admit() (fatal []byte) {
	g.mu.Lock()
	waiting := g.waiting
	g.waiting = nil
	g.mu.Unlock()
	for _, m := range waiting {
		if fatal := g.let(m); fatal != nil {
			return fatal
		}
	}
	return nil
}

// let takes a member in with what it has missed, or sends it to catch up by itself.
func (g *group) let(m *Member) (fatal []byte) {
	missed, ok := g.missed(m)
	if !ok {
		m.alone()
		return nil
	}
	payloads, size := make([][]byte, 0, len(missed)+1), 0
	for _, x := range missed {
		who := owner(m.v, x.e)
		if _, ok := x.by[who]; !ok {
			if fatal := g.encode(x, who, m.v); fatal != nil {
				return fatal
			}
		}
		payloads = append(payloads, x.by[who])
		size += len(x.by[who])
	}
	if size > replayBytes {
		m.alone()
		return nil
	}
	if !m.place.told {
		b, fatal := g.empty(nil)
		if fatal != nil {
			return fatal
		}
		payloads = append(payloads, b)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.all[m]; !ok {
		return nil
	}
	for _, b := range payloads {
		m.sink.Next(b)
	}
	m.place.pos, m.place.told = max(m.place.pos, g.pos), true
	m.sent = m.place.pos
	g.members[m] = struct{}{}
	return nil
}

// missed is what the ring holds for a member; false if it must catch up by itself: it begins anew, comes from before
// the ring, stands at a place that nobody has proved, or has missed much.
func (g *group) missed(m *Member) ([]*entry, bool) {
	pos := m.place.pos
	switch {
	case m.place.reason != nil:
		return nil, false
	case pos < 0 || pos == g.pos:
		return nil, true
	case pos > g.pos:
		return nil, m.place.told
	case pos < g.base:
		return nil, false
	}
	var out []*entry
	for i := range g.ring {
		x := &g.ring[i]
		if x.e.Seq <= pos || !Sees(m.v, x.e, g.filter) {
			continue
		}
		if out = append(out, x); len(out) > replay {
			return nil, false
		}
	}
	return out, true
}
