package custom_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
	"tributary/channels/channeltest/bridge"
)

// class wants an error of a class.
func class(t *testing.T, err error, want channels.Class) {
	t.Helper()
	if got := channels.ClassOf(err); got != want {
		t.Errorf("got %v of class %q, want %q", err, got, want)
	}
}

// taken wants a message to be on the platform so many times.
func (s *setup) taken(t *testing.T, id string, want int) {
	t.Helper()
	if got := s.bridge.Taken(id); got != want {
		t.Errorf("message %s went on %d times, want %d", id, got, want)
	}
}

// hang sends in the background and returns when the bridge has the message.
func (s *setup) hang(t *testing.T, id string) <-chan error {
	t.Helper()
	sender := as[channels.Sender](t, s.channel)
	done := make(chan error, 1)
	go func() {
		_, err := sender.Send(t.Context(), outbound(id))
		done <- err
	}()
	<-s.bridge.Reached
	return done
}

func TestSend(t *testing.T) {
	t.Parallel()
	s := start(t)
	receipt, err := s.send(t, "msg_0001")
	if err != nil || receipt.ExternalID != bridge.ExternalID("msg_0001") {
		t.Fatalf("got %+v, %v", receipt, err)
	}
	calls := s.bridge.Calls("msg_0001")
	if len(calls) != 1 || calls[0].Err != nil {
		t.Fatalf("calls are %+v", calls)
	}
	if id := calls[0].Header.Get("Tributary-Id"); id != "msg_0001" {
		t.Errorf("Tributary-Id is %q", id)
	}
	if got := calls[0].Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type is %q", got)
	}
	var got, want any
	if err := json.Unmarshal(calls[0].Body, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(testdata(t, "outbound.json"), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sent\n%s\nwant\n%s", calls[0].Body, testdata(t, "outbound.json"))
	}
}

func TestSendSignsWithTheCurrentSecret(t *testing.T) {
	t.Parallel()
	peer := bridge.New(t, channeltest.Start)
	peer.Secrets = []string{"new-secret", "old-secret"}
	s := open(t, peer, settings{"callbackUrl": peer.CallbackURL()})
	peer.Secrets = []string{"new-secret"}
	if _, err := s.send(t, "msg_1"); err != nil {
		t.Error(err)
	}
	peer.Secrets = []string{"neither"}
	_, err := s.send(t, "msg_2")
	class(t, err, channels.ClassAuthBroken)
}

// TestAnswer200WithoutBody: any proxy answers so; only an externalId says that
// the bridge has the message.
func TestAnswer200WithoutBody(t *testing.T) {
	t.Parallel()
	s := start(t)
	for i, body := range []string{"", "OK", "{}", `{"externalId":""}`, `{"externalId":7}`, "<html>", `{"externalId":"x`} {
		id := fmt.Sprintf("msg_%d", i)
		s.bridge.Play(bridge.AcceptWithBody(body))
		_, err := s.send(t, id)
		class(t, err, channels.ClassUncertain)
		s.taken(t, id, 1)
	}
}

func TestAnswerAfter11Seconds(t *testing.T) {
	t.Parallel()
	s := start(t)
	release := make(chan struct{})
	s.bridge.Play(bridge.AcceptAfter(release))
	done := s.hang(t, "msg_1")
	s.clock.Advance(11 * time.Second)
	if n := s.clock.Pending(); n != 0 {
		t.Errorf("%d timers still run: the wait is longer than 10 s", n)
	}
	class(t, <-done, channels.ClassUncertain)
	close(release)
	s.taken(t, "msg_1", 1)
}

