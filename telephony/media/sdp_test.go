package media

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"tributary/channels/voice"
)

func parsed(t *testing.T, body []byte) *sdp.SessionDescription {
	t.Helper()
	var s sdp.SessionDescription
	if err := s.Unmarshal(body); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return &s
}

func version(t *testing.T, body string) uint64 {
	t.Helper()
	return parsed(t, []byte(body)).Origin.SessionVersion
}

// onePort is a port of its own pool.
func onePort(t *testing.T, cfg Config) *Port {
	t.Helper()
	p, err := NewPort(newPorts(t, 1, nil), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// offer is a description with these lines after its head.
func offer(lines ...string) []byte {
	return []byte("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" + strings.Join(lines, "\r\n") + "\r\n")
}

func TestOfferOfALeg(t *testing.T) {
	p := onePort(t, Config{Prefer: PCMU})
	s := parsed(t, p.Offer())
	if len(s.MediaDescriptions) != 1 {
		t.Fatalf("%d lines", len(s.MediaDescriptions))
	}
	m := s.MediaDescriptions[0]
	if got := m.MediaName.String(); got != fmt.Sprintf("audio %d RTP/AVP 0 8 101", p.pair.port) {
		t.Errorf("m=%s", got)
	}
	var attributes []string
	for _, a := range m.Attributes {
		attributes = append(attributes, a.String())
	}
	want := "rtpmap:0 PCMU/8000|rtpmap:8 PCMA/8000|rtpmap:101 telephone-event/8000|fmtp:101 0-15|ptime:20|sendrecv"
	if got := strings.Join(attributes, "|"); got != want {
		t.Errorf("attributes %s", got)
	}
	if v := version(t, string(p.Offer())); v != s.Origin.SessionVersion {
		t.Errorf("the same description has the versions %d and %d", s.Origin.SessionVersion, v)
	}
}

func TestAnswerToFirstOffers(t *testing.T) {
	for name, c := range map[string]struct {
		offer []byte
		media string // of the answer, with the port as P
		dir   string
		codec Codec
		keys  uint8
		holds bool
	}{
		"first common":     {offer("m=audio 4000 RTP/AVP 9 18 0 8"), "audio P RTP/AVP 0", "sendrecv", PCMU, 0, false},
		"keys are mapped":  {offer("m=audio 4000 RTP/AVP 8 0 96", "a=rtpmap:96 telephone-event/8000"), "audio P RTP/AVP 8 96", "sendrecv", PCMA, 96, false},
		"other keys' rate": {offer("m=audio 4000 RTP/AVP 8 96", "a=rtpmap:96 telephone-event/48000"), "audio P RTP/AVP 8", "sendrecv", PCMA, 0, false},
		"sendonly":         {offer("m=audio 4000 RTP/AVP 8", "a=sendonly"), "audio P RTP/AVP 8", "recvonly", PCMA, 0, true},
		"recvonly":         {offer("m=audio 4000 RTP/AVP 8", "a=recvonly"), "audio P RTP/AVP 8", "sendonly", PCMA, 0, false},
		"inactive":         {offer("m=audio 4000 RTP/AVP 8", "a=inactive"), "audio P RTP/AVP 8", "inactive", PCMA, 0, true},
		"of the session":   {offer("a=inactive", "m=audio 4000 RTP/AVP 8"), "audio P RTP/AVP 8", "inactive", PCMA, 0, true},
		"no address":       {offer("m=audio 4000 RTP/AVP 8", "c=IN IP4 0.0.0.0"), "audio P RTP/AVP 8", "recvonly", PCMA, 0, true},
		"video is refused": {offer("m=video 4002 RTP/AVP 96 97", "m=audio 4000 RTP/AVP 8"), "video 0 RTP/AVP 96|audio P RTP/AVP 8", "sendrecv", PCMA, 0, false},
		"second sound":     {offer("m=audio 4000 RTP/AVP 8", "m=audio 4002 RTP/AVP 0"), "audio P RTP/AVP 8|audio 0 RTP/AVP 0", "sendrecv", PCMA, 0, false},
		"plain beside safe": {
			offer("m=audio 4000 RTP/SAVP 8", "m=audio 4002 RTP/AVP 0"), "audio 0 RTP/SAVP 8|audio P RTP/AVP 0", "sendrecv", PCMU, 0, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := onePort(t, Config{})
			body, err := p.Answer(c.offer)
			if err != nil {
				t.Fatal(err)
			}
			s := parsed(t, body)
			var lines []string
			dir := ""
			for _, m := range s.MediaDescriptions {
				lines = append(lines, strings.Replace(m.MediaName.String(), fmt.Sprint(" ", p.pair.port, " "), " P ", 1))
				if m.MediaName.Port.Value != 0 {
					dir = directionOf(s, m).String()
				}
			}
			if got := strings.Join(lines, "|"); got != c.media {
				t.Errorf("answered %s", got)
			}
			if dir != c.dir || p.Codec() != c.codec || p.deal.keysOut != c.keys || p.RemoteHolds() != c.holds {
				t.Errorf("%s, codec %d, keys %d, holds %t", dir, p.Codec(), p.deal.keysOut, p.RemoteHolds())
			}
		})
	}
}

func TestAnswerRefuses(t *testing.T) {
	many := make([]string, maxLines+1)
	for i := range many {
		many[i] = "m=audio 4000 RTP/AVP 8"
	}
	for name, body := range map[string][]byte{
		"nothing":        {},
		"no description": []byte("hello"),
		"no sound":       offer("m=video 4000 RTP/AVP 96"),
		"refused sound":  offer("m=audio 0 RTP/AVP 8"),
		"other codecs":   offer("m=audio 4000 RTP/AVP 9 18"),
		"renamed":        offer("m=audio 4000 RTP/AVP 8", "a=rtpmap:8 opus/48000/2"),
		"secured":        offer("m=audio 4000 RTP/SAVP 8"),
		"of a browser":   offer("m=audio 4000 UDP/TLS/RTP/SAVPF 8"),
		"multicast":      offer("m=audio 4000 RTP/AVP 8", "c=IN IP4 224.2.1.1"),
		"broadcast":      offer("m=audio 4000 RTP/AVP 8", "c=IN IP4 255.255.255.255"),
		"a name":         offer("m=audio 4000 RTP/AVP 8", "c=IN IP4 phone.example.com"),
		"other family":   offer("m=audio 4000 RTP/AVP 8", "c=IN IP6 ::1"),
		"port":           offer("m=audio 99999 RTP/AVP 8"),
		"many lines":     offer(many...),
		"long":           offer("m=audio 4000 RTP/AVP 8", "a=x:"+strings.Repeat("y", MaxSDP)),
	} {
		p := onePort(t, Config{})
		if _, err := p.Answer(body); !errors.Is(err, voice.ErrMedia) {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.Accept(body); !errors.Is(err, voice.ErrMedia) {
			t.Errorf("%s as an answer: %v", name, err)
		}
	}
	outside := netip.MustParseAddr("192.0.2.1")
	if _, err := parseSDP(offer("m=audio 4000 RTP/AVP 8"), -1, outside); !errors.Is(err, voice.ErrMedia) {
		t.Errorf("a node that is not on loopback sends to loopback: %v", err)
	}
}

func TestLaterOffers(t *testing.T) {
	p := onePort(t, Config{})
	first, err := p.Answer(offer("m=video 4002 RTP/AVP 96", "m=audio 4000 RTP/AVP 8 0"))
	if err != nil {
		t.Fatal(err)
	}
	// The order changed, the codec is kept.
	again, err := p.Answer(offer("m=video 4002 RTP/AVP 96", "m=audio 4000 RTP/AVP 0 8"))
	if err != nil || p.Codec() != PCMA {
		t.Fatalf("codec %d, %v", p.Codec(), err)
	}
	if !bytes.Equal(first, again) {
		t.Errorf("the same agreement was written another way:\n%s\n%s", first, again)
	}
	// It is gone: the other one is taken.
	if _, err = p.Answer(offer("m=video 4002 RTP/AVP 96", "m=audio 4000 RTP/AVP 0")); err != nil || p.Codec() != PCMU {
		t.Fatalf("codec %d, %v", p.Codec(), err)
	}
	// Our own offer keeps the lines, and names the agreed codec alone.
	mine := p.HoldOffer(true)
	s := parsed(t, mine)
	if len(s.MediaDescriptions) != 2 || s.MediaDescriptions[0].MediaName.Port.Value != 0 || s.MediaDescriptions[1].MediaName.Formats[0] != "0" {
		t.Errorf("our offer:\n%s", mine)
	}
	if version(t, string(mine)) <= version(t, string(first)) {
		t.Error("the version did not count up")
	}
	// A refused one leaves all as it was.
	if err := p.Accept(offer("m=video 0 RTP/AVP 96", "m=audio 0 RTP/AVP 0")); !errors.Is(err, voice.ErrMedia) || p.deal.held {
		t.Errorf("%v, held %t", err, p.deal.held)
	}
	if err := p.Accept(offer("m=video 0 RTP/AVP 96", "m=audio 4000 RTP/AVP 0", "a=recvonly")); err != nil || !p.deal.held || p.RemoteHolds() {
		t.Errorf("%v, held %t, holds %t", err, p.deal.held, p.RemoteHolds())
	}
	// Who holds answers an offer of the other side without taking it back, and both may hold.
	body, err := p.Answer(offer("m=audio 4000 RTP/AVP 0", "a=sendrecv"))
	if err != nil || !bytes.Contains(body, []byte("a=sendonly")) {
		t.Errorf("%v\n%s", err, body)
	}
	body, err = p.Answer(offer("m=audio 4000 RTP/AVP 0", "a=sendonly"))
	if err != nil || !bytes.Contains(body, []byte("a=inactive")) || !p.RemoteHolds() {
		t.Errorf("%v\n%s", err, body)
	}
}

func TestAcceptFollowsTheFarEndsKeys(t *testing.T) {
	p := onePort(t, Config{})
	p.Offer()
	if err := p.Accept(offer("m=audio 4000 RTP/AVP 0 99", "a=rtpmap:99 telephone-event/8000")); err != nil {
		t.Fatal(err)
	}
	if p.Codec() != PCMU || p.deal.keysIn != keyType || p.deal.keysOut != 99 {
		t.Errorf("codec %d, keys in %d, out %d", p.Codec(), p.deal.keysIn, p.deal.keysOut)
	}
}

func FuzzSDP(f *testing.F) {
	f.Add(offer("m=audio 4000 RTP/AVP 8 0 101", "a=rtpmap:101 telephone-event/8000", "a=rtcp:4001", "a=sendrecv"))
	f.Add(offer("a=inactive", "m=video 4002 RTP/AVP 96", "m=audio 4000/2 RTP/AVP 0", "c=IN IP4 127.0.0.1/127/3"))
	files, _ := filepath.Glob("testdata/*.sdp")
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil {
			f.Add(b)
		}
	}
	ports, err := NewPorts(PortsConfig{IP: loopback, Low: 41000, High: 41999})
	if err != nil {
		f.Fatal(err)
	}
	p, err := NewPort(ports, Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = p.Close() })
	f.Fuzz(func(t *testing.T, body []byte) {
		_ = p.Accept(body)
		answer, err := p.Answer(body)
		if err != nil {
			if !errors.Is(err, voice.ErrMedia) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		s := parsed(t, answer)
		if len(answer) > 2*MaxSDP || len(s.MediaDescriptions) > maxLines {
			t.Fatalf("an answer of %d bytes and %d lines", len(answer), len(s.MediaDescriptions))
		}
		open := 0
		for _, m := range s.MediaDescriptions {
			if m.MediaName.Port.Value != 0 {
				open++
			}
		}
		if open != 1 {
			t.Fatalf("%d open lines:\n%s", open, answer)
		}
	})
}
