package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/internal/peer"
)

func echo(_ context.Context, body []byte) ([]byte, error) { return body, nil }

func TestCall(t *testing.T) {
	t.Parallel()
	n := start(t, func(s *peer.Server) { s.Handle("echo", echo) })
	c := client(t, ours())
	for _, body := range [][]byte{nil, []byte("hi"), bytes.Repeat([]byte("x"), peer.MaxBody)} {
		got, err := c.Call(t.Context(), n.addr, "one", "echo", body)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes: %d came back, %v", len(body), len(got), err)
		}
	}
	for _, name := range []string{"one", ""} {
		if h, err := c.Ping(t.Context(), n.addr, name); err != nil || h != (peer.Hello{Node: "one", Version: "v1"}) {
			t.Errorf("ping of %q: %+v, %v", name, h, err)
		}
	}
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	if n.log.String() != "" {
		t.Errorf("log: %s", n.log)
	}
}

func TestNamesOfAllKinds(t *testing.T) {
	t.Parallel()
	const name = "主机 7/ä\n%"
	n := startAs(t, peer.Config{Key: ours(), Node: name}, func(s *peer.Server) { s.Handle("a/../b c?d", echo) })
	if got, err := client(t, ours()).Call(t.Context(), n.addr, name, "a/../b c?d", []byte("x")); string(got) != "x" || err != nil {
		t.Error(string(got), err)
	}
}

type question struct{ A, B int }

func TestAskAndAnswer(t *testing.T) {
	t.Parallel()
	n := start(t, func(s *peer.Server) {
		s.Handle("add", peer.Answer(func(_ context.Context, q question) (int, error) {
			if q.A < 0 {
				return 0, fmt.Errorf("add: %w", &peer.Refusal{Code: "NEGATIVE", Message: "no such number"})
			}
			return q.A + q.B, nil
		}))
	})
	c := client(t, ours())
	if sum, err := peer.Ask[question, int](t.Context(), c, n.addr, "one", "add", question{2, 3}); sum != 5 || err != nil {
		t.Error(sum, err)
	}
	var r *peer.Refusal
	_, err := peer.Ask[question, int](t.Context(), c, n.addr, "one", "add", question{-1, 3})
	if !errors.As(err, &r) || *r != (peer.Refusal{Code: "NEGATIVE", Message: "no such number"}) || errors.Is(err, peer.ErrUncertain) || errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("refusal: %v", err)
	}
	if _, err := peer.Ask[string, int](t.Context(), c, n.addr, "one", "add", "no question"); !errors.As(err, &r) || r.Code != peer.CodeMalformed {
		t.Errorf("malformed: %v", err)
	}
	if _, err := peer.Ask[question, string](t.Context(), c, n.addr, "one", "add", question{2, 3}); !errors.Is(err, peer.ErrUncertain) {
		t.Errorf("a reply of another kind: %v", err)
	}
	if _, err := peer.Ask[chan int, int](t.Context(), c, n.addr, "one", "add", nil); !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("what cannot be written: %v", err)
	}
}

// What is refused before the handler is certainly not executed, and says so.
func TestCertainlyNotExecuted(t *testing.T) {
	t.Parallel()
	var ran atomic.Int32
	n := start(t, func(s *peer.Server) {
		s.Handle("act", func(context.Context, []byte) ([]byte, error) { ran.Add(1); return nil, nil })
	})
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	c := client(t, ours())
	for name, f := range map[string]struct {
		ctx                context.Context
		addr, node, method string
		bytes              int
		want               error
	}{
		"not listening":  {t.Context(), closed.Addr().String(), "one", "act", 1, peer.ErrUnreachable},
		"no address":     {t.Context(), "nowhere", "one", "act", 1, peer.ErrUnreachable},
		"wrong node":     {t.Context(), n.addr, "two", "act", 1, peer.ErrWrongNode},
		"nameless":       {t.Context(), n.addr, "", "act", 1, peer.ErrUnreachable},
		"wrong, large":   {t.Context(), n.addr, "two", "act", peer.MaxBody, peer.ErrWrongNode},
		"unknown method": {t.Context(), n.addr, "one", "dance", 1, peer.ErrNoMethod},
		"no method":      {t.Context(), n.addr, "one", "", peer.MaxBody, peer.ErrNoMethod},
		"too large":      {t.Context(), n.addr, "one", "act", peer.MaxBody + 1, peer.ErrTooLarge},
		"ended before":   {ended, n.addr, "one", "act", 1, context.Canceled},
		"late before":    {late, n.addr, "one", "act", 1, context.DeadlineExceeded},
	} {
		_, err := c.Call(f.ctx, f.addr, f.node, f.method, make([]byte, f.bytes))
		if !errors.Is(err, f.want) || !errors.Is(err, peer.ErrUnreachable) || errors.Is(err, peer.ErrUncertain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ran.Load() != 0 {
		t.Errorf("ran %d times", ran.Load())
	}
	if _, err := c.Call(t.Context(), n.addr, "one", "act", nil); err != nil || ran.Load() != 1 { // the twin
		t.Error(err, ran.Load())
	}
}

// A deadline that passes while the handler works: the caller is uncertain, the handler learns of it.
func TestDeadline(t *testing.T) {
	t.Parallel()
	ends := make(chan time.Duration, 1)
	n := start(t, func(s *peer.Server) {
		s.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
			begun := time.Now()
			<-ctx.Done()
			ends <- time.Since(begun)
			return nil, ctx.Err()
		})
	})
	c := client(t, ours())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := c.Call(ctx, n.addr, "one", "wait", nil)
	if !errors.Is(err, peer.ErrUncertain) || errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("Call: %v", err)
	}
	if took := time.Since(begun); took < 250*time.Millisecond || took > 3*time.Second {
		t.Errorf("Call took %s", took)
	}
	if took := <-ends; took > 3*time.Second {
		t.Errorf("the handler's context ended after %s", took)
	}
	ctx, leave := context.WithCancel(t.Context()) // and when the caller leaves before
	defer leave()
	time.AfterFunc(50*time.Millisecond, leave)
	if _, err := c.Call(ctx, n.addr, "one", "wait", nil); !errors.Is(err, peer.ErrUncertain) || !errors.Is(err, context.Canceled) {
		t.Errorf("Call: %v", err)
	}
	if took := <-ends; took > 3*time.Second {
		t.Errorf("the handler's context ended after %s", took)
	}
}

