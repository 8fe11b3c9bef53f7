package channeltest

import (
	"context"
	"errors"
	"net"
	"sync"

	"tributary/channels"
)

// Dialer is a channels.Dialer without a guard, for fakes on the loop-back
// interface. Safe for concurrent use.
type Dialer struct {
	mu       sync.Mutex
	down     bool
	purposes []string
}

// ErrDown is what a dialer that is down answers.
var ErrDown = errors.New("network is down")

// DialContext implements channels.Dialer.
func (d *Dialer) DialContext(ctx context.Context, purpose, network, addr string) (net.Conn, error) {
	d.mu.Lock()
	down := d.down
	d.purposes = append(d.purposes, purpose)
	d.mu.Unlock()
	if down {
		return nil, ErrDown
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// Down makes every later connection fail before a byte is sent, or ends that.
func (d *Dialer) Down(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = down
}

// Purposes lists the purposes of all dials.
func (d *Dialer) Purposes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.purposes...)
}

// Host returns a host with a clock and a dialer. Kinds that need tokens, locks
// or blobs set those of their test.
func Host(clock *Clock, dialer *Dialer) channels.Host {
	return channels.Host{Clock: clock, Dial: dialer}
}
