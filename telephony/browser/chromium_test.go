package browser

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"tributary/telephony/media"
)

// chromiumPatience is how long a whole browser may take on a busy machine.
const chromiumPatience = 90 * time.Second

// page is the front end of the test: what it said, as it came.
type page struct {
	peers   *Peers
	peer    chan *Peer
	heard   chan tonePeak
	renewed chan struct{}
	failed  chan string
	leg     atomic.Pointer[Peer]
}

// tonePeak is the loudest tone that the page heard, and by how many dB it stands over the rest.
type tonePeak struct{ Hertz, Over float64 }

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var answer string
	var err error
	switch r.URL.Path {
	case "/":
		http.ServeFile(w, r, "testdata/page.html")
	case "/offer":
		var leg *Peer
		if leg, answer, err = p.peers.Answer(r.Context(), string(body), media.PCMA); err == nil {
			p.leg.Store(leg)
			p.peer <- leg
		}
	case "/renew":
		answer, err = p.leg.Load().Renew(r.Context(), string(body))
	case "/renewed":
		close(p.renewed)
	case "/heard":
		var peak tonePeak
		if json.Unmarshal(body, &peak) == nil {
			select {
			case p.heard <- peak:
			default:
			}
		}
	case "/failed":
		p.failed <- string(body)
	default:
		http.NotFound(w, r)
	}
	if err != nil {
		p.failed <- err.Error()
	}
	_, _ = io.WriteString(w, answer)
}

// TestChromium: a real browser hears a tone of 440 Hz, is heard, presses keys, renews its connection, and is lost when it
// is killed.
func TestChromium(t *testing.T) {
	binary, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("TEST_REQUIRE_SERVERS") == "1" {
			t.Fatal("there is no chromium here, and no real browser was asked")
		}
		t.Skip("SKIPPED: there is no chromium here, and no real browser was asked")
	}
	p := &page{
		peers: newPeers(t, Config{LostAfter: 10 * time.Second}), peer: make(chan *Peer, 1), heard: make(chan tonePeak, 1),
		renewed: make(chan struct{}), failed: make(chan string, 4),
	}
	server := httptest.NewServer(p)
	defer server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), chromiumPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
		"--disable-features=WebRtcHideLocalIpsWithMdns", "--no-first-run", "--user-data-dir="+t.TempDir(), server.URL)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill := func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	defer kill()

	var leg *Peer
	select {
	case leg = <-p.peer:
	case why := <-p.failed:
		t.Fatal(why)
	case <-ctx.Done():
		t.Fatal("the page made no offer")
	}
	e := &ear{}
	leg.Forward(e)
	var told []media.Notice
	next := func(kind media.NoticeKind) media.Notice {
		t.Helper()
		for {
			select {
			case n := <-leg.Notices():
				told = append(told, n)
				if n.Kind == kind {
					return n
				}
			case why := <-p.failed:
				t.Fatal(why)
			case <-ctx.Done():
				t.Fatalf("no notice %s, but %+v", kind, told)
			}
		}
	}
	next(media.NoticeUp)
	play(t, leg, tone(t, 440))
	for _, want := range "42#" {
		if n := next(media.NoticeDigit); n.Digit != byte(want) {
			t.Errorf("heard %q, not %q", n.Digit, want)
		}
	}
	before := leg.line.Load()
	select {
	case <-p.renewed:
	case why := <-p.failed:
		t.Fatal(why)
	case <-ctx.Done():
		t.Fatal("the renewal was not answered")
	}
	if leg.line.Load() != before {
		t.Error("an ICE restart made another connection")
	}
	n, _ := e.count()
	for heard := false; !heard; {
		select {
		case peak := <-p.heard:
			heard = math.Abs(peak.Hertz-440) < 12 && peak.Over >= 20
		case <-ctx.Done():
			t.Fatal("the page never heard 440 Hz alone")
		}
	}
	if leg.Codec() != media.PCMA {
		t.Errorf("codec %d", leg.Codec())
	}
	waitFor(t, "the page to be heard after the renewal", func() bool { m, _ := e.count(); return m > n+20 })
	kill()
	next(media.NoticeLost)
	for _, n := range told[1:] {
		if n.Kind == media.NoticeUp {
			t.Error("up twice")
		}
	}
}
