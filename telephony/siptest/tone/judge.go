// Package tone says what a test hears: how far a tone stands above everything else, for how long without a break, and
// how much of the sound is silence. It knows nothing of calls, so it judges a recording as well as what a phone heard.
package tone

import (
	"fmt"
	"math"
	"math/bits"
	"math/cmplx"
	"slices"
)

// Rate is the samples in a second of all sound here (G.711, RFC 3551 section 4.5.14).
const Rate = 8000

const (
	window = Rate / 5   // 200 ms: 5 Hz between bins, so a tone is told from its neighbours
	hop    = Rate / 50  // 20 ms, one packet
	size   = 2048       // of the transform; the rest is zero
	frame  = Rate / 200 // 5 ms: a packet that is missing covers some whole ones, wherever it began
	near   = 15.0       // Hz: how far off a tone may be
	skirt  = 40.0       // Hz: what belongs to the tone itself, by the form of the window

	// Clear is how far in dB a tone has to stand above the rest to count as heard.
	Clear = 20.0
	// Quiet is the level in dBFS (RMS) under which a piece counts as silent.
	Quiet = -50.0
)

// Verdict is what was found.
type Verdict struct {
	// Want is the tone asked for, in Hz; Seconds the length of all sound.
	Want, Seconds float64
	// Level is the median, over windows of 200 ms, of the wanted tone over the strongest other one, in dB; a window of
	// silence counts as 0. Sound shorter than a window has none.
	Level float64
	// Longest is the longest stretch in seconds in which the tone stands by Clear, and no piece of 5 ms is silent: one
	// packet that is missing ends it.
	Longest float64
	// Silent is the share, 0 to 1, of pieces of 5 ms that are silent. No sound at all is silence.
	Silent float64
	// Strongest is the loudest tone of the whole, in Hz; 0 if there is none. For a person who wonders.
	Strongest float64
}

// String is for a test's failure.
func (v Verdict) String() string {
	return fmt.Sprintf("%.0f Hz in %.1f s: %.1f dB over the rest, longest %.2f s, %.0f%% silent, strongest %.0f Hz", v.Want, v.Seconds, v.Level, v.Longest, v.Silent*100, v.Strongest)
}

// Judge looks for a tone of want Hz in sound of 8 kHz. A tone counts within 15 Hz of it.
func Judge(pcm []int16, want float64) Verdict {
	v := Verdict{Want: want, Seconds: float64(len(pcm)) / Rate}
	quiet := silentFrames(pcm)
	v.Silent = share(quiet)
	levels, sum := make([]float64, 0, len(pcm)/hop), make([]float64, size/2)
	run, longest, spectra := 0, 0, newAnalyser()
	for at := 0; at+window <= len(pcm); at += hop {
		level := 0.0
		spectrum := spectra.magnitudes(pcm[at : at+window])
		if !allTrue(quiet[at/frame : (at+window)/frame]) {
			level = above(spectrum, want)
		}
		for n, m := range spectrum {
			sum[n] += m
		}
		levels = append(levels, level)
		if level < Clear || slices.Contains(quiet[at/frame:(at+window)/frame], true) {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	if longest > 0 {
		v.Longest = float64((longest-1)*hop+window) / Rate
	}
	v.Level = median(levels)
	if n := slices.Index(sum, slices.Max(sum)); sum[n] > 0 {
		v.Strongest = float64(n) * Rate / size
	}
	return v
}

// Heard reports whether the tone stands for at least so many seconds without a break.
func (v Verdict) Heard(seconds float64) bool { return v.Longest >= seconds }

// silentFrames tells of each whole piece whether it is silent.
func silentFrames(pcm []int16) []bool {
	out := make([]bool, 0, len(pcm)/frame)
	for at := 0; at+frame <= len(pcm); at += frame {
		out = append(out, RMS(pcm[at:at+frame]) < Quiet)
	}
	return out
}

// RMS is the level in dBFS; digital silence is -120.
func RMS(pcm []int16) float64 {
	sum := 0.0
	for _, s := range pcm {
		x := float64(s) / 32768
		sum += x * x
	}
	if len(pcm) == 0 || sum == 0 {
		return -120
	}
	return 10 * math.Log10(sum/float64(len(pcm)))
}

// above is the wanted tone over the strongest other, in dB. What lies under 50 Hz is no tone: an offset is not heard.
func above(spectrum []float64, want float64) float64 {
	tone, other := 0.0, 0.0
	for n, m := range spectrum {
		hz := float64(n) * Rate / size
		switch off := math.Abs(hz - want); {
		case off <= near:
			tone = max(tone, m)
		case off > skirt && hz >= 50:
			other = max(other, m)
		}
	}
	const floor = 1e-9
	return 20 * math.Log10((tone+floor)/(other+floor))
}

// analyser holds what every window needs alike.
type analyser struct {
	bell   []float64
	turns  []complex128
	places []int
	work   []complex128
	out    []float64
}

func newAnalyser() *analyser {
	a := &analyser{bell: make([]float64, window), turns: make([]complex128, size/2), places: make([]int, size), work: make([]complex128, size), out: make([]float64, size/2)}
	for n := range a.bell {
		a.bell[n] = 0.5 - 0.5*math.Cos(2*math.Pi*float64(n)/window)
	}
	for n := range a.turns {
		a.turns[n] = cmplx.Rect(1, -2*math.Pi*float64(n)/size)
	}
	for n := range a.places {
		a.places[n] = int(bits.Reverse32(uint32(n)) >> (32 - bits.Len(size-1)))
	}
	return a
}

// magnitudes is the spectrum of one window under Hann's bell, without the constant part. It holds until the next call.
func (a *analyser) magnitudes(pcm []int16) []float64 {
	mean := 0.0
	for _, s := range pcm {
		mean += float64(s)
	}
	mean /= float64(len(pcm))
	clear(a.work)
	for n, s := range pcm {
		a.work[a.places[n]] = complex((float64(s)-mean)/32768*a.bell[n], 0)
	}
	a.transform()
	for n := range a.out {
		a.out[n] = cmplx.Abs(a.work[n])
	}
	return a.out
}

// transform is the discrete Fourier transform in place of what stands in the order of turned bits: pairs, fours, eights.
func (a *analyser) transform() {
	for half := 1; half < size; half *= 2 {
		step := size / (2 * half)
		for at := 0; at < size; at += 2 * half {
			for k := range half {
				x, y := a.work[at+k], a.turns[k*step]*a.work[at+k+half]
				a.work[at+k], a.work[at+k+half] = x+y, x-y
			}
		}
	}
}

func share(flags []bool) float64 {
	if len(flags) == 0 {
		return 1
	}
	n := 0
	for _, f := range flags {
		if f {
			n++
		}
	}
	return float64(n) / float64(len(flags))
}

func allTrue(flags []bool) bool { return !slices.Contains(flags, false) }

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(x))[len(x)/2]
}