// TestAnswerAfter9Seconds is the control of the one above.
func TestAnswerAfter9Seconds(t *testing.T) {
	t.Parallel()
	s := start(t)
	release := make(chan struct{})
	s.bridge.Play(bridge.AcceptAfter(release))
	done := s.hang(t, "msg_1")
	s.clock.Advance(9 * time.Second)
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAnswer409(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.bridge.Play(bridge.Had())
	if receipt, err := s.send(t, "msg_1"); err != nil || receipt.ExternalID != "" {
		t.Errorf("got %+v, %v", receipt, err)
	}
}

func TestAnswer429WithSeconds(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, seconds := range []int{0, 7, 3600} {
		s.bridge.Play(bridge.Throttle(seconds))
		_, err := s.send(t, "msg_1")
		class(t, err, channels.ClassThrottled)
		if got := channels.RetryAfterOf(err); got != time.Duration(seconds)*time.Second {
			t.Errorf("wait is %v, want %d s", got, seconds)
		}
	}
	s.taken(t, "msg_1", 0)
}

// TestAnswer429WithDate: the bridge's clock is four minutes off, and it still
// means 90 seconds.
func TestAnswer429WithDate(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.bridge.Clock.Advance(4 * time.Minute)
	for wait, want := range map[time.Duration]time.Duration{
		90 * time.Second: 90 * time.Second, -time.Minute: 0, 9000 * time.Hour: 24 * time.Hour,
	} {
		s.bridge.Play(bridge.ThrottleUntil(s.bridge.Clock.Now().Add(wait)))
		_, err := s.send(t, "msg_1")
		class(t, err, channels.ClassThrottled)
		if got := channels.RetryAfterOf(err); got != want {
			t.Errorf("wait is %v, want %v", got, want)
		}
	}
	s.bridge.Play(bridge.Answer(429, "soon", ""))
	_, err := s.send(t, "msg_1")
	class(t, err, channels.ClassThrottled)
	if got := channels.RetryAfterOf(err); got != 0 {
		t.Errorf("an unreadable wait is %v", got)
	}
}

func TestAnswer503(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.bridge.Play(bridge.Unavailable(5))
	_, err := s.send(t, "msg_1")
	class(t, err, channels.ClassRetry)
	if got := channels.RetryAfterOf(err); got != 5*time.Second {
		t.Errorf("wait is %v", got)
	}
}

func TestAnswer422(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.bridge.Play(bridge.Refuse("no_thread", "There is\u0000 no such thread."), bridge.Answer(422, "", "not JSON"))
	_, err := s.send(t, "msg_1")
	class(t, err, channels.ClassPermanent)
	e, _ := err.(*channels.Error) //nolint:errorlint // Send returns it bare.
	if e == nil || e.Code != "no_thread" || !strings.HasPrefix(e.Text, "There is") || strings.ContainsRune(e.Text, 0) {
		t.Errorf("got %+v", e)
	}
	_, err = s.send(t, "msg_2")
	class(t, err, channels.ClassPermanent)
}

func TestAnswer410(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.bridge.Play(bridge.Gone())
	_, err := s.send(t, "msg_1")
	class(t, err, channels.ClassBlocked)
}

func TestOtherAnswers(t *testing.T) {
	t.Parallel()
	s := start(t)
	for status, want := range map[int]channels.Class{
		400: channels.ClassPermanent, 404: channels.ClassConfig, 405: channels.ClassConfig, 401: channels.ClassAuthBroken,
		500: channels.ClassUncertain, 502: channels.ClassUncertain, 504: channels.ClassUncertain,
	} {
		s.bridge.Play(bridge.Answer(status, "", "<html>"))
		_, err := s.send(t, "msg_1")
		class(t, err, want)
	}
}

// TestRedirectIsNotFollowed: the signature is for the address in the settings.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	s := start(t)
	other := start(t)
	s.bridge.Play(bridge.Redirect(other.bridge.CallbackURL()))
	_, err := s.send(t, "msg_1")
	class(t, err, channels.ClassConfig)
	if calls := other.bridge.Calls("msg_1"); len(calls) != 0 {
		t.Error("the message went to another address")
	}
}

func TestConnectionClosedAfterBody(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.bridge.Play(bridge.CloseAfterBody())
	_, err := s.send(t, "msg_1")
	class(t, err, channels.ClassUncertain)
	s.taken(t, "msg_1", 1)
}

// TestConnectionClosedOnReuse: HTTP clients repeat by themselves what failed on a
// connection they kept; a message must not be.
func TestConnectionClosedOnReuse(t *testing.T) {
	t.Parallel()
	s := start(t)
	if _, err := s.send(t, "msg_0"); err != nil {
		t.Fatal(err)
	}
	s.bridge.Play(bridge.CloseAfterBody())
	_, err := s.send(t, "msg_1")
	class(t, err, channels.ClassUncertain)
	s.taken(t, "msg_1", 1)
}

// TestIdempotentBridge: after a lost answer the core sends again with the same
// id, and the platform has the message once.
func TestIdempotentBridge(t *testing.T) {
	t.Parallel()
	s := start(t, settings{"idempotent": true})
	s.bridge.Idempotent = true
	s.bridge.Play(bridge.CloseAfterBody())
	_, err := s.send(t, "msg_1")
	class(t, err, channels.ClassUncertain)
	if _, err := s.send(t, "msg_1"); err != nil {
		t.Error(err)
	}
	if n := len(s.bridge.Calls("msg_1")); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
	s.taken(t, "msg_1", 1)
}

