package media

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// reportEvery is the interval of RTCP (RFC 3550 section 6.2: 5 s is the least for a call of two).
const reportEvery = 5 * time.Second

// reports is the RTCP of a leg.
type reports struct {
	name string

	mu     sync.Mutex
	remote netip.AddrPort
	came   int64
	// The middle of the far end's last sender report, and when it came (RFC 3550 section 6.4.1).
	last   uint32
	lastAt time.Time
	sentOf uint32 // packets sent at our last report
}

// reportName is a CNAME as RFC 7022 wants it: random, and the same for the whole call.
func reportName() string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], NewSource())
	return hex.EncodeToString(b[:])
}

func (r *reports) aim(to netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remote = to
}

// take counts a report and answers from then on where it came from. It is false for what is no RTCP.
func (r *reports) take(b []byte, from netip.AddrPort, now time.Time) bool {
	if len(b) < 8 || b[0]>>6 != 2 || b[1] < 200 || b[1] > 207 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.came++
	r.remote = from
	if b[1] == 200 && len(b) >= 28 {
		r.last, r.lastAt = binary.BigEndian.Uint32(b[10:]), now
	}
	return true
}

// sendReport sends a sender report, or a receiver report when nothing went out since the last one.
func (p *Port) sendReport() {
	now := p.cfg.Now()
	stamp, packets, octets := p.sender.progress(now)
	blocks := p.receiver.report()
	r := &p.reports
	r.mu.Lock()
	to, name, sends := r.remote, r.name, packets != r.sentOf
	r.sentOf = packets
	if len(blocks) > 0 && !r.lastAt.IsZero() {
		blocks[0].LastSenderReport = r.last
		blocks[0].Delay = uint32(now.Sub(r.lastAt) * 65536 / time.Second)
	}
	r.mu.Unlock()
	if !to.IsValid() {
		return
	}
	ssrc := p.outlet.ssrc.Load()
	var first rtcp.Packet = &rtcp.ReceiverReport{SSRC: ssrc, Reports: blocks}
	if sends {
		first = &rtcp.SenderReport{
			SSRC: ssrc, NTPTime: networkTime(now), RTPTime: stamp, PacketCount: packets, OctetCount: octets, Reports: blocks,
		}
	}
	p.sendRTCP(to, first, description(ssrc, name))
}

// sayBye ends an SSRC (RFC 3550 section 6.6).
func (p *Port) sayBye(ssrc uint32) {
	p.reports.mu.Lock()
	to, name := p.reports.remote, p.reports.name
	p.reports.mu.Unlock()
	if to.IsValid() {
		p.sendRTCP(to, &rtcp.ReceiverReport{SSRC: ssrc}, description(ssrc, name), &rtcp.Goodbye{Sources: []uint32{ssrc}})
	}
}

func (p *Port) sendRTCP(to netip.AddrPort, packets ...rtcp.Packet) {
	b, err := rtcp.Marshal(packets)
	if err != nil {
		return
	}
	_, _ = p.pair.rtcp.WriteToUDPAddrPort(b, to)
}

func description(ssrc uint32, name string) rtcp.Packet {
	return &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: name}},
	}}}
}

// networkTime is the clock since 1900 in 32.32 bits (RFC 3550 section 4).
func networkTime(t time.Time) uint64 {
	const from1900 = 2208988800
	seconds, part := uint64(t.Unix()+from1900), uint64(t.Nanosecond())
	return seconds<<32 | part<<32/uint64(time.Second)
}

// report is the block of RFC 3550 section 6.4.1 on the stream that comes, if one does.
func (r *Receiver) report() []rtcp.ReceptionReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &r.tally
	if !t.known {
		return nil
	}
	expected, came := t.expected()-t.toldExpected, t.came-t.toldCame
	t.toldExpected, t.toldCame = t.expected(), t.came
	fraction := uint8(0)
	if lost := expected - came; lost > 0 && expected > 0 {
		fraction = uint8(min(lost<<8/expected, 255))
	}
	return []rtcp.ReceptionReport{{
		SSRC: t.ssrc, FractionLost: fraction, TotalLost: uint32(min(max(t.expected()-t.came, 0), 0x7fffff)),
		LastSequenceNumber: uint32(t.highest), Jitter: uint32(t.jitter >> 4),
	}}
}
