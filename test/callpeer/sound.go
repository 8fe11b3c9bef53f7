package main

import (
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/zaf/g711"
)

// ear is what came in: sound in the order of its timestamps, what is missing as silence, and keys. A new source goes on
// where the last one ended.
type ear struct {
	pcm     []int16
	first   uint32
	place   int
	source  uint32
	started bool
	packets int
	keys    []byte
	key     uint32
	keyed   bool
}

// listen takes in all that comes, of both payload types.
func (p *peer) listen(t *webrtc.TrackRemote) {
	for {
		packet, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.ear.take(packet)
		p.mu.Unlock()
	}
}

func (e *ear) take(p *rtp.Packet) {
	e.packets++
	switch p.PayloadType {
	case 0, 8:
		e.sound(p)
	default:
		const names = "0123456789*#ABCD"
		if len(p.Payload) == 4 && int(p.Payload[0]) < len(names) && (!e.keyed || e.key != p.Timestamp) {
			e.keyed, e.key = true, p.Timestamp
			e.keys = append(e.keys, names[p.Payload[0]])
		}
	}
}

func (e *ear) sound(p *rtp.Packet) {
	if !e.started || e.source != p.SSRC {
		e.started, e.source, e.first, e.place = true, p.SSRC, p.Timestamp, len(e.pcm)
	}
	at := e.place + int(int32(p.Timestamp-e.first))
	if at < 0 || at > len(e.pcm)+10*60*8000 {
		return
	}
	if missing := at + len(p.Payload) - len(e.pcm); missing > 0 {
		e.pcm = append(e.pcm, make([]int16, missing)...)
	}
	for n, b := range p.Payload {
		if p.PayloadType == 8 {
			e.pcm[at+n] = g711.DecodeAlawFrame(b)
		} else {
			e.pcm[at+n] = g711.DecodeUlawFrame(b)
		}
	}
}

// speak sends the wave every 20 ms, and catches up where the machine was busy.
func (p *peer) speak(track *webrtc.TrackLocalStaticRTP, mime string, left <-chan struct{}) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	number, stamp, began := uint16(rand.Uint32()), rand.Uint32(), time.Now()
	for sent := 0; ; {
		select {
		case <-ticker.C:
		case <-left:
			return
		}
		for due := int(time.Since(began) / (20 * time.Millisecond)); sent < due; sent++ {
			pcm, payload := make([]int16, 160), make([]byte, 160)
			p.mu.Lock()
			p.wave.Next(pcm)
			p.mu.Unlock()
			for n, s := range pcm {
				if mime == webrtc.MimeTypePCMA {
					payload[n] = g711.EncodeAlawFrame(s)
				} else {
					payload[n] = g711.EncodeUlawFrame(s)
				}
			}
			if track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: number, Timestamp: stamp, Marker: sent == 0}, Payload: payload}) != nil {
				return
			}
			number++
			stamp += 160
		}
	}
}
