package custom_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"tributary/channels"
	"tributary/channels/channeltest"
	"tributary/channels/custom"
)

var update = flag.Bool("update", false, "write golden files")

// golden compares what was made of a payload with its golden file.
func golden(t *testing.T, name string, got any) {
	t.Helper()
	text, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if want := testdata(t, name+".golden"); !bytes.Equal(text, want) {
		t.Errorf("%s gave\n%s\nwant\n%s", name, text, want)
	}
}

// withoutRaw drops the raw bytes, which stand in the payload's own file.
func withoutRaw(events []channels.Inbound) []channels.Inbound {
	for i := range events {
		events[i].Raw = channels.Raw{}
	}
	return events
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"message", "kinds", "delivery", "failed", "unknown", "nul_surrogate"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			golden(t, name, withoutRaw(s.events(t, testdata(t, name+".json"))))
		})
	}
}

// TestForeignSignature: the signature was made by openssl, not by our code.
func TestForeignSignature(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, value, _ := strings.Cut(strings.TrimSpace(string(testdata(t, "message.signature"))), ": ")
	body := testdata(t, "message.json")
	r := &channels.Request{Method: http.MethodPost, Header: http.Header{}, Body: body}
	r.Header.Set("Tributary-Signature", value)
	if _, err := s.receive(t, r); err != nil {
		t.Fatal(err)
	}
	if got := custom.Sign("bridge-secret-one", channeltest.Start, body); got != value {
		t.Errorf("Sign gave %q, want %q", got, value)
	}
}

func TestAnswerCounts(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, err := s.receive(t, s.bridge.Event(testdata(t, "batch_100.json")))
	if err != nil {
		t.Fatal(err)
	}
	if body := string(got.Answer.Body(100)); body != `{"accepted":100}` || got.Answer.Status != 200 || got.Answer.ContentType != "application/json" {
		t.Errorf("answer is %d %q %s", got.Answer.Status, got.Answer.ContentType, body)
	}
}

func TestSameIDTwice(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := testdata(t, "message.json")
	first := s.events(t, body)
	s.clock.Advance(time.Minute)
	s.bridge.Clock.Advance(time.Minute)
	if again := s.events(t, body); again[0].ExternalID != "evt_981" || first[0].ExternalID != "evt_981" {
		t.Errorf("ids are %q and %q", first[0].ExternalID, again[0].ExternalID)
	}
}

func TestSameIDParallel(t *testing.T) {
	t.Parallel()
	s := start(t)
	receiver := as[channels.Receiver](t, s.channel)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			got, err := receiver.Receive(t.Context(), s.bridge.Event([]byte(text("same"))))
			if err != nil || len(got.Events) != 1 || got.Events[0].ExternalID != "same" {
				t.Errorf("got %v, %+v", err, got.Events)
			}
		})
	}
	wait.Wait()
}

// text is a small message with an id.
func text(id string) string {
	return fmt.Sprintf(`{"id":%q,"kind":"message","at":"2026-01-01T08:00:00Z","from":{"id":"u-1"},"parts":[{"type":"text","text":"hi"}]}`, id)
}

// TestOutOfOrder: the order is told by the events' own times.
func TestOutOfOrder(t *testing.T) {
	t.Parallel()
	s := start(t)
	late := s.events(t, []byte(strings.Replace(text("late"), "08:00:00", "08:00:09", 1)))
	early := s.events(t, []byte(text("early")))
	if !early[0].OccurredAt.Before(late[0].OccurredAt) || early[0].ThreadKey != late[0].ThreadKey {
		t.Errorf("early %v, late %v", early[0].OccurredAt, late[0].OccurredAt)
	}
}

func TestHundredEvents(t *testing.T) {
	t.Parallel()
	s := start(t)
	if events := s.events(t, testdata(t, "batch_100.json")); len(events) != 100 || events[99].ExternalID != "evt_99" {
		t.Errorf("%d events", len(events))
	}
	_, err := s.receive(t, s.bridge.Event([]byte(`{"events":[`+strings.Repeat(text("a")+",", 100)+text("b")+`]}`)))
	refused(t, err, 400, "events must hold at most 100 events")
}

