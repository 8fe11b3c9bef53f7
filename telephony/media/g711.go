package media

import (
	"time"

	"github.com/zaf/g711"
)

// rate is the number of samples a second of every codec here; frameSamples are in 20 ms.
const (
	rate         = 8000
	frameSamples = 160
	frameTime    = 20 * time.Millisecond
)

// samplesIn is how many samples last for d.
func samplesIn(d time.Duration) int64 { return int64(d / (time.Second / rate)) }

// Name is the codec's in an rtpmap (RFC 3551 table 4).
func (c Codec) Name() string {
	if c == PCMA {
		return "PCMA"
	}
	return "PCMU"
}

func (c Codec) known() bool { return c == PCMU || c == PCMA }

// silence is the byte of a sample without sound (ITU-T G.711).
func (c Codec) silence() byte {
	if c == PCMA {
		return 0xd5
	}
	return 0xff
}

// transcode copies samples of codec from into dst as codec to; each sample costs one look into a table of 256 bytes.
func transcode(dst, src []byte, from, to Codec) {
	switch {
	case from == to:
		copy(dst, src)
	case from == PCMA:
		for i, b := range src {
			dst[i] = g711.Alaw2UlawFrame(b)
		}
	default:
		for i, b := range src {
			dst[i] = g711.Ulaw2AlawFrame(b)
		}
	}
}

// sample decodes one sample.
func (c Codec) sample(b byte) int16 {
	if c == PCMA {
		return g711.DecodeAlawFrame(b)
	}
	return g711.DecodeUlawFrame(b)
}

// encode encodes one sample.
func (c Codec) encode(s int16) byte {
	if c == PCMA {
		return g711.EncodeAlawFrame(s)
	}
	return g711.EncodeUlawFrame(s)
}
