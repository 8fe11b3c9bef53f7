package email

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-smtp"

	"tributary/channels"
	"tributary/channels/channeltest"
)

func TestFetchStartsWithWhatIsToCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.arrive(t, "INBOX", "old", channeltest.Start)
	d := w.open(t, settings{"from": "now"})
	first := d.fetch(t, channels.Cursor{Stream: "s"})
	if len(first.Events) != 0 || first.More || first.Next.Position == nil || first.Next.Stream != "s" {
		t.Fatalf("the first fetch gave %+v", first)
	}
	w.arrive(t, "INBOX", "new", channeltest.Start)
	if got, _ := d.all(t, first.Next); !slices.Equal(subjects(got), []string{"new"}) {
		t.Errorf("got %q", subjects(got))
	}
}

func TestFetchStartsWithWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.arrive(t, "INBOX", "old", channeltest.Start)
	d := w.open(t, settings{"from": "all"})
	got, end := d.all(t, channels.Cursor{})
	if !slices.Equal(subjects(got), []string{"old"}) {
		t.Errorf("got %q", subjects(got))
	}
	// A mail out of the spam folder has an old date and a new number.
	w.arrive(t, "INBOX", "out of junk", channeltest.Start.AddDate(-1, 0, 0))
	if got, end = d.all(t, end); !slices.Equal(subjects(got), []string{"out of junk"}) {
		t.Errorf("got %q", subjects(got))
	}
	if got, _ = d.all(t, end); len(got) != 0 {
		t.Errorf("got %q again", subjects(got))
	}
}

// TestFetchTakesNoFlagForTheCursor: people read the mailbox, too.
func TestFetchTakesNoFlagForTheCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mail := []byte("From: a@example.com\r\nSubject: read\r\n\r\nx\r\n")
	if _, err := w.user.Append("INBOX", literal{bytes.NewReader(mail)}, &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}}); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.open(t).all(t, channels.Cursor{}); len(got) != 1 {
		t.Errorf("got %d mails", len(got))
	}
}

func TestFetchAfterUIDValidityChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := channeltest.Start
	if err := w.user.Create("Support", nil); err != nil {
		t.Fatal(err)
	}
	w.arrive(t, "Support", "before us", began.AddDate(0, -1, 0))
	now, all := w.open(t, settings{"folder": "Support", "from": "now"}), w.open(t, settings{"folder": "Support"})
	_, nowEnd := now.all(t, channels.Cursor{})
	_, allEnd := all.all(t, channels.Cursor{})
	w.arrive(t, "Support", "one", began.Add(time.Hour))
	_, nowEnd = now.all(t, nowEnd)
	_, allEnd = all.all(t, allEnd)

	// The provider builds the folder anew, with one mail more.
	if err := w.user.Delete("Support"); err != nil {
		t.Fatal(err)
	}
	if err := w.user.Create("Support", nil); err != nil {
		t.Fatal(err)
	}
	w.arrive(t, "Support", "two", began.Add(2*time.Hour))
	w.arrive(t, "Support", "before us", began.AddDate(0, -1, 0))
	w.arrive(t, "Support", "one", began.Add(time.Hour))

	got, allEnd := all.all(t, allEnd)
	if !slices.Equal(subjects(got), []string{"two", "before us", "one"}) {
		t.Errorf("a channel of all mails got %q", subjects(got))
	}
	got, nowEnd = now.all(t, nowEnd)
	if !slices.Equal(subjects(got), []string{"two", "one"}) {
		t.Errorf("a channel that began later got %q", subjects(got))
	}
	w.arrive(t, "Support", "out of junk", began.AddDate(-1, 0, 0))
	for d, end := range map[*desk]channels.Cursor{now: nowEnd, all: allEnd} {
		if got, _ := d.all(t, end); !slices.Equal(subjects(got), []string{"out of junk"}) {
			t.Errorf("after it came %q", subjects(got))
		}
	}
}

func TestFetchTakesAForeignCursorAsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.arrive(t, "INBOX", "one", channeltest.Start)
	if got, _ := w.open(t, settings{"from": "now"}).all(t, channels.Cursor{Position: []byte("{")}); len(got) != 1 {
		t.Errorf("got %d mails", len(got))
	}
}

// TestFetchTheLastMailOnce: the range n:* holds the last mail even when n is
// greater.
func TestFetchTheLastMailOnce(t *testing.T) {
	t.Parallel()
	s := newScript(t, folder{sizes: []int64{300, 300}}.answer)
	d := s.open(t)
	got, end := d.all(t, channels.Cursor{})
	if len(got) != 2 {
		t.Fatalf("got %d mails", len(got))
	}
	for range 3 {
		if again, _ := d.all(t, end); len(again) != 0 {
			t.Errorf("the last mail came again: %q", subjects(again))
		}
	}
	if n := s.commands("UID SEARCH"); n != 4 {
		t.Errorf("%d searches, want one for each fetch that found nothing in memory", n)
	}
}

func TestFetchBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 45 {
		w.arrive(t, "INBOX", fmt.Sprint("mail ", i), channeltest.Start)
	}
	d := w.open(t)
	var sizes []int
	cursor := channels.Cursor{}
	for more := true; more; {
		batch := d.fetch(t, cursor)
		sizes, cursor, more = append(sizes, len(batch.Events)), batch.Next, batch.More
	}
	if !slices.Equal(sizes, []int{20, 20, 5}) {
		t.Errorf("batches of %v", sizes)
	}
	large := newScript(t, folder{sizes: []int64{5 << 20, 5 << 20, 5 << 20}}.answer).open(t)
	if batch := large.fetch(t, channels.Cursor{}); len(batch.Events) != 2 || !batch.More {
		t.Errorf("%d mails of 5 MiB in one batch", len(batch.Events))
	}
}

// TestFetchABrokenMailBlocksNobody: its reading fails by its own fault.
func TestFetchABrokenMailBlocksNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.arrive(t, "INBOX", "one", channeltest.Start)
	w.put(t, "INBOX", []byte("\x00\xff no mail at all\r\n"), channeltest.Start)
	w.put(t, "INBOX", nil, channeltest.Start)
	w.arrive(t, "INBOX", "two", channeltest.Start)
	got, _ := w.open(t).all(t, channels.Cursor{})
	if len(got) != 4 || got[3].Subject != "two" {
		t.Errorf("got %+v", got)
	}
}

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
		if len(got) != 3 || got[1].Kind != channels.InboundUnknown || got[1].Unreadable == "" || got[2].Subject != "mail 3" {
			t.Errorf("%s: got %+v", name, got)
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

// TestFetchALargeMailInLittleMemory: 50 MiB pass through, memory stays.
func TestFetchALargeMailInLittleMemory(t *testing.T) {
	const size = 50 << 20
	sink := &watchingBlob{}
	s := newScript(t, folder{sizes: []int64{size}}.answer)
	d := s.open(t)
	m, _ := d.channel.(*mailbox)
	m.reader.blob, m.host.Blob = sink, sink
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	batch := d.fetch(t, channels.Cursor{})
	if len(batch.Events) != 1 || sink.bytes < size*3/4 {
		t.Fatalf("%d events, %d bytes stored", len(batch.Events), sink.bytes)
	}
	if grown := int64(sink.peak) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}

// watchingBlob counts what it gets, keeps nothing and looks at the heap.
type watchingBlob struct {
	bytes int64
	peak  uint64
}

func (b *watchingBlob) Put(_ context.Context, r io.Reader, _ string) (string, int64, error) {
	var stats runtime.MemStats
	start := b.bytes
	for {
		n, err := io.CopyN(io.Discard, r, 4<<20)
		b.bytes += n
		runtime.ReadMemStats(&stats)
		b.peak = max(b.peak, stats.HeapAlloc)
		if errors.Is(err, io.EOF) {
			return "k", b.bytes - start, nil
		}
		if err != nil {
			return "", 0, err
		}
	}
}

func (b *watchingBlob) Get(context.Context, string) (io.ReadCloser, error) {
	return nil, errors.New("it is gone")
}

// TestFetchAMailOverTheLimit: header and text come, and people are told.
func TestFetchAMailOverTheLimit(t *testing.T) {
	t.Parallel()
	const head = "From: a@example.com\r\nSubject: films\r\nMessage-ID: <1@example.com>\r\n"
	for name, c := range map[string]struct {
		structure, head string
		texts           map[string]string // by section
		want            string
	}{
		"several parts": {
			`(("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 9 1)("VIDEO" "MP4" NIL NIL NIL "BASE64" 99000000) "MIXED")`,
			head + "Content-Type: multipart/mixed;\r\n boundary=x\r\n\r\n",
			map[string]string{"1.MIME": "Content-Type: text/plain; charset=utf-8\r\n\r\n", "1": "Look here"}, "Look here",
		},
		"the text is deep": {
			`(("VIDEO" "MP4" NIL NIL NIL "BASE64" 99000000)(("TEXT" "HTML" NIL NIL NIL "7BIT" 9 1)("TEXT" "PLAIN" NIL NIL NIL "7BIT" 9 1) "ALTERNATIVE") "MIXED")`,
			head + "Content-Type: multipart/mixed;\r\n boundary=x\r\n\r\n",
			map[string]string{"2.2.MIME": "Content-Type: text/plain\r\n\r\n", "2.2": "Look here"}, "Look here",
		},
		"one text": {`("TEXT" "PLAIN" NIL NIL NIL "7BIT" 125829120 9)`, head + "\r\n", map[string]string{"TEXT": "Look here"}, "Look here"},
		"no text": {
			`(("VIDEO" "MP4" NIL NIL NIL "BASE64" 99000000)("VIDEO" "MP4" NIL NIL NIL "BASE64" 99000000) "MIXED")`,
			head + "Content-Type: multipart/mixed;\r\n boundary=x\r\n\r\n", nil, "",
		},
		"one film":     {`("VIDEO" "MP4" NIL NIL NIL "BASE64" 99000000)`, head + "Content-Type: video/mp4\r\n\r\n", nil, ""},
		"bad answer":   {`((((`, head + "Content-Type: multipart/mixed;\r\n boundary=x\r\n\r\n", nil, ""},
		"no structure": {"", head + "\r\n", nil, ""},
	} {
		f := folder{sizes: []int64{120 << 20, 300}}
		s := newScript(t, func(command string, w io.Writer) (string, error) {
			piece := func(section, text string) {
				fmt.Fprintf(w, "* 1 FETCH (UID 1 BODY[%s] {%d}\r\n%s)\r\n", section, len(text), text)
			}
			_, section, _ := strings.Cut(command, "BODY.PEEK[")
			section, _, _ = strings.Cut(section, "]")
			switch {
			case strings.Contains(command, "FETCH 1 (UID BODY)") && c.structure == "":
				return "NO not this one", nil
			case strings.Contains(command, "FETCH 1 (UID BODY)"):
				fmt.Fprintf(w, "* 1 FETCH (UID 1 BODY %s)\r\n", c.structure)
			case !strings.Contains(command, "FETCH 1 (UID BODY.PEEK["):
				return f.answer(command, w)
			case section == "":
				t.Errorf("%s: the whole mail was asked for", name)
			case section == "HEADER":
				piece(section, c.head)
			default:
				piece(section, c.texts[section])
			}
			return "", nil
		})
		d := s.open(t)
		var got []channels.Inbound
		var from channels.Cursor
		for range 3 { // A structure that breaks the connection costs a try.
			batch, err := as[channels.Fetcher](t, d.channel).Fetch(t.Context(), from)
			if err == nil {
				got, from = append(got, batch.Events...), batch.Next
			}
		}
		if !slices.Equal(subjects(got), []string{"films", "mail 2"}) || !slices.Contains(got[0].Warnings, channels.WarnCut) {
			t.Errorf("%s: got %+v; asked %q", name, got, s.asked)
			continue
		}
		parts := got[0].Parts
		if last := parts[len(parts)-1]; last.Type != channels.PartUnsupported || !strings.Contains(last.Text, "120 MiB") {
			t.Errorf("%s: people are told %+v", name, last)
		}
		if c.want != "" && !strings.Contains(parts[0].Text, c.want) {
			t.Errorf("%s: the text is %q", name, parts[0].Text)
		}
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

func TestAfterFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t, settings{"afterFetch": "move", "moveTo": "Done"})
	w.arrive(t, "INBOX", "one", channeltest.Start)
	batch := d.fetch(t, channels.Cursor{})
	if w.size(t, "INBOX") != 1 || !batch.More {
		t.Fatal("the mail was moved before it was stored")
	}
	// The core failed to store the batch and asks again: nothing moves.
	again := d.fetch(t, channels.Cursor{})
	if w.size(t, "INBOX") != 1 || len(again.Events) != 1 || again.Events[0].ExternalID != batch.Events[0].ExternalID {
		t.Fatal("a mail that was not stored is gone")
	}
	if rest, _ := d.all(t, batch.Next); len(rest) != 0 {
		t.Errorf("got %q", subjects(rest))
	}
	if w.size(t, "INBOX") != 0 || w.size(t, "Done") != 1 {
		t.Errorf("%d in the folder, %d moved", w.size(t, "INBOX"), w.size(t, "Done"))
	}
}

// TestAfterFetchIntoAFolderThatIsMissing: nothing is lost, nothing hangs, and the
// health check says why.
func TestAfterFetchIntoAFolderThatIsMissing(t *testing.T) {
	t.Parallel()
	for _, caps := range []imap.CapSet{{imap.CapIMAP4rev1: {}, imap.CapMove: {}}, {imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}}, {imap.CapIMAP4rev1: {}}} {
		w := newWorld(t, func(w *world, _ *imapserver.Options, _ *smtp.Server) { w.caps = caps })
		d := w.open(t, settings{"afterFetch": "move", "moveTo": "Nowhere"})
		w.arrive(t, "INBOX", "one", channeltest.Start)
		if got, _ := d.all(t, channels.Cursor{}); len(got) != 1 || w.size(t, "INBOX") != 1 {
			t.Errorf("with %v: %d events, %d mails left", caps, len(got), w.size(t, "INBOX"))
		}
		class(t, as[channels.HealthChecker](t, d.channel).CheckHealth(t.Context()), channels.ClassConfig)
	}
}

func TestAfterFetchSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t, settings{"afterFetch": "seen"})
	for i := range 25 {
		w.arrive(t, "INBOX", fmt.Sprint("mail ", i), channeltest.Start)
	}
	if got, _ := d.all(t, channels.Cursor{}); len(got) != 25 {
		t.Errorf("got %d mails", len(got))
	}
	status, err := w.user.Status("INBOX", &imap.StatusOptions{NumUnseen: true})
	if err != nil || *status.NumUnseen != 0 {
		t.Errorf("%d mails unseen, %v", *status.NumUnseen, err)
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
