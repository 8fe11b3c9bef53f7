package nodes_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

// finish ends the traffic, waits for quiet, reads everything and judges it.
func (w *world) finish() {
	w.t.Helper()
	found, err := w.verdict()
	if err != nil {
		w.t.Fatal(err)
	}
	if !found.Clean() {
		w.t.Fatalf("KILL_SEED=%d: %s", w.seed, found)
	}
}

// verdict is finish without a judgement; an error means that nothing is proved.
func (w *world) verdict() (*ledger.Report, error) {
	w.t.Helper()
	w.ready()
	w.stop.Store(true)
	done := make(chan struct{})
	go func() { w.traffic.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("void: callers still without an answer a minute after the last restart: %v", w.journal.Trouble)
	}
	if err := w.quiet(); err != nil {
		return nil, err
	}
	took := time.Since(w.began)
	p, err := ledger.Look(context.Background(), w.checker)
	if err != nil {
		return nil, err
	}
	served, err := w.assignments(p)
	if err != nil {
		return nil, err
	}
	twin, resets, err := ledger.Twin(context.Background(), w.checker, w.start)
	if err != nil {
		return nil, err
	}
	w.halt()
	w.watch.Wait()
	found := ledger.Check(p, w.journal, w.bridge, w.follow)
	for _, why := range resets {
		found.Add(ledger.FeedGap, "the pull twin began anew: %s", why)
	}
	onlyOneAtATime(found, twin, served)
	w.heardAll(found, twin, served)
	w.figures(p, twin, took)
	return found, nil
}

