package siptest

import "testing"

// TrunkConfig is how a carrier's side is set up.
type TrunkConfig struct {
	// Local is the ip:port to bind; "": a free port of 127.0.0.1. Peer is the ip:port of the far end; without one the trunk
	// only takes calls.
	Local, Peer string
	// Domain of addresses; "": the peer's host, without one our own.
	Domain string
	// User is what a call of ours comes from if it does not say; "": anonymous. Username, "": User, and Password answer a
	// challenge.
	User, Username, Password string
	// Transport is "udp" (or "") or "tcp".
	Transport string
}

// Trunk is a carrier: it brings calls and takes them.
type Trunk struct {
	*endpoint
}

// NewTrunk makes a trunk that lives as long as the test.
func NewTrunk(tb testing.TB, c TrunkConfig) *Trunk {
	tb.Helper()
	if c.User == "" {
		c.User = "anonymous"
	}
	if c.Username == "" {
		c.Username = c.User
	}
	t := &Trunk{newEndpoint(tb, endpointConfig{local: c.Local, peer: c.Peer, transport: c.Transport, user: c.User, username: c.Username, password: c.Password, domain: c.Domain})}
	t.point(c.Peer)
	return t
}

// Point makes new calls go to another address, for a far end that starts later or elsewhere.
func (t *Trunk) Point(peer string) { t.point(peer) }
