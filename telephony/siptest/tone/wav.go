package tone

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/zaf/g711"
)

// Sound is what a WAV file holds.
type Sound struct {
	// Rate is the samples in a second of each channel.
	Rate int
	// Channels hold one slice each: of a recording the customer is 0 (left) and the agent 1 (right).
	Channels [][]int16
}

// The format tags of RFC 2361 that we read.
const (
	wavPCM        = 1
	wavALaw       = 6
	wavMuLaw      = 7
	wavExtensible = 0xfffe
)

// ReadWAVFile is ReadWAV of a file.
func ReadWAVFile(path string) (Sound, error) {
	f, err := os.Open(path)
	if err != nil {
		return Sound{}, err
	}
	defer f.Close()
	s, err := ReadWAV(f)
	if err != nil {
		return Sound{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// ReadWAV reads a RIFF file of 16-bit PCM, A-law or µ-law with any number of channels. A file whose header promises more
// than it holds is an error: a recording that was cut off is not whole.
func ReadWAV(r io.Reader) (Sound, error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Sound{}, fmt.Errorf("no RIFF header: %w", err)
	}
	if string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return Sound{}, errors.New("not a WAV file")
	}
	var form []byte
	for {
		name, data, err := chunk(r)
		if err != nil {
			return Sound{}, err
		}
		switch name {
		case "fmt ":
			form = data
		case "data":
			return decode(form, data)
		}
	}
}

// chunk reads one part of the file; parts have an even length.
func chunk(r io.Reader) (name string, data []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", nil, fmt.Errorf("no data chunk: %w", err)
	}
	name, length := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
	data, err = io.ReadAll(io.LimitReader(r, length))
	if err != nil {
		return "", nil, err
	}
	if int64(len(data)) < length {
		return "", nil, fmt.Errorf("the chunk %q has %d bytes of %d", name, len(data), length)
	}
	if length%2 == 1 {
		_, _ = io.CopyN(io.Discard, r, 1) // the last one may lack its padding
	}
	return name, data, nil
}

func decode(form, data []byte) (Sound, error) {
	if len(form) < 16 {
		return Sound{}, errors.New("no format before the data")
	}
	tag, channels, bits := binary.LittleEndian.Uint16(form), int(binary.LittleEndian.Uint16(form[2:])), binary.LittleEndian.Uint16(form[14:])
	if tag == wavExtensible && len(form) >= 26 {
		tag = binary.LittleEndian.Uint16(form[24:])
	}
	var pcm []byte // 16 bits, little endian
	switch {
	case tag == wavPCM && bits == 16:
		pcm = data
	case tag == wavALaw && bits == 8:
		pcm = g711.DecodeAlaw(data)
	case tag == wavMuLaw && bits == 8:
		pcm = g711.DecodeUlaw(data)
	default:
		return Sound{}, fmt.Errorf("format %d of %d bits is not read", tag, bits)
	}
	if channels < 1 || len(pcm)%(2*channels) != 0 {
		return Sound{}, fmt.Errorf("%d bytes do not divide among %d channels", len(pcm), channels)
	}
	s := Sound{Rate: int(binary.LittleEndian.Uint32(form[4:])), Channels: make([][]int16, channels)}
	for n := 0; n < len(pcm)/2; n++ {
		s.Channels[n%channels] = append(s.Channels[n%channels], int16(binary.LittleEndian.Uint16(pcm[2*n:])))
	}
	return s, nil
}
