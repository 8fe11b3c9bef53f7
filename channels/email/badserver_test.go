package email

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
)

// TestFetchAWithheldMailBlocksNobody: the server lists it and never gives it.
func TestFetchAWithheldMailBlocksNobody(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{"refused": "NO cannot be read", "silent": "OK done"} {
		s := newScript(t, folder{sizes: []int64{300, 300, 300}, body: func(uid int, w io.Writer) (string, error) {
			if uid == 2 {
				return answer, nil
			}
			return "pass", nil
		}}.answer)
		got, _ := s.open(t).all(t, channels.Cursor{})
		if len(got) != 3 || got[1].Unreadable == "" || got[2].Subject != "mail 3" {
			t.Fatalf("%s: got %+v", name, got)
		}
		// Only a message is shown to people, who can look into the mailbox.
		if in := got[1]; in.Kind != channels.InboundMessage || in.Parts[0].Text == "" || in.Sender[0].Level != channels.Claimed || !in.OccurredAt.Equal(channeltest.Start) {
			t.Errorf("%s: got %+v", name, in)
		}
		if err := channeltest.Sound(got[1]); err != nil {
			t.Error(err)
		}
	}
}

// TestFetchARefusalThatPasses: the same refusal with a code that says it will end.
func TestFetchARefusalThatPasses(t *testing.T) {
	t.Parallel()
	busy := true
	d := newScript(t, folder{sizes: []int64{300, 300}, body: func(uid int, w io.Writer) (string, error) {
		if uid == 2 && busy {
			return "NO [UNAVAILABLE] later", nil
		}
		return "pass", nil
	}}.answer).open(t)
	batch := d.fetch(t, channels.Cursor{})
	if !slices.Equal(subjects(batch.Events), []string{"mail 1"}) || !batch.More {
		t.Fatalf("got %+v", batch)
	}
	_, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), batch.Next)
	class(t, err, channels.ClassRetry)
	busy = false
	if got, _ := d.all(t, batch.Next); !slices.Equal(subjects(got), []string{"mail 2"}) {
		t.Errorf("got %q", subjects(got))
	}
}

// TestFetchAnUnaskedFlag: another program flags the mail while we ask for it, and
// the library takes that for the answer.
func TestFetchAnUnaskedFlag(t *testing.T) {
	t.Parallel()
	times := 0
	d := newScript(t, folder{sizes: []int64{300, 300}, body: func(uid int, w io.Writer) (string, error) {
		if times++; uid == 1 && times == 1 {
			fmt.Fprint(w, "* 1 FETCH (UID 1 FLAGS (\\Seen))\r\n")
		}
		return "pass", nil
	}}.answer).open(t)
	if got, _ := d.all(t, channels.Cursor{}); !slices.Equal(subjects(got), []string{"mail 1", "mail 2"}) {
		t.Errorf("got %q", subjects(got))
	}
}

// TestFetchCutInsideAMail: what is complete comes, and half a mail never does.
func TestFetchCutInsideAMail(t *testing.T) {
	t.Parallel()
	for _, given := range []int64{0, 1, 100, 299} {
		broken := true
		d := newScript(t, folder{sizes: []int64{300, 300, 300}, body: func(uid int, w io.Writer) (string, error) {
			if uid == 2 && broken {
				fmt.Fprint(w, "* 2 FETCH (UID 2 BODY[] {300}\r\n")
				var b strings.Builder
				writeMail(&b, uid, 300)
				_, _ = io.WriteString(w, b.String()[:given])
				return "", errors.New("cut")
			}
			return "pass", nil
		}}.answer).open(t)
		batch := d.fetch(t, channels.Cursor{})
		if !slices.Equal(subjects(batch.Events), []string{"mail 1"}) || !batch.More {
			t.Fatalf("cut after %d bytes: %q, more %v", given, subjects(batch.Events), batch.More)
		}
		_, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), batch.Next)
		class(t, err, channels.ClassRetry)
		if err == nil {
			t.Fatalf("cut after %d bytes: half a mail came", given)
		}
		broken = false
		if got, _ := d.all(t, batch.Next); !slices.Equal(subjects(got), []string{"mail 2", "mail 3"}) {
			t.Errorf("cut after %d bytes: then %q", given, subjects(got))
		}
	}
}

// TestFetchASilentServer: at whatever point the server stops to answer, the fetch
// ends.
func TestFetchASilentServer(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"LOGIN", "EXAMINE", "UID SEARCH", "UID FETCH", "literal"} {
		block, silent := make(chan struct{}), make(chan struct{}, 10)
		t.Cleanup(func() { close(block) })
		f := folder{sizes: []int64{300}, body: func(uid int, w io.Writer) (string, error) {
			if at == "literal" {
				fmt.Fprint(w, "* 1 FETCH (UID 1 BODY[] {300}\r\nFrom: a")
				_ = w.(interface{ Flush() error }).Flush()
				silent <- struct{}{}
				<-block
			}
			return "pass", nil
		}}
		d := newScript(t, func(command string, w io.Writer) (string, error) {
			if strings.HasPrefix(command, at) {
				silent <- struct{}{}
				<-block
			}
			return f.answer(command, w)
		}).open(t)
		done := make(chan error, 1)
		go func() {
			_, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), channels.Cursor{})
			done <- err
		}()
		if err := d.pass(t, silent, done, patience+time.Second); !errors.Is(err, errSilent) {
			t.Errorf("silent at %s: %v", at, err)
		}
	}
}