// TestHundredEventsOneBad: nothing of the request is taken, and the bridge is
// told which field to mend.
func TestHundredEventsOneBad(t *testing.T) {
	t.Parallel()
	s := start(t)
	got, err := s.receive(t, s.bridge.Event(testdata(t, "batch_100_one_bad.json")))
	refused(t, err, 400, "events[41].parts[0].text has the wrong type")
	if len(got.Events) != 0 {
		t.Errorf("%d events came with the refusal", len(got.Events))
	}
}

func TestSignatureWrong(t *testing.T) {
	t.Parallel()
	s := start(t)
	r := s.bridge.Event([]byte(text("a")))
	r.Body = []byte(text("b"))
	_, err := s.receive(t, r)
	refused(t, err, 401, "signature does not match")
	good := s.bridge.Event([]byte(text("a"))).Header.Get("Tributary-Signature")
	for _, header := range []string{
		"", "t=", "v1=", good[:len(good)-1] + "g", strings.Replace(good, "t=", "t=+", 1), strings.Replace(good, "t=", "t=-", 1),
		strings.Split(good, ",")[0], strings.Split(good, ",")[1], "t=1767254400,v1=", "t=99999999999999999999,v1=aa",
		good + strings.Repeat(",v1=aa", 10), "t=1767254400,v2=" + strings.Split(good, "v1=")[1],
	} {
		r := s.bridge.Event([]byte(text("a")))
		r.Header.Set("Tributary-Signature", header)
		_, err := s.receive(t, r)
		if r, ok := errors.AsType[*channels.Refused](err); !ok || r.Status != 401 {
			t.Errorf("header %q: %v, want 401", header, err)
		}
	}
}

func TestSignatureOld(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, err := s.receive(t, s.bridge.EventAt([]byte(text("a")), channeltest.Start.Add(-time.Hour), s.bridge.Secrets[0]))
	refused(t, err, 401, "signature is too old or from the future")
}

func TestSignatureOtherSecret(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, err := s.receive(t, s.bridge.EventAt([]byte(text("a")), channeltest.Start, "other-secret"))
	refused(t, err, 401, "signature does not match")
}

// TestSignatureWhileRotating: both secrets hold until the old one is removed, and
// a bridge may sign with both.
func TestSignatureWhileRotating(t *testing.T) {
	t.Parallel()
	old := start(t).bridge
	old.Secrets = []string{"new-secret", "old-secret"}
	both := open(t, old, settings{})
	body := []byte(text("a"))
	for secret, key := range map[string]string{"new-secret": "current", "old-secret": "previous"} {
		got, err := both.receive(t, old.EventAt(body, channeltest.Start, secret))
		if err != nil || got.Events[0].Proof.KeyID != key {
			t.Errorf("%s: %v, proof %+v", secret, err, got.Events)
		}
	}
	twice := old.EventAt(body, channeltest.Start, "unknown-yet")
	_, second, _ := strings.Cut(custom.Sign("old-secret", channeltest.Start, body), ",")
	twice.Header.Set("Tributary-Signature", twice.Header.Get("Tributary-Signature")+","+second)
	if _, err := both.receive(t, twice); err != nil {
		t.Errorf("signed with two secrets: %v", err)
	}
	old.Secrets = []string{"new-secret"}
	removed := open(t, old, settings{})
	_, err := removed.receive(t, old.EventAt(body, channeltest.Start, "old-secret"))
	refused(t, err, 401, "signature does not match")
}

func TestClockSkew299And301(t *testing.T) {
	t.Parallel()
	s := start(t)
	for seconds, taken := range map[time.Duration]bool{-301: false, -300: true, -299: true, 0: true, 299: true, 300: true, 301: false} {
		_, err := s.receive(t, s.bridge.EventAt([]byte(text("a")), channeltest.Start.Add(seconds*time.Second), s.bridge.Secrets[0]))
		if taken != (err == nil) {
			t.Errorf("%d s off: %v, taken should be %v", seconds, err, taken)
		}
	}
}

func TestBodyOneMiBAndOne(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := []byte(text("a"))
	full := append(body, bytes.Repeat([]byte{' '}, 1<<20-len(body))...)
	if _, err := s.receive(t, s.bridge.Event(full)); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	_, err := s.receive(t, s.bridge.Event(append(full, ' ')))
	refused(t, err, 413, "body is larger than 1 MiB")
}

