package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tributary/internal/peer"
)

// A Server that is to end lets requests under way end, and takes no others.
func TestDrain(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	n := start(t, func(s *peer.Server) {
		s.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
			close(begun)
			select {
			case <-release:
			case <-ctx.Done():
			}
			return []byte("done"), ctx.Err()
		})
	})
	c := client(t, ours())
	reply := make(chan error, 1)
	go func() {
		got, err := c.Call(t.Context(), n.addr, "one", "wait", nil)
		if err == nil && string(got) != "done" {
			err = errors.New(string(got))
		}
		reply <- err
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- n.stop() }()
	eventually(t, "closed", func() bool {
		_, err := c.Ping(t.Context(), n.addr, "one")
		return errors.Is(err, peer.ErrUnreachable)
	})
	close(release)
	if err := <-reply; err != nil {
		t.Errorf("the request under way: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestGraceEnds(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 2)
	stuck := make(chan struct{})
	defer close(stuck)
	n := startAs(t, peer.Config{Key: ours(), Node: "one", Grace: 50 * time.Millisecond}, func(s *peer.Server) {
		s.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		s.Handle("hang", func(context.Context, []byte) ([]byte, error) { begun <- struct{}{}; <-stuck; return nil, nil })
	})
	c := client(t, ours())
	replies := make(chan error, 2)
	for _, method := range []string{"wait", "hang"} {
		go func() {
			_, err := c.Call(t.Context(), n.addr, "one", method, nil)
			replies <- err
		}()
	}
	<-begun
	<-begun
	if err := n.stop(); err == nil || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("Run: %v", err)
	}
	for range 2 {
		if err := <-replies; !errors.Is(err, peer.ErrUncertain) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Call: %v", err)
		}
	}
}

// A listener that breaks is an error of Run.
func TestListenerBreaks(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := peer.New(peer.Config{Key: ours(), Node: "one"}).Run(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}

// relay stands between two nodes and can cut what passes, as the death of a machine does.
type relay struct {
	net.Listener
	cut chan struct{}
}

func newRelay(t *testing.T, to string, record io.Writer) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, cut: make(chan struct{})}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, io.TeeReader(in, record)); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
			go func() {
				<-r.cut
				_ = in.Close()
				_ = out.Close()
			}()
		}
	}()
	return r
}

// A connection that breaks in the middle of a call leaves the caller uncertain, and nothing is asked twice.
func TestBrokenConnection(t *testing.T) {
	t.Parallel()
	var ran atomic.Int32
	begun := make(chan struct{}, 9)
	n := start(t, func(s *peer.Server) {
		s.Handle("wait", func(ctx context.Context, _ []byte) ([]byte, error) {
			ran.Add(1)
			begun <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		s.Handle("echo", echo)
	})
	r := newRelay(t, n.addr, io.Discard)
	c := client(t, ours())
	if _, err := c.Call(t.Context(), r.Addr().String(), "one", "echo", nil); err != nil { // so that the connection is a used one
		t.Fatal(err)
	}
	reply := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), r.Addr().String(), "one", "wait", []byte("x"))
		reply <- err
	}()
	<-begun
	close(r.cut)
	if err := <-reply; !errors.Is(err, peer.ErrUncertain) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Call: %v", err)
	}
	if ran.Load() != 1 {
		t.Errorf("ran %d times", ran.Load())
	}
}

// The test binary is its own child: a node that begins a request, says so and never ends it.
const childEnv = "PEER_TEST_NODE"

func TestKilledNode(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	k, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimSpace(string(line[:k]))
	c := client(t, ours())
	reply := make(chan error, 1)
	go func() {
		_, err := c.Call(t.Context(), addr, "child", "wait", nil)
		reply <- err
	}()
	if _, err := out.Read(line); err != nil { // it has begun
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-reply; !errors.Is(err, peer.ErrUncertain) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Call: %v", err)
	}
	_ = cmd.Wait()
	if _, err := c.Call(t.Context(), addr, "child", "wait", nil); !errors.Is(err, peer.ErrUnreachable) {
		t.Errorf("Call to nobody: %v", err)
	}
}

func child() {
	s := peer.New(peer.Config{Key: ours(), Node: "child", Log: slog.New(slog.DiscardHandler)})
	s.Handle("wait", func(context.Context, []byte) ([]byte, error) {
		fmt.Println("begun")
		select {}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	_ = s.Run(context.Background(), l)
}
