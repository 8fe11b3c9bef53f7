package gate

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tributary/channels/voice"
)

// sipp runs the program of that name with its own limits: one lost answer must not make it wait for ever.
func sipp(t *testing.T, seconds int, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("sipp")
	if err != nil {
		if os.Getenv("TEST_REQUIRE_SERVERS") == "1" {
			t.Fatal("sipp is not installed (package sip-tester)")
		}
		t.Skip("SKIPPED: sipp is not installed (package sip-tester)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(args, "-recv_timeout", "8000", "-nostdin", "-nd")...)
	cmd.Dir = t.TempDir()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	return out.String(), err
}

// tail is the end of a long text.
func tail(s string) string { return s[max(0, len(s)-2500):] }

func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port
}

// serve answers every call by what its number says, until the world ends.
func (w *world) serve(answer func(*Incoming)) {
	done := make(chan struct{})
	var all sync.WaitGroup
	go func() {
		for {
			select {
			case in := <-w.in:
				all.Go(func() { answer(in) })
			case <-done:
				return
			}
		}
	}()
	w.t.Cleanup(func() { close(done); w.close(); all.Wait() })
}

func talk(in *Incoming) {
	in.Ring()
	in.Accept([]byte(answerSDP))
	for range in.Events() {
	}
}

func TestSippCallsUs(t *testing.T) {
	for _, transport := range []string{"u1", "t1"} {
		t.Run(transport, func(t *testing.T) {
			w := open(t, nil)
			var calls atomic.Int32
			w.serve(func(in *Incoming) { calls.Add(1); talk(in) })
			out, err := sipp(t, 60, "-sn", "uac", w.Addr("trunk", "udp").String(), "-i", "127.0.0.1", "-t", transport, "-r", "50", "-m", "100", "-d", "50")
			if err != nil {
				t.Fatalf("%v: %s", err, tail(out))
			}
			if calls.Load() != 100 {
				t.Errorf("%d calls", calls.Load())
			}
			w.settle()
		})
	}
}

func TestSippIsCalled(t *testing.T) {
	w := open(t, nil)
	port := freePort(t)
	server := fmt.Sprintf("127.0.0.1:%d", port)
	w.desk.setTrunks(voice.Trunk{ID: testTrunk, Server: server})
	if err := w.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	var out string
	go func() {
		var err error
		out, err = sipp(t, 60, "-sn", "uas", "-i", "127.0.0.1", "-p", fmt.Sprint(port), "-m", "20")
		result <- err
	}()
	until(t, "sipp listens", func() bool {
		c, err := net.ListenPacket("udp", server)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	for range 20 {
		d := w.dialTrunk(t.Context(), Outgoing{})
		// The 200 comes right behind the 180, and the library may deliver it first: then it has not rung.
		e := <-d.Events()
		if e.Kind == EventRinging {
			e = event(t, d, EventAnswered)
		}
		if e.Kind != EventAnswered || len(e.SDP) == 0 {
			t.Errorf("event %+v", e)
		}
		d.HangUp("")
		event(t, d, EventEnded)
	}
	if err := <-result; err != nil {
		t.Fatalf("%v: %s", err, tail(out))
	}
	w.settle()
}

const cancelling = `<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="cancel">
<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="100" optional="true"/>
<recv response="180"/>
<pause distribution="uniform" min="0" max="80"/>
<send retrans="500"><![CDATA[
CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-7]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 CANCEL
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
<recv response="487"/>
<send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-11]
From: <sip:sipp@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
</scenario>
`

// A thousand calls that end at whatever moment, by whichever side, leave nothing.
func TestSippRandomEnds(t *testing.T) {
	w := open(t, nil)
	w.serve(func(in *Incoming) {
		stage := rand.IntN(6)
		if in.To == "cancel" {
			stage = 6
		}
		later := func() { time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) }
		switch stage {
		case 0:
			in.Refuse(486, "Busy")
		case 1:
			in.HangUp("at once")
		case 2:
			in.Ring()
			later()
			in.HangUp("while it rings")
		case 3:
			in.Accept([]byte(answerSDP))
			in.HangUp("before the ACK")
		case 4:
			in.Ring()
			in.Accept([]byte(answerSDP))
			later()
			in.HangUp("while it stands")
		case 5:
			in.Ring()
			in.Accept([]byte(answerSDP))
		case 6:
			in.Ring()
		}
		for range in.Events() {
		}
	})
	file := filepath.Join(t.TempDir(), "cancel.xml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(cancelling, "branch-7", "branch-4")), 0o600); err != nil {
		t.Fatal(err)
	}
	trunkPeer(t, w).alive()
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	all.Go(func() {
		// It counts what we end as failed calls, so what it says at its end says nothing.
		_, _ = sipp(t, 90, "-sn", "uac", w.Addr("trunk", "udp").String(), "-i", "127.0.0.1", "-s", "talk", "-r", "100", "-m", "700", "-d", "30")
	})
	all.Go(func() {
		out, err := sipp(t, 90, "-sf", file, w.Addr("trunk", "udp").String(), "-i", "127.0.0.1", "-s", "cancel", "-r", "60", "-m", "300")
		if err != nil {
			t.Errorf("%v: %s", err, tail(out))
		}
	})
	all.Wait()
	w.settle()
	t.Cleanup(func() {
		if t.Failed() {
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		}
	})
	// A BYE to a sipp that has gone is given up after 32 s.
	end := time.Now().Add(linger + patience)
	for runtime.NumGoroutine() > before+2 {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines are left, %d were there before", runtime.NumGoroutine(), before)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
