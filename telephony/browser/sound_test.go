package browser

import (
	"math"

	"github.com/zaf/g711"

	"tributary/telephony/media"
)

func decode(c media.Codec, b byte) float64 {
	if c == media.PCMA {
		return float64(g711.DecodeAlawFrame(b)) / 32768
	}
	return float64(g711.DecodeUlawFrame(b)) / 32768
}

// goertzel is the power of one frequency in samples of 8 kHz.
func goertzel(samples []float64, hertz float64) float64 {
	k := 2 * math.Cos(2*math.Pi*hertz/8000)
	s1, s2 := 0.0, 0.0
	for _, x := range samples {
		s1, s2 = x+k*s1-s2, s1
	}
	return (s1*s1 + s2*s2 - k*s1*s2) / float64(len(samples)) / float64(len(samples))
}

func clear(samples []float64, hertz float64, others ...float64) float64 {
	least := math.Inf(1)
	for _, o := range others {
		least = min(least, 10*math.Log10((goertzel(samples, hertz)+1e-12)/(goertzel(samples, o)+1e-12)))
	}
	return least
}
