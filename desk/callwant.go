package desk

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/call"
	"tributary/ent/callleg"
	"tributary/ent/interaction"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Pulse renews the lease of the calls that a node holds, all in one statement, and says what the desk wants of each. Calls
// that are over, unknown, or of another epoch are Over.
func (v *Voice) Pulse(ctx context.Context, node string, epoch int64, calls []voice.ID) (map[voice.ID]voice.Wanted, error) {
	d, global := v.d, within(viewer.Global(ctx))
	out := make(map[voice.ID]voice.Wanted, len(calls))
	ids := make([]gid.ID, 0, len(calls))
	for _, id := range calls {
		out[id] = voice.Wanted{Over: true, Cause: voice.NodeLost}
		if row := rowID(id); row.Kind() == gid.Call {
			ids = append(ids, row)
		}
	}
	for part := range slices.Chunk(ids, maxPulse) {
		err := d.db.Call.Update().Where(call.IDIn(part...), call.Node(node), call.Epoch(epoch), call.StateNEQ(call.StateENDED)).SetBeatAt(d.now()).Exec(global)
		if err != nil {
			return nil, fmt.Errorf("renew calls: %w", err)
		}
		rows, err := d.wanted(global, func(q *ent.CallQuery) { q.Where(call.IDIn(part...), call.Node(node), call.Epoch(epoch)) })
		if err != nil {
			return nil, err
		}
		for _, c := range rows {
			out[voiceID(c.ID)] = wantedOf(c)
		}
	}
	return out, nil
}

// maxPulse bounds the arguments of one statement.
const maxPulse = 5000

// wanted reads calls with what decides over them. The call's row comes first: a version is never newer than what is wanted
// by it.
func (d *Desk) wanted(ctx context.Context, narrow func(*ent.CallQuery)) ([]*ent.Call, error) {
	q := d.db.Call.Query()
	narrow(q)
	q.Select(call.FieldID, call.FieldVersion, call.FieldState, call.FieldNode, call.FieldEpoch, call.FieldInteractionID) // nothing that is sealed
	rows, err := q.WithInteraction(func(q *ent.InteractionQuery) {
		q.Select(interaction.FieldID, interaction.FieldState)
	}).WithLegs(func(q *ent.CallLegQuery) {
		q.Where(callleg.StateNEQ(callleg.StateENDED)).Order(ent.Asc(callleg.FieldID))
	}).All(ctx)
	return rows, wrapped("read what is wanted of calls", err)
}

// wantedOf is what the desk wants of a call: whoever is not dropped may live, as long as the contact is not over.
func wantedOf(c *ent.Call) voice.Wanted {
	w := voice.Wanted{Version: c.Version, Legs: []voice.ID{}}
	i := c.Edges.Interaction
	if c.State == call.StateENDED || i == nil || i.State == interaction.StateENDED || i.State == interaction.StateWRAP_UP || i.State == interaction.StatePAUSED {
		w.Over, w.Cause = true, voice.AgentHungUp
		return w
	}
	for _, l := range c.Edges.Legs {
		w.Legs = append(w.Legs, voiceID(l.ID))
	}
	return w
}

// conformer remembers the interactions whose calls may have to change. It coalesces: however often one moves, its newest
// state is told once. What is lost here is told by the next Pulse.
type conformer struct {
	mu      sync.Mutex
	waiting map[gid.ID]bool
	busy    map[gid.ID]bool
	wake    chan struct{}
}

func (c *conformer) init() {
	c.waiting, c.busy, c.wake = map[gid.ID]bool{}, map[gid.ID]bool{}, make(chan struct{}, 1)
}

func (c *conformer) add(ids []gid.ID) {
	if len(ids) == 0 {
		return
	}
	c.mu.Lock()
	for _, id := range ids {
		c.waiting[id] = true
	}
	c.mu.Unlock()
	c.ring()
}

func (c *conformer) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take is one that waits and that nobody works on; false if there is none.
func (c *conformer) take() (gid.ID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.waiting {
		if !c.busy[id] {
			delete(c.waiting, id)
			c.busy[id] = true
			return id, true
		}
	}
	return gid.ID{}, false
}

func (c *conformer) done(id gid.ID) {
	c.mu.Lock()
	delete(c.busy, id)
	c.mu.Unlock()
	c.ring()
}

// conformAtOnce bounds how many calls are conformed at once, so that a node that does not answer holds up few others.
const conformAtOnce = 16

// ConformCalls tells the nodes of calls what the desk wants of them, after each commit that concerns one. It runs until ctx
// ends, and returns when nothing of it is left.
func (d *Desk) ConformCalls(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, conformAtOnce)
	for {
		select {
		case <-ctx.Done():
			return nil
		case slots <- struct{}{}:
		}
		id, there := d.conform.take()
		if !there {
			<-slots
			select {
			case <-ctx.Done():
				return nil
			case <-d.conform.wake:
			}
			continue
		}
		all.Go(func() {
			defer func() { d.conform.done(id); <-slots }()
			if err := d.conformOne(ctx, id); err != nil && ctx.Err() == nil {
				d.Log.WarnContext(ctx, "a call is not as it should be until the next pulse", "interaction", id, "error", err)
			}
		})
	}
}

// conformOne makes the call of an interaction as the desk wants it now.
func (d *Desk) conformOne(ctx context.Context, interactionID gid.ID) error {
	ctx, cancel := context.WithTimeout(within(viewer.Global(ctx)), verbTimeout)
	defer cancel()
	rows, err := d.wanted(ctx, func(q *ent.CallQuery) { q.Where(call.InteractionID(interactionID), call.StateNEQ(call.StateENDED)) })
	if err != nil || len(rows) == 0 {
		return err
	}
	c := rows[0]
	if err := d.Switchboard.Conform(ctx, refOf(c, gid.ID{}), wantedOf(c)); err != nil {
		return fmt.Errorf("conform call %s: %w", c.ID, err)
	}
	return nil
}

// seconds of a time for a contract that counts whole ones.
func wholeSeconds(d time.Duration) int { return max(int(d/time.Second), 1) }
