package badday_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"tributary/test/rig"
)

// event is what a reader of the log holds of one event.
type event struct {
	id, typ, subject, conversation, interaction string
	version                                     int
}

func asEvent(v rig.Value) event {
	return event{
		id: v.At("id").String(), typ: v.At("type").String(), subject: v.At("subjectId").String(), version: v.At("subjectVersion").Int(),
		conversation: v.At("conversationId").String(), interaction: v.At("interactionId").String(),
	}
}

// tape is a reader that follows the log and keeps what it was told, over breaks of its connection.
type tape struct {
	c   *rig.Client
	cut func() int // frames until it cuts its own connection; nil: never

	mu     sync.Mutex
	cursor string
	events []event
	breaks int
	resets int
	stop   context.CancelFunc
	done   chan struct{}
}

// record starts a reader after a place; it ends with the test.
func record(t *testing.T, c *rig.Client, after string, cut func() int) *tape {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &tape{c: c, cut: cut, cursor: after, stop: stop, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			r.connection(ctx)
		}
	}()
	t.Cleanup(r.end)
	return r
}

func (r *tape) end() {
	r.stop()
	<-r.done
}

// connection follows until the connection ends, from whichever side.
func (r *tape) connection(ctx context.Context) {
	r.mu.Lock()
	after := r.cursor
	r.mu.Unlock()
	s, err := r.c.Subscribe(ctx, `subscription($a:EventCursor){events(after:$a,filter:{scope:ALL}){`+frame("")+`}}`, rig.M{"a": after})
	if err != nil {
		pause(ctx, 50*time.Millisecond) // the server may be away: a client tries again
		return
	}
	defer func() {
		go func() { // the socket's reader may wait to hand over what nobody wants any more
			for range s.C {
			}
		}()
		s.Close()
	}()
	left := -1
	if r.cut != nil {
		left = r.cut()
	}
	for ; left != 0; left-- {
		select {
		case <-ctx.Done():
			return
		case p, open := <-s.C:
			if !open {
				r.broke()
				return
			}
			r.take(p.At("data", "events"))
		}
	}
	r.broke()
}

func (r *tape) broke() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.breaks++
}

func (r *tape) take(f rig.Value) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !f.At("resetReason").Nil() {
		r.resets++
	}
	for _, e := range f.At("events").List() {
		r.events = append(r.events, asEvent(e))
	}
	if c := f.At("cursor").String(); c != "" {
		r.cursor = c
	}
}

// held is a copy of what was told so far.
func (r *tape) held() []event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]event(nil), r.events...)
}

// has tells whether an event of this type and interaction was told.
func (r *tape) has(typ, interaction string) bool {
	for _, e := range r.held() {
		if e.typ == typ && e.interaction == interaction {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// seed makes a test's chance and prints it.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	t.Logf("seed %d", n)
	return rand.New(rand.NewPCG(n, n))
}

// sameAs waits until a reader holds the last event of the pull twin, and compares the two up to there.
func (r *tape) sameAs(t *testing.T, name string, twin []event) {
	t.Helper()
	last := twin[len(twin)-1].id
	rig.Eventually(t, 30*time.Second, name+" holds the twin's last event", func() bool {
		for _, e := range r.held() {
			if e.id == last {
				return true
			}
		}
		return false
	})
	got := r.held()
	for n, e := range got {
		if e.id == last {
			got = got[:n+1] // what came behind the twin's end is not its business
			break
		}
	}
	report(t, differ(name, got, twin))
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.resets > 0 {
		t.Errorf("%s was reset %d times", name, r.resets)
	}
}

// differ compares a stream with the log: nothing skipped, nothing twice, in the same order.
func differ(name string, got, want []event) (found []string) {
	seen := map[string]bool{}
	for _, e := range got {
		if seen[e.id] {
			found = append(found, fmt.Sprintf("%s: %s %s came twice", name, e.typ, e.id))
		}
		seen[e.id] = true
	}
	for _, e := range want {
		if !seen[e.id] {
			found = append(found, fmt.Sprintf("%s: %s %s was skipped", name, e.typ, e.id))
		}
		delete(seen, e.id)
	}
	for id := range seen {
		found = append(found, fmt.Sprintf("%s: %s is not in the log", name, id))
	}
	for n := range min(len(got), len(want)) {
		if got[n] != want[n] {
			return append(found, fmt.Sprintf("%s: at %d there is %+v, in the log %+v", name, n, got[n], want[n]))
		}
	}
	return found
}

// causes says where an effect stands before its cause, in a log read from its workspace's beginning.
func causes(log []event) (found []string) {
	had := map[string]bool{}
	for _, e := range log {
		need, of := "", ""
		switch e.typ {
		case "INTERACTION_STARTED":
			need, of = "CONVERSATION_CREATED", e.conversation
		case "MESSAGE_CREATED":
			need, of = "INTERACTION_STARTED", e.interaction
		case "OFFER_CREATED":
			need, of = "INTERACTION_STARTED", e.interaction
		case "OFFER_CLOSED":
			need, of = "OFFER_CREATED", e.subject
		}
		if need != "" && (of == "" || !had[need+of]) {
			found = append(found, fmt.Sprintf("%s %s of %q before its %s", e.typ, e.id, of, need))
		}
		had[e.typ+e.subject] = true
	}
	return found
}

// count tells how many events of a type there are.
func count(log []event, typ string) int {
	n := 0
	for _, e := range log {
		if e.typ == typ {
			n++
		}
	}
	return n
}

// TestLogCheckersSee is the negative control of the checkers of streams.
func TestLogCheckersSee(t *testing.T) {
	t.Parallel()
	log := []event{
		{id: "1", typ: "CONVERSATION_CREATED", subject: "c", conversation: "c"},
		{id: "2", typ: "INTERACTION_STARTED", subject: "i", conversation: "c", interaction: "i"},
		{id: "3", typ: "MESSAGE_CREATED", subject: "m", conversation: "c", interaction: "i"},
		{id: "4", typ: "OFFER_CREATED", subject: "o", conversation: "c", interaction: "i"},
		{id: "5", typ: "OFFER_CLOSED", subject: "o", conversation: "c", interaction: "i"},
	}
	report(t, append(differ("a copy", log, log), causes(log)...))
	pick := func(places ...int) []event {
		out := make([]event, len(places))
		for n, p := range places {
			out[n] = log[p]
		}
		return out
	}
	for what, forged := range map[string][]event{
		"a gap": pick(0, 1, 3, 4), "a double": pick(0, 1, 1, 2, 3, 4), "another order": pick(0, 1, 3, 2, 4),
		"a missing end": pick(0, 1, 2, 3), "an event of nobody": append(pick(0, 1, 2, 3, 4), event{id: "6"}),
	} {
		wants(t, what, differ("forged", forged, log))
	}
	for what, forged := range map[string][]event{
		"an interaction before its conversation": pick(1, 0, 2, 3, 4), "a message before its interaction": pick(0, 2, 1, 3, 4),
		"an offer closed before it was made": pick(0, 1, 2, 4, 3), "a message without an interaction": pick(0, 2),
	} {
		wants(t, what, causes(forged))
	}
}
