package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// hop is where a request goes next.
type hop struct {
	network string // UDP, TCP, TLS
	addr    netip.AddrPort
	// name is what the certificate has to be for; strict: also that of a connection which is there already.
	name   string
	strict bool
	// flow: only an open connection will do, since nobody can connect to a phone behind its router.
	flow bool
}

var (
	errNoFlow = errors.New("the connection of the phone is gone")
	errNoSuch = errors.New("unknown transport")
)

// maxDatagram is the longest request that goes by UDP where TCP can be had: RFC 3261 section 18.1.1.
const maxDatagram = 1300

// resolve finds where a server is: RFC 3263 section 4, without NAPTR. A port or an address needs no SRV. The first is to be
// tried first.
func (d *door) resolve(ctx context.Context, server, network string) ([]hop, error) {
	host, port, err := splitServer(server)
	if err != nil {
		return nil, err
	}
	if network == "" {
		network = "UDP"
	}
	usual := 5060
	if network == "TLS" {
		usual = 5061
	}
	if port == 0 && !isAddress(host) {
		service, proto := "sip", strings.ToLower(network)
		if network == "TLS" {
			service, proto = "sips", "tcp"
		}
		if _, list, err := d.g.cfg.Resolver.LookupSRV(ctx, service, proto, host); err == nil && len(list) > 0 {
			var out []hop
			for _, r := range list {
				more, err := d.lookup(ctx, strings.TrimSuffix(r.Target, "."), int(r.Port), network, host)
				if err == nil {
					out = append(out, more...)
				}
			}
			if len(out) > 0 {
				return out, nil
			}
		}
	}
	if port == 0 {
		port = usual
	}
	return d.lookup(ctx, host, port, network, host)
}

func (d *door) lookup(ctx context.Context, host string, port int, network, name string) ([]hop, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []hop{{network: network, addr: netip.AddrPortFrom(ip.Unmap(), uint16(port)), name: name}}, nil
	}
	ips, err := d.g.cfg.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", host, err)
	}
	var out []hop
	for _, want4 := range []bool{true, false} {
		for _, ip := range ips {
			if ip = ip.Unmap(); ip.Is4() == want4 {
				out = append(out, hop{network: network, addr: netip.AddrPortFrom(ip, uint16(port)), name: name})
			}
		}
	}
	return out, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// splitServer parts host and port; port 0: none was named.
func splitServer(server string) (host string, port int, err error) {
	host = server
	if h, p, e := net.SplitHostPort(server); e == nil {
		host = h
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return "", 0, fmt.Errorf("the port of %q is none", server)
		}
	}
	host = strings.Trim(host, "[]")
	if host == "" || strings.ContainsAny(host, " \t\r\n<>@\"/\\") {
		return "", 0, fmt.Errorf("%q is no server", server)
	}
	return host, port, nil
}

// prepare addresses a request to a hop and makes sure that there is a way: the listening socket, or a connection.
func (d *door) prepare(ctx context.Context, h *hop, req *sip.Request) error {
	if err := clear(req); err != nil {
		return err
	}
	if h.network == "UDP" && !h.flow && len(req.String()) > maxDatagram {
		short, cancel := context.WithTimeout(ctx, time.Second)
		over := hop{network: "TCP", addr: h.addr, name: h.name}
		if d.connect(short, over) == nil { // where there is no TCP it goes by UDP after all
			*h = over
			req.Via().Transport = "TCP"
			req.Via().Port = int(d.addr("tcp").Port())
		}
		cancel()
	}
	// The library reads these when they are first asked for, from several goroutines.
	req.From()
	req.To()
	req.CallID()
	req.SetTransport(h.network)
	req.SetDestination(h.addr.String())
	if d.met != nil {
		d.met.add(h.addr.Addr())
	}
	if h.network != "UDP" {
		return d.connect(ctx, *h)
	}
	local := d.listener("udp").addr()
	req.Laddr = sip.Addr{IP: local.Addr().AsSlice(), Port: int(local.Port()), Hostname: local.Addr().String()}
	return nil
}

