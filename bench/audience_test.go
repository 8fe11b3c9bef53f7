package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// audience are many sockets with one subscription each. It takes frames apart as little as it can: it shares the
// machine's two cores with what it measures.
type audience struct {
	conns []net.Conn
	ended sync.WaitGroup
	words [1 << 15]word
	lost  atomic.Pointer[error] // why a socket ended before it was closed
	over  atomic.Bool
}

// word is what became of one published word.
type word struct {
	heard       atomic.Int32
	first, last atomic.Int64  // nanoseconds of this machine's clock
	all         chan struct{} // closed with the last; nil if nobody waits
}

// join opens so many sockets, token(n) being that of the n-th.
func join(b *testing.B, p *process, sockets int, query string, token func(n int) string) *audience {
	b.Helper()
	a := &audience{conns: make([]net.Conn, sockets)}
	var (
		wg     sync.WaitGroup
		failed atomic.Pointer[error]
		next   atomic.Int64
	)
	for range 16 {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < sockets; n = int(next.Add(1)) - 1 {
				if err := a.open(b.Context(), n, p.url, query, token(n)); err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		b.Fatalf("a socket: %v", *err)
	}
	return a
}

func (a *audience) open(ctx context.Context, n int, url, query, token string) error {
	d := ws.Dialer{Protocols: []string{"graphql-transport-ws"}, Timeout: 20 * time.Second}
	conn, early, _, err := d.Dial(ctx, "ws"+strings.TrimPrefix(url, "http")+"/graphql")
	if err != nil {
		return err
	}
	a.conns[n] = conn
	var from io.Reader = conn
	if early != nil {
		from = io.MultiReader(early, conn)
	}
	for _, m := range []any{
		map[string]any{"type": "connection_init", "payload": map[string]any{"Authorization": token}},
		map[string]any{"id": "1", "type": "subscribe", "payload": map[string]any{"query": query}},
	} {
		text, err := json.Marshal(m)
		if err == nil {
			err = wsutil.WriteClientText(conn, text)
		}
		if err != nil {
			return err
		}
		if text != nil && bytes.Contains(text, []byte("connection_init")) {
			if _, err := frame(from, make([]byte, 0, 1024)); err != nil { // the ack
				return err
			}
		}
	}
	a.ended.Go(func() { a.listen(bufio.NewReaderSize(from, 1024), conn) })
	return nil
}

// frame reads one frame's payload into the memory of into.
func frame(r io.Reader, into []byte) ([]byte, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return nil, err
	}
	if h.OpCode == ws.OpClose {
		return nil, fmt.Errorf("the server closed the socket")
	}
	if int64(cap(into)) < h.Length {
		into = make([]byte, 0, h.Length)
	}
	into = into[:h.Length]
	_, err = io.ReadFull(r, into)
	return into, err
}

func (a *audience) listen(r io.Reader, conn net.Conn) {
	var (
		buf = make([]byte, 0, 1024)
		err error
	)
	for err == nil {
		if buf, err = frame(r, buf); err != nil {
			break
		}
		switch {
		case bytes.Contains(buf, []byte(mark)):
			a.hear(buf)
		case bytes.Contains(buf, []byte(`"type":"ping"`)):
			err = wsutil.WriteClientText(conn, []byte(`{"type":"pong"}`))
		case bytes.Contains(buf, []byte(`"type":"error"`)), bytes.Contains(buf, []byte(`"type":"complete"`)):
			err = fmt.Errorf("the server says %s", buf)
		}
	}
	if !a.over.Load() {
		a.lost.Store(&err)
	}
}

// mark stands before a word's number.
const mark = "@@"

func text(n int) string {
	return fmt.Sprintf("%s%d@ %s", mark, n, strings.Repeat("a word of many ", 8))
}

// hear notes every word of a frame: under load a frame holds many.
func (a *audience) hear(payload []byte) {
	now := time.Now().UnixNano()
	for {
		_, rest, found := bytes.Cut(payload, []byte(mark))
		if !found {
			return
		}
		n, end := 0, 0
		for ; rest[end] >= '0' && rest[end] <= '9'; end++ {
			n = n*10 + int(rest[end]-'0')
		}
		a.note(n, now)
		payload = rest[end:]
	}
}

func (a *audience) note(n int, now int64) {
	w := &a.words[n]
	heard := int(w.heard.Add(1))
	if heard == 1 {
		w.first.Store(now)
	}
	if heard == len(a.conns) {
		w.last.Store(now)
		if w.all != nil {
			close(w.all)
		}
	}
}

// tell publishes the n-th word, and waits until everybody has heard it. It returns the time to the first who heard it
// and to the last.
func (a *audience) tell(b *testing.B, n int, patience time.Duration, publish func(text string) error) (first, last time.Duration, ok bool) {
	b.Helper()
	w := &a.words[n]
	w.all = make(chan struct{})
	began := time.Now()
	if err := publish(text(n)); err != nil {
		b.Fatal(err)
	}
	select {
	case <-w.all:
	case <-time.After(patience):
		return 0, 0, false
	}
	at := func(t *atomic.Int64) time.Duration { return time.Duration(t.Load() - began.UnixNano()) }
	return at(&w.first), at(&w.last), true
}

// close ends all sockets. A socket that ended before, or a word that somebody heard twice, makes the run void.
func (a *audience) close(b *testing.B) {
	b.Helper()
	if err := a.lost.Load(); err != nil {
		b.Errorf("a socket was lost: %v", *err)
	}
	a.over.Store(true)
	for _, c := range a.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	a.ended.Wait()
	for n := range a.words {
		if heard := int(a.words[n].heard.Load()); heard > len(a.conns) {
			b.Errorf("word %d was heard %d times", n, heard)
		}
	}
}
