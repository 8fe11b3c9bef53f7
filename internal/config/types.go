package config

import (
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// Every type here reads and writes the same text.
var (
	_ encoding.TextMarshaler   = URL{}
	_ encoding.TextUnmarshaler = (*URL)(nil)
)

// Role is one part of the work, for nodes that do not do all of it.
type Role string

// The roles of a node.
const (
	API       Role = "api"
	Channels  Role = "channels"
	Telephony Role = "telephony"
	Worker    Role = "worker"
	Router    Role = "router"
)

// RoleSet is what one node does.
type RoleSet []Role

// Has tells if the node does this part of the work.
func (s RoleSet) Has(r Role) bool { return slices.Contains(s, r) }

// UnmarshalText reads one role.
func (r *Role) UnmarshalText(text []byte) error {
	role := Role(strings.TrimSpace(string(text)))
	switch role {
	case API, Channels, Telephony, Worker, Router:
		*r = role
		return nil
	}
	return fmt.Errorf("unknown role %q; the roles are api, channels, telephony, worker, router", role)
}

// HostPort is an address to listen at; empty means that the listener is off.
type HostPort string

// UnmarshalText reads HOST:PORT or off.
func (h *HostPort) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*h = ""
		return nil
	}
	if err := checkHostPort(string(text)); err != nil {
		return fmt.Errorf("%w, or off", err)
	}
	*h = HostPort(text)
	return nil
}

// Address is what to listen on, empty for off.
func (h HostPort) Address() string { return string(h) }

// On tells if there is something to listen at.
func (h HostPort) On() bool { return h != "" }

// String writes the text that UnmarshalText reads.
func (h HostPort) String() string {
	if h == "" {
		return "off"
	}
	return string(h)
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ From, To uint16 }

// UnmarshalText reads FROM-TO.
func (r *PortRange) UnmarshalText(text []byte) error {
	from, to, _ := strings.Cut(string(text), "-")
	a, err1 := strconv.ParseUint(from, 10, 16)
	b, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || a < 1024 || b < a+3 {
		return fmt.Errorf("%q is not FROM-TO, from 1024 on and at least four ports", text)
	}
	*r = PortRange{uint16(a), uint16(b)} //nolint:gosec // ParseUint has checked
	return nil
}

// String writes the text that UnmarshalText reads.
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.From, r.To) }

func checkHostPort(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", text)
	}
	return nil
}

// URL is an address of a server with its credentials. Only Clear gives them
// away; everything that prints, logs or encodes a URL hides them.
//
// The text sits behind a pointer because fmt cannot call our methods on
// unexported fields of foreign structs, and prints a nested pointer as a number.
type URL struct{ raw *string }

// NewURL is the URL of a text that is known to be good.
func NewURL(raw string) URL {
	if raw == "" {
		return URL{}
	}
	return URL{raw: &raw}
}

// UnmarshalText takes what parses as a URL with a scheme, or nothing. The
// error never repeats the text.
func (u *URL) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*u = URL{}
		return nil
	}
	parsed, err := url.Parse(string(text))
	if err != nil || parsed.Scheme == "" {
		return errors.New("this is not an address of the form scheme://user:password@host:port/name")
	}
	*u = NewURL(string(text))
	return nil
}

// Set tells if there is an address.
func (u URL) Set() bool { return u.raw != nil }

// Clear is the address with its credentials, for the one who connects.
func (u URL) Clear() string {
	if u.raw == nil {
		return ""
	}
	return *u.raw
}

// String is the address with its password hidden.
func (u URL) String() string {
	if u.raw == nil {
		return ""
	}
	parsed, err := url.Parse(*u.raw)
	if err != nil {
		return "xxxxx"
	}
	query := parsed.Query()
	for key := range query {
		if strings.Contains(strings.ToLower(key), "pass") {
			query.Set(key, "xxxxx")
			parsed.RawQuery = query.Encode()
		}
	}
	return parsed.Redacted()
}

// GoString keeps the password out of %#v.
func (u URL) GoString() string { return strconv.Quote(u.String()) }

