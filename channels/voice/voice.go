// Package voice is what desk and telephony say to each other: the facts of a call, the verbs, and the two ports. Desk is
// implemented by the room of that name and used by telephony; Switchboard is implemented by telephony and used by desk.
// It decides nothing and holds nothing but the checks of a flow, which both sides rely on.
//
// Rules: a fact is reported once and in order, with its number within the call and the epoch of the node that owns it.
// All media state comes from facts: a verb returns after what it did has been reported. A verb is never called inside a
// transaction.
package voice

import (
	"context"
	"errors"
	"time"
)

// ID names a call, a leg, a phone, a trunk, a queue in the contract's form ("cal_…"); telephony compares it and reads
// nothing from it.
type ID string

// Ref says which call is meant and where it lives: media is anchored on that node.
type Ref struct {
	Call ID `json:"call"`
	Leg  ID `json:"leg,omitempty"`
	// Node and Epoch are the owner as the caller read it; another epoch's request and reply count for nothing.
	Node  string `json:"node"`
	Epoch int64  `json:"epoch"`
	// Version is the call's row version that the request is made upon: an older one never undoes a newer one.
	Version int `json:"version"`
}

// Errors of both ports, compared with errors.Is.
var (
	// ErrStale: the call belongs to another node or a later life of this one. The caller gives the call up.
	ErrStale = errors.New("the call is owned by another epoch")
	// ErrRefused: the desk does not admit it in the state it is in. The leg that it was about is dropped.
	ErrRefused = errors.New("the desk does not admit it")
	// ErrNoCall: the node holds no such call or leg, or no more.
	ErrNoCall = errors.New("there is no such call or leg here")
	// ErrUnreachable: the node or the phone did not answer in time; what became of it is unknown. Retryable.
	ErrUnreachable = errors.New("the node of the call does not answer")
	// ErrMedia: the SDP offer holds nothing that we can speak.
	ErrMedia = errors.New("no common audio")
	// ErrUnknown: there is no such account or trunk.
	ErrUnknown = errors.New("unknown")
)

// Cause is why a leg or a call ended, the contract's CallEndCause.
type Cause string

// The causes.
const (
	CustomerHungUp Cause = "CUSTOMER_HUNG_UP"
	AgentHungUp    Cause = "AGENT_HUNG_UP"
	Abandoned      Cause = "ABANDONED"
	NoAnswer       Cause = "NO_ANSWER"
	Busy           Cause = "BUSY"
	Rejected       Cause = "REJECTED"
	Unreachable    Cause = "UNREACHABLE"
	Failed         Cause = "FAILED"
	// Dropped: the desk took the leg away (withdrawn, transferred, resolved).
	Dropped Cause = "DROPPED"
	// MediaLost: the leg sent nothing for too long, or its connection broke.
	MediaLost Cause = "MEDIA_LOST"
	// NodeLost: the node that held it is gone.
	NodeLost Cause = "NODE_LOST"
)

// FactKind is what can be told of a call.
type FactKind string

// The facts.
const (
	// Answered: the customer's leg is up.
	Answered FactKind = "answered"
	// Stepped: a node of the flow was left (Node, Input, Exit).
	Stepped FactKind = "stepped"
	// Queued: the flow hands over to Queue; empty: the channel's own.
	Queued FactKind = "queued"
	// Ringing: the far end of the leg rings.
	Ringing FactKind = "ringing"
	// Up: an agent's leg is up. Refused: it is dropped, nobody hears anybody.
	Up FactKind = "up"
	// Missed: a leg ended without ever having been up (Cause, Code).
	Missed FactKind = "missed"
	// Digit: a key was pressed on the leg.
	Digit FactKind = "digit"
	// Held and Resumed: the leg put the other side on hold, or took it back.
	Held    FactKind = "held"
	Resumed FactKind = "resumed"
	// Muted and Unmuted: the leg is heard by nobody, or again.
	Muted   FactKind = "muted"
	Unmuted FactKind = "unmuted"
	// Left: a leg that was up ended while the call goes on (Cause).
	Left FactKind = "left"
	// Recorded: a recording lies in the blob store (Recording). It may follow Ended.
	Recorded FactKind = "recorded"
	// Ended: the call is over, with all its legs (Cause, Code, Quality).
	Ended FactKind = "ended"
)

