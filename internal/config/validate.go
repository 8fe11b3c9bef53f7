package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"tributary/internal/dial"
)

// leastAudit is half a year, what the laws that we know ask for.
const leastAudit = 183 * day

// validate refuses what single values cannot tell. Each check ends in one
// sentence that says what to change.
func (c *Config) validate(command Command) error {
	checks := []func() error{c.checkData, c.checkHTTP, c.checkPublicURL, c.checkServers, c.checkPeer, c.checkSIP, c.checkRoles, c.checkDial, c.checkTimes}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	if command == Token && (c.TokenHours < 1 || c.TokenHours > 720) {
		return errors.New("--hours must lie between 1 and 720")
	}
	if command == Demo {
		return c.Show.check()
	}
	return nil
}

func (c *Config) checkData() error {
	if strings.TrimSpace(c.Data) == "" {
		return errors.New("--data must name a folder")
	}
	return nil
}

func (c *Config) checkHTTP() error {
	if err := checkHostPort(c.HTTP); err != nil {
		return fmt.Errorf("--http: %w", err)
	}
	host, _, _ := net.SplitHostPort(c.HTTP)
	if !loopback(host) && !c.BehindProxy {
		return fmt.Errorf("--http %s is plain HTTP on an address that others reach: "+
			"listen at 127.0.0.1, or set --behind-proxy if a proxy in front ends TLS", c.HTTP)
	}
	if !loopback(host) && c.PublicURL == "" {
		return errors.New("--public-url is needed with --behind-proxy, because only the proxy's address is reachable from outside")
	}
	if len(c.TrustedProxies) > 0 && !c.BehindProxy {
		return errors.New("--trusted-proxy has no meaning without --behind-proxy")
	}
	return nil
}

func (c *Config) checkPublicURL() error {
	if c.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("--public-url must have the form https://host or https://host/path")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return fmt.Errorf("--public-url %s must begin with https://, only a loopback address may be plain", c.PublicURL)
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return nil
}

func (c *Config) checkServers() error {
	if c.DatabaseURL.Set() && !slices.Contains([]string{"postgres", "postgresql"}, c.DatabaseURL.scheme()) {
		return errors.New("--database-url must begin with postgres://, the embedded database needs no address")
	}
	if _, err := c.Bucket(); err != nil {
		return err
	}
	if c.RedisURL.Set() && !slices.Contains([]string{"redis", "rediss"}, c.RedisURL.scheme()) {
		return errors.New("--redis-url must begin with redis:// or rediss://")
	}
	return nil
}

// leastSecret is how short a secret may be that nobody has to remember.
const leastSecret = 16

func (c *Config) checkPeer() error {
	switch {
	case !c.Peer.On(): // the secret may stand in an environment that other commands share
		return nil
	case len(c.PeerSecret.Clear()) < leastSecret:
		return fmt.Errorf("--peer needs --peer-secret, the same on all nodes, of at least %d characters", leastSecret)
	case !c.DatabaseURL.Set():
		return errors.New("--peer needs --database-url: an embedded database serves one node")
	}
	host, _, _ := net.SplitHostPort(string(c.Peer))
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		return fmt.Errorf("--peer %s names no address that others could reach: say which of this machine's", c.Peer)
	}
	return nil
}

// checkSIP makes sure that calls have an address for their sound that others can reach.
func (c *Config) checkSIP() error {
	if c.SIPTrunkTLS.On() && (c.SIPCertificate == "" || c.SIPKey == "") {
		return errors.New("--sip-trunk-tls needs --sip-certificate and --sip-key")
	}
	if _, err := netip.ParseAddr(c.MediaAddress); c.MediaAddress != "" && err != nil {
		return fmt.Errorf("--media-address: %q is not an IP address", c.MediaAddress)
	}
	if !c.SIPTrunk.On() && !c.SIPPhone.On() && !c.SIPTrunkTLS.On() {
		return nil
	}
	if a := c.Media(); !a.IsValid() || a.IsUnspecified() {
		return errors.New("--media-address is needed where --sip-trunk and --sip-phone name no single address of this machine")
	}
	return nil
}

// Media is where sound is sent to: --media-address, or the one address that a SIP listener names.
func (c *Config) Media() netip.Addr {
	if a, err := netip.ParseAddr(c.MediaAddress); err == nil {
		return a
	}
	for _, h := range []HostPort{c.SIPTrunk, c.SIPTrunkTLS, c.SIPPhone} {
		host, _, _ := net.SplitHostPort(string(h))
		if host == "localhost" {
			host = "127.0.0.1"
		}
		if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
			return a
		}
	}
	return netip.Addr{}
}

func (c *Config) checkRoles() error {
	if len(c.Roles) == 0 {
		return errors.New("--roles must name at least one role")
	}
	for i, r := range c.Roles {
		if slices.Contains(c.Roles[:i], r) {
			return fmt.Errorf("--roles names %s twice", r)
		}
	}
	return nil
}

func (c *Config) checkDial() (err error) {
	if c.DialRules, err = dial.ParseRules(c.AllowDial); err != nil {
		return fmt.Errorf("--allow-dial: %w", err)
	}
	for purpose, rules := range c.DialRules {
		for _, r := range rules {
			// A network this wide switches the guard off, which no setting may.
			if least := leastBits(r.Prefix); r.Prefix.IsValid() && r.Prefix.Bits() < least {
				return fmt.Errorf("--allow-dial: %s is too wide for %s, the widest network has %d bits", r.Prefix, purpose, least)
			}
		}
	}
	return nil
}

// leastBits lets the widest private networks through: 10.0.0.0/8 and fc00::/7.
func leastBits(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 8
	}
	return 7
}

func (c *Config) checkTimes() error {
	if c.Grace < time.Second || c.Grace > time.Hour {
		return errors.New("--grace must lie between 1s and 1h")
	}
	if c.Retention.Events.Duration() < time.Hour {
		return errors.New("--event-retention must be at least 1h, or clients cannot resume after a short absence")
	}
	if c.Retention.Audit.Duration() < leastAudit {
		return errors.New("--audit-retention must be at least 183d")
	}
	return nil
}

// loopback tells if a host is this machine and nothing else. A name other
// than localhost is not looked up: what it points to can change.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
