// Package media is the sound of one leg: RTP in and out, G.711, keys, prompts, recordings. It knows no SIP, no call and no
// customer. Sound travels as packets of G.711 as they came; nothing is decoded on the way from one leg to the other.
package media

import "time"

// Codec is a static RTP payload type of G.711 (RFC 3551 table 4). Both have 8,000 samples a second, one byte each.
type Codec uint8

// The codecs.
const (
	PCMU Codec = 0
	PCMA Codec = 8
)

// Packet is one RTP packet's worth of sound, or one packet of a key.
type Packet struct {
	Codec Codec
	// Payload belongs to the caller of Write and is overwritten after it returns.
	Payload []byte
	// Source tells streams apart: it is random, from NewSource, and another one when the sender, its SSRC or the clip
	// changes. 0 is a source without an order of its own: each packet simply follows the one before.
	Source uint64
	// Sequence is the source's own number, by which loss and reordering are seen. Without a Source it means nothing.
	Sequence uint16
	// Timestamp is the source's own, in samples; Marker begins a talk spurt (RFC 3551 section 4.1).
	Timestamp uint32
	Marker    bool
	// Key, if set, makes it a packet of RFC 4733; then Payload is empty. It belongs to the caller of Write as Payload does.
	Key *Key
}

// Key is a key being pressed: every packet of one press has the Timestamp of its beginning.
type Key struct {
	// Digit is one of voice.Digits.
	Digit byte
	// End: the key is up again; sent three times. Duration is in samples since the beginning.
	End      bool
	Volume   uint8
	Duration uint16
}

// Sink takes sound. Write never blocks and keeps nothing of p.
type Sink interface{ Write(p *Packet) }

// Link is the sound of one leg, over plain RTP (Port) or over WebRTC (browser.Peer). What is written to it goes out with
// the link's own SSRC, sequence numbers and timestamps, which go on without a jump whatever source wrote before.
type Link interface {
	Sink
	// Codec is what both ends agreed on. A packet of the other codec is transcoded on the way out.
	Codec() Codec
	// Forward says where the sound that comes in goes from now on; nil: nowhere. When it returns, the sink before gets
	// nothing more.
	Forward(to Sink)
	// Notices tells what happened, in order. It is closed by Close.
	Notices() <-chan Notice
	// Stats is what was received so far.
	Stats() Stats
	Close() error
}

// Notice is something that happened to a link.
type Notice struct {
	Kind NoticeKind
	// Digit is of NoticeDigit: told once, when the key goes down.
	Digit byte
}

// NoticeKind is what a notice tells.
type NoticeKind string

// The notices.
const (
	// NoticeUp: the first packet came in (plain RTP), or the connection stands (WebRTC).
	NoticeUp NoticeKind = "up"
	// NoticeDigit: a key was pressed.
	NoticeDigit NoticeKind = "digit"
	// NoticeSilent: nothing at all came for Config.SilentAfter, and NoticeHeard: it comes again.
	NoticeSilent NoticeKind = "silent"
	NoticeHeard  NoticeKind = "heard"
	// NoticeLost: the connection broke for good, and will not come back without a new offer.
	NoticeLost NoticeKind = "lost"
)

// Stats is what a link received and sent.
type Stats struct {
	Received, Lost, Sent int64
	// Dropped: came from a wrong source, or was no RTP.
	Dropped int64
	Jitter  time.Duration
}
