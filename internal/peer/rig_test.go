package peer_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tributary/internal/crypt"
	"tributary/internal/peer"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	// net/http's server waits half a second by itself after an answer whose request it did not read to the end.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

var (
	ours   = sync.OnceValue(func() *peer.Key { return mustKey("a secret of the operator") })
	theirs = sync.OnceValue(func() *peer.Key { return mustKey("another secret of others") })
)

func mustKey(secret crypt.Secret) *peer.Key {
	k, err := peer.NewKey(secret)
	if err != nil {
		panic(err)
	}
	return k
}

// journal is a log that tests read.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.buf.String(), text)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// node is a Server that runs, by the name of "one".
type node struct {
	addr string
	log  *journal
	stop func() error // ends it and gives what Run returned; may be repeated
}

func start(t *testing.T, handle func(s *peer.Server)) *node {
	t.Helper()
	return startAs(t, peer.Config{Key: ours(), Node: "one", Version: "v1"}, handle)
}

func startAs(t *testing.T, c peer.Config, handle func(s *peer.Server)) *node {
	t.Helper()
	n := &node{log: &journal{}}
	c.Log = slog.New(slog.NewTextHandler(n.log, nil))
	s := peer.New(c)
	if handle != nil {
		handle(s)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	n.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = n.stop() })
	return n
}

func client(t *testing.T, k *peer.Key) *peer.Client {
	t.Helper()
	c := peer.NewClient(k)
	t.Cleanup(c.Close)
	return c
}

// eventually waits for what another goroutine does without telling.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}
