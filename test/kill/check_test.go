package kill_test

import (
	"fmt"
	"slices"
	"strings"
)

// What the checker can find.
const (
	lost       = "lost"             // acknowledged inbound, not there
	doubled    = "doubled"          // one inbound message twice
	split      = "split"            // a thread in two interactions
	disordered = "disordered"       // a thread's messages in another order
	outLost    = "reply lost"       // acknowledged reply, not there
	outDoubled = "reply doubled"    // one key, two messages
	sentTwice  = "sent twice"       // the bridge got one message twice
	neverSent  = "shown but unsent" // SENT, and the bridge never got it
	stuck      = "stuck"            // neither sent nor failed nor uncertain
	hidden     = "hidden"           // in doubt, and no list shows it
	ownerless  = "ownerless"        // neither served nor offered nor waiting
	feedGap    = "feed gap"
	feedDouble = "feed double"
	other      = "other"
)

// report is what a check found.
type report struct {
	counts map[string]int
	lines  []string
}

func (r *report) add(kind, format string, args ...any) {
	if r.counts == nil {
		r.counts = map[string]int{}
	}
	r.counts[kind]++
	if r.counts[kind] <= 5 {
		r.lines = append(r.lines, kind+": "+fmt.Sprintf(format, args...))
	}
}

func (r *report) clean() bool { return len(r.counts) == 0 }

func (r *report) String() string {
	return fmt.Sprintf("%v\n%s", r.counts, strings.Join(r.lines, "\n"))
}

// check compares what the API shows with what the outside knows. It knows nothing of the program's insides.
func check(p *picture, j *journal, b *bridge, f *follower) *report {
	r := &report{}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.trouble {
		r.add(other, "trouble: %s", line)
	}
	for _, line := range p.dead {
		r.add(other, "dead letter: %s", line)
	}
	r.inbound(p, j)
	r.outbound(p, j)
	r.sends(p, b)
	r.owners(p)
	r.feed(p, f)
	return r
}

func (r *report) inbound(p *picture, j *journal) {
	there := map[string][]message{}
	home := map[string]string{} // interaction by thread
	for _, m := range p.messages {
		if m.direction != "INBOUND" {
			continue
		}
		there[m.externalID] = append(there[m.externalID], m)
		thread := threadOf(m.externalID)
		if was, known := home[thread]; known && was != m.interaction {
			r.add(split, "thread %s is in %s and %s", thread, was, m.interaction)
		}
		home[thread] = m.interaction
	}
	for id := range j.inbound {
		switch n := len(there[id]); {
		case n == 0:
			r.add(lost, "%s", id)
		case n > 1:
			r.add(doubled, "%s is there %d times", id, n)
		}
	}
	threads := map[string]string{}
	for thread, i := range home {
		if was, known := threads[i]; known {
			r.add(split, "interaction %s holds the threads %s and %s", i, was, thread)
		}
		threads[i] = thread
	}
	r.sequence(p, j)
}

func threadOf(externalID string) string {
	parts := strings.Split(externalID, "-")
	if len(parts) != 3 {
		return externalID
	}
	return parts[1]
}

// sequence: the messages of a thread were delivered one after the other, each after the one before was acknowledged.
func (r *report) sequence(p *picture, j *journal) {
	byInteraction := map[string][]message{}
	for _, m := range p.messages {
		if _, known := j.inbound[m.externalID]; known && m.direction == "INBOUND" {
			byInteraction[m.interaction] = append(byInteraction[m.interaction], m)
		}
	}
	for _, ms := range byInteraction {
		slices.SortFunc(ms, func(a, b message) int { return a.number - b.number })
		for n := 1; n < len(ms); n++ {
			a, b := j.inbound[ms[n-1].externalID], j.inbound[ms[n].externalID]
			if a.seq > b.seq {
				r.add(disordered, "%s stands before %s", ms[n-1].externalID, ms[n].externalID)
			}
		}
	}
}

func (r *report) outbound(p *picture, j *journal) {
	byKey, byText := map[string][]message{}, map[string]int{}
	for _, m := range p.messages {
		if m.direction == "OUTBOUND" {
			byKey[m.key] = append(byKey[m.key], m)
			byText[m.text]++
		}
	}
	for key, s := range j.outbound {
		switch ms := byKey[key]; {
		case len(ms) == 0:
			r.add(outLost, "key %s, message %s", key, s.message)
		case len(ms) > 1 || byText[s.text] != 1:
			r.add(outDoubled, "key %s made %d messages, its text stands %d times", key, len(ms), byText[s.text])
		case ms[0].id != s.message || ms[0].interaction != s.interaction || ms[0].text != s.text:
			r.add(other, "key %s made %+v, acknowledged was %+v", key, ms[0], s)
		}
	}
	for key := range byKey {
		if _, known := j.outbound[key]; !known {
			r.add(other, "an outbound message with the key %q that nobody was told of", key)
		}
	}
}

