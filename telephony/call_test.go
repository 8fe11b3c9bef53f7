package telephony

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tributary/channels/voice"
	"tributary/telephony/gate"
	"tributary/telephony/media"
)

func (w *world) ring(leg voice.ID, phones ...string) error {
	o := voice.RingOrder{Agent: "agt_1", Seconds: 20}
	for _, p := range phones {
		o.At = append(o.At, voice.Registration{Node: "a", Contact: p})
	}
	return w.x.Ring(w.t.Context(), w.ref(leg), o)
}

// talk is a caller joined with an agent's phone.
func (w *world) talk() (caller, phone *fakeDialog, k, a *fakePort) {
	w.t.Helper()
	caller = w.caller()
	w.expect("answered leg_c", "queued")
	if err := w.ring("leg_a", "desk"); err != nil {
		w.t.Fatal(err)
	}
	phone = w.phone("desk")
	phone.far(gate.Event{Kind: gate.EventRinging})
	phone.far(gate.Event{Kind: gate.EventAnswered, SDP: []byte("pcma")})
	w.expect("answered leg_c", "queued", "ringing leg_a", "up leg_a")
	k, a = w.port(0), w.port(1)
	w.joined(k, a)
	return caller, phone, k, a
}

func (w *world) joined(k, a *fakePort) {
	w.t.Helper()
	w.eventually("they hear each other", func() bool {
		k.say("customer")
		a.say("agent")
		return a.hears("voice of customer") && k.hears("voice of agent")
	})
}

func (w *world) parted(k, a *fakePort) {
	w.t.Helper()
	w.eventually("the customer hears music and not the agent", func() bool { return k.hears("music") })
	k.forget()
	a.forget()
	k.say("customer")
	a.say("agent")
	if a.hears("voice of customer") || k.hears("voice of agent") {
		w.t.Error("they still hear each other")
	}
}

func TestACallerWaitsWithMusicAndTheAgentsPhoneIsJoined(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	w.eventually("music", func() bool { return w.port(0).hears("music") })
	if err := w.ring("leg_a", "desk"); err != nil {
		t.Fatal(err)
	}
	w.phone("desk").far(gate.Event{Kind: gate.EventAnswered, SDP: []byte("pcma")})
	k, a := w.port(0), w.port(1)
	w.joined(k, a)
	w.eventually("the music has ended", func() bool { // one packet may have been on its way
		k.forget()
		time.Sleep(60 * time.Millisecond) // three packets of music
		return !k.hears("music")
	})
	caller.far(gate.Event{Kind: gate.EventEnded})
	w.expect("answered leg_c", "queued", "up leg_a", "ended CUSTOMER_HUNG_UP")
	w.eventually("the phone is hung up", func() bool { return w.phone("desk").has("hang up") })
}

func TestTheAgentHangsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller, phone, _, _ := w.talk()
	phone.far(gate.Event{Kind: gate.EventEnded})
	w.expect("answered leg_c", "queued", "ringing leg_a", "up leg_a", "ended AGENT_HUNG_UP")
	w.eventually("the caller is hung up", func() bool { return caller.has("hang up") })
}

func TestACallerWhoIsGoneWhileWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	if err := w.ring("leg_a", "desk"); err != nil {
		t.Fatal(err)
	}
	phone := w.phone("desk")
	caller.far(gate.Event{Kind: gate.EventEnded})
	w.expect("answered leg_c", "queued", "ended ABANDONED")
	w.eventually("the phone rings no more", func() bool { return phone.has("hang up") })
}

func TestACallerWhoIsGoneBeforeTheDeskKnowsHim(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mu.Lock() // the desk takes its time
	caller := w.invite("pcma")
	caller.far(gate.Event{Kind: gate.EventEnded})
	time.Sleep(20 * time.Millisecond)
	w.mu.Unlock()
	w.expect("ended ABANDONED")
}

