package email

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"tributary/channels"
)

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
			map[string]string{"1.MIME": "Content-Type: text/plain; charset=utf-8\r\n\r\n", "1": "Look here"},
			"Look here",
		},
		"the text is deep": {
			`(("VIDEO" "MP4" NIL NIL NIL "BASE64" 99000000)(("TEXT" "HTML" NIL NIL NIL "7BIT" 9 1)("TEXT" "PLAIN" NIL NIL NIL "7BIT" 9 1) "ALTERNATIVE") "MIXED")`,
			head + "Content-Type: multipart/mixed;\r\n boundary=x\r\n\r\n",
			map[string]string{"2.2.MIME": "Content-Type: text/plain\r\n\r\n", "2.2": "Look here"},
			"Look here",
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
