package media

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// readRecording gives the two sides of a recording, and checks its header.
func readRecording(t *testing.T, path string) (left, right []float64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if size := binary.LittleEndian.Uint32(b[40:]); int(size) != len(b)-wavHeaderSize || binary.LittleEndian.Uint32(b[4:]) != size+36 {
		t.Errorf("the header says %d, there are %d", size, len(b)-wavHeaderSize)
	}
	w, err := parseWAV(b)
	if err != nil || w.rate != rate || w.channels != 2 {
		t.Fatalf("%+v, %v", w, err)
	}
	for i := range w.frames() {
		left = append(left, float64(w.sample(2*i))/32768)
		right = append(right, float64(w.sample(2*i+1))/32768)
	}
	return left, right
}

func newRecording(t *testing.T, began time.Time) (*Recorder, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "call.wav")
	r, err := NewRecorder(path, began)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close() })
	return r, path
}

func TestRecorderHoldsBothSides(t *testing.T) {
	began := time.Now()
	r, path := newRecording(t, began)
	if _, err := NewRecorder(path, began); err == nil {
		t.Error("a recording was written over")
	}
	stopLeft, stopRight := play(t, r.Left(), tone(440, 1)), play(t, r.Right(), tone(1000, 1))
	time.Sleep(1500 * time.Millisecond) // what is recorded is time
	stopLeft()
	stopRight()
	seconds, err := r.Close()
	if took := time.Since(began).Seconds(); err != nil || seconds > took || seconds < took-1 || seconds < 1.5 {
		t.Errorf("%.3f s of %.3f, %v", seconds, took, err)
	}
	if r.Lost() != 0 {
		t.Errorf("%d lost", r.Lost())
	}
	left, right := readRecording(t, path)
	left, right = left[4000:8000], right[4000:8000]
	if db := clear(left, 440, 1000, 600, 2000); db < 20 {
		t.Errorf("440 Hz stands %.1f dB over the rest on the left", db)
	}
	if db := clear(right, 1000, 440, 600, 2000); db < 20 {
		t.Errorf("1000 Hz stands %.1f dB over the rest on the right", db)
	}
	r.Left().Write(&Packet{Payload: []byte{1}}) // after the end: nothing
}

func TestRecorderPauses(t *testing.T) {
	r, path := newRecording(t, time.Now())
	c := tone(440, 1)
	send := func(n int) {
		for i := range n {
			r.Left().Write(&Packet{Codec: PCMA, Payload: c.pcma[:frameSamples], Source: 1, Timestamp: uint32(i * frameSamples)})
		}
	}
	r.Pause()
	send(5)
	if _, err := r.Close(); err != nil {
		t.Fatal(err)
	}
	left, _ := readRecording(t, path)
	for i, s := range left {
		if s != 0 {
			t.Fatalf("the card number is heard at %d", i)
		}
	}
	again, path := newRecording(t, time.Now().Add(-time.Second))
	again.Pause()
	again.Resume()
	again.Left().Write(&Packet{Codec: PCMA, Payload: c.pcma[:frameSamples], Source: 1})
	if _, err := again.Close(); err != nil {
		t.Fatal(err)
	}
	left, _ = readRecording(t, path)
	loud := 0
	for _, s := range left {
		if math.Abs(s) > 0.1 {
			loud++
		}
	}
	if loud < 50 {
		t.Errorf("%d samples after the resumption", loud)
	}
}

