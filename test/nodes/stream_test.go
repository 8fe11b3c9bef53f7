package nodes_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

const followDoc = `subscription($a:EventCursor,$f:EventFilter){events(after:$a,filter:$f){cursor caughtUp resetReason
 events{id cursor type at subjectId subjectVersion interactionId subject{... on Message{externalId direction} ... on Offer{state agent{id}}}}}}`

// stream follows the log on a socket. When its node goes away it goes on at the other one, from where it stands.
type stream struct {
	world *world
	name  string
	login *rig.Login
	scope string
	heard func(rig.Value) // each event, when it is applied

	mu      sync.Mutex
	node    int // where it is, or where it tries next
	cursor  string
	applied []ledger.Event
	resets  []string
	ends    map[int]int // how often a socket ended with which code
	open    bool
}

// follow runs until ctx ends.
func (s *stream) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if s.connection(ctx) {
			continue
		}
		rig.Pause(ctx, 10*time.Millisecond)
	}
}

// connection is one socket, from its beginning to its end; false if there was nobody to connect to.
func (s *stream) connection(ctx context.Context) bool {
	s.mu.Lock()
	node, vars := s.node, rig.M{"f": rig.M{"scope": s.scope}, "a": s.cursor}
	s.mu.Unlock()
	dial, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	sub, err := s.login.At(s.world.nodes[node].URL).Subscribe(dial, followDoc, vars)
	if err != nil {
		s.moved(ctx, node, nil)
		return false
	}
	defer context.AfterFunc(ctx, sub.Close)()
	s.mu.Lock()
	s.open = true
	s.mu.Unlock()
	for frame := range sub.C {
		s.take(frame)
	}
	<-sub.Done()
	s.moved(ctx, node, sub)
	return true
}

// moved notes how a socket ended, and turns to the other node.
func (s *stream) moved(ctx context.Context, from int, sub *rig.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = false
	if ctx.Err() != nil {
		return
	}
	s.node = 1 - from
	if sub == nil {
		return
	}
	s.ends[sub.Code]++
	if !s.world.socketMayEnd(sub.Code) {
		s.world.journal.Note(fmt.Sprintf("%s: its socket ended with %d: %v", s.name, sub.Code, sub.Err))
	}
}

func (s *stream) take(payload rig.Value) {
	// While the database is away what an event is about cannot be read; that it happened is told all the same.
	if e := payload.At("errors"); !e.Nil() && (s.world.mood != outage || payload.At("data", "events").Nil()) {
		s.world.journal.Note(s.name + ": an error in the stream: " + e.JSON())
		return
	}
	frame := payload.At("data", "events")
	events := frame.At("events").List()
	s.mu.Lock()
	if why := frame.At("resetReason"); !why.Nil() {
		s.resets = append(s.resets, why.String())
	}
	if c := frame.At("cursor").String(); c != "" {
		s.cursor = c
	} else {
		s.world.journal.Note(s.name + ": a frame without a cursor: " + frame.JSON())
	}
	for _, e := range events {
		s.applied = append(s.applied, ledger.EventOf(e))
	}
	s.mu.Unlock()
	for _, e := range events {
		if s.heard != nil {
			s.heard(e)
		}
	}
}

// state is a copy of what it has applied.
func (s *stream) state() (applied []ledger.Event, resets []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]ledger.Event(nil), s.applied...), append([]string(nil), s.resets...)
}

func (s *stream) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.applied)
}

// connected reports at which node it is.
func (s *stream) connected() (node int, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node, s.open
}
