package siptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Options is how a call is made or answered. The zero value is an ordinary call with PCMA and telephone-event 101.
type Options struct {
	// From and To are users or whole SIP addresses; Name is the display name. To is for calls that we make.
	From, To, Name string
	// PAI becomes a P-Asserted-Identity (RFC 3325); Headers are further ones.
	PAI     string
	Headers map[string]string
	// Codecs in the order of preference; none: PCMA, PCMU.
	Codecs []Codec
	// EventType is the payload type of keys; 0: 101. NoEvents: keys are not offered.
	EventType uint8
	NoEvents  bool
	// Direction of our first word; "": sendrecv.
	Direction string
	// Lines are further lines of the audio's description; SDP replaces all of it.
	Lines []string
	SDP   []byte
	// Late: the INVITE has no SDP, the offer comes with the answer and ours with the ACK (RFC 3264 section 5).
	Late bool
	// MediaAddr is written into the SDP in place of the real address, as behind a NAT.
	MediaAddr netip.AddrPort
	// NoRTP: nothing is sent, not even silence.
	NoRTP bool
	// NoAck: the 200 is never acknowledged, or an answer of ours is repeated until the transaction's end whatever comes.
	NoAck bool
	// RefuseReinvite is the status that offers within the call are refused with; 0: they are taken.
	RefuseReinvite int
	// Tone in Hz that is sent from the first moment on; 0: silence.
	Tone float64
}

func (o Options) describe(m *media, ip netip.Addr) description {
	d := description{audio: netip.AddrPortFrom(ip, uint16(m.port())), codecs: o.Codecs, event: 101, direction: o.Direction, session: rand.Uint64() >> 2, version: 1, extra: o.Lines}
	if len(d.codecs) == 0 {
		d.codecs = []Codec{PCMA, PCMU}
	}
	if d.direction == "" {
		d.direction = SendRecv
	}
	if o.EventType != 0 {
		d.event = o.EventType
	}
	if o.NoEvents {
		d.event = 0
	}
	if o.MediaAddr.IsValid() {
		d.audio = o.MediaAddr
	}
	return d
}

// Ending is why a call is over.
type Ending struct {
	// ByPeer: the far end did it, by Method (BYE, CANCEL) or by refusing with Code.
	ByPeer bool
	Method sip.RequestMethod
	Code   int
	// Reason is the text of the header of that name (RFC 3326).
	Reason string
}

// Call is one call of either direction.
type Call struct {
	*media
	e        *endpoint
	outgoing bool
	options  Options

	invite *sip.Request
	server sip.ServerTransaction // incoming
	client sip.ClientTransaction // outgoing; of the last attempt

	rang, answered, confirmed, ended, settled chan struct{}

	mu        sync.Mutex
	status    int
	ending    Ending
	callID    string
	ourTag    string
	theirTag  string
	us, them  sip.Uri
	target    sip.Uri
	route     []sip.Uri
	sequence  uint32
	theirs    description
	ours      description
	held      bool // by us
	info      []byte
	acks      int
	reinvites int
	forks     int
	repeats   int
	accepted  *sip.Response
	ack       *sip.Request
	claimed   bool // an incoming call has its final answer
	offering  bool
	waiting   map[uint32]chan struct{} // ACKs of re-INVITEs, by their number
}

func newCall(e *endpoint, o Options, outgoing bool) (*Call, error) {
	m, err := newMedia(e.local.Addr())
	if err != nil {
		return nil, err
	}
	m.wave.Hz = o.Tone
	c := &Call{media: m, e: e, outgoing: outgoing, options: o, ourTag: sip.GenerateTagN(12), sequence: 1 + rand.Uint32N(1000), waiting: map[uint32]chan struct{}{}}
	for _, ch := range []*chan struct{}{&c.rang, &c.answered, &c.confirmed, &c.ended, &c.settled} {
		*ch = make(chan struct{})
	}
	c.ours = o.describe(m, e.local.Addr())
	return c, nil
}

func (c *Call) key() string { return c.callID + " " + c.ourTag }

// CallID of the dialog, to find it in the logs of the far end.
func (c *Call) CallID() string { return c.callID }

// Invite is the request that began it: ours or theirs.
func (c *Call) Invite() *sip.Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.invite
}

// From is the user in the From header of an incoming call; To the one in its Request-URI.
func (c *Call) From() string { return c.Invite().From().Address.User }

// To is the user that was called.
func (c *Call) To() string { return c.Invite().Recipient.User }

// Header is one of the INVITE; "" if there is none.
func (c *Call) Header(name string) string {
	if h := c.Invite().GetHeader(name); h != nil {
		return h.Value()
	}
	return ""
}

