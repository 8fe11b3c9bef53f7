package media

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// couple makes two ports that have agreed: a offered, b answered.
func couple(t *testing.T, ca, cb Config) (a, b *Port) {
	t.Helper()
	ports := newPorts(t, 4, nil)
	for i, p := range []**Port{&a, &b} {
		got, err := NewPort(ports, []Config{ca, cb}[i])
		if err != nil {
			t.Fatal(err)
		}
		*p = got
		t.Cleanup(func() {
			if err := got.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	agree(t, a, b, a.Offer())
	return a, b
}

func agree(t *testing.T, a, b *Port, offer []byte) (answer []byte) {
	t.Helper()
	answer, err := b.Answer(offer)
	if err != nil {
		t.Fatalf("%v\n%s", err, offer)
	}
	if err := a.Accept(answer); err != nil {
		t.Fatalf("%v\n%s", err, answer)
	}
	return answer
}

var elsewhere = []float64{300, 600, 880, 1000, 1320, 2000, 3000}

func TestPortCarriesATone(t *testing.T) {
	a, b := couple(t, Config{Prefer: PCMA}, Config{})
	if a.Codec() != PCMA || b.Codec() != PCMA {
		t.Fatalf("codecs %d and %d", a.Codec(), b.Codec())
	}
	e, back := newEar(), newEar()
	b.Forward(e)
	a.Forward(back)
	play(t, a, tone(440, 1))
	play(t, b, tone(1000, 1))
	notice(t, b, NoticeUp)
	notice(t, a, NoticeUp)
	e.until(t, "a second of sound", func() bool { return len(e.heard()) >= rate })
	back.until(t, "a second back", func() bool { return len(back.heard()) >= rate })
	if db := clear(e.heard()[:rate], 440, elsewhere...); db < 20 {
		t.Errorf("440 Hz stands %.1f dB over the rest", db)
	}
	if db := clear(back.heard()[:rate], 1000, 440, 600, 2000, 3000); db < 20 {
		t.Errorf("1000 Hz stands %.1f dB over the rest", db)
	}
	if s := b.Stats(); s.Received < 50 || s.Lost != 0 || s.Dropped != 0 || s.Sent < 50 {
		t.Errorf("stats %+v", s)
	}
}

func TestPortTranscodes(t *testing.T) {
	a, b := couple(t, Config{Prefer: PCMU}, Config{})
	e := newEar()
	b.Forward(e)
	c := tone(440, 1)
	go func() {
		p := Packet{Codec: PCMA, Payload: c.pcma[:frameSamples], Source: 7, Sequence: 1}
		a.Write(&p)
	}()
	e.until(t, "a packet", func() bool { return len(e.got()) == 1 })
	got := e.got()[0]
	want := make([]byte, frameSamples)
	transcode(want, c.pcma[:frameSamples], PCMA, PCMU)
	if got.Codec != PCMU || !bytes.Equal(got.Payload, want) {
		t.Errorf("codec %d, payload %x", got.Codec, got.Payload[:8])
	}
}

func TestPortHoldsAndResumes(t *testing.T) {
	a, b := couple(t, Config{}, Config{})
	e := newEar()
	a.Forward(e)
	play(t, b, tone(440, 1))
	e.until(t, "sound", func() bool { return len(e.heard()) > 0 })

	first := string(a.HoldOffer(true))
	answer := agree(t, a, b, []byte(first))
	if !strings.Contains(first, "a=sendonly") || !strings.Contains(string(answer), "a=recvonly") {
		t.Errorf("offer and answer of a hold:\n%s\n%s", first, answer)
	}
	if !b.RemoteHolds() || a.RemoteHolds() {
		t.Errorf("b held: %t, a held: %t", b.RemoteHolds(), a.RemoteHolds())
	}
	sent := b.Stats().Sent
	for i := range uint16(10) {
		b.Write(&Packet{Codec: PCMA, Payload: make([]byte, frameSamples), Source: 9, Sequence: i, Timestamp: uint32(i) * frameSamples})
	}
	// One packet of the music may have been on its way.
	if now := b.Stats().Sent; now > sent+1 {
		t.Errorf("a held leg sent %d packets", now-sent)
	}
	// The music of who holds is still heard.
	music := newEar()
	b.Forward(music)
	play(t, a, tone(1000, 1))
	music.until(t, "music", func() bool { return len(music.heard()) >= rate/2 })

	second := string(a.HoldOffer(false))
	answer = agree(t, a, b, []byte(second))
	if !strings.Contains(second, "a=sendrecv") || !strings.Contains(string(answer), "a=sendrecv") {
		t.Errorf("offer and answer of a resumption:\n%s\n%s", second, answer)
	}
	if b.RemoteHolds() {
		t.Error("b is still held")
	}
	before := len(e.heard())
	e.until(t, "sound after the hold", func() bool { return len(e.heard()) > before+10*frameSamples })
	if v1, v2 := version(t, first), version(t, second); v2 != v1+1 {
		t.Errorf("versions %d and %d", v1, v2)
	}
}

func TestPortDropsInjectedSound(t *testing.T) {
	a, b := couple(t, Config{}, Config{})
	e := newEar()
	b.Forward(e)
	play(t, a, tone(440, 1))
	e.until(t, "sound", func() bool { return len(e.got()) > 5 })

	injector, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer injector.Close()
	raw := make([]byte, headerSize+frameSamples)
	Header{PayloadType: uint8(PCMA), SSRC: 0xbad, Sequence: 1}.put(raw)
	for range 20 {
		if _, err := injector.WriteToUDPAddrPort(raw, netip.AddrPortFrom(loopback, b.pair.port)); err != nil {
			t.Fatal(err)
		}
	}
	n := len(e.got())
	e.until(t, "more sound", func() bool { return len(e.got()) > n+10 })
	for _, p := range e.got() {
		if uint32(p.Source) == 0xbad {
			t.Fatal("injected sound was heard")
		}
	}
	if d := b.Stats().Dropped; d != 20 {
		t.Errorf("%d dropped", d)
	}
}

func TestPortFollowsANATOnlyAtFirst(t *testing.T) {
	c := newClock()
	for _, nat := range []bool{true, false} {
		l := latch{nat: nat}
		said, real, other := netip.MustParseAddrPort("10.0.0.1:4000"), netip.MustParseAddrPort("203.0.113.9:50000"), netip.MustParseAddrPort("203.0.113.66:6")
		l.set(said, c.now())
		if ok, moved := l.admit(real, c.now()); ok != nat || moved != nat {
			t.Errorf("nat %t: the translated address: %t, %t", nat, ok, moved)
		}
		for range latchPackets {
			l.admit(real, c.now())
		}
		if ok, _ := l.admit(other, c.now()); ok {
			t.Errorf("nat %t: a stranger after %d packets", nat, latchPackets)
		}
		if ok, _ := l.admit(real, c.now()); ok != nat {
			t.Errorf("nat %t: the translated address later: %t", nat, ok)
		}
		// A negotiation that changes nothing of a running stream opens nothing.
		if nat {
			l.set(said, c.now())
			if ok, _ := l.admit(other, c.now()); ok {
				t.Error("a stranger after an empty negotiation")
			}
		}
		moved := netip.MustParseAddrPort("10.0.0.1:4100")
		l.set(moved, c.now())
		if ok, _ := l.admit(netip.MustParseAddrPort("10.0.0.1:4102"), c.now()); !ok {
			t.Errorf("nat %t: another port of the host that was named", nat)
		}
		c.turn(latchTime + time.Second)
		if ok, _ := l.admit(other, c.now()); ok {
			t.Errorf("nat %t: a stranger after %s", nat, latchTime)
		}
	}
}

func TestPortKeysBothWays(t *testing.T) {
	a, b := couple(t, Config{}, Config{})
	e := newEar()
	b.Forward(e)
	a.Forward(newEar())
	play(t, a, tone(440, 1))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := SendDigits(ctx, a, "1*#D"); err != nil {
		t.Fatal(err)
	}
	if err := SendDigits(ctx, b, "42"); err != nil {
		t.Fatal(err)
	}
	for _, want := range "1*#D" {
		if n := notice(t, b, NoticeDigit); n.Digit != byte(want) {
			t.Errorf("heard %q, not %q", n.Digit, want)
		}
	}
	for _, want := range "42" {
		if n := notice(t, a, NoticeDigit); n.Digit != byte(want) {
			t.Errorf("heard %q, not %q", n.Digit, want)
		}
	}
	ends, stamps := 0, map[uint32]byte{}
	e.until(t, "the last end", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.keys) > 0 && e.keys[len(e.keys)-1].Digit == 'D' && e.keys[len(e.keys)-1].End
	})
	for _, p := range e.got() {
		if p.Key == nil {
			continue
		}
		if p.Key.End {
			ends++
		}
		if d, ok := stamps[p.Timestamp]; ok && d != p.Key.Digit {
			t.Errorf("two keys with the timestamp %d", p.Timestamp)
		}
		stamps[p.Timestamp] = p.Key.Digit
	}
	if len(stamps) != 4 || ends < 4*keyEnds-2 || ends > 4*keyEnds {
		t.Errorf("%d timestamps, %d ends", len(stamps), ends)
	}
	if err := SendDigits(ctx, a, "1x"); err == nil {
		t.Error("x was pressed")
	}
}

func TestPortTellsSilence(t *testing.T) {
	a, b := couple(t, Config{}, Config{SilentAfter: 300 * time.Millisecond})
	stop := play(t, a, tone(440, 1))
	notice(t, b, NoticeUp)
	stop()
	notice(t, b, NoticeSilent)
	play(t, a, tone(440, 1))
	notice(t, b, NoticeHeard)
}

func TestPortHeldIsNotSilent(t *testing.T) {
	c := newClock()
	r := NewReceiver(0, time.Second, c.now())
	defer r.Close()
	r.Expect(true, c.now())
	r.Expect(false, c.now())
	c.turn(time.Minute)
	r.Watch(c.now())
	select {
	case n := <-r.Notices():
		t.Fatalf("%+v of a held leg", n)
	default:
	}
	// The wait begins anew with the resumption.
	r.Expect(true, c.now())
	c.turn(900 * time.Millisecond)
	r.Watch(c.now())
	if len(r.Notices()) != 0 {
		t.Fatal("silent before its time")
	}
	c.turn(100 * time.Millisecond)
	r.Watch(c.now())
	if n := <-r.Notices(); n.Kind != NoticeSilent {
		t.Fatalf("%+v", n)
	}
}

func TestPortReports(t *testing.T) {
	a, b := couple(t, Config{}, Config{})
	e := newEar()
	b.Forward(e)
	play(t, a, tone(440, 1))
	e.until(t, "sound", func() bool { return len(e.got()) > 3 })
	a.sendReport()
	waitFor(t, "a report", func() bool {
		b.reports.mu.Lock()
		defer b.reports.mu.Unlock()
		return b.reports.came > 0 && b.reports.last != 0
	})
	blocks := b.receiver.report()
	if len(blocks) != 1 || blocks[0].SSRC != a.outlet.ssrc.Load() || blocks[0].TotalLost != 0 {
		t.Errorf("%+v", blocks)
	}
}

func TestReportIsReadable(t *testing.T) {
	ports := newPorts(t, 1, nil)
	p, err := NewPort(ports, Config{})
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	p.reports.aim(far.LocalAddr().(*net.UDPAddr).AddrPort())
	p.outlet.aim(far.LocalAddr().(*net.UDPAddr).AddrPort())
	p.sender.Write(&Packet{Codec: PCMA, Payload: make([]byte, frameSamples), Source: 1})
	p.sendReport()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	buf := make([]byte, datagram)
	_ = far.SetReadDeadline(time.Now().Add(patience))
	for len(kinds) < 5 {
		n, err := far.Read(buf)
		if err != nil {
			t.Fatalf("%v after %v", err, kinds)
		}
		if buf[1] < 200 {
			continue
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		for _, pk := range packets {
			switch pk := pk.(type) {
			case *rtcp.SenderReport:
				kinds = append(kinds, "SR")
				if pk.PacketCount != 1 || pk.OctetCount != frameSamples {
					t.Errorf("%+v", pk)
				}
			case *rtcp.ReceiverReport:
				kinds = append(kinds, "RR")
			case *rtcp.SourceDescription:
				kinds = append(kinds, "SDES")
			case *rtcp.Goodbye:
				kinds = append(kinds, "BYE")
			}
		}
	}
	if got := strings.Join(kinds, " "); got != "SR SDES RR SDES BYE" {
		t.Errorf("%s", got)
	}
}

func TestPortSSRCCollision(t *testing.T) {
	a, b := couple(t, Config{}, Config{})
	e := newEar()
	b.Forward(e)
	play(t, b, tone(440, 1))
	waitFor(t, "b to send", func() bool { return b.Stats().Sent > 2 })
	mine := b.outlet.ssrc.Load()
	b.sender.mu.Lock()
	sent := b.sender.sequence
	b.sender.mu.Unlock()
	raw := make([]byte, headerSize+frameSamples)
	to := netip.AddrPortFrom(loopback, b.pair.port)
	// An echo of our own packet is heard and changes nothing.
	Header{PayloadType: uint8(PCMA), SSRC: mine, Sequence: sent}.put(raw)
	_, _ = a.pair.rtp.WriteToUDPAddrPort(raw, to)
	e.until(t, "the echo", func() bool { return len(e.got()) == 1 })
	if b.outlet.ssrc.Load() != mine {
		t.Error("an echo changed the SSRC")
	}
	Header{PayloadType: uint8(PCMA), SSRC: mine, Sequence: sent + 20000}.put(raw)
	_, _ = a.pair.rtp.WriteToUDPAddrPort(raw, to)
	e.until(t, "the stranger", func() bool { return len(e.got()) == 2 })
	if b.outlet.ssrc.Load() == mine {
		t.Error("two senders keep one SSRC")
	}
}

// gate is a sink that is stuck in Write until it is opened.
type gate struct {
	entered, open chan struct{}
}

func (g gate) Write(*Packet) {
	g.entered <- struct{}{}
	<-g.open
}

// TestForwardEndsTheSinkBefore: Forward does not return while the sink before is still being written to.
func TestForwardEndsTheSinkBefore(t *testing.T) {
	c := newClock()
	r := NewReceiver(0, 0, c.now())
	g := gate{make(chan struct{}), make(chan struct{})}
	r.Forward(g)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { r.Take(Header{PayloadType: 8, SSRC: 1}, make([]byte, frameSamples), c.now()) })
	<-g.entered
	second, returned := newEar(), make(chan struct{})
	tasks.Go(func() {
		r.Forward(second)
		close(returned)
	})
	select {
	case <-returned:
		t.Error("it returned while the sink before was written to")
	case <-time.After(200 * time.Millisecond):
	}
	close(g.open)
	<-returned
	r.Take(Header{PayloadType: 8, SSRC: 1, Sequence: 1}, make([]byte, frameSamples), c.now())
	if len(second.got()) != 1 {
		t.Errorf("the new sink got %d", len(second.got()))
	}
}

func TestPortIgnoresNoise(t *testing.T) {
	a, b := couple(t, Config{}, Config{})
	to := netip.AddrPortFrom(loopback, b.pair.port)
	e := newEar()
	b.Forward(e)
	cn := make([]byte, headerSize+1)
	Header{PayloadType: 13, SSRC: 5, Sequence: 1}.put(cn)
	for _, raw := range [][]byte{{}, {0x80}, []byte("INVITE sip:a@b SIP/2.0"), cn, append([]byte{0x9f, 8}, make([]byte, 20)...)} {
		if _, err := a.pair.rtp.WriteToUDPAddrPort(raw, to); err != nil {
			t.Fatal(err)
		}
	}
	play(t, a, tone(440, 1))
	e.until(t, "sound", func() bool { return len(e.got()) > 3 })
	if s := b.Stats(); s.Dropped != 4 {
		t.Errorf("stats %+v", s)
	}
	if e.got()[0].Codec != b.Codec() || len(e.got()[0].Payload) != frameSamples {
		t.Errorf("%+v", e.got()[0])
	}
}

// waitFor polls for what no channel tells.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: did not happen within %s", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