func TestTheDeskRefusesACaller(t *testing.T) {
	t.Parallel()
	for code, err := range map[string]error{"refuse 603": voice.ErrRefused} {
		w := newWorld(t)
		w.greetErr = err
		caller := w.invite("pcma")
		w.eventually(code, func() bool { return caller.has(code) })
		w.expect()
	}
}

func TestAnOfferWithoutCommonAudioIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller := w.invite("video")
	w.eventually("488", func() bool { return caller.has("refuse 488") })
	w.expect()
}

func TestAPhoneThatIsNotAnsweredOrDeclines(t *testing.T) {
	t.Parallel()
	for code, cause := range map[int]string{486: "BUSY", 603: "REJECTED", 480: "NO_ANSWER", 404: "UNREACHABLE", 500: "FAILED"} {
		t.Run(cause, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			caller := w.caller()
			w.expect("answered leg_c", "queued")
			if err := w.ring("leg_a", "desk"); err != nil {
				t.Fatal(err)
			}
			w.phone("desk").far(gate.Event{Kind: gate.EventEnded, Code: code})
			w.expect("answered leg_c", "queued", "missed leg_a "+cause)
			w.port(0).forget()
			w.eventually("music goes on", func() bool { return w.port(0).hears("music") })
			caller.far(gate.Event{Kind: gate.EventEnded})
		})
	}
}

func TestNobodyLiftsInTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	o := voice.RingOrder{Seconds: 1, At: []voice.Registration{{Node: "a", Contact: "desk"}}}
	if err := w.x.Ring(t.Context(), w.ref("leg_a"), o); err != nil {
		t.Fatal(err)
	}
	w.expect("answered leg_c", "queued", "missed leg_a NO_ANSWER")
	w.eventually("the phone rings no more", func() bool { return w.phone("desk").has("hang up") })
	caller.far(gate.Event{Kind: gate.EventEnded})
}

func TestTheFirstPhoneWinsAndTheOthersStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	if err := w.ring("leg_a", "desk", "soft"); err != nil {
		t.Fatal(err)
	}
	w.phone("soft").far(gate.Event{Kind: gate.EventAnswered, SDP: []byte("pcma")})
	w.expect("answered leg_c", "queued", "up leg_a")
	w.eventually("the other phone stops", func() bool { return w.phone("desk").has("hang up") })
	if w.phone("soft").has("hang up") {
		t.Error("the winner was hung up")
	}
	caller.far(gate.Event{Kind: gate.EventEnded})
}

func TestALegThatTheDeskDoesNotAdmitHearsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say = func(f voice.Fact) (voice.Answer, error) {
		if f.Kind == voice.Up {
			return voice.Answer{}, voice.ErrRefused
		}
		return voice.Answer{}, nil
	}
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	if err := w.ring("leg_a", "desk"); err != nil {
		t.Fatal(err)
	}
	w.phone("desk").far(gate.Event{Kind: gate.EventAnswered, SDP: []byte("pcma")})
	w.eventually("the leg is dropped", func() bool { return w.phone("desk").has("hang up") })
	w.parted(w.port(0), w.port(1))
	caller.far(gate.Event{Kind: gate.EventEnded})
	w.expect("answered leg_c", "queued", "ended ABANDONED")
}

func TestABrowserIsConnectedOnceItStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	o := voice.ConnectOrder{Agent: "agt_1", SDPOffer: "o1"}
	for range 2 { // a repeat gets the same
		answer, err := w.x.Connect(t.Context(), w.ref("leg_b"), o)
		if err != nil || answer != "sdp for o1" {
			t.Fatalf("%q, %v", answer, err)
		}
	}
	if answer, err := w.x.Connect(t.Context(), w.ref("leg_b"), voice.ConnectOrder{SDPOffer: "o2"}); err != nil || answer != "renewed 1" {
		t.Fatalf("%q, %v", answer, err)
	}
	w.expect("answered leg_c", "queued")
	w.port(1).notice(media.NoticeUp, 0)
	w.expect("answered leg_c", "queued", "up leg_b")
	w.joined(w.port(0), w.port(1))
	w.port(1).notice(media.NoticeLost, 0)
	w.expect("answered leg_c", "queued", "up leg_b", "left leg_b MEDIA_LOST")
	w.eventually("the customer waits again", func() bool { return w.port(0).hears("music") })
	if caller.over() {
		t.Error("the caller was hung up")
	}
	caller.far(gate.Event{Kind: gate.EventEnded})
}

