package browser

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	"github.com/zaf/g711"

	"tributary/telephony/media"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

var loopback = netip.MustParseAddr("127.0.0.1")

func newPeers(t testing.TB, cfg Config) *Peers {
	t.Helper()
	cfg.IP = loopback
	p, err := NewPeers(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if n := p.Len(); n != 0 {
			t.Errorf("%d legs are left", n)
		}
	})
	return p
}

// client is a page with a phone in it: a full WebRTC peer with a socket of its own.
type client struct {
	pc   *webrtc.PeerConnection
	mic  mic
	mux  *ice.UDPMuxDefault
	road *road

	mu      sync.Mutex
	codec   webrtc.RTPCodecParameters
	samples []float64
	heads   []media.Header
	keys    []byte
	more    chan struct{}
	tasks   sync.WaitGroup
	closed  sync.Once
}

// road is the client's socket; a tunnel swallows what is sent and what comes, a wall only the handshakes of DTLS.
type road struct {
	net.PacketConn
	tunnel, wall atomic.Bool
}

// swallows tells DTLS by its first byte (RFC 7983).
func (r *road) swallows(b []byte) bool {
	return r.tunnel.Load() || r.wall.Load() && len(b) > 0 && b[0] >= 20 && b[0] <= 63
}

func (r *road) WriteTo(b []byte, to net.Addr) (int, error) {
	if r.swallows(b) {
		return len(b), nil
	}
	return r.PacketConn.WriteTo(b, to)
}

func (r *road) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := r.PacketConn.ReadFrom(b)
		if err != nil || !r.swallows(b[:n]) {
			return n, from, err
		}
	}
}

// clientConfig is what a client offers.
type clientConfig struct {
	codecs  []media.Codec
	keyType uint8
	video   bool
	data    bool
	// speaks is the codec of the page's own sound; a real browser would follow the answer.
	speaks media.Codec
}

func newClient(t testing.TB, cfg clientConfig) *client {
	t.Helper()
	if cfg.codecs == nil {
		cfg.codecs = []media.Codec{media.PCMU, media.PCMA}
	}
	engine := &webrtc.MediaEngine{}
	add := func(c webrtc.RTPCodecParameters, kind webrtc.RTPCodecType) {
		if err := engine.RegisterCodec(c, kind); err != nil {
			t.Fatal(err)
		}
	}
	opus := webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}, PayloadType: 111}
	add(opus, webrtc.RTPCodecTypeAudio)
	for _, c := range cfg.codecs {
		add(codec(c), webrtc.RTPCodecTypeAudio)
	}
	if cfg.keyType != 0 {
		k := keys()
		k.PayloadType, k.SDPFmtpLine = webrtc.PayloadType(cfg.keyType), ""
		add(k, webrtc.RTPCodecTypeAudio)
	}
	if cfg.video {
		add(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "video/VP8", ClockRate: 90000}, PayloadType: 96}, webrtc.RTPCodecTypeVideo)
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	road := &road{PacketConn: conn}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: road})
	s := webrtc.SettingEngine{}
	s.SetICEUDPMux(mux)
	s.SetIncludeLoopbackCandidate(true)
	s.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetICETimeouts(2*time.Second, 4*time.Second, 500*time.Millisecond)
	s.SetFireOnTrackBeforeFirstRTP(true)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{pc: pc, road: road, mux: mux, more: make(chan struct{}, 1)}
	t.Cleanup(c.close)
	c.mic.codec = cfg.speaks
	track := newOutlet(c.mic.codec)
	c.mic.Sender = media.NewSender(track, media.SenderConfig{Codec: c.mic.codec})
	track.sender = c.mic.Sender
	sender, err := pc.AddTrack(track)
	if err != nil {
		t.Fatal(err)
	}
	c.tasks.Go(func() { drain(sender) })
	if cfg.video {
		if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	if cfg.data {
		if _, err := pc.CreateDataChannel("chat", nil); err != nil {
			t.Fatal(err)
		}
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { c.listen(track) })
	return c
}

func (c *client) close() {
	c.closed.Do(func() {
		_ = c.pc.GracefulClose()
		_ = c.mux.Close()
		c.tasks.Wait()
	})
}

func (c *client) listen(track *webrtc.TrackRemote) {
	buf := make([]byte, 2048)
	for {
		n, _, err := track.Read(buf)
		if err != nil {
			return
		}
		h, payload, ok := media.Parse(buf[:n])
		if !ok {
			continue
		}
		c.mu.Lock()
		c.codec = track.Codec()
		c.heads = append(c.heads, h)
		switch h.PayloadType {
		case 0:
			for _, b := range payload {
				c.samples = append(c.samples, float64(g711.DecodeUlawFrame(b))/32768)
			}
		case 8:
			for _, b := range payload {
				c.samples = append(c.samples, float64(g711.DecodeAlawFrame(b))/32768)
			}
		default:
			c.keys = append(c.keys, append([]byte{h.PayloadType}, payload...)...)
		}
		c.mu.Unlock()
		select {
		case c.more <- struct{}{}:
		default:
		}
	}
}

// offer makes an offer with all candidates.
func (c *client) offer(t testing.TB, restart bool) string {
	t.Helper()
	o, err := c.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(o); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gathered:
	case <-time.After(patience):
		t.Fatal("the client found no addresses")
	}
	return c.pc.LocalDescription().SDP
}

func (c *client) accept(t testing.TB, answer string) {
	t.Helper()
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatalf("%v\n%s", err, answer)
	}
}

// until waits until the client has heard what a test waits for.
func (c *client) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		c.mu.Lock()
		done := ok()
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-c.more:
		case <-limit.C:
			t.Fatalf("%s: did not happen within %s", what, patience)
		}
	}
}

// mic lets media.Play and media.SendDigits speak for the page.
type mic struct {
	*media.Sender
	codec media.Codec
}

func (m mic) Codec() media.Codec { return m.codec }

func connect(t testing.TB, peers *Peers, c *client, prefer media.Codec) *Peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p, answer, err := peers.Answer(ctx, c.offer(t, false), prefer)
	if err != nil {
		t.Fatal(err)
	}
	c.accept(t, answer)
	return p
}

func notice(t testing.TB, l media.Link, kind media.NoticeKind) media.Notice {
	t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case n, ok := <-l.Notices():
			if !ok {
				t.Fatalf("the notices ended before %s", kind)
			}
			if n.Kind == kind {
				return n
			}
		case <-limit.C:
			t.Fatalf("no notice %s within %s", kind, patience)
		}
	}
}

func play(t testing.TB, to media.Sink, clip media.Clip) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = media.Play(ctx, to, clip, true)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}
