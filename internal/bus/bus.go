// Package bus carries wake-ups and nothing else: "there is more to read in the database". A wake-up that is lost costs
// the time until the next poll, never data, because every reader asks the database what is new.
//
// Neighbours: store announces what a transaction has committed, jobs and relay listen, subscriptions follow the log.
// Local serves one node. Remote serves several, over Redis Pub/Sub or over PostgreSQL's LISTEN and NOTIFY; within its
// node it is the same hub. main chooses one and runs it.
//
// Invariants: Announce waits neither for a listener nor for the network and starts no goroutine; a listener holds at
// most maxPending places and keeps the newest number of each; beyond that it forgets the places and says that something
// was missed. It says the same whenever a node may not have heard another: after every connection of Remote, and when
// the other had to forget.
//
// Goroutines: none in Local; Remote.Run owns all of Remote's and returns when they have ended.
package bus

import (
	"slices"
	"sync"

	"tributary/internal/gid"
)

// Topic is what there is more of.
type Topic uint8

// The topics. Numbers travel between nodes: append, never reorder.
const (
	Outbox   Topic = iota + 1 // committed outbox rows that wait for the relay
	Log                       // numbered events; Seq is the workspace's head
	Jobs                      // a job that is ready or has a time to run
	Presence                  // somebody's sockets came or went
	Pulls                     // a channel that is fetched from was changed
)

// Note is one wake-up. Seq is the newest number of the topic in the workspace, zero where the topic has none. Workspace
// is zero where the reader works for all of them.
type Note struct {
	Topic     Topic
	Workspace gid.ID
	Seq       int64
}

// Key is the place of a note: later notes of a place replace earlier ones.
type Key struct {
	Topic     Topic
	Workspace gid.ID
}

// Bus joins announcers and listeners.
type Bus interface {
	// Announce tells every listener of the topic. It does not wait and has no error: the poll beneath every listener is
	// the guarantee.
	Announce(n Note)
	// Listen begins to listen; without a topic, to all. Close the listener when done.
	Listen(topics ...Topic) *Listener
}

// Local is the bus of one process.
type Local struct{ hub }

// NewLocal makes the bus of one process.
func NewLocal() *Local { return &Local{} }

// Announce tells every listener of this process.
func (l *Local) Announce(n Note) { l.deliver(n) }

// Listen begins to listen; without a topic, to all.
func (l *Local) Listen(topics ...Topic) *Listener { return l.listen(topics) }

// hub is the part of a bus that lives in this process.
type hub struct {
	mu        sync.RWMutex
	listeners []*Listener
}

func (h *hub) deliver(n Note) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, l := range h.listeners {
		if l.wants(n.Topic) {
			l.put(n)
		}
	}
}

func (h *hub) listen(topics []Topic) *Listener {
	l := newListener(h, topics)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners = append(h.listeners, l)
	return l
}

// lose tells every listener that something may have been missed.
func (h *hub) lose() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, l := range h.listeners {
		l.lose()
	}
}

func (h *hub) drop(l *Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners = slices.DeleteFunc(h.listeners, func(x *Listener) bool { return x == l })
}
