package dial

import "net"

// WithResolver gives a Guard that asks r, so that tests need no name server.
func WithResolver(g *Guard, r *net.Resolver) *Guard {
	c := *g
	c.resolver = r
	return &c
}

// Check is the judgement alone, without a socket, for addresses that tests cannot reach.
func Check(g *Guard, p Purpose, addr string) error { return g.check(p, Ports(p), addr) }
