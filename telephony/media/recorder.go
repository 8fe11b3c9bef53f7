package media

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// recorderQueue is how many packets wait for the recorder's goroutine: two seconds of both sides.
	recorderQueue = 200
	// horizon is how long sound stays in memory, so that what comes late still finds its place.
	horizon = time.Second
	// reach bounds the sound in memory.
	reach = 4 * horizon
	// flushEvery is how often sound is written to the file; a crash loses that much and the horizon.
	flushEvery = 500 * time.Millisecond
	// maxRecording ends a recording that was forgotten: a WAV file holds no more than 4 GiB.
	maxRecording = 24 * time.Hour
)

// Recorder writes what two sides of a call say into a WAV file of PCM, 16 bits, 8 kHz: the customer left, the agent right.
// Sound is placed by the clock of its arrival, so a pause is silence and the sides never drift apart. Writing to its sinks
// never blocks: one goroutine does the work.
type Recorder struct {
	file   *os.File
	began  time.Time
	queue  chan *chunk
	pool   sync.Pool
	paused atomic.Bool
	closed atomic.Bool
	lost   atomic.Int64

	quit  chan struct{}
	ended chan struct{}
	once  sync.Once

	// Of the goroutine, until it ended.
	sides   [channels]track
	sound   []int16 // interleaved, from the frame of number written on
	written int64
	raw     []byte
	err     error
}

// channels of a recording.
const channels = 2

// chunk is the sound of one packet.
type chunk struct {
	side   int
	at     time.Time
	source uint64
	stamp  uint32
	codec  Codec
	n      int
	sound  [maxPayload]byte
}

// NewRecorder begins a recording at path, which must not exist. Sound is placed after startedAt.
func NewRecorder(path string, startedAt time.Time) (*Recorder, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("beginning a recording: %w", err)
	}
	if _, err := file.Write(recordingHeader(0)); err != nil {
		return nil, errors.Join(fmt.Errorf("beginning a recording: %w", err), file.Close())
	}
	r := &Recorder{
		file: file, began: startedAt, queue: make(chan *chunk, recorderQueue),
		pool: sync.Pool{New: func() any { return new(chunk) }},
		quit: make(chan struct{}), ended: make(chan struct{}),
	}
	go r.run()
	return r, nil
}

// side is one of a recording's two sinks.
type side struct {
	r *Recorder
	n int
}

// Left is the customer's sink, Right the agent's.
func (r *Recorder) Left() Sink { return side{r, 0} }

// Right is the agent's sink.
func (r *Recorder) Right() Sink { return side{r, 1} }

// Write takes a packet's sound; keys are silent.
func (s side) Write(p *Packet) {
	r := s.r
	if p.Key != nil || len(p.Payload) > maxPayload || r.paused.Load() || r.closed.Load() {
		return
	}
	c := r.pool.Get().(*chunk)
	c.side, c.at, c.source, c.stamp, c.codec = s.n, time.Now(), p.Source, p.Timestamp, p.Codec
	c.n = copy(c.sound[:], p.Payload)
	select {
	case r.queue <- c:
	default:
		r.lost.Add(1)
		r.pool.Put(c)
	}
}

// Pause makes silence of what comes from now on, Resume records it again.
func (r *Recorder) Pause() { r.paused.Store(true) }

// Resume records again what comes from now on.
func (r *Recorder) Resume() { r.paused.Store(false) }

// Lost counts the packets that became silence because the recorder did not keep up.
func (r *Recorder) Lost() int64 { return r.lost.Load() }

// Close ends the recording and returns how long it is. The error is the first of the whole time; the file is then whole
// as far as it was written.
func (r *Recorder) Close() (seconds float64, err error) {
	r.once.Do(func() {
		r.closed.Store(true)
		close(r.quit)
	})
	<-r.ended
	return float64(r.written) / rate, r.err
}

func (r *Recorder) run() {
	defer close(r.ended)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case c := <-r.queue:
			r.place(c)
		case now := <-tick.C:
			r.flush(samplesIn(now.Sub(r.began) - horizon))
		case <-r.quit:
			r.finish(time.Now())
			return
		}
	}
}

// finish writes what is left and the header.
func (r *Recorder) finish(now time.Time) {
	for {
		select {
		case c := <-r.queue:
			r.place(c)
			continue
		default:
		}
		break
	}
	r.flush(samplesIn(now.Sub(r.began)))
	_, err := r.file.WriteAt(recordingHeader(r.written*channels*2), 0)
	r.fail(err)
	r.fail(r.file.Sync())
	r.fail(r.file.Close())
}

func (r *Recorder) fail(err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("writing a recording: %w", err)
	}
}

// place mixes a packet's sound into the memory.
func (r *Recorder) place(c *chunk) {
	defer r.pool.Put(c)
	t := &r.sides[c.side]
	// A packet comes when the last of its samples was taken.
	clock := samplesIn(c.at.Sub(r.began)) - int64(c.n)
	at := t.place(c, clock)
	if at-r.written > samplesIn(reach) {
		r.flush(clock - samplesIn(horizon))
	}
	at -= r.written
	// What is still out of reach came after maxRecording, or the file cannot be written.
	if !c.codec.known() || at > samplesIn(reach) {
		return
	}
	if need := int(at+int64(c.n)) * channels; need > len(r.sound) {
		r.sound = append(r.sound, make([]int16, need-len(r.sound))...)
	}
	for i, b := range c.sound[:c.n] {
		if frame := at + int64(i); frame >= 0 {
			r.sound[int(frame)*channels+c.side] = c.codec.sample(b)
		}
	}
}

// flush writes all frames below a number; where nothing came there is silence.
func (r *Recorder) flush(until int64) {
	n := min(until, samplesIn(maxRecording)) - r.written
	if n <= 0 {
		return
	}
	if r.err != nil {
		// The disk is full or gone: the sound is let go, so that memory stays bounded.
		r.sound = r.sound[:0]
		return
	}
	have := min(n, int64(len(r.sound)/channels))
	for done := int64(0); done < n; {
		size := min(n-done, rate)
		r.raw = r.raw[:0]
		for i := done; i < done+size; i++ {
			for ch := range int64(channels) {
				s := int16(0)
				if i < have {
					s = r.sound[i*channels+ch]
				}
				r.raw = append(r.raw, byte(s), byte(uint16(s)>>8))
			}
		}
		if _, err := r.file.Write(r.raw); err != nil {
			r.fail(err)
			return
		}
		done += size
		r.written += size
	}
	kept := copy(r.sound, r.sound[have*channels:])
	r.sound = r.sound[:kept]
}
