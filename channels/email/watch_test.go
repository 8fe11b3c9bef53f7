package email

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
)

// watch runs a watcher and returns its calls and its end.
func (d *desk) watch(ctx context.Context, t *testing.T) (woken <-chan struct{}, ended <-chan error) {
	t.Helper()
	calls, done := make(chan struct{}, 100), make(chan error, 1)
	watcher := as[channels.Watcher](t, d.channel)
	go func() { done <- watcher.Watch(ctx, "", func() { calls <- struct{}{} }) }()
	return calls, done
}

func within(t *testing.T, woken <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-woken:
	case <-time.After(3 * time.Second): // A second, and the race detector's share.
		t.Fatalf("%s did not come in time", what)
	}
}

// wakes lets mails arrive until one wakes, within a second. The server under test
// forgets what comes between its answer to IDLE and the beginning of it.
func (w *world) wakes(t *testing.T, woken <-chan struct{}) {
	t.Helper()
	for range 10 {
		w.arrive(t, "INBOX", "one", channeltest.Start)
		select {
		case <-woken:
			for len(woken) > 0 {
				<-woken
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Error("no mail woke within a second")
}

func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t)
	idling := d.spyOn(idleSpan)
	ctx, cancel := context.WithCancel(t.Context())
	woken, ended := d.watch(ctx, t)
	within(t, woken, "the start")
	for range 3 {
		within(t, idling, "IDLE")
		w.wakes(t, woken)
		d.clock.Advance(idleSpan + time.Second) // A new round.
	}
	within(t, idling, "IDLE")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// TestWatchWithoutIdle asks each minute.
func TestWatchWithoutIdle(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 100)
	d := newScript(t, func(command string, w io.Writer) (string, error) {
		switch {
		case strings.HasPrefix(command, "LOGIN"):
			return "OK [CAPABILITY IMAP4rev1] in", nil
		case strings.HasPrefix(command, "IDLE"):
			t.Error("IDLE was asked for")
		case command == "NOOP":
			asked <- struct{}{}
			_, _ = io.WriteString(w, "* 5 EXISTS\r\n")
		}
		return "", nil
	}).open(t)
	ctx, cancel := context.WithCancel(t.Context())
	woken, ended := d.watch(ctx, t)
	within(t, woken, "the start")
	for range 2 {
		for len(asked) == 0 {
			time.Sleep(time.Millisecond)
			d.clock.Advance(noopSpan / 4)
		}
		<-asked
		within(t, woken, "the answer")
	}
	cancel()
	class(t, <-ended, channels.ClassRetry)
}

// TestWatchEnds when the peer goes, and when it is dead without a word.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	for name, answer := range map[string]func(io.Writer) (string, error){
		"cut": func(io.Writer) (string, error) { return "", errors.New("cut") },
		"bye": func(w io.Writer) (string, error) {
			_, _ = io.WriteString(w, "* BYE shutting down\r\n")
			return "", errors.New("cut")
		},
		"never answers": func(io.Writer) (string, error) { <-block; return "", nil },
		"dead in a round": func(w io.Writer) (string, error) {
			_, _ = io.WriteString(w, "+ idling\r\n")
			_ = w.(interface{ Flush() error }).Flush()
			<-block
			return "", nil
		},
	} {
		silent := make(chan struct{}, 10)
		d := newScript(t, func(command string, w io.Writer) (string, error) {
			if strings.HasPrefix(command, "IDLE") {
				silent <- struct{}{}
				return answer(w)
			}
			return "", nil
		}).open(t)
		_, ended := d.watch(t.Context(), t)
		if err := d.pass(t, silent, ended, patience); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("%s: ended with %v", name, err)
		}
	}
}

func TestWatchErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ended := openWith(t, w.settings(), "wrong").watch(t.Context(), t)
	class(t, <-ended, channels.ClassAuthBroken)
	_, ended = w.open(t, settings{"folder": "Nowhere"}).watch(t.Context(), t)
	class(t, <-ended, channels.ClassConfig)
	d := w.open(t)
	_, ended = d.watch(t.Context(), t)
	for d.clock.Pending() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := d.channel.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("it ended well after Close")
	}
}

// TestWatchChangesNoFlag: it opens the folder for reading only.
func TestWatchChangesNoFlag(t *testing.T) {
	t.Parallel()
	s := newScript(t, func(string, io.Writer) (string, error) { return "", nil })
	d := s.open(t, settings{"afterFetch": "seen"})
	ctx, cancel := context.WithCancel(t.Context())
	woken, ended := d.watch(ctx, t)
	within(t, woken, "the start")
	cancel()
	class(t, <-ended, channels.ClassRetry)
	if s.commands("EXAMINE") != 1 || s.commands("SELECT") != 0 {
		t.Errorf("it asked %q", s.asked)
	}
}
