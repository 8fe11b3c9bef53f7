package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"tributary/internal/limit"
)

// How many strangers may stand at the door, for how long, and how often they are spoken of.
const (
	maxKnocking  = 256
	knockTimeout = 5 * time.Second
)

var (
	perAddress   = limit.Rate{Burst: 1, PerSecond: 1.0 / (10 * 60)} // one line in ten minutes
	perAddresses = limit.Rate{Burst: 20, PerSecond: 1.0 / 10}       // whoever they are
)

// door is the listener behind which only nodes with our key stand: net/http sees a connection when its handshake is
// done, and of all others nothing. Handshakes go on side by side, so a stranger who says nothing holds up nobody.
type door struct {
	net.Listener
	config   *tls.Config
	log      *slog.Logger
	told     *limit.Memory
	knocking chan struct{}
	open     chan net.Conn
	ctx      context.Context // the door's own life, from newDoor to Close
	shut     context.CancelFunc
	closing  sync.Once
}

func newDoor(l net.Listener, k *Key, log *slog.Logger) *door {
	ctx, shut := context.WithCancel(context.Background()) //nolint:forbidigo // ends with Close
	return &door{
		Listener: l, config: k.config(), log: log, told: limit.NewMemory(time.Now, 1024),
		knocking: make(chan struct{}, maxKnocking), open: make(chan net.Conn), ctx: ctx, shut: shut,
	}
}

// accept lets connections knock until the listener is closed, and returns when nobody knocks any more.
func (d *door) accept() {
	var greeting sync.WaitGroup
	defer greeting.Wait()
	defer d.shut() // whoever waits in Accept or knocks sees the end
	pause := 5 * time.Millisecond
	for {
		select {
		case d.knocking <- struct{}{}:
		case <-d.ctx.Done():
			return
		}
		conn, err := d.Listener.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			greeting.Go(func() { d.greet(conn) })
			continue
		}
		<-d.knocking
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of files, as a rule: it passes when others close some.
		d.log.Warn("peer: accept", "err", err)
		select {
		case <-time.After(pause):
		case <-d.ctx.Done():
			return
		}
		pause = min(2*pause, time.Second)
	}
}

// greet lets a connection in if it is one of ours.
func (d *door) greet(raw net.Conn) {
	defer func() { <-d.knocking }()
	ctx, cancel := context.WithTimeout(d.ctx, knockTimeout)
	defer cancel()
	conn := tls.Server(raw, d.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		if d.ctx.Err() == nil {
			d.stranger(raw.RemoteAddr(), err)
		}
		return
	}
	select {
	case d.open <- conn:
	case <-d.ctx.Done():
		_ = raw.Close()
	}
}

// stranger says once in a while who knocked in vain. Most of them are nodes with another secret; some are not.
func (d *door) stranger(addr net.Addr, err error) {
	host, _, split := net.SplitHostPort(addr.String())
	if split != nil {
		host = addr.String()
	}
	for _, l := range []struct {
		key  string
		rate limit.Rate
	}{{"address " + host, perAddress}, {"addresses", perAddresses}} {
		if r, failed := d.told.Take(d.ctx, l.key, 1, l.rate); failed != nil || !r.OK {
			return
		}
	}
	var foreign tls.RecordHeaderError
	if errors.As(err, &foreign) {
		err = errors.New("what it says is not TLS")
	}
	d.log.Warn("peer: stranger refused; a node with another secret looks like this", "address", host, "err", fmt.Sprint(err))
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	select {
	case conn := <-d.open:
		return conn, nil
	case <-d.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It may be repeated.
func (d *door) Close() (err error) {
	d.closing.Do(func() {
		d.shut()
		err = d.Listener.Close()
	})
	return err
}
