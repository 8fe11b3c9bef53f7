package run_test

import (
	"net/http"
	"net/netip"
	"testing"

	"tributary/internal/run"
)

func TestRemoteBelievesTrustedProxiesAlone(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		from, header string
		trusted      []netip.Prefix
		want         string
	}{
		{"203.0.113.9:1", "198.51.100.1", nil, "203.0.113.9"},
		{"203.0.113.9:1", "198.51.100.1", proxies, "203.0.113.9"},
		{"10.0.0.1:1", "198.51.100.1", proxies, "198.51.100.1"},
		{"10.0.0.1:1", "1.1.1.1, 198.51.100.1, 10.0.0.2", proxies, "198.51.100.1"},
		{"10.0.0.1:1", "evil, 198.51.100.1", proxies, "198.51.100.1"},
		{"10.0.0.1:1", "", proxies, "10.0.0.1"},
		{"10.0.0.1:1", "not an address", proxies, "10.0.0.1"},
	} {
		r := &http.Request{RemoteAddr: c.from, Header: http.Header{}}
		if c.header != "" {
			r.Header.Set("X-Forwarded-For", c.header)
		}
		if got := run.Remote(c.trusted)(r); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "0.0.0.0:1": false, ":1": false, "192.0.2.1:1": false} {
		if run.Loopback(addr) != want {
			t.Errorf("%s", addr)
		}
	}
}