func TestNULAndLoneSurrogates(t *testing.T) {
	t.Parallel()
	s := start(t)
	in := s.events(t, testdata(t, "nul_surrogate.json"))[0]
	for _, got := range []string{in.SenderName, in.Parts[0].Text, in.Parts[1].Media.Name} {
		if strings.ContainsRune(got, 0) || !utf8.ValidString(got) || got == "" {
			t.Errorf("text is %q", got)
		}
	}
	if !strings.Contains(in.Parts[0].Text, "😀") {
		t.Errorf("a good surrogate pair was lost: %q", in.Parts[0].Text)
	}
	if strings.ContainsAny(in.Parts[1].Media.Name, `/\`) {
		t.Errorf("file name is %q", in.Parts[1].Media.Name)
	}
	for field, body := range map[string]string{
		"id": text(`a` + "\x00"), "thread": strings.Replace(text("a"), `"from"`, `"thread":"\ud800","from"`, 1),
		"from.id": strings.Replace(text("a"), "u-1", `\u0000`, 1),
	} {
		_, err := s.receive(t, s.bridge.Event([]byte(strings.ReplaceAll(body, `\x00`, `\u0000`))))
		refused(t, err, 400, field+" must be a text of 1 to 200 bytes without control characters")
	}
}

func TestUnknownKind(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := testdata(t, "unknown.json")
	in := s.events(t, body)[0]
	if in.Kind != channels.InboundUnknown || in.ExternalID != "evt_990" || !bytes.Equal(in.Raw.Bytes, bytes.TrimSpace(body)) {
		t.Errorf("got %+v", in)
	}
}

func TestFirstBadField(t *testing.T) {
	t.Parallel()
	s := start(t)
	message := func(change string) string {
		return `{"id":"a","kind":"message","from":{"id":"u"},"parts":[{"type":"text","text":"x"}],` + change + `}`
	}
	for body, want := range map[string]string{
		``:                                       "body is not valid JSON",
		`{"id":"a"} {}`:                          "body is not valid JSON",
		`[]`:                                     "body must be one object",
		`{"events":{}}`:                          "events must be a list",
		`{"events":[7]}`:                         "events[0] must be an object",
		`{}`:                                     "id must be a text of 1 to 200 bytes without control characters",
		`{"id":"a"}`:                             "kind is required",
		`{"id":"a","kind":7}`:                    "kind has the wrong type",
		`{"id":7,"kind":"wave"}`:                 "id has the wrong type",
		`{"id":"a","kind":"message"}`:            "from is required",
		`{"id":"a","kind":"delivery"}`:           "message is required",
		`{"id":"a","kind":"edit","message":"b"}`: "parts is required",
		`{"id":"a","kind":"delivery","message":"msg_1","state":"lost"}`:                  "state must be delivered, read or failed",
		`{"id":"a","kind":"follow","from":{"id":""}}`:                                    "from.id must be a text of 1 to 200 bytes without control characters",
		`{"id":"a","kind":"follow","from":{"id":"u","phone":"123"}}`:                     "from.phone must be a number such as +8613800138000",
		`{"id":"a","kind":"follow","from":{"id":"u","email":"x"}}`:                       "from.email must be a bare mail address",
		`{"id":"a","kind":"follow","from":{"id":"u","name":7}}`:                          "from.name has the wrong type",
		message(`"at":"yesterday"`):                                                      "at must be a time such as 2026-01-01T08:00:00Z",
		message(`"to":[{"id":"x"},{}]`):                                                  "to[1].id must be a text of 1 to 200 bytes without control characters",
		message(`"to":["x"]`):                                                            "to[0] must be an object",
		message(`"replyWithinSeconds":0`):                                                "replyWithinSeconds must be 1 to 31536000",
		message(`"repliesAllowed":0,"replyWithinSeconds":1`):                             "repliesAllowed must be 1 to 1000000",
		message(`"repliesAllowed":1`):                                                    "replyWithinSeconds is required beside repliesAllowed",
		message(`"parts":[]`):                                                            "parts is required",
		message(`"parts":["x"]`):                                                         "parts[0] must be an object",
		message(`"parts":[{}]`):                                                          "parts[0].type is required",
		message(`"parts":[{"type":"text"}]`):                                             "parts[0].text is required",
		message(`"parts":[{"type":"image","url":"file:///etc/passwd"}]`):                 "parts[0].url must be an http or https address",
		message(`"parts":[{"type":"image","url":"https://u:p@x/"}]`):                     "parts[0].url must be an http or https address",
		message(`"parts":[{"type":"link","url":"javascript:alert(1)"}]`):                 "parts[0].url must be an http or https address",
		message(`"parts":[{"type":"file","url":"https://x/","bytes":-1}]`):               "parts[0].bytes must not be negative",
		message(`"parts":[{"type":"location","latitude":91,"longitude":0}]`):             "parts[0].latitude must be -90 to 90",
		message(`"parts":[` + strings.Repeat(`{"type":"text","text":"x"},`, 50) + `{}]`): "parts must hold at most 50 parts",
	} {
		_, err := s.receive(t, s.bridge.Event([]byte(body)))
		refused(t, err, 400, want)
	}
	r := s.bridge.Event([]byte(text("a")))
	r.Method = http.MethodGet
	_, err := s.receive(t, r)
	refused(t, err, 405, "method must be POST")
}

// TestFutureEventIsNow: one wrong clock must not hold the last place for ever.
func TestFutureEventIsNow(t *testing.T) {
	t.Parallel()
	s := start(t)
	in := s.events(t, []byte(strings.Replace(text("a"), "2026", "2036", 1)))[0]
	if !in.OccurredAt.Equal(channeltest.Start) {
		t.Errorf("occurred at %v", in.OccurredAt)
	}
}

func TestReplyWindow(t *testing.T) {
	t.Parallel()
	s := start(t, settings{"replyWindows": []settings{{"seconds": 600, "messages": 3}}})
	own := s.events(t, testdata(t, "message.json"))[0].Grant
	if own == nil || own.Count != 5 || !own.Until.Equal(channeltest.Start.Add(48*time.Hour)) {
		t.Errorf("the event's own window is %+v", own)
	}
	declared := s.events(t, []byte(text("a")))[0].Grant
	if declared == nil || declared.Count != 3 || !declared.Until.Equal(channeltest.Start.Add(10*time.Minute)) {
		t.Errorf("the declared window is %+v", declared)
	}
	if none := s.events(t, testdata(t, "delivery.json"))[0].Grant; none != nil {
		t.Errorf("a receipt opens %+v", none)
	}
}

func TestOwnIDs(t *testing.T) {
	t.Parallel()
	body := testdata(t, "message.json")
	if to := start(t).events(t, body)[0].To; len(to) != 1 || !to[0].Own {
		t.Errorf("to is %+v, want the desk marked as own", to)
	}
	if to := start(t, settings{"ownIds": []string{"support"}}).events(t, body)[0].To; to[0].Own {
		t.Errorf("to is %+v, want a stranger", to)
	}
}

func FuzzReceive(f *testing.F) {
	for _, name := range []string{"message.json", "kinds.json", "delivery.json", "unknown.json", "nul_surrogate.json", "batch_100_one_bad.json"} {
		f.Add(testdata(f, name))
	}
	for _, body := range channeltest.Hostile() {
		if len(body) < 10_000 {
			f.Add(body)
		}
	}
	const secret = "fuzz-secret"
	cfg, err := channels.DecodeConfig(custom.Kind, nil, map[string][]string{"signingSecret": {secret}})
	if err != nil {
		f.Fatal(err)
	}
	opened, err := custom.Kind.Open(cfg, channeltest.Host(channeltest.NewClock(channeltest.Start), &channeltest.Dialer{}))
	if err != nil {
		f.Fatal(err)
	}
	receiver, ok := opened.(channels.Receiver)
	if !ok {
		f.Fatal("the channel does not receive")
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &channels.Request{Method: http.MethodPost, Header: http.Header{}, Body: body}
		r.Header.Set(custom.HeaderSignature, custom.Sign(secret, channeltest.Start, body))
		got, err := receiver.Receive(t.Context(), r)
		if refusal, ok := errors.AsType[*channels.Refused](err); err != nil && (!ok || refusal.Status != 400) {
			t.Fatalf("got %v, want events or 400", err)
		}
		for _, in := range got.Events {
			if err := channeltest.Sound(in); err != nil {
				t.Error(err)
			}
		}
	})
}
