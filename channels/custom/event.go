package custom

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"tributary/channels"
	"tributary/channels/internal/address"
	"tributary/internal/clean"
)

const (
	maxName    = 200             // runes of a name or title
	maxReason  = 500             // runes of a reason
	maxTo      = 100             // addressed persons
	maxParts   = 50              // parts of a message
	maxReplies = 1_000_000       // repliesAllowed
	maxWindow  = 365 * 24 * 3600 // replyWithinSeconds
)

const badID = "must be a text of 1 to 200 bytes without control characters"

// event is the wire form; parts and to are decoded one by one, so that a refusal
// can say which one is wrong.
type event struct {
	ID        string            `json:"id"`
	Kind      string            `json:"kind"`
	At        string            `json:"at"`
	Thread    string            `json:"thread"`
	From      *party            `json:"from"`
	To        []json.RawMessage `json:"to"`
	Parts     []json.RawMessage `json:"parts"`
	ReplyTo   string            `json:"replyTo"`
	Message   string            `json:"message"`
	State     string            `json:"state"`
	Reason    string            `json:"reason"`
	Within    *int64            `json:"replyWithinSeconds"`
	Replies   *int              `json:"repliesAllowed"`
	Automatic bool              `json:"automatic"`
	Public    bool              `json:"public"`
}

type party struct {
	ID            string `json:"id"`
	CustomerID    string `json:"customerId"`
	Name          string `json:"name"`
	Phone         string `json:"phone"`
	PhoneVerified bool   `json:"phoneVerified"`
	Email         string `json:"email"`
}

// needs says which fields a kind of event cannot do without. A kind that is not
// here is stored as unknown.
var needs = map[channels.InboundKind][]string{
	channels.InboundMessage:  {"from", "parts"},
	channels.InboundEdit:     {"message", "parts"},
	channels.InboundRecall:   {"message"},
	channels.InboundDelivery: {"message", "state"},
	channels.InboundRead:     {"message"},
	channels.InboundTyping:   {"from"},
	channels.InboundFollow:   {"from"},
	channels.InboundUnfollow: {"from"},
}

// decoder turns the events of one request into ours.
type decoder struct {
	windows []ReplyWindow
	own     []string // ids under which we are addressed
	proof   channels.Proof
	now     time.Time
}

// fault is the first bad field of a value; field is empty for the value itself.
type fault struct{ field, message string }

func (f *fault) Error() string { return f.field + " " + f.message }

// under puts the fault below the place of its value.
func (f *fault) under(place string) *fault {
	if f.field != "" && place != "" {
		place += "."
	}
	return &fault{place + f.field, f.message}
}

func (d decoder) decode(raw json.RawMessage, place string) (channels.Inbound, error) {
	in, err := d.read(raw)
	if f, ok := errors.AsType[*fault](err); ok {
		return in, badBody(strings.TrimSpace(f.under(place).Error()))
	}
	return in, err
}

func (d decoder) read(raw json.RawMessage) (channels.Inbound, error) {
	var head struct {
		ID   string `json:"id"`
		Kind string `json:"kind"`
	}
	if err := unmarshal(raw, &head); err != nil {
		return channels.Inbound{}, err
	}
	in := channels.Inbound{
		Kind: channels.InboundKind(head.Kind), ExternalID: head.ID, Proof: d.proof,
		Raw: channels.Raw{ContentType: "application/json", Bytes: slices.Clone(raw)},
	}
	if !address.ID(head.ID) {
		return in, &fault{"id", badID}
	}
	if head.Kind == "" {
		return in, &fault{"kind", "is required"}
	}
	if _, known := needs[in.Kind]; !known {
		in.Kind = channels.InboundUnknown
		d.guess(raw, &in)
		return in, nil
	}
	var ev event
	if err := unmarshal(raw, &ev); err != nil {
		return in, err
	}
	if err := ev.require(needs[in.Kind]); err != nil {
		return in, err
	}
	return in, d.fill(&in, ev)
}

// guess takes from an event we do not know what happens to fit: nothing in it
// may cause a refusal.
func (d decoder) guess(raw json.RawMessage, in *channels.Inbound) {
	var ev event
	_ = json.Unmarshal(raw, &ev) // Fields of another type stay empty.
	in.OccurredAt = d.now
	if at, err := d.occurred(ev.At); err == nil {
		in.OccurredAt = at
	}
	if ev.From != nil && ev.From.check() == nil {
		in.Sender, in.SenderName = ev.From.identities(), clean.Line(ev.From.Name, maxName)
		in.ThreadKey = ev.From.ID
	}
	if address.ID(ev.Thread) {
		in.ThreadKey = ev.Thread
	}
}

func (ev event) require(fields []string) error {
	for _, field := range fields {
		missing := false
		switch field {
		case "from":
			missing = ev.From == nil
		case "parts":
			missing = len(ev.Parts) == 0
		case "message":
			missing = ev.Message == ""
		case "state":
			missing = ev.State == ""
		}
		if missing {
			return &fault{field, "is required"}
		}
	}
	return nil
}