// TestFetchStopsWithItsContext, and so does one that waits for its turn.
func TestFetchStopsWithItsContext(t *testing.T) {
	t.Parallel()
	block, reached := make(chan struct{}), make(chan struct{}, 1)
	t.Cleanup(func() { close(block) })
	d := newScript(t, func(command string, w io.Writer) (string, error) {
		if strings.HasPrefix(command, "EXAMINE") {
			reached <- struct{}{}
			<-block
		}
		return "", nil
	}).open(t)
	fetcher := as[channels.Fetcher](t, d.channel)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { _, err := fetcher.Fetch(ctx, channels.Cursor{}); done <- err }()
	<-reached
	go func() { _, err := fetcher.Fetch(ctx, channels.Cursor{}); done <- err }()
	cancel()
	for range 2 {
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

// TestCloseEndsAFetch that waits for a silent server.
func TestCloseEndsAFetch(t *testing.T) {
	t.Parallel()
	block, reached := make(chan struct{}), make(chan struct{}, 1)
	t.Cleanup(func() { close(block) })
	d := newScript(t, func(command string, w io.Writer) (string, error) {
		if strings.HasPrefix(command, "EXAMINE") {
			reached <- struct{}{}
			<-block
		}
		return "", nil
	}).open(t)
	done := make(chan error, 1)
	go func() {
		_, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), channels.Cursor{})
		done <- err
	}()
	<-reached
	if err := d.channel.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("the fetch succeeded")
	}
	if _, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), channels.Cursor{}); !errors.Is(err, errClosed) {
		t.Errorf("a fetch after Close gave %v", err)
	}
}

// TestFetchReconnects: servers end connections that do nothing.
func TestFetchReconnects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t)
	_, end := d.all(t, channels.Cursor{})
	m, _ := d.channel.(*mailbox)
	m.kept.wire.cut()
	w.arrive(t, "INBOX", "one", channeltest.Start)
	if got, _ := d.all(t, end); len(got) != 1 {
		t.Errorf("got %d mails", len(got))
	}
	if w.logins != 2 {
		t.Errorf("%d logins, want 2: one connection is kept", w.logins)
	}
}

// TestFetchWithoutUIDNext: servers of an older standard leave it out.
func TestFetchWithoutUIDNext(t *testing.T) {
	t.Parallel()
	f := folder{sizes: []int64{300, 300}}
	s := newScript(t, func(command string, w io.Writer) (string, error) {
		if strings.HasPrefix(command, "EXAMINE") {
			fmt.Fprint(w, "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] v\r\n")
			return "OK in", nil
		}
		return f.answer(command, w)
	})
	d := s.open(t, settings{"from": "now"})
	_, end := d.all(t, channels.Cursor{})
	f.sizes = append(f.sizes, 300)
	if got, _ := d.all(t, end); !slices.Equal(subjects(got), []string{"mail 3"}) {
		t.Errorf("got %q", subjects(got))
	}
}

// TestFetchWithoutLogin: some servers take AUTHENTICATE only.
func TestFetchWithoutLogin(t *testing.T) {
	t.Parallel()
	f := folder{sizes: []int64{300}}
	s := newScript(t, func(command string, w io.Writer) (string, error) {
		switch {
		case strings.HasPrefix(command, "CAPABILITY"):
			fmt.Fprint(w, "* CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN SASL-IR\r\n")
			return "OK", nil
		case strings.HasPrefix(command, "LOGIN"):
			t.Error("LOGIN was sent")
		case command == "AUTHENTICATE PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+us+"\x00"+secret)):
			return "OK in", nil
		}
		return f.answer(command, w)
	})
	s.greeting = "* OK ready\r\n"
	if got, _ := s.open(t).all(t, channels.Cursor{}); len(got) != 1 {
		t.Errorf("got %d mails", len(got))
	}
}

func TestFetchErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fetch := func(d *desk) error {
		_, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), channels.Cursor{})
		return err
	}
	class(t, fetch(w.open(t, settings{"folder": "Nowhere"})), channels.ClassConfig)
	class(t, fetch(openWith(t, w.settings(), "wrong")), channels.ClassAuthBroken)
	class(t, fetch(openWith(t, w.settings(), "not yet", secret)), "")
	down := w.open(t)
	down.dialer.Down(true)
	class(t, fetch(down), channels.ClassRetry)
	for answer, want := range map[string]channels.Class{
		"NO [UNAVAILABLE] directory is down": channels.ClassRetry, "NO [LIMIT] too many": channels.ClassRetry,
		"NO [AUTHENTICATIONFAILED] no": channels.ClassAuthBroken, "NO [ALERT] use an app password": channels.ClassAuthBroken,
		"BAD LOGIN support@desk.example " + secret: channels.ClassConfig,
	} {
		err := fetch(newScript(t, func(command string, _ io.Writer) (string, error) {
			if strings.HasPrefix(command, "LOGIN") {
				return answer, nil
			}
			return "", nil
		}).open(t))
		class(t, err, want)
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

// TestWhole: a literal that breaks off is an error for who reads it, and is not
// touched after it, since the decoder reads on then.
func TestWhole(t *testing.T) {
	t.Parallel()
	literal := strings.NewReader("abc")
	w := &whole{literal: literal, left: 5}
	if got, err := io.ReadAll(w); string(got) != "abc" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %q, %v", got, err)
	}
	literal.Reset("more")
	if n, err := w.Read(make([]byte, 4)); n != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %d bytes more, %v", n, err)
	}
	if got, err := io.ReadAll(&whole{literal: strings.NewReader("abc"), left: 3}); string(got) != "abc" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
