package bridge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Step answers one message.
type Step func(b *Fake, w http.ResponseWriter, r *http.Request, id string)

// Accept takes the message: 200 with an external id, or 409 from an idempotent
// bridge that had it.
func Accept() Step {
	return func(b *Fake, w http.ResponseWriter, _ *http.Request, id string) {
		if !b.take(id) {
			w.WriteHeader(http.StatusConflict)
			return
		}
		fmt.Fprintf(w, `{"externalId":%q}`, ExternalID(id))
	}
}

// ExternalID is the id that Accept gives to a message.
func ExternalID(id string) string { return "x-" + id }

// AcceptWithBody takes the message and answers 200 with a body of any kind.
func AcceptWithBody(body string) Step {
	return func(b *Fake, w http.ResponseWriter, _ *http.Request, id string) {
		b.take(id)
		_, _ = w.Write([]byte(body)) // A caller that has gone is part of the play.
	}
}

// AcceptAfter takes the message at once and answers when release is closed, or
// never when the caller has gone before.
func AcceptAfter(release <-chan struct{}) Step {
	return func(b *Fake, w http.ResponseWriter, r *http.Request, id string) {
		b.take(id)
		select {
		case <-release:
		case <-r.Context().Done():
			return
		}
		fmt.Fprintf(w, `{"externalId":%q}`, ExternalID(id))
	}
}

// ReceiptFirst takes the message and calls receipt before it answers.
func ReceiptFirst(receipt func(id string)) Step {
	return func(b *Fake, w http.ResponseWriter, _ *http.Request, id string) {
		b.take(id)
		receipt(id)
		fmt.Fprintf(w, `{"externalId":%q}`, ExternalID(id))
	}
}

// CloseAfterBody takes the message and closes the connection without a word.
func CloseAfterBody() Step {
	return func(b *Fake, w http.ResponseWriter, _ *http.Request, id string) {
		b.take(id)
		hangUp(w)
	}
}

func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // The test server can always be hijacked.
	}
	_ = conn.Close() // Nobody listens any more.
}

// Had answers 409: the message was taken before.
func Had() Step { return Answer(http.StatusConflict, "", "") }

// Gone answers 410: the recipient has blocked us.
func Gone() Step { return Answer(http.StatusGone, "", "") }

// Refuse answers 422 with a code and a message.
func Refuse(code, message string) Step {
	body, err := json.Marshal(map[string]string{"code": code, "message": message})
	if err != nil {
		panic(err) // Two strings can always be encoded.
	}
	return Answer(http.StatusUnprocessableEntity, "", string(body))
}

// Throttle answers 429 with the wait in seconds.
func Throttle(seconds int) Step {
	return Answer(http.StatusTooManyRequests, strconv.Itoa(seconds), "")
}

// ThrottleUntil answers 429 with the end of the wait as a date.
func ThrottleUntil(t time.Time) Step {
	return Answer(http.StatusTooManyRequests, t.UTC().Format(http.TimeFormat), "")
}

// Unavailable answers 503 with the wait in seconds.
func Unavailable(seconds int) Step {
	return Answer(http.StatusServiceUnavailable, strconv.Itoa(seconds), "")
}

// Answer gives any status, a Retry-After unless empty, and a body. The message
// is not taken.
func Answer(status int, retryAfter, body string) Step {
	return func(_ *Fake, w http.ResponseWriter, _ *http.Request, _ string) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // A caller that has gone is part of the play.
	}
}

// Redirect answers 307 to another address.
func Redirect(to string) Step {
	return func(_ *Fake, w http.ResponseWriter, r *http.Request, _ string) {
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	}
}