// TestRecorderAligns drives the placement with made-up times of arrival: bursts, a clock that runs 1 % fast, pauses.
func TestRecorderAligns(t *testing.T) {
	var tr track
	c := chunk{source: 1}
	// Jitter does not tear the sound apart, and a burst after a stall stands where it belongs.
	arrivals := []int64{0, 20, 45, 60, 75, 240, 240, 240, 240, 240, 240, 240, 240, 260} // in ms
	for i, ms := range arrivals {
		c.stamp = uint32(i * frameSamples)
		if at := tr.place(&c, ms*8); at != int64(i*frameSamples) {
			t.Errorf("packet %d stands at %d", i, at)
		}
	}
	// A pause is a pause.
	c.stamp += 5 * rate
	if at := tr.place(&c, 5260*8); at != int64(len(arrivals)-1)*frameSamples+5*rate {
		t.Errorf("after a pause %d", at)
	}
	// Another source stands where the clock is.
	c.source, c.stamp = 2, 99
	if at := tr.place(&c, 60000); at != 60000 {
		t.Errorf("another source %d", at)
	}
	for name, speed := range map[string]float64{"fast": 1.01, "slow": 0.99} {
		tr, clock := track{}, 0.0
		c := chunk{source: 1}
		worst := 0.0
		for range 50 * 600 { // ten minutes
			at := tr.place(&c, int64(clock))
			worst = max(worst, math.Abs(float64(at)-clock))
			c.stamp += frameSamples
			clock += frameSamples / speed
		}
		if worst > 8*40+160 { // 2 s of a clock that is 1 % off are 20 ms more
			t.Errorf("a %s clock: %.0f ms off", name, worst/8)
		}
	}
}

func TestRecorderLateStart(t *testing.T) {
	r, path := newRecording(t, time.Now().Add(-10*time.Second))
	c := tone(440, 1)
	r.Right().Write(&Packet{Codec: PCMA, Payload: c.pcma[:frameSamples], Source: 1})
	seconds, err := r.Close()
	if err != nil || seconds < 10 {
		t.Errorf("%.2f s, %v", seconds, err)
	}
	_, right := readRecording(t, path)
	loud := 0
	for _, s := range right[10*rate-1000:] {
		if math.Abs(s) > 0.1 {
			loud++
		}
	}
	if loud < 50 {
		t.Errorf("%d samples at the end of ten seconds of silence", loud)
	}
}

func TestRecorderNeverBlocks(t *testing.T) {
	// Without its goroutine the queue fills up.
	r := &Recorder{queue: make(chan *chunk, recorderQueue), pool: sync.Pool{New: func() any { return new(chunk) }}}
	p := Packet{Codec: PCMA, Payload: make([]byte, frameSamples)}
	for range recorderQueue + 50 {
		r.Left().Write(&p)
	}
	if r.Lost() != 50 {
		t.Errorf("%d lost", r.Lost())
	}
}

func TestRepair(t *testing.T) {
	r, path := newRecording(t, time.Now().Add(-3*time.Second))
	r.Left().Write(&Packet{Codec: PCMA, Payload: make([]byte, frameSamples), Source: 1})
	var crashed []byte
	waitFor(t, "a flush", func() bool {
		crashed, _ = os.ReadFile(path)
		return len(crashed) > wavHeaderSize+rate*frameBytes
	})
	broken := filepath.Join(t.TempDir(), "broken.wav")
	crashed = append(crashed[:len(crashed)/frameBytes*frameBytes], 1, 2, 3)
	if err := os.WriteFile(broken, crashed, 0o600); err != nil {
		t.Fatal(err)
	}
	if size := binary.LittleEndian.Uint32(crashed[40:]); size != 0 {
		t.Fatalf("the header says %d before the end", size)
	}
	seconds, err := Repair(broken)
	if want := float64(len(crashed)-wavHeaderSize-3) / frameBytes / rate; err != nil || seconds != want || seconds < 1 {
		t.Errorf("%f s, not %f, %v", seconds, want, err)
	}
	readRecording(t, broken)

	for name, b := range map[string][]byte{"nothing": {}, "half a header": recordingHeader(0)[:20]} {
		if err := os.WriteFile(broken, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if seconds, err := Repair(broken); err != nil || seconds != 0 {
			t.Errorf("%s: %f, %v", name, seconds, err)
		}
	}
	other := wavOf(wavPCM, 1, 8000, 16, make([]byte, 320))
	if err := os.WriteFile(broken, other, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Repair(broken); err == nil {
		t.Error("a strange file was written to")
	}
	if _, err := Repair(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was repaired")
	}
}

func TestRecorderTellsADiskThatFails(t *testing.T) {
	r, _ := newRecording(t, time.Now().Add(-time.Minute))
	_ = r.file.Close()
	if _, err := r.Close(); err == nil {
		t.Error("nothing was written, and no error")
	}
}
