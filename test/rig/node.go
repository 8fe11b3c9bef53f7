// Package rig starts the real program as a process and talks to it as a stranger would: GraphQL and the wire only. It
// also starts a real mail server for those that need one (Mail). It is shared by the end-to-end, kill and bad-day tests;
// nothing of the product imports it.
package rig

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tributary-bin")
	if err != nil {
		return "", err
	}
	_, here, _, _ := runtime.Caller(0)
	bin := filepath.Join(dir, "tributary")
	cmd := exec.Command("go", "build", "-o", bin, ".")
	cmd.Dir = filepath.Join(filepath.Dir(here), "..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return bin, nil
})

// Binary builds the program once for a test process. TRIBUTARY_BINARY names one that was built before.
func Binary(t testing.TB) string {
	t.Helper()
	if bin := os.Getenv("TRIBUTARY_BINARY"); bin != "" {
		return bin
	}
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// Options say how a node runs.
type Options struct {
	DatabaseURL string // PostgreSQL; empty: SQLite in Data
	Data        string // data folder; empty: a new one
	HTTP        string // host:port; empty: a free one
	Args        []string
	Env         []string
	Binary      string // another build of the program; empty: that of Binary
}

func (o Options) binary(t testing.TB) string {
	if o.Binary != "" {
		return o.Binary
	}
	return Binary(t)
}

// Node is a running program.
type Node struct {
	URL   string
	Opts  Options
	T     testing.TB
	Log   *Output
	Out   *Output
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// Output keeps what a process printed; safe to read while it prints.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.Len() > 4<<20 { // bounded: a long run logs much
		o.b.Reset()
	}
	return o.b.Write(p)
}

// String is what was printed.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// FreeAddr is an address nobody listens on. It lies below the ports that the system gives to outgoing connections, or one
// of those could take it while a node that was killed is away.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// Start runs a node and waits until it is ready. It is killed at the test's end.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	if o.HTTP == "" {
		o.HTTP = FreeAddr(t)
	}
	n := &Node{URL: "http://" + o.HTTP, Opts: o, T: t}
	n.Launch()
	t.Cleanup(func() {
		n.Kill()
		if t.Failed() {
			log := n.Log.String()
			t.Logf("log of %s:\n%s", n.URL, log[max(0, len(log)-8000):])
		}
	})
	n.Ready(30 * time.Second)
	return n
}

// Launch starts the process and does not wait for it to be ready.
func (n *Node) Launch() {
	n.T.Helper()
	// Tests log in and write more than people do.
	args := append([]string{
		"serve", "--data", n.Opts.Data, "--http", n.Opts.HTTP,
		"--logins-per-agent", "100000/1m", "--logins-per-address", "100000/1m", "--visitor-messages", "100000/1m",
		"--anonymous-queries", "1000000/1m", "--budget-agent", "100000000@10000000", "--budget-app", "100000000@10000000", "--budget-visitor", "100000000@10000000",
		"--allow-dial", "callback=127.0.0.0/8", "--allow-dial", "media=127.0.0.0/8", "--sip-trunk", "off", "--sip-phone", "off",
	}, n.Opts.Args...)
	if n.Opts.DatabaseURL != "" {
		args = append(args, "--database-url", n.Opts.DatabaseURL)
	}
	cmd := exec.Command(n.Opts.binary(n.T), args...)
	cmd.Env = append(os.Environ(), n.Opts.Env...)
	if n.Log == nil {
		n.Log, n.Out = &Output{}, &Output{}
	}
	cmd.Stdout, cmd.Stderr = n.Out, n.Log
	if err := cmd.Start(); err != nil {
		n.T.Fatal(err)
	}
	n.cmd, n.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		n.err = cmd.Wait()
		close(ended)
	}(n.ended)
}

// Ready waits until the node answers /readyz.
func (n *Node) Ready(patience time.Duration) {
	n.T.Helper()
	if err := n.WaitReady(patience); err != nil {
		n.T.Fatalf("%v\n%s", err, n.Log)
	}
}

// WaitReady is Ready with an error.
func (n *Node) WaitReady(patience time.Duration) error {
	until := time.Now().Add(patience)
	for time.Now().Before(until) {
		select {
		case <-n.ended:
			return fmt.Errorf("the program ended: %w", n.err)
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+"/readyz", nil)
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		cancel()
		if err == nil && res.StatusCode == http.StatusOK {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("not ready after %s", patience)
}

// Kill is kill -9; it waits until the process is gone.
func (n *Node) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	<-n.ended
}

// Stop is SIGTERM; it waits for the end and returns its error.
func (n *Node) Stop() error {
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	<-n.ended
	return n.err
}

// Ended is closed when the process is gone.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Pid of the process.
func (n *Node) Pid() int { return n.cmd.Process.Pid }

// Restart kills the process and starts it again on the same address and data.
func (n *Node) Restart() {
	n.T.Helper()
	n.Kill()
	n.Launch()
	n.Ready(30 * time.Second)
}

// OperatorToken is what the command `token` prints on this machine.
func (n *Node) OperatorToken() string {
	n.T.Helper()
	cmd := exec.Command(n.Opts.binary(n.T), "token", "--data", n.Opts.Data)
	cmd.Env = append(os.Environ(), n.Opts.Env...)
	out, err := cmd.Output()
	if err != nil {
		n.T.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
