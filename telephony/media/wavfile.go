package media

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

const (
	wavHeaderSize = 44
	// frameBytes is the size of one frame of a recording: two channels of 16 bits.
	frameBytes = channels * 2
)

// recordingHeader is the header of a recording with that many bytes of samples.
func recordingHeader(size int64) []byte {
	h := make([]byte, wavHeaderSize)
	le := binary.LittleEndian
	copy(h, "RIFF")
	le.PutUint32(h[4:], uint32(size+wavHeaderSize-8))
	copy(h[8:], "WAVEfmt ")
	le.PutUint32(h[16:], 16)
	le.PutUint16(h[20:], wavPCM)
	le.PutUint16(h[22:], channels)
	le.PutUint32(h[24:], rate)
	le.PutUint32(h[28:], rate*frameBytes)
	le.PutUint16(h[32:], frameBytes)
	le.PutUint16(h[34:], 16)
	copy(h[36:], "data")
	le.PutUint32(h[40:], uint32(size))
	return h
}

// Repair makes a recording whole that a crash left without its size, and returns how long it is in seconds. A frame that
// was written in part is cut off. A file that is none of ours is left alone and is an error.
func Repair(path string) (seconds float64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("repairing a recording: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("repairing a recording: %w", err)
	}
	had := make([]byte, min(info.Size(), wavHeaderSize))
	if _, err := f.ReadAt(had, 0); err != nil && len(had) > 0 {
		return 0, fmt.Errorf("repairing a recording: %w", err)
	}
	// All but the two sizes is the same in every recording.
	want := recordingHeader(0)
	for i, b := range had {
		if size := i >= 4 && i < 8 || i >= 40; !size && b != want[i] {
			return 0, fmt.Errorf("repairing a recording: %s is no recording", path)
		}
	}
	frames := max(info.Size()-wavHeaderSize, 0) / frameBytes
	if err := f.Truncate(wavHeaderSize + frames*frameBytes); err != nil {
		return 0, fmt.Errorf("repairing a recording: %w", err)
	}
	if _, err := f.WriteAt(recordingHeader(frames*frameBytes), 0); err != nil {
		return 0, fmt.Errorf("repairing a recording: %w", err)
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("repairing a recording: %w", err)
	}
	return float64(frames) / rate, nil
}
