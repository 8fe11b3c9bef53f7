package fetch_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"tributary/internal/dial"
	"tributary/internal/fetch"
)

// hops redirects /n to /n-1 and answers at /0 with what arrived.
func hops(t *testing.T, status int) *httptest.Server {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
		if n > 0 {
			w.Header().Set("Location", "/"+strconv.Itoa(n-1))
			w.Header().Set("Set-Cookie", "a=b")
			w.WriteHeader(status)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+string(b)+r.Header.Get("Cookie")+r.Header.Get("Referer"))
	})
}

func TestRedirectCount(t *testing.T) {
	t.Parallel()
	s := hops(t, http.StatusFound)
	c := client(t)
	for _, x := range []struct {
		method, path string
		redirects    int
		status       int // 0: ErrRedirect
	}{
		{"GET", "/0", 0, 200},
		{"GET", "/3", 0, 200},
		{"GET", "/4", 0, 0},
		{"GET", "/3", 9, 200},
		{"GET", "/4", 9, 0},
		{"GET", "/1", 1, 200},
		{"GET", "/2", 1, 0},
		{"GET", "/1", -1, 302},
		{"HEAD", "/3", 0, 200},
		{"", "/3", 0, 200},
		{"POST", "/1", 0, 302},
		{"POST", "/1", 3, 200},
		{"POST", "/4", 3, 0},
		{"PUT", "/1", 0, 302},
		{"DELETE", "/1", 0, 302},
	} {
		req := request(t, x.method, s.URL+x.path, "")
		req.Method = x.method
		r, err := c.Do(t.Context(), purpose, req, fetch.Options{Redirects: x.redirects})
		switch {
		case x.status == 0:
			if !errors.Is(err, fetch.ErrRedirect) {
				t.Errorf("%+v: %v", x, err)
			}
		case err != nil || r.Status != x.status:
			t.Errorf("%+v: %+v, %v", x, r, err)
		case r.Status == 200 && r.URL.Path != "/0":
			t.Errorf("%+v: answered by %s", x, r.URL)
		}
	}
}

func TestRedirectMethods(t *testing.T) {
	t.Parallel()
	c := client(t)
	for status, want := range map[int]string{301: "GET ", 302: "GET ", 303: "GET ", 307: "POST hello", 308: "POST hello"} {
		s := hops(t, status)
		r, err := c.Do(t.Context(), purpose, request(t, "POST", s.URL+"/2", "hello"), fetch.Options{Redirects: 3})
		if err != nil || string(r.Body) != want { // and no cookie, no referer behind it
			t.Errorf("%d: %+v, %v", status, r, err)
		}
	}
	s := hops(t, 307)
	req := request(t, "POST", s.URL+"/1", "hello")
	req.GetBody = nil // a stream that is gone once read
	if r, err := c.Do(t.Context(), purpose, req, fetch.Options{Redirects: 3}); err != nil || r.Status != 307 {
		t.Errorf("a body that cannot be repeated: %+v, %v", r, err)
	}
}

func TestRedirectIsGuarded(t *testing.T) {
	t.Parallel()
	var to string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(302)
	})
	c := client(t)
	for _, to = range []string{
		"http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://0.0.0.0/", "//192.168.0.1/", "http://[64:ff9b::7f00:1]/",
		"http://2130706433/", "http://metadata.test.0x7f000001/",
	} {
		req := request(t, "GET", s.URL, "")
		req.URL.RawQuery = "to=" + to
		if _, err := c.Do(t.Context(), purpose, req, fetch.Options{}); !errors.Is(err, dial.ErrRefused) || !fetch.Sent(err) {
			t.Errorf("%s: %v", to, err)
		}
	}
	for _, to = range []string{"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "javascript:alert(1)", "http://", "http:///x", "data:,x"} {
		req := request(t, "GET", s.URL, "")
		req.URL.RawQuery = "to=" + to
		if _, err := c.Do(t.Context(), purpose, req, fetch.Options{}); !errors.Is(err, fetch.ErrRedirect) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

func TestRedirectToAnotherHostTakesNoSecrets(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[http.Header]
	other := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		seen.Store(&h)
	})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, strings.Replace(other.URL, "http://", "http://u:p@", 1), 302)
		case "/here":
			http.Redirect(w, r, "/stay", 302)
		case "/body":
			http.Redirect(w, r, other.URL, 307)
		case "/stay":
			h := r.Header.Clone()
			seen.Store(&h)
		}
	})
	c := client(t)
	for path, want := range map[string]string{"/away": "", "/here": "secret"} {
		req := request(t, "GET", s.URL+path, "")
		for _, name := range []string{"Authorization", "Cookie", "X-Api-Key", "X-Signature", "Content-Type"} {
			req.Header.Set(name, "secret")
		}
		req.Header.Set("Accept", "image/png")
		if _, err := c.Do(t.Context(), purpose, req, fetch.Options{}); err != nil {
			t.Fatal(err)
		}
		h := *seen.Load()
		for _, name := range []string{"Authorization", "Cookie", "X-Api-Key", "X-Signature"} {
			if h.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", path, name, h.Get(name), want)
			}
		}
		if h.Get("Accept") != "image/png" || h.Get("Referer") != "" {
			t.Errorf("%s: %v", path, h)
		}
	}
	seen.Store(nil)
	if _, err := c.Do(t.Context(), purpose, request(t, "POST", s.URL+"/body", "x"), fetch.Options{Redirects: 1}); !errors.Is(err, fetch.ErrRedirect) || seen.Load() != nil {
		t.Errorf("a body followed to another host: %v", err)
	}
}

func TestRedirectStaysInHTTPS(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	plain := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/up" {
			return
		}
		http.Redirect(w, r, plain.URL, 302)
	}))
	t.Cleanup(s.Close)
	c := client(t)
	fetch.Trust(c, purpose, roots(s))
	if _, err := c.Do(t.Context(), purpose, request(t, "GET", s.URL, ""), fetch.Options{}); !errors.Is(err, fetch.ErrRedirect) || hits.Load() != 0 {
		t.Errorf("got %v", err)
	}
	up := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, s.URL+"/up", 302) })
	if r, err := c.Do(t.Context(), purpose, request(t, "GET", up.URL, ""), fetch.Options{}); err != nil || r.URL.Scheme != "https" {
		t.Errorf("into https: %+v, %v", r, err)
	}
}
