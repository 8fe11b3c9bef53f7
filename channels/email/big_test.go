package email

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
)

// sums is a channels.Blob that keeps the size and the hash of what it gets.
type sums struct {
	mu   sync.Mutex
	puts int
}

// Put implements channels.Blob.
func (s *sums) Put(_ context.Context, r io.Reader, _ string) (string, int64, error) {
	s.mu.Lock()
	s.puts++
	s.mu.Unlock()
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	return hex.EncodeToString(sum.Sum(nil)), n, err
}

// Get implements channels.Blob.
func (s *sums) Get(context.Context, string) (io.ReadCloser, error) {
	return nil, errors.New("nothing is kept")
}

// noise is a reader of n bytes that repeat with a long period and are made as they are read.
func noise(n int64) io.Reader { return io.LimitReader(&generator{}, n) }

type generator struct{ state uint32 }

// Read implements io.Reader.
func (g *generator) Read(p []byte) (int, error) {
	for i := range p {
		g.state = g.state*1664525 + 1013904223
		p[i] = byte(g.state >> 24)
	}
	return len(p), nil
}

// filled repeats a text up to n bytes.
func filled(text string, n int64) io.Reader {
	return io.LimitReader(&repeater{text: text}, n)
}

type repeater struct {
	text string
	at   int
}

// Read implements io.Reader.
func (r *repeater) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		k := copy(p[n:], r.text[r.at:])
		n, r.at = n+k, (r.at+k)%len(r.text)
	}
	return n, nil
}

// inBase64 encodes a reader in lines of 76.
func inBase64(r io.Reader) io.Reader { return &lineEncoder{in: r} }

type lineEncoder struct {
	in   io.Reader
	line []byte
	err  error
}

// Read implements io.Reader.
func (e *lineEncoder) Read(p []byte) (int, error) {
	if len(e.line) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		var raw [57]byte
		n, err := io.ReadFull(e.in, raw[:])
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF
		}
		e.err = err
		e.line = append(base64.StdEncoding.AppendEncode(e.line[:0], raw[:n]), "\r\n"...)
	}
	n := copy(p, e.line)
	e.line = e.line[n:]
	return n, nil
}

