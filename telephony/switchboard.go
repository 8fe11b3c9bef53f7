package telephony

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tributary/channels/voice"
	"tributary/internal/peer"
)

// The verbs, wherever the call lives: here, or on a node that is asked. They make Exchange a voice.Switchboard.

// verbWait is how long a verb may take whose caller set no deadline.
const verbWait = 10 * time.Second

// Ring is the verb of voice.Switchboard.
func (x *Exchange) Ring(ctx context.Context, to voice.Ref, o voice.RingOrder) error {
	_, err := x.do(ctx, request{Verb: "ring", To: to, Ring: &o})
	return err
}

// Connect is the verb of voice.Switchboard.
func (x *Exchange) Connect(ctx context.Context, to voice.Ref, o voice.ConnectOrder) (string, error) {
	return x.do(ctx, request{Verb: "connect", To: to, Connect: &o})
}

// Renew is the verb of voice.Switchboard.
func (x *Exchange) Renew(ctx context.Context, to voice.Ref, sdpOffer string) (string, error) {
	return x.do(ctx, request{Verb: "renew", To: to, Text: sdpOffer})
}

// Dial is the verb of voice.Switchboard.
func (x *Exchange) Dial(ctx context.Context, to voice.Ref, o voice.DialOrder) (string, error) {
	return x.do(ctx, request{Verb: "dial", To: to, Dial: &o})
}

// Hold is the verb of voice.Switchboard.
func (x *Exchange) Hold(ctx context.Context, to voice.Ref, held bool) error {
	_, err := x.do(ctx, request{Verb: "hold", To: to, On: held})
	return err
}

// Mute is the verb of voice.Switchboard.
func (x *Exchange) Mute(ctx context.Context, to voice.Ref, muted bool) error {
	_, err := x.do(ctx, request{Verb: "mute", To: to, On: muted})
	return err
}

// Digits is the verb of voice.Switchboard.
func (x *Exchange) Digits(ctx context.Context, to voice.Ref, digits string) error {
	_, err := x.do(ctx, request{Verb: "digits", To: to, Text: digits})
	return err
}

// Conform is the verb of voice.Switchboard.
func (x *Exchange) Conform(ctx context.Context, to voice.Ref, w voice.Wanted) error {
	_, err := x.do(ctx, request{Verb: "conform", To: to, Wanted: &w})
	return err
}

var _ voice.Switchboard = (*Exchange)(nil)

// request is a verb on its way.
type request struct {
	Verb    string              `json:"verb"`
	To      voice.Ref           `json:"to"`
	Ring    *voice.RingOrder    `json:"ring,omitempty"`
	Connect *voice.ConnectOrder `json:"connect,omitempty"`
	Dial    *voice.DialOrder    `json:"dial,omitempty"`
	Wanted  *voice.Wanted       `json:"wanted,omitempty"`
	Text    string              `json:"text,omitempty"`
	On      bool                `json:"on,omitempty"`
}

// do obeys here, or asks the node of the call.
func (x *Exchange) do(ctx context.Context, r request) (string, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, verbWait)
		defer cancel()
	}
	if r.To.Node == x.Node {
		return x.obey(ctx, r)
	}
	if x.Ask == nil {
		return "", voice.ErrUnreachable
	}
	var answer string
	err := x.Ask(ctx, r.To.Node, methodVerb, r, &answer)
	return answer, err
}

// obey does a verb of a call of this node's own life.
func (x *Exchange) obey(ctx context.Context, r request) (string, error) {
	if r.To.Epoch != x.Epoch {
		return "", voice.ErrStale
	}
	switch {
	case r.Verb == "ring" && r.Ring != nil:
		return "", x.ring(ctx, r.To, *r.Ring)
	case r.Verb == "connect" && r.Connect != nil:
		return x.connect(ctx, r.To, *r.Connect)
	case r.Verb == "renew":
		return x.renew(ctx, r.To, r.Text)
	case r.Verb == "dial" && r.Dial != nil && (r.Dial.Ring != nil) != (r.Dial.Connect != nil):
		return x.dial(ctx, r.To, *r.Dial)
	case r.Verb == "hold":
		return "", x.hold(ctx, r.To, r.On)
	case r.Verb == "mute":
		return "", x.mute(ctx, r.To, r.On)
	case r.Verb == "digits":
		return "", x.digits(ctx, r.To, r.Text)
	case r.Verb == "conform" && r.Wanted != nil:
		return "", x.conformTo(ctx, r.To, *r.Wanted)
	}
	return "", voice.ErrRefused
}

// Methods of node-to-node requests.
const (
	methodVerb       = "call.verb"
	methodPhoneDial  = "phone.dial"
	methodPhoneDo    = "phone.do"
	methodPhoneOffer = "phone.reoffer"
	methodPhoneEvent = "phone.event"
	methodPhonePing  = "phone.ping"
)

// Serve gives the server of node-to-node requests the methods of this room.
func (x *Exchange) Serve(s *peer.Server) {
	s.Handle(methodVerb, answer(x.obey))
	s.Handle(methodPhoneDial, answer(x.distant.dialled))
	s.Handle(methodPhoneDo, answer(x.distant.told))
	s.Handle(methodPhoneOffer, answer(x.distant.reoffered))
	s.Handle(methodPhoneEvent, answer(x.distant.happened))
	s.Handle(methodPhonePing, answer(x.distant.pinged))
}

// answer lets voice's errors travel by name.
func answer[In, Out any](f func(context.Context, In) (Out, error)) peer.Handler {
	return peer.Answer(func(ctx context.Context, in In) (Out, error) {
		out, err := f(ctx, in)
		for code, known := range errorByCode {
			if errors.Is(err, known) {
				return out, &peer.Refusal{Code: code, Message: err.Error()}
			}
		}
		return out, err
	})
}

var errorByCode = map[string]error{
	"STALE": voice.ErrStale, "REFUSED": voice.ErrRefused, "NO_CALL": voice.ErrNoCall, "MEDIA": voice.ErrMedia, "UNKNOWN": voice.ErrUnknown,
}

// AskError reads the error of a request to another node: one of voice's, or voice.ErrUnreachable for all that is unknown.
func AskError(err error) error {
	var r *peer.Refusal
	if errors.As(err, &r) {
		if known, ok := errorByCode[r.Code]; ok {
			return known
		}
	}
	if err != nil {
		return errors.Join(voice.ErrUnreachable, err)
	}
	return nil
}

// AskJSON asks a node in JSON; its error is read by AskError.
func AskJSON(ctx context.Context, c *peer.Client, addr, node, method string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write the request %s: %w", method, err)
	}
	if body, err = c.Call(ctx, addr, node, method, body); err != nil {
		return AskError(err)
	}
	return json.Unmarshal(body, out)
}
