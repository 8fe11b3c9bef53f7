package browser

import (
	"context"
	"testing"
	"time"

	"tributary/telephony/media"
)

// BenchmarkForward measures one packet of G.711 from a receiver through a browser's leg: rewriting, encryption and the
// system call.
func BenchmarkForward(b *testing.B) {
	peers, err := NewPeers(Config{IP: loopback})
	if err != nil {
		b.Fatal(err)
	}
	defer peers.Close()
	page := newClient(b, clientConfig{})
	defer page.close()
	p, answer, err := peers.Answer(context.Background(), page.offer(b, false), media.PCMU)
	if err != nil {
		b.Fatal(err)
	}
	page.accept(b, answer)
	notice(b, p, media.NoticeUp)
	r := media.NewReceiver(0, 0, time.Now())
	r.Forward(p)
	h, sound := media.Header{SSRC: 1}, make([]byte, 160)
	b.ReportAllocs()
	for b.Loop() {
		h.Sequence++
		h.Timestamp += 160
		r.Take(h, sound, time.Now())
	}
}
