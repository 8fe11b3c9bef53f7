package media

import (
	"fmt"
	"math"

	"tributary/channels/voice"
)

// BuiltIn makes one of the sounds that need no file; names are those of channels/voice. It is calculated at each call:
// keep the clip.
func BuiltIn(name string) (Clip, error) {
	switch name {
	case voice.SoundWelcome:
		return newClip(welcome()), nil
	case voice.SoundWaiting:
		return newClip(waiting()), nil
	case voice.SoundError:
		return newClip(failure()), nil
	case voice.SoundRingback:
		return newClip(ringback()), nil
	}
	return Clip{}, fmt.Errorf("there is no built-in sound %q", name)
}

// note is a tone of a tune: a frequency in Hz that begins at a time and fades.
type note struct{ hertz, at, lasts, loud float64 }

// welcome is a chime of three rising notes, 1.2 s.
func welcome() []float32 {
	return render(1.2, []note{{523.25, 0, 0.9, 0.20}, {659.25, 0.18, 0.9, 0.20}, {783.99, 0.36, 0.84, 0.22}})
}

// failure is two low notes, 0.7 s, as an error sounds.
func failure() []float32 {
	return render(0.7, []note{{311.13, 0, 0.3, 0.25}, {233.08, 0.3, 0.4, 0.25}})
}

// ringback is the tone of a phone that rings elsewhere: 450 Hz, one second of five (ITU-T E.180 supplement 2, China).
func ringback() []float32 {
	out := make([]float32, 5*rate)
	const soft = rate / 100 // ten milliseconds, or it clicks
	for n := range rate {
		loud := 0.1 * min(1, float64(n)/soft, float64(rate-1-n)/soft)
		out[n] = float32(loud * math.Sin(2*math.Pi*450*float64(n)/rate))
	}
	return out
}

// waiting is a calm tune of 20 s that begins again without a seam: five bars of four seconds, each a broken chord with
// its root below. Its level is about -20 dBFS.
func waiting() []float32 {
	const (
		c4, d4, e4, f4, g4, a4, b4 = 261.63, 293.66, 329.63, 349.23, 392.00, 440.00, 493.88
		c5, d5, e5                 = 523.25, 587.33, 659.25
	)
	bars := [][]float64{
		{c4, g4, c5, e5, d5, c5, g4, e4},
		{a4 / 2, e4, a4, c5, b4, a4, e4, c4},
		{f4 / 2, c4, f4, a4, c5, a4, f4, c4},
		{d4, f4, a4, d5, c5, a4, f4, d4},
		{g4 / 2, d4, g4, b4, d5, b4, g4, d4},
	}
	var tune []note
	for bar, tones := range bars {
		for i, hertz := range tones {
			loud := 0.138
			if i == 0 {
				loud = 0.198
			}
			tune = append(tune, note{hertz, 4*float64(bar) + float64(i)/2, 2.2, loud})
		}
	}
	return render(20, tune)
}

// render makes samples of a tune. A note that lasts beyond the end sounds on at the beginning, so that a loop has no seam.
func render(seconds float64, tune []note) []float32 {
	out := make([]float32, int(seconds*rate))
	for _, n := range tune {
		first, count := int(n.at*rate), int(n.lasts*rate)
		for i := range count {
			t := float64(i) / rate
			out[(first+i)%len(out)] += float32(n.loud * envelope(t, n.lasts) * voiceOf(n.hertz, t))
		}
	}
	return out
}

// voiceOf is a soft tone: the fundamental and two weaker partials.
func voiceOf(hertz, t float64) float64 {
	w := 2 * math.Pi * hertz * t
	return math.Sin(w) + 0.25*math.Sin(2*w) + 0.08*math.Sin(3*w)
}

// envelope rises within 12 ms and fades to nothing.
func envelope(t, lasts float64) float64 {
	const attack = 0.012
	rise := min(t/attack, 1)
	left := max(1-t/lasts, 0)
	return rise * left * left
}
