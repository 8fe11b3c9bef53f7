package siptest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Directions of RFC 8866 section 6.7.
const (
	SendRecv = "sendrecv"
	SendOnly = "sendonly"
	RecvOnly = "recvonly"
	Inactive = "inactive"
)

// description is one side's word about its audio.
type description struct {
	audio     netip.AddrPort
	codecs    []Codec
	event     uint8 // 0: none
	direction string
	session   uint64
	version   uint64
	extra     []string // further lines of the media, without their end
}

func (d description) sends() bool    { return d.direction == SendRecv || d.direction == SendOnly }
func (d description) receives() bool { return d.direction == SendRecv || d.direction == RecvOnly }

// codec is the first of ours that the other side speaks, too, in the order of d.
func (d description) codec(ours description) Codec {
	for _, c := range d.codecs {
		if slices.Contains(ours.codecs, c) {
			return c
		}
	}
	return PCMU
}

func (d description) text() []byte {
	ip := "IP4"
	if d.audio.Addr().Is6() {
		ip = "IP6"
	}
	var formats, lines strings.Builder
	for _, c := range d.codecs {
		fmt.Fprintf(&formats, " %d", c)
		fmt.Fprintf(&lines, "a=rtpmap:%d %s/8000\r\n", c, c)
	}
	if d.event != 0 {
		fmt.Fprintf(&formats, " %d", d.event)
		fmt.Fprintf(&lines, "a=rtpmap:%d telephone-event/8000\r\na=fmtp:%d 0-15\r\n", d.event, d.event)
	}
	for _, line := range d.extra {
		lines.WriteString(line + "\r\n")
	}
	return fmt.Appendf(nil, "v=0\r\no=peer %d %d IN %s %s\r\ns=-\r\nc=IN %s %s\r\nt=0 0\r\nm=audio %d RTP/AVP%s\r\n%sa=ptime:20\r\na=%s\r\n",
		d.session, d.version, ip, d.audio.Addr(), ip, d.audio.Addr(), d.audio.Port(), formats.String(), lines.String(), d.direction)
}

// parse reads the first audio of a description.
func parse(body []byte) (description, error) {
	var s sdp.SessionDescription
	if err := s.Unmarshal(body); err != nil {
		return description{}, fmt.Errorf("read SDP: %w", err)
	}
	at := slices.IndexFunc(s.MediaDescriptions, func(m *sdp.MediaDescription) bool { return m.MediaName.Media == "audio" })
	if at < 0 {
		return description{}, errors.New("the SDP has no audio")
	}
	m := s.MediaDescriptions[at]
	d := description{direction: SendRecv, session: s.Origin.SessionID, version: s.Origin.SessionVersion}
	if err := d.address(s.ConnectionInformation, m); err != nil {
		return d, err
	}
	for _, a := range slices.Concat(s.Attributes, m.Attributes) {
		switch a.Key {
		case SendRecv, SendOnly, RecvOnly, Inactive:
			d.direction = a.Key
		case "rtpmap":
			kind, name, _ := strings.Cut(a.Value, " ")
			if n, err := strconv.ParseUint(kind, 10, 7); err == nil && strings.EqualFold(name, "telephone-event/8000") {
				d.event = uint8(n)
			}
		}
	}
	for _, f := range m.MediaName.Formats {
		if f == "0" || f == "8" {
			n, _ := strconv.Atoi(f) // one of two digits
			d.codecs = append(d.codecs, Codec(n))
		}
	}
	return d, nil
}

// address finds where sound goes. The address 0.0.0.0 is how old phones say hold (RFC 3264 section 8.4).
func (d *description) address(c *sdp.ConnectionInformation, m *sdp.MediaDescription) error {
	if m.ConnectionInformation != nil {
		c = m.ConnectionInformation
	}
	if c == nil || c.Address == nil {
		return errors.New("the SDP has no address")
	}
	ip, err := netip.ParseAddr(c.Address.Address)
	if err != nil {
		return fmt.Errorf("the SDP's address: %w", err)
	}
	port := m.MediaName.Port.Value
	if port < 0 || port > 65535 {
		return fmt.Errorf("the SDP's port is %d", port)
	}
	d.audio = netip.AddrPortFrom(ip, uint16(port))
	if ip.IsUnspecified() {
		d.audio = netip.AddrPortFrom(ip, 0)
	}
	return nil
}

// mirrored is what we answer to a direction when we are willing to do want (RFC 3264 section 6.1).
func mirrored(offered, want string) string {
	send := (want == SendRecv || want == SendOnly) && (offered == SendRecv || offered == RecvOnly)
	receive := (want == SendRecv || want == RecvOnly) && (offered == SendRecv || offered == SendOnly)
	switch {
	case send && receive:
		return SendRecv
	case send:
		return SendOnly
	case receive:
		return RecvOnly
	default:
		return Inactive
	}
}
