package blob_test

import (
	"errors"
	"maps"
	"net/url"
	"testing"
	"time"

	"tributary/internal/blob"
)

func TestSigner(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	key := []byte("0123456789abcdef0123456789abcdef")
	s := blob.NewSigner(key, func() time.Time { return now })
	until := now.Add(time.Minute)
	q := s.Sign("PUT", "w/a", until, 1000)
	q, err := url.ParseQuery(q.Encode()) // as it comes back from an address
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Verify("PUT", "w/a", q); n != 1000 || err != nil {
		t.Errorf("own link: %d, %v", n, err)
	}
	other := blob.NewSigner([]byte("another key"), func() time.Time { return now })
	with := func(name, value string) url.Values {
		c := maps.Clone(q)
		c[name] = []string{value}
		return c
	}
	sig := q.Get("sig")
	for name, f := range map[string]func() (int64, error){
		"method":    func() (int64, error) { return s.Verify("GET", "w/a", q) },
		"file":      func() (int64, error) { return s.Verify("PUT", "w/b", q) },
		"shifted":   func() (int64, error) { return s.Verify("PUTw", "/a", q) },
		"key":       func() (int64, error) { return other.Verify("PUT", "w/a", q) },
		"until":     func() (int64, error) { return s.Verify("PUT", "w/a", with("until", "99999999999")) },
		"max":       func() (int64, error) { return s.Verify("PUT", "w/a", with("max", "1000000")) },
		"no number": func() (int64, error) { return s.Verify("PUT", "w/a", with("max", "all")) },
		"no time":   func() (int64, error) { return s.Verify("PUT", "w/a", with("until", "")) },
		"no sig":    func() (int64, error) { return s.Verify("PUT", "w/a", with("sig", "")) },
		"half sig":  func() (int64, error) { return s.Verify("PUT", "w/a", with("sig", sig[:20])) },
		"bad sig":   func() (int64, error) { return s.Verify("PUT", "w/a", with("sig", "!")) },
		"nothing":   func() (int64, error) { return s.Verify("PUT", "w/a", nil) },
	} {
		if n, err := f(); !errors.Is(err, blob.ErrSignature) || n != 0 {
			t.Errorf("another %s: %d, %v", name, n, err)
		}
	}
	now = until.Add(-time.Nanosecond)
	if _, err := s.Verify("PUT", "w/a", q); err != nil {
		t.Errorf("in the last moment: %v", err)
	}
	now = until
	if n, err := s.Verify("PUT", "w/a", q); !errors.Is(err, blob.ErrExpired) || n != 0 {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if _, err := s.Verify("PUT", "w/b", q); !errors.Is(err, blob.ErrSignature) {
		t.Errorf("expired and forged: %v", err)
	}
}

func TestSignerHead(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := blob.NewSigner([]byte("k"), func() time.Time { return now })
	q := s.Sign("GET", "w/a", now.Add(time.Hour), 0)
	for _, m := range []string{"GET", "HEAD"} {
		if _, err := s.Verify(m, "w/a", q); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	}
	if _, err := s.Verify("DELETE", "w/a", q); !errors.Is(err, blob.ErrSignature) {
		t.Errorf("DELETE by a link for GET: %v", err)
	}
}