func TestABrowserThatIsLoadedAgainKeepsTheCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.x.BackWithin = time.Minute
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	if _, err := w.x.Connect(t.Context(), w.ref("leg_b"), voice.ConnectOrder{Agent: "agt_1", SDPOffer: "o1"}); err != nil {
		t.Fatal(err)
	}
	w.port(1).notice(media.NoticeUp, 0)
	w.joined(w.port(0), w.port(1))
	w.port(1).notice(media.NoticeLost, 0)
	if answer, err := w.x.Renew(t.Context(), w.ref("leg_b"), "o2"); err != nil || answer != "renewed 1" {
		t.Fatalf("%q, %v", answer, err)
	}
	w.port(1).notice(media.NoticeUp, 0)
	w.port(1).notice(media.NoticeDigit, '1') // told only once all before it was done
	w.expect("answered leg_c", "queued", "up leg_b", "digit leg_b 1")
	w.joined(w.port(0), w.port(1))
	caller.far(gate.Event{Kind: gate.EventEnded})
	w.expect("answered leg_c", "queued", "up leg_b", "digit leg_b 1", "ended CUSTOMER_HUNG_UP")
}

func TestHoldAndMute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller, phone, k, a := w.talk()
	ctx := t.Context()
	if err := w.x.Hold(ctx, w.ref("leg_a"), true); err != nil {
		t.Fatal(err)
	}
	if got := w.told(); got[len(got)-1] != "held leg_a" {
		t.Errorf("a verb returned before its fact was stored: %q", got)
	}
	w.parted(k, a)
	if err := w.x.Hold(ctx, w.ref("leg_a"), false); err != nil {
		t.Fatal(err)
	}
	w.joined(k, a)
	if err := w.x.Mute(ctx, w.ref("leg_a"), true); err != nil {
		t.Fatal(err)
	}
	k.forget()
	a.forget()
	a.say("agent")
	k.say("customer")
	if k.hears("voice of agent") || !a.hears("voice of customer") {
		t.Error("a muted agent is heard, or hears nothing")
	}
	if err := w.x.Mute(ctx, w.ref("leg_a"), false); err != nil {
		t.Fatal(err)
	}
	phone.far(gate.Event{Kind: gate.EventOffer, SDP: []byte("hold")}) // by the phone's own key
	w.eventually("told", func() bool { return slices.Contains(w.told(), "held leg_a") && phone.has("answer answer to hold") })
	w.parted(k, a)
	phone.far(gate.Event{Kind: gate.EventOffer, SDP: []byte("pcma")})
	w.joined(k, a)
	caller.far(gate.Event{Kind: gate.EventEnded})
}

func TestKeysAreToldAndReachTheFlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.greeting.Flow = &voice.Flow{Start: "hello", Nodes: map[string]voice.Node{
		"hello": {Kind: voice.NodePrompt, Sound: &voice.Sound{Name: voice.SoundWelcome}, Exits: map[string]string{voice.ExitDone: "menu"}},
		"menu": {Kind: voice.NodeMenu, Sound: &voice.Sound{Name: voice.SoundWelcome}, TimeoutSeconds: 30, Exits: map[string]string{
			"1": "sales", voice.ExitTimeout: "sales", voice.ExitInvalid: "sales",
		}},
		"sales": {Kind: voice.NodeQueue, Queue: "que_1"},
	}}
	if p := w.greeting.Flow.Check(); len(p) > 0 {
		t.Fatal(p)
	}
	caller := w.caller()
	w.expect("answered leg_c", "stepped hello done")
	w.port(0).notice(media.NoticeDigit, '7')
	w.expect("answered leg_c", "stepped hello done", "digit leg_c 7")
	w.port(0).notice(media.NoticeDigit, '1')
	w.expect("answered leg_c", "stepped hello done", "digit leg_c 7", "digit leg_c 1", "stepped menu 1", "stepped sales", "queued que_1")
	caller.far(gate.Event{Kind: gate.EventDigit, Digit: '5'})
	w.eventually("INFO is told", func() bool { return slices.Contains(w.told(), "digit leg_c 5") })
	caller.far(gate.Event{Kind: gate.EventEnded})
}

