// Package browser is the sound of an agent's browser: WebRTC (RFC 8825) behind the same Link that a leg of plain RTP has.
// It knows no SIP, no call and no agent.
//
// Neighbours: telephony hands in the SDP offers that mutations bring and bridges the links; telephony/media does numbers,
// timestamps, keys and silence.
//
// Invariants: one UDP port serves all browsers of a node; a leg says Up only when its DTLS handshake is done; a
// connection that is replaced is heard by nobody any more; Close leaves no goroutine behind.
package browser

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"tributary/channels/voice"
	"tributary/telephony/media"
)

const (
	// DefaultLostAfter is how long a connection may be away before it counts as lost.
	DefaultLostAfter = 20 * time.Second
	// readBuffer is that of the one socket: its queue is shared by all browsers.
	readBuffer = 4 << 20
	// quiet is how long a browser that sends nothing at all, not even the consent checks of RFC 7675 every 5 s or so, still
	// counts as connected.
	quiet = 7 * time.Second
)

// Config says how browsers reach this node.
type Config struct {
	// IP is bound. Unspecified: every address of the machine but loopback.
	IP netip.Addr
	// Port is the one UDP port; 0: any that is free, for which IP must be one address.
	Port int
	// Advertise is put into SDP answers in place of the address that is bound.
	Advertise netip.Addr
	// LostAfter is how long a connection may be away until NoticeLost, and how long a new one may take; 0: DefaultLostAfter.
	LostAfter time.Duration
	// SilentAfter is how long nothing comes until NoticeSilent; 0: media.DefaultSilentAfter.
	SilentAfter time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log gets what the WebRTC library complains about; nil: nobody.
	Log *slog.Logger
}

// Peers makes the connections of a node. Safe for concurrent use.
type Peers struct {
	cfg Config
	api *webrtc.API
	mux *ice.MultiUDPMuxDefault

	mu     sync.Mutex
	open   map[*Peer]struct{}
	closed bool
}

// errClosed is of a node that is going down.
var errClosed = errors.New("no browsers are taken any more")

