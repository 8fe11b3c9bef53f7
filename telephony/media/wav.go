package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Formats of a WAV file that are read.
const (
	wavPCM        = 1
	wavALaw       = 6
	wavMuLaw      = 7
	wavExtensible = 0xfffe
)

// wav is a WAV file.
type wav struct {
	format   int
	channels int
	rate     int
	size     int // bytes of one sample of one channel
	data     []byte
}

// parseWAV finds format and samples among a file's chunks. The samples lie within b. A file that was cut short gives what
// is there; so does one whose writer did not know the size.
func parseWAV(b []byte) (w wav, err error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return w, errors.New("it is no WAV file")
	}
	known := false
	for b = b[12:]; len(b) >= 8; {
		name, size := string(b[:4]), int64(binary.LittleEndian.Uint32(b[4:]))
		body := b[8:]
		size = min(size, int64(len(body)))
		switch name {
		case "fmt ":
			if err := w.readFormat(body[:size]); err != nil {
				return w, err
			}
			known = true
		case "data":
			if !known {
				return w, errors.New("its samples come before their format")
			}
			frame := int64(w.channels * w.size)
			w.data = body[:size/frame*frame]
			return w, nil
		}
		b = body[min(size+size%2, int64(len(body))):]
	}
	return w, errors.New("it has no samples")
}

func (w *wav) readFormat(b []byte) error {
	if len(b) < 16 {
		return errors.New("its format is cut short")
	}
	w.format = int(binary.LittleEndian.Uint16(b))
	w.channels = int(binary.LittleEndian.Uint16(b[2:]))
	rate := binary.LittleEndian.Uint32(b[4:])
	bits := int(binary.LittleEndian.Uint16(b[14:]))
	if w.format == wavExtensible && len(b) >= 26 {
		w.format = int(binary.LittleEndian.Uint16(b[24:]))
	}
	if w.channels < 1 || w.channels > 2 || rate < 4000 || rate > 48000 {
		return fmt.Errorf("it has %d channels of %d Hz; 1 or 2 of 4,000 to 48,000 are read", w.channels, rate)
	}
	w.rate = int(rate)
	switch {
	case w.format == wavPCM && bits == 16:
		w.size = 2
	case (w.format == wavALaw || w.format == wavMuLaw) && bits == 8:
		w.size = 1
	default:
		return fmt.Errorf("its format is %d with %d bits; PCM of 16 bits, A-law and mu-law are read", w.format, bits)
	}
	return nil
}

func (w wav) frames() int { return len(w.data) / (w.channels * w.size) }

func (w wav) duration() time.Duration {
	return time.Duration(w.frames()) * time.Second / time.Duration(w.rate)
}

// mono decodes the samples, -1 to 1, the mean of the channels.
func (w wav) mono() []float32 {
	out := make([]float32, w.frames())
	for i := range out {
		sum := float32(0)
		for c := range w.channels {
			sum += float32(w.sample(i*w.channels + c))
		}
		out[i] = sum / float32(w.channels) / 32768
	}
	return out
}

func (w wav) sample(i int) int16 {
	switch w.format {
	case wavALaw:
		return PCMA.sample(w.data[i])
	case wavMuLaw:
		return PCMU.sample(w.data[i])
	}
	return int16(binary.LittleEndian.Uint16(w.data[2*i:]))
}
