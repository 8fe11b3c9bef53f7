package dial

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseRules reads an operator's rules, one in each text: `webhook=10.1.0.0/16:8443,9000` opens two ports of a network,
// `mail=fd00::/8` all ports, `mail=127.0.0.1:1143` a port of one address, `webhook=public:8443` a port of every public
// address. Several texts for one purpose add up.
func ParseRules(text []string) (map[Purpose][]Rule, error) {
	rules := map[Purpose][]Rule{}
	for _, t := range text {
		p, r, err := parseRule(strings.TrimSpace(t))
		if err != nil {
			return nil, fmt.Errorf("dial rule %q: %w", t, err)
		}
		rules[p] = append(rules[p], r)
	}
	return rules, nil
}

func parseRule(t string) (Purpose, Rule, error) {
	name, rest, ok := strings.Cut(t, "=")
	if !ok || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
		return "", Rule{}, errors.New("want purpose=prefix or purpose=prefix:port,port")
	}
	where, list := split(rest)
	var r Rule
	var err error
	if where != "public" {
		if r.Prefix, err = parsePrefix(where); err != nil {
			return "", Rule{}, err
		}
	}
	if list != "" {
		if r.Ports, err = parsePorts(list[1:]); err != nil {
			return "", Rule{}, err
		}
	}
	if where == "public" && len(r.Ports) == 0 {
		return "", Rule{}, errors.New("public needs ports")
	}
	return Purpose(name), r, nil
}

// split parts the place from the colon and ports behind it. An IPv6 address has colons of its own, so its ports follow
// only a prefix length.
func split(s string) (where, ports string) {
	from := max(strings.IndexByte(s, '/'), 0)
	i := strings.IndexByte(s[from:], ':')
	if i < 0 || from == 0 && strings.Count(s, ":") > 1 {
		return s, ""
	}
	return s[:from+i], s[from+i:]
}

func parsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		s = fmt.Sprintf("%s/%d", s, a.BitLen())
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, errors.New("write an IPv4 network in its IPv4 form") // checked addresses are unmapped
	}
	return p.Masked(), nil
}

func parsePorts(list string) (ports []uint16, err error) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is no port", s)
		}
		ports = append(ports, uint16(n))
	}
	return ports, nil
}