// Fact is one thing that happened to a call.
type Fact struct {
	Call ID `json:"call"`
	Leg  ID `json:"leg,omitempty"`
	// Number counts within the call from 1; a number that was stored already does nothing again.
	Number int       `json:"number"`
	Node   string    `json:"node"`
	Epoch  int64     `json:"epoch"`
	Kind   FactKind  `json:"kind"`
	At     time.Time `json:"at"`

	Cause Cause `json:"cause,omitempty"`
	// Code is the SIP status code, where one came.
	Code int `json:"code,omitempty"`
	// Digit is one of 0-9 * # A-D.
	Digit string `json:"digit,omitempty"`
	// Step, Input and Exit are of Stepped.
	Step  string `json:"step,omitempty"`
	Input string `json:"input,omitempty"`
	Exit  string `json:"exit,omitempty"`
	// Queue is of Queued.
	Queue ID `json:"queue,omitempty"`

	Recording *Recording `json:"recording,omitempty"`
	Quality   *Quality   `json:"quality,omitempty"`
}

// Recording is a stereo WAV file in the blob store: the customer left, the agent right, G.711 or PCM at 8 kHz.
type Recording struct {
	Blob      string    `json:"blob"`
	Bytes     int64     `json:"bytes"`
	SHA256    string    `json:"sha256"`
	Seconds   float64   `json:"seconds"`
	StartedAt time.Time `json:"startedAt"`
}

// Quality is what was received from the customer's side.
type Quality struct {
	// LossRate is 0 to 1; Jitter as RFC 3550 section 6.4.1 computes it.
	LossRate float64 `json:"lossRate"`
	JitterMs float64 `json:"jitterMs"`
	Packets  int64   `json:"packets"`
}

// Answer is what the desk says to a fact.
type Answer struct {
	// Version is the call's row version now.
	Version int `json:"version"`
	// Waiting is what the customer hears from now on while he waits; nil: unchanged.
	Waiting *Sound `json:"waiting,omitempty"`
	// Record says, after Up, whether the two are recorded from now on.
	Record bool `json:"record,omitempty"`
}

// Desk is what telephony asks and tells. Every method may be called again after an error: what was stored is not stored
// twice. Errors other than those of this package are passing ones.
type Desk interface {
	// Greet takes an inbound call in: who calls, which conversation, which flow, all in one transaction. The same
	// Arrival.Key gives the same Greeting. ErrRefused: the call is not wanted (blocked caller, paused trunk).
	Greet(ctx context.Context, a Arrival) (Greeting, error)
	// Report stores a fact with its effect. ErrRefused and ErrStale are final.
	Report(ctx context.Context, f Fact) (Answer, error)
	// Pulse renews the lease of the node's calls and says what shall be of each. Calls that it does not know are Over.
	Pulse(ctx context.Context, node string, epoch int64, calls []ID) (map[ID]Wanted, error)
	// Trunks are those of all workspaces. The list changes by mutation; read it every second.
	Trunks(ctx context.Context) ([]Trunk, error)
	// TrunkHealth shows in the channel's health whether the trunk answers; err nil: it does.
	TrunkHealth(ctx context.Context, trunk ID, err error) error
	// Phone finds the account of a SIP user name; ErrUnknown.
	Phone(ctx context.Context, username string) (Phone, error)
	// Register writes where a phone can be reached, or with Expires not after now that it cannot.
	Register(ctx context.Context, r Registration) error
}

// Switchboard is what the desk asks of the node that owns the call. All are synchronous; the context bears the deadline.
type Switchboard interface {
	// Ring rings an agent's phones for a leg; the first to answer is joined with the customer after Up was admitted.
	// It returns when the requests are out. A repeat for the same leg does nothing.
	Ring(ctx context.Context, to Ref, o RingOrder) error
	// Connect answers a browser's SDP offer for a leg and returns the SDP answer with all candidates. Up follows when
	// the connection stands. A repeat with the same offer returns the same answer.
	Connect(ctx context.Context, to Ref, o ConnectOrder) (sdpAnswer string, err error)
	// Renew takes new media of a leg's browser: an ICE restart or a new connection after a loss.
	Renew(ctx context.Context, to Ref, sdpOffer string) (sdpAnswer string, err error)
	// Dial begins an outbound call: the agent's leg first, then the customer's. It returns the SDP answer for a browser.
	Dial(ctx context.Context, to Ref, o DialOrder) (sdpAnswer string, err error)
	// Hold and Mute change the leg in Ref; Digits are sent to the customer.
	Hold(ctx context.Context, to Ref, held bool) error
	Mute(ctx context.Context, to Ref, muted bool) error
	Digits(ctx context.Context, to Ref, digits string) error
	// Conform makes the call as the desk wants it: hangs up, drops legs, gives a customer without an agent the waiting
	// music. The desk calls it after each change that may concern a call; Pulse carries the same, in case one is lost.
	Conform(ctx context.Context, to Ref, w Wanted) error
}

// Wanted is what the desk wants of a call.
type Wanted struct {
	Version int `json:"version"`
	// Over: the call is to end, with Cause.
	Over  bool  `json:"over"`
	Cause Cause `json:"cause,omitempty"`
	// Legs are all that may live; others are dropped.
	Legs []ID `json:"legs"`
}