func (d decoder) fill(in *channels.Inbound, ev event) (err error) {
	if in.OccurredAt, err = d.occurred(ev.At); err != nil {
		return err
	}
	if ev.From != nil {
		if err := ev.From.check(); err != nil {
			return err
		}
		in.Sender, in.SenderName = ev.From.identities(), clean.Line(ev.From.Name, maxName)
		in.ThreadKey = ev.From.ID
	}
	for _, id := range []struct{ field, value string }{
		{"thread", ev.Thread}, {"replyTo", ev.ReplyTo}, {"message", ev.Message},
	} {
		if id.value != "" && !address.ID(id.value) {
			return &fault{id.field, badID}
		}
	}
	if ev.Thread != "" {
		in.ThreadKey = ev.Thread
	}
	in.InReplyTo, in.Automatic, in.Public = ev.ReplyTo, ev.Automatic, ev.Public
	if in.To, err = d.recipients(ev.To); err != nil {
		return err
	}
	if in.Parts, err = parts(ev.Parts); err != nil {
		return err
	}
	if in.Grant, err = d.grant(in, ev); err != nil {
		return err
	}
	return target(in, ev)
}

// occurred reads the event's time. A time ahead of ours by more than the skew
// that signatures allow is taken as now: it would hold the last place in its
// thread for ever.
func (d decoder) occurred(at string) (time.Time, error) {
	if at == "" {
		return d.now, nil
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil || t.Year() < 1970 {
		return time.Time{}, &fault{"at", "must be a time such as 2026-01-01T08:00:00Z"}
	}
	if t.After(d.now.Add(skew)) {
		t = d.now
	}
	return t.UTC(), nil
}

// target says which message a receipt, an edit or a recall is about. Our ids are
// told from the bridge's by their prefix.
func target(in *channels.Inbound, ev event) error {
	if strings.HasPrefix(ev.Message, "msg_") {
		in.MessageID = ev.Message
	} else {
		in.TargetID = ev.Message
	}
	switch in.Kind {
	case channels.InboundDelivery:
		switch s := channels.DeliveryState(ev.State); s {
		case channels.DeliveryDelivered, channels.DeliveryRead, channels.DeliveryFailed:
			in.State = s
		default:
			return &fault{"state", "must be delivered, read or failed"}
		}
		in.Reason, in.Automatic = clean.Line(ev.Reason, maxReason), true
	case channels.InboundRead:
		in.State, in.Automatic = channels.DeliveryRead, true
	}
	return nil
}

// grant is the reply window of an event: its own figures, else those that the
// channel declares for its kind.
func (d decoder) grant(in *channels.Inbound, ev event) (*channels.WindowGrant, error) {
	seconds, count := int64(0), 0
	for _, w := range d.windows {
		if w.Trigger == string(in.Kind) {
			seconds, count = w.Seconds, w.Messages
		}
	}
	if ev.Within != nil {
		if seconds = *ev.Within; seconds < 1 || seconds > maxWindow {
			return nil, &fault{"replyWithinSeconds", "must be 1 to 31536000"}
		}
		count = 0
	}
	if ev.Replies != nil {
		if count = *ev.Replies; count < 1 || count > maxReplies {
			return nil, &fault{"repliesAllowed", "must be 1 to 1000000"}
		}
		if seconds == 0 {
			return nil, &fault{"replyWithinSeconds", "is required beside repliesAllowed"}
		}
	}
	if seconds == 0 {
		return nil, nil
	}
	return &channels.WindowGrant{
		Trigger: string(in.Kind), Count: count,
		Until: in.OccurredAt.Add(time.Duration(seconds) * time.Second),
	}, nil
}

func (p party) check() error {
	switch _, phone := address.Phone(p.Phone); {
	case !address.ID(p.ID):
		return &fault{"from.id", badID}
	case p.CustomerID != "" && !address.ID(p.CustomerID):
		return &fault{"from.customerId", badID}
	case p.Phone != "" && !phone:
		return &fault{"from.phone", "must be a number such as +8613800138000"}
	}
	if _, email := address.Email(p.Email); p.Email != "" && !email {
		return &fault{"from.email", "must be a bare mail address"}
	}
	return nil
}

// identities: the bridge vouches for its own ids, and signs for the operator's;
// an address is a claim, as the bridge cannot prove who reads it, except a number
// it says was verified.
func (p party) identities() []channels.IdentityKey {
	keys := []channels.IdentityKey{{
		Kind: identityKind, Scope: channels.ScopeChannel, Value: p.ID, Level: channels.ChannelProved,
	}}
	if p.CustomerID != "" {
		keys = append(keys, channels.IdentityKey{Kind: channels.IdentityExternal, Value: p.CustomerID, Level: channels.Strong})
	}
	if phone, ok := address.Phone(p.Phone); ok {
		level := channels.Claimed
		if p.PhoneVerified {
			level = channels.ChannelProved
		}
		keys = append(keys, channels.IdentityKey{Kind: channels.IdentityPhone, Value: phone, Level: level})
	}
	if email, ok := address.Email(p.Email); ok {
		keys = append(keys, channels.IdentityKey{Kind: channels.IdentityEmail, Value: email, Level: channels.Claimed})
	}
	return keys
}

// unmarshal names the bad field and says nothing of its value.
func unmarshal(raw json.RawMessage, into any) error {
	err := json.Unmarshal(raw, into)
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return &fault{wrong.Field, "has the wrong type"}
	}
	return &fault{"", "must be an object"}
}