// TestStatusLiesUnknownForAMinute: the bridge has the message and does not know
// it yet; unknown must stay unknown, since a resend would double it.
func TestStatusLiesUnknownForAMinute(t *testing.T) {
	t.Parallel()
	peer := bridge.New(t, channeltest.Start)
	s := open(t, peer, settings{"callbackUrl": peer.CallbackURL(), "statusUrl": peer.StatusURL() + "?line=7"})
	peer.LieUntil(channeltest.Start.Add(time.Minute))
	peer.Play(bridge.CloseAfterBody())
	_, err := s.send(t, "msg_1")
	class(t, err, channels.ClassUncertain)
	asks := as[channels.DeliveryQuerier](t, s.channel)
	for range 3 {
		if got, err := asks.Query(t.Context(), "msg_1"); err != nil || got.State != channels.DeliveryUnknown {
			t.Errorf("while it lies: %+v, %v", got, err)
		}
	}
	peer.Clock.Advance(time.Minute)
	if got, err := asks.Query(t.Context(), "msg_1"); err != nil || got.State != channels.DeliverySent {
		t.Errorf("after a minute: %+v, %v", got, err)
	}
	if n := peer.Questions("msg_1"); n != 4 {
		t.Errorf("the bridge was asked %d times for this id, want 4", n)
	}
	s.taken(t, "msg_1", 1)
}

func TestQueryAnswers(t *testing.T) {
	t.Parallel()
	peer := bridge.New(t, channeltest.Start)
	var status int
	var body string
	where := peer.File("status", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "9")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
	s := open(t, peer, settings{"callbackUrl": peer.CallbackURL(), "statusUrl": where})
	asks := as[channels.DeliveryQuerier](t, s.channel)
	for answer, want := range map[string]channels.DeliveryAnswer{
		`{"state":"failed","reason":"no\u0000 luck"}`: {State: channels.DeliveryFailed},
		`{"state":"sent","externalId":"x1"}`:          {State: channels.DeliverySent, ExternalID: "x1"},
		`{"state":"delivered"}`:                       {State: channels.DeliveryUnknown},
		`{}`:                                          {State: channels.DeliveryUnknown},
	} {
		status, body = 200, answer
		got, err := asks.Query(t.Context(), "msg_1")
		if want.Reason = got.Reason; err != nil || got != want || strings.ContainsRune(got.Reason, 0) {
			t.Errorf("%s: %+v, %v", answer, got, err)
		}
	}
	for _, failing := range []int{204, 301, 404, 500} {
		status, body = failing, ""
		_, err := asks.Query(t.Context(), "msg_1")
		class(t, err, channels.ClassRetry)
	}
	status, body = 503, ""
	if _, err := asks.Query(t.Context(), "msg_1"); channels.RetryAfterOf(err) != 9*time.Second {
		t.Errorf("busy: %v", err)
	}
	status, body = 200, "sent"
	_, err := asks.Query(t.Context(), "msg_1")
	class(t, err, channels.ClassRetry)
}

// TestReceiptBeforeAnswer: the receipt is read while the send still waits, and
// names our id, since nobody knows the other one yet.
func TestReceiptBeforeAnswer(t *testing.T) {
	t.Parallel()
	s := start(t)
	var receipt channels.Inbound
	s.bridge.Play(bridge.ReceiptFirst(func(id string) {
		body := fmt.Sprintf(`{"id":"evt_1","kind":"delivery","message":%q,"state":"delivered"}`, id)
		got, err := as[channels.Receiver](t, s.channel).Receive(context.Background(), s.bridge.Event([]byte(body)))
		if err != nil {
			t.Errorf("receive: %v", err)
			return
		}
		receipt = got.Events[0]
	}))
	if _, err := s.send(t, "msg_1"); err != nil {
		t.Fatal(err)
	}
	if receipt.MessageID != "msg_1" || receipt.State != channels.DeliveryDelivered || !receipt.Automatic {
		t.Errorf("receipt is %+v", receipt)
	}
}

func TestSendRefusesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	s := start(t)
	sender := as[channels.Sender](t, s.channel)
	nobody := outbound("msg_1")
	nobody.To = []channels.IdentityKey{{Kind: "wechat.openid", Value: "o1"}}
	_, err := sender.Send(t.Context(), nobody)
	class(t, err, channels.ClassInvalidRecipient)
	bare := outbound("msg_1")
	bare.Parts[1].Media.URL = ""
	_, err = sender.Send(t.Context(), bare)
	class(t, err, channels.ClassPermanent)
	if calls := s.bridge.Calls("msg_1"); len(calls) != 0 {
		t.Errorf("%d calls reached the bridge", len(calls))
	}
}

func TestSeveralRecipients(t *testing.T) {
	t.Parallel()
	s := start(t)
	out := outbound("msg_1")
	out.To = append(out.To, channels.IdentityKey{Kind: "custom_id", Value: "u-13"}, channels.IdentityKey{Kind: "phone", Value: "+8613800138000"})
	if _, err := as[channels.Sender](t, s.channel).Send(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	want := `"to":[{"id":"u-12","customerId":"C-500"},{"id":"u-13","phone":"+8613800138000"}]`
	if body := string(s.bridge.Calls("msg_1")[0].Body); !strings.Contains(body, want) {
		t.Errorf("sent %s", body)
	}
}
