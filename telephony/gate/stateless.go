package gate

import (
	"bytes"
	"net"
	"net/netip"
	"strconv"
)

// source is where a message came from, and the way back.
type source struct {
	network string // UDP, TCP, TLS
	addr    netip.AddrPort
	write   func(data []byte, to netip.AddrPort)
}

// refuse answers a request without a transaction and keeps nothing of it: RFC 3261 section 8.2.7. An ACK is never answered,
// nor is what holds no Via to answer to.
func (g *Gate) refuse(m *message, src source, f *fault) {
	if m.method == "" || m.method == "ACK" || len(m.all("Via")) == 0 {
		return
	}
	src.write(g.answer(m, src, f), m.back(src))
}

// answer writes the response: RFC 3261 section 8.2.6. Its tag is the same for every repetition of the request.
func (g *Gate) answer(m *message, src source, f *fault) []byte {
	var b bytes.Buffer
	b.WriteString("SIP/2.0 " + strconv.Itoa(f.code) + " " + f.reason + "\r\n")
	for i, v := range m.all("Via") {
		if i == 0 && len(m.via) > 0 {
			v = m.via[0].seen(src).String()
		}
		b.WriteString("Via: " + v + "\r\n")
	}
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		v := m.get(name)
		if v == "" {
			continue
		}
		if name == "To" && m.to.uri != "" && m.to.tag() == "" {
			v += ";tag=" + g.tagFor(m.callID, m.from.tag(), m.seq)
		}
		b.WriteString(name + ": " + v + "\r\n")
	}
	for _, x := range f.fields {
		b.WriteString(x.name + ": " + x.value + "\r\n")
	}
	b.WriteString("Server: " + product + "\r\nContent-Length: 0\r\n\r\n")
	return b.Bytes()
}

// tagFor is our tag in an answer outside of dialogs.
func (g *Gate) tagFor(callID, from string, seq uint32) string {
	return g.seal("tag", callID, from, strconv.FormatUint(uint64(seq), 10))
}

// product names us in Server and User-Agent.
const product = "Tributary"

// seen is the top hop with what we saw of it: received (RFC 3261 section 18.2.1) and rport (RFC 3581 section 4).
func (v via) seen(src source) via {
	out := v
	out.params = nil
	_, asked := v.params.get("rport")
	for _, p := range v.params {
		switch p.name {
		case "received":
			continue
		case "rport":
			p.value = strconv.Itoa(int(src.addr.Port()))
		}
		out.params = append(out.params, p)
	}
	if ip := src.addr.Addr().String(); asked || v.host != ip && v.host != "["+ip+"]" {
		out.params = append(out.params, param{"received", ip})
	}
	return out
}

// back is where a response over UDP goes: section 18.2.2, and RFC 3581 section 4.
func (m *message) back(src source) netip.AddrPort {
	if src.network != "UDP" || len(m.via) == 0 {
		return src.addr
	}
	if _, ok := m.via[0].params.get("rport"); ok {
		return src.addr
	}
	port := m.via[0].port
	if port == 0 {
		port = 5060
	}
	return netip.AddrPortFrom(src.addr.Addr(), uint16(port))
}

// address of a socket, an IPv4 address as that.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	case *net.TCPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
