// Command objects is an object store for tests: gofakes3 as a process, so that several nodes can share a bucket. It keeps
// everything in memory and lets everybody in, whatever the keys.
//
// When it serves it prints its address, on a line of its own. It ends when its input does, as that does when the caller
// dies, however.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// bucket is the one that there is.
const bucket = "files"

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		return fmt.Errorf("make the bucket: %w", err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // nothing ends it but the process
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println(lis.Addr())
	server := &http.Server{Handler: gofakes3.New(backend).Server(), ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return server.Serve(lis)
}
