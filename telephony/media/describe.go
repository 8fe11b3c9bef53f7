package media

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/pion/sdp/v3"
)

// own is what our session descriptions of one leg have in common.
type own struct {
	addr    netip.AddrPort
	session uint64
	version uint64
	// last is the description before, without its first lines: the version counts up when it changes (RFC 3264 section 8).
	last string
}

// describe writes a description: lines are mirrored with the port 0, the one at index is ours.
func (o *own) describe(lines []line, index int, codecs []Codec, keys uint8, d direction) ([]byte, error) {
	var media []*sdp.MediaDescription
	for i, l := range lines {
		if i == index {
			media = append(media, o.sound(codecs, keys, d))
		} else {
			media = append(media, rejected(l))
		}
	}
	s := sdp.SessionDescription{
		SessionName: "-", ConnectionInformation: connection(o.addr.Addr()),
		TimeDescriptions: []sdp.TimeDescription{{}}, MediaDescriptions: media,
	}
	plain, err := s.Marshal()
	if err != nil {
		return nil, fmt.Errorf("writing a session description: %w", err)
	}
	if string(plain) != o.last {
		o.version++
		o.last = string(plain)
	}
	s.Origin = sdp.Origin{
		Username: "-", SessionID: o.session, SessionVersion: o.version,
		NetworkType: "IN", AddressType: addressType(o.addr.Addr()), UnicastAddress: o.addr.Addr().String(),
	}
	body, err := s.Marshal()
	if err != nil {
		return nil, fmt.Errorf("writing a session description: %w", err)
	}
	return body, nil
}

func (o *own) sound(codecs []Codec, keys uint8, d direction) *sdp.MediaDescription {
	m := &sdp.MediaDescription{MediaName: sdp.MediaName{
		Media: "audio", Port: sdp.RangedPort{Value: int(o.addr.Port())}, Protos: []string{"RTP", "AVP"},
	}}
	for _, c := range codecs {
		m.WithCodec(uint8(c), c.Name(), rate, 0, "")
	}
	if keys != 0 {
		m.WithCodec(keys, "telephone-event", rate, 0, "0-15")
	}
	return m.WithValueAttribute("ptime", "20").WithPropertyAttribute(d.String())
}

// rejected refuses a line: the port is 0, and of the formats one is enough (RFC 3264 section 6).
func rejected(l line) *sdp.MediaDescription {
	return &sdp.MediaDescription{MediaName: sdp.MediaName{Media: l.media, Protos: []string{l.proto}, Formats: []string{l.format}}}
}

func connection(a netip.Addr) *sdp.ConnectionInformation {
	return &sdp.ConnectionInformation{NetworkType: "IN", AddressType: addressType(a), Address: &sdp.Address{Address: a.String()}}
}

func addressType(a netip.Addr) string {
	if a.Is6() && !a.Is4In6() {
		return "IP6"
	}
	return "IP4"
}

// soundLine is the line of an offer that follows no earlier one.
func soundLine() []line { return []line{{"audio", plainRTP, strconv.Itoa(int(PCMA))}} }
