package peer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/internal/peer"
)

// watched starts a node whose every method counts.
func watched(t *testing.T) (*node, *atomic.Int32) {
	t.Helper()
	var ran atomic.Int32
	return start(t, func(s *peer.Server) {
		s.Handle("act", func(context.Context, []byte) ([]byte, error) { ran.Add(1); return []byte("acted"), nil })
	}), &ran
}

func TestSecretMustBeLong(t *testing.T) {
	t.Parallel()
	if _, err := peer.NewKey("fifteen letters"); err == nil {
		t.Error("15 characters pass")
	}
	if _, err := peer.NewKey("sixteen letters!"); err != nil {
		t.Error(err)
	}
}

// Nodes with different secrets do not get together, whichever of them asks.
func TestAnotherSecret(t *testing.T) {
	t.Parallel()
	n, ran := watched(t)
	c := client(t, theirs())
	for range 5 {
		_, err := c.Call(t.Context(), n.addr, "one", "act", nil)
		if !errors.Is(err, peer.ErrUnreachable) {
			t.Errorf("Call: %v", err)
		}
	}
	if ran.Load() != 0 {
		t.Error("executed")
	}
	eventually(t, "a line in the log", func() bool { return n.log.count("stranger") > 0 })
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	if k := n.log.count("stranger"); k != 1 || n.log.count("address=127.0.0.1") != 1 {
		t.Errorf("%d lines for one address: %s", k, n.log)
	}
}

// A stranger who does not mind whom he talks to gets no further: with a certificate of another key, with none, with
// ours but without its private key.
func TestStrangerIsNotHeard(t *testing.T) {
	t.Parallel()
	n, ran := watched(t)
	for name, certs := range map[string][]tls.Certificate{
		"other key": {foreign(t, nil)}, "none": nil, "stolen certificate": {stolen(t, n.addr)}, "our key beside his": {foreign(t, ourCertificate(t, n.addr))},
	} {
		conn, err := tls.Dial("tcp", n.addr, &tls.Config{InsecureSkipVerify: true, Certificates: certs, MinVersion: tls.VersionTLS13})
		if err == nil { // in TLS 1.3 a client learns of its refusal only when it reads
			err = speak(conn)
			_ = conn.Close()
		}
		if err == nil {
			t.Errorf("%s: answered", name)
		}
	}
	if conn, err := tls.Dial("tcp", n.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil { //nolint:gosec // what must fail
		_ = conn.Close()
		t.Error("an old TLS is spoken")
	}
	if ran.Load() != 0 {
		t.Errorf("executed %d times", ran.Load())
	}
	if _, err := client(t, ours()).Call(t.Context(), n.addr, "one", "act", nil); err != nil { // the twin
		t.Error(err)
	}
}

const request = "POST /act HTTP/1.1\r\nHost: x\r\nTributary-Node: one\r\nTributary-Timeout: 5000\r\nContent-Length: 0\r\n\r\n"

// speak sends a request as a node would and fails if there is no answer.
func speak(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	b, err := io.ReadAll(conn)
	if len(b) > 0 {
		return nil
	}
	if err == nil {
		err = io.EOF
	}
	return err
}

// foreign is a certificate with a key of its own; the chain behind it may name another.
func foreign(t *testing.T, behind []byte) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, public, private)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
	if behind != nil {
		c.Certificate = append(c.Certificate, behind)
	}
	return c
}

// ourCertificate is what a node shows to anybody who asks.
func ourCertificate(t *testing.T, addr string) []byte {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Raw
}

func stolen(t *testing.T, addr string) tls.Certificate {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{ourCertificate(t, addr)}, PrivateKey: private}
}

// A server with another secret hears nothing from us.
func TestAskingAStranger(t *testing.T) {
	t.Parallel()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{foreign(t, nil)}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	var heard atomic.Int32
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b, _ := io.ReadAll(conn)
		heard.Store(int32(len(b)))
	})
	_, err = client(t, ours()).Call(t.Context(), l.Addr().String(), "one", "act", []byte("in confidence"))
	if !errors.Is(err, peer.ErrUnreachable) || errors.Is(err, peer.ErrUncertain) {
		t.Errorf("Call: %v", err)
	}
	wg.Wait()
	_ = l.Close()
	if heard.Load() != 0 {
		t.Errorf("it heard %d bytes", heard.Load())
	}
}

