package browser

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"tributary/telephony/media"
)

// line is one PeerConnection of a leg. A leg has one at a time; a new offer of the browser may bring another.
type line struct {
	peer   *Peer
	pc     *webrtc.PeerConnection
	outlet *outlet
	sender *media.Sender
	// offer is the last one that was answered; the leg's lock guards it.
	offer offer
	// up: the connection stood once.
	up atomic.Bool
}

// newLine makes a connection that is to answer o.
func newLine(peer *Peer, o offer) (*line, error) {
	pc, err := peer.peers.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("making a connection for a browser: %w", err)
	}
	l := &line{peer: peer, pc: pc, offer: o, outlet: newOutlet(peer.codec)}
	l.sender = media.NewSender(l.outlet, media.SenderConfig{Codec: peer.codec, Even: true, Now: peer.peers.cfg.Now})
	l.outlet.sender = l.sender
	speaks := []webrtc.RTPCodecParameters{codec(peer.codec)}
	if o.keyType != 0 {
		k := keys()
		k.PayloadType = webrtc.PayloadType(o.keyType)
		speaks = append(speaks, k)
	}
	t, err := pc.AddTransceiverFromTrack(l.outlet, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendrecv})
	if err == nil {
		err = t.SetCodecPreferences(speaks)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("offering sound to a browser: %w", err), pc.GracefulClose())
	}
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { peer.stateOf(l, s) })
	pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		peer.start(func() { l.read(t) })
		peer.start(func() { drain(r) })
	})
	peer.start(func() { drain(t.Sender()) })
	return l, nil
}

// negotiate answers an offer, the first one or a later one of the same connection.
func (l *line) negotiate(ctx context.Context, o offer) (string, error) {
	err := l.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.text})
	if err != nil {
		return "", errMedia(err)
	}
	answer, err := l.pc.CreateAnswer(nil)
	if err != nil {
		return "", errMedia(err)
	}
	gathered := webrtc.GatheringCompletePromise(l.pc)
	if err := l.pc.SetLocalDescription(answer); err != nil {
		return "", errMedia(err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", fmt.Errorf("gathering addresses for a browser: %w", ctx.Err())
	}
	return l.pc.LocalDescription().SDP, nil
}

// read takes what the browser sends, until the connection ends.
func (l *line) read(t *webrtc.TrackRemote) {
	buf := make([]byte, 2048)
	for {
		n, _, err := t.Read(buf)
		if err != nil && n == 0 {
			return
		}
		h, payload, ok := media.Parse(buf[:n])
		if err != nil || !ok {
			l.peer.receiver.Drop()
			continue
		}
		l.peer.take(l, h, payload)
	}
}

// drain reads the browser's reports: the library takes from them what its own reports tell, and nobody else needs them.
func drain(s interface {
	Read(b []byte) (int, interceptor.Attributes, error)
},
) {
	buf := make([]byte, 2048)
	for {
		if _, _, err := s.Read(buf); err != nil {
			return
		}
	}
}

// outlet is the track on which a leg's packets go out; unlike the library's own it lets us choose the payload type of
// each packet.
type outlet struct {
	codec  media.Codec
	sender *media.Sender
	to     atomic.Pointer[binding]
	keys   atomic.Uint32
	pool   sync.Pool
}

// binding is where packets go once the negotiation is done.
type binding struct {
	id     string
	ssrc   uint32
	writer webrtc.TrackLocalWriter
}

func newOutlet(c media.Codec) *outlet {
	return &outlet{codec: c, pool: sync.Pool{New: func() any { return new(rtp.Header) }}}
}

// Send writes one packet. One that cannot go out is lost, as packets are.
func (o *outlet) Send(f *media.Frame) {
	b := o.to.Load()
	if b == nil {
		return
	}
	h := o.pool.Get().(*rtp.Header)
	*h = rtp.Header{
		Version: 2, Marker: f.Marker, PayloadType: f.PayloadType, SequenceNumber: f.Sequence, Timestamp: f.Timestamp, SSRC: b.ssrc,
	}
	_, _ = b.writer.WriteRTP(h, f.Payload)
	o.pool.Put(h)
}

// Bind is called by the library when the negotiation is done; it tells the codec and the browser's payload type of keys.
func (o *outlet) Bind(t webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	var mine webrtc.RTPCodecParameters
	keyType, found := uint8(0), false
	for _, c := range t.CodecParameters() {
		switch {
		case c.MimeType == codec(o.codec).MimeType:
			mine, found = c, true
		case c.MimeType == keysType && c.ClockRate == 8000:
			keyType = uint8(c.PayloadType)
		}
	}
	if !found {
		return mine, webrtc.ErrUnsupportedCodec
	}
	o.keys.Store(uint32(keyType))
	o.sender.Set(o.codec, keyType)
	o.to.Store(&binding{id: t.ID(), ssrc: uint32(t.SSRC()), writer: t.WriteStream()})
	return mine, nil
}

// Unbind is called when the connection ends.
func (o *outlet) Unbind(t webrtc.TrackLocalContext) error {
	if b := o.to.Load(); b != nil && b.id == t.ID() {
		o.to.CompareAndSwap(b, nil)
	}
	return nil
}

// ID names the track, StreamID its stream.
func (o *outlet) ID() string { return "sound" }

// StreamID names the stream of the track.
func (o *outlet) StreamID() string { return "call" }

// RID is of simulcast, which sound has none of.
func (o *outlet) RID() string { return "" }

// Kind is sound.
func (o *outlet) Kind() webrtc.RTPCodecType { return webrtc.RTPCodecTypeAudio }
