package browser

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"tributary/channels/voice"
	"tributary/telephony/media"
)

// tone is a clip of a sine, read as the WAV file that an operator would bring.
func tone(t *testing.T, hertz float64) media.Clip {
	t.Helper()
	le := binary.LittleEndian
	b := append([]byte("RIFF\x00\x00\x00\x00WAVEfmt "), 16, 0, 0, 0)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, 8000)
	b = le.AppendUint32(b, 16000)
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = le.AppendUint32(b, 16000)
	for i := range 8000 {
		b = le.AppendUint16(b, uint16(int16(16000*math.Sin(2*math.Pi*hertz*float64(i)/8000))))
	}
	c, err := media.LoadClip(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ear hears what comes from a link.
type ear struct {
	mu      sync.Mutex
	sources []uint64
	packets int
	keys    []media.Key
}

func (e *ear) Write(p *media.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.packets++
	if len(e.sources) == 0 || e.sources[len(e.sources)-1] != p.Source {
		e.sources = append(e.sources, p.Source)
	}
	if p.Key != nil {
		e.keys = append(e.keys, *p.Key)
	}
}

func (e *ear) count() (packets, sources int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.packets, len(e.sources)
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: did not happen within %s", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// phone is a leg of plain RTP whose far end is another port.
func phone(t *testing.T, prefer media.Codec) (leg, far *media.Port) {
	t.Helper()
	free, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	low := free.LocalAddr().(*net.UDPAddr).Port &^ 1
	_ = free.Close()
	low = min(low, 65000)
	ports, err := media.NewPorts(media.PortsConfig{IP: loopback, Low: uint16(low), High: uint16(min(low+400, 65535))})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []**media.Port{&leg, &far} {
		if *p, err = media.NewPort(ports, media.Config{Prefer: prefer}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := errors.Join(leg.Close(), far.Close()); err != nil {
			t.Error(err)
		}
	})
	answer, err := leg.Answer(far.Offer())
	if err != nil {
		t.Fatal(err)
	}
	if err := far.Accept(answer); err != nil {
		t.Fatal(err)
	}
	return leg, far
}

// TestToneReachesTheBrowser: phone, RTP, our leg, the browser's leg, DTLS-SRTP, page; and back.
func TestToneReachesTheBrowser(t *testing.T) {
	for _, c := range []struct{ trunk, prefer, offered, agreed media.Codec }{
		{media.PCMA, media.PCMA, media.PCMA, media.PCMA},
		{media.PCMA, media.PCMA, media.PCMU, media.PCMU}, // transcoded
	} {
		t.Run(fmt.Sprintf("trunk %s, browser %s", c.trunk.Name(), c.agreed.Name()), func(t *testing.T) {
			peers := newPeers(t, Config{})
			leg, far := phone(t, c.trunk)
			page := newClient(t, clientConfig{codecs: []media.Codec{c.offered}, speaks: c.offered, keyType: 110})
			p := connect(t, peers, page, c.prefer)
			notice(t, p, media.NoticeUp)
			if p.Codec() != c.agreed || leg.Codec() != c.trunk {
				t.Errorf("codecs %d and %d", p.Codec(), leg.Codec())
			}
			leg.Forward(p)
			p.Forward(leg)
			play(t, far, tone(t, 440))
			page.until(t, "a second of sound", func() bool { return len(page.samples) >= 8000 })
			page.mu.Lock()
			heard := append([]float64(nil), page.samples[:8000]...)
			ssrcs, gaps := map[uint32]bool{}, 0
			for i, h := range page.heads {
				ssrcs[h.SSRC] = true
				if h.PayloadType != uint8(c.agreed) {
					t.Errorf("payload type %d", h.PayloadType)
				}
				if i > 0 && h.Sequence != page.heads[i-1].Sequence+1 {
					gaps++
				}
			}
			page.mu.Unlock()
			if db := clear(heard, 440, 300, 600, 880, 1000, 1320, 2000, 3000); db < 20 {
				t.Errorf("440 Hz stands %.1f dB over the rest", db)
			}
			if len(ssrcs) != 1 || gaps > 2 {
				t.Errorf("%d streams, %d gaps", len(ssrcs), gaps)
			}

			back := &tape{}
			far.Forward(back)
			play(t, page.mic, tone(t, 1000))
			waitFor(t, "a second back", func() bool { return len(back.heard()) >= 8000 })
			if db := clear(back.heard()[:8000], 1000, 440, 600, 2000, 3000); db < 20 {
				t.Errorf("1000 Hz stands %.1f dB over the rest", db)
			}
			if s := p.Stats(); s.Received < 40 || s.Sent < 40 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// tape keeps sound.
type tape struct {
	mu      sync.Mutex
	samples []float64
}

func (e *tape) Write(p *media.Packet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range p.Payload {
		e.samples = append(e.samples, decode(p.Codec, b))
	}
}

func (e *tape) heard() []float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]float64(nil), e.samples...)
}

func TestKeysByTheBrowsersPayloadType(t *testing.T) {
	for _, keyType := range []uint8{110, 126} {
		peers := newPeers(t, Config{})
		leg, far := phone(t, media.PCMU)
		page := newClient(t, clientConfig{keyType: keyType})
		p := connect(t, peers, page, media.PCMU)
		notice(t, p, media.NoticeUp)
		leg.Forward(p)
		p.Forward(leg)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		// From the page to the phone.
		if err := media.SendDigits(ctx, page.mic, "4#"); err != nil {
			t.Fatal(err)
		}
		for _, want := range "4#" {
			if n := notice(t, p, media.NoticeDigit); n.Digit != byte(want) {
				t.Errorf("the browser's leg heard %q, not %q", n.Digit, want)
			}
			if n := notice(t, far, media.NoticeDigit); n.Digit != byte(want) {
				t.Errorf("the phone heard %q, not %q", n.Digit, want)
			}
		}
		// From the phone to the page.
		if err := media.SendDigits(ctx, far, "9"); err != nil {
			t.Fatal(err)
		}
		page.until(t, "a key", func() bool { return len(page.keys) >= 5 })
		page.mu.Lock()
		if page.keys[0] != keyType || page.keys[1] != 9 {
			t.Errorf("the page got %x", page.keys)
		}
		page.mu.Unlock()
	}
}

// TestUpOnlyWhenConnected: addresses are found, but the handshake of DTLS never gets through: the leg was never up, and is
// lost in time.
func TestUpOnlyWhenConnected(t *testing.T) {
	peers := newPeers(t, Config{LostAfter: 2 * time.Second})
	page := newClient(t, clientConfig{})
	page.road.wall.Store(true)
	p := connect(t, peers, page, media.PCMU)
	waitFor(t, "the addresses", func() bool {
		return p.line.Load().pc.ICEConnectionState() == webrtc.ICEConnectionStateConnected
	})
	n := <-p.Notices()
	if n.Kind != media.NoticeLost {
		t.Errorf("%+v", n)
	}
	if s := p.line.Load().pc.ICEConnectionState(); s != webrtc.ICEConnectionStateConnected {
		t.Errorf("the addresses are %s", s)
	}
}

func TestAnswerThatNeverArrives(t *testing.T) {
	peers := newPeers(t, Config{LostAfter: time.Second})
	page := newClient(t, clientConfig{})
	p, _, err := peers.Answer(context.Background(), page.offer(t, false), media.PCMU)
	if err != nil {
		t.Fatal(err)
	}
	if n := <-p.Notices(); n.Kind != media.NoticeLost {
		t.Errorf("%+v", n)
	}
}

func TestPageCloses(t *testing.T) {
	peers := newPeers(t, Config{LostAfter: 2 * time.Second})
	page := newClient(t, clientConfig{})
	p := connect(t, peers, page, media.PCMU)
	notice(t, p, media.NoticeUp)
	page.close()
	notice(t, p, media.NoticeLost)
}

// TestTunnel: the page is cut off without a word for so long that the leg is lost, and comes back by an ICE restart of the
// same connection; for a short time it needs no restart and nothing is told.
func TestTunnel(t *testing.T) {
	peers := newPeers(t, Config{LostAfter: 4 * time.Second})
	page := newClient(t, clientConfig{})
	p := connect(t, peers, page, media.PCMU)
	notice(t, p, media.NoticeUp)
	before := p.line.Load()
	e := &ear{}
	p.Forward(e)
	play(t, page.mic, tone(t, 1000))
	waitFor(t, "sound", func() bool { n, _ := e.count(); return n > 5 })

	page.road.tunnel.Store(true)
	time.Sleep(500 * time.Millisecond) // a short tunnel
	page.road.tunnel.Store(false)
	n, _ := e.count()
	waitFor(t, "sound after a short tunnel", func() bool { m, _ := e.count(); return m > n+5 })
	if len(p.Notices()) != 0 {
		t.Errorf("%+v after a short tunnel", <-p.Notices())
	}

	page.road.tunnel.Store(true)
	cut := time.Now()
	notice(t, p, media.NoticeLost)
	if d := time.Since(cut); d < 4*time.Second {
		t.Errorf("lost after %s", d)
	}
	waitFor(t, "the page to give up", func() bool { return page.pc.ConnectionState() == webrtc.PeerConnectionStateFailed })
	page.road.tunnel.Store(false)
	answer, err := p.Renew(context.Background(), page.offer(t, true))
	if err != nil {
		t.Fatal(err)
	}
	page.accept(t, answer)
	notice(t, p, media.NoticeUp)
	if p.line.Load() != before {
		t.Error("it came back as another connection")
	}
	n, _ = e.count()
	waitFor(t, "sound after the tunnel", func() bool { m, _ := e.count(); return m > n+5 })
}

func TestSilenceOfABrowser(t *testing.T) {
	peers := newPeers(t, Config{SilentAfter: 500 * time.Millisecond})
	page := newClient(t, clientConfig{})
	p := connect(t, peers, page, media.PCMU)
	notice(t, p, media.NoticeUp)
	notice(t, p, media.NoticeSilent)
	play(t, page.mic, tone(t, 440))
	notice(t, p, media.NoticeHeard)
}

func TestRenewRestartsICE(t *testing.T) {
	peers := newPeers(t, Config{})
	page := newClient(t, clientConfig{})
	p := connect(t, peers, page, media.PCMU)
	notice(t, p, media.NoticeUp)
	before := p.line.Load()
	e := &ear{}
	p.Forward(e)
	play(t, p, tone(t, 440))
	play(t, page.mic, tone(t, 1000))
	waitFor(t, "sound", func() bool { n, _ := e.count(); return n > 5 })

	answer, err := p.Renew(context.Background(), page.offer(t, true))
	if err != nil {
		t.Fatal(err)
	}
	page.accept(t, answer)
	if p.line.Load() != before {
		t.Error("an ICE restart made another connection")
	}
	n, _ := e.count()
	waitFor(t, "sound after the restart", func() bool { m, _ := e.count(); return m > n+50 })
	page.mu.Lock()
	heard := len(page.samples)
	page.mu.Unlock()
	page.until(t, "sound in the page after the restart", func() bool { return len(page.samples) > heard+8000 })
	if _, sources := e.count(); sources != 1 {
		t.Errorf("%d sources", sources)
	}
	select {
	case n := <-p.Notices():
		t.Errorf("%+v of a leg that never was away", n)
	default:
	}
}

// TestRenewAfterReload: a page that was loaded again brings a new connection; the other leg hears one stream.
func TestRenewAfterReload(t *testing.T) {
	peers := newPeers(t, Config{})
	leg, far := phone(t, media.PCMU)
	page := newClient(t, clientConfig{})
	p := connect(t, peers, page, media.PCMU)
	notice(t, p, media.NoticeUp)
	e := &ear{}
	far.Forward(e)
	p.Forward(leg)
	leg.Forward(p)
	play(t, far, tone(t, 440))
	play(t, page.mic, tone(t, 1000))
	waitFor(t, "sound at the phone", func() bool { n, _ := e.count(); return n > 5 })

	again := newClient(t, clientConfig{keyType: 110})
	answer, err := p.Renew(context.Background(), again.offer(t, false))
	if err != nil {
		t.Fatal(err)
	}
	again.accept(t, answer)
	again.until(t, "sound in the new page", func() bool { return len(again.samples) > 4000 })
	n, _ := e.count()
	play(t, again.mic, tone(t, 2000))
	waitFor(t, "sound of the new page", func() bool { m, _ := e.count(); return m > n+50 })
	if _, sources := e.count(); sources != 1 {
		t.Errorf("the phone heard %d streams", sources)
	}
	if s := far.Stats(); s.Lost > 2 {
		t.Errorf("%+v", s)
	}
}

func TestRenewAfterLost(t *testing.T) {
	peers := newPeers(t, Config{LostAfter: time.Second})
	page := newClient(t, clientConfig{})
	p := connect(t, peers, page, media.PCMU)
	notice(t, p, media.NoticeUp)
	page.close()
	notice(t, p, media.NoticeLost)
	again := newClient(t, clientConfig{})
	answer, err := p.Renew(context.Background(), again.offer(t, false))
	if err != nil {
		t.Fatal(err)
	}
	again.accept(t, answer)
	notice(t, p, media.NoticeUp)
}

func TestAnswerOfAnOffer(t *testing.T) {
	peers := newPeers(t, Config{Advertise: loopback})
	page := newClient(t, clientConfig{speaks: media.PCMA, keyType: 110, video: true})
	began := time.Now()
	_, answer, err := peers.Answer(context.Background(), page.offer(t, false), media.PCMA)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("answered in %s", time.Since(began))
	page.accept(t, answer)
	var s sdp.SessionDescription
	if err := s.UnmarshalString(answer); err != nil {
		t.Fatal(err)
	}
	if _, lite := s.Attribute("ice-lite"); !lite {
		t.Error("not lite")
	}
	if len(s.MediaDescriptions) != 2 || s.MediaDescriptions[1].MediaName.Port.Value != 0 {
		t.Errorf("the answer to a camera:\n%s", answer)
	}
	sound := s.MediaDescriptions[0]
	if got := strings.Join(sound.MediaName.Formats, " "); got != "8 110" {
		t.Errorf("formats %s", got)
	}
	if _, ok := sound.Attribute("extmap"); ok {
		t.Error("the answer takes header extensions, for which sound has no use")
	}
	port := peers.Addresses()[0].(*net.UDPAddr).Port
	candidates := 0
	for _, a := range sound.Attributes {
		if a.Key == "candidate" {
			candidates++
			if !strings.Contains(a.Value, fmt.Sprintf("127.0.0.1 %d typ host", port)) {
				t.Errorf("candidate %s", a.Value)
			}
		}
	}
	if candidates == 0 {
		t.Error("no candidates")
	}
}

func TestAdvertisedAddress(t *testing.T) {
	peers, err := NewPeers(Config{IP: loopback, Advertise: netip.MustParseAddr("203.0.113.5")})
	if err != nil {
		t.Fatal(err)
	}
	defer peers.Close()
	page := newClient(t, clientConfig{})
	_, answer, err := peers.Answer(context.Background(), page.offer(t, false), media.PCMA)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answer, "203.0.113.5") || strings.Contains(answer, "UDP 2130706431 127.0.0.1") {
		t.Errorf("%s", answer)
	}
}

func TestOffersThatAreRefused(t *testing.T) {
	peers := newPeers(t, Config{})
	good := newClient(t, clientConfig{}).offer(t, false)
	for name, o := range map[string]string{
		"nothing":        "",
		"no SDP":         "hello",
		"only Opus":      newClient(t, clientConfig{codecs: []media.Codec{}}).offer(t, false),
		"a data channel": newClient(t, clientConfig{data: true}).offer(t, false),
		"no sound":       strings.Replace(good, "m=audio", "m=video", 1),
		"no fingerprint": strings.ReplaceAll(good, "a=fingerprint", "a=x"),
		"a plain phone":  "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n",
		"no credentials": strings.ReplaceAll(strings.ReplaceAll(good, "a=ice-ufrag", "a=x"), "a=ice-pwd", "a=y"),
		"too long":       good + "a=x:" + strings.Repeat("y", media.MaxSDP) + "\r\n",
		"too many lines": good + strings.Repeat("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", maxLines),
	} {
		if _, _, err := peers.Answer(context.Background(), o, media.PCMA); !errors.Is(err, voice.ErrMedia) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := peers.Len(); n != 0 {
		t.Errorf("%d legs of refused offers", n)
	}
}

func TestRefusedRenewalChangesNothing(t *testing.T) {
	peers := newPeers(t, Config{})
	page := newClient(t, clientConfig{})
	p := connect(t, peers, page, media.PCMU)
	notice(t, p, media.NoticeUp)
	before := p.line.Load()
	if _, err := p.Renew(context.Background(), "hello"); !errors.Is(err, voice.ErrMedia) {
		t.Errorf("%v", err)
	}
	if p.line.Load() != before {
		t.Error("the connection was replaced")
	}
	play(t, p, tone(t, 440))
	page.until(t, "sound", func() bool { return len(page.samples) > 1000 })
}

func TestClosedPeers(t *testing.T) {
	peers, err := NewPeers(Config{IP: loopback})
	if err != nil {
		t.Fatal(err)
	}
	page := newClient(t, clientConfig{})
	p := connect(t, peers, page, media.PCMU)
	notice(t, p, media.NoticeUp)
	if err := peers.Close(); err != nil {
		t.Fatal(err)
	}
	for range p.Notices() { // it is closed
	}
	if _, err := p.Renew(context.Background(), newClient(t, clientConfig{}).offer(t, false)); err == nil {
		t.Error("a closed leg was renewed")
	}
	if _, _, err := peers.Answer(context.Background(), newClient(t, clientConfig{}).offer(t, false), media.PCMU); err == nil {
		t.Error("a closed node took a browser")
	}
	p.Write(&media.Packet{Payload: make([]byte, 160)})
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// FuzzOffer: whatever a front end sends, it is an error or an offer, and the library survives it.
func FuzzOffer(f *testing.F) {
	peers, err := NewPeers(Config{IP: loopback, LostAfter: time.Minute})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = peers.Close() })
	f.Add("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=fingerprint:sha-256 " +
		strings.TrimSuffix(strings.Repeat("AB:", 32), ":") + "\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0 8 126\r\nc=IN IP4 0.0.0.0\r\n" +
		"a=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\na=rtcp-mux\r\na=sendrecv\r\n" +
		"a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:126 telephone-event/8000\r\na=ssrc:1 cname:x\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		p, _, err := peers.Answer(ctx, text, media.PCMA)
		if err == nil {
			_ = p.Close()
		} else if !errors.Is(err, voice.ErrMedia) {
			t.Fatalf("an error of another kind: %v", err)
		}
	})
}
