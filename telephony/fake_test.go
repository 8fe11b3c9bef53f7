package telephony

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tributary/channels/voice"
	"tributary/internal/blob"
	"tributary/telephony/gate"
	"tributary/telephony/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeDialog is the far end of a SIP dialog, played by the test.
type fakeDialog struct {
	name   string
	events chan gate.Event
	mu     sync.Mutex
	did    []string
	ended  bool
}

func newDialog(name string) *fakeDialog {
	return &fakeDialog{name: name, events: make(chan gate.Event, 64)}
}

func (d *fakeDialog) ID() string                { return d.name }
func (d *fakeDialog) Events() <-chan gate.Event { return d.events }
func (d *fakeDialog) note(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did = append(d.did, s)
}
func (d *fakeDialog) Ring()                { d.note("ring") }
func (d *fakeDialog) Accept(b []byte)      { d.note("accept " + string(b)) }
func (d *fakeDialog) AnswerOffer(b []byte) { d.note("answer " + string(b)) }
func (d *fakeDialog) RefuseOffer(code int) { d.note(fmt.Sprint("refuse offer ", code)) }
func (d *fakeDialog) Reoffer(context.Context, []byte) ([]byte, error) {
	return nil, errors.New("not here")
}

func (d *fakeDialog) Refuse(code int, _ string) {
	d.note(fmt.Sprint("refuse ", code))
	d.end(gate.Event{Kind: gate.EventEnded})
}

func (d *fakeDialog) HangUp(string) {
	d.note("hang up")
	d.end(gate.Event{Kind: gate.EventEnded})
}

// far is something that the far end does.
func (d *fakeDialog) far(e gate.Event) {
	if e.Kind == gate.EventEnded {
		e.Remote = true
		d.end(e)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.events <- e
	}
}

func (d *fakeDialog) end(e gate.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	d.ended = true
	d.events <- e
	close(d.events)
}

func (d *fakeDialog) over() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended
}

func (d *fakeDialog) has(s string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.did, s)
}

// fakePort is a link that keeps what was done with it. What the far end says is written by say.
type fakePort struct {
	w       *world
	mu      sync.Mutex
	sink    media.Sink
	heard   map[string]int // marks of packets that came out here
	presses string         // keys as a far end reads them: another one wherever source or time change
	press   [2]uint64
	notices chan media.Notice
	holds   bool
	closed  bool
	codec   media.Codec
	renewed int
}

func (w *world) newPort(prefer media.Codec) *fakePort {
	p := &fakePort{w: w, heard: map[string]int{}, notices: make(chan media.Notice, 64), codec: prefer}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports = append(w.ports, p)
	return p
}

func (p *fakePort) Write(k *media.Packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.Key != nil {
		p.heard["key "+string(k.Key.Digit)]++
		if now := [2]uint64{k.Source, uint64(k.Timestamp)}; now != p.press {
			p.press, p.presses = now, p.presses+string(k.Key.Digit)
		}
		return
	}
	name := "music"
	if bytes.HasPrefix(k.Payload, []byte("voice of ")) {
		name = string(k.Payload)
	}
	p.heard[name]++
}

func (p *fakePort) Codec() media.Codec { return p.codec }
func (p *fakePort) Forward(to media.Sink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sink = to
}
func (p *fakePort) Notices() <-chan media.Notice { return p.notices }
func (p *fakePort) Stats() media.Stats           { return media.Stats{Received: 95, Lost: 5} }
func (p *fakePort) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.notices)
	}
	return nil
}
func (p *fakePort) Offer() []byte { return []byte("offer") }
func (p *fakePort) Answer(offer []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if string(offer) == "video" {
		return nil, voice.ErrMedia
	}
	p.holds = string(offer) == "hold"
	return append([]byte("answer to "), offer...), nil
}

func (p *fakePort) Accept(answer []byte) error {
	if string(answer) == "video" {
		return voice.ErrMedia
	}
	return nil
}

func (p *fakePort) RemoteHolds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.holds
}

func (p *fakePort) Renew(context.Context, string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewed++
	return fmt.Sprint("renewed ", p.renewed), nil
}

// say is the far end speaking.
func (p *fakePort) say(who string) {
	p.mu.Lock()
	to := p.sink
	p.mu.Unlock()
	if to != nil {
		to.Write(&media.Packet{Codec: p.codec, Payload: []byte("voice of " + who)})
	}
}

func (p *fakePort) hears(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard[name] > 0
}

func (p *fakePort) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.heard)
}

func (p *fakePort) notice(k media.NoticeKind, digit byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.notices <- media.Notice{Kind: k, Digit: digit}
	}
}

// world is a node whose desk, phones and trunk the test plays.
type world struct {
	t *testing.T
	x *Exchange

	mu       sync.Mutex
	facts    []voice.Fact
	greeting voice.Greeting
	greetErr error
	say      func(voice.Fact) (voice.Answer, error)
	wanted   map[voice.ID]voice.Wanted
	ports    []*fakePort
	phones   map[string]*fakeDialog
	trunk    []*fakeDialog
	dialErr  error
	files    map[string][]byte
	invites  sync.WaitGroup
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, phones: map[string]*fakeDialog{}, wanted: map[voice.ID]voice.Wanted{}, files: map[string][]byte{},
		greeting: voice.Greeting{Call: "cal_1", Leg: "leg_c", Version: 1},
	}
	w.x = New(t.Context(), w.config("a"))
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- w.x.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		if n := w.x.Calls(); n != 0 {
			t.Errorf("%d calls are left", n)
		}
		w.noPortLeft()
	})
	return w
}

