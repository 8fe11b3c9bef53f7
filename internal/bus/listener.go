package bus

import (
	"slices"
	"sync"
)

// maxPending is how many places a listener that does not look remembers.
const maxPending = 4096

// Listener collects the notes of its topics until they are taken. It has one reader.
type Listener struct {
	hub    *hub
	topics []Topic
	signal chan struct{}

	mu      sync.Mutex
	pending map[Key]int64
	lost    bool
}

func newListener(h *hub, topics []Topic) *Listener {
	return &Listener{hub: h, topics: slices.Clone(topics), signal: make(chan struct{}, 1), pending: map[Key]int64{}}
}

// C gets a signal when there is something to take; several notes may share one signal, and a signal may find nothing.
func (l *Listener) C() <-chan struct{} { return l.signal }

// Take returns the newest number of every place since the last Take. missed says that notes may have been lost: read
// the database for everything you follow.
func (l *Listener) Take() (notes map[Key]int64, missed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	notes, missed = l.pending, l.lost
	l.pending, l.lost = map[Key]int64{}, false
	return notes, missed
}

// Close ends listening. Notes not yet taken may still be taken.
func (l *Listener) Close() { l.hub.drop(l) }

func (l *Listener) wants(t Topic) bool { return len(l.topics) == 0 || slices.Contains(l.topics, t) }

func (l *Listener) put(n Note) {
	k := Key{n.Topic, n.Workspace}
	l.mu.Lock()
	old, known := l.pending[k]
	switch {
	case known:
		l.pending[k] = max(old, n.Seq)
	case len(l.pending) >= maxPending:
		// The reader will have to read everything anyway; the places are of no more use.
		clear(l.pending)
		l.lost = true
	default:
		l.pending[k] = n.Seq
	}
	l.mu.Unlock()
	l.wake()
}

// lose keeps the places: the one who reads them all may begin there.
func (l *Listener) lose() {
	l.mu.Lock()
	l.lost = true
	l.mu.Unlock()
	l.wake()
}

func (l *Listener) wake() {
	select {
	case l.signal <- struct{}{}:
	default:
	}
}
