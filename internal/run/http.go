package run

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Remote makes the function that finds a client's address: the nearest one that no trusted proxy speaks for. Without
// trusted proxies no header counts.
func Remote(trusted []netip.Prefix) func(*http.Request) string {
	known := func(a netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
	}
	return func(r *http.Request) string {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			return r.RemoteAddr
		}
		at, err := netip.ParseAddr(host)
		if err != nil || !known(at) {
			return host
		}
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, hop := range slices.Backward(hops) {
			a, err := netip.ParseAddr(strings.TrimSpace(hop))
			if err != nil {
				break
			}
			if host = a.String(); !known(a) {
				break
			}
		}
		return host
	}
}

// Loopback reports whether only this machine reaches an address to listen on.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}
