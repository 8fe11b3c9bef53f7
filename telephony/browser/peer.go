package browser

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"tributary/telephony/media"
)

// Peer is the sound of one browser. Safe for concurrent use.
type Peer struct {
	peers    *Peers
	codec    media.Codec
	receiver *media.Receiver

	// line is the connection in use; packets of an earlier one are dropped. feed makes the readers of both take turns.
	line atomic.Pointer[line]
	feed sync.Mutex
	sent atomic.Int64 // by earlier connections

	// negotiating lets one offer in at a time.
	negotiating sync.Mutex

	mu sync.Mutex
	// up: NoticeUp was told and NoticeLost was not. away is since when there is no connection, zero: there is one.
	up, lost bool
	away     time.Time
	closed   bool

	once  sync.Once
	done  chan struct{}
	tasks sync.WaitGroup
	err   error
}

var _ media.Link = (*Peer)(nil)

func newPeer(p *Peers, c media.Codec) *Peer {
	now := p.cfg.Now()
	return &Peer{
		peers: p, codec: c, receiver: media.NewReceiver(0, p.cfg.SilentAfter, now), away: now, done: make(chan struct{}),
	}
}

// start runs a task that Close waits for, unless it is closed already.
func (p *Peer) start(task func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.tasks.Go(task)
	}
}

// Renew takes a later offer of the browser: an ICE restart of the connection (RFC 8445 section 9) or, when the page was
// loaded again, a new connection behind the same leg. The sound of the call goes on as it is. After NoticeLost it brings
// the leg back, and NoticeUp follows again.
func (p *Peer) Renew(ctx context.Context, sdpOffer string) (string, error) {
	o, err := readOffer(sdpOffer)
	if err != nil {
		return "", err
	}
	return p.connect(ctx, o)
}

// connect answers an offer with the connection that there is, if it is its own, else with a new one.
func (p *Peer) connect(ctx context.Context, o offer) (string, error) {
	p.negotiating.Lock()
	defer p.negotiating.Unlock()
	if p.isClosed() {
		return "", errClosed
	}
	if old := p.line.Load(); old != nil && o.continues(old.offer) && o.pick(p.codec) == p.codec &&
		old.pc.ConnectionState() != webrtc.PeerConnectionStateClosed {
		if answer, err := old.negotiate(ctx, o); err == nil {
			p.wait(old, o)
			return answer, nil
		}
		// It cannot go on: the browser gets a new one, which it takes as an answer only if it is new as well.
	}
	return p.replace(ctx, o)
}

// replace makes a new connection the leg's.
func (p *Peer) replace(ctx context.Context, o offer) (string, error) {
	p.setCodec(o.pick(p.Codec()))
	l, err := newLine(p, o)
	if err != nil {
		return "", err
	}
	answer, err := l.negotiate(ctx, o)
	if err != nil {
		return "", errors.Join(err, l.pc.GracefulClose())
	}
	p.feed.Lock()
	old := p.line.Swap(l)
	p.receiver.SetKeyType(uint8(l.outlet.keys.Load()))
	p.feed.Unlock()
	p.wait(l, o)
	if old != nil {
		p.sent.Add(old.sender.Sent())
		p.start(func() { _ = old.pc.GracefulClose() })
	}
	return answer, nil
}

// wait begins the time in which the connection has to come up. One that never was away is not waited for.
func (p *Peer) wait(l *line, o offer) {
	now := p.peers.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	l.offer, p.lost = o, false
	if l.pc.ConnectionState() == webrtc.PeerConnectionStateConnected {
		l.up.Store(true)
		p.away = time.Time{}
		p.cameUp()
	} else {
		p.away = now
	}
	p.receiver.Expect(o.sends && p.away.IsZero(), now)
}

// stateOf is told by the library what becomes of a connection.
func (p *Peer) stateOf(l *line, s webrtc.PeerConnectionState) {
	now := p.peers.cfg.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.lost || p.line.Load() != l {
		return
	}
	switch s {
	case webrtc.PeerConnectionStateConnected:
		l.up.Store(true)
		p.away = time.Time{}
		p.receiver.Expect(l.offer.sends, now)
		p.cameUp()
	case webrtc.PeerConnectionStateConnecting, webrtc.PeerConnectionStateDisconnected:
		if p.away.IsZero() {
			p.away = now
		}
		p.receiver.Expect(false, now)
	case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
		p.goneLost(now)
	}
}

func (p *Peer) cameUp() {
	if !p.up {
		p.up = true
		p.receiver.Notify(media.Notice{Kind: media.NoticeUp})
	}
}

// goneLost tells once that the connection is gone.
func (p *Peer) goneLost(now time.Time) {
	if p.lost {
		return
	}
	p.lost, p.up = true, false
	p.receiver.Expect(false, now)
	p.receiver.Notify(media.Notice{Kind: media.NoticeLost})
}

// keepTime watches for silence and for a connection that stays away.
func (p *Peer) keepTime() {
	tick := time.NewTicker(min(p.receiver.WatchEvery(), max(p.peers.cfg.LostAfter/8, 20*time.Millisecond)))
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		now := p.peers.cfg.Now()
		p.receiver.Watch(now)
		p.mu.Lock()
		if !p.away.IsZero() && now.Sub(p.away) >= p.peers.cfg.LostAfter {
			p.goneLost(now)
		}
		p.mu.Unlock()
	}
}

// take takes a packet of a connection, if it is the leg's.
func (p *Peer) take(l *line, h media.Header, payload []byte) {
	now := p.peers.cfg.Now()
	p.feed.Lock()
	defer p.feed.Unlock()
	if p.line.Load() == l {
		p.receiver.Take(h, payload, now)
	}
}

// Write sends a packet to the browser, once the connection stands.
func (p *Peer) Write(pk *media.Packet) {
	if l := p.line.Load(); l != nil && l.up.Load() {
		l.sender.Write(pk)
	}
}

// Codec is the one that was pinned.
func (p *Peer) Codec() media.Codec {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.codec
}

func (p *Peer) setCodec(c media.Codec) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codec = c
}

// Forward says where the browser's sound goes from now on. It must not be called from within a sink.
func (p *Peer) Forward(to media.Sink) { p.receiver.Forward(to) }

// Notices tells what happened.
func (p *Peer) Notices() <-chan media.Notice { return p.receiver.Notices() }

// Stats is what was received and sent.
func (p *Peer) Stats() media.Stats {
	s := p.receiver.Stats()
	s.Sent = p.sent.Load()
	if l := p.line.Load(); l != nil {
		s.Sent += l.sender.Sent()
	}
	return s
}

func (p *Peer) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// Close ends the connection and every goroutine of it. It must not be called from within a sink.
func (p *Peer) Close() error {
	p.once.Do(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		close(p.done)
		p.negotiating.Lock() // an offer that is being answered ends first
		defer p.negotiating.Unlock()
		if l := p.line.Load(); l != nil {
			p.err = l.pc.GracefulClose()
		}
		p.tasks.Wait()
		p.receiver.Close()
		p.peers.forget(p)
	})
	return p.err
}