func (w *world) config(node string) Config {
	return Config{
		Node: node, Epoch: 7, Desk: w, Lines: w, Files: w, Folder: w.t.TempDir(), BackWithin: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Port: func(prefer media.Codec) (Port, error) { return w.newPort(prefer), nil },
		Browser: func(_ context.Context, offer string, prefer media.Codec) (Browser, string, error) {
			return w.newPort(prefer), "sdp for " + offer, nil
		},
	}
}

func (w *world) noPortLeft() {
	w.t.Helper()
	w.eventually("every port is closed", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !slices.ContainsFunc(w.ports, func(p *fakePort) bool { p.mu.Lock(); defer p.mu.Unlock(); return !p.closed })
	})
}

func (w *world) Greet(context.Context, voice.Arrival) (voice.Greeting, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.greeting, w.greetErr
}

func (w *world) Report(_ context.Context, f voice.Fact) (voice.Answer, error) {
	w.mu.Lock()
	say := w.say
	w.mu.Unlock()
	var a voice.Answer
	if say != nil {
		var err error
		if a, err = say(f); err != nil {
			return a, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.facts = append(w.facts, f)
	return a, nil
}

func (w *world) Pulse(_ context.Context, _ string, _ int64, calls []voice.ID) (map[voice.ID]voice.Wanted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[voice.ID]voice.Wanted{}
	for _, id := range calls {
		if x, ok := w.wanted[id]; ok {
			out[id] = x
		}
	}
	return out, nil
}
func (w *world) Trunks(context.Context) ([]voice.Trunk, error)      { return nil, nil }
func (w *world) TrunkHealth(context.Context, voice.ID, error) error { return nil }
func (w *world) Phone(context.Context, string) (voice.Phone, error) {
	return voice.Phone{}, voice.ErrUnknown
}
func (w *world) Register(context.Context, voice.Registration) error { return nil }
func (w *world) DialTrunk(context.Context, voice.ID, gate.Outgoing) (gate.Dialog, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dialErr != nil {
		return nil, w.dialErr
	}
	d := newDialog(fmt.Sprint("trunk", len(w.trunk)))
	w.trunk = append(w.trunk, d)
	return d, nil
}

func (w *world) DialPhone(_ context.Context, r voice.Registration, _ gate.Outgoing) (gate.Dialog, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dialErr != nil {
		return nil, w.dialErr
	}
	d := newDialog(r.Contact)
	w.phones[r.Contact] = d
	return d, nil
}

func (w *world) Put(_ context.Context, key string, r io.Reader, _ int64) (blob.Info, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return blob.Info{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[key] = b
	return blob.Info{Bytes: int64(len(b)), SHA256: "x"}, nil
}

func (w *world) Get(context.Context, string) (io.ReadSeekCloser, blob.Info, error) {
	return nil, blob.Info{}, errors.New("no such sound")
}

// told are the facts so far, as "kind leg cause".
func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]string, len(w.facts))
	for n, f := range w.facts {
		out[n] = strings.Join(strings.Fields(fmt.Sprint(f.Kind, " ", f.Leg, " ", f.Cause, " ", f.Digit, " ", f.Step, " ", f.Exit, " ", f.Queue)), " ")
	}
	return out
}

func (w *world) phone(name string) *fakeDialog {
	w.t.Helper()
	var d *fakeDialog
	w.eventually("the phone "+name+" rings", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		d = w.phones[name]
		return d != nil
	})
	return d
}

func (w *world) port(n int) *fakePort {
	w.t.Helper()
	var p *fakePort
	w.eventually(fmt.Sprint("port ", n), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.ports) > n {
			p = w.ports[n]
		}
		return p != nil
	})
	return p
}

func (w *world) expect(facts ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("facts %q", facts), func() bool { return slices.Equal(w.told(), facts) })
}

func (w *world) eventually(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if f() {
			return
		}
	}
	w.t.Fatalf("not so: %s; told: %q", what, w.told())
}

// invite is a call that comes in, up to the answer.
func (w *world) invite(sdp string) *fakeDialog {
	d := newDialog("caller")
	w.invites.Go(func() {
		w.x.Incoming(&gate.Incoming{Dialog: d, Trunk: "chn_1", Key: "k", From: "+8613800138000", SDP: []byte(sdp)})
	})
	return d
}

// caller is a call whose caller is connected.
func (w *world) caller() *fakeDialog {
	w.t.Helper()
	d := w.invite("pcma")
	w.eventually("answered", func() bool { return d.has("accept answer to pcma") })
	d.far(gate.Event{Kind: gate.EventConfirmed})
	return d
}

func (w *world) ref(leg voice.ID) voice.Ref {
	return voice.Ref{Call: "cal_1", Leg: leg, Node: "a", Epoch: 7, Version: 1}
}
