package dial_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tributary/internal/dial"
)

// door listens on loopback, on both families where there are two, and counts who came in.
type door struct {
	port    uint16
	entered atomic.Int32
}

func listen(t *testing.T) *door {
	t.Helper()
	d := &door{}
	four, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.port = netip.MustParseAddrPort(four.Addr().String()).Port()
	open := []net.Listener{four}
	if six, err := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", d.port)); err == nil {
		open = append(open, six)
	}
	for _, l := range open {
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				d.entered.Add(1)
				_, _ = c.Write([]byte("in"))
				_ = c.Close()
			}
		}()
	}
	return d
}

// enter dials and waits until the door has counted.
func enter(t *testing.T, f func(context.Context, string, string) (net.Conn, error), addr string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := f(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.ReadAll(c)
	return err
}

// hostile are hosts that must never be reached: this machine, its neighbours and the inner life of clouds, in every
// spelling that some resolver or parser understands.
var hostile = []string{
	// this machine
	"127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.0.0.1", "0.255.255.255", "::1", "::",
	"localhost", "LOCALHOST", "localhost.", "private.test", "private.test.", "six.test", "mapped.test", "many.test",
	"nat64.test", "metadata.google.internal", "127.0.0.1.nip.io", "foo.localhost",
	// other spellings
	"127.1", "127.0.1", "0", "1", "2130706433", "017700000001", "0177.0.0.1", "0177.0.0.01", "127.0.0.01", "0x7f.0.0.1",
	"0x7f000001", "0X7F.1", "0x7f.0x0.0x0.0x1", "127.0.0.1.", "00000177.0.0.1", "127.0.0.0x1", "4294967296", "0xffffffffff",
	"127。0。0。1", "１２７.0.0.1", "①②⑦.0.0.1", "127.0.0.1%00", "127.0.0.1 ", " 127.0.0.1", "127.0.0.1\t", "0x", "",
	"127.0.0.1#@example.com", "example.com@127.0.0.1", "example.com/", "a b", "ex\x00ample.com",
	// IPv4 inside IPv6
	"::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:0:127.0.0.1", "0:0:0:0:0:ffff:7f00:0001", "::127.0.0.1", "::7f00:1",
	"64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:7f00:1::1",
	"2002:a9fe:a9fe::1", "2001:0:7f00:1::", "2001::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
	// private and shared
	"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.255.255", "100.64.0.1",
	"100.127.255.254", "fc00::1", "fd00::1", "fdff:ffff::1", "fec0::1",
	// link-local and metadata
	"169.254.0.1", "169.254.169.254", "169.254.170.2", "169.254.0.23", "100.100.100.200", "192.0.0.192", "168.63.129.16",
	"fd00:ec2::254", "fe80::1", "fe80::1%lo", "fe80::1%eth0", "::1%lo", "fe80::a9fe:a9fe",
	// multicast, reserved, documentation, benchmarking, relays
	"224.0.0.1", "239.255.255.250", "ff02::1", "ff05::2", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1",
	"203.0.113.1", "198.18.0.1", "198.19.255.255", "192.88.99.1", "192.31.196.1", "192.52.193.1", "192.175.48.1",
	"2001:db8::1", "3fff::1", "100::1", "5f00::1", "2620:4f:8000::1", "2001:10::1", "4000::1", "::2",
}

func TestHostileAddresses(t *testing.T) {
	t.Parallel()
	d := listen(t)
	everything := []dial.Rule{{Prefix: netip.MustParsePrefix("0.0.0.0/0")}, {Prefix: netip.MustParsePrefix("::/0")}}
	g := dial.WithResolver(dial.New(map[dial.Purpose][]dial.Rule{
		"other": everything, // somebody else's rules
		"avatar": {
			{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Ports: []uint16{d.port + 1}}, // another port
			{Ports: []uint16{d.port}}, // every public address is not every address
		},
	}), resolver(t))
	if len(hostile) < 60 {
		t.Fatalf("only %d addresses", len(hostile))
	}
	for _, host := range hostile {
		addr := net.JoinHostPort(host, strconv.Itoa(int(d.port)))
		for name, f := range map[string]func(context.Context, string, string) (net.Conn, error){
			"no rule":    g.Dialer("webhook", d.port), // so that the port is not what refuses
			"wrong rule": g.Dialer("avatar", d.port),
			"by name": func(ctx context.Context, network, addr string) (net.Conn, error) {
				return g.DialContext(ctx, "webhook", network, addr)
			},
		} {
			if err := enter(t, f, addr); !errors.Is(err, dial.ErrRefused) {
				t.Errorf("%s, %s: %v", host, name, err)
			}
		}
	}
	// The positive twin comes last: a connection that slipped in before it has been counted when it has.
	if err := enter(t, g.Dialer("other"), fmt.Sprintf("127.0.0.1:%d", d.port)); err != nil {
		t.Fatal(err)
	}
	if n := d.entered.Load(); n != 1 {
		t.Errorf("%d connections, want the allowed one", n)
	}
}

func TestRuleOpensItsOwnPurpose(t *testing.T) {
	t.Parallel()
	d := listen(t)
	rules, err := dial.ParseRules([]string{fmt.Sprintf("webhook=127.0.0.0/8:%d", d.port), "smpp=127.0.0.1", fmt.Sprintf("mail=127.0.0.1:%d", d.port)})
	if err != nil {
		t.Fatal(err)
	}
	g := dial.WithResolver(dial.New(rules), resolver(t))
	at := func(host string, port uint16) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }
	for _, c := range []struct {
		purpose, addr string
		ok            bool
	}{
		{"webhook", at("127.0.0.1", d.port), true},
		{"webhook", at("::ffff:127.0.0.1", d.port), true}, // the same address
		{"webhook", at("private.test", d.port), true},
		{"webhook", at("localhost", d.port), true},
		{"smpp", at("127.0.0.1", d.port), true}, // all ports
		{"mail", at("localhost", d.port), true},
		{"mail", at("127.0.0.2", d.port), false},
		{"smtp", at("127.0.0.1", d.port), false}, // a protocol of mail is no purpose
		{"webhook", at("127.0.0.1", d.port^1), false},
		{"webhook", at("0.0.0.0", d.port), false},
		{"webhook", at("::1", d.port), false},
		{"smpp", at("127.0.0.2", d.port), false},
		{"avatar", at("127.0.0.1", d.port), false},
		{"webhook2", at("127.0.0.1", d.port), false},
		{"", at("127.0.0.1", d.port), false},
	} {
		err := enter(t, func(ctx context.Context, network, addr string) (net.Conn, error) {
			return g.DialContext(ctx, c.purpose, network, addr)
		}, c.addr)
		if c.ok && err != nil || !c.ok && !errors.Is(err, dial.ErrRefused) {
			t.Errorf("%s to %s: %v", c.purpose, c.addr, err)
		}
	}
	if n := d.entered.Load(); n != 6 {
		t.Errorf("%d connections, want 6", n)
	}
}

