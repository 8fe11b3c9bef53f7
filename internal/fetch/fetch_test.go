package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tributary/internal/dial"
	"tributary/internal/fetch"
)

const purpose = "webhook"

// client may reach loopback for the purpose "webhook" and for no other.
func client(t *testing.T) *fetch.Client {
	t.Helper()
	c := fetch.New(dial.New(map[dial.Purpose][]dial.Rule{purpose: {
		{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")},
	}}))
	t.Cleanup(c.Close)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func request(t *testing.T, method, address, body string) *http.Request {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, address, r)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestDo(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Method", r.Method)
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Header.Get("User-Agent"), r.Header.Get("X-Own"), b)
	})
	c := client(t)
	req := request(t, "POST", s.URL+"/p", "hello")
	req.Header.Set("X-Own", "own")
	r, err := c.Do(t.Context(), purpose, req, fetch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != 418 || string(r.Body) != "Tributary own hello" || r.Header.Get("X-Method") != "POST" || r.URL.Path != "/p" {
		t.Errorf("got %+v %s", r, r.Body)
	}
	if !fetch.Sent(nil) {
		t.Error("what was answered was sent")
	}
}

func TestGuardDecides(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	s := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	c := client(t)
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	if _, err := c.Do(t.Context(), purpose, request(t, "GET", s.URL, ""), fetch.Options{}); err != nil {
		t.Fatal(err) // the twin, and an idle connection that nobody else may use
	}
	for _, host := range []string{
		"127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "127.1",
		"[64:ff9b::7f00:1]", "169.254.169.254", "127。0。0。1",
	} {
		_, err := c.Do(t.Context(), "avatar", request(t, "GET", "http://"+host+port, ""), fetch.Options{})
		if !errors.Is(err, dial.ErrRefused) || fetch.Sent(err) {
			t.Errorf("%s: %v, sent %v", host, err, fetch.Sent(err))
		}
	}
	if hits.Load() != 1 {
		t.Errorf("%d requests, want 1", hits.Load())
	}
}

// Not parallel: it sets the environment.
func TestNoProxyFromEnvironment(t *testing.T) {
	proxy := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "proxied") })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	if _, err := client(t).Do(t.Context(), "avatar", request(t, "GET", "http://10.255.255.1/", ""), fetch.Options{}); !errors.Is(err, dial.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestSchemes(t *testing.T) {
	t.Parallel()
	for _, u := range []*url.URL{
		nil,
		{},
		{Scheme: "file", Path: "/etc/passwd"},
		{Scheme: "ftp", Host: "127.0.0.1"},
		{Scheme: "gopher", Host: "127.0.0.1"},
		{Scheme: "http"},
		{Scheme: "http", Host: ":80"},
		{Scheme: "http", Opaque: "//127.0.0.1/"},
		{Host: "127.0.0.1"},
	} {
		body := &closer{Reader: strings.NewReader("x")}
		_, err := client(t).Do(t.Context(), purpose, &http.Request{Method: "POST", URL: u, Body: body}, fetch.Options{})
		if !errors.Is(err, fetch.ErrScheme) || fetch.Sent(err) || !body.closed {
			t.Errorf("%v: %v, sent %v, body closed %v", u, err, fetch.Sent(err), body.closed)
		}
	}
}

type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestCap(t *testing.T) {
	t.Parallel()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(make([]byte, 10<<20))
	_ = z.Close()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/length":
			w.Header().Set("Content-Length", "1001")
			if r.Method != http.MethodHead {
				_, _ = w.Write(make([]byte, 1001))
			}
		case "/chunks":
			for range 1001 {
				_, _ = w.Write([]byte{0})
				_ = http.NewResponseController(w).Flush()
			}
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed.Bytes())
		case "/fits":
			_, _ = w.Write(make([]byte, 1000))
		}
	})
	c := client(t)
	opt := fetch.Options{MaxBytes: 1000}
	for _, path := range []string{"/length", "/chunks", "/bomb"} {
		_, err := c.Do(t.Context(), purpose, request(t, "GET", s.URL+path, ""), opt)
		if !errors.Is(err, fetch.ErrTooLarge) || !fetch.Sent(err) {
			t.Errorf("%s: %v, sent %v", path, err, fetch.Sent(err))
		}
	}
	if r, err := c.Do(t.Context(), purpose, request(t, "GET", s.URL+"/fits", ""), opt); err != nil || len(r.Body) != 1000 {
		t.Errorf("what fits: %v", err)
	}
	if _, err := c.Do(t.Context(), purpose, request(t, "HEAD", s.URL+"/length", ""), opt); err != nil {
		t.Errorf("a head has no bytes: %v", err)
	}
	// The stream gives the allowed bytes, then the error, and keeps giving it.
	_, body, err := c.Stream(t.Context(), purpose, request(t, "GET", s.URL+"/chunks", ""), opt)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if len(got) != 1000 || !errors.Is(err, fetch.ErrTooLarge) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n, err := body.Read(make([]byte, 10)); n != 0 || !errors.Is(err, fetch.ErrTooLarge) {
		t.Errorf("read on: %d, %v", n, err)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "second")
	})
	r, body, err := client(t).Stream(t.Context(), purpose, request(t, "GET", s.URL, ""), fetch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	first := make([]byte, 5)
	if _, err := io.ReadFull(body, first); err != nil || string(first) != "first" || r.Status != 200 || r.Body != nil {
		t.Errorf("%q, %v", first, err)
	}
	close(more)
	if rest, err := io.ReadAll(body); string(rest) != "second" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestErrorsHideAddresses(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bot-secret/cut":
			c, _, _ := http.NewResponseController(w).Hijack()
			_ = c.Close()
		case "/bot-secret/bad":
			w.Header().Set("Location", "http://%zz/?token=secret")
			w.WriteHeader(302)
		case "/bot-secret/loop":
			http.Redirect(w, r, r.URL.String(), 302)
		case "/bot-secret/inner":
			http.Redirect(w, r, "http://10.0.0.1/bot-secret?token=secret", 302)
		case "/bot-secret/large":
			_, _ = w.Write(make([]byte, 2000))
		}
	})
	c := client(t)
	for _, path := range []string{"cut", "bad", "loop", "inner", "large"} {
		req := request(t, "GET", "http://user:secret@"+strings.TrimPrefix(s.URL, "http://")+"/bot-secret/"+path+"?token=secret", "")
		_, err := c.Do(t.Context(), purpose, req, fetch.Options{MaxBytes: 1000})
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.HasPrefix(err.Error(), "fetch "+s.URL+": ") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSent(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	cut := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := http.NewResponseController(w).Hijack()
		_ = c.Close()
	})
	half := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	})
	garbage := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		c, b, _ := http.NewResponseController(w).Hijack()
		_, _ = b.WriteString("SSH-2.0-OpenSSH\r\n\r\n")
		_ = b.Flush()
		_ = c.Close()
	})
	onward := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://10.0.0.1/", 302) })
	unknown := httptest.NewUnstartedServer(http.NotFoundHandler())
	unknown.Config.ErrorLog = log.New(io.Discard, "", 0)
	unknown.StartTLS()
	t.Cleanup(unknown.Close)
	c := client(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, x := range map[string]struct {
		ctx     context.Context
		address string
		sent    bool
	}{
		"refused by the host":    {t.Context(), "http://" + closed.Addr().String(), false},
		"refused by the guard":   {t.Context(), "http://10.0.0.1/", false},
		"unknown certificate":    {t.Context(), unknown.URL, false},
		"TLS to a plain server":  {t.Context(), strings.Replace(plain.URL, "http", "https", 1), false},
		"over before it began":   {ended, plain.URL, false},
		"cut after the request":  {t.Context(), cut.URL, true},
		"cut in the answer":      {t.Context(), half.URL, true},
		"no HTTP":                {t.Context(), garbage.URL, true},
		"redirected to a refuse": {t.Context(), onward.URL, true},
	} {
		_, err := c.Do(x.ctx, purpose, request(t, "GET", x.address, ""), fetch.Options{})
		if err == nil || fetch.Sent(err) != x.sent {
			t.Errorf("%s: %v, sent %v", name, err, fetch.Sent(err))
		}
		if fetch.Sent(fmt.Errorf("deliver: %w", err)) != x.sent {
			t.Errorf("%s: wrapping changes the answer", name)
		}
	}
	if !fetch.Sent(io.EOF) {
		t.Error("errors of others count as sent")
	}
}