// NewPeers binds the port.
func NewPeers(cfg Config) (*Peers, error) {
	if cfg.LostAfter <= 0 {
		cfg.LostAfter = DefaultLostAfter
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if !cfg.IP.IsValid() {
		cfg.IP = netip.IPv4Unspecified()
	}
	if cfg.Port == 0 && cfg.IP.IsUnspecified() {
		return nil, errors.New("browsers need a port, or one address where any will do")
	}
	mux, err := listen(cfg)
	if err != nil {
		return nil, err
	}
	api, err := newAPI(cfg, mux)
	if err != nil {
		return nil, errors.Join(err, mux.Close())
	}
	return &Peers{cfg: cfg, api: api, mux: mux, open: map[*Peer]struct{}{}}, nil
}

func listen(cfg Config) (*ice.MultiUDPMuxDefault, error) {
	options := []ice.UDPMuxFromPortOption{
		ice.UDPMuxFromPortWithNetworks(ice.NetworkTypeUDP4),
		ice.UDPMuxFromPortWithReadBufferSize(readBuffer),
		ice.UDPMuxFromPortWithIPFilter(cfg.binds),
		ice.UDPMuxFromPortWithLogger(logFactory{cfg.Log}.NewLogger("mux")),
	}
	if cfg.IP.IsLoopback() {
		options = append(options, ice.UDPMuxFromPortWithLoopback())
	}
	mux, err := ice.NewMultiUDPMuxFromPort(cfg.Port, options...)
	if err != nil {
		return nil, fmt.Errorf("binding port %d for browsers: %w", cfg.Port, err)
	}
	if len(mux.GetListenAddresses()) == 0 {
		return nil, errors.Join(fmt.Errorf("no address of this machine is %s", cfg.IP), mux.Close())
	}
	return mux, nil
}

// binds reports whether an address of the machine is to be used.
func (c Config) binds(ip net.IP) bool {
	addr, ok := netip.AddrFromSlice(ip)
	return ok && (c.IP.IsUnspecified() || addr.Unmap() == c.IP.Unmap())
}

func newAPI(cfg Config, mux ice.UDPMux) (*webrtc.API, error) {
	engine := &webrtc.MediaEngine{}
	for _, c := range []webrtc.RTPCodecParameters{codec(media.PCMU), codec(media.PCMA), keys()} {
		if err := engine.RegisterCodec(c, webrtc.RTPCodecTypeAudio); err != nil {
			return nil, fmt.Errorf("registering codecs: %w", err)
		}
	}
	s := webrtc.SettingEngine{LoggerFactory: logFactory{cfg.Log}}
	s.SetLite(true)
	s.SetICEUDPMux(mux)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetIPFilter(cfg.binds)
	s.SetIncludeLoopbackCandidate(cfg.IP.IsLoopback())
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetFireOnTrackBeforeFirstRTP(true)
	away := min(quiet, cfg.LostAfter/2)
	// The library's own end comes after ours, which is the one that is told.
	s.SetICETimeouts(away, 2*cfg.LostAfter, 0)
	if cfg.Advertise.IsValid() {
		err := s.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
			External: []string{cfg.Advertise.String()}, AsCandidateType: webrtc.ICECandidateTypeHost, Mode: webrtc.ICEAddressRewriteReplace,
		})
		if err != nil {
			return nil, fmt.Errorf("advertising %s: %w", cfg.Advertise, err)
		}
	}
	// Of all that the library would do to packets, a browser needs the reports alone: from them it knows loss and delay.
	reports := &interceptor.Registry{}
	if err := webrtc.ConfigureRTCPReports(reports); err != nil {
		return nil, fmt.Errorf("setting up reports: %w", err)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(s), webrtc.WithInterceptorRegistry(reports)), nil
}

func codec(c media.Codec) webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/" + c.Name(), ClockRate: 8000},
		PayloadType:        webrtc.PayloadType(c),
	}
}

// keysType is the MIME type of keys (RFC 4733); their payload type is the browser's choice.
const keysType = "audio/telephone-event"

func keys() webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: keysType, ClockRate: 8000, SDPFmtpLine: "0-15"}, PayloadType: 126,
	}
}

// Addresses are those that are bound.
func (p *Peers) Addresses() []net.Addr { return p.mux.GetListenAddresses() }

// Len counts the legs that are open.
func (p *Peers) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// Answer takes a browser's SDP offer and gives the leg and the SDP answer, which holds all candidates. Of G.711 it takes
// the preferred codec if the browser offers it. The error is a voice.ErrMedia when the offer holds no sound that we speak.
func (p *Peers) Answer(ctx context.Context, sdpOffer string, prefer media.Codec) (*Peer, string, error) {
	o, err := readOffer(sdpOffer)
	if err != nil {
		return nil, "", err
	}
	peer := newPeer(p, o.pick(prefer))
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, "", errClosed
	}
	p.open[peer] = struct{}{}
	p.mu.Unlock()
	peer.tasks.Go(peer.keepTime)
	answer, err := peer.connect(ctx, o)
	if err != nil {
		return nil, "", errors.Join(err, peer.Close())
	}
	return peer, answer, nil
}

func (p *Peers) forget(peer *Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, peer)
}

// Close ends every leg and gives the port back.
func (p *Peers) Close() error {
	p.mu.Lock()
	p.closed = true
	var open []*Peer
	for peer := range p.open {
		open = append(open, peer)
	}
	p.mu.Unlock()
	var errs []error
	for _, peer := range open {
		errs = append(errs, peer.Close())
	}
	return errors.Join(append(errs, p.mux.Close())...)
}

// errMedia says why an offer is not taken.
func errMedia(why error) error { return fmt.Errorf("%w: %w", voice.ErrMedia, why) }
