// Package peer carries a request from one node of an installation to another and its reply back: the verb for a call
// goes to the node whose media it is. One request, one reply, one deadline; no streams, no queue, no repetition.
//
// Both sides derive the same ed25519 key from the operator's secret and speak HTTP over TLS 1.3 in which each shows a
// certificate with exactly that key. Who lacks the secret gets no byte of HTTP parsed; what was recorded cannot be
// played again; what is said is encrypted. A request also names the node that it is for, because an address may belong
// to another one by now.
//
// What a caller must know is whether the request may have been executed, so every error of Client says it: one that is
// ErrUnreachable was certainly not, one that is ErrUncertain may have been, and a Refusal is the handler's own answer.
// Whether to ask again is the caller's to decide; nothing here does.
//
// Neighbours: main.go derives the Key and joins Server and Client with the rooms that answer and ask; this room knows no
// method but "ping" and no row. Addresses come from the rows that nodes write about themselves, so the Client dials them
// directly and not through internal/dial, which is for addresses that people and providers can name.
//
// Invariants: no handler runs for a stranger, for another node, or after the deadline of its caller has come by more
// than the way takes; a handler's context ends with the caller's deadline and when the caller leaves. Goroutines: those
// of connections; Run waits for its own, the Client's end with Close.
package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The errors of Client. Refusal is the fourth kind.
var (
	// ErrUnreachable means that the request was certainly not executed: no connection, another secret, or refused before
	// the handler. ErrWrongNode, ErrNoMethod, ErrBusy and ErrTooLarge are kinds of it.
	ErrUnreachable = errors.New("node not reached")
	// ErrWrongNode means that another node answers at this address.
	ErrWrongNode = fmt.Errorf("%w: another node is at this address", ErrUnreachable)
	// ErrNoMethod means that the node knows no such method: perhaps it runs another version.
	ErrNoMethod = fmt.Errorf("%w: it knows no such method", ErrUnreachable)
	// ErrBusy means that the node has as many requests as it takes at once. Asking again later may help.
	ErrBusy = fmt.Errorf("%w: it is busy", ErrUnreachable)
	// ErrTooLarge means that the request has more bytes than MaxBody.
	ErrTooLarge = fmt.Errorf("%w: the request is too large", ErrUnreachable)

	// ErrUncertain means that the request was sent and no reply came: it may have been executed, may still be, or not.
	ErrUncertain = errors.New("no reply from the node")
	// ErrFailed means that the handler failed without an answer of its own, by an error or a panic that is in the node's
	// log. It is a kind of ErrUncertain, since what the handler had done by then is not known.
	ErrFailed = fmt.Errorf("%w: it failed at the request", ErrUncertain)
)

// Refusal is the answer of a handler that decided not to, or could not: the request has had its effect, which is none
// unless the code says otherwise. Codes are the handler's; codes of this package are in lower case.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r *Refusal) Error() string { return fmt.Sprintf("node refused: %s: %s", r.Code, r.Message) }

// CodeMalformed is the code of the Refusal by which Answer refuses a body that it cannot read.
const CodeMalformed = "malformed"

// Limits of one exchange.
const (
	// MaxBody is the most bytes of a request and of a reply.
	MaxBody = 1 << 20
	// DefaultTimeout is how long a Call lasts whose context has no deadline.
	DefaultTimeout = 5 * time.Second
	// maxTimeout is how long a handler may work at most, whatever its caller says.
	maxTimeout = 5 * time.Minute
)

// What a request says beside its path, which is the method, and its body.
const (
	nodeHeader    = "Tributary-Node"    // whom it is for, query-escaped
	timeoutHeader = "Tributary-Timeout" // how long the caller still waits, in milliseconds: clocks differ, spans do not
)

// Hello is the answer to "ping".
type Hello struct {
	Node    string `json:"node"`
	Version string `json:"version"`
}

const ping = "ping"

// Ask is Call with values in JSON. A reply that cannot be read is ErrUncertain.
func Ask[In, Out any](ctx context.Context, c *Client, addr, node, method string, in In) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("%w: write the request %s: %w", ErrUnreachable, method, err)
	}
	if body, err = c.Call(ctx, addr, node, method, body); err != nil {
		return out, err
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, fmt.Errorf("%w: read the reply to %s: %w", ErrUncertain, method, err)
	}
	return out, nil
}

// Answer makes a handler of a function over values in JSON.
func Answer[In, Out any](f func(ctx context.Context, in In) (Out, error)) Handler {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		var in In
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, &Refusal{CodeMalformed, "the request cannot be read"}
		}
		out, err := f(ctx, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
}
