package sip

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tributary/telephony/siptest/tone"
)

// BaresipOptions is how a baresip is set up.
type BaresipOptions struct {
	// Registrar is the host:port that it registers at and calls through; "": it does not register.
	Registrar string
	// Username is its account, Password the secret. Domain of its address; "": the registrar's host, else 127.0.0.1.
	Username, Password, Domain string
	// Transport is "udp" (or "") or "tcp".
	Transport string
	// Hz is the tone that it speaks; 0: 660.
	Hz int
	// Codecs in its order; "": PCMA,PCMU.
	Codecs string
	// Manual: it rings until Accept; else it answers at once.
	Manual bool
	// Expires is how long it registers for; 0: an hour.
	Expires time.Duration
}

// Baresip is one running phone. It speaks a tone, and records what it hears in a call.
type Baresip struct {
	// Addr is its ip:port; URI its whole address, to call it without a registrar.
	Addr, URI string
	// Dir holds settings and recordings.
	Dir string

	*process
	control net.Conn

	mu      sync.Mutex
	events  []BaresipEvent
	changed chan struct{} // closed and made anew with each event
	answers chan baresipAnswer
}

// BaresipEvent is what it tells by itself.
type BaresipEvent struct {
	Type      string `json:"type"` // REGISTER_OK, REGISTER_FAIL, CALL_INCOMING, CALL_RINGING, CALL_ESTABLISHED, CALL_CLOSED …
	Direction string `json:"direction"`
	Peer      string `json:"peeruri"`
	Param     string `json:"param"`
}

type baresipAnswer struct {
	OK   bool   `json:"ok"`
	Data string `json:"data"`
}

