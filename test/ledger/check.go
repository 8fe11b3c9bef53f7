package ledger

import (
	"fmt"
	"slices"
	"strings"
)

// What the checker can find.
const (
	Lost       = "lost"             // acknowledged inbound, not there
	Doubled    = "doubled"          // one inbound message twice
	Split      = "split"            // a thread in two interactions
	Disordered = "disordered"       // a thread's messages in another order
	OutLost    = "reply lost"       // acknowledged reply, not there
	OutDoubled = "reply doubled"    // one key, two messages
	SentTwice  = "sent twice"       // the bridge got one message twice
	NeverSent  = "shown but unsent" // SENT, and the bridge never got it
	Stuck      = "stuck"            // neither sent nor failed nor uncertain
	Hidden     = "hidden"           // in doubt, and no list shows it
	Ownerless  = "ownerless"        // neither served nor offered nor waiting
	FeedGap    = "feed gap"
	FeedDouble = "feed double"
	Other      = "other"
)

// Report is what a check found.
type Report struct {
	Counts map[string]int
	Lines  []string
}

// Add notes a violation; the first of each kind are kept in words.
func (r *Report) Add(kind, format string, args ...any) {
	if r.Counts == nil {
		r.Counts = map[string]int{}
	}
	r.Counts[kind]++
	if r.Counts[kind] <= 5 {
		r.Lines = append(r.Lines, kind+": "+fmt.Sprintf(format, args...))
	}
}

// Clean reports whether nothing was found.
func (r *Report) Clean() bool { return len(r.Counts) == 0 }

// String is what was found.
func (r *Report) String() string {
	return fmt.Sprintf("%v\n%s", r.Counts, strings.Join(r.Lines, "\n"))
}

// Check compares what the API shows with what the outside knows. It knows nothing of the program's insides.
func Check(p *Picture, j *Journal, b *Bridge, f *Follower) *Report {
	r := &Report{}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.Trouble {
		r.Add(Other, "trouble: %s", line)
	}
	for _, line := range p.Dead {
		r.Add(Other, "dead letter: %s", line)
	}
	r.inbound(p, j)
	r.outbound(p, j)
	r.sends(p, b)
	r.owners(p)
	r.feed(p, f)
	return r
}

