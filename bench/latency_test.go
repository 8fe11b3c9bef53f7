package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/desk"
	"tributary/test/rig"
)

const (
	latencyWriters = 16               // clients at saturation, each in a conversation of its own
	latencyFull    = 2 * time.Second  // of saturation
	latencyCalm    = 6 * time.Second  // of the load that is measured
	latencyShare   = 0.2              // of the saturation
	latencyWait    = 30 * time.Second // for the last word
)

// BenchmarkLatency is the time from a customer's message to the frame at an agent's socket, through the real program:
// "hook" by a signed web hook (stored raw, taken in by a job), "visitor" by a visitor's mutation. First the saturation
// is looked for with 16 clients that never pause (sat-msg/s: what has reached the subscriber by the time of the last
// frame); then messages are sent at a fifth of it, and the time of each is counted from the moment when it was due, not
// when it was sent. floor-ms is what one client needs to commit the same rows by prepared SQL on a database of the same
// kind in the same run; of-floor is that by the p50. A run in which a message is refused or not heard is void.
func BenchmarkLatency(b *testing.B) {
	dialects(b, func(b *testing.B, dialect string) {
		for _, way := range []struct {
			name string
			open func(b *testing.B, w *rig.Workspace) send
		}{{"hook", byHook}, {"visitor", byVisitor}} {
			b.Run(way.name, func(b *testing.B) { latency(b, dialect, way.open) })
		}
	})
}

// send has the k-th customer say something.
type send func(ctx context.Context, k int, text string) error

func byHook(b *testing.B, w *rig.Workspace) send {
	bridge := w.NewBridge(b, "", "", nil)
	return func(ctx context.Context, k int, text string) error {
		code, body, err := bridge.Deliver(ctx, rig.Text(rig.Unique("e"), fmt.Sprint("thread", k), fmt.Sprint("person", k), text))
		if err == nil && code != 200 {
			err = fmt.Errorf("status %d: %s", code, body)
		}
		return err
	}
}

func byVisitor(b *testing.B, w *rig.Workspace) send {
	site := w.Site(b, "")
	var visitors [latencyWriters]*rig.Visitor
	for k := range visitors {
		visitors[k] = w.Node.Visit(b, site, "")
	}
	return func(ctx context.Context, k int, text string) error {
		o := visitors[k].Try(ctx, `mutation($t:String!,$k:Key!){visitorMessageSend(input:{text:$t},idempotencyKey:$k){visitorMessage{id} userErrors{code}}}`,
			rig.M{"t": text, "k": rig.Unique("k")})
		if !o.Done() {
			return errors.New(o.String())
		}
		return nil
	}
}

func latency(b *testing.B, dialect string, open func(*testing.B, *rig.Workspace) send) {
	floor := commitTime(b, dialect)
	n := rig.Start(b, rig.Options{DatabaseURL: address(b, dialect)})
	w := n.NewWorkspace(b)
	l := &load{send: open(b, w)}
	l.audience = join(b, &process{url: n.URL}, 1, productEvents, func(int) string { return "Bearer " + w.Admin.Token })
	for range latencyWriters { // each opens his conversation, and the streams are known to run
		l.until(b, l.one(b, b.Context()))
	}
	full := l.saturate(b)
	took := l.calm(b, full*latencyShare)
	l.close(b)
	b.ReportMetric(full, "sat-msg/s")
	b.ReportMetric(full*latencyShare, "msg/s")
	for _, q := range []float64{0.50, 0.95, 0.99} {
		b.ReportMetric(milliseconds(quantile(took, q)), fmt.Sprintf("p%.0f-ms", 100*q))
	}
	b.ReportMetric(milliseconds(floor), "floor-ms")
	b.ReportMetric(float64(floor)/float64(quantile(took, 0.5)), "of-floor")
	quiet(b)
}

// load is messages that are numbered, and one subscriber who hears them.
type load struct {
	*audience
	send send
	next atomic.Int64
}

// one sends the next message and returns its number.
func (l *load) one(b *testing.B, ctx context.Context) int {
	n := int(l.next.Add(1)) - 1
	if err := l.send(ctx, n%latencyWriters, text(n)); err != nil {
		b.Errorf("message %d: %v", n, err)
	}
	return n
}

// until waits for a message at the subscriber.
func (l *load) until(b *testing.B, n int) {
	b.Helper()
	rig.Eventually(b, latencyWait, fmt.Sprintf("message %d is heard", n), func() bool { return l.words[n].heard.Load() > 0 })
}

// saturate lets all clients write without a pause, and returns how many messages a second went the whole way.
func (l *load) saturate(b *testing.B) float64 {
	b.Helper()
	from, began := int(l.next.Load()), time.Now()
	crowd(b, latencyWriters, latencyFull, func(ctx context.Context, _ int) error {
		if l.one(b, ctx); b.Failed() {
			return errors.New("a run with errors is void")
		}
		return nil
	})
	to, last := int(l.next.Load()), began.UnixNano()
	for n := from; n < to; n++ {
		l.until(b, n)
		last = max(last, l.words[n].last.Load())
	}
	return float64(to-from) / time.Duration(last-began.UnixNano()).Seconds()
}

// calm sends at a rate, whatever becomes of the messages before, and returns how long each took from when it was due.
func (l *load) calm(b *testing.B, rate float64) []time.Duration {
	b.Helper()
	var (
		wg    sync.WaitGroup
		gap   = time.Duration(float64(time.Second) / rate)
		begin = time.Now()
		due   []time.Time
		from  = int(l.next.Load())
	)
	for t := begin; t.Before(begin.Add(latencyCalm)); t = t.Add(gap) {
		time.Sleep(time.Until(t))
		due = append(due, t)
		n := int(l.next.Add(1)) - 1
		wg.Go(func() {
			if err := l.send(b.Context(), n%latencyWriters, text(n)); err != nil {
				b.Errorf("message %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	took := make([]time.Duration, len(due))
	for k, t := range due {
		l.until(b, from+k)
		took[k] = time.Duration(l.words[from+k].last.Load() - t.UnixNano())
	}
	return took
}

// commitTime is what one client needs for the rows of one message by prepared SQL.
func commitTime(b *testing.B, dialect string) time.Duration {
	b.Helper()
	w := world(b, address(b, dialect), nil)
	v := w.Visitor(w.Channel(desk.ChannelCreateInput{Kind: "webchat"}))
	c := &chat{Visitor: v, row: v.Say("the first word opens the conversation"), written: ahead}
	sts := prepareRows(b, w)
	rate := crowd(b, 1, time.Second, func(ctx context.Context, _ int) error { return c.write(ctx, w, sts) })
	return time.Duration(float64(time.Second) / rate)
}
