package siptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/zaf/g711"

	"tributary/telephony/siptest/tone"
)

// Codec is a static payload type of RFC 3551.
type Codec uint8

// The two codecs that every peer of ours speaks.
const (
	PCMU Codec = 0
	PCMA Codec = 8
)

// String is the name in SDP.
func (c Codec) String() string {
	if c == PCMA {
		return "PCMA"
	}
	return "PCMU"
}

func (c Codec) encode(s int16) byte {
	if c == PCMA {
		return g711.EncodeAlawFrame(s)
	}
	return g711.EncodeUlawFrame(s)
}

func (c Codec) decode(b byte) int16 {
	if c == PCMA {
		return g711.DecodeAlawFrame(b)
	}
	return g711.DecodeUlawFrame(b)
}

// media is the sound of one call: one socket, a clock that sends every 20 ms, and what came in.
type media struct {
	conn *net.UDPConn
	wg   sync.WaitGroup
	stop chan struct{}
	once sync.Once

	mu       sync.Mutex
	remote   netip.AddrPort
	codec    Codec
	eventOut uint8 // payload type of keys that we send; 0: the far end takes none
	eventIn  uint8 // and of those that come
	open     bool  // sending is agreed and not muted
	started  bool
	wave     tone.Wave
	keys     []*press

	source    uint32
	number    uint16
	timestamp uint32
	marker    bool

	heard    hearing
	sources  map[uint32]*sequence
	stats    Stats
	digits   []byte
	lastKey  uint32
	anyKey   bool
	datagram func(raw []byte) []byte // a test's hand on what is sent; nil: none
}

func newMedia(ip netip.Addr) (*media, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
	if err != nil {
		return nil, fmt.Errorf("open a socket for RTP: %w", err)
	}
	// A busy machine reads late; what was lost here would look as if it was lost on its way.
	if err := conn.SetReadBuffer(1 << 20); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("widen the buffer for RTP: %w", err)
	}
	m := &media{
		conn: conn, stop: make(chan struct{}), sources: map[uint32]*sequence{}, stats: Stats{Types: map[uint8]int{}},
		source: rand.Uint32(), number: uint16(rand.Uint32()), timestamp: rand.Uint32(), marker: true,
		heard: hearing{began: time.Now()},
	}
	m.wg.Go(m.receive)
	return m, nil
}

func (m *media) port() int { return m.conn.LocalAddr().(*net.UDPAddr).Port }

func (m *media) close() {
	m.once.Do(func() {
		close(m.stop)
		_ = m.conn.Close()
	})
	m.wg.Wait()
}

// agree takes over what both sides said, and begins to send.
func (m *media) agree(ours, theirs description, silent bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remote, m.codec, m.eventOut, m.eventIn = theirs.audio, theirs.codec(ours), theirs.event, ours.event
	m.open = !silent && ours.sends() && theirs.receives() && theirs.audio.Port() != 0
	if !m.started {
		m.started = true
		m.wg.Go(m.send)
	}
}

// send keeps the pace: a machine that was busy makes it catch up, so that the far end has every packet.
func (m *media) send() {
	ticker := time.NewTicker(frameTime)
	defer ticker.Stop()
	began := time.Now()
	for sent := 0; ; {
		select {
		case <-m.stop:
			return
		case <-ticker.C:
		}
		for due := int(time.Since(began) / frameTime); sent < due; sent++ {
			m.tick()
		}
	}
}

// tick sends what belongs to the next 20 ms: a part of a key, or sound.
func (m *media) tick() {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.timestamp += frameSize }()
	if !m.open {
		m.marker = true
		return
	}
	if m.key() {
		return
	}
	pcm := make([]int16, frameSize)
	m.wave.Next(pcm)
	payload := make([]byte, frameSize)
	for n, s := range pcm {
		payload[n] = m.codec.encode(s)
	}
	m.packet(uint8(m.codec), m.timestamp, m.marker, payload)
	m.marker = false
}

func (m *media) packet(kind uint8, timestamp uint32, marker bool, payload []byte) {
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: kind, SequenceNumber: m.number, Timestamp: timestamp, SSRC: m.source, Marker: marker}, Payload: payload}
	m.number++
	raw, err := p.Marshal()
	if err != nil {
		return // its parts are all ours; there is nothing that could not be written
	}
	if m.datagram != nil {
		if raw = m.datagram(raw); raw == nil {
			return
		}
	}
	if _, err := m.conn.WriteToUDPAddrPort(raw, m.remote); err == nil {
		m.stats.Sent++
	}
}

