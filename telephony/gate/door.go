package gate

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// door is one set of listeners with one rule about who may come in. Every message passes screen before the SIP library
// sees it: what is refused there leaves nothing behind.
type door struct {
	g    *Gate
	name string
	tp   *sip.TransportLayer
	tx   *sip.TransactionLayer
	// admits says whether a source may speak at all; route what becomes of a valid request.
	admits func(netip.Addr) bool
	route  func(*message, source) *fault
	// forceRport answers to where requests come from, whether they ask for it or not.
	forceRport bool
	host       string // in Contact and Via
	listeners  []*listener
	client     *tls.Config

	mu sync.Mutex
	// met, at the door of trunks: addresses that we sent to, whose answers may come in.
	met   *met
	conns map[netip.Addr]int
	total int
}

// newDoor makes a door without listeners.
func (g *Gate) newDoor(name string) *door {
	quiet := slog.New(slog.DiscardHandler)
	d := &door{g: g, name: name, conns: map[netip.Addr]int{}}
	d.client = &tls.Config{RootCAs: g.cfg.Roots, MinVersion: tls.VersionTLS12}
	d.tp = sip.NewTransportLayer(net.DefaultResolver, newParser(), nil,
		sip.WithTransportLayerLogger(quiet), sip.WithTransportLayerConnectionReuse(true))
	d.tx = sip.NewTransactionLayer(d.tp, sip.WithTransactionLayerLogger(quiet),
		sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {}))
	d.tx.OnRequest(func(req *sip.Request, tx *sip.ServerTx) { g.request(d, req, tx) })
	return d
}

// newParser reads into types only what a transaction needs, all of which check has understood. The library drops a message
// in silence when it cannot read any other field that it knows.
func newParser() *sip.Parser {
	all, some := sip.DefaultHeadersParser(), sip.HeadersParser{}
	for _, name := range []string{"via", "from", "to", "call-id", "cseq", "contact", "route", "record-route", "content-length"} {
		some[name] = all[name]
	}
	return sip.NewParser(sip.WithHeadersParsers(some))
}

// listen binds UDP and TCP on one port.
func (d *door) listen(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	for tries := 20; ; tries-- {
		udp := &listener{d: d, network: "udp", at: addr}
		if err := udp.bind(ctx); err != nil {
			return err
		}
		tcp := &listener{d: d, network: "tcp", at: net.JoinHostPort(host, strconv.Itoa(int(udp.addr().Port())))}
		err := tcp.bind(ctx)
		if err == nil {
			d.listeners = append(d.listeners, udp, tcp)
			d.host = d.g.publicHost(udp.addr().Addr())
			return nil
		}
		udp.close()
		if port != "0" || tries == 0 { // a port that the system picked for one may be taken for the other
			return err
		}
	}
}

// publicHost is how we name ourselves: RFC 3261 section 8.1.1.8 wants what others can reach.
func (g *Gate) publicHost(bound netip.Addr) string {
	ip := g.cfg.PublicIP
	if !ip.IsValid() {
		ip = bound
	}
	if ip.IsUnspecified() {
		ip = firstAddress(bound)
	}
	if ip.Is6() && !ip.Is4In6() {
		return "[" + ip.String() + "]"
	}
	return ip.Unmap().String()
}

// firstAddress is this machine's first address that is not its own loop.
func firstAddress(bound netip.Addr) netip.Addr {
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().IsGlobalUnicast() && (bound.Is6() || p.Addr().Is4()) {
			return p.Addr()
		}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

func (d *door) listener(network string) *listener {
	for _, l := range d.listeners {
		if l.network == strings.ToLower(network) {
			return l
		}
	}
	return nil
}

func (d *door) addr(network string) netip.AddrPort {
	if l := d.listener(network); l != nil {
		return l.addr()
	}
	return netip.AddrPort{}
}

func (d *door) close() {
	d.tx.Close() // first: a repetition that finds no socket would make the library open one
	for _, l := range d.listeners {
		l.close()
	}
	d.tp.Close()
}

// screen judges one message before the SIP library sees it and returns what is handed on; nil: nothing, it was answered
// or is not worth it.
func (d *door) screen(data []byte, src source) []byte {
	if len(data) > maxMessage {
		if m, _ := scan(data); m != nil && m.checkOnce() == nil && m.checkVia() == nil {
			d.g.refuse(m, src, &fault{code: 513, reason: "Message Too Large"})
		}
		return nil
	}
	m, f := scan(data)
	if m == nil {
		return nil
	}
	if g := m.check(); f == nil {
		f = g
	}
	if !m.isRequest() {
		if f == nil && d.g.ours(m) {
			return m.bytes()
		}
		return nil
	}
	if f == nil {
		d.mark(m, src)
		f = d.route(m, src)
	}
	if f != nil {
		if f != dropped {
			d.g.refuse(m, src, f)
		}
		return nil
	}
	return m.bytes()
}

// dropped is no fault: the message has been dealt with and is not handed on.
var dropped = &fault{}

// maxMessage is the longest message, in bytes; the SIP library's buffer holds one.
const maxMessage = 32_000

// mark writes into the top hop where the message came from.
func (d *door) mark(m *message, src source) {
	top := &m.via[0]
	_, asked := top.params.get("rport")
	switch {
	case asked:
	case d.forceRport:
		top.params = append(top.params, param{name: "rport"})
	default:
		*top = top.seen(src)
	}
	for i := range top.params {
		if top.params[i].name == "rport" {
			top.params[i].value = "" // the library fills in only an empty one
		}
	}
	m.replace("Via", texts(m.via))
}

// enter counts a connection in; false: there are too many.
func (d *door) enter(ip netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.total >= d.g.cfg.Limits.Connections || d.conns[ip] >= d.g.cfg.Limits.PerSource {
		return false
	}
	d.total++
	d.conns[ip]++
	return true
}

func (d *door) leave(ip netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total--
	if d.conns[ip]--; d.conns[ip] <= 0 {
		delete(d.conns, ip)
	}
}
