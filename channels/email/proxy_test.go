package email

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// proxy is a line to a server that breaks at a place.
type proxy struct {
	addr    string
	refuse  bool   // cut at once
	after   string // break when the client has sent this
	forward bool   // the server still gets it, and its answer is lost
	hole    bool   // break by silence
	broken  chan struct{}
}

func newProxy(t *testing.T, to string, change func(*proxy)) *proxy {
	t.Helper()
	p := &proxy{broken: make(chan struct{})}
	change(p)
	gone := make(chan struct{})
	t.Cleanup(func() { close(gone) })
	p.addr = serve(t, func(l net.Listener) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			go p.carry(c, to, gone)
		}
	})
	return p
}

func (p *proxy) carry(client net.Conn, to string, gone <-chan struct{}) {
	defer client.Close()
	if p.refuse {
		return
	}
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := server.Read(buffer)
			select {
			case <-p.broken:
				return
			default:
			}
			if _, werr := client.Write(buffer[:n]); err != nil || werr != nil {
				return
			}
		}
	}()
	var seen []byte
	buffer := make([]byte, 4096)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		seen = append(seen, buffer[:n]...)
		if bytes.Contains(seen, []byte(p.after)) {
			close(p.broken)
			if p.forward {
				_, _ = server.Write(buffer[:n])
			}
			if p.hole {
				go func() { _, _ = io.Copy(io.Discard, client) }()
				<-gone
			}
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}
