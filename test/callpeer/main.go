// Command callpeer is the far end of a browser's call in tests: it answers one SDP offer, sends a tone in PCMA or PCMU, and
// judges what it hears. It proves the page of the tests, and is no part of the program.
//
// It takes commands from its input and answers each, one JSON object a line:
//
//	{"do":"answer","sdp":"…","codec":"PCMA"}   {"sdp":"…"}: an answer with all candidates
//	{"do":"tone","hz":440}                     {}: what is sent from now on; 0 is silence
//	{"do":"renew","sdp":"…"}                   {"sdp":"…"}: the same for a further offer of the same connection
//	{"do":"hears","hz":660,"seconds":1}        {"verdict":{…}}: waits until the tone has stood so long from now on, for 15 s
//	                                           or for "wait" seconds
//	{"do":"keys"}                              {"keys":"12#"}: what was pressed so far
//	{"do":"packets"}                           {"packets":123}: how many came
//
// An answer with "error" says what went wrong. It ends when its input does, as that does when the caller dies, however.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"tributary/telephony/siptest/tone"
)

type command struct {
	Do      string  `json:"do"`
	SDP     string  `json:"sdp"`
	Codec   string  `json:"codec"`
	Hz      float64 `json:"hz"`
	Seconds float64 `json:"seconds"`
	Wait    float64 `json:"wait"`
}

type answer struct {
	SDP     string        `json:"sdp,omitempty"`
	Verdict *tone.Verdict `json:"verdict,omitempty"`
	Keys    string        `json:"keys,omitempty"`
	Packets int           `json:"packets,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// peer is the one call.
type peer struct {
	conn *webrtc.PeerConnection
	left chan struct{} // closed when another connection takes its place

	mu   sync.Mutex
	wave tone.Wave
	ear  ear
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve() error {
	p := &peer{}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var c command
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			return fmt.Errorf("read a command: %w", err)
		}
		a, err := p.do(c)
		if err != nil {
			a.Error = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
	return in.Err()
}

func (p *peer) do(c command) (answer, error) {
	switch c.Do {
	case "answer":
		sdp, err := p.answer(c.SDP, c.Codec)
		return answer{SDP: sdp}, err
	case "renew":
		sdp, err := p.agree(c.SDP)
		return answer{SDP: sdp}, err
	case "tone":
		p.mu.Lock()
		defer p.mu.Unlock()
		p.wave.Hz = c.Hz
		return answer{}, nil
	case "hears":
		if c.Wait == 0 {
			c.Wait = 15
		}
		v, err := p.hears(c.Hz, c.Seconds, time.Duration(c.Wait*float64(time.Second)))
		return answer{Verdict: &v}, err
	case "keys":
		p.mu.Lock()
		defer p.mu.Unlock()
		return answer{Keys: string(p.ear.keys)}, nil
	case "packets":
		p.mu.Lock()
		defer p.mu.Unlock()
		return answer{Packets: p.ear.packets}, nil
	default:
		return answer{}, fmt.Errorf("the command %q is unknown", c.Do)
	}
}

// hears waits until the tone has stood so long since it was asked.
func (p *peer) hears(hz, seconds float64, wait time.Duration) (tone.Verdict, error) {
	p.mu.Lock()
	from := len(p.ear.pcm)
	p.mu.Unlock()
	var v tone.Verdict
	for deadline := time.Now().Add(wait); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		p.mu.Lock()
		pcm := append([]int16(nil), p.ear.pcm[from:]...)
		p.mu.Unlock()
		if v = tone.Judge(pcm, hz); v.Heard(seconds) {
			return v, nil
		}
	}
	return v, fmt.Errorf("not heard: %s", v)
}

// answer makes the connection as the program does: ICE-lite, one codec, all candidates at once.
func (p *peer) answer(offer, codec string) (string, error) {
	api, capability, err := newAPI(codec)
	if err != nil {
		return "", err
	}
	if p.conn != nil {
		close(p.left) // its browser has left it
		_ = p.conn.Close()
	}
	if p.conn, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return "", fmt.Errorf("make a connection: %w", err)
	}
	track, err := webrtc.NewTrackLocalStaticRTP(capability, "audio", "peer")
	if err != nil {
		return "", fmt.Errorf("make a track: %w", err)
	}
	sender, err := p.conn.AddTrack(track)
	if err != nil {
		return "", fmt.Errorf("add a track: %w", err)
	}
	go drain(sender)
	var speaking sync.Once
	left := make(chan struct{})
	p.left = left
	p.conn.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { p.listen(t) })
	p.conn.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			speaking.Do(func() { go p.speak(track, capability.MimeType, left) })
		}
	})
	return p.agree(offer)
}

// agree answers an offer on the connection that there is.
func (p *peer) agree(offer string) (string, error) {
	if err := p.conn.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("take the offer: %w", err)
	}
	local, err := p.conn.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("make an answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(p.conn)
	if err := p.conn.SetLocalDescription(local); err != nil {
		return "", fmt.Errorf("set the answer: %w", err)
	}
	<-gathered
	return p.conn.LocalDescription().SDP, nil
}

func newAPI(codec string) (*webrtc.API, webrtc.RTPCodecCapability, error) {
	capability, kind := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypePCMA, ClockRate: 8000}, webrtc.PayloadType(8)
	if codec == "PCMU" {
		capability.MimeType, kind = webrtc.MimeTypePCMU, 0
	}
	media := &webrtc.MediaEngine{}
	for _, c := range []webrtc.RTPCodecParameters{
		{RTPCodecCapability: capability, PayloadType: kind},
		{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/telephone-event", ClockRate: 8000, SDPFmtpLine: "0-16"}, PayloadType: 126},
	} {
		if err := media.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, capability, fmt.Errorf("register %s: %w", c.MimeType, err)
		}
	}
	settings := webrtc.SettingEngine{}
	settings.SetLite(true)
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings)), capability, nil
}

func drain(s *webrtc.RTPSender) {
	raw := make([]byte, 1500)
	for {
		if _, _, err := s.Read(raw); err != nil {
			return
		}
	}
}
