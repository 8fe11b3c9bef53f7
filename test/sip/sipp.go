package sip

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"tributary/internal/testdb"
)

// The scenarios are our own, after the flows of RFC 3665.
//
//go:embed *.xml
var scenarios embed.FS

// SippOptions is one run of sipp.
type SippOptions struct {
	// Scenario is a file of this package (uac_tone.xml, uac_cancel.xml, uac_hold.xml), or one that sipp brings along
	// (uas, uac).
	Scenario string
	// Remote is the ip:port of the program under test; a scenario that waits for calls needs none.
	Remote string
	// From and To are users.
	From, To string
	// Hz is what it sends; 0: 440. Keys are pressed in the middle.
	Hz   float64
	Keys string
	// Talk is how long it talks before it goes on (hangs up, holds); 0: 4 s. uac_cancel rings that long.
	Talk time.Duration
	// Echo sends all sound back.
	Echo bool
	// Calls is how many; 0: 1. Rate is how many a second; 0: 1.
	Calls, Rate int
	// Transport is "udp" (or "") or "tcp".
	Transport string
	// Args are further arguments.
	Args []string
}

// Sipp is one running sipp.
type Sipp struct {
	// Addr is its ip:port.
	Addr string
	// Dir holds what it writes: messages.log is the whole talk.
	Dir string

	*process
}

// StartSipp starts sipp. It gives up by itself when an answer does not come within 15 s.
func StartSipp(t testing.TB, o SippOptions) *Sipp {
	t.Helper()
	if os.Geteuid() != 0 && o.Scenario != "uas" {
		testdb.Missing(t, "sipp", errors.New("it plays captures through a raw socket, and has to be started by root"))
	}
	dir := t.TempDir()
	port := freePort(t, "udp")
	s := &Sipp{Addr: fmt.Sprintf("127.0.0.1:%d", port), Dir: dir}
	s.process = start(t, dir, "sipp", append(o.arguments(t, dir, port), o.Args...)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Log())
		}
	})
	return s
}

func (o SippOptions) arguments(t testing.TB, dir string, port int) []string {
	t.Helper()
	args := []string{
		"-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", strconv.Itoa(port), "-mp", strconv.Itoa(freePort(t, "udp")),
		"-m", strconv.Itoa(max(1, o.Calls)), "-r", strconv.Itoa(max(1, o.Rate)), "-recv_timeout", "15000", "-nd", "-nostdin",
		"-trace_msg", "-message_file", "messages.log", "-trace_err", "-error_file", "errors.log",
	}
	switch o.Transport {
	case "", "udp":
		args = append(args, "-t", "u1")
	default:
		args = append(args, "-t", "t1")
	}
	if o.Echo {
		args = append(args, "-rtp_echo")
	}
	if raw, err := fs.ReadFile(scenarios, o.Scenario); err == nil {
		o.write(t, dir, raw)
		args = append(args, "-sf", o.Scenario, "-d", strconv.Itoa(int(o.talk().Milliseconds())), "-key", "from", or(o.From, "caller"))
	} else {
		args = append(args, "-sn", o.Scenario)
	}
	if o.Remote != "" {
		args = append(args, "-s", or(o.To, "service"), o.Remote)
	}
	return args
}

func (o SippOptions) talk() time.Duration {
	if o.Talk == 0 {
		return 4 * time.Second
	}
	return o.Talk
}

// write lays scenario and captures into the folder: before.pcap with the keys in its middle, and after.pcap, which is the
// same source later on.
func (o SippOptions) write(t testing.TB, dir string, scenario []byte) {
	t.Helper()
	hz := o.Hz
	if hz == 0 {
		hz = 440
	}
	s := NewStream()
	half := o.talk() / 2
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, o.Scenario), scenario, 0o600),
		s.Tone(hz, half).Keys(o.Keys).Tone(hz, half).Cut(filepath.Join(dir, "before.pcap")),
		s.Tone(hz, o.talk()).Cut(filepath.Join(dir, "after.pcap")),
	)
	if err != nil {
		t.Fatal(err)
	}
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Wait waits until all calls were made, and is nil if each went as the scenario says.
func (s *Sipp) Wait(ctx context.Context) error {
	err := s.wait(ctx)
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() == 1 {
		return fmt.Errorf("a call did not go as the scenario says: %w", err)
	}
	return err
}

// Log is the end of what it sent, received and complained about.
func (s *Sipp) Log() string {
	messages, _ := os.ReadFile(filepath.Join(s.Dir, "messages.log"))
	complaints, _ := os.ReadFile(filepath.Join(s.Dir, "errors.log"))
	return fmt.Sprintf("sipp's errors:\n%s\nmessages:\n%s", complaints, messages[max(0, len(messages)-8000):])
}
