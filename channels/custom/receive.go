package custom

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"tributary/channels"
)

const (
	maxBody   = 1 << 20
	maxEvents = 100
)

// Receive implements channels.Receiver. One bad event refuses the request: 400
// and its first bad field, 401 for a signature, 405 for a method, 413 above
// 1 MiB.
func (c *Channel) Receive(_ context.Context, r *channels.Request) (channels.Received, error) {
	none := channels.Received{}
	if r.Method != http.MethodPost {
		return none, &channels.Refused{Status: http.StatusMethodNotAllowed, Message: "method must be POST"}
	}
	if len(r.Body) > maxBody {
		return none, &channels.Refused{Status: http.StatusRequestEntityTooLarge, Message: "body is larger than 1 MiB"}
	}
	now := c.clock.Now()
	key, refusal := verify(r.Header.Get(HeaderSignature), r.Body, c.config.SigningSecret.All(), now)
	if refusal != "" {
		return none, &channels.Refused{Status: http.StatusUnauthorized, Message: refusal}
	}
	events, batch, err := split(r.Body)
	if err != nil {
		return none, err
	}
	d := decoder{windows: c.config.ReplyWindows, own: c.config.ownIDs(), proof: proof(key), now: now.UTC()}
	received := channels.Received{
		Events: make([]channels.Inbound, 0, len(events)),
		Answer: channels.Answer{Status: http.StatusOK, ContentType: "application/json", Body: accepted},
	}
	for i, raw := range events {
		place := ""
		if batch {
			place = fmt.Sprintf("events[%d]", i)
		}
		in, err := d.decode(raw, place)
		if err != nil {
			return none, err
		}
		received.Events = append(received.Events, in)
	}
	return received, nil
}

func accepted(n int) []byte { return fmt.Appendf(nil, `{"accepted":%d}`, n) }

// split finds the events of a body: one object, or a list under "events".
func split(body []byte) (events []json.RawMessage, batch bool, err error) {
	var top map[string]json.RawMessage
	if !json.Valid(body) {
		return nil, false, badBody("body is not valid JSON")
	}
	if json.Unmarshal(body, &top) != nil || top == nil {
		return nil, false, badBody("body must be one object")
	}
	list, batch := top["events"]
	if !batch {
		return []json.RawMessage{bytes.TrimSpace(body)}, false, nil
	}
	switch err := json.Unmarshal(list, &events); {
	case err != nil || events == nil:
		return nil, true, badBody("events must be a list")
	case len(events) > maxEvents:
		return nil, true, badBody(fmt.Sprintf("events must hold at most %d events", maxEvents))
	}
	return events, true, nil
}

func badBody(message string) error {
	return &channels.Refused{Status: http.StatusBadRequest, Message: message}
}
