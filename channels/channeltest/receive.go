package channeltest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"tributary/channels"
)

// maxWebhook is the body limit of every webhook, in bytes.
const maxWebhook = 1 << 20

func (r *rig) inbound() (channels.Receiver, InboundFake) {
	receiver, _ := r.channel.(channels.Receiver)
	fake, _ := r.fake.(InboundFake)
	return receiver, fake
}

// take receives a call that must be taken.
func (r *rig) take(t *testing.T, request *channels.Request) []channels.Inbound {
	t.Helper()
	receiver, _ := r.inbound()
	got, err := receiver.Receive(t.Context(), request)
	if err != nil {
		t.Fatalf("receive: %v", err)
	}
	return got.Events
}

// refusal receives a call that must be refused and returns the status.
func (r *rig) refusal(t *testing.T, request *channels.Request) int {
	t.Helper()
	receiver, _ := r.inbound()
	got, err := receiver.Receive(t.Context(), request)
	r.discreet(t, err)
	refused, ok := errors.AsType[*channels.Refused](err)
	if !ok {
		t.Fatalf("receive gave %v and %d events, want a refusal", err, len(got.Events))
	}
	if refused.Status < 400 || refused.Status > 499 || refused.Message == "" {
		t.Errorf("refused with %d %q, want 4xx and a message", refused.Status, refused.Message)
	}
	return refused.Status
}

func receives(t *testing.T, open func(*testing.T) *rig) {
	for name, play := range map[string]func(*testing.T, *rig){
		"message":         message,
		"wrong signature": wrongSignature,
		"replay":          replay,
		"parallel":        parallel,
		"disorder":        disorder,
		"unknown kind":    unknownKind,
		"hostile bodies":  hostileBodies,
	} {
		t.Run(name, func(t *testing.T) { play(t, open(t)) })
	}
}

func message(t *testing.T, r *rig) {
	_, fake := r.inbound()
	events := r.take(t, fake.Message("one"))
	if len(events) != 1 {
		t.Fatalf("%d events, want 1", len(events))
	}
	in := events[0]
	switch {
	case in.Kind != channels.InboundMessage:
		t.Errorf("kind is %q", in.Kind)
	case in.ExternalID == "" || in.ThreadKey == "":
		t.Errorf("external id %q, thread key %q: both are needed", in.ExternalID, in.ThreadKey)
	case len(in.Sender) == 0 || len(in.Parts) == 0:
		t.Errorf("%d identities, %d parts: both are needed", len(in.Sender), len(in.Parts))
	case in.OccurredAt.IsZero() || in.OccurredAt.Location().String() != "UTC":
		t.Errorf("occurred at %v, want a time in UTC", in.OccurredAt)
	case len(in.Raw.Bytes) == 0:
		t.Error("the raw event is not kept")
	}
	for _, key := range in.Sender {
		if key.Level > channels.Claimed && in.Proof.Kind == channels.ProofNone {
			t.Errorf("identity %s is above CLAIMED without a proof", key.Kind)
		}
	}
	roundTrip(t, in)
}

// roundTrip: the core stores events as JSON and ingests them later.
func roundTrip(t *testing.T, in channels.Inbound) {
	t.Helper()
	stored, err := json.Marshal(in)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	var back channels.Inbound
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatalf("decode: %v", err)
	}
	if !reflect.DeepEqual(in, back) {
		t.Errorf("stored and read again:\n%+v\nwant\n%+v", back, in)
	}
}

func wrongSignature(t *testing.T, r *rig) {
	_, fake := r.inbound()
	if status := r.refusal(t, fake.Forged(fake.Message("one"))); status != 401 && status != 403 {
		t.Errorf("refused with %d, want 401 or 403", status)
	}
	bare := fake.Message("two")
	bare.Header = nil
	bare.Query = nil
	r.refusal(t, bare)
	r.take(t, fake.Message("one")) // The control: the same call, well signed.
}

func replay(t *testing.T, r *rig) {
	_, fake := r.inbound()
	first, again := r.take(t, fake.Message("one")), r.take(t, fake.Message("one"))
	if first[0].ExternalID != again[0].ExternalID {
		t.Errorf("a repeat has the id %q, the first %q", again[0].ExternalID, first[0].ExternalID)
	}
	if other := r.take(t, fake.Message("two")); other[0].ExternalID == first[0].ExternalID {
		t.Errorf("two messages share the id %q", first[0].ExternalID)
	}
}

