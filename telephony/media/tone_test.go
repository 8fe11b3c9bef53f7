package media

import (
	"context"
	"math"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// goertzel is the power of one frequency in samples of 8 kHz.
func goertzel(samples []float64, hertz float64) float64 {
	c := 2 * math.Cos(2*math.Pi*hertz/rate)
	s1, s2 := 0.0, 0.0
	for _, x := range samples {
		s1, s2 = x+c*s1-s2, s1
	}
	return (s1*s1 + s2*s2 - c*s1*s2) / float64(len(samples)) / float64(len(samples))
}

// clear is by how many dB a tone stands over each of some others.
func clear(samples []float64, hertz float64, others ...float64) float64 {
	least := math.Inf(1)
	for _, o := range others {
		least = min(least, 10*math.Log10((goertzel(samples, hertz)+1e-12)/(goertzel(samples, o)+1e-12)))
	}
	return least
}

// tone makes a clip of a sine.
func tone(hertz, seconds float64) Clip {
	s := make([]float32, int(seconds*rate))
	for i := range s {
		s[i] = float32(0.5 * math.Sin(2*math.Pi*hertz*float64(i)/rate))
	}
	return newClip(s)
}

// ear is a sink that remembers what it heard.
type ear struct {
	mu      sync.Mutex
	samples []float64
	packets []Packet
	keys    []Key
	more    chan struct{}
}

func newEar() *ear { return &ear{more: make(chan struct{}, 1)} }

func (e *ear) Write(p *Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := *p
	kept.Payload = append([]byte(nil), p.Payload...)
	if p.Key != nil {
		key := *p.Key
		kept.Key = &key
		e.keys = append(e.keys, key)
	}
	e.packets = append(e.packets, kept)
	for _, b := range p.Payload {
		e.samples = append(e.samples, float64(p.Codec.sample(b))/32768)
	}
	select {
	case e.more <- struct{}{}:
	default:
	}
}

func (e *ear) heard() []float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]float64(nil), e.samples...)
}

func (e *ear) got() []Packet {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Packet(nil), e.packets...)
}

// until waits until the ear satisfies a condition.
func (e *ear) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for !ok() {
		select {
		case <-e.more:
		case <-limit.C:
			t.Fatalf("%s: did not happen within %s", what, patience)
		}
	}
}

// play plays in the background until the test ends, or stop is called.
func play(t *testing.T, to Sink, c Clip) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = Play(ctx, to, c, true)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// notice waits for a notice of one kind and returns it; others are passed over.
func notice(t *testing.T, l interface{ Notices() <-chan Notice }, kind NoticeKind) Notice {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case n, ok := <-l.Notices():
			if !ok {
				t.Fatalf("the notices ended before %s", kind)
			}
			if n.Kind == kind {
				return n
			}
		case <-limit.C:
			t.Fatalf("no notice %s within %s", kind, patience)
		}
	}
}