func (m *media) receive() {
	raw := make([]byte, 2048)
	for {
		n, _, err := m.conn.ReadFromUDPAddrPort(raw)
		if err != nil {
			select {
			case <-m.stop:
				return
			default: // a port that is closed over there is told to us here
				continue
			}
		}
		m.take(time.Now(), raw[:n])
	}
}

func (m *media) take(at time.Time, raw []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var p rtp.Packet
	if err := p.Unmarshal(raw); err != nil || p.Version != 2 {
		m.stats.Garbage++
		return
	}
	s := m.sources[p.SSRC]
	if s == nil {
		s = &sequence{}
		m.sources[p.SSRC] = s
	}
	repeated, late := s.take(p.SequenceNumber)
	if repeated {
		m.stats.Repeated++
		return
	}
	if late {
		m.stats.Late++
	}
	m.stats.Received++
	m.stats.Types[p.PayloadType]++
	if m.stats.First.IsZero() {
		m.stats.First = at
	}
	m.stats.Last = at
	switch {
	case m.eventIn != 0 && p.PayloadType == m.eventIn:
		m.takeKey(p)
	case p.PayloadType == uint8(PCMU) || p.PayloadType == uint8(PCMA):
		pcm := make([]int16, len(p.Payload))
		for n, b := range p.Payload {
			pcm[n] = Codec(p.PayloadType).decode(b)
		}
		if Codec(p.PayloadType) != m.codec {
			m.stats.Foreign++
		}
		m.heard.put(at, p.SSRC, p.Timestamp, pcm)
	default:
		m.stats.Foreign++
	}
}

// Tone sends a continuous tone from now on; 0 is silence, which is sent as well.
func (m *media) Tone(hz float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wave.Hz = hz
}

// Alter lets a test change or drop (nil) each packet that is sent. It is called in order and must not block.
func (m *media) Alter(f func(raw []byte) []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.datagram = f
}

// Received is the sound of the last while, up to where late packets are no longer waited for (0.2 s ago).
func (m *media) Received(last time.Duration) []int16 {
	to := time.Now().Add(-settle)
	return m.ReceivedBetween(to.Add(-last), to)
}

// ReceivedBetween is the sound between two moments; where nothing came is silence.
func (m *media) ReceivedBetween(from, to time.Time) []int16 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard.between(from, to)
}

// Listen hears for so long from now on.
func (m *media) Listen(ctx context.Context, d time.Duration) ([]int16, error) {
	from := time.Now()
	select {
	case <-time.After(d + settle):
		return m.ReceivedBetween(from, from.Add(d)), nil
	case <-m.stop:
		return nil, ErrEnded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Hears waits until a tone has stood for d without a break since it was called. The error holds what was heard instead.
func (m *media) Hears(ctx context.Context, hz float64, d time.Duration) (tone.Verdict, error) {
	from := time.Now()
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	var v tone.Verdict
	for {
		select {
		case <-ticker.C:
		case <-m.stop:
			return v, fmt.Errorf("%w before the tone stood %s: %s", ErrEnded, d, v)
		case <-ctx.Done():
			return v, fmt.Errorf("the tone did not stand %s: %s: %w", d, v, ctx.Err())
		}
		// What was judged already needs no second look, but for the part that a stretch may reach back.
		to := time.Now().Add(-settle)
		if v = tone.Judge(m.ReceivedBetween(from, to), hz); v.Heard(d.Seconds()) {
			return v, nil
		}
		if back := to.Add(-d - time.Second); back.After(from) {
			from = back
		}
	}
}

// Silent waits until nothing but silence has come for d since it was called.
func (m *media) Silent(ctx context.Context, d time.Duration) error {
	from := time.Now()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-m.stop:
			return ErrEnded
		case <-ctx.Done():
			return fmt.Errorf("it was never silent for %s: %w", d, ctx.Err())
		}
		to := time.Now().Add(-settle)
		if to.Sub(from) < d {
			continue
		}
		if from = to.Add(-d); tone.Judge(m.ReceivedBetween(from, to), 0).Silent == 1 {
			return nil
		}
	}
}

// AwaitPackets waits until so many packets more than now have come.
func (m *media) AwaitPackets(ctx context.Context, n int) error {
	from := m.Stats().Received
	ticker := time.NewTicker(frameTime)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-m.stop:
			return ErrEnded
		case <-ctx.Done():
			return fmt.Errorf("%d of %d packets came: %w", m.Stats().Received-from, n, ctx.Err())
		}
		if m.Stats().Received-from >= n {
			return nil
		}
	}
}
