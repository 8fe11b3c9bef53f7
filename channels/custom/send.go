package custom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tributary/channels"
	"tributary/channels/internal/address"
	"tributary/internal/clean"
	"tributary/internal/fetch"
)

const (
	patience = 10 * time.Second
	// maxWait bounds Retry-After: a longer wait is a mistake of the bridge.
	maxWait = 24 * time.Hour
)

// message is the wire form of what is sent.
type message struct {
	ID      string      `json:"id"`
	Thread  string      `json:"thread"`
	To      []recipient `json:"to"`
	Parts   []part      `json:"parts"`
	ReplyTo string      `json:"replyTo,omitempty"`
}

type recipient struct {
	ID         string `json:"id,omitempty"`
	CustomerID string `json:"customerId,omitempty"`
	Phone      string `json:"phone,omitempty"`
	Email      string `json:"email,omitempty"`
}

// Send implements channels.Sender. Without an answer in 10 s, or with one that
// says nothing certain, the error is Uncertain.
func (c caller) Send(ctx context.Context, out channels.Outbound) (channels.Receipt, error) {
	none := channels.Receipt{}
	body, err := encode(out)
	if err != nil {
		return none, err
	}
	ctx, cancel := channels.WithTimeout(ctx, c.clock, patience)
	defer cancel()
	a, err := c.call(ctx, http.MethodPost, c.config.CallbackURL, out.ID, body)
	switch {
	case channels.ClassOf(err) == channels.ClassConfig:
		return none, err
	case err != nil && fetch.Sent(err):
		return none, channels.Uncertain(fmt.Errorf("post message %s: %w", out.ID, err))
	case err != nil:
		return none, fmt.Errorf("post message %s: %w", out.ID, err)
	}
	return c.outcome(out.ID, a)
}

func encode(out channels.Outbound) ([]byte, error) {
	m := message{ID: out.ID, Thread: out.ThreadKey, To: persons(out.To), ReplyTo: out.ReplyTo}
	if len(m.To) == 0 {
		err := fmt.Errorf("message %s: no recipient that the bridge can know", out.ID)
		return nil, channels.InvalidRecipient(err)
	}
	for _, p := range out.Parts {
		w, err := writePart(p)
		if err != nil {
			return nil, channels.Permanent(fmt.Errorf("message %s: %w", out.ID, err))
		}
		m.Parts = append(m.Parts, w)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, channels.Permanent(fmt.Errorf("message %s: %w", out.ID, err))
	}
	return body, nil
}

// persons joins the identities of each person again: they follow each other, so
// a kind that is there already begins the next one.
func persons(keys []channels.IdentityKey) []recipient {
	var list []recipient
	var r recipient
	for _, key := range keys {
		place := r.place(key.Kind)
		if place == nil {
			continue
		}
		if *place != "" {
			list = append(list, r)
			r = recipient{}
			place = r.place(key.Kind)
		}
		*place = key.Value
	}
	if r != (recipient{}) {
		list = append(list, r)
	}
	return list
}

func (r *recipient) place(kind string) *string {
	switch kind {
	case identityKind:
		return &r.ID
	case channels.IdentityExternal:
		return &r.CustomerID
	case channels.IdentityPhone:
		return &r.Phone
	case channels.IdentityEmail:
		return &r.Email
	}
	return nil
}

// outcome reads an answer by the protocol. Only what it defines is certain: a
// proxy on the way may answer 500 or an empty 200 after the bridge has the
// message, or before.
func (c caller) outcome(id string, a *fetch.Response) (channels.Receipt, error) {
	none := channels.Receipt{}
	err := fmt.Errorf("post message %s: answer %d", id, a.Status)
	switch {
	case a.Status == http.StatusConflict:
		return channels.Receipt{ExternalID: externalID(a.Body)}, nil
	case a.Status >= 200 && a.Status < 300:
		if external := externalID(a.Body); external != "" {
			return channels.Receipt{ExternalID: external}, nil
		}
		return none, channels.Uncertain(fmt.Errorf("%w without an externalId", err))
	case a.Status == http.StatusTooManyRequests:
		return none, channels.Throttled(err, channels.ScopeOfChannel, c.wait(a.Header))
	case a.Status == http.StatusServiceUnavailable:
		return none, channels.RetryAfter(err, c.wait(a.Header))
	case a.Status == http.StatusGone:
		return none, channels.Blocked(err)
	case a.Status == http.StatusUnprocessableEntity:
		code, text := refusal(a.Body)
		return none, channels.Permanent(err).WithCode(code).WithText(text)
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return none, channels.AuthBroken(err).WithText("The bridge refuses our signature.")
	case a.Status >= 300 && a.Status < 400, a.Status == http.StatusNotFound, a.Status == http.StatusMethodNotAllowed:
		return none, channels.ConfigError(err).WithText("The callback URL does not take messages.")
	case a.Status >= 400 && a.Status < 500:
		return none, channels.Permanent(err)
	}
	return none, channels.Uncertain(err)
}

func externalID(body []byte) string {
	var got struct {
		ExternalID string `json:"externalId"`
	}
	if json.Unmarshal(body, &got) != nil || !address.ID(got.ExternalID) {
		return ""
	}
	return got.ExternalID
}

func refusal(body []byte) (code, text string) {
	var got struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &got) != nil {
		return "", ""
	}
	return clean.Line(got.Code, maxName), clean.Line(got.Message, maxReason)
}

// wait reads Retry-After (RFC 9110 section 10.2.3). A date is counted from the
// answer's own Date, so that a bridge whose clock is wrong still means the same
// time; without one, from ours.
func (c *Channel) wait(header http.Header) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxWait)
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		now = c.clock.Now()
	}
	return max(0, min(until.Sub(now), maxWait))
}

// Query implements channels.DeliveryQuerier by the statusUrl. The request is
// signed over an empty body; its id goes in the query.
func (c asker) Query(ctx context.Context, messageID string) (channels.DeliveryAnswer, error) {
	none := channels.DeliveryAnswer{}
	where, err := withID(c.config.StatusURL, messageID)
	if err != nil {
		return none, channels.ConfigError(err)
	}
	ctx, cancel := channels.WithTimeout(ctx, c.clock, patience)
	defer cancel()
	a, err := c.call(ctx, http.MethodGet, where, messageID, nil)
	if err != nil {
		return none, fmt.Errorf("ask for message %s: %w", messageID, err)
	}
	var got struct {
		State      channels.DeliveryState `json:"state"`
		ExternalID string                 `json:"externalId"`
		Reason     string                 `json:"reason"`
	}
	switch {
	case a.Status == http.StatusTooManyRequests, a.Status == http.StatusServiceUnavailable:
		return none, channels.RetryAfter(fmt.Errorf("ask for message %s: answer %d", messageID, a.Status), c.wait(a.Header))
	case a.Status != http.StatusOK:
		return none, fmt.Errorf("ask for message %s: answer %d", messageID, a.Status)
	case json.Unmarshal(a.Body, &got) != nil:
		return none, errors.New("ask for message " + messageID + ": the answer cannot be read")
	}
	switch got.State {
	case channels.DeliverySent, channels.DeliveryFailed:
	default: // A state of another word tells us nothing either.
		got.State = channels.DeliveryUnknown
	}
	reply := channels.DeliveryAnswer{State: got.State, Reason: clean.Line(got.Reason, maxReason)}
	if address.ID(got.ExternalID) {
		reply.ExternalID = got.ExternalID
	}
	return reply, nil
}
