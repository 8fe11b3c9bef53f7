package sip

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"tributary/internal/testdb"
)

// process is a foreign program of one test.
type process struct {
	cmd  *exec.Cmd
	out  output
	done chan struct{} // it ended, and err is set
	err  error
}

// output keeps what a program says; it may be read while it runs.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) all() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// tail is the end of it.
func (o *output) tail() string {
	text := o.all()
	return text[max(0, len(text)-6000):]
}

// start runs a program in a folder until it ends, or the test does. It dies with this process.
func start(t testing.TB, dir, name string, args ...string) *process {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		testdb.Missing(t, name, err)
	}
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, &p.out, &p.out
	p.cmd.Env = append(os.Environ(), "LC_ALL=C", "TERM=dumb", "HOME="+dir)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p.cmd.WaitDelay = 5 * time.Second
	mortal(p.cmd.SysProcAttr)
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, p.out.tail())
		}
	})
	return p
}

func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may be gone already
	<-p.done
}

// wait waits for its end.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("%s still runs: %w", p.cmd.Path, ctx.Err())
	}
}

// freePort is a port of 127.0.0.1 that nobody had a moment ago, even, with its odd neighbour free as well. It lies below
// those that the system gives to outgoing connections, so that nobody takes it by chance.
func freePort(t testing.TB, network string) int {
	t.Helper()
	for range 200 {
		port := 12000 + 2*rand.IntN(4000) // several test processes look at once
		if free(network, port) && free(network, port+1) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func free(network string, port int) bool {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	if network == "tcp" {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return false
		}
		return l.Close() == nil
	}
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	return c.Close() == nil
}
