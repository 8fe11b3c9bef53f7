package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"tributary/channels"
)

// purpose names our connections in the operator's allow-list.
const purpose = "mail"

const (
	// patience is how long a peer may be silent while we wait for it, and how
	// long a write may take.
	patience = time.Minute
	// finalPatience is for the reply to a whole mail: servers examine it first,
	// and to give up early makes doubles (RFC 5321 section 4.5.3.2.6).
	finalPatience = 10 * time.Minute
)

const (
	// maxAnswer is how many bytes an IMAP server may say at one task, but for a
	// mail, and maxReplies an SMTP server: the libraries keep what they read. A
	// list of some million mails has less.
	maxAnswer  = 32 << 20
	maxReplies = 1 << 20
)

var (
	errSilent  = errors.New("no answer in time")
	errEndless = errors.New("an answer without end")
)

// wire is a connection that is cut when its peer is silent for too long. The
// deadlines of net.Conn are times of the machine's clock; ours run on the
// host's, from each read and write, so that a long mail over a slow line is not
// cut while it still comes. Those that a library sets are ignored.
type wire struct {
	net.Conn
	clock channels.Clock
	owner *wires

	mu       sync.Mutex
	limit    time.Duration // 0: nobody waits for anything
	deadline time.Time     // of the timer that runs
	stop     chan struct{} // ends that timer
	closed   bool
	late     bool
	most     int64 // bytes that the peer may say at one task
	room     int64 // what is left of them
	endless  bool
	timers   sync.WaitGroup
}

// expect starts to wait: from here to rest the peer must not be silent for limit.
func (w *wire) expect(limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = limit
	w.arm()
}

// rest ends the waiting. What the peer sends is still read.
func (w *wire) rest() { w.expect(0) }

// allow lets the peer say an answer of the usual length, and so much more.
func (w *wire) allow(more int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room = w.most + more
}

// heard cuts the connection of a peer that has used up its room.
func (w *wire) heard(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.room -= int64(n); w.room < 0 && w.limit > 0 {
		w.endless = true
		w.cut()
	}
}

// touch begins the wait anew, unless it was over: the timer may be about to say
// so.
func (w *wire) touch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.limit == 0 || w.late:
	case !w.clock.Now().Before(w.deadline):
		w.late = true
		w.cut()
	default:
		w.arm()
	}
}

// arm puts a new timer in the place of the one that runs.
func (w *wire) arm() {
	if w.stop != nil {
		close(w.stop)
		w.stop = nil
	}
	if w.limit == 0 || w.closed {
		return
	}
	timer, stop := w.clock.After(w.limit), make(chan struct{})
	w.deadline, w.stop = w.clock.Now().Add(w.limit), stop
	w.timers.Go(func() { w.watch(timer, stop) })
}

func (w *wire) watch(timer <-chan time.Time, stop chan struct{}) {
	select {
	case <-timer:
	case <-stop:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stop == stop { // Else another timer runs, or none.
		w.late = true
		w.cut()
	}
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.touch()
		w.heard(n)
	}
	return n, err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	w.touch()
	return w.Conn.Write(p)
}

// SetDeadline implements net.Conn by nothing.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn by nothing.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn by nothing.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// cut ends the connection under whoever uses it; it never waits.
func (w *wire) cut() { _ = w.Conn.Close() } // It is given up in any case.

// Close implements net.Conn. It waits for the timer.
func (w *wire) Close() error {
	w.mu.Lock()
	w.closed, w.limit = true, 0
	w.arm()
	w.mu.Unlock()
	err := w.Conn.Close()
	w.owner.forget(w)
	w.timers.Wait()
	return err
}

// guard runs f, which waits for the peer, and cuts the connection when the peer
// is silent or ctx ends.
func (w *wire) guard(ctx context.Context, f func() error) error {
	w.allow(0)
	w.expect(patience)
	defer w.rest()
	defer context.AfterFunc(ctx, w.cut)()
	return w.explain(ctx, f())
}

// explain gives the reason of a connection that we cut ourselves; what is read
// from it says only that it is closed.
func (w *wire) explain(ctx context.Context, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		return nil
	case w.late:
		return fmt.Errorf("%w: %w", errSilent, err)
	case w.endless:
		return fmt.Errorf("%w: %w", errEndless, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// wires are the open connections of a channel.
type wires struct {
	mu     sync.Mutex
	open   map[*wire]bool
	closed bool
}

var errClosed = errors.New("the channel is closed")

func (s *wires) add(w *wire) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if s.open == nil {
		s.open = map[*wire]bool{}
	}
	s.open[w] = true
	return nil
}

func (s *wires) forget(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, w)
}

// close cuts all connections and lets no new one in.
func (s *wires) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for w := range s.open {
		w.cut()
	}
}

// dial connects to a server, without TLS so far.
func (m *mailbox) dial(ctx context.Context, to server) (*wire, error) {
	conn, err := m.host.Dial.DialContext(ctx, purpose, "tcp", to.addr)
	if err != nil {
		return nil, fmt.Errorf("connect to the %s server: %w", to.protocol, err)
	}
	w := &wire{Conn: conn, clock: m.host.Clock, owner: &m.wires, most: maxAnswer}
	if err := m.wires.add(w); err != nil {
		w.cut()
		return nil, err
	}
	return w, nil
}

// tls is the configuration for a server. The name in its certificate is the one
// in the settings.
func (m *mailbox) tls(to server) *tls.Config {
	return &tls.Config{ServerName: to.host, RootCAs: m.roots, MinVersion: tls.VersionTLS12}
}

// unreachable gives an error of connecting a text for people where we know
// better than the core.
func unreachable(err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return channels.RetryAfter(err, 0).WithText("The mail server's certificate is not trusted.")
	}
	return err
}