func TestAMenuThatNobodyAnswersLeadsOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.greeting.Flow = &voice.Flow{Start: "menu", Nodes: map[string]voice.Node{
		"menu": {Kind: voice.NodeMenu, TimeoutSeconds: 1, Tries: 2, Exits: map[string]string{"1": "a", voice.ExitTimeout: "b", voice.ExitInvalid: "a"}},
		"a":    {Kind: voice.NodeQueue, Queue: "que_a"},
		"b":    {Kind: voice.NodeQueue, Queue: "que_b"},
	}}
	caller := w.caller()
	w.expect("answered leg_c", "stepped menu timeout", "stepped b", "queued que_b")
	caller.far(gate.Event{Kind: gate.EventEnded})
}

func TestWhatTheDeskWantsIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller, phone, k, a := w.talk()
	ctx := t.Context()
	old := voice.Wanted{Version: 0, Over: true}
	if err := w.x.Conform(ctx, w.ref(""), old); err != nil || phone.over() || caller.over() {
		t.Fatalf("an old wish was obeyed: %v", err)
	}
	if err := w.x.Conform(ctx, w.ref(""), voice.Wanted{Version: 2, Legs: []voice.ID{"leg_c"}}); err != nil {
		t.Fatal(err)
	}
	if !phone.has("hang up") {
		t.Error("the leg that is not wanted lives")
	}
	w.parted(k, a)
	if err := w.ring("leg_z", "other"); !errors.Is(err, voice.ErrRefused) {
		t.Errorf("a ring older than a newer wish: %v", err)
	}
	w.mu.Lock()
	w.wanted["cal_1"] = voice.Wanted{Version: 3, Over: true, Cause: voice.AgentHungUp}
	w.mu.Unlock()
	w.eventually("the pulse ends it", func() bool { return caller.has("hang up") })
	w.expect("answered leg_c", "queued", "ringing leg_a", "up leg_a", "left leg_a DROPPED", "ended AGENT_HUNG_UP")
}

func TestFactsComeOnceAndInOrderThroughABadDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tries := map[int]int{}
	w.say = func(f voice.Fact) (voice.Answer, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if tries[f.Number]++; tries[f.Number] <= 2 {
			return voice.Answer{}, errors.New("no database")
		}
		return voice.Answer{}, nil
	}
	_, phone, _, _ := w.talk()
	phone.far(gate.Event{Kind: gate.EventEnded})
	w.expect("answered leg_c", "queued", "ringing leg_a", "up leg_a", "ended AGENT_HUNG_UP")
	for n, f := range w.facts {
		if f.Number != n+1 || f.Epoch != 7 || f.Node != "a" {
			t.Errorf("fact %d has number %d, node %s, epoch %d", n, f.Number, f.Node, f.Epoch)
		}
	}
}

func TestACallOfAnotherEpochIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say = func(f voice.Fact) (voice.Answer, error) {
		if f.Kind == voice.Queued {
			return voice.Answer{}, voice.ErrStale
		}
		return voice.Answer{}, nil
	}
	caller := w.caller()
	w.eventually("hung up", func() bool { return caller.has("hang up") })
	w.eventually("gone", func() bool { return w.x.Calls() == 0 })
	if err := w.ring("leg_a", "desk"); !errors.Is(err, voice.ErrNoCall) {
		t.Errorf("a verb for a call that is gone: %v", err)
	}
	old := w.ref("leg_a")
	old.Epoch = 6
	if err := w.x.Ring(t.Context(), old, voice.RingOrder{}); !errors.Is(err, voice.ErrStale) {
		t.Errorf("a verb of another epoch: %v", err)
	}
}

func TestARecordingIsStoredAndTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say = func(f voice.Fact) (voice.Answer, error) { return voice.Answer{Record: f.Kind == voice.Up}, nil }
	caller, _, _, _ := w.talk()
	caller.far(gate.Event{Kind: gate.EventEnded})
	w.eventually("told", func() bool {
		return strings.HasPrefix(w.told()[len(w.told())-1], "recorded") || slices.Contains(w.told(), "recorded")
	})
	w.eventually("no file is left", func() bool { left, _ := filepath.Glob(w.x.Folder + "/*"); return len(left) == 0 })
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.files) != 1 {
		t.Errorf("stored %d files", len(w.files))
	}
}

func TestWhatAnEarlierLifeRecordedIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.say = func(f voice.Fact) (voice.Answer, error) { return voice.Answer{Record: f.Kind == voice.Up}, nil }
	w.talk()
	var name string
	w.eventually("a file", func() bool {
		left, _ := filepath.Glob(w.x.Folder + "/*.wav")
		if len(left) == 1 {
			name = left[0]
		}
		return name != ""
	})
	b, err := os.ReadFile(name) //nolint:gosec // of the test's own folder
	if err != nil {
		t.Fatal(err)
	}
	next := w.config("a")
	next.Epoch = 8
	if err := os.WriteFile(filepath.Join(next.Folder, filepath.Base(name)), b, 0o600); err != nil {
		t.Fatal(err)
	}
	x := New(t.Context(), next)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- x.Run(ctx) }()
	w.eventually("told with the old epoch", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.facts, func(f voice.Fact) bool { return f.Kind == voice.Recorded && f.Epoch == 7 && f.Number > oldFacts })
	})
	cancel()
	if err := <-ran; err != nil {
		t.Fatal(err)
	}
}

func TestACallOfOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	to := w.ref("leg_c")
	answer, err := w.x.Dial(t.Context(), to, voice.DialOrder{AgentLeg: "leg_b", Connect: &voice.ConnectOrder{SDPOffer: "o"}, Trunk: "chn_1", Number: "+8613800138000"})
	if err != nil || answer != "sdp for o" {
		t.Fatal(answer, err)
	}
	b := w.port(0)
	b.notice(media.NoticeUp, 0)
	w.expect("up leg_b")
	w.eventually("the trunk is dialled", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.trunk) == 1 })
	w.eventually("ringing tone", func() bool { return b.hears("music") })
	d := w.trunk[0]
	d.far(gate.Event{Kind: gate.EventRinging})
	d.far(gate.Event{Kind: gate.EventAnswered, SDP: []byte("pcma")})
	w.expect("up leg_b", "ringing leg_c", "answered leg_c")
	w.joined(w.port(1), b)
	if err := w.x.Digits(t.Context(), to, "1"); err != nil || !w.port(1).hears("key 1") {
		t.Errorf("the key did not come out: %v", err)
	}
	d.far(gate.Event{Kind: gate.EventEnded})
	w.expect("up leg_b", "ringing leg_c", "answered leg_c", "ended CUSTOMER_HUNG_UP")
}

// Keys by INFO come as fast as the phone likes, and the contract has keys of its own: none may be cut by another.
func TestKeysOfManyGoOutOneAfterTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller, phone, k, _ := w.talk()
	for _, digit := range "123" {
		phone.far(gate.Event{Kind: gate.EventDigit, Digit: byte(digit)})
	}
	w.eventually("the first is under way", func() bool { return k.hears("key 1") })
	if err := w.x.Digits(t.Context(), w.ref("leg_c"), "45"); err != nil {
		t.Fatal(err)
	}
	var got string
	w.eventually("all came out", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		got = k.presses
		return len(got) >= 5
	})
	if got != "12345" && got != "14523" && got != "12453" { // the verb may come between, but not into one
		t.Errorf("the far end reads %q", got)
	}
	caller.far(gate.Event{Kind: gate.EventEnded})
}

func TestACallOfOursThatIsNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.x.Dial(t.Context(), w.ref("leg_c"), voice.DialOrder{AgentLeg: "leg_b", Connect: &voice.ConnectOrder{SDPOffer: "o"}}); err != nil {
		t.Fatal(err)
	}
	w.port(0).notice(media.NoticeUp, 0)
	w.eventually("the trunk is dialled", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.trunk) == 1 })
	w.trunk[0].far(gate.Event{Kind: gate.EventEnded, Code: 486})
	w.expect("up leg_b", "ended BUSY")
}

// Calls that end at a random stage from a random side leave nothing, and tell one end each.
func TestHangUpsAtRandomStages(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // a time is positive
	t.Logf("seed %d", seed)
	for n := range 60 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := rand.New(rand.NewPCG(seed, uint64(n))) //nolint:gosec // a test's own
			pause := func() { time.Sleep(time.Duration(r.IntN(3)) * time.Millisecond) }
			caller := w.invite("pcma")
			stage := r.IntN(6)
			steps := []func(){
				func() { caller.far(gate.Event{Kind: gate.EventConfirmed}) },
				func() { _ = w.ring("leg_a", "desk") },
				func() { w.tryPhone("desk", gate.Event{Kind: gate.EventRinging}) },
				func() { w.tryPhone("desk", gate.Event{Kind: gate.EventAnswered, SDP: []byte("pcma")}) },
				func() { _ = w.x.Hold(t.Context(), w.ref("leg_a"), true) },
			}
			for _, s := range steps[:min(stage, len(steps))] {
				s()
				pause()
			}
			ends := []func(){
				func() { caller.far(gate.Event{Kind: gate.EventEnded}) },
				func() {
					w.tryPhone("desk", gate.Event{Kind: gate.EventEnded, Code: 486})
					pause()
					caller.far(gate.Event{Kind: gate.EventEnded})
				},
				func() {
					_ = w.x.Conform(t.Context(), w.ref(""), voice.Wanted{Version: 9, Over: true})
					caller.far(gate.Event{Kind: gate.EventEnded})
				},
			}
			ends[r.IntN(len(ends))]()
			w.invites.Wait()
			w.eventually("nothing is left", func() bool { return w.x.Calls() == 0 })
			ended := 0
			for _, f := range w.told() {
				if strings.HasPrefix(f, "ended") {
					ended++
				} else if ended > 0 {
					t.Errorf("told after the end: %q", w.told())
				}
			}
			if ended != 1 {
				t.Errorf("told %d ends: %q", ended, w.told())
			}
		})
	}
}

func (w *world) tryPhone(name string, e gate.Event) {
	w.mu.Lock()
	d := w.phones[name]
	w.mu.Unlock()
	if d != nil {
		d.far(e)
	}
}

func TestANodeWithoutLinesRefusesCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config("b")
	cfg.Port, cfg.Browser = nil, nil
	x := New(t.Context(), cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- x.Run(ctx) }()
	to := w.ref("leg_c")
	to.Node = "b"
	if _, err := x.Dial(t.Context(), to, voice.DialOrder{AgentLeg: "leg_b", Connect: &voice.ConnectOrder{SDPOffer: "o"}}); !errors.Is(err, voice.ErrUnreachable) {
		t.Errorf("a call of a browser: %v", err)
	}
	w.eventually("nothing is left", func() bool { return x.Calls() == 0 })
	ring := voice.RingOrder{Seconds: 5, At: []voice.Registration{{Node: "b", Contact: "desk"}}}
	if _, err := x.Dial(t.Context(), to, voice.DialOrder{AgentLeg: "leg_b", Ring: &ring}); !errors.Is(err, voice.ErrUnreachable) {
		t.Errorf("a call of a phone: %v", err)
	}
	w.eventually("nothing is left", func() bool { return x.Calls() == 0 })
	d := newDialog("caller")
	x.Incoming(&gate.Incoming{Dialog: d, SDP: []byte("pcma")})
	if !d.has("refuse 503") {
		t.Errorf("a caller: %v", d.did)
	}
	cancel()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
