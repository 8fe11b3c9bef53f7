package sip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/pion/rtp"
	"github.com/zaf/g711"

	"tributary/telephony/siptest/tone"
)

// Stream is what a sipp scenario sends as one RTP source: pieces one after the other, 20 ms a packet.
type Stream struct {
	packets []timed
	at      time.Duration
	number  uint16
	stamp   uint32
	source  uint32
	wave    tone.Wave
}

type timed struct {
	at  time.Duration
	raw []byte
}

// eventType is the payload type of keys in all scenarios.
const eventType = 101

// NewStream begins an empty stream.
func NewStream() *Stream { return &Stream{source: 0x51bb51bb, stamp: 8000, number: 100} }

// Tone adds a tone in A-law; 0 Hz is silence.
func (s *Stream) Tone(hz float64, d time.Duration) *Stream {
	s.wave.Hz = hz
	for range int(d / (20 * time.Millisecond)) {
		pcm := make([]int16, 160)
		s.wave.Next(pcm)
		payload := make([]byte, len(pcm))
		for n, v := range pcm {
			payload[n] = g711.EncodeAlawFrame(v)
		}
		s.add(8, s.stamp, len(s.packets) == 0, payload)
		s.step()
	}
	return s
}

// Keys adds keys by RFC 4733: 100 ms each, the end told three times, 80 ms of silence behind.
func (s *Stream) Keys(keys string) *Stream {
	for _, key := range []byte(keys) {
		code := bytes.IndexByte([]byte("0123456789*#ABCD"), key)
		began := s.stamp
		for n := 1; n <= 5; n++ {
			payload := []byte{byte(code), 10, byte(n * 160 >> 8), byte(n * 160)}
			times := 1
			if n == 5 {
				payload[1] |= 0x80
				times = 3
			}
			for range times {
				s.add(eventType, began, n == 1, payload)
			}
			s.step()
		}
		s.Tone(0, 80*time.Millisecond)
	}
	return s
}

func (s *Stream) step() {
	s.at += 20 * time.Millisecond
	s.stamp += 160
}

func (s *Stream) add(kind uint8, stamp uint32, marker bool, payload []byte) {
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: kind, SequenceNumber: s.number, Timestamp: stamp, SSRC: s.source, Marker: marker}, Payload: payload}
	s.number++
	raw, err := p.Marshal()
	if err != nil {
		panic(err) // all its parts are ours
	}
	s.packets = append(s.packets, timed{s.at, raw})
}

// Length is how long it takes to send.
func (s *Stream) Length() time.Duration { return s.at }

// Cut writes what was added since the last cut into a capture file (https://wiki.wireshark.org/Development/LibpcapFileFormat)
// that sipp plays. The source goes on in the next piece.
func (s *Stream) Cut(path string) error {
	var b bytes.Buffer
	for _, v := range []any{uint32(0xa1b2c3d4), uint16(2), uint16(4), uint32(0), uint32(0), uint32(65535), uint32(1)} {
		_ = binary.Write(&b, binary.LittleEndian, v) // a buffer takes everything
	}
	for _, p := range s.packets {
		frame := ethernet(p.raw)
		at := p.at - s.packets[0].at
		for _, v := range []uint32{uint32(at / time.Second), uint32(at % time.Second / time.Microsecond), uint32(len(frame)), uint32(len(frame))} {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
		b.Write(frame)
	}
	s.packets = nil
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write a capture: %w", err)
	}
	return nil
}

// ethernet wraps a datagram in UDP, IPv4 and Ethernet; sipp puts its own addresses and sums into them.
func ethernet(payload []byte) []byte {
	b := make([]byte, 14+20+8, 14+20+8+len(payload))
	binary.BigEndian.PutUint16(b[12:], 0x0800)
	ip, udp := b[14:34], b[34:42]
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
	copy(ip[12:], []byte{127, 0, 0, 1, 127, 0, 0, 1})
	binary.BigEndian.PutUint16(udp, 6000)
	binary.BigEndian.PutUint16(udp[2:], 6000)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(payload)))
	return append(b, payload...)
}
