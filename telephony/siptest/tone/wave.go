package tone

import (
	"math"
	"time"
)

// Wave makes sound of 8 kHz without a click between two of its pieces. The zero value is silence.
type Wave struct {
	// Hz of the tone; 0: silence.
	Hz float64
	// Amplitude of full scale, 0 to 1; 0: a quarter.
	Amplitude float64

	phase float64
}

// Next fills pcm with what follows.
func (w *Wave) Next(pcm []int16) {
	amplitude := w.Amplitude
	if amplitude == 0 {
		amplitude = 0.25
	}
	for n := range pcm {
		pcm[n] = int16(amplitude * 32767 * math.Sin(w.phase))
		if w.Hz == 0 {
			pcm[n] = 0
		}
		w.phase = math.Mod(w.phase+2*math.Pi*w.Hz/Rate, 2*math.Pi)
	}
}

// Make is a tone of a given length.
func Make(hz float64, d time.Duration) []int16 {
	pcm := make([]int16, int(d.Seconds()*Rate))
	(&Wave{Hz: hz}).Next(pcm)
	return pcm
}
