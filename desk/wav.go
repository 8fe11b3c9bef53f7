package desk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// errSound is why a file is no prompt; its text is for people.
type errSound string

// Error makes it an error.
func (e errSound) Error() string { return string(e) }

// Formats of a WAV file that calls can play.
const (
	wavPCM        = 1
	wavALaw       = 6
	wavMuLaw      = 7
	wavExtensible = 0xfffe
	maxChunks     = 64 // before the samples; more is no file of a recording
)

// wavSeconds reads how long a WAV file lasts from its header, and refuses what calls cannot play: all but PCM of 16 bits,
// A-law and mu-law, in one or two channels of 4 to 48 kHz. size is the length of the file.
func wavSeconds(r io.ReadSeeker, size int64) (float64, error) {
	head := make([]byte, 12)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, cutShort(err)
	}
	if string(head[:4]) != "RIFF" || string(head[8:]) != "WAVE" {
		return 0, errSound("it is no WAV file")
	}
	at, perSecond := int64(12), int64(0)
	for range maxChunks {
		if _, err := io.ReadFull(r, head[:8]); err != nil {
			return 0, cutShort(err)
		}
		at += 8
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		switch string(head[:4]) {
		case "fmt ":
			var err error
			if perSecond, err = readFormat(r, length); err != nil {
				return 0, err
			}
		case "data":
			if perSecond == 0 {
				return 0, errSound("its samples come before their format")
			}
			// A writer that did not know the length says 0 or more than there is.
			if there := max(size-at, 0); length == 0 || length > there {
				length = there
			}
			return float64(length) / float64(perSecond), nil
		}
		at += length + length%2
		if at > size {
			return 0, errSound("the file is cut short")
		}
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			return 0, fmt.Errorf("read the sound: %w", err)
		}
	}
	return 0, errSound("it has no samples")
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errSound("the file is cut short, or no WAV file")
	}
	return fmt.Errorf("read the sound: %w", err)
}

// readFormat is the number of bytes that a second takes.
func readFormat(r io.Reader, length int64) (int64, error) {
	b := make([]byte, min(max(length, 0), 40))
	if _, err := io.ReadFull(r, b); err != nil || len(b) < 16 {
		return 0, cutShort(errors.Join(err, io.ErrUnexpectedEOF))
	}
	format, channels := binary.LittleEndian.Uint16(b), int64(binary.LittleEndian.Uint16(b[2:]))
	rate, bits := int64(binary.LittleEndian.Uint32(b[4:])), binary.LittleEndian.Uint16(b[14:])
	if format == wavExtensible && len(b) >= 26 {
		format = binary.LittleEndian.Uint16(b[24:])
	}
	if channels < 1 || channels > 2 || rate < 4000 || rate > 48000 {
		return 0, errSound("one or two channels of 4,000 to 48,000 Hz can be played")
	}
	switch {
	case format == wavPCM && bits == 16, (format == wavALaw || format == wavMuLaw) && bits == 8:
		return channels * rate * int64(bits/8), nil
	}
	return 0, errSound("PCM of 16 bits, A-law and mu-law can be played")
}
