package tone_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/zaf/g711"

	"tributary/telephony/siptest/tone"
)

func add(pcm ...[]int16) []int16 {
	out := make([]int16, len(pcm[0]))
	for _, p := range pcm {
		for n, s := range p {
			out[n] += s
		}
	}
	return out
}

func noise(d time.Duration, amplitude int) []int16 {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]int16, int(d.Seconds()*tone.Rate))
	for n := range out {
		out[n] = int16(r.IntN(2*amplitude) - amplitude)
	}
	return out
}

// lossy makes the sound go through G.711, as all calls do.
func lossy(pcm []int16) []int16 {
	out := make([]int16, len(pcm))
	for n, s := range pcm {
		out[n] = g711.DecodeAlawFrame(g711.EncodeAlawFrame(s))
	}
	return out
}

func between(t *testing.T, what string, v tone.Verdict, got, low, high float64) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s is %.2f, not in %.2f to %.2f: %s", what, got, low, high, v)
	}
}

func TestPureTones(t *testing.T) {
	for _, hz := range []float64{150, 425, 440, 660, 1004.5, 3300} {
		v := tone.Judge(lossy(tone.Make(hz, 3*time.Second)), hz)
		between(t, "level", v, v.Level, 30, 100)
		between(t, "longest", v, v.Longest, 2.98, 3)
		between(t, "silent", v, v.Silent, 0, 0)
		between(t, "strongest", v, v.Strongest, hz-5, hz+5)
	}
}

func TestWrongToneIsNotHeard(t *testing.T) {
	for _, hz := range []float64{480, 660, 880, 220} {
		v := tone.Judge(lossy(tone.Make(hz, 3*time.Second)), 440)
		between(t, "level", v, v.Level, -200, 0)
		between(t, "longest", v, v.Longest, 0, 0)
	}
}

func TestToneInNoise(t *testing.T) {
	const d = 3 * time.Second
	v := tone.Judge(add(tone.Make(440, d), noise(d, 1500)), 440)
	between(t, "little noise: longest", v, v.Longest, 2.98, 3)
	v = tone.Judge(add(tone.Make(440, d), noise(d, 20000)), 440)
	between(t, "much noise: level", v, v.Level, -10, tone.Clear)
	between(t, "much noise: longest", v, v.Longest, 0, 0.5)
	v = tone.Judge(noise(d, 8000), 440)
	between(t, "noise alone: longest", v, v.Longest, 0, 0)
}

func TestGapsBreakAStretch(t *testing.T) {
	pcm := tone.Make(440, 4*time.Second)
	clear(pcm[3*tone.Rate : 3*tone.Rate+160]) // one packet
	v := tone.Judge(pcm, 440)
	between(t, "longest", v, v.Longest, 2.98, 3)
	between(t, "silent", v, v.Silent, 0.004, 0.006)
	for at := 0; at < len(pcm); at += 1600 { // every tenth packet
		clear(pcm[at : at+160])
	}
	v = tone.Judge(pcm, 440)
	between(t, "many gaps: longest", v, v.Longest, 0, 0)
	between(t, "many gaps: silent", v, v.Silent, 0.09, 0.11)
	v = tone.Judge(append(make([]int16, 2*tone.Rate), tone.Make(440, time.Second)...), 440)
	between(t, "late: longest", v, v.Longest, 0.98, 1)
	between(t, "late: silent", v, v.Silent, 0.66, 0.67)
}

func TestSilence(t *testing.T) {
	for name, pcm := range map[string][]int16{"nothing": nil, "zeros": make([]int16, 2*tone.Rate), "a whisper": noise(2*time.Second, 20), "an A-law zero": lossy(make([]int16, 2*tone.Rate))} {
		v := tone.Judge(pcm, 440)
		between(t, name+": silent", v, v.Silent, 1, 1)
		between(t, name+": longest", v, v.Longest, 0, 0)
		between(t, name+": level", v, v.Level, 0, 0)
	}
}

func TestKeysOverATone(t *testing.T) {
	pcm := tone.Make(440, 4*time.Second)
	for n, s := range add(tone.Make(697, 200*time.Millisecond), tone.Make(1209, 200*time.Millisecond)) {
		pcm[2*tone.Rate+n] += s
	}
	v := tone.Judge(pcm, 440)
	between(t, "longest", v, v.Longest, 1.8, 2.05)
	between(t, "level", v, v.Level, 30, 200)
}

func TestPhaseJumpsAreHeard(t *testing.T) {
	var pcm []int16
	for range 50 { // each piece begins anew, as a loop that is cut badly
		pcm = append(pcm, tone.Make(440, 63*time.Millisecond)...)
	}
	v := tone.Judge(pcm, 440)
	between(t, "longest", v, v.Longest, 0, 0.3)
}

func wav(tag, channels, bits uint16, data []byte) []byte {
	b := append([]byte("RIFF\x00\x00\x00\x00WAVE"), "LIST\x03\x00\x00\x00abc\x00fmt \x10\x00\x00\x00"...)
	b = binary.LittleEndian.AppendUint16(b, tag)
	b = binary.LittleEndian.AppendUint16(b, channels)
	b = binary.LittleEndian.AppendUint32(b, tone.Rate)
	b = binary.LittleEndian.AppendUint32(b, uint32(tone.Rate*channels*bits/8))
	b = binary.LittleEndian.AppendUint16(b, channels*bits/8)
	b = binary.LittleEndian.AppendUint16(b, bits)
	b = binary.LittleEndian.AppendUint32(append(b, "data"...), uint32(len(data)))
	return append(b, data...)
}

func TestReadWAV(t *testing.T) {
	left, right := tone.Make(440, 2*time.Second), tone.Make(660, 2*time.Second)
	var pcm []byte
	for n := range left {
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(left[n]))
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(right[n]))
	}
	for name, file := range map[string][]byte{
		"PCM": wav(1, 2, 16, pcm), "A-law": wav(6, 2, 8, g711.EncodeAlaw(pcm)), "mu-law": wav(7, 2, 8, g711.EncodeUlaw(pcm)),
	} {
		s, err := tone.ReadWAV(bytes.NewReader(file))
		if err != nil {
			t.Fatal(name, err)
		}
		if s.Rate != tone.Rate || len(s.Channels) != 2 {
			t.Fatal(name, s.Rate, len(s.Channels))
		}
		for n, hz := range []float64{440, 660} {
			v := tone.Judge(s.Channels[n], hz)
			between(t, name+": longest", v, v.Longest, 1.98, 2)
		}
		if _, err := tone.ReadWAV(bytes.NewReader(file[:len(file)-100])); err == nil {
			t.Error(name, "cut off, and nobody noticed")
		}
	}
	for name, file := range map[string][]byte{"empty": nil, "text": []byte("RIFF but nothing else here"), "24 bits": wav(1, 1, 24, pcm), "odd": wav(1, 2, 16, pcm[:6])} {
		if _, err := tone.ReadWAV(bytes.NewReader(file)); err == nil {
			t.Error(name, "was read")
		}
	}
}