// Arrival is an inbound call at the door.
type Arrival struct {
	// Key is unique for ever: node, epoch and the dialog's Call-ID with both tags.
	Key   string
	Node  string
	Epoch int64
	Trunk ID
	// From is the caller as far as the trunk is trusted (P-Asserted-Identity), else of the From header, as written; ""
	// when withheld. Name is the display name, cleaned. To is the number dialled, as written.
	From, Name, To string
	// Asserted: From is the trunk's own word. It stays a claim (MODEL 5).
	Asserted bool
	At       time.Time
	// Headers are further ones that the trunk's settings name.
	Headers map[string]string
}

// Greeting is what shall be done with it.
type Greeting struct {
	Call, Leg ID
	Version   int
	// Flow is run on the customer's leg; nil: it waits in the channel's queue at once.
	Flow *Flow
	// Waiting is the waiting music.
	Waiting *Sound
}

// RingOrder is whom to ring.
type RingOrder struct {
	Agent ID `json:"agent"`
	// From is shown to the agent: number and name of the customer.
	From    string         `json:"from"`
	Name    string         `json:"name"`
	Seconds int            `json:"seconds"`
	At      []Registration `json:"at"`
}

// ConnectOrder is a browser that wants to be a leg.
type ConnectOrder struct {
	Agent    ID     `json:"agent"`
	SDPOffer string `json:"sdpOffer"`
}

// DialOrder is an outbound call. Exactly one of Ring and Connect is the agent's side.
type DialOrder struct {
	AgentLeg ID            `json:"agentLeg"`
	Ring     *RingOrder    `json:"ring,omitempty"`
	Connect  *ConnectOrder `json:"connect,omitempty"`
	Trunk    ID            `json:"trunk"`
	// Number is E.164 with its plus; From is the number shown, of the trunk's settings.
	Number  string `json:"number"`
	From    string `json:"from"`
	Seconds int    `json:"seconds"`
	Waiting *Sound `json:"waiting,omitempty"`
}

// Trunk is a SIP trunk as its channel's row says.
type Trunk struct {
	ID      ID
	Version int
	// Paused: inbound calls get 503.
	Paused bool
	// Addresses are IP addresses or prefixes that calls come from; others are dropped before parsing.
	Addresses []string
	// Username and Password, if set, are demanded of inbound calls by digest; Realm is ours.
	Username, Password string
	// Server is where outbound calls go: host, host:port, or a name with SRV records. Transport is udp, tcp or tls.
	Server, Transport string
	// AuthUser and AuthPassword answer the trunk's challenge to outbound calls.
	AuthUser, AuthPassword string
	// TrustsCaller: P-Asserted-Identity is believed to be the trunk's word.
	TrustsCaller bool
	// MaxCalls at once and MaxPerSecond, 0: no bound of its own.
	MaxCalls, MaxPerSecond int
	// Headers of an INVITE that are kept with the call.
	Headers []string
	// Country (ISO 3166-1 alpha-2) is where numbers without a country code belong; "": they stay as dialled.
	Country string
	// CallerID is the E.164 number that outbound calls show; "": the trunk shows its own.
	CallerID string
}

// Line is the capability of a channel that is a trunk. ID, Version and Paused of what it returns are the row's: the desk
// sets them.
type Line interface{ Trunk() Trunk }

// Phone is a SIP account of an agent.
type Phone struct {
	ID, Agent ID
	Username  string
	// HA1 is H(username:realm:password) by algorithm, "MD5" and "SHA-256" (RFC 8760), for Realm.
	HA1 map[string]string
}

// Realm is the digest realm of phones and trunks.
const Realm = "tributary"

// Registration is where a phone can be reached: RFC 3261 section 10. Only the node that holds the flow writes it.
type Registration struct {
	Phone ID     `json:"phone"`
	Node  string `json:"node"`
	// Contact is the URI to send to; Source is the address the request came from, over Transport.
	Contact   string `json:"contact"`
	Source    string `json:"source"`
	Transport string `json:"transport"`
	// CallID and Seq order the requests of one phone (RFC 3261 section 10.3, step 7).
	CallID    string    `json:"callId"`
	Seq       uint32    `json:"seq"`
	UserAgent string    `json:"userAgent"`
	Expires   time.Time `json:"expires"`
}

// Sound is something to be played: a WAV file in the blob store. An empty Blob is the built-in one of that Name.
type Sound struct {
	Name string `json:"name"`
	Blob string `json:"blob,omitempty"`
}

// Names of built-in sounds.
const (
	SoundWelcome = "welcome"
	SoundWaiting = "waiting"
	SoundError   = "error"
	// SoundRingback is what a caller hears while the far phone rings.
	SoundRingback = "ringback"
)
