package nodes_test

import (
	"testing"
	"time"

	"tributary/test/ledger"
	"tributary/test/rig"
)

// TestForgedHistories gives the checker what must never happen, one thing at a time, beside a day on which all is well.
func TestForgedHistories(t *testing.T) {
	at := time.Now()
	made := ledger.Event{ID: "1", Type: "OFFER_CREATED", Subject: "o1", Interaction: "i", Agent: "ann"}
	closed := ledger.Event{ID: "2", Type: "OFFER_CLOSED", Subject: "o1", Interaction: "i", Agent: "ann"}
	second := ledger.Event{ID: "3", Type: "OFFER_CREATED", Subject: "o2", Interaction: "i", Agent: "ann"}
	good := []ledger.Event{made, closed, second}
	one := assignment{agent: "ann", offer: "o1", from: at, to: at.Add(time.Second)}
	two := assignment{agent: "ben", offer: "o2", from: at.Add(time.Second)}
	open := one
	open.to = time.Time{}
	for name, c := range map[string]struct {
		log, watcher, ann []ledger.Event
		served            []assignment
		want              string
	}{
		"a good day":            {good, good, good, []assignment{one, two}, ""},
		"two offers":            {[]ledger.Event{made, second, closed}, nil, nil, nil, twoOffers},
		"two servers":           {good, good, good, []assignment{open, two}, twoServers},
		"overlapping servers":   {good, good, good, []assignment{{offer: "o1", from: at, to: at.Add(2 * time.Second)}, two}, twoServers},
		"a gap":                 {good, good[1:], good, []assignment{one}, notTwin},
		"a double":              {good, []ledger.Event{made, made, closed, second}, good, []assignment{one}, notTwin},
		"a missing end":         {good, good[:2], good, []assignment{one}, notTwin},
		"an event applied late": {good, good, []ledger.Event{second, made, closed}, []assignment{one}, notTwin},
		"an event twice":        {good, good, []ledger.Event{made, closed, closed, second}, []assignment{one}, ledger.FeedDouble},
		"an unheard offer":      {good, good, good[:2], []assignment{one}, unheard},
		"a lost accept":         {good, good, good, []assignment{two}, acceptLost},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{streams: []*stream{{name: "watcher", applied: c.watcher}}}
			w.agents = []*agent{{login: &rig.Login{ID: "ann"}, stream: &stream{name: "ann", applied: c.ann}, accepted: map[string]string{"o1": "i"}}}
			if c.watcher == nil {
				w.streams, w.agents = nil, nil
			}
			found, served := &ledger.Report{}, map[string][]assignment{"i": c.served}
			onlyOneAtATime(found, c.log, served)
			w.heardAll(found, c.log, served)
			if c.want == "" && !found.Clean() || c.want != "" && found.Counts[c.want] == 0 {
				t.Errorf("want %q, found %s", c.want, found)
			}
		})
	}
}
