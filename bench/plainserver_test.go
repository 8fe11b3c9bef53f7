package bench

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"tributary/bench/plain"
	"tributary/test/rig"
)

// plainAddr is the variable by which this program is told to be the plain server, and where.
const plainAddr = "BENCH_PLAIN_ADDR"

// servePlain runs until whoever started it is gone, which closes the standard input.
func servePlain(addr string) {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	srv := &http.Server{Addr: addr, Handler: plain.New(), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, srv.ListenAndServe())
	os.Exit(1)
}

// startPlain starts the plain server in a process of its own, as the product has one.
func startPlain(b *testing.B) *process {
	b.Helper()
	addr := rig.FreeAddr(b)
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), plainAddr+"="+addr), os.Stderr
	leash, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = leash.Close()
		_ = cmd.Wait()
	})
	c := &rig.Client{URL: "http://" + addr}
	rig.Eventually(b, 10*time.Second, "the plain server answers", func() bool {
		v, err := c.Do(b.Context(), `{ready}`, nil)
		return err == nil && v.At("data", "ready").Bool()
	})
	return &process{pid: cmd.Process.Pid, url: c.URL}
}
