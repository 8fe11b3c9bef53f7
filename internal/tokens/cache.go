package tokens

import (
	"container/list"
	"sync"
	"time"

	"tributary/channels"
)

// key is whose token it is.
type key struct{ provider, credential string }

// cache holds the tokens that were used last, each with the time at which its row was seen.
type cache struct {
	mu    sync.Mutex
	limit int
	by    map[key]*list.Element
	used  list.List // of *entry, the last used in front
}

type entry struct {
	key   key
	token channels.Token
	seen  time.Time
}

func newCache(limit int) *cache { return &cache{limit: limit, by: map[key]*list.Element{}} }

// get is what is known of a token; the zero entry: nothing.
func (c *cache) get(k key) entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.by[k]
	if e == nil {
		return entry{}
	}
	c.used.MoveToFront(e)
	return *e.Value.(*entry)
}

// put keeps what a row said. A slow reader never replaces a newer token.
func (c *cache) put(k key, t channels.Token, seen time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.by[k]; e != nil {
		if x := e.Value.(*entry); x.token.Version <= t.Version {
			x.token, x.seen = t, seen
		}
		c.used.MoveToFront(e)
		return
	}
	c.by[k] = c.used.PushFront(&entry{k, t, seen})
	for c.used.Len() > c.limit {
		delete(c.by, c.used.Remove(c.used.Back()).(*entry).key)
	}
}

// drop forgets a token that was refused, and keeps one that has replaced it.
func (c *cache) drop(k key, failed channels.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.by[k]; e != nil && !replaces(e.Value.(*entry).token, failed) {
		c.used.Remove(e)
		delete(c.by, k)
	}
}

// turns let one caller of this node at a time ask for a token, so that a node costs the others one waiter.
type turns struct {
	mu sync.Mutex
	by map[key]*turn
}

type turn struct {
	free  chan struct{} // holds one value while nobody has it
	users int
}

func (t *turns) enter(k key) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[key]*turn{}
	}
	x := t.by[k]
	if x == nil {
		x = &turn{free: make(chan struct{}, 1)}
		x.free <- struct{}{}
		t.by[k] = x
	}
	x.users++
	return x
}

func (t *turns) leave(k key, x *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x.users--; x.users == 0 {
		delete(t.by, k)
	}
}
