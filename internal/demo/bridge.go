package demo

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// bridge plays a closed platform: it takes the service's messages by the custom channel's protocol, brings them to its
// customers, and posts what they do. Its faults are those of real ones: it is slow at times, and repeats itself.
type bridge struct {
	lis net.Listener
	log *slog.Logger

	mu    sync.Mutex
	hooks map[string]*hook // by path
	files map[string][]byte
	order []string // of the files, oldest first: a few are kept
}

// hook is one configured channel of the bridge.
type hook struct {
	b           *bridge
	url, secret string
	http        *http.Client

	mu      sync.Mutex
	readers map[string]chan string // by thread
	had     map[string]bool        // ids of messages
}

const (
	maxFiles = 100
	maxHad   = 10_000
)

func newBridge(lis net.Listener, log *slog.Logger) *bridge {
	return &bridge{lis: lis, log: log, hooks: map[string]*hook{}, files: map[string][]byte{}}
}

func (b *bridge) base() string { return "http://" + b.lis.Addr().String() }

func (b *bridge) callback(t *tongue) string { return b.base() + "/take/" + t.locale }

// join tells the bridge the address and secret of a channel.
func (b *bridge) join(t *tongue, url, secret string) *hook {
	h := &hook{b: b, url: url, secret: secret, http: &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{}}, readers: map[string]chan string{}, had: map[string]bool{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hooks["/take/"+t.locale] = h
	return h
}

// serve listens until ctx ends.
func (b *bridge) serve(ctx context.Context) error {
	var late sync.WaitGroup
	mux := http.NewServeMux()
	mux.HandleFunc("POST /take/{locale}", func(w http.ResponseWriter, r *http.Request) { b.take(ctx, &late, w, r) })
	mux.HandleFunc("GET /files/{name}", b.file)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer late.Wait()
	defer stop()
	if err := srv.Serve(b.lis); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("the demo's bridge: %w", err)
	}
	return nil
}

// lay puts a picture down and gives its address.
func (b *bridge) lay(file []byte) string {
	name := random(10) + ".png"
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.order = append(b.order, name); len(b.order) > maxFiles {
		delete(b.files, b.order[0])
		b.order = b.order[1:]
	}
	b.files[name] = file
	return b.base() + "/files/" + name
}

func (b *bridge) file(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	file, ok := b.files[r.PathValue("name")]
	b.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	_, _ = w.Write(file)
}

// sent is a message of the service.
type sent struct {
	ID, Thread string
	Parts      []struct{ Type, Text string }
}

func (m sent) text() string {
	var all []string
	for _, p := range m.Parts {
		if p.Text != "" {
			all = append(all, p.Text)
		}
	}
	return strings.Join(all, "\n")
}

// take is the callback. What it answers 409 it has had: the service counts that as sent, and nobody reads it twice.
func (b *bridge) take(ctx context.Context, late *sync.WaitGroup, w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	h := b.hooks[r.URL.Path]
	b.mu.Unlock()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	var m sent
	switch {
	case h == nil:
		http.NotFound(w, r)
		return
	case err != nil || !verified(h.secret, r.Header.Get("Tributary-Signature"), body):
		http.Error(w, "the signature does not match", http.StatusUnauthorized)
		return
	case json.Unmarshal(body, &m) != nil:
		http.Error(w, `{"code":"form","message":"not a message"}`, http.StatusUnprocessableEntity)
		return
	}
	if rand.IntN(10) == 0 && sleep(r.Context(), time.Second+rand.N(3*time.Second)) != nil {
		return
	}
	status := http.StatusOK
	if !h.hand(m) {
		status = http.StatusConflict
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"externalId":"x-%s"}`, m.ID)
	if status == http.StatusOK && ctx.Err() == nil {
		late.Go(func() { h.receipts(ctx, m.ID) })
	}
}

// hand brings a message to whoever reads its thread; false if it came before.
func (h *hook) hand(m sent) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.had[m.ID] {
		return false
	}
	if len(h.had) > maxHad {
		clear(h.had)
	}
	h.had[m.ID] = true
	select {
	case h.readers[m.Thread] <- m.text(): // a nil channel, when nobody is there, takes nothing
	default:
	}
	return true
}

// receipts reports what became of a message, sometimes twice: the same event id is the same event.
func (h *hook) receipts(ctx context.Context, id string) {
	for _, state := range []string{"delivered", "read"} {
		if sleep(ctx, 300*time.Millisecond+rand.N(3*time.Second)) != nil {
			return
		}
		event := vars{"id": "rcp-" + state + "-" + id, "kind": "delivery", "at": time.Now().UTC().Format(time.RFC3339), "message": id, "state": state}
		for range 1 + rand.IntN(5)/4 {
			if err := h.deliver(ctx, event); err != nil && !quiet(err) {
				h.b.log.DebugContext(ctx, "demo: receipt", "error", err)
			}
		}
	}
}

// read begins to read a thread; the function ends it.
func (h *hook) read(thread string) (<-chan string, func()) {
	c := make(chan string, 16)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers[thread] = c
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.readers[thread] == c {
			delete(h.readers, thread)
		}
	}
}

// deliver posts one event. What is not answered 200 is posted again under the same id, as the protocol asks.
func (h *hook) deliver(ctx context.Context, event vars) error {
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	for n := range 4 {
		if err = sleep(ctx, time.Duration(n)*500*time.Millisecond); err != nil {
			return err
		}
		if err = h.post(ctx, body); err == nil {
			return nil
		}
	}
	return err
}

func (h *hook) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post event: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Tributary-Signature", signature(h.secret, time.Now().Unix(), body))
	res, err := h.http.Do(req)
	if err != nil {
		return fmt.Errorf("post event: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("post event: status %d: %s", res.StatusCode, text)
	}
	return nil
}

func signature(secret string, at int64, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strconv.FormatInt(at, 10) + "."))
	mac.Write(body)
	return fmt.Sprintf("t=%d,v1=%s", at, hex.EncodeToString(mac.Sum(nil)))
}

// verified checks a signature of the service.
func verified(secret, header string, body []byte) bool {
	stamp, _, _ := strings.Cut(strings.TrimPrefix(header, "t="), ",")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || time.Since(time.Unix(at, 0)).Abs() > 300*time.Second {
		return false
	}
	return hmac.Equal([]byte(header), []byte(signature(secret, at, body)))
}