func (r *Report) inbound(p *Picture, j *Journal) {
	there := map[string][]Message{}
	home := map[string]string{} // interaction by thread
	for _, m := range p.Messages {
		if m.Direction != "INBOUND" {
			continue
		}
		there[m.ExternalID] = append(there[m.ExternalID], m)
		thread := threadOf(m.ExternalID)
		if was, known := home[thread]; known && was != m.Interaction {
			r.Add(Split, "thread %s is in %s and %s", thread, was, m.Interaction)
		}
		home[thread] = m.Interaction
	}
	for id := range j.Inbound {
		switch n := len(there[id]); {
		case n == 0:
			r.Add(Lost, "%s", id)
		case n > 1:
			r.Add(Doubled, "%s is there %d times", id, n)
		}
	}
	threads := map[string]string{}
	for thread, i := range home {
		if was, known := threads[i]; known {
			r.Add(Split, "interaction %s holds the threads %s and %s", i, was, thread)
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
func (r *Report) sequence(p *Picture, j *Journal) {
	byInteraction := map[string][]Message{}
	for _, m := range p.Messages {
		if _, known := j.Inbound[m.ExternalID]; known && m.Direction == "INBOUND" {
			byInteraction[m.Interaction] = append(byInteraction[m.Interaction], m)
		}
	}
	for _, ms := range byInteraction {
		slices.SortFunc(ms, func(a, b Message) int { return a.Number - b.Number })
		for n := 1; n < len(ms); n++ {
			a, b := j.Inbound[ms[n-1].ExternalID], j.Inbound[ms[n].ExternalID]
			if a.Seq > b.Seq {
				r.Add(Disordered, "%s stands before %s", ms[n-1].ExternalID, ms[n].ExternalID)
			}
		}
	}
}

func (r *Report) outbound(p *Picture, j *Journal) {
	byKey, byText := map[string][]Message{}, map[string]int{}
	for _, m := range p.Messages {
		if m.Direction == "OUTBOUND" {
			byKey[m.Key] = append(byKey[m.Key], m)
			byText[m.Text]++
		}
	}
	for key, s := range j.Outbound {
		switch ms := byKey[key]; {
		case len(ms) == 0:
			r.Add(OutLost, "key %s, message %s", key, s.Message)
		case len(ms) > 1 || byText[s.Text] != 1:
			r.Add(OutDoubled, "key %s made %d messages, its text stands %d times", key, len(ms), byText[s.Text])
		case ms[0].ID != s.Message || ms[0].Interaction != s.Interaction || ms[0].Text != s.Text:
			r.Add(Other, "key %s made %+v, acknowledged was %+v", key, ms[0], s)
		}
	}
	for key := range byKey {
		if _, known := j.Outbound[key]; !known {
			r.Add(Other, "an outbound message with the key %q that nobody was told of", key)
		}
	}
}

// sends compares the bridge with the messages' states, before anybody settles anything.
func (r *Report) sends(p *Picture, b *Bridge) {
	took, order, bad := b.Taken()
	for _, line := range bad {
		r.Add(Other, "the bridge cannot read %s", line)
	}
	numbers := map[string]int{}
	place := map[string]string{}
	for _, m := range p.Messages {
		if m.Direction != "OUTBOUND" {
			continue
		}
		numbers[m.ID], place[m.ID] = m.Number, m.Interaction
		switch m.Delivery {
		case "SENT":
			if took[m.ID] == 0 {
				r.Add(NeverSent, "%s", m.ID)
			}
		case "UNCERTAIN":
			if p.Unsettled[m.ID] != "UNCERTAIN" {
				r.Add(Hidden, "%s is UNCERTAIN and not among the unsettled", m.ID)
			}
		case "QUEUED", "SENDING":
			r.Add(Stuck, "%s is %s", m.ID, m.Delivery)
		default:
			r.Add(Other, "%s is %s, and the bridge refuses nothing", m.ID, m.Delivery)
		}
	}
	for id, state := range p.Unsettled {
		if state == "QUEUED" || state == "SENDING" {
			r.Add(Stuck, "%s is listed as %s", id, state)
		}
	}
	for id, n := range took {
		if n > 1 {
			r.Add(SentTwice, "%s, %d times", id, n)
		}
		if _, known := numbers[id]; !known {
			r.Add(Other, "the bridge got %s, which no message is", id)
		}
	}
	for thread, ids := range order {
		for n := 1; n < len(ids); n++ {
			if place[ids[n-1]] == place[ids[n]] && numbers[ids[n-1]] > numbers[ids[n]] {
				r.Add(Disordered, "thread %s: message %d was sent before %d", thread, numbers[ids[n-1]], numbers[ids[n]])
			}
		}
	}
}

// owners: everything open is somebody's, or waits where it is seen.
func (r *Report) owners(p *Picture) {
	for id, i := range p.Interactions {
		if !p.Nested[id] {
			r.Add(Other, "interaction %s is in no conversation", id)
		}
		switch i.State {
		case "QUEUED":
			if !p.Pool[id] {
				r.Add(Ownerless, "%s waits outside the pool", id)
			}
		case "OFFERED":
			if !p.Pool[id] || i.Offer != "PENDING" || i.Offered == "" {
				r.Add(Ownerless, "%s is offered to nobody: %+v", id, i)
			}
		case "ACTIVE", "WRAP_UP":
			if i.Agent == "" {
				r.Add(Ownerless, "%s is %s and nobody's", id, i.State)
			}
		case "PAUSED":
		default:
			r.Add(Other, "interaction %s is %s", id, i.State)
		}
	}
	for id := range p.Nested {
		if _, known := p.Interactions[id]; !known {
			r.Add(Other, "conversations show the interaction %s, the list of interactions does not", id)
		}
	}
}

// feed: every message was told exactly once, its changes one by one after it, and the follower's stream over all lives
// is the log.
func (r *Report) feed(p *Picture, f *Follower) {
	for _, why := range append(p.Resets, f.resets...) {
		r.Add(FeedGap, "the feed began anew: %s", why)
	}
	ids, cursors := map[string]bool{}, map[string]bool{}
	told := map[string]int{} // the version that was told last
	var created []string
	for _, e := range p.Events {
		if ids[e.ID] || cursors[e.Cursor] {
			r.Add(FeedDouble, "event %s stands twice", e.ID)
		}
		ids[e.ID], cursors[e.Cursor] = true, true
		switch e.Type {
		case "MESSAGE_CREATED":
			if told[e.Subject] > 0 {
				r.Add(FeedDouble, "%s was created twice, or changed before", e.Subject)
			}
			told[e.Subject] = e.Version
			created = append(created, e.Subject)
		case "MESSAGE_UPDATED":
			if told[e.Subject] != e.Version-1 {
				r.Add(FeedGap, "%s: version %d was told after %d", e.Subject, e.Version, told[e.Subject])
			}
			told[e.Subject] = e.Version
		}
	}
	for _, m := range p.Messages {
		if told[m.ID] != m.Version {
			r.Add(FeedGap, "%s has version %d, the feed tells %d", m.ID, m.Version, told[m.ID])
		}
	}
	if len(created) != len(p.Messages) {
		r.Add(FeedGap, "the feed tells %d new messages, there are %d", len(created), len(p.Messages))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(created, f.ids) {
		r.Add(FeedGap, "who followed over all lives saw %d new messages, the log has %d; first difference at %d", len(f.ids), len(created), difference(created, f.ids))
	}
}

func difference(a, b []string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
