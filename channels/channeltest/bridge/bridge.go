// Package bridge is a scriptable bridge for tests of the custom channel: an
// HTTP server that takes messages, answers status questions, serves files and
// makes signed events. It is test code and no part of a product binary.
//
// It knows the protocol from its description and shares no code with the
// adapter: its signatures, its clock and its count of messages are its own, so
// that a mistake of the adapter is not repeated here. Every call is kept by
// message id, which makes doubles countable.
//
// A script is a list of steps; each message that comes in takes the next one,
// and Accept when there is none. Steps that wait are released by a signal, never
// by time.
package bridge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tributary/channels"
	"tributary/channels/channeltest"
)

// Call is one request that posted a message.
type Call struct {
	// ID is the message's id in the body.
	ID     string
	Header http.Header
	Body   []byte
	// Err is what was wrong with the signature; nil: nothing.
	Err error
}

// Fake is a bridge under a test's control. Its fields are set before the first call.
type Fake struct {
	// Clock is the bridge's own.
	Clock *channeltest.Clock
	// Secrets sign, the first of them, and verify.
	Secrets []string
	// Idempotent: a message id that was taken is answered 409.
	Idempotent bool
	// Reached gets the message id of each call once its body is read.
	Reached chan string

	server *httptest.Server

	mu        sync.Mutex
	script    []Step
	calls     map[string][]Call
	taken     map[string]int
	questions map[string]int
	blind     time.Time
	files     map[string]http.HandlerFunc
}

// New starts a bridge; it ends with the test.
func New(t testing.TB, now time.Time) *Fake {
	t.Helper()
	b := &Fake{
		Clock: channeltest.NewClock(now), Secrets: []string{"bridge-secret-one"}, Reached: make(chan string, 100),
		calls: map[string][]Call{}, taken: map[string]int{}, questions: map[string]int{}, files: map[string]http.HandlerFunc{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /messages", b.message)
	mux.HandleFunc("GET /status", b.status)
	mux.HandleFunc("GET /files/{name}", func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		serve := b.files[r.PathValue("name")]
		b.mu.Unlock()
		if serve == nil {
			serve = http.NotFound
		}
		serve(w, r)
	})
	b.server = httptest.NewServer(mux)
	t.Cleanup(b.Close)
	return b
}

// Close stops the server; it waits for open calls.
func (b *Fake) Close() {
	b.server.CloseClientConnections()
	b.server.Close()
}

// CallbackURL is where messages are posted.
func (b *Fake) CallbackURL() string { return b.server.URL + "/messages" }

// StatusURL is where the outcome can be asked.
func (b *Fake) StatusURL() string { return b.server.URL + "/status" }

// Host is the server's host without its port.
func (b *Fake) Host() string {
	u, err := url.Parse(b.server.URL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// File serves a file and returns its address.
func (b *Fake) File(name string, serve http.HandlerFunc) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[name] = serve
	return b.server.URL + "/files/" + name
}

// Play adds steps to the script.
func (b *Fake) Play(steps ...Step) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script = append(b.script, steps...)
}

// LieUntil makes status answers "unknown" until the bridge's clock shows t.
func (b *Fake) LieUntil(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blind = t
}

// Calls returns the calls with a message id, in their order.
func (b *Fake) Calls(id string) []Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls[id])
}

// Taken is how often a message went on to the platform: two is a double.
func (b *Fake) Taken(id string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken[id]
}

// Questions is how often the outcome of a message was asked.
func (b *Fake) Questions(id string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.questions[id]
}

// Event makes a webhook call with body, signed now.
func (b *Fake) Event(body []byte) *channels.Request {
	return b.EventAt(body, b.Clock.Now(), b.Secrets[0])
}

// EventAt makes a webhook call signed at a time with a secret.
func (b *Fake) EventAt(body []byte, at time.Time, secret string) *channels.Request {
	header := http.Header{"Content-Type": {"application/json"}}
	header.Set("Tributary-Signature", sign(secret, at, body))
	return &channels.Request{Method: http.MethodPost, Header: header, Query: url.Values{}, Body: body}
}

func sign(secret string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	return fmt.Sprintf("t=%d,v1=%x", at.Unix(), mac.Sum(nil))
}

// check verifies our signature as a careful bridge would.
func (b *Fake) check(header string, body []byte) error {
	stamp, sum, ok := strings.Cut(strings.TrimPrefix(header, "t="), ",v1=")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	given, hexErr := hex.DecodeString(sum)
	if !ok || err != nil || hexErr != nil {
		return fmt.Errorf("signature %q is malformed", header)
	}
	if age := b.Clock.Now().Unix() - seconds; age > 300 || age < -300 {
		return fmt.Errorf("signature is %d s old", age)
	}
	for _, secret := range b.Secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(stamp + "." + string(body)))
		if hmac.Equal(mac.Sum(nil), given) {
			return nil
		}
	}
	return fmt.Errorf("signature does not match")
}

func (b *Fake) message(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var m struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(body, &m) // A wrong body has no id and is found there.
	call := Call{ID: m.ID, Header: r.Header.Clone(), Body: body, Err: b.check(r.Header.Get("Tributary-Signature"), body)}
	step := b.next(call)
	w.Header().Set("Date", b.Clock.Now().Format(http.TimeFormat))
	b.Reached <- m.ID
	if call.Err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	step(b, w, r, m.ID)
}

func (b *Fake) next(call Call) Step {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls[call.ID] = append(b.calls[call.ID], call)
	if len(b.script) == 0 {
		return Accept()
	}
	step := b.script[0]
	b.script = b.script[1:]
	return step
}

// take hands a message on to the platform; false: the bridge had it already.
func (b *Fake) take(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Idempotent && b.taken[id] > 0 {
		return false
	}
	b.taken[id]++
	return true
}

func (b *Fake) status(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	w.Header().Set("Date", b.Clock.Now().Format(http.TimeFormat))
	if err := b.check(r.Header.Get("Tributary-Signature"), nil); err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	b.mu.Lock()
	b.questions[id]++
	state := "unknown"
	if b.taken[id] > 0 && !b.Clock.Now().Before(b.blind) {
		state = "sent"
	}
	b.mu.Unlock()
	fmt.Fprintf(w, `{"state":%q}`, state)
}
