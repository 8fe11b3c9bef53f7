package tokens

import "time"

// Patient sets how long this node waits for another's refresh.
func (t *Tokens) Patient(d time.Duration) { t.patience = d }

// Hasten makes the pauses between attempts to save short.
func (t *Tokens) Hasten() { t.savePause = time.Millisecond }

// Shrink bounds the memory.
func (t *Tokens) Shrink(limit int) { t.cache.limit = limit }

// InMemory is how many tokens are remembered, and how many credentials have somebody who waits.
func (t *Tokens) InMemory() (tokens, turns int) { return len(t.cache.by), len(t.turns.by) }

// Short makes leases end soon after their holder's death.
func (l *Lock) Short(d time.Duration) { l.ttl = d }