// quiet waits until everything acknowledged is seen, nothing waits to be sent, the log stands and everybody has applied
// it. What is missing when nothing moves any more is the checker's to tell; an error is of reading.
func (w *world) quiet() error {
	const patience = 45 * time.Second
	last, moved := "", time.Now()
	for {
		v, err := w.checker.Ask(context.Background(), `{eventCursor unsettledMessages(states:[QUEUED,SENDING],first:1){totalCount}}`, nil)
		if err != nil {
			return fmt.Errorf("wait for quiet: %w", err)
		}
		waiting, ok := v.At("unsettledMessages", "totalCount").V.(float64)
		if !ok {
			return fmt.Errorf("wait for quiet: no count: %s", v.JSON())
		}
		unseen := w.journal.Missing(w.follow.Has)
		if now := fmt.Sprint(v.JSON(), unseen, w.streams[0].count(), w.streams[1].count()); now != last {
			last, moved = now, time.Now()
		}
		still := time.Since(moved)
		if unseen == 0 && waiting == 0 && still > 2500*time.Millisecond {
			return nil
		}
		if still > patience {
			w.t.Logf("nothing moves any more: %d messages unseen, %.0f not sent", unseen, waiting)
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// assignment is who served what.
type assignment struct {
	id, agent, offer string
	from, to         time.Time // to: zero while it goes on
}

// String is for people.
func (a assignment) String() string {
	return fmt.Sprintf("%s of %s from %s to %s", a.id, a.agent, a.from.Format("04:05.000"), a.to.Format("04:05.000"))
}

// assignments reads who served each interaction, oldest first.
func (w *world) assignments(p *ledger.Picture) (map[string][]assignment, error) {
	out := map[string][]assignment{}
	for id := range p.Interactions {
		v, err := w.checker.Ask(context.Background(), `query($i:ID!){interaction(id:$i){assignments{id kind startedAt endedAt agent{id} offer{id}}}}`, rig.M{"i": id})
		if err != nil {
			return nil, fmt.Errorf("read assignments: %w", err)
		}
		rows, ok := v.At("interaction", "assignments").V.([]any)
		if !ok {
			return nil, fmt.Errorf("read assignments: no list: %s", v.JSON())
		}
		for n := range rows {
			x := v.At("interaction", "assignments", n)
			a := assignment{id: x.At("id").String(), agent: x.At("agent", "id").String(), offer: x.At("offer", "id").String()}
			if a.from, err = time.Parse(time.RFC3339Nano, x.At("startedAt").String()); err != nil {
				return nil, fmt.Errorf("read assignments: %w", err)
			}
			if end := x.At("endedAt"); !end.Nil() {
				if a.to, err = time.Parse(time.RFC3339Nano, end.String()); err != nil {
					return nil, fmt.Errorf("read assignments: %w", err)
				}
			}
			out[id] = append(out[id], a)
		}
		slices.SortFunc(out[id], func(a, b assignment) int { return a.from.Compare(b.from) })
	}
	return out, nil
}

// What the checker of two nodes can find beside what that of one can.
const (
	twoOffers  = "two offers at a time"
	twoServers = "two servers at a time"
	unheard    = "an offer unheard"
	acceptLost = "an acknowledged accept without effect"
	notTwin    = "a stream that is not its pull twin"
)

// onlyOneAtATime: an offer ends before the next one of its interaction begins, and so does a server's time.
func onlyOneAtATime(r *ledger.Report, log []ledger.Event, served map[string][]assignment) {
	pending := map[string]string{} // offer by interaction
	for _, e := range log {
		switch e.Type {
		case "OFFER_CREATED":
			if was := pending[e.Interaction]; was != "" {
				r.Add(twoOffers, "interaction %s was offered by %s while %s was pending", e.Interaction, e.Subject, was)
			}
			pending[e.Interaction] = e.Subject
		case "OFFER_CLOSED":
			if pending[e.Interaction] == e.Subject {
				delete(pending, e.Interaction)
			}
		}
	}
	for id, list := range served {
		for n := 1; n < len(list); n++ {
			if was := list[n-1]; was.to.IsZero() || was.to.After(list[n].from) {
				r.Add(twoServers, "interaction %s: %s and %s", id, was, list[n])
			}
		}
	}
}

// heardAll: who sees everything applied exactly the log; each agent heard of each of his offers once, in the log's
// order; what he was told that he took is his assignment.
func (w *world) heardAll(r *ledger.Report, twin []ledger.Event, served map[string][]assignment) {
	for _, s := range w.streams {
		applied, resets := s.state()
		for _, why := range resets {
			r.Add(ledger.FeedGap, "%s was reset: %s", s.name, why)
		}
		n := 0
		for n < len(twin) && n < len(applied) && twin[n].ID == applied[n].ID && twin[n].Version == applied[n].Version {
			n++
		}
		if n < len(twin) || n < len(applied) {
			r.Add(notTwin, "%s applied %d events, the twin tells %d; the first difference is at %d", s.name, len(applied), len(twin), n)
		}
	}
	place := map[string]int{}
	for n, e := range twin {
		place[e.ID] = n
	}
	offers := map[string]bool{} // by which somebody served
	for _, list := range served {
		for _, a := range list {
			offers[a.offer] = true
		}
	}
	for _, a := range w.agents {
		a.judge(r, twin, place, offers)
	}
}

func (a *agent) judge(r *ledger.Report, twin []ledger.Event, place map[string]int, served map[string]bool) {
	applied, resets := a.stream.state()
	for _, why := range resets {
		r.Add(ledger.FeedGap, "%s was reset: %s", a.stream.name, why)
	}
	seen, last, heard := map[string]bool{}, -1, map[string]bool{}
	for _, e := range applied {
		if seen[e.ID] {
			r.Add(ledger.FeedDouble, "%s applied %s twice", a.stream.name, e.ID)
		}
		seen[e.ID] = true
		if n, known := place[e.ID]; known && n < last {
			r.Add(notTwin, "%s applied %s after what the log tells later", a.stream.name, e.ID)
		} else if known {
			last = n
		}
		if e.Type == "OFFER_CREATED" {
			heard[e.Subject] = true
		}
	}
	for _, e := range twin {
		if e.Type == "OFFER_CREATED" && e.Agent == a.login.ID && !heard[e.Subject] {
			r.Add(unheard, "%s never heard of %s", a.stream.name, e.Subject)
		}
	}
	for offer := range a.accepted {
		if !served[offer] {
			r.Add(acceptLost, "%s took %s", a.stream.name, offer)
		}
	}
}

func (w *world) figures(p *ledger.Picture, twin []ledger.Event, took time.Duration) {
	w.t.Helper()
	in, out := w.journal.Counts()
	offers, uncertain, ends := 0, 0, map[int]int{}
	for _, e := range twin {
		if e.Type == "OFFER_CREATED" {
			offers++
		}
	}
	for _, state := range p.Unsettled {
		if state == "UNCERTAIN" {
			uncertain++
		}
	}
	all := slices.Clone(w.streams)
	for _, a := range w.agents {
		all = append(all, a.stream)
	}
	for _, s := range all {
		for code, n := range s.ends {
			ends[code] += n
		}
	}
	w.t.Logf("FIGURE %s: %d inbound and %d outbound messages acknowledged, %d offers, %d events; %d uncertain; %d replays, %d tries in vain, %d refusals; sockets ended by code %v",
		took.Round(time.Second), in, out, offers, len(twin), uncertain, w.journal.Replays, w.journal.Retries, w.journal.Refusals, ends)
	if in < 100 || out < 30 || offers < 30 {
		w.t.Errorf("void: too little happened to prove anything")
	}
}
