package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"tributary/channels/voice"
)

// wavOf makes a WAV file with another chunk before its samples, as editors write them.
func wavOf(format, channels, hertz, bits int, data []byte) []byte {
	le := binary.LittleEndian
	b := append([]byte("RIFF\x00\x00\x00\x00WAVELIST\x03\x00\x00\x00abc\x00fmt "), 16, 0, 0, 0)
	b = le.AppendUint16(b, uint16(format))
	b = le.AppendUint16(b, uint16(channels))
	b = le.AppendUint32(b, uint32(hertz))
	b = le.AppendUint32(b, uint32(hertz*channels*bits/8))
	b = le.AppendUint16(b, uint16(channels*bits/8))
	b = le.AppendUint16(b, uint16(bits))
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// sines is PCM of 16 bits of some sines.
func sines(hertz int, seconds float64, channels int, tones ...float64) (b []byte) {
	for i := range int(seconds * float64(hertz)) {
		sum := 0.0
		for _, f := range tones {
			sum += math.Sin(2*math.Pi*f*float64(i)/float64(hertz)) / float64(len(tones))
		}
		for range channels {
			b = binary.LittleEndian.AppendUint16(b, uint16(int16(16000*sum)))
		}
	}
	return b
}

func floats(c Clip, codec Codec) []float64 {
	var out []float64
	for _, b := range c.samples(codec) {
		out = append(out, float64(codec.sample(b))/32768)
	}
	return out
}

func TestLoadClip(t *testing.T) {
	for _, hertz := range []int{4000, 8000, 11025, 16000, 22050, 44100, 44101, 48000} {
		for channels := 1; channels <= 2; channels++ {
			c, err := LoadClip(bytes.NewReader(wavOf(wavPCM, channels, hertz, 16, sines(hertz, 1, channels, 440))))
			if err != nil {
				t.Fatalf("%d Hz, %d channels: %v", hertz, channels, err)
			}
			if math.Abs(float64(c.Len()-rate)) > 2 {
				t.Errorf("%d Hz: %d samples of a second", hertz, c.Len())
			}
			for _, codec := range []Codec{PCMU, PCMA} {
				s := floats(c, codec)
				if db := clear(s, 440, elsewhere...); db < 30 {
					t.Errorf("%d Hz, codec %d: 440 Hz stands %.1f dB over the rest", hertz, codec, db)
				}
				if level := 2 * math.Sqrt(goertzel(s, 440)); math.Abs(level-16000.0/32768) > 0.02 {
					t.Errorf("%d Hz: the level is %.3f", hertz, level)
				}
			}
		}
	}
}

// TestResampleKeepsHighTonesOut: a tone above 4 kHz must not come back as another one. Taking every sixth sample, or a line
// between two, would bring 5 kHz back as 3 kHz.
func TestResampleKeepsHighTonesOut(t *testing.T) {
	for _, hertz := range []int{16000, 44100, 48000} {
		c, err := LoadClip(bytes.NewReader(wavOf(wavPCM, 1, hertz, 16, sines(hertz, 1, 1, 500, 5000))))
		if err != nil {
			t.Fatal(err)
		}
		if db := clear(floats(c, PCMA), 500, 3000); db < 45 {
			t.Errorf("%d Hz: the mirrored tone is only %.1f dB weaker", hertz, db)
		}
	}
}

func TestLoadClipTakesG711AsItIs(t *testing.T) {
	sound := make([]byte, 256)
	for i := range sound {
		sound[i] = byte(i)
	}
	a, err := LoadClip(bytes.NewReader(wavOf(wavALaw, 1, 8000, 8, sound)))
	if err != nil || !bytes.Equal(a.pcma, sound) || len(a.pcmu) != 256 {
		t.Errorf("A-law: %v", err)
	}
	u, err := LoadClip(bytes.NewReader(wavOf(wavMuLaw, 1, 8000, 8, sound)))
	if err != nil || !bytes.Equal(u.pcmu, sound) || len(u.pcma) != 256 {
		t.Errorf("mu-law: %v", err)
	}
	if c, err := LoadClip(bytes.NewReader(wavOf(wavMuLaw, 2, 16000, 8, make([]byte, 3200)))); err != nil || c.Len() != 800 {
		t.Errorf("mu-law, two channels, 16 kHz: %d, %v", c.Len(), err)
	}
}

func TestLoadClipRefuses(t *testing.T) {
	good := wavOf(wavPCM, 1, 8000, 16, make([]byte, 320))
	for name, b := range map[string][]byte{
		"nothing":     {},
		"no WAV":      []byte(strings.Repeat("x", 100)),
		"no samples":  good[:len(good)-328],
		"96 kHz":      wavOf(wavPCM, 1, 96000, 16, make([]byte, 320)),
		"24 bits":     wavOf(wavPCM, 1, 8000, 24, make([]byte, 320)),
		"8 bits":      wavOf(wavPCM, 1, 8000, 8, make([]byte, 320)),
		"no channel":  wavOf(wavPCM, 0, 8000, 16, make([]byte, 320)),
		"3 channels":  wavOf(wavPCM, 3, 8000, 16, make([]byte, 320)),
		"MP3 in WAV":  wavOf(85, 1, 8000, 16, make([]byte, 320)),
		"11 minutes":  wavOf(wavMuLaw, 1, 8000, 8, make([]byte, 11*60*8000)),
		"64 MiB":      wavOf(wavPCM, 2, 48000, 16, make([]byte, maxClip)),
		"short chunk": []byte("RIFF\x00\x00\x00\x00WAVEfmt \x04\x00\x00\x00abcd"),
	} {
		if _, err := LoadClip(bytes.NewReader(b)); !errors.Is(err, errClip) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c, err := LoadClip(bytes.NewReader(good[:len(good)-101])); err != nil || c.Len() != 109 {
		t.Errorf("a file that was cut short: %d, %v", c.Len(), err)
	}
}

func FuzzLoadClip(f *testing.F) {
	f.Add(wavOf(wavPCM, 2, 11025, 16, make([]byte, 64)))
	f.Add(wavOf(wavExtensible, 1, 8000, 16, make([]byte, 64)))
	f.Add(wavOf(wavALaw, 1, 8000, 8, make([]byte, 64)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := LoadClip(bytes.NewReader(b))
		if err == nil && (len(c.pcma) != len(c.pcmu) || c.Duration() > maxClipTime) {
			t.Fatalf("%d and %d samples", len(c.pcma), len(c.pcmu))
		}
	})
}

func TestBuiltInSounds(t *testing.T) {
	for name, lasts := range map[string]time.Duration{
		voice.SoundWelcome: 1200 * time.Millisecond, voice.SoundWaiting: 20 * time.Second, voice.SoundError: 700 * time.Millisecond,
	} {
		c, err := BuiltIn(name)
		if err != nil || c.Duration() != lasts {
			t.Errorf("%s lasts %s, %v", name, c.Duration(), err)
		}
		power, peak := 0.0, 0.0
		for _, s := range floats(c, PCMA) {
			power += s * s / float64(c.Len())
			peak = max(peak, math.Abs(s))
		}
		db := 10 * math.Log10(power)
		if peak > 0.8 || db < -30 || db > -10 || name == voice.SoundWaiting && math.Abs(db+20) > 2 {
			t.Errorf("%s: %.1f dBFS, peak %.2f", name, db, peak)
		}
	}
	if _, err := BuiltIn("nothing"); err == nil {
		t.Error("an unknown sound was made")
	}
}

func TestPlayKeepsTime(t *testing.T) {
	c := tone(440, 0.39) // 19 frames and a half
	e := newEar()
	began := time.Now()
	if err := Play(context.Background(), e, c, false); err != nil {
		t.Fatal(err)
	}
	// The last of 20 frames begins at 380 ms.
	if d := time.Since(began); d < 380*time.Millisecond {
		t.Errorf("it took %s", d)
	}
	p := e.got()
	if last := p[len(p)-1]; len(last.Payload) != frameSamples || last.Payload[frameSamples-1] != PCMA.silence() {
		t.Errorf("the last frame ends with %x", last.Payload[frameSamples-4:])
	}
	for i := range p[1:] {
		if p[i+1].Sequence != p[i].Sequence+1 || p[i+1].Source != p[0].Source || int32(p[i+1].Timestamp-p[i].Timestamp) <= 0 {
			t.Errorf("packet %d: %+v", i+1, p[i+1])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Play(ctx, e, c, true); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled loop: %v", err)
	}
	if err := Play(context.Background(), e, Clip{}, true); err != nil {
		t.Errorf("an empty clip: %v", err)
	}
}

// stalled is a sink that stops once for a while, as a busy machine would.
type stalled struct {
	*ear
	stall time.Duration
	at    []time.Time
}

func (s *stalled) Write(p *Packet) {
	s.ear.Write(p)
	s.at = append(s.at, time.Now())
	if s.stall > 0 && len(s.at) == 3 {
		time.Sleep(s.stall)
	}
}

func TestPlaySkipsAfterAStall(t *testing.T) {
	s := &stalled{ear: newEar(), stall: time.Second}
	if err := Play(context.Background(), s, tone(440, 1.5), false); err != nil {
		t.Fatal(err)
	}
	p := s.got()
	// Without skipping all 75 frames come, some fifty of them in one burst after the stall.
	if jump := p[3].Timestamp - p[2].Timestamp; jump < 40*frameSamples || !p[3].Marker || len(p) > 36 {
		t.Errorf("%d packets, after the stall %d samples later, marker %t", len(p), jump, p[3].Marker)
	}
}

func TestPlayPicksTheCodecOfALink(t *testing.T) {
	w := linkEar{newEar(), PCMA}
	if err := Play(context.Background(), w, tone(440, 0.02), false); err != nil || w.got()[0].Codec != PCMA {
		t.Errorf("%v %v", w.got(), err)
	}
	w.c = PCMU
	if err := Play(context.Background(), w, tone(440, 0.02), false); err != nil || w.got()[1].Codec != PCMU {
		t.Errorf("%v %v", w.got(), err)
	}
}

type linkEar struct {
	*ear
	c Codec
}

func (l linkEar) Codec() Codec { return l.c }

func TestTee(t *testing.T) {
	a, b := newEar(), newEar()
	tee := Tee(a, nil, b)
	tee.Write(&Packet{Codec: PCMA, Payload: []byte{1}})
	if len(a.got()) != 1 || len(b.got()) != 1 {
		t.Errorf("%d and %d", len(a.got()), len(b.got()))
	}
}
