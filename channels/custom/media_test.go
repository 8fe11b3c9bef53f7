package custom_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
	"tributary/channels/channeltest/bridge"
)

// fetch copies an attachment of at most max bytes.
func (s *setup) fetch(t *testing.T, url string, max int64) (string, string, error) {
	t.Helper()
	var into bytes.Buffer
	contentType, err := as[channels.MediaFetcher](t, s.channel).FetchMedia(t.Context(), channels.MediaRef{Kind: channels.MediaImage, URL: url}, &into, max)
	return into.String(), contentType, err
}

func serve(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // The other side may stop reading.
	}
}

func TestFetchMedia(t *testing.T) {
	t.Parallel()
	s := start(t)
	where := s.bridge.File("a.jpg", serve(200, "image/jpeg; q=1", "bytes"))
	body, contentType, err := s.fetch(t, where, 5)
	if err != nil || body != "bytes" || contentType != "image/jpeg" {
		t.Errorf("got %q, %q, %v", body, contentType, err)
	}
	if purposes := s.dialer.Purposes(); len(purposes) != 1 || purposes[0] != "media" {
		t.Errorf("dialled for %v", purposes)
	}
}

func TestFetchMediaTooLarge(t *testing.T) {
	t.Parallel()
	s := start(t)
	where := s.bridge.File("a.jpg", serve(200, "image/jpeg", strings.Repeat("x", 100_000)))
	body, _, err := s.fetch(t, where, 1000)
	class(t, err, channels.ClassPermanent)
	if len(body) > 1000 {
		t.Errorf("%d bytes were written, want at most 1000", len(body))
	}
}

func TestFetchMediaAnswers(t *testing.T) {
	t.Parallel()
	s := start(t)
	for status, want := range map[int]channels.Class{
		403: channels.ClassAttachmentExpired, 404: channels.ClassAttachmentExpired, 410: channels.ClassAttachmentExpired,
		429: channels.ClassRetry, 500: channels.ClassRetry, 503: channels.ClassRetry, 400: channels.ClassPermanent,
	} {
		_, _, err := s.fetch(t, s.bridge.File("a", serve(status, "text/html", "no")), 1000)
		class(t, err, want)
	}
	_, _, err := s.fetch(t, "", 1000)
	class(t, err, channels.ClassPermanent)
	s.dialer.Down(true)
	_, _, err = start(t).fetch(t, "http://127.0.0.1:1/", 1000)
	class(t, err, channels.ClassRetry)
}

func TestMediaHosts(t *testing.T) {
	t.Parallel()
	peer := bridge.New(t, channeltest.Start)
	allowed := open(t, peer, settings{"mediaHosts": []string{"files.example.com", "*.example.org", peer.Host()}})
	where := peer.File("a", serve(200, "text/plain", "x"))
	if _, _, err := allowed.fetch(t, where, 10); err != nil {
		t.Errorf("an allowed host: %v", err)
	}
	away := peer.File("away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://localhost"+strings.TrimPrefix(where, "http://127.0.0.1"), http.StatusFound)
	})
	dialled := len(allowed.dialer.Purposes())
	for _, url := range []string{
		"http://files.example.com.evil.example/a", "http://evilexample.org/a", "http://example.org/a", "http://localhost:1/a", away,
	} {
		_, _, err := allowed.fetch(t, url, 10)
		class(t, err, channels.ClassPermanent)
	}
	if now := len(allowed.dialer.Purposes()); now > dialled+1 {
		t.Errorf("%d dials to forbidden hosts", now-dialled-1)
	}
}

// TestFetchMediaStalls: a file that stops coming must end with its context.
func TestFetchMediaStalls(t *testing.T) {
	t.Parallel()
	s := start(t)
	reached := make(chan struct{})
	where := s.bridge.File("a", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		close(reached)
		<-r.Context().Done()
	})
	done := make(chan error, 1)
	go func() {
		_, _, err := s.fetch(t, where, 10)
		done <- err
	}()
	<-reached
	s.clock.Advance(10 * time.Minute)
	class(t, <-done, channels.ClassRetry)
}