// The deadline travels as what is left of it, and there always is one.
func TestDeadlineTravels(t *testing.T) {
	t.Parallel()
	left := make(chan time.Duration, 1)
	n := start(t, func(s *peer.Server) {
		s.Handle("look", func(ctx context.Context, _ []byte) ([]byte, error) {
			at, ok := ctx.Deadline()
			if !ok {
				t.Error("no deadline")
			}
			left <- time.Until(at)
			return nil, nil
		})
	})
	c := client(t, ours())
	for given, most := range map[time.Duration]time.Duration{0: peer.DefaultTimeout, 20 * time.Second: 20 * time.Second, time.Hour: 5 * time.Minute} {
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if given > 0 {
			ctx, cancel = context.WithTimeout(ctx, given)
		}
		if _, err := c.Call(ctx, n.addr, "one", "look", nil); err != nil {
			t.Fatal(err)
		}
		if got := <-left; got > most || got < most-3*time.Second {
			t.Errorf("given %s, the handler has %s", given, got)
		}
		cancel()
	}
}

func TestHandlerThatFails(t *testing.T) {
	t.Parallel()
	n := start(t, func(s *peer.Server) {
		s.Handle("panic", func(context.Context, []byte) ([]byte, error) { panic("ouch") })
		s.Handle("error", func(context.Context, []byte) ([]byte, error) { return nil, errors.New("the disk of 甲") })
		s.Handle("large", func(context.Context, []byte) ([]byte, error) { return make([]byte, peer.MaxBody+1), nil })
		s.Handle("echo", echo)
	})
	c := client(t, ours())
	for _, method := range []string{"panic", "error", "large"} {
		_, err := c.Call(t.Context(), n.addr, "one", method, nil)
		if !errors.Is(err, peer.ErrFailed) || !errors.Is(err, peer.ErrUncertain) || strings.Contains(err.Error(), "disk") {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := c.Call(t.Context(), n.addr, "one", "echo", nil); err != nil {
		t.Errorf("after that: %v", err)
	}
	for text, want := range map[string]int{"ouch": 2, "call_test.go": 1, "the disk of": 1, "reply is too large": 1} {
		if n.log.count(text) < want {
			t.Errorf("the log has no %q: %s", text, n.log)
		}
	}
}

// Not parallel, like the next: it takes what the machine has.
func TestManyAtOnce(t *testing.T) {
	n := start(t, func(s *peer.Server) { s.Handle("echo", echo) })
	c := client(t, ours())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			body := fmt.Sprintf("%d", i)
			if got, err := c.Call(ctx, n.addr, "one", "echo", []byte(body)); string(got) != body {
				t.Errorf("%s: %q, %v", body, got, err)
			}
		})
	}
	wg.Wait()
}

// More requests than a node takes at once are refused before their handler, by a typed answer.
func TestBusy(t *testing.T) {
	var ran atomic.Int32
	release := make(chan struct{})
	n := start(t, func(s *peer.Server) {
		s.Handle("wait", func(context.Context, []byte) ([]byte, error) {
			ran.Add(1)
			<-release
			return nil, nil
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var clients []*peer.Client // one alone keeps to fewer connections
	for range 6 {
		clients = append(clients, client(t, ours()))
	}
	results := make(chan error, 256)
	for i := range 256 {
		go func() {
			_, err := clients[i%6].Call(ctx, n.addr, "one", "wait", nil)
			results <- err
		}()
		if i%16 == 15 { // all handshakes at once would be another test
			eventually(t, "these at once", func() bool { return ran.Load() == int32(i+1) })
		}
	}
	for _, c := range clients {
		if _, err := c.Call(ctx, n.addr, "one", "wait", nil); !errors.Is(err, peer.ErrBusy) || !errors.Is(err, peer.ErrUnreachable) {
			t.Errorf("one too many: %v", err)
		}
	}
	close(release)
	for range 256 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if _, err := clients[0].Call(ctx, n.addr, "one", "wait", nil); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func BenchmarkCall(b *testing.B) {
	k, addr := bench(b)
	c := peer.NewClient(k)
	defer c.Close()
	body := make([]byte, 500)
	for b.Loop() {
		if _, err := c.Call(b.Context(), addr, "one", "echo", body); err != nil {
			b.Fatal(err)
		}
	}
}

// A first call, handshake included.
func BenchmarkConnect(b *testing.B) {
	k, addr := bench(b)
	for b.Loop() {
		c := peer.NewClient(k)
		if _, err := c.Call(b.Context(), addr, "one", "echo", nil); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func bench(b *testing.B) (k *peer.Key, addr string) {
	b.Helper()
	s := peer.New(peer.Config{Key: ours(), Node: "one"})
	s.Handle("echo", echo)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return ours(), l.Addr().String()
}