// A name is harmless when a careful caller looks, and private when the connection is made.
func TestRebinding(t *testing.T) {
	t.Parallel()
	d := listen(t)
	r := resolver(t)
	g := dial.WithResolver(dial.New(nil), r)
	seen, err := r.LookupNetIP(t.Context(), "ip4", "rebind.test")
	if err != nil || len(seen) != 1 || seen[0].Unmap() != netip.MustParseAddr("8.8.8.8") {
		t.Fatal(seen, err)
	}
	if err := enter(t, g.Dialer("webhook", d.port), fmt.Sprintf("rebind.test:%d", d.port)); !errors.Is(err, dial.ErrRefused) {
		t.Errorf("got %v", err)
	}
	if n := d.entered.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// Public addresses are judged without a socket: a test must not reach them.
func TestPublicPorts(t *testing.T) {
	t.Parallel()
	rules, err := dial.ParseRules([]string{"webhook=public:8443"})
	if err != nil {
		t.Fatal(err)
	}
	g := dial.New(rules)
	for _, c := range []struct {
		purpose, addr string
		ok            bool
	}{
		{"webhook", "8.8.8.8:80", true},
		{"webhook", "8.8.8.8:443", true},
		{"webhook", "[2606:4700::1]:443", true},
		{"webhook", "8.8.8.8:8443", true},
		{"webhook", "8.8.8.8:22", false},
		{"webhook", "8.8.8.8:6379", false},
		{"avatar", "8.8.8.8:8443", false},
		{"avatar", "8.8.8.8:443", true},
		{"webhook", "10.0.0.1:8443", false},
		{"imap", "8.8.8.8:993", false},
		{"smtp", "8.8.8.8:25", false},
		{"mail", "8.8.8.8:993", true},
		{"mail", "8.8.8.8:143", true},
		{"mail", "[2606:4700::1]:993", true},
		{"mail", "8.8.8.8:25", true},
		{"mail", "8.8.8.8:465", true},
		{"mail", "8.8.8.8:587", true},
		{"mail", "8.8.8.8:443", false},
		{"mail", "8.8.8.8:110", false},
		{"mail", "10.0.0.1:993", false},
		{"mail", "127.0.0.1:587", false},
		{"smpp", "8.8.8.8:2775", true},
		{"smpp", "8.8.8.8:80", false},
	} {
		if err := dial.Check(g, dial.Purpose(c.purpose), c.addr); (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.purpose, c.addr, err)
		}
	}
}

