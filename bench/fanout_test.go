package bench

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tributary/test/rig"
)

const (
	fanSockets  = 1000
	fanPerToken = 100 // the product's limit of sockets of one token
	fanEvents   = 20  // of a turn
	fanRounds   = 4
)

// BenchmarkFanout tells one event at a time to 1,000 sockets. The product is the real program on SQLite: a visitor's
// message is stored, numbered, read, executed once for the group of all 1,000 (agents of one right who asked one
// document) and written to each. The floor is bench/plain: gqlgen's own handler and transport, which stores nothing and
// executes for each. Both run in a process of their own and tell frames of the same members. ms-to-last is from the
// publisher's request to the last socket that has it, ms-spread from the first who has it to the last; cpu is the
// server's, of everything that it does meanwhile; KB/conn is what 1,000 idle sockets add to its memory.
func BenchmarkFanout(b *testing.B) {
	files(b, 2*fanSockets+500)
	product, floor := productHall(b), plainHall(b)
	var p, f [fanRounds]fanTurn
	for n := range fanRounds {
		if n%2 == 0 {
			p[n], f[n] = product.turn(b, n), floor.turn(b, n)
		} else {
			f[n], p[n] = floor.turn(b, n), product.turn(b, n)
		}
	}
	product.close(b)
	floor.close(b)
	product.report(b, p[:], "")
	floor.report(b, f[:], "floor-")
	var share, cpu []float64
	for n := range fanRounds {
		share = append(share, median(f[n].last)/median(p[n].last))
		cpu = append(cpu, f[n].cpu/p[n].cpu)
	}
	b.ReportMetric(median(share), "of-floor")
	b.ReportMetric(median(cpu), "cpu-of-floor")
	quiet(b)
}

// fanHall is a server with its audience.
type fanHall struct {
	*process
	*audience
	publish func(text string) error
	next    int
	kb      float64 // of memory for each idle socket
}

// fanTurn are the times of one turn, in milliseconds, and the microseconds of processor time for each delivery.
type fanTurn struct {
	last, spread []float64
	cpu          float64
}

const productEvents = `subscription{events(filter:{scope:ALL,types:[MESSAGE_CREATED]}){cursor events{type subjectId subject{... on Message{id text}}}}}`

func productHall(b *testing.B) *fanHall {
	n := rig.Start(b, rig.Options{})
	w := n.NewWorkspace(b)
	var tokens []string
	for k := range fanSockets / fanPerToken {
		tokens = append(tokens, "Bearer "+w.NewAgent(b, fmt.Sprintf("Listener%d", k), "admin").Token)
	}
	v := n.Visit(b, w.Site(b, ""), "")
	n.Restart() // the hashing of passwords has left memory that would hide what the sockets take
	say := func(text string) error {
		o := v.Try(context.Background(), `mutation($t:String!){visitorMessageSend(input:{text:$t}){visitorMessage{id} userErrors{code}}}`, rig.M{"t": text})
		if !o.Done() {
			return errors.New(o.String())
		}
		return nil
	}
	return gather(b, &process{pid: n.Pid(), url: n.URL}, productEvents, func(n int) string { return tokens[n/fanPerToken] }, say)
}

func plainHall(b *testing.B) *fanHall {
	p := startPlain(b)
	c := &rig.Client{URL: p.url}
	say := func(text string) error {
		v, err := c.Do(context.Background(), `mutation($t:String!){publish(text:$t)}`, rig.M{"t": text})
		if err == nil && v.At("data", "publish").Int() == 0 {
			err = fmt.Errorf("the plain server answers %s", v.JSON())
		}
		return err
	}
	return gather(b, p, `subscription{events{cursor events{type subjectId subject{id text}}}}`, func(int) string { return "" }, say)
}

// gather opens the sockets and tells words until one has reached all of them.
func gather(b *testing.B, p *process, query string, token func(n int) string, publish func(text string) error) *fanHall {
	b.Helper()
	before := p.memory(b)
	h := &fanHall{process: p, publish: publish}
	h.audience = join(b, p, fanSockets, query, token)
	for h.next < 60 {
		_, _, ok := h.tell(b, h.next, time.Second, publish)
		h.next++
		if ok {
			h.kb = float64(p.memory(b)-before) / 1024 / fanSockets
			return h
		}
	}
	b.Fatal("there are sockets that hear nothing")
	return nil
}

// turn tells some events, each when the one before has arrived everywhere.
func (h *fanHall) turn(b *testing.B, _ int) (t fanTurn) {
	b.Helper()
	before := h.cpu(b)
	for range fanEvents {
		first, last, ok := h.tell(b, h.next, 20*time.Second, h.publish)
		if !ok {
			b.Fatalf("word %d was heard by %d of %d", h.next, h.words[h.next].heard.Load(), fanSockets)
		}
		h.next++
		t.last, t.spread = append(t.last, milliseconds(last)), append(t.spread, milliseconds(last-first))
	}
	t.cpu = float64((h.cpu(b) - before).Microseconds()) / (fanEvents * fanSockets)
	return t
}

func (h *fanHall) report(b *testing.B, turns []fanTurn, prefix string) {
	var last, spread, cpu []float64
	for _, t := range turns {
		last, spread, cpu = append(last, t.last...), append(spread, t.spread...), append(cpu, t.cpu)
	}
	b.ReportMetric(median(last), prefix+"ms-to-last")
	b.ReportMetric(median(spread), prefix+"ms-spread")
	b.ReportMetric(median(cpu), prefix+"cpu-us/delivery")
	b.ReportMetric(h.kb, prefix+"KB/conn")
}