// growth runs f and returns how much memory was held at most while it ran, over
// what was held before.
func growth(f func()) uint64 {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
			select {
			case <-stop:
				done <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	most := <-done
	return most - min(most, before.HeapAlloc)
}

// bound is what a mail may cost beside what it is (MODEL 10).
const bound = 64 << 20

func sumOf(r io.Reader) string {
	sum := sha256.New()
	if _, err := io.Copy(sum, r); err != nil {
		return err.Error()
	}
	return hex.EncodeToString(sum.Sum(nil))
}

const bigTop = "From: li@customer.example\r\nTo: support@example.com\r\nMessage-ID: <big@customer.example>\r\nSubject: big\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee the files\r\n"

func bigFile(name string) string {
	return "\r\n--b\r\nContent-Type: application/zip\r\nContent-Disposition: attachment; filename=" + name + "\r\nContent-Transfer-Encoding: base64\r\n\r\n"
}

// TestBigMails streams mails of 100 MiB: files and texts always, the odder ones
// with TEST_LONG=1. It measures, so it runs alone.
func TestBigMails(t *testing.T) { //nolint:paralleltest // measures memory
	if testing.Short() {
		t.Skip("reads some hundred MiB")
	}
	const mib = 1 << 20
	files := []int64{44 * mib, 10*mib + 1, 8*mib + 2, 6 * mib, 70 << 10, 3} // 60 MiB in base64, and others: 93 MiB
	mixed := func() io.Reader {
		readers := []io.Reader{strings.NewReader(bigTop)}
		for i, size := range files {
			readers = append(readers, strings.NewReader(bigFile(fmt.Sprint(i))), inBase64(noise(size)))
		}
		return io.MultiReader(append(readers, strings.NewReader("\r\n--b--\r\n"))...)
	}
	text := func(kind, encoding, filling string) func() io.Reader {
		return func() io.Reader {
			return io.MultiReader(strings.NewReader("From: li@customer.example\r\nMessage-ID: <t@x>\r\nContent-Type: "+kind+"\r\nContent-Transfer-Encoding: "+encoding+"\r\n\r\n"), filled(filling, 99*mib))
		}
	}
	many := func() io.Reader {
		readers := []io.Reader{strings.NewReader(strings.Replace(bigTop, "see", strings.Repeat("see ", 1000), 1))}
		for range 1100 {
			readers = append(readers, strings.NewReader("\r\n--b\r\nContent-Type: text/html\r\n\r\n"), filled("<p>退货 <b>x</b></p>\r\n", 64<<10))
		}
		return io.MultiReader(append(readers, strings.NewReader("\r\n--b--\r\n"))...)
	}
	quick := map[string]bool{"files": true, "text": true}
	for _, c := range []struct {
		name  string
		mail  func() io.Reader
		check func(t *testing.T, in channels.Inbound)
	}{
		{"files", mixed, func(t *testing.T, in channels.Inbound) {
			if len(in.Parts) != 1+len(files) || textIn(in) != "see the files" {
				t.Fatalf("%d parts, text %q", len(in.Parts), textIn(in))
			}
			for i, size := range files {
				if m := in.Parts[i+1].Media; m.Size != size || m.Blob != sumOf(noise(size)) || m.Name != fmt.Sprint(i) {
					t.Errorf("file %d: %+v", i, m)
				}
			}
		}},
		{"text", text("text/plain", "8bit", "a line of text 退货\r\n"), cutText},
		{"one line", text("text/plain", "8bit", "x"), cutText},
		{"gbk", text("text/plain; charset=gbk", "8bit", "\xcd\xcb\xbb\xf5\r\n"), cutText},
		{"quoted-printable", text("text/plain", "quoted-printable", "=E9=80=80=\r\n"), cutText},
		{"html", text("text/html", "8bit", "<div><b>x</b><br><img src='cid:a'></div>"), cutText},
		{"html of tags", text("text/html", "8bit", "<b><p>"), func(*testing.T, channels.Inbound) {}},
		{"html of open tags", text("text/html", "8bit", "<"), func(*testing.T, channels.Inbound) {}},
		{"html of one attribute", text("text/html", "8bit", `<a href="http://x`), func(*testing.T, channels.Inbound) {}},
		{"many parts", many, func(t *testing.T, in channels.Inbound) {
			if !has(in, channels.WarnCut) {
				t.Errorf("warnings %v", in.Warnings)
			}
		}},
		{"header", func() io.Reader {
			return io.MultiReader(strings.NewReader("From: li@customer.example\r\nSubject: x"), filled("\r\n more", 50*mib), strings.NewReader("\r\n\r\nhello"))
		}, func(t *testing.T, in channels.Inbound) {
			if textIn(in) != "hello" || !has(in, channels.WarnCut) {
				t.Errorf("text %q, warnings %v", textIn(in), in.Warnings)
			}
		}},
	} {
		if os.Getenv("TEST_LONG") != "1" && !quick[c.name] {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			r := &reader{own: []string{"support@example.com"}, locale: "zh-CN", blob: &sums{}, clock: channeltest.NewClock(arrivedAt)}
			var in channels.Inbound
			var err error
			began := time.Now()
			held := growth(func() { in, err = r.read(t.Context(), c.mail(), 100<<20, arrivedAt) })
			t.Logf("%.1f MiB held at most, %v", float64(held)/(1<<20), time.Since(began).Round(time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			if held > bound {
				t.Errorf("%d MiB held", held>>20)
			}
			if in.Raw.Blob != in.Raw.SHA256 || in.Raw.Bytes != nil || in.Raw.Blob != sumOf(c.mail()) || in.Unreadable != "" {
				t.Errorf("raw %+v, unreadable %q", in.Raw, in.Unreadable)
			}
			c.check(t, in)
		})
	}
}

func cutText(t *testing.T, in channels.Inbound) {
	t.Helper()
	if n := len(textIn(in)); n < 1000 || n > 2<<20 || !has(in, channels.WarnCut) {
		t.Errorf("%d bytes of text, warnings %v", n, in.Warnings)
	}
}

func has(in channels.Inbound, warning string) bool {
	for _, w := range in.Warnings {
		if w == warning {
			return true
		}
	}
	return false
}
