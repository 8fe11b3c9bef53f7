package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// listener is one socket of a door that is opened again when it ends.
type listener struct {
	d       *door
	network string // udp, tcp, tls
	at      string // where to bind; "": only connections that we make are served
	config  *tls.Config

	mu     sync.Mutex
	bound  netip.AddrPort
	socket interface{ Close() error }
	ended  chan struct{} // closed when the library has stopped serving the socket
	served bool
	closed bool
	feed   *feed // of tcp and tls
	// packets are of udp; only who binds and serves touches them.
	packets *packets
}

// open binds and begins to serve.
func (l *listener) open(ctx context.Context) error {
	if err := l.bind(ctx); err != nil {
		return err
	}
	l.serve()
	return nil
}

// bind opens the socket. A port that the system chose is bound again by its number.
func (l *listener) bind(ctx context.Context) error {
	var lc net.ListenConfig
	if l.network == "udp" {
		c, err := lc.ListenPacket(ctx, "udp", l.at)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		if u, ok := c.(*net.UDPConn); ok {
			_ = u.SetReadBuffer(4 << 20) // as far as the system allows it
		}
		l.packets = newPackets(c, l.d)
		return l.keep(c, addrPort(c.LocalAddr()))
	}
	var real net.Listener
	if l.at != "" {
		var err error
		if real, err = lc.Listen(ctx, "tcp", l.at); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	f := &feed{d: l.d, real: real, network: l.network, config: l.config, conns: make(chan net.Conn), closed: make(chan struct{})}
	l.mu.Lock()
	l.feed = f
	l.mu.Unlock()
	return l.keep(f, f.bound())
}

// serve hands the socket to the SIP library and returns when it can send from there, too.
func (l *listener) serve() {
	l.mu.Lock()
	ended, f, p := l.ended, l.feed, l.packets
	l.served = true
	l.mu.Unlock()
	if p != nil {
		go func() {
			defer close(ended)
			_ = l.d.tp.ServeUDP(p)
		}()
		select {
		case <-p.ready:
		case <-ended:
		}
		return
	}
	serve := l.d.tp.ServeTCP
	if l.network == "tls" {
		serve = l.d.tp.ServeTLS
	}
	go func() {
		defer close(ended)
		_ = serve(f)
	}()
}

func (l *listener) keep(s interface{ Close() error }, bound netip.AddrPort) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.Join(net.ErrClosed, s.Close())
	}
	l.socket, l.bound, l.ended, l.served = s, bound, make(chan struct{}), false
	if l.at != "" {
		l.at = bound.String()
	}
	return nil
}

func (l *listener) addr() netip.AddrPort {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bound
}

// supervise opens the socket again when it ends before ctx does, with longer and longer pauses while it cannot.
func (l *listener) supervise(ctx context.Context) {
	pause := 100 * time.Millisecond
	for {
		l.mu.Lock()
		ended := l.ended
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ended:
		}
		if ctx.Err() != nil {
			return
		}
		l.d.g.log.Error("a SIP listener ended and is opened again", "door", l.d.name, "network", l.network)
		for l.open(ctx) != nil {
			t := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			pause = min(2*pause, 5*time.Second)
		}
		pause = 100 * time.Millisecond
	}
}

func (l *listener) close() {
	l.mu.Lock()
	l.closed = true
	s, ended, served := l.socket, l.ended, l.served
	l.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
	if served {
		<-ended
	}
}

// feed gives the SIP library connections: those that come in, and those that we make, so that both are screened.
type feed struct {
	d       *door
	real    net.Listener // nil: none come in
	network string
	config  *tls.Config
	conns   chan net.Conn
	once    sync.Once
	start   sync.Once
	closed  chan struct{}
	err     error
}

// Accept implements net.Listener.
func (f *feed) Accept() (net.Conn, error) {
	f.start.Do(func() {
		if f.real != nil {
			go f.accept()
		}
	})
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// accept takes connections in; those of strangers are closed at once.
func (f *feed) accept() {
	pause := 5 * time.Millisecond
	for {
		c, err := f.real.Accept()
		if errors.Is(err, net.ErrClosed) {
			_ = f.Close()
			return
		}
		if err != nil { // no descriptors, most likely
			t := time.NewTimer(pause)
			select {
			case <-t.C:
			case <-f.closed:
				t.Stop()
				return
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		ip := addrPort(c.RemoteAddr()).Addr()
		if !f.d.admits(ip) || !f.d.enter(ip) {
			_ = c.Close()
			continue
		}
		name := "TCP"
		if f.config != nil {
			c, name = tls.Server(c, f.config), "TLS"
		}
		f.give(f.d.stream(c, name, false))
	}
}

// give hands a connection to the library; false: the feed is closed, and so is the connection.
func (f *feed) give(c net.Conn) bool {
	select {
	case f.conns <- c:
		return true
	case <-f.closed:
		_ = c.Close()
		return false
	}
}

// Close implements net.Listener.
func (f *feed) Close() error {
	f.once.Do(func() {
		close(f.closed)
		if f.real != nil {
			f.err = f.real.Close()
		}
	})
	return f.err
}

// Addr implements net.Listener.
func (f *feed) Addr() net.Addr {
	if f.real != nil {
		return f.real.Addr()
	}
	return &net.TCPAddr{IP: net.IPv4zero}
}

func (f *feed) bound() netip.AddrPort {
	if f.real == nil {
		return netip.AddrPort{}
	}
	return addrPort(f.real.Addr())
}