// StartBaresip starts a phone and waits until it can be spoken to; it may not be registered yet.
func StartBaresip(t testing.TB, o BaresipOptions) *Baresip {
	t.Helper()
	b := &Baresip{Dir: t.TempDir(), changed: make(chan struct{}), answers: make(chan baresipAnswer, 1)}
	port, control := freePort(t, "udp"), freePort(t, "tcp")
	b.Addr = fmt.Sprintf("127.0.0.1:%d", port)
	b.URI = fmt.Sprintf("sip:%s@%s", o.user(), b.Addr)
	if o.Transport == "tcp" {
		b.URI += ";transport=tcp"
	}
	for name, text := range map[string]string{"config": o.config(b.Dir, port, control, freePort(t, "udp")), "accounts": o.account(), "contacts": ""} {
		if err := os.WriteFile(filepath.Join(b.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.process = start(t, b.Dir, "baresip", "-f", b.Dir, "-v")
	if err := b.connect(t.Context(), fmt.Sprintf("127.0.0.1:%d", control)); err != nil {
		t.Fatalf("talk to baresip: %v\n%s", err, b.out.tail())
	}
	t.Cleanup(func() { _ = b.control.Close() })
	return b
}

func (o BaresipOptions) user() string { return or(o.Username, "phone") }

// config names the few modules that are needed. The player is a bridge that nobody listens at, so no sound card is.
func (o BaresipOptions) config(dir string, port, control, media int) string {
	hz := o.Hz
	if hz == 0 {
		hz = 660
	}
	lines := []string{
		"poll_method epoll",
		fmt.Sprintf("sip_listen 127.0.0.1:%d", port),
		"net_interface 127.0.0.1",
		"call_local_timeout 120", "call_max_calls 4",
		fmt.Sprintf("audio_source ausine,%d", hz),
		"audio_player aubridge,nobody", "audio_alert aubridge,alert",
		"ausrc_srate 48000", "ausrc_channels 2", // all that the sine makes
		"jitter_buffer_delay 3-20",
		fmt.Sprintf("rtp_ports %d-%d", media, media+60),
		"ringback_disabled yes", "menu_bell no", "statmode_default off",
		"module_path /usr/lib/baresip/modules",
		"module g711.so", "module ausine.so", "module aubridge.so", "module sndfile.so",
		"module_tmp uuid.so", "module_tmp account.so",
		"module_app menu.so", "module_app ctrl_tcp.so",
		fmt.Sprintf("ctrl_tcp_listen 127.0.0.1:%d", control),
		"snd_path " + dir,
	}
	return strings.Join(lines, "\n") + "\n"
}

func (o BaresipOptions) account() string {
	domain, outbound := or(o.Domain, "127.0.0.1"), ""
	if host, _, err := net.SplitHostPort(o.Registrar); err == nil {
		domain = or(o.Domain, host)
		outbound = fmt.Sprintf(";outbound=\"sip:%s;transport=%s\"", o.Registrar, or(o.Transport, "udp"))
	}
	expires := 0
	if o.Registrar != "" {
		expires = 3600
		if o.Expires > 0 {
			expires = int(o.Expires.Seconds())
		}
	}
	mode := "auto"
	if o.Manual {
		mode = "manual"
	}
	return fmt.Sprintf("<sip:%s@%s;transport=%s>;auth_user=%s;auth_pass=%s;regint=%d;answermode=%s;audio_codecs=%s%s\n",
		o.user(), domain, or(o.Transport, "udp"), o.user(), or(o.Password, "none"), expires, mode, or(o.Codecs, "PCMA,PCMU"), outbound)
}

// connect reaches its control port, which opens a while after the start.
func (b *Baresip) connect(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			b.control = conn
			go b.listen(bufio.NewReader(conn))
			return nil
		}
		select {
		case <-b.done:
			return fmt.Errorf("it ended: %w", errors.Join(b.err, err))
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// listen takes events and answers, each a string with its length before it and a comma behind.
func (b *Baresip) listen(r *bufio.Reader) {
	for {
		head, err := r.ReadString(':')
		if err != nil {
			return
		}
		length, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
		if err != nil {
			return
		}
		raw := make([]byte, length+1)
		if _, err := io.ReadFull(r, raw); err != nil {
			return
		}
		b.take(raw[:length])
	}
}

func (b *Baresip) take(raw []byte) {
	var kind struct {
		Event bool `json:"event"`
	}
	var e BaresipEvent
	var a baresipAnswer
	if json.Unmarshal(raw, &kind) != nil || json.Unmarshal(raw, &e) != nil || json.Unmarshal(raw, &a) != nil {
		return
	}
	if !kind.Event {
		b.answers <- a
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	close(b.changed)
	b.changed = make(chan struct{})
}

// Command has it do something ("help" lists what it can), and returns what it says. One at a time.
func (b *Baresip) Command(ctx context.Context, name, params string) (string, error) {
	raw, err := json.Marshal(map[string]string{"command": name, "params": params, "token": "t"})
	if err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(b.control, "%d:%s,", len(raw), raw); err != nil {
		return "", fmt.Errorf("baresip is gone: %w", err)
	}
	select {
	case a := <-b.answers:
		if !a.OK {
			return "", fmt.Errorf("baresip refuses %s: %s", name, a.Data)
		}
		return a.Data, nil
	case <-b.done:
		return "", errors.New("baresip has ended")
	case <-ctx.Done():
		return "", fmt.Errorf("baresip does not answer %s: %w", name, ctx.Err())
	}
}

// Await waits until it has told the nth event of a type, counted from 1, and returns it.
func (b *Baresip) Await(ctx context.Context, kind string, nth int) (BaresipEvent, error) {
	for {
		b.mu.Lock()
		changed, events := b.changed, slices.Clone(b.events)
		b.mu.Unlock()
		seen := 0
		for _, e := range events {
			if e.Type == kind {
				if seen++; seen == nth {
					return e, nil
				}
			}
		}
		select {
		case <-changed:
		case <-b.done:
			return BaresipEvent{}, errors.New("baresip has ended")
		case <-ctx.Done():
			return BaresipEvent{}, fmt.Errorf("baresip has not told %s, but %+v: %w", kind, events, ctx.Err())
		}
	}
}

// AwaitRegistered waits until it says that it is registered. It asks, because it may have been before we could listen.
func (b *Baresip) AwaitRegistered(ctx context.Context) error { return b.awaitRegistration(ctx, "OK") }

// AwaitRefused waits until it says that it is not.
func (b *Baresip) AwaitRefused(ctx context.Context) error { return b.awaitRegistration(ctx, "ERR") }

func (b *Baresip) awaitRegistration(ctx context.Context, want string) error {
	for {
		said, err := b.Command(ctx, "reginfo", "")
		if err != nil {
			return err
		}
		if slices.Contains(strings.Fields(plain(said)), want) {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("baresip says of its registration %q, not %s: %w", said, want, ctx.Err())
		}
	}
}

// plain takes out what colours a terminal.
func plain(text string) string {
	for {
		before, rest, found := strings.Cut(text, "\x1b[")
		if !found {
			return text
		}
		_, after, _ := strings.Cut(rest, "m")
		text = before + " " + after
	}
}

// Dial calls an address, or a user at the registrar.
func (b *Baresip) Dial(ctx context.Context, uri string) error { return b.do(ctx, "dial", uri) }

// Accept answers a call that rings.
func (b *Baresip) Accept(ctx context.Context) error { return b.do(ctx, "accept", "") }

// HangUp ends or declines the current call.
func (b *Baresip) HangUp(ctx context.Context) error { return b.do(ctx, "hangup", "") }

// Hold and Resume put the far end on hold by a re-INVITE, and take it back.
func (b *Baresip) Hold(ctx context.Context) error { return b.do(ctx, "hold", "") }

// Resume takes the far end back.
func (b *Baresip) Resume(ctx context.Context) error { return b.do(ctx, "resume", "") }

// Digits presses keys in the current call (RFC 4733).
func (b *Baresip) Digits(ctx context.Context, digits string) error {
	for _, digit := range digits {
		if err := b.do(ctx, "sndcode", string(digit)); err != nil {
			return err
		}
	}
	return nil
}

// AwaitDigits waits until it has told that these keys were pressed over there, in all its calls, and no others.
func (b *Baresip) AwaitDigits(ctx context.Context, digits string) error {
	told := regexp.MustCompile(`received event: '(.)' \(end=1\)`)
	for {
		var got strings.Builder
		for _, m := range told.FindAllStringSubmatch(b.out.all(), -1) {
			got.WriteString(m[1])
		}
		if got.String() == digits {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("baresip has the keys %q, not %q: %w", got.String(), digits, ctx.Err())
		}
	}
}

// Transfer sends the far end to another address (REFER, RFC 3515).
func (b *Baresip) Transfer(ctx context.Context, uri string) error { return b.do(ctx, "transfer", uri) }

func (b *Baresip) do(ctx context.Context, name, params string) error {
	_, err := b.Command(ctx, name, params)
	return err
}

// Heard is what it heard in its last call that has ended. It holds what was decoded, one after the other: a packet that
// never came leaves no gap, so lengths are to be judged as well.
func (b *Baresip) Heard() ([]int16, error) { return b.recording("dec") }

// Spoke is what it said in its last call.
func (b *Baresip) Spoke() ([]int16, error) { return b.recording("enc") }

func (b *Baresip) recording(kind string) ([]int16, error) {
	files, err := filepath.Glob(filepath.Join(b.Dir, "dump-*-"+kind+".wav"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("baresip recorded nothing: %w", errors.Join(err, os.ErrNotExist))
	}
	slices.Sort(files) // their names are times
	s, err := tone.ReadWAVFile(files[len(files)-1])
	if err != nil {
		return nil, err
	}
	if s.Rate != tone.Rate {
		return nil, fmt.Errorf("a recording of %d Hz", s.Rate)
	}
	return s.Channels[0], nil
}
