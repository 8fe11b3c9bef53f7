package router_test

import (
	"context"
	"maps"
	"slices"
	"sync"

	"tributary/router"
)

// hall is a floor in memory with the conditional commits of the real one and faults at will.
type hall struct {
	mu     sync.Mutex
	items  map[router.ID]router.Item
	agents map[router.ID]router.Agent
	offers map[router.ID]router.ID
	log    []router.Changes
	wake   chan struct{}
	// epoch is the smallest that may commit.
	epoch int64
	// fault is asked at "snapshot", "changes", "commit", "resync", "outcomes", "shuffled", "unknown", "empty".
	fault func(at string) error
	// between happens once, between a decision and its commit.
	between func()

	calls              map[string]int
	snapshots, commits int
	decisions          []router.Decision
}

func newHall(items ...router.Item) *hall {
	h := &hall{
		items: map[router.ID]router.Item{}, agents: map[router.ID]router.Agent{}, offers: map[router.ID]router.ID{},
		wake: make(chan struct{}), calls: map[string]int{},
	}
	for _, it := range items {
		h.items[it.ID] = it
	}
	return h
}

func (h *hall) at(call string) error {
	h.calls[call]++
	if h.fault == nil {
		return nil
	}
	return h.fault(call)
}

// told appends to the log and wakes everybody; the lock is held.
func (h *hall) told(ch router.Changes) {
	h.log = append(h.log, ch)
	close(h.wake)
	h.wake = make(chan struct{})
}

func (h *hall) wait(it router.Item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.items[it.ID] = it
	h.told(router.Changes{Items: []router.Item{it}})
}

func (h *hall) put(agents ...router.Agent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range agents {
		h.agents[a.ID] = a
	}
	h.told(router.Changes{Agents: agents})
}

func (h *hall) meanwhile(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.between = f
}

func (h *hall) Snapshot(context.Context) (router.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snapshots++
	if err := h.at("snapshot"); err != nil {
		return router.Snapshot{}, err
	}
	return router.Snapshot{
		Items: slices.Collect(maps.Values(h.items)), Agents: slices.Collect(maps.Values(h.agents)), Position: len(h.log),
	}, nil
}

func (h *hall) Changes(ctx context.Context, from router.Position) (router.Changes, error) {
	for {
		h.mu.Lock()
		ch, wake, err := h.since(from.(int))
		h.mu.Unlock()
		if err != nil || ch.Position != nil || ch.Resync {
			return ch, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return router.Changes{}, ctx.Err()
		}
	}
}

func (h *hall) since(from int) (router.Changes, chan struct{}, error) {
	if err := h.at("changes"); err != nil {
		return router.Changes{}, nil, err
	}
	if h.at("resync") != nil {
		return router.Changes{Resync: true}, nil, nil
	}
	if h.at("empty") != nil {
		return router.Changes{Position: from}, nil, nil
	}
	if from == len(h.log) {
		return router.Changes{}, h.wake, nil
	}
	ch := h.log[from]
	ch.Position = from + 1
	return ch, nil, nil
}

func (h *hall) Commit(_ context.Context, ds []router.Decision) ([]router.Outcome, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commits++
	if h.between != nil {
		h.between()
		h.between = nil
	}
	// These three have half done the work, or all of it, when they fail.
	late := h.at("commit")
	var outs []router.Outcome
	for _, d := range ds {
		outs = append(outs, h.offer(d))
	}
	switch {
	case late != nil:
		h.undo(ds, outs)
		return nil, late
	case h.at("outcomes") != nil:
		h.undo(ds, outs)
		return outs[1:], nil
	case h.at("shuffled") != nil:
		h.undo(ds, outs)
		outs[0].Item = id(999)
	case h.at("unknown") != nil:
		h.undo(ds, outs)
		outs[0].Result = 0
	}
	return outs, nil
}

// offer is the conditional commit of one decision.
func (h *hall) offer(d router.Decision) router.Outcome {
	o := router.Outcome{Item: d.Item, Result: router.Committed}
	it, waits := h.items[d.Item]
	a, exists := h.agents[d.Agent]
	switch {
	case d.Epoch < h.epoch:
		o.Result = router.Lost
		return o
	case !waits || it.Version != d.Version:
		o.Result = router.Taken
		return o
	case !exists || !a.Available || a.Used+d.Cost > a.Units:
		o.Result = router.AgentBusy
		return o
	}
	h.decisions = append(h.decisions, d)
	a.Used += d.Cost
	a.IdleSince = d.At
	a.LoadVersion++
	h.agents[d.Agent], h.offers[d.Item] = a, d.Agent
	delete(h.items, d.Item)
	h.told(router.Changes{Removed: []router.ID{d.Item}, Agents: []router.Agent{a}})
	o.LoadVersion = a.LoadVersion
	return o
}

// undo takes the offers of a failed commit back without a word.
func (h *hall) undo(ds []router.Decision, outs []router.Outcome) {
	for i, d := range ds {
		if outs[i].Result != router.Committed {
			continue
		}
		a := h.agents[d.Agent]
		a.Used -= d.Cost
		a.LoadVersion++
		h.agents[d.Agent] = a
		delete(h.offers, d.Item)
		h.items[d.Item] = item(num(d.Item), num(d.Item))
	}
}

// ring is a lease whose holder the test decides about.
type ring struct {
	mu   sync.Mutex
	free chan struct{}
	lost chan struct{}
	held int
	gone bool
}

func newLease() *ring {
	r := &ring{free: make(chan struct{}, 1), lost: make(chan struct{})}
	r.give()
	return r
}

// give lets the next one who waits lead.
func (r *ring) give() { r.free <- struct{}{} }

// lose ends the present leadership; always means that every later one ends at once as well.
func (r *ring) lose(always bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = always
	close(r.lost)
	if !always {
		r.lost = make(chan struct{})
	}
}

func (r *ring) Hold(ctx context.Context) (int64, <-chan struct{}, error) {
	r.mu.Lock()
	gone := r.gone
	r.mu.Unlock()
	if !gone {
		select {
		case <-r.free:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held++
	return int64(r.held), r.lost, nil
}
