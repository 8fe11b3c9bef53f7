package media

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"tributary/channels/voice"
)

const (
	// MaxSDP bounds a session description, in bytes.
	MaxSDP = 64 << 10
	// maxLines bounds its media lines.
	maxLines = 20
	// maxFormats are looked at of a line.
	maxFormats = 64
	// keyType is the payload type of keys that our offers name.
	keyType = 101
	// plainRTP is the one profile that we speak (RFC 3551).
	plainRTP = "RTP/AVP"
)

// direction is which way sound goes, seen from who says it (RFC 8866 section 6.7).
type direction struct{ sends, receives bool }

func (d direction) String() string {
	switch {
	case d.sends && d.receives:
		return "sendrecv"
	case d.sends:
		return "sendonly"
	case d.receives:
		return "recvonly"
	}
	return "inactive"
}

// remote is what a session description of the far end says of sound.
type remote struct {
	// lines are all its media lines, index is the one of the sound.
	lines []line
	index int
	addr  netip.AddrPort
	rtcp  netip.AddrPort
	// direction is the far end's own. nowhere: its address is 0.0.0.0, the older way to hold (RFC 3264 section 8.4).
	direction direction
	nowhere   bool
	codecs    []Codec
	keyType   uint8
}

// line is one media line, to be mirrored.
type line struct{ media, proto, format string }

// holds reports whether the far end wants to hear nothing.
func (r remote) holds() bool { return !r.direction.receives || r.nowhere }

// parseSDP reads a session description. only, if not negative, is the index of the line that must hold the sound. Every
// error is a voice.ErrMedia.
func parseSDP(body []byte, only int, local netip.Addr) (remote, error) {
	var s sdp.SessionDescription
	if len(body) > MaxSDP {
		return remote{}, fmt.Errorf("%w: the description has %d bytes", voice.ErrMedia, len(body))
	}
	if err := s.Unmarshal(body); err != nil {
		return remote{}, fmt.Errorf("%w: %w", voice.ErrMedia, err)
	}
	if len(s.MediaDescriptions) > maxLines {
		return remote{}, fmt.Errorf("%w: the description has %d media lines", voice.ErrMedia, len(s.MediaDescriptions))
	}
	r, why := remote{index: -1}, error(nil)
	for i, m := range s.MediaDescriptions {
		r.lines = append(r.lines, mirror(m))
		if r.index >= 0 || only >= 0 && i != only {
			continue
		}
		if err := r.readLine(&s, m, local); err != nil {
			why = err
			continue
		}
		r.index = i
	}
	if r.index < 0 {
		if why != nil {
			return remote{}, fmt.Errorf("%w: %w", voice.ErrMedia, why)
		}
		return remote{}, fmt.Errorf("%w: there is no line of sound", voice.ErrMedia)
	}
	return r, nil
}

func mirror(m *sdp.MediaDescription) line {
	format := "0"
	if len(m.MediaName.Formats) > 0 {
		format = m.MediaName.Formats[0]
	}
	return line{m.MediaName.Media, strings.Join(m.MediaName.Protos, "/"), format}
}

// readLine takes the sound's line, if it is one that we can speak.
func (r *remote) readLine(s *sdp.SessionDescription, m *sdp.MediaDescription, local netip.Addr) error {
	proto := strings.Join(m.MediaName.Protos, "/")
	port := m.MediaName.Port.Value
	if m.MediaName.Media != "audio" || port == 0 {
		return fmt.Errorf("no line of sound is open")
	}
	if proto != plainRTP {
		return fmt.Errorf("the profile %.20q is not spoken here", proto)
	}
	if port < 1 || port > 0xffff {
		return fmt.Errorf("the port %d is none", port)
	}
	addr, nowhere, err := address(s, m, local)
	if err != nil {
		return err
	}
	codecs, keys := formats(m)
	if len(codecs) == 0 {
		return fmt.Errorf("no G.711 among its codecs")
	}
	r.codecs, r.keyType, r.nowhere = codecs, keys, nowhere
	r.direction = directionOf(s, m)
	if !nowhere {
		r.addr = netip.AddrPortFrom(addr, uint16(port))
		r.rtcp = netip.AddrPortFrom(addr, reportPort(m, port))
	}
	return nil
}

// address is where the far end wants its packets. Names are not looked up, and addresses that are no single far host's
// are refused: a description must not make us send to a group, or to ourselves.
func address(s *sdp.SessionDescription, m *sdp.MediaDescription, local netip.Addr) (addr netip.Addr, nowhere bool, err error) {
	c := m.ConnectionInformation
	if c == nil {
		c = s.ConnectionInformation
	}
	if c == nil || c.Address == nil {
		return addr, false, fmt.Errorf("the description names no address")
	}
	addr, err = netip.ParseAddr(c.Address.Address)
	if err != nil || c.NetworkType != "IN" || addr.Zone() != "" {
		return addr, false, fmt.Errorf("the address is no IP address")
	}
	addr = addr.Unmap()
	if addr.IsUnspecified() {
		return addr, true, nil
	}
	if addr.Is4() != local.Unmap().Is4() || addr.IsMulticast() || addr.IsLoopback() && !local.IsLoopback() ||
		addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return addr, false, fmt.Errorf("the address is not to be reached from here")
	}
	return addr, false, nil
}

// formats are the codecs that we share, in the far end's order, and its payload type of keys. The payload types of G.711
// are static: a description that gives them another meaning is not followed.
func formats(m *sdp.MediaDescription) (codecs []Codec, keys uint8) {
	for _, f := range m.MediaName.Formats[:min(len(m.MediaName.Formats), maxFormats)] {
		number, err := strconv.ParseUint(f, 10, 7)
		if err != nil {
			continue
		}
		name := strings.ToLower(rtpmap(m, f))
		c := Codec(number)
		switch {
		case c.known() && len(codecs) < 2 && (name == "" || name == strings.ToLower(c.Name())+"/8000" || name == strings.ToLower(c.Name())+"/8000/1"):
			codecs = append(codecs, c)
		case keys == 0 && number >= 96 && name == "telephone-event/8000":
			keys = uint8(number)
		}
	}
	return codecs, keys
}

func rtpmap(m *sdp.MediaDescription, format string) string {
	for _, a := range m.Attributes {
		if a.Key != "rtpmap" {
			continue
		}
		if number, name, ok := strings.Cut(a.Value, " "); ok && number == format {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

func directionOf(s *sdp.SessionDescription, m *sdp.MediaDescription) direction {
	for _, attributes := range [][]sdp.Attribute{m.Attributes, s.Attributes} {
		for _, a := range attributes {
			switch a.Key {
			case "sendrecv":
				return direction{true, true}
			case "sendonly":
				return direction{sends: true}
			case "recvonly":
				return direction{receives: true}
			case "inactive":
				return direction{}
			}
		}
	}
	return direction{true, true}
}

// reportPort is where RTCP goes: the port after RTP's, or what RFC 3605 says. Its address is not followed.
func reportPort(m *sdp.MediaDescription, port int) uint16 {
	if text, ok := m.Attribute("rtcp"); ok {
		text, _, _ = strings.Cut(text, " ")
		if n, err := strconv.ParseUint(text, 10, 16); err == nil && n > 0 {
			return uint16(n)
		}
	}
	return uint16(min(port+1, 0xffff))
}
