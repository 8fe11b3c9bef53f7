package gate

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// bare is a gate without sockets, for what needs none.
func bare() (*Gate, *door) {
	g := &Gate{cfg: Config{Secret: bytes.Repeat([]byte{7}, 32)}}
	return g, &door{g: g, host: "192.0.2.1"}
}

// Whatever is to be sent either is refused or arrives as what it is: no value makes a field, a line or a body of its own.
func FuzzOutgoing(f *testing.F) {
	for _, s := range [][6]string{
		{"+4930123", "+49170555", "A \"Name\" \\", "X-Info", "some; text", offerSDP},
		{"a\r\nb", "c", "d\x00", "X\r\nY", "e\nVia: f", "\r\n\r\n"},
		{"sip:bob@example.com", "sip:al%0d%0aice@example.com", "ü", "Subject", "<>,;", ""},
		{"%0D%0A", "\u0085", "\u2028", "call-id", "x", "v=0"},
		{"a@b", "c:d@e", "\\", "t", "\"", "x"},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4], []byte(s[5]))
	}
	f.Fuzz(func(t *testing.T, to, from, name, header, value string, sdp []byte) {
		o := Outgoing{To: to, From: from, Name: name, SDP: sdp, Headers: map[string]string{header: value}}
		if o.check() != nil {
			return
		}
		g, d := bare()
		target := to
		if !isSIP(to) {
			target = "sip:" + escapeUser(to) + "@192.0.2.2"
		}
		x, err := g.newOutbound(d, route{target: target, network: "UDP"}, o, nil)
		if err != nil {
			return
		}
		req, _ := x.request(sip.INVITE)
		x.decorate(req, o)
		if clear(req) != nil {
			t.Fatalf("the second look finds what the first did not: %q", req.String())
		}
		m, fault := scan([]byte(req.String()))
		if m == nil || fault != nil {
			t.Fatalf("it cannot be read: %q", req.String())
		}
		if fault := m.check(); fault != nil {
			t.Fatalf("%s: %q", fault.reason, req.String())
		}
		const own = 11 // Via From To Call-ID CSeq Contact Max-Forwards User-Agent Allow Supported Content-Length
		want := own + 1
		if len(sdp) > 0 {
			want++
		}
		if len(m.fields) != want || len(m.via) != 1 || m.get("Route") != "" {
			t.Fatalf("%d fields, want %d: %q", len(m.fields), want, req.String())
		}
		if !bytes.Equal(m.body, sdp) || m.get(longName(header)) != value {
			t.Fatalf("body or header is not what was meant: %q", req.String())
		}
		if unquote(m.from.name) != strings.Trim(name, "") || !isSIP(from) && from != "" && userPart(m.from.uri) != from {
			t.Fatalf("from %+v, meant %q %q", m.from, name, from)
		}
		if !isSIP(to) && userPart(m.uri) != to {
			t.Fatalf("to %q, meant %q", m.uri, to)
		}
	})
}

// What passes the validation is written in a form that is read as the same again, and that the SIP library reads: it is
// never dropped without an answer.
func FuzzScan(f *testing.F) {
	files, _ := filepath.Glob("testdata/rfc4475/*.dat")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	const rest = "Via: SIP/2.0/0 0\r\nCall-ID: 0\r\nCSeq: 0 REGISTER\r\nFrom: <A:0>\r\nTo: <A:0>\r\n"
	f.Add([]byte("SIP/2.0 100\r\n" + rest + "\r\n"))
	f.Add([]byte("REGISTER sip:0 SIP/2.0\r\n" + rest + "Referred-By: \r\nContent-Type:\r\n\r\n"))
	f.Add([]byte("REGISTER sip:* SIP/2.0\r\n" + rest + "\r\n"))
	g, _ := bare()
	parser := newParser()
	f.Fuzz(func(t *testing.T, data []byte) {
		m, fault := scan(data)
		if m == nil {
			return
		}
		if c := m.check(); fault == nil {
			fault = c
		}
		src := source{network: "UDP", addr: netip.MustParseAddrPort("192.0.2.1:5060")}
		if fault != nil {
			g.answer(m, src, fault)
			m.back(src)
			return
		}
		once := m.bytes()
		again, fault := scan(once)
		if again == nil || fault != nil {
			t.Fatalf("cannot be read again: %q", once)
		}
		if fault := again.check(); fault != nil {
			t.Fatalf("%s: %q", fault.reason, once)
		}
		if twice := again.bytes(); !bytes.Equal(once, twice) {
			t.Fatalf("written twice:\n%q\n%q", once, twice)
		}
		if strings.ContainsRune(string(once), 0) {
			return // escaped in a quoted string; the library reads it as it likes
		}
		read, err := parser.ParseSIP(once)
		if err != nil {
			t.Fatalf("the library cannot read it: %v: %q", err, once)
		}
		if to := read.To(); to == nil || to.Params.GetOr("tag", "") != m.to.tag() || read.Via() == nil || read.CSeq() == nil || read.CSeq().SeqNo != m.seq {
			t.Fatalf("the library reads it otherwise: %q", once)
		}
	})
}