// connect makes sure that a connection to the hop is there.
func (d *door) connect(ctx context.Context, h hop) error {
	pool := d.tp.Pool(h.network)
	if pool == nil {
		return fmt.Errorf("%s: %w", h.network, errNoSuch)
	}
	if c := pool.Get(h.addr.String()); c != nil {
		_, err := c.TryClose() // gives back what Get took
		return errors.Join(err, h.verify(c))
	}
	if h.flow {
		return errNoFlow
	}
	l := d.listener(h.network)
	if l == nil {
		return fmt.Errorf("%s: %w", h.network, errNoSuch)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := d.g.cfg.Dial(ctx, "tcp", h.addr.String())
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if h.network == "TLS" {
		config := d.client.Clone()
		config.ServerName = h.name
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return errors.Join(fmt.Errorf("handshake: %w", err), conn.Close())
		}
		conn = secure
	}
	l.mu.Lock()
	f := l.feed
	l.mu.Unlock()
	if !f.give(d.stream(conn, h.network, true)) {
		return net.ErrClosed
	}
	return d.pooled(ctx, h)
}

// verify refuses a connection that another name was verified for: two trunks may be at one address.
func (h hop) verify(c sip.Connection) error {
	if !h.strict || h.network != "TLS" {
		return nil
	}
	if t, ok := c.(*sip.TCPConnection); ok {
		if s, ok := t.Conn.(*stream); ok {
			if secure, ok := s.Conn.(*tls.Conn); ok && s.dialled {
				return secure.VerifyHostname(h.name)
			}
		}
	}
	return errNoFlow
}

// server is resolve for the server of a trunk, whose name has to be proved.
func (d *door) server(ctx context.Context, server, network string) ([]hop, error) {
	hops, err := d.resolve(ctx, server, network)
	for i := range hops {
		hops[i].strict = true
	}
	return hops, err
}

// pooled waits until the library has taken the connection in.
func (d *door) pooled(ctx context.Context, h hop) error {
	for {
		if c := d.tp.Pool(h.network).Get(h.addr.String()); c != nil {
			_, err := c.TryClose()
			return err
		}
		t := time.NewTimer(time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// do sends a request that is no INVITE and waits for its final response.
func (d *door) do(ctx context.Context, h hop, req *sip.Request) (*sip.Response, error) {
	if err := d.prepare(ctx, &h, req); err != nil {
		return nil, err
	}
	tx, err := d.tx.Request(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("send %s: %w", req.Method, err)
	}
	defer tx.Terminate()
	for {
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
		case <-tx.Done():
			return nil, fmt.Errorf("%s: %w", req.Method, tx.Err())
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// via is our hop of a request.
func (d *door) via(network, branch string) *sip.ViaHeader {
	v := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: network,
		Host: strings.Trim(d.host, "[]"), Port: d.port(network), Params: sip.HeaderParams{},
	}
	v.Params.Add("branch", branch)
	v.Params.Add("rport", "")
	return v
}

func (d *door) port(network string) int {
	p := int(d.addr(network).Port())
	if p == 0 {
		p = int(d.addr("tcp").Port())
	}
	return p
}

// contact is where we are reached over a network: RFC 3261 section 8.1.1.8.
func (d *door) contact(network string) string {
	s := "sip:" + product + "@" + d.host + ":" + strconv.Itoa(d.port(network))
	if network != "UDP" {
		s += ";transport=" + strings.ToLower(network)
	}
	return s
}

// uriOf parses what was checked before.
func uriOf(s string) (u sip.Uri) {
	if err := sip.ParseUri(s, &u); err != nil {
		return sip.Uri{Scheme: "sip", Host: "invalid"}
	}
	return u
}

// clear refuses a message that a value has given a line of its own, whoever let the value in.
func clear(m sip.Message) error {
	start := ""
	var fields []sip.Header
	switch m := m.(type) {
	case *sip.Request:
		start, fields = m.StartLine(), m.Headers()
	case *sip.Response:
		start, fields = m.StartLine(), m.Headers()
	}
	if hasControl(start) {
		return errControl
	}
	for _, h := range fields {
		if strings.ContainsAny(h.Name(), "\r\n") || strings.ContainsAny(h.Value(), "\r\n") {
			return errControl
		}
	}
	return nil
}
