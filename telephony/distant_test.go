package telephony

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"

	"tributary/channels/voice"
	"tributary/internal/crypt"
	"tributary/internal/peer"
	"tributary/telephony/gate"
)

// neighbour is a second node, joined with the first by real requests from node to node.
func (w *world) neighbour() (b *Exchange, cut *atomic.Bool) {
	w.t.Helper()
	key, err := peer.NewKey(crypt.Secret("a secret of thirty-two characters"))
	if err != nil {
		w.t.Fatal(err)
	}
	cut = &atomic.Bool{}
	client := peer.NewClient(key)
	w.t.Cleanup(client.Close)
	addr := map[string]string{}
	ask := func(ctx context.Context, node, method string, in, out any) error {
		if cut.Load() {
			return voice.ErrUnreachable
		}
		return AskJSON(ctx, client, addr[node], node, method, in, out)
	}
	cfg := w.config("b")
	cfg.Ask = ask
	b = New(w.t.Context(), cfg)
	w.x.Ask = ask
	for node, x := range map[string]*Exchange{"a": w.x, "b": b} {
		lis, err := (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			w.t.Fatal(err)
		}
		addr[node] = lis.Addr().String()
		s := peer.New(peer.Config{Key: key, Node: node, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		x.Serve(s)
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- s.Run(ctx, lis) }()
		w.t.Cleanup(func() {
			cancel()
			ok(w.t, <-ran)
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		ok(w.t, <-ran)
	})
	return b, cut
}

func (w *world) ringAt(node, phone string) error {
	return w.x.Ring(w.t.Context(), w.ref("leg_a"), voice.RingOrder{Seconds: 20, At: []voice.Registration{{Node: node, Contact: phone}}})
}

func TestAPhoneOfAnotherNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.neighbour()
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	if err := w.ringAt("b", "desk"); err != nil {
		t.Fatal(err)
	}
	phone := w.phone("desk")
	phone.far(gate.Event{Kind: gate.EventRinging})
	phone.far(gate.Event{Kind: gate.EventAnswered, SDP: []byte("pcma")})
	w.expect("answered leg_c", "queued", "ringing leg_a", "up leg_a")
	k, a := w.port(0), w.port(1)
	w.joined(k, a)
	phone.far(gate.Event{Kind: gate.EventOffer, SDP: []byte("hold")})
	w.eventually("the hold is answered", func() bool { return phone.has("answer answer to hold") })
	w.parted(k, a)
	phone.far(gate.Event{Kind: gate.EventOffer, SDP: []byte("pcma")})
	w.joined(k, a)
	caller.far(gate.Event{Kind: gate.EventEnded})
	w.eventually("the phone is hung up", func() bool { return phone.has("hang up") })
}

func TestAPhoneOfAnotherNodeThatIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, cut := w.neighbour()
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	if err := w.ringAt("b", "desk"); err != nil {
		t.Fatal(err)
	}
	phone := w.phone("desk")
	phone.far(gate.Event{Kind: gate.EventAnswered, SDP: []byte("pcma")})
	w.expect("answered leg_c", "queued", "up leg_a")
	cut.Store(true)
	w.expect("answered leg_c", "queued", "up leg_a", "left leg_a MEDIA_LOST")
	w.eventually("the phone is hung up by its own node", func() bool { return phone.has("hang up") })
	if caller.over() {
		t.Error("the caller was hung up")
	}
	caller.far(gate.Event{Kind: gate.EventEnded})
}

func TestVerbsReachTheNodeOfTheCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b, cut := w.neighbour()
	caller := w.caller()
	w.expect("answered leg_c", "queued")
	answer, err := b.Connect(t.Context(), w.ref("leg_b"), voice.ConnectOrder{SDPOffer: "o"})
	if err != nil || answer != "sdp for o" {
		t.Fatal(answer, err)
	}
	if err := b.Hold(t.Context(), w.ref("leg_x"), true); !errors.Is(err, voice.ErrNoCall) {
		t.Errorf("a leg that is not there: %v", err)
	}
	stale := w.ref("leg_b")
	stale.Epoch = 1
	if err := b.Hold(t.Context(), stale, true); !errors.Is(err, voice.ErrStale) {
		t.Errorf("another epoch: %v", err)
	}
	cut.Store(true)
	if err := b.Conform(t.Context(), w.ref(""), voice.Wanted{Version: 5, Over: true}); !errors.Is(err, voice.ErrUnreachable) {
		t.Errorf("a node that does not answer: %v", err)
	}
	caller.far(gate.Event{Kind: gate.EventEnded})
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}
