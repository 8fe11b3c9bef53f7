package channeltest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tributary/channels"
)

func (r *rig) outbound() (channels.Sender, OutboundFake) {
	sender, _ := r.channel.(channels.Sender)
	fake, _ := r.fake.(OutboundFake)
	return sender, fake
}

// fails sends a message with an outcome and wants an error of a class.
func (r *rig) fails(t *testing.T, o Outcome, id string, want ...channels.Class) error {
	t.Helper()
	sender, fake := r.outbound()
	fake.Play(o)
	receipt, err := sender.Send(t.Context(), fake.Outbound(id))
	r.discreet(t, err)
	for _, class := range want {
		if channels.ClassOf(err) == class {
			return err
		}
	}
	t.Fatalf("send gave %+v and %v (class %q), want %v", receipt, err, channels.ClassOf(err), want)
	return nil
}

func sends(t *testing.T, open func(*testing.T) *rig) {
	for name, play := range map[string]func(*testing.T, *rig){
		"success and key":      success,
		"permanent":            permanent,
		"temporary":            temporary,
		"retry after":          retryAfter,
		"lost answer":          lostAnswer,
		"timeout":              timeout,
		"caller gives up":      cancelled,
		"network down":         networkDown,
		"repeated by the core": repeated,
	} {
		t.Run(name, func(t *testing.T) { play(t, open(t)) })
	}
}

func success(t *testing.T, r *rig) {
	sender, fake := r.outbound()
	fake.Play(Sent)
	if _, err := sender.Send(t.Context(), fake.Outbound("msg_1")); err != nil {
		t.Fatalf("send: %v", err)
	}
	if n := fake.Sends("msg_1"); n != 1 {
		t.Errorf("the provider saw the message's id %d times, want 1", n)
	}
}

// permanentClasses are those after which no attempt of the same message helps.
var permanentClasses = []channels.Class{
	channels.ClassPermanent, channels.ClassBlocked, channels.ClassInvalidRecipient,
	channels.ClassContentRejected, channels.ClassWindowClosed,
}

func permanent(t *testing.T, r *rig) { _ = r.fails(t, Permanent, "msg_1", permanentClasses...) }

func temporary(t *testing.T, r *rig) {
	_ = r.fails(t, Temporary, "msg_1", channels.ClassRetry, channels.ClassThrottled)
}

func retryAfter(t *testing.T, r *rig) {
	err := r.fails(t, RetryAfter, "msg_1", channels.ClassRetry, channels.ClassThrottled)
	if got := channels.RetryAfterOf(err); got != RetryWait {
		t.Errorf("wait is %v, want %v", got, RetryWait)
	}
}

// lostAnswer: the provider has the message and we cannot know it.
func lostAnswer(t *testing.T, r *rig) {
	_, fake := r.outbound()
	_ = r.fails(t, Lost, "msg_1", channels.ClassUncertain)
	if n := fake.Sends("msg_1"); n != 1 {
		t.Errorf("the adapter sent %d times by itself, want 1", n)
	}
}

type result struct {
	receipt channels.Receipt
	err     error
}

// hang starts a send that gets no answer and returns once the provider has read
// it.
func (r *rig) hang(ctx context.Context, t *testing.T, id string) <-chan result {
	t.Helper()
	sender, fake := r.outbound()
	fake.Play(Hangs)
	done := make(chan result, 1)
	go func() {
		receipt, err := sender.Send(ctx, fake.Outbound(id))
		done <- result{receipt, err}
	}()
	select {
	case <-fake.Received():
	case early := <-done:
		t.Fatalf("send ended early: %+v", early)
	case <-t.Context().Done():
	}
	return done
}

func timeout(t *testing.T, r *rig) {
	_, fake := r.outbound()
	done := r.hang(t.Context(), t, "msg_1")
	r.clock.Advance(fake.Timeout() + time.Second)
	got := <-done
	r.discreet(t, got.err)
	if channels.ClassOf(got.err) != channels.ClassUncertain {
		t.Errorf("send gave %v, want the class uncertain", got.err)
	}
	if n := fake.Sends("msg_1"); n != 1 {
		t.Errorf("the adapter sent %d times by itself, want 1", n)
	}
}

// cancelled: a node that shuts down does not know more than one that waits.
func cancelled(t *testing.T, r *rig) {
	ctx, cancel := context.WithCancel(t.Context())
	done := r.hang(ctx, t, "msg_1")
	cancel()
	if got := <-done; channels.ClassOf(got.err) != channels.ClassUncertain {
		t.Errorf("send gave %v, want the class uncertain", got.err)
	}
}

// networkDown is the control of timeout: what never left us is not in doubt.
func networkDown(t *testing.T, r *rig) {
	sender, fake := r.outbound()
	r.dialer.Down(true)
	_, err := sender.Send(t.Context(), fake.Outbound("msg_1"))
	r.discreet(t, err)
	if channels.ClassOf(err) != channels.ClassRetry {
		t.Errorf("send gave %v (class %q), want a temporary error", err, channels.ClassOf(err))
	}
	r.dialer.Down(false)
	if _, err := sender.Send(t.Context(), fake.Outbound("msg_1")); err != nil {
		t.Errorf("send after the network came back: %v", err)
	}
}

func repeated(t *testing.T, r *rig) {
	sender, fake := r.outbound()
	for attempt := 1; attempt <= 3; attempt++ {
		fake.Play(Temporary)
		out := fake.Outbound("msg_1")
		out.Attempt = attempt
		if _, err := sender.Send(t.Context(), out); err == nil {
			t.Fatal("a refused send succeeded")
		}
	}
	if n := fake.Sends("msg_1"); n != 3 {
		t.Errorf("the id went with %d of 3 attempts", n)
	}
}

func fetches(t *testing.T, r *rig) {
	fetcher, _ := r.channel.(channels.Fetcher)
	fake, _ := r.fake.(FetchFake)
	fake.Fill(25)
	read := func(from channels.Cursor) (ids []string, next channels.Cursor) {
		for more := true; more; {
			batch, err := fetcher.Fetch(t.Context(), from)
			if err != nil {
				t.Fatalf("fetch: %v", err)
			}
			for _, in := range batch.Events {
				ids = append(ids, in.ExternalID)
			}
			from, more = batch.Next, batch.More
		}
		return ids, from
	}
	first, end := read(channels.Cursor{})
	again, _ := read(channels.Cursor{})
	if fmt.Sprint(first) != fmt.Sprint(again) || len(first) != 25 {
		t.Errorf("read %d ids, then %d: want the same 25 twice", len(first), len(again))
	}
	if rest, _ := read(end); len(rest) != 0 {
		t.Errorf("%d events after the end", len(rest))
	}
}