func parallel(t *testing.T, r *rig) {
	receiver, fake := r.inbound()
	const calls = 32
	var mu sync.Mutex
	var wait sync.WaitGroup
	seen := map[string]int{}
	for i := range calls {
		request := fake.Message(fmt.Sprintf("p%d", i/2)) // Each of them twice.
		wait.Go(func() {
			got, err := receiver.Receive(t.Context(), request)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || len(got.Events) != 1 {
				t.Errorf("receive: %v, %d events", err, len(got.Events))
				return
			}
			seen[got.Events[0].ExternalID]++
		})
	}
	wait.Wait()
	if len(seen) != calls/2 {
		t.Errorf("%d different ids, want %d", len(seen), calls/2)
	}
}

func disorder(t *testing.T, r *rig) {
	_, fake := r.inbound()
	one, two := fake.Message("one"), fake.Message("two")
	late, early := r.take(t, two), r.take(t, one)
	if again := r.take(t, one); !reflect.DeepEqual(again, early) {
		t.Error("an event depends on what came before it")
	}
	if again := r.take(t, two); !reflect.DeepEqual(again, late) {
		t.Error("an event depends on what came before it")
	}
}

func unknownKind(t *testing.T, r *rig) {
	_, fake := r.inbound()
	request := fake.Unknown("odd")
	events := r.take(t, request)
	if len(events) != 1 || events[0].Kind != channels.InboundUnknown {
		t.Fatalf("got %d events, want one of kind unknown", len(events))
	}
	if events[0].ExternalID == "" || len(events[0].Raw.Bytes) == 0 {
		t.Error("an unknown event needs its id and its raw bytes")
	}
	roundTrip(t, events[0])
}

func hostileBodies(t *testing.T, r *rig) {
	receiver, fake := r.inbound()
	r.refusal(t, fake.Signed(nil))
	if status := r.refusal(t, fake.Signed(bytes.Repeat([]byte{' '}, maxWebhook+1))); status != 413 {
		t.Errorf("a body over the limit was refused with %d, want 413", status)
	}
	for _, body := range Hostile() {
		got, err := receiver.Receive(t.Context(), fake.Signed(body))
		r.discreet(t, err)
		if refused, is := errors.AsType[*channels.Refused](err); err != nil && (!is || len(refused.Message) > 500) {
			t.Errorf("body %.40q: %v, want events or a short refusal", body, err)
		}
		for _, in := range got.Events {
			if err := Sound(in); err != nil {
				t.Errorf("body %.40q: %v", body, err)
			}
		}
	}
}

// Sound checks what holds for every event whatever came in: it has an id, a kind,
// a time and its raw bytes, can be stored as JSON, and no text in it holds a NUL,
// which databases refuse. A fuzz target calls it.
func Sound(in channels.Inbound) error {
	switch {
	case in.Kind == "" || in.ExternalID == "" || in.OccurredAt.IsZero() || len(in.Raw.Bytes) == 0:
		return fmt.Errorf("event is incomplete: %+v", in)
	case in.Kind == channels.InboundMessage && (in.ThreadKey == "" || len(in.Parts) == 0):
		return fmt.Errorf("message without thread or parts: %+v", in)
	}
	in.Raw = channels.Raw{}
	stored, err := json.Marshal(in)
	if err != nil {
		return err
	}
	var tree any
	if err := json.Unmarshal(stored, &tree); err != nil {
		return err
	}
	if holdsNUL(tree) {
		return fmt.Errorf("event holds NUL: %s", stored)
	}
	return json.Unmarshal(stored, new(channels.Inbound))
}

func holdsNUL(tree any) bool {
	switch v := tree.(type) {
	case string:
		return strings.ContainsRune(v, 0)
	case []any:
		return slices.ContainsFunc(v, holdsNUL)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), holdsNUL)
	}
	return false
}

// Hostile returns bodies that have broken parsers: also the seeds for a fuzz
// target.
func Hostile() [][]byte {
	deep := strings.Repeat(`{"a":[`, 50_000)
	bodies := []string{
		"", " ", "null", "true", "0", `""`, "[]", "{}", "[{}]", "[[[[]]]]", "{", "\x00", "\xff\xfe",
		"<xml/>", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "a=b&c=d", "--x\r\n\r\n",
		`{"id":null}`, `{"id":1e999}`, `{"id":"\ud800"}`, `{"id":"a\u0000b"}`, `{"id":"a","id":"b"}`,
		`{"id":"a","kind":"message","kind":7}`, `{"\u0000":1}`, `{"events":{}}`, `{"events":[null]}`,
		`{"events":[[]]}`, "{\"id\":\"\xc3\x28\"}", `{"a":` + strings.Repeat("9", 100_000) + `}`,
		deep, strings.Repeat("[", 200_000), `{"id":"a","x":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}`,
	}
	list := make([][]byte, len(bodies))
	for i, body := range bodies {
		list[i] = []byte(body)
	}
	return list
}
