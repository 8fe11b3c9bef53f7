package media

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

const (
	// maxClip bounds the file of a clip, in bytes; maxClipTime bounds what it lasts.
	maxClip     = 64 << 20
	maxClipTime = 10 * time.Minute
)

// Clip is a sound to be played: 8,000 samples a second, one channel, held in both codecs. It never changes, so many calls
// may play it at once.
type Clip struct{ pcmu, pcma []byte }

// Len is its number of samples.
func (c Clip) Len() int { return len(c.pcma) }

// Duration is how long it lasts.
func (c Clip) Duration() time.Duration { return time.Duration(c.Len()) * time.Second / rate }

func (c Clip) samples(codec Codec) []byte {
	if codec == PCMU {
		return c.pcmu
	}
	return c.pcma
}

func (c Clip) frames() int { return (c.Len() + frameSamples - 1) / frameSamples }

// newClip encodes samples of 8 kHz, -1 to 1.
func newClip(samples []float32) Clip {
	c := Clip{make([]byte, len(samples)), make([]byte, len(samples))}
	for i, s := range samples {
		pcm := int16(min(max(s*32767, -32768), 32767))
		c.pcmu[i], c.pcma[i] = PCMU.encode(pcm), PCMA.encode(pcm)
	}
	return c
}

// LoadClip reads a WAV file: PCM of 16 bits at 4 to 48 kHz, or A-law or mu-law, one or two channels, which are mixed. It
// takes 64 MiB and ten minutes at most.
func LoadClip(r io.Reader) (Clip, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxClip+1))
	if err != nil {
		return Clip{}, fmt.Errorf("reading a sound: %w", err)
	}
	if len(b) > maxClip {
		return Clip{}, fmt.Errorf("%w: it is larger than %d MiB", errClip, maxClip>>20)
	}
	w, err := parseWAV(b)
	if err != nil {
		return Clip{}, fmt.Errorf("%w: %w", errClip, err)
	}
	if d := w.duration(); d > maxClipTime {
		return Clip{}, fmt.Errorf("%w: it lasts %s, and %s is the most", errClip, d.Round(time.Second), maxClipTime)
	}
	if c, ok := w.asIs(); ok {
		return c, nil
	}
	return newClip(resample(w.mono(), w.rate)), nil
}

// asIs takes G.711 of 8 kHz and one channel without decoding it, so that one of the two codecs stays bit for bit.
func (w wav) asIs() (Clip, bool) {
	if w.rate != rate || w.channels != 1 || w.format == wavPCM {
		return Clip{}, false
	}
	from, other := PCMU, PCMA
	if w.format == wavALaw {
		from, other = PCMA, PCMU
	}
	same, turned := bytes.Clone(w.data), make([]byte, len(w.data))
	transcode(turned, same, from, other)
	if from == PCMA {
		return Clip{pcmu: turned, pcma: same}, true
	}
	return Clip{pcmu: same, pcma: turned}, true
}
