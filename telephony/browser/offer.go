package browser

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"tributary/telephony/media"
)

// maxLines bounds the media lines of an offer.
const maxLines = 20

// offer is what a browser sent, as far as it is read here.
type offer struct {
	text   string
	codecs []media.Codec
	// keyType is the browser's payload type of keys at 8 kHz (RFC 4733); 0: none.
	keyType uint8
	// fingerprint is of the browser's certificate, session of its connection: with both the same it is the same one, and a
	// new negotiation may keep it.
	fingerprint, session string
	// sends: the browser means to send sound.
	sends bool
}

// readOffer checks an offer before the library sees it. Every error is a voice.ErrMedia.
func readOffer(text string) (offer, error) {
	if len(text) > media.MaxSDP {
		return offer{}, errMedia(fmt.Errorf("the offer has %d bytes", len(text)))
	}
	var s sdp.SessionDescription
	if err := s.UnmarshalString(text); err != nil {
		return offer{}, errMedia(err)
	}
	if len(s.MediaDescriptions) > maxLines {
		return offer{}, errMedia(fmt.Errorf("the offer has %d media lines", len(s.MediaDescriptions)))
	}
	o := offer{text: text, session: fmt.Sprint(s.Origin.Username, " ", s.Origin.SessionID)}
	o.fingerprint, _ = s.Attribute("fingerprint")
	found := false
	for _, m := range s.MediaDescriptions {
		switch m.MediaName.Media {
		case "application":
			return offer{}, errMedia(errors.New("data channels are not spoken here"))
		case "audio":
			if found {
				return offer{}, errMedia(errors.New("the offer has two lines of sound"))
			}
			found = true
			o.readSound(m)
		}
	}
	if len(o.codecs) == 0 {
		return offer{}, errMedia(errors.New("the offer has no sound in G.711"))
	}
	if o.fingerprint == "" {
		return offer{}, errMedia(errors.New("the offer has no fingerprint"))
	}
	return o, nil
}

func (o *offer) readSound(m *sdp.MediaDescription) {
	if m.MediaName.Port.Value == 0 {
		return
	}
	if f, ok := m.Attribute("fingerprint"); ok {
		o.fingerprint = f
	}
	_, recvonly := m.Attribute("recvonly")
	_, inactive := m.Attribute("inactive")
	o.sends = !recvonly && !inactive
	for _, a := range m.Attributes {
		number, name, _ := strings.Cut(a.Value, " ")
		n, err := strconv.ParseUint(number, 10, 7)
		if a.Key == "rtpmap" && err == nil && n >= 96 && strings.EqualFold(name, "telephone-event/8000") && slices.Contains(m.MediaName.Formats, number) {
			o.keyType = uint8(n)
		}
	}
	for _, c := range []media.Codec{media.PCMU, media.PCMA} {
		number := fmt.Sprint(int(c))
		named := func(a sdp.Attribute) bool {
			return a.Key == "rtpmap" && strings.HasPrefix(strings.ToLower(a.Value), number+" "+strings.ToLower(c.Name())+"/8000")
		}
		if slices.Contains(m.MediaName.Formats, number) && slices.ContainsFunc(m.Attributes, named) {
			o.codecs = append(o.codecs, c)
		}
	}
}

// pick is the preferred codec if it is offered, else the other one.
func (o offer) pick(prefer media.Codec) media.Codec {
	if slices.Contains(o.codecs, prefer) {
		return prefer
	}
	return o.codecs[0]
}

// continues reports whether o comes from the same connection as an earlier offer.
func (o offer) continues(earlier offer) bool {
	return o.session == earlier.session && o.fingerprint == earlier.fingerprint
}
