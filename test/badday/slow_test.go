package badday_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws/wsutil"

	"tributary/test/rig"
)

const (
	flood   = 20 << 20 // bytes of events that a client is told
	letters = 50_000   // of one message
)

// TestClientNeverReads lets 20 MB of events flow while a client has subscribed to them and reads nothing: it is cut, the
// one beside it misses nothing, and what is kept for the sleeper is bounded.
func TestClientNeverReads(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, o rig.Options) {
		t.Parallel()
		n := rig.Start(t, o)
		w := open(t, n)
		start := cursor(t, w.Admin)
		// A field that is named four times tells four times as much with the same work for the database.
		query := `subscription{events(filter:{scope:ALL,types:[MESSAGE_CREATED]}){cursor events{id subject{... on Message{a:text b:text c:text d:text}}}}}`
		began := time.Now()
		sleeper, err := w.Admin.RawSocket(context.Background(), 4096, query)
		if err != nil {
			t.Fatal(err)
		}
		defer sleeper.Close()
		awake, err := w.Admin.Subscribe(context.Background(), query, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer awake.Close()
		heard := make(chan int, 1024)
		go func() {
			defer close(heard)
			for p := range awake.C {
				heard <- len(p.At("data", "events", "events").List())
			}
		}()
		messages := flood / (4 * letters)
		grown := n.Growth(func() {
			for k := range messages {
				e := rig.Text(rig.Unique("m"), fmt.Sprintf("t%d", k%8), fmt.Sprintf("u%d", k%8), strings.Repeat("长", letters/3))
				if code, body, err := w.bridge.Deliver(context.Background(), e); err != nil || code != http.StatusOK {
					t.Fatalf("a message: %d %s %v", code, body, err)
				}
			}
			hear(t, heard, messages)
		})
		if grown > mostGrowth {
			t.Errorf("the process grew by %d MiB", grown>>20)
		}
		w.goesOn(t)
		cut := refusedWord(t, sleeper)
		figures(t, "%d MiB of events, process grown by %.1f MiB, the sleeper was cut %s after it came", flood>>20, float64(grown)/(1<<20), cut.Sub(began).Round(100*time.Millisecond))
		// It comes back with its place and misses nothing.
		back := record(t, w.Admin, start, nil)
		var twin []event
		for _, e := range pull(t, w.Admin, start, "") {
			twin = append(twin, asEvent(e))
		}
		back.sameAs(t, "the sleeper, come back", twin)
	})
}

// refusedWord talks to the server until that has closed the connection. It reads nothing: a client that reads, however
// slowly, is one that may stay. The write's deadline is 30 s, and a must gets slack.
func refusedWord(t *testing.T, conn net.Conn) time.Time {
	t.Helper()
	rig.Eventually(t, 150*time.Second, "the one who never reads is cut", func() bool {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		err := wsutil.WriteClientText(conn, []byte(`{"type":"pong"}`))
		return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	})
	return time.Now()
}

// hear waits until so many events were heard.
func hear(t *testing.T, heard <-chan int, want int) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for got := 0; got < want; {
		select {
		case n, open := <-heard:
			if !open {
				t.Fatal("the one who reads was cut, too")
			}
			got += n
		case <-deadline:
			t.Fatalf("the one who reads heard of %d messages of %d", got, want)
		}
	}
}