func TestOtherNetworksAreRefused(t *testing.T) {
	t.Parallel()
	g := dial.New(map[dial.Purpose][]dial.Rule{"p": {{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}})
	for _, network := range []string{"udp", "unix", "unixgram", "ip", "ip4:icmp", "", "tcp5"} {
		if _, err := g.DialContext(t.Context(), "p", network, "127.0.0.1:53"); !errors.Is(err, dial.ErrRefused) {
			t.Errorf("%q: %v", network, err)
		}
	}
	for _, addr := range []string{"", "127.0.0.1", ":80", "::1:80", "/run/docker.sock", "[127.0.0.1]:80:80"} {
		if _, err := g.DialContext(t.Context(), "p", "tcp", addr); !errors.Is(err, dial.ErrRefused) {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

func TestContextEndsDialling(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := dial.New(map[dial.Purpose][]dial.Rule{"p": {{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}})
	if _, err := g.DialContext(ctx, "p", "tcp", "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestParseRules(t *testing.T) {
	t.Parallel()
	got, err := dial.ParseRules([]string{
		"webhook=127.0.0.0/8:8081,8082", "webhook=10.1.2.3/8", "smpp=127.0.0.1:1143", "mail=fd00::/8", "mail=fd00::/8:25",
		"speech.tts=::1", " avatar=public:8443 ",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[dial.Purpose][]dial.Rule{
		"webhook":    {{netip.MustParsePrefix("127.0.0.0/8"), []uint16{8081, 8082}}, {netip.MustParsePrefix("10.0.0.0/8"), nil}},
		"smpp":       {{netip.MustParsePrefix("127.0.0.1/32"), []uint16{1143}}},
		"mail":       {{netip.MustParsePrefix("fd00::/8"), nil}, {netip.MustParsePrefix("fd00::/8"), []uint16{25}}},
		"speech.tts": {{netip.MustParsePrefix("::1/128"), nil}},
		"avatar":     {{netip.Prefix{}, []uint16{8443}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	for _, bad := range []string{
		"", "=", "webhook", "webhook=", "=127.0.0.0/8", "Webhook=127.0.0.0/8", "*=0.0.0.0/0", "a b=10.0.0.0/8", "a=10.0.0.0/33",
		"a=10.0.0.0/8:", "a=10.0.0.0/8:0", "a=10.0.0.0/8:65536", "a=10.0.0.0/8:80,", "a=10.0.0.0/8:-1", "a=10.0.0.0/8:http",
		"a=example.com", "a=10.0.0/8", "a=::ffff:10.0.0.0/104", "a=fe80::1%lo/64", "a=public", "a=public:", "a=private:80",
	} {
		if r, err := dial.ParseRules([]string{bad}); err == nil {
			t.Errorf("%q is read as %v", bad, r)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("%q: the error does not name it: %v", bad, err)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	for _, s := range []string{"a=127.0.0.0/8:80", "a=::1", "a=fd00::/8:1,2", "a=public:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rules, err := dial.ParseRules([]string{s})
		if err != nil {
			return
		}
		for _, list := range rules {
			if len(list) != 1 || !list[0].Prefix.IsValid() && len(list[0].Ports) == 0 {
				t.Errorf("%q opens too much: %v", s, list)
			}
		}
	})
}

// resolver answers every question from a table, over a pipe instead of a network. Unknown names are private, as an
// attacker's own name server would have it.
func resolver(t *testing.T) *net.Resolver {
	t.Helper()
	var asked atomic.Int32
	answer := func(name string) []string {
		switch name {
		case "six.test.":
			return []string{"::1"}
		case "mapped.test.":
			return []string{"::ffff:127.0.0.1"}
		case "nat64.test.":
			return []string{"64:ff9b::7f00:1"}
		case "many.test.":
			return []string{"10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fd00::1"}
		case "metadata.google.internal.":
			return []string{"169.254.169.254"}
		case "rebind.test.":
			if asked.Add(1) == 1 {
				return []string{"8.8.8.8"}
			}
			return []string{"127.0.0.1"}
		}
		return []string{"127.0.0.1"}
	}
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer ours.Close()
			var size [2]byte
			if _, err := io.ReadFull(ours, size[:]); err != nil {
				return
			}
			q := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(ours, q); err != nil {
				return
			}
			a := respond(q, answer)
			_, _ = ours.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
		}()
		return theirs, nil
	}}
}

// respond is the smallest DNS server there is: one question, answers of the asked type.
func respond(q []byte, answer func(string) []string) []byte {
	name, at := "", 12
	for q[at] != 0 {
		n := int(q[at])
		name += string(q[at+1:at+1+n]) + "."
		at += n + 1
	}
	end := at + 5
	kind := binary.BigEndian.Uint16(q[at+1:])
	var records []byte
	n := uint16(0)
	if kind == 1 || kind == 28 {
		for _, s := range answer(strings.ToLower(name)) {
			ip := netip.MustParseAddr(s)
			if ip.Is4() != (kind == 1) {
				continue
			}
			records = append(records, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(ip.BitLen()/8))
			records = append(records, ip.AsSlice()...)
			n++
		}
	}
	out := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1}, byte(n>>8), byte(n), 0, 0, 0, 0)
	return append(append(out, q[12:end]...), records...)
}
