package media

import "math"

const (
	// crossings is how many zero crossings of the sinc are kept on each side: with the Blackman window the band above
	// 4 kHz comes back some 70 dB weaker.
	crossings = 24
	// cutoff is where the low-pass begins to fall, as a part of the lower of the two rates.
	cutoff = 0.46
)

// resample brings samples from one rate to 8,000 a second, with a low-pass of a windowed sinc, so that what lies above
// 4 kHz does not come back as another tone. One filter is made per phase; the phases repeat after rate/gcd samples.
func resample(in []float32, from int) []float32 {
	if from == rate {
		return in
	}
	g := gcd(from, rate)
	up, down := rate/g, from/g
	filters := make([][]float32, up)
	out := make([]float32, int(int64(len(in))*int64(up)/int64(down)))
	band := cutoff * float64(min(from, rate)) / float64(from) // in cycles per input sample
	half := int(math.Ceil(crossings / (2 * band)))
	for i := range out {
		at := int64(i) * int64(down)
		whole, phase := int(at/int64(up)), int(at%int64(up))
		if filters[phase] == nil {
			filters[phase] = filter(float64(phase)/float64(up), band, half)
		}
		sum := float32(0)
		for k, weight := range filters[phase] {
			if j := whole + k - half + 1; j >= 0 && j < len(in) {
				sum += weight * in[j]
			}
		}
		out[i] = sum
	}
	return out
}

// filter holds the weights of the input samples around a point that lies shift after one of them.
func filter(shift, band float64, half int) []float32 {
	w := make([]float64, 2*half)
	total := 0.0
	for k := range w {
		x := float64(k-half+1) - shift
		w[k] = sinc(2*band*x) * blackman(x/float64(half))
		total += w[k]
	}
	out := make([]float32, len(w))
	for k := range w {
		out[k] = float32(w[k] / total) // a constant stays what it is
	}
	return out
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// blackman is the window from -1 to 1.
func blackman(x float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	return 0.42 + 0.5*math.Cos(math.Pi*x) + 0.08*math.Cos(2*math.Pi*x)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
