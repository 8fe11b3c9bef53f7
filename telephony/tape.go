package telephony

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tributary/channels/voice"
	"tributary/telephony/media"
)

// tape is a recording being made. A nil one records nothing.
type tape struct {
	rec     *media.Recorder
	path    string
	started time.Time
}

func (t *tape) sinks() (left, right media.Sink) {
	if t == nil {
		return nil, nil
	}
	return t.rec.Left(), t.rec.Right()
}

// abandon leaves the file for the next life of this node.
func (t *tape) abandon() { _, _ = t.rec.Close() }

// startTape records from now on. A disk that is full must not end the call: it is said in the log, and shows in the call.
func (c *call) startTape() {
	if c.tape != nil {
		return
	}
	c.tapes++
	started := c.x.Now()
	path := filepath.Join(c.x.Folder, tapeName(c.id, c.x.Epoch, c.tapes, started))
	rec, err := media.NewRecorder(path, started)
	if err != nil {
		c.log.Error("a call that should be recorded is not", "error", err)
		return
	}
	c.tape = &tape{rec: rec, path: path, started: started}
}

// stopTape ends the recording and stores it. The call waits for it.
func (c *call) stopTape() {
	t := c.tape
	if t == nil {
		return
	}
	c.tape = nil
	c.part(c.agent)
	c.tasks++
	go func() {
		seconds, err := t.rec.Close()
		var r *voice.Recording
		if err == nil {
			r, err = c.x.keep(c.ctx, c.id, t.path, t.started, seconds)
		}
		c.post(func() {
			c.tasks--
			if err != nil {
				c.log.Error("a recording is not stored; its file is tried again at the next start", "file", t.path, "error", err)
				return
			}
			c.tell(voice.Fact{Kind: voice.Recorded, Recording: r}, func(_ voice.Answer, err error) {
				if err == nil {
					_ = os.Remove(t.path)
				}
			})
		})
	}()
}

// tapeName names a recording's file by what must be told of it.
func tapeName(id voice.ID, epoch int64, number int, started time.Time) string {
	return fmt.Sprintf("%s.%d.%d.%d.wav", id, epoch, number, started.UnixMilli())
}

// maxTape bounds one recording: a day of two channels at 8 kHz.
const maxTape = 4 << 30

// keep puts a recording into the blob store. The same file has the same key, so a repeat replaces it.
func (x *Exchange) keep(ctx context.Context, id voice.ID, path string, started time.Time, seconds float64) (*voice.Recording, error) {
	f, err := os.Open(path) //nolint:gosec // a name of our own
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	key := "recordings/" + strings.TrimSuffix(filepath.Base(path), ".wav")
	info, err := x.Files.Put(ctx, key, f, maxTape)
	if err != nil {
		return nil, fmt.Errorf("store the recording of %s: %w", id, err)
	}
	return &voice.Recording{Blob: key, Bytes: info.Bytes, SHA256: info.SHA256, Seconds: seconds, StartedAt: started}, nil
}

// oldFacts is where the numbers of facts begin that an earlier life left untold.
const oldFacts = 1 << 30

// keepOldRecordings stores what an earlier life of this node left in the folder. Those calls are lost, their sound is not.
func (x *Exchange) keepOldRecordings() {
	files, err := filepath.Glob(filepath.Join(x.Folder, "*.wav"))
	if err != nil || len(files) == 0 || !x.begin() {
		return
	}
	go func() {
		defer x.live.Done()
		for _, path := range files {
			if err := x.keepOld(path); err != nil {
				x.Log.Warn("an old recording is not stored", "file", path, "error", err)
			}
		}
	}()
}

func (x *Exchange) keepOld(path string) error {
	part := strings.Split(filepath.Base(path), ".")
	if len(part) != 5 {
		return fmt.Errorf("no recording of ours")
	}
	epoch, err1 := strconv.ParseInt(part[1], 10, 64)
	number, err2 := strconv.Atoi(part[2])
	milli, err3 := strconv.ParseInt(part[3], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return fmt.Errorf("no recording of ours")
	}
	if epoch == x.Epoch {
		return nil
	}
	seconds, err := media.Repair(path)
	if err != nil {
		return err
	}
	id := voice.ID(part[0])
	ctx, cancel := context.WithTimeout(x.ctx, 10*time.Minute)
	defer cancel()
	r, err := x.keep(ctx, id, path, time.UnixMilli(milli).UTC(), seconds)
	if err != nil {
		return err
	}
	_, err = x.Desk.Report(ctx, voice.Fact{Call: id, Number: oldFacts + number, Node: x.Node, Epoch: epoch, Kind: voice.Recorded, At: x.Now(), Recording: r})
	if err == nil || isFinal(err) {
		return os.Remove(path)
	}
	return err
}