// sends compares the bridge with the messages' states, before anybody settles anything.
func (r *report) sends(p *picture, b *bridge) {
	took, order, bad := b.taken()
	for _, line := range bad {
		r.add(other, "the bridge cannot read %s", line)
	}
	numbers := map[string]int{}
	place := map[string]string{}
	for _, m := range p.messages {
		if m.direction != "OUTBOUND" {
			continue
		}
		numbers[m.id], place[m.id] = m.number, m.interaction
		switch m.delivery {
		case "SENT":
			if took[m.id] == 0 {
				r.add(neverSent, "%s", m.id)
			}
		case "UNCERTAIN":
			if p.unsettled[m.id] != "UNCERTAIN" {
				r.add(hidden, "%s is UNCERTAIN and not among the unsettled", m.id)
			}
		case "QUEUED", "SENDING":
			r.add(stuck, "%s is %s", m.id, m.delivery)
		default:
			r.add(other, "%s is %s, and the bridge refuses nothing", m.id, m.delivery)
		}
	}
	for id, state := range p.unsettled {
		if state == "QUEUED" || state == "SENDING" {
			r.add(stuck, "%s is listed as %s", id, state)
		}
	}
	for id, n := range took {
		if n > 1 {
			r.add(sentTwice, "%s, %d times", id, n)
		}
		if _, known := numbers[id]; !known {
			r.add(other, "the bridge got %s, which no message is", id)
		}
	}
	for thread, ids := range order {
		for n := 1; n < len(ids); n++ {
			if place[ids[n-1]] == place[ids[n]] && numbers[ids[n-1]] > numbers[ids[n]] {
				r.add(disordered, "thread %s: message %d was sent before %d", thread, numbers[ids[n-1]], numbers[ids[n]])
			}
		}
	}
}

// owners: everything open is somebody's, or waits where it is seen.
func (r *report) owners(p *picture) {
	for id, i := range p.interactions {
		if !p.nested[id] {
			r.add(other, "interaction %s is in no conversation", id)
		}
		switch i.state {
		case "QUEUED":
			if !p.pool[id] {
				r.add(ownerless, "%s waits outside the pool", id)
			}
		case "OFFERED":
			if !p.pool[id] || i.offer != "PENDING" || i.offered == "" {
				r.add(ownerless, "%s is offered to nobody: %+v", id, i)
			}
		case "ACTIVE", "WRAP_UP":
			if i.agent == "" {
				r.add(ownerless, "%s is %s and nobody's", id, i.state)
			}
		case "PAUSED":
		default:
			r.add(other, "interaction %s is %s", id, i.state)
		}
	}
	for id := range p.nested {
		if _, known := p.interactions[id]; !known {
			r.add(other, "conversations show the interaction %s, the list of interactions does not", id)
		}
	}
}

// feed: every message was told exactly once, its changes one by one after it, and the follower's stream over all lives
// is the log.
func (r *report) feed(p *picture, f *follower) {
	for _, why := range append(p.resets, f.resets...) {
		r.add(feedGap, "the feed began anew: %s", why)
	}
	ids, cursors := map[string]bool{}, map[string]bool{}
	told := map[string]int{} // the version that was told last
	var created []string
	for _, e := range p.events {
		if ids[e.id] || cursors[e.cursor] {
			r.add(feedDouble, "event %s stands twice", e.id)
		}
		ids[e.id], cursors[e.cursor] = true, true
		switch e.typ {
		case "MESSAGE_CREATED":
			if told[e.subject] > 0 {
				r.add(feedDouble, "%s was created twice, or changed before", e.subject)
			}
			told[e.subject] = e.version
			created = append(created, e.subject)
		case "MESSAGE_UPDATED":
			if told[e.subject] != e.version-1 {
				r.add(feedGap, "%s: version %d was told after %d", e.subject, e.version, told[e.subject])
			}
			told[e.subject] = e.version
		}
	}
	for _, m := range p.messages {
		if told[m.id] != m.version {
			r.add(feedGap, "%s has version %d, the feed tells %d", m.id, m.version, told[m.id])
		}
	}
	if len(created) != len(p.messages) {
		r.add(feedGap, "the feed tells %d new messages, there are %d", len(created), len(p.messages))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(created, f.ids) {
		r.add(feedGap, "who followed over all lives saw %d new messages, the log has %d; first difference at %d", len(f.ids), len(created), difference(created, f.ids))
	}
}

func difference(a, b []string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
