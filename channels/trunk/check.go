package trunk

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// The widest prefixes that calls may come from, in bits. Whoever sends from an allowed address calls without a password:
// a wider prefix would be a large part of the internet, and a mistake.
const (
	widest4 = 8
	widest6 = 32
)

var (
	hostShape = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$`)
	// numberShape is E.164: at most 15 digits, of which the first is no zero.
	numberShape = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
	// headerShape is a token of RFC 3261 section 25.1, of a length that is worth keeping.
	headerShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.!%*_+'~-]{0,63}$`)
)

// checkServer admits a host name or an IP address, with or without a port; IPv6 in brackets.
func (c Config) checkServer() error {
	if c.Server == "" {
		if c.AuthUsername != "" || c.AuthPassword.Set() {
			return wrong("server", "is needed where outbound calls log in")
		}
		return nil
	}
	host := c.Server
	if at := strings.LastIndexByte(host, ':'); at >= 0 && !strings.HasSuffix(host, "]") {
		port, err := strconv.ParseUint(host[at+1:], 10, 16)
		if err != nil || port == 0 {
			return wrong("server", "must be a host name or host:port")
		}
		host = host[:at]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		if a, err := netip.ParseAddr(inner); closed && err == nil && a.Is6() && a.Zone() == "" {
			return nil
		}
		return wrong("server", "must be a host name or host:port")
	}
	if len(host) > 253 || !hostShape.MatchString(host) {
		return wrong("server", "must be a host name or host:port")
	}
	return nil
}

func (c Config) checkAddresses() error {
	if len(c.Addresses) == 0 && c.Username == "" {
		return wrong("addresses", "is needed, or a username with a password: else everybody could call in, or nobody")
	}
	for i, text := range c.Addresses {
		if why := badAddress(text); why != "" {
			return wrong(fmt.Sprintf("addresses[%d]", i), why)
		}
	}
	return nil
}

// badAddress says what is wrong with an address or a prefix; empty: nothing.
func badAddress(text string) string {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return "must be an IP address or a prefix such as 192.0.2.0/28"
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	a, least := p.Addr(), widest6
	if a.Is4() {
		least = widest4
	}
	switch {
	case a.Is4In6():
		return "must be written as an IPv4 address"
	case p.Bits() < least:
		return fmt.Sprintf("is too wide: whoever is in it calls in without a password, so a prefix has at least /%d", least)
	case p.Masked() != p:
		return fmt.Sprintf("has bits beyond its length: %s is meant, or a single address", p.Masked())
	case a.IsUnspecified() || a.IsMulticast():
		return "is an address that no call comes from"
	}
	return ""
}

// checkLogins wants a user name with each password. That a user name has its password is seen when the channel is opened:
// settings are checked also before the secrets are entered.
func (c Config) checkLogins() error {
	switch {
	case c.Password.Set() && c.Username == "":
		return wrong("username", "is needed with the password")
	case c.AuthPassword.Set() && c.AuthUsername == "":
		return wrong("authUsername", "is needed with the password")
	case strings.ContainsAny(c.Username, "\":\r\n\\"):
		return wrong("username", "must not hold a quotation mark, a colon or a backslash")
	case strings.ContainsAny(c.AuthUsername, "\":\r\n\\"):
		return wrong("authUsername", "must not hold a quotation mark, a colon or a backslash")
	}
	return nil
}

func (c Config) checkNumbers() error {
	if c.Country != "" && (strings.ToUpper(c.Country) != c.Country || phonenumbers.GetCountryCodeForRegion(c.Country) == 0) {
		return wrong("country", "must be two capital letters of ISO 3166, such as CN")
	}
	if c.CallerID != "" && !numberShape.MatchString(c.CallerID) {
		return wrong("callerId", "must be a number in E.164, such as +862112345678")
	}
	return nil
}

// credentials are headers that would keep somebody's proof of a password.
var credentials = map[string]bool{"authorization": true, "proxy-authorization": true}

func (c Config) checkHeaders() error {
	for i, h := range c.Headers {
		switch {
		case !headerShape.MatchString(h):
			return wrong(fmt.Sprintf("headers[%d]", i), "must be the name of a header")
		case credentials[strings.ToLower(h)]:
			return wrong(fmt.Sprintf("headers[%d]", i), "holds credentials and is not kept")
		}
	}
	return nil
}