// piped is a dialer of in-memory connections: with it time in a bubble can pass.
type piped func(net.Conn)

func (p piped) DialContext(context.Context, string, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go p(theirs)
	return ours, nil
}

// silent reads the request, writes what it is given, and then says nothing more.
func silent(say string) piped {
	return func(c net.Conn) {
		defer c.Close()
		b := make([]byte, 4096)
		if _, err := c.Read(b); err != nil {
			return
		}
		if _, err := io.WriteString(c, say); err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, c)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		say  string
		opt  fetch.Options
		want time.Duration
	}{
		"no answer":             {"", fetch.Options{Timeout: 7 * time.Second}, 7 * time.Second},
		"no answer, default":    {"", fetch.Options{}, 15 * time.Second},
		"no headers":            {"", fetch.Options{Timeout: time.Hour}, 30 * time.Second},
		"half of the headers":   {"HTTP/1.1 200 OK\r\nA: b\r\n", fetch.Options{Timeout: time.Hour}, 30 * time.Second},
		"half of the body":      {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", fetch.Options{Timeout: time.Minute}, time.Minute},
		"a redirect, then none": {"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /b\r\n\r\n", fetch.Options{Timeout: 9 * time.Second}, 9 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := fetch.New(silent(x.say))
			defer c.Close()
			start := time.Now()
			_, err := c.Do(t.Context(), purpose, request(t, "GET", "http://example.com/", ""), x.opt)
			var timeout interface{ Timeout() bool }
			if !errors.As(err, &timeout) || !timeout.Timeout() || !fetch.Sent(err) {
				t.Errorf("%s: %v, sent %v", name, err, fetch.Sent(err))
			}
			if took := time.Since(start); took != x.want {
				t.Errorf("%s: ended after %v, want %v", name, took, x.want)
			}
		})
	}
}

func TestStreamDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := fetch.New(silent("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"))
		defer c.Close()
		start := time.Now()
		_, body, err := c.Stream(t.Context(), purpose, request(t, "GET", "http://example.com/", ""), fetch.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
		if _, err := io.ReadAll(body); !errors.Is(err, context.DeadlineExceeded) || !fetch.Sent(err) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != 5*time.Minute {
			t.Errorf("ended after %v", took)
		}
	})
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c := client(t)
	fetch.Trust(c, purpose, roots(s))
	r, err := c.Do(t.Context(), purpose, request(t, "GET", s.URL, ""), fetch.Options{})
	if err != nil || string(r.Body) != "HTTP/2.0" {
		t.Errorf("%+v, %v", r, err)
	}
}

func roots(s *httptest.Server) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.Certificate())
	return p
}