// MarshalText keeps the password out of every encoding.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue keeps the password out of the log.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }

// scheme is empty where there is no address.
func (u URL) scheme() string {
	scheme, _, _ := strings.Cut(u.Clear(), "://")
	return scheme
}

// Secret is a setting whose value is never printed.
type Secret struct{ raw *string }

// NewSecret wraps a value.
func NewSecret(raw string) Secret { return Secret{&raw} }

// UnmarshalText takes any text.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// Clear is the value, empty where none is set.
func (s Secret) Clear() string {
	if s.raw == nil {
		return ""
	}
	return *s.raw
}

// String says only whether there is a value.
func (s Secret) String() string {
	if s.Clear() == "" {
		return ""
	}
	return "xxxxx"
}

// GoString is String quoted.
func (s Secret) GoString() string { return strconv.Quote(s.String()) }

// MarshalText is String.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

func decodePrefix(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("CIDR", &text); err != nil {
		return err
	}
	prefix, err := parsePrefix(strings.TrimSpace(text))
	if err != nil {
		return err
	}
	target.Set(reflect.ValueOf(prefix))
	return nil
}

// parsePrefix refuses host bits: 10.1.2.3/8 is a slip, and which half of it
// was meant is a guess about who may be trusted.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network of the form 10.0.0.0/8", text)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf("%s has bits behind its prefix, did you mean %s?", prefix, masked)
	}
	return prefix, nil
}

// Budget is a bucket of query points.
type Budget struct {
	Points    int
	PerSecond float64
}

// UnmarshalText reads POINTS@PER-SECOND.
func (b *Budget) UnmarshalText(text []byte) error {
	points, rate, _ := strings.Cut(string(text), "@")
	n, err1 := strconv.Atoi(points)
	perSecond, err2 := strconv.ParseFloat(rate, 64)
	if err1 != nil || err2 != nil || n <= 0 || !(perSecond > 0 && perSecond < 1e12) {
		return fmt.Errorf("%q is not POINTS@PER-SECOND, for instance 10000@500", text)
	}
	*b = Budget{Points: n, PerSecond: perSecond}
	return nil
}

// String writes the text that UnmarshalText reads.
func (b Budget) String() string {
	return strconv.Itoa(b.Points) + "@" + strconv.FormatFloat(b.PerSecond, 'f', -1, 64)
}

// Rate is a number of times within a stretch of time.
type Rate struct {
	Times int
	Per   time.Duration
}

// UnmarshalText reads N/TIME.
func (r *Rate) UnmarshalText(text []byte) error {
	times, per, _ := strings.Cut(string(text), "/")
	n, err1 := strconv.Atoi(times)
	d, err2 := time.ParseDuration(per)
	if err1 != nil || err2 != nil || n <= 0 || d <= 0 {
		return fmt.Errorf("%q is not N/TIME, for instance 5/5m", text)
	}
	*r = Rate{Times: n, Per: d}
	return nil
}

// String writes the text that UnmarshalText reads.
func (r Rate) String() string { return strconv.Itoa(r.Times) + "/" + shortDuration(r.Per) }

// Span is a duration that may be given in days, because hours of a year are
// hard to read.
type Span time.Duration

const day = 24 * time.Hour

// UnmarshalText reads 7d or what time.ParseDuration reads.
func (s *Span) UnmarshalText(text []byte) error {
	days, isDays := strings.CutSuffix(string(text), "d")
	if n, err := strconv.Atoi(days); isDays && err == nil && n > 0 && n < 100_000 {
		*s = Span(time.Duration(n) * day)
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a time, for instance 7d or 36h", text)
	}
	*s = Span(d)
	return nil
}

// Duration is the span as the standard library has it.
func (s Span) Duration() time.Duration { return time.Duration(s) }

// String writes the text that UnmarshalText reads.
func (s Span) String() string {
	if d := time.Duration(s); d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return shortDuration(time.Duration(s))
}

// shortDuration leaves out the zeros that Duration.String adds: 5m, not 5m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