// Rang is closed when the far end rings (180 or 183), or when we said so.
func (c *Call) Rang() <-chan struct{} { return c.rang }

// Answered is closed with the 200.
func (c *Call) Answered() <-chan struct{} { return c.answered }

// Confirmed is closed with the ACK.
func (c *Call) Confirmed() <-chan struct{} { return c.confirmed }

// Ended is closed when it is over for whatever reason.
func (c *Call) Ended() <-chan struct{} { return c.ended }

// Status is the last status code of the INVITE: theirs of an outgoing call, ours of an incoming one; 0: none yet.
func (c *Call) Status() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

// Ending is why it is over; empty while it is not.
func (c *Call) Ending() Ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// Acks counts the ACKs that came for our 200; Reinvites the offers that came in the call.
func (c *Call) Acks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acks
}

// Reinvites counts re-INVITEs of the far end.
func (c *Call) Reinvites() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reinvites
}

// PeerDirection is the direction in the far end's last description: sendonly or inactive means that it holds us.
func (c *Call) PeerDirection() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.theirs.audio.IsValid() && c.theirs.audio.Port() == 0 && c.theirs.receives() {
		return SendOnly // the old way, by the address 0.0.0.0
	}
	return c.theirs.direction
}

// Codec is what was agreed for sound.
func (c *Call) Codec() Codec {
	c.media.mu.Lock()
	defer c.media.mu.Unlock()
	return c.codec
}

// finish ends it once; the first reason counts.
func (c *Call) finish(why Ending) {
	c.mu.Lock()
	if closed(c.ended) {
		c.mu.Unlock()
		return
	}
	c.ending = why
	close(c.ended)
	c.settle()
	c.mu.Unlock()
	c.e.drop(c)
	c.close()
}

// settle lets go of the INVITE's transaction; the lock is held.
func (c *Call) settle() { closeOnce(c.settled) }

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// closeOnce closes a channel that only holders of one lock close.
func closeOnce(ch chan struct{}) {
	if !closed(ch) {
		close(ch)
	}
}

// AwaitRinging waits until the far end rings.
func (c *Call) AwaitRinging(ctx context.Context) error { return c.awaitClosed(ctx, "ringing", c.rang) }

// AwaitAnswer waits for the 200; a refusal is a *StatusError.
func (c *Call) AwaitAnswer(ctx context.Context) error {
	return c.awaitClosed(ctx, "the answer", c.answered)
}

// AwaitConfirmed waits for the ACK.
func (c *Call) AwaitConfirmed(ctx context.Context) error {
	return c.awaitClosed(ctx, "the ACK", c.confirmed)
}

// AwaitEnd waits until it is over.
func (c *Call) AwaitEnd(ctx context.Context) (Ending, error) {
	select {
	case <-c.ended:
		return c.Ending(), nil
	case <-ctx.Done():
		return Ending{}, fmt.Errorf("the call goes on: %w", ctx.Err())
	}
}

func (c *Call) awaitClosed(ctx context.Context, what string, ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	default:
	}
	select {
	case <-ch:
		return nil
	case <-c.ended:
		if closed(ch) {
			return nil
		}
		if end := c.Ending(); end.Code != 0 {
			return &StatusError{Method: "INVITE", Code: end.Code, Reason: end.Reason}
		}
		return fmt.Errorf("waiting for %s: %w", what, ErrEnded)
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s, last status %d: %w", what, c.Status(), ctx.Err())
	}
}

// await looks until it is so.
func (c *Call) await(ctx context.Context, what string, so func() bool) error {
	ticker := time.NewTicker(frameTime)
	defer ticker.Stop()
	for !so() {
		select {
		case <-ticker.C:
		case <-c.ended:
			if so() {
				return nil
			}
			return fmt.Errorf("waiting for %s: %w", what, ErrEnded)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
	return nil
}

// AwaitPeerDirection waits until the far end's last word has this direction.
func (c *Call) AwaitPeerDirection(ctx context.Context, direction string) error {
	return c.await(ctx, "direction "+direction, func() bool { return c.PeerDirection() == direction })
}

// address makes a SIP address of a user, or takes a whole one.
func (e *endpoint) address(user string) (sip.Uri, error) {
	if !strings.HasPrefix(user, "sip:") && !strings.HasPrefix(user, "sips:") {
		e.mu.Lock()
		defer e.mu.Unlock()
		return sip.Uri{Scheme: "sip", User: user, Host: e.domain}, nil
	}
	var uri sip.Uri
	if err := sip.ParseUri(user, &uri); err != nil {
		return uri, fmt.Errorf("the address %q: %w", user, err)
	}
	return uri, nil
}
