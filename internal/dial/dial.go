// Package dial is the one way out: every outbound connection whose host a person, a customer or a provider can name goes
// through a Guard, whatever the protocol. It keeps a webhook address, an avatar or a mail server from reaching the
// machine itself, its neighbours or the metadata service of its cloud.
//
// The check runs on the address the socket is about to connect to, after names were resolved, so neither a spelling nor
// a name that answers differently the second time gets around it. Everything that is not a public unicast address is
// refused, and of public ones only the ports of the protocol are open. An operator may open prefixes and ports for one
// purpose; a rule for webhooks opens nothing for avatars. No switch turns the check off: tests write rules, too.
//
// Neighbours: internal/fetch speaks HTTP over a Guard; channel kinds get it as their host's dialer for everything else.
// No proxy is ever used, since a proxy would connect for us unseen. No goroutines.
package dial

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// ErrRefused is returned, wrapped with purpose and address, for a connection that no rule and no default allows. Nothing
// was sent to that address.
var ErrRefused = errors.New("destination is not allowed")

// Purpose says what a connection is for. Operators write rules for it, so it is a short stable word.
type Purpose string

// The purposes whose protocol is not HTTP. They bring their own default ports.
const (
	SMPP Purpose = "smpp"
	// Mail is reading and sending of one mailbox: an operator opens his mail server with one rule.
	Mail Purpose = "mail"
	// SIP is calling through a trunk by TCP or TLS.
	SIP Purpose = "sip"
)

// Ports are the ports of public addresses that are open for a purpose without any rule.
func Ports(p Purpose) []uint16 {
	switch p {
	case SMPP:
		return []uint16{2775, 3550}
	case Mail:
		return []uint16{143, 993, 25, 465, 587} // IMAP, then SMTP
	case SIP:
		return []uint16{5060, 5061}
	}
	return []uint16{80, 443}
}

// Rule opens addresses for one purpose.
type Rule struct {
	Prefix netip.Prefix // the zero Prefix means every public address: it opens ports, not networks
	Ports  []uint16     // none: all
}

// Guard decides which addresses may be dialled. Safe for concurrent use; it never changes.
type Guard struct {
	allow    map[Purpose][]Rule
	public   *ssrf.Guardian
	resolver *net.Resolver // nil: the system's
}

// patience bounds one attempt to connect, for callers whose context allows more.
const patience = 10 * time.Second

// New makes a Guard with an operator's rules.
func New(allow map[Purpose][]Rule) *Guard {
	copied := maps.Clone(allow)
	for p, rules := range copied {
		copied[p] = slices.Clone(rules)
	}
	return &Guard{allow: copied, public: ssrf.New(
		ssrf.WithAnyNetwork(), ssrf.WithAnyPort(), // networks and ports are decided here, per purpose
		// A public address by the registry, the platform's own service by Azure's habit.
		ssrf.WithDeniedV4Prefixes(netip.MustParsePrefix("168.63.129.16/32")),
	)}
}

// DialContext connects for a purpose with its default ports. It is the method by which rooms that do not know this
// package ask for a dialer.
func (g *Guard) DialContext(ctx context.Context, purpose, network, addr string) (net.Conn, error) {
	return g.dial(ctx, Purpose(purpose), Ports(Purpose(purpose)), network, addr)
}

// Dialer gives a dial function for one purpose. Public addresses are reachable on defaultPorts, or on Ports(p) when none
// are given.
func (g *Guard) Dialer(p Purpose, defaultPorts ...uint16) func(ctx context.Context, network, addr string) (net.Conn, error) {
	ports := slices.Clone(defaultPorts)
	if len(ports) == 0 {
		ports = Ports(p)
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return g.dial(ctx, p, ports, network, addr)
	}
}

func (g *Guard) dial(ctx context.Context, p Purpose, ports []uint16, network, addr string) (net.Conn, error) {
	if err := g.plausible(network, addr); err != nil {
		return nil, fmt.Errorf("dial %s for %s: %w", addr, p, err)
	}
	d := net.Dialer{
		Timeout:   patience,
		KeepAlive: 30 * time.Second,
		Resolver:  g.resolver,
		Control: func(_, address string, _ syscall.RawConn) error {
			return g.check(p, ports, address)
		},
	}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s for %s: %w", addr, p, err)
	}
	return conn, nil
}

// check judges the address a socket is about to connect to.
func (g *Guard) check(p Purpose, ports []uint16, address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is no address", ErrRefused, address)
	}
	ip := ap.Addr().Unmap().WithZone("") // ::ffff:127.0.0.1 connects to 127.0.0.1 and is judged as that
	public := g.public.SafeAddr(ip) == nil
	if public && slices.Contains(ports, ap.Port()) {
		return nil
	}
	for _, r := range g.allow[p] {
		if len(r.Ports) > 0 && !slices.Contains(r.Ports, ap.Port()) {
			continue
		}
		if r.Prefix.Contains(ip) || public && !r.Prefix.IsValid() {
			return nil
		}
	}
	if public {
		return fmt.Errorf("%w: port %d is not open for %s", ErrRefused, ap.Port(), p)
	}
	return fmt.Errorf("%w: %s is not a public address", ErrRefused, ip)
}

// plausible refuses what no honest caller asks for before a name server hears of it. Numbers in other spellings than
// four decimals are the point: some resolvers read 0177.1 as 127.0.0.1, so what happens would depend on the machine.
func (g *Guard) plausible(network, addr string) error {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return fmt.Errorf("%w: network %q", ErrRefused, network)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if host == "" || len(host) > 254 || strings.IndexFunc(host, unnamed) >= 0 {
		return fmt.Errorf("%w: not a host name", ErrRefused)
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	last := strings.ToLower(labels[len(labels)-1])
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		return fmt.Errorf("%w: an address must be written in its usual form", ErrRefused)
	}
	return nil
}

// unnamed finds runes that are in no host name. Names in other scripts must come in their ASCII form.
func unnamed(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
		return false
	}
	return true
}