func TestGarbageAtTheDoor(t *testing.T) {
	t.Parallel()
	n, ran := watched(t)
	for name, text := range map[string]string{"plain HTTP": request, "garbage": "\x00\x01\x02\x03garbage\r\n\r\n", "the beginning of TLS": "\x16\x03\x01\x02\x00\x01", "nothing": ""} {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, text)
		_ = conn.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(conn)
		var late net.Error
		if bytes.Contains(b, []byte("HTTP")) || errors.As(err, &late) && late.Timeout() {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		_ = conn.Close()
	}
	eventually(t, "a line in the log", func() bool { return n.log.count("stranger") > 0 })
	if k := n.log.count("stranger"); k != 1 || ran.Load() != 0 {
		t.Errorf("%d lines, ran %d times", k, ran.Load())
	}
	if _, err := client(t, ours()).Call(t.Context(), n.addr, "one", "act", nil); err != nil { // the twin
		t.Error(err)
	}
}

// Strangers who stand at the door and say nothing keep nobody out and go away by themselves.
func TestSilentStrangers(t *testing.T) {
	t.Parallel()
	n, _ := watched(t)
	var idle []net.Conn
	for range 100 {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
	}
	if _, err := client(t, ours()).Call(t.Context(), n.addr, "one", "act", nil); err != nil {
		t.Error(err)
	}
	for _, conn := range idle {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		var late net.Error
		if _, err := io.ReadAll(conn); errors.As(err, &late) && late.Timeout() {
			t.Fatal("still at the door")
		}
		_ = conn.Close()
	}
}

// What somebody recorded on the wire is of no use to him.
func TestReplay(t *testing.T) {
	t.Parallel()
	n, ran := watched(t)
	var tape lockedBuffer
	r := newRelay(t, n.addr, &tape)
	defer close(r.cut)
	if got, err := client(t, ours()).Call(t.Context(), r.Addr().String(), "one", "act", []byte("in confidence")); err != nil || string(got) != "acted" {
		t.Fatal(string(got), err)
	}
	recorded := tape.bytes()
	if len(recorded) < 500 || bytes.Contains(recorded, []byte("confidence")) || bytes.Contains(recorded, []byte("POST")) {
		t.Fatalf("%d bytes recorded", len(recorded))
	}
	for range 3 {
		conn, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = conn.Write(recorded)
		_, _ = io.ReadAll(conn)
		_ = conn.Close()
	}
	if ran.Load() != 1 {
		t.Errorf("executed %d times", ran.Load())
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}

// What a node sends that is no request of this package: refused, and nothing runs. For this the test has the key.
func TestForeignForms(t *testing.T) {
	t.Parallel()
	n, ran := watched(t)
	for text, want := range map[string]string{
		"GET /act HTTP/1.1\r\nHost: x\r\nTributary-Node: one\r\nTributary-Timeout: 5000\r\n\r\n":                              "400",
		"POST /act HTTP/1.1\r\nHost: x\r\nTributary-Node: one\r\nContent-Length: 0\r\n\r\n":                                   "400",
		"POST /act HTTP/1.1\r\nHost: x\r\nTributary-Node: one\r\nTributary-Timeout: -1\r\nContent-Length: 0\r\n\r\n":          "400",
		"POST /act HTTP/1.1\r\nHost: x\r\nTributary-Node: one\r\nTributary-Timeout: 1e9\r\nContent-Length: 0\r\n\r\n":         "400",
		"POST /act HTTP/1.1\r\nHost: x\r\nTributary-Timeout: 5000\r\nContent-Length: 0\r\n\r\n":                               "421",
		"POST /act HTTP/1.1\r\nHost: x\r\nTributary-Node: %\r\nTributary-Timeout: 5000\r\nContent-Length: 0\r\n\r\n":          "400",
		"POST /act HTTP/1.1\r\nHost: x\r\nTributary-Node: one\r\nTributary-Timeout: 5000\r\nContent-Length: 1048577\r\n\r\nx": "413",
		"POST /act HTTP/1.1\r\nHost: x\r\nTributary-Node: one\r\nTributary-Timeout: 5000\r\nTransfer-Encoding: chunked\r\n\r\n" +
			fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", peer.MaxBody+1, bytes.Repeat([]byte("x"), peer.MaxBody+1)): "413",
		request: "200",
	} {
		conn, err := tls.Dial("tcp", n.addr, peer.TLS(ours()))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(conn, text); err != nil {
			t.Error(err)
		}
		if want == "413" {
			_ = conn.CloseWrite() // or the node waits for the body that was announced
		}
		line := make([]byte, len("HTTP/1.1 200"))
		if _, err := io.ReadFull(conn, line); err != nil || string(line[9:]) != want {
			t.Errorf("%.100q: %s, %v", text, line, err)
		}
		_ = conn.Close()
	}
	if ran.Load() != 1 {
		t.Errorf("ran %d times", ran.Load())
	}
}
