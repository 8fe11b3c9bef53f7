package media

import (
	"fmt"
	"net/netip"
	"slices"

	"tributary/channels/voice"
)

// deal is what was negotiated for a leg (RFC 3264).
type deal struct {
	own   own
	codec Codec
	// agreed: an answer went out or came in.
	agreed bool
	// lines and index are the form of the descriptions; an offer keeps the lines of the one before (RFC 3264 section 8).
	lines []line
	index int
	// keysIn is the payload type of keys that we named, keysOut the far end's; 0: none.
	keysIn, keysOut uint8
	// held: we hold the far end. asked is what our open offer would make of it.
	held, asked bool
	remote      remote
}

func newDeal(addr netip.AddrPort, prefer Codec) deal {
	return deal{own: own{addr: addr, session: NewSource() >> 2}, codec: prefer, lines: soundLine(), keysIn: keyType}
}

// direction is what we want of ourselves: sound goes out always, and comes in unless we hold.
func (d *deal) direction(held bool) direction { return direction{sends: true, receives: !held} }

// answer takes an offer and gives the description that answers it.
func (d *deal) answer(r remote) ([]byte, error) {
	codec := r.codecs[0]
	if d.agreed && slices.Contains(r.codecs, d.codec) {
		codec = d.codec
	}
	// RFC 3264 section 6.1: what the far end does not do, we do not do from the other side.
	mine := d.direction(d.held)
	mine.sends = mine.sends && !r.holds()
	mine.receives = mine.receives && r.direction.sends
	body, err := d.own.describe(r.lines, r.index, []Codec{codec}, r.keyType, mine)
	if err != nil {
		return nil, err
	}
	d.codec, d.agreed, d.remote = codec, true, r
	d.lines, d.index, d.keysIn, d.keysOut = r.lines, r.index, r.keyType, r.keyType
	return body, nil
}

// offer gives a description that is to be answered. One that follows an agreement names the agreed codec alone, so that
// the sound does not change under the call.
func (d *deal) offer(held bool) ([]byte, error) {
	codecs, keys := []Codec{d.codec, PCMU + PCMA - d.codec}, uint8(keyType)
	if d.agreed {
		codecs = codecs[:1]
		if d.keysIn != 0 {
			keys = d.keysIn
		}
	}
	body, err := d.own.describe(d.lines, d.index, codecs, keys, d.direction(held))
	if err != nil {
		return nil, err
	}
	d.asked, d.keysIn = held, keys
	return body, nil
}

// accept takes the answer to our offer.
func (d *deal) accept(r remote) error {
	if len(r.lines) != len(d.lines) {
		return fmt.Errorf("%w: the answer has %d lines for %d", voice.ErrMedia, len(r.lines), len(d.lines))
	}
	d.codec, d.agreed, d.remote, d.held, d.keysOut = r.codecs[0], true, r, d.asked, r.keyType
	return nil
}

// talks reports whether the far end wants to hear us.
func (d *deal) talks() bool { return d.agreed && !d.remote.holds() }

// listens reports whether sound of the far end is to be expected.
func (d *deal) listens() bool { return d.talks() && d.remote.direction.sends && !d.held }

// Offer gives a session description for a leg that has none yet: both codecs, keys, 20 ms, both directions. After an
// agreement it offers the agreed codec again, which is what an INVITE without a description asks for.
func (p *Port) Offer() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offer(p.deal.held)
}

// HoldOffer gives the description that puts the far end on hold, or takes it back. It counts from Accept on.
func (p *Port) HoldOffer(held bool) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offer(held)
}

func (p *Port) offer(held bool) []byte {
	body, err := p.deal.offer(held)
	if err != nil {
		return nil // a description without foreign text can always be written
	}
	p.receiver.SetKeyType(p.deal.keysIn)
	return body
}

// Answer takes an offer, first or later, and gives the answer. The error is a voice.ErrMedia when the offer holds nothing
// that we speak; then all stays as it was.
func (p *Port) Answer(offer []byte) ([]byte, error) {
	r, err := parseSDP(offer, -1, p.ports.cfg.IP)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	body, err := p.deal.answer(r)
	if err != nil {
		return nil, err
	}
	p.apply()
	return body, nil
}

// Accept takes the answer to our offer. The error is a voice.ErrMedia when the far end refused the sound; then all stays
// as it was.
func (p *Port) Accept(answer []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, err := parseSDP(answer, p.deal.index, p.ports.cfg.IP)
	if err != nil {
		return err
	}
	if err := p.deal.accept(r); err != nil {
		return err
	}
	p.apply()
	return nil
}

// RemoteHolds reports whether the far end has put us on hold: it wants to hear nothing.
func (p *Port) RemoteHolds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deal.agreed && p.deal.remote.holds()
}

// apply makes the sound as it was agreed.
func (p *Port) apply() {
	d, now := &p.deal, p.cfg.Now()
	if d.remote.addr.IsValid() {
		p.latch.set(d.remote.addr, now)
		p.outlet.aim(p.latch.remote)
		if p.latch.remote == d.remote.addr {
			p.reports.aim(d.remote.rtcp)
		}
	}
	p.sender.Set(d.codec, d.keysOut)
	p.receiver.SetKeyType(d.keysIn)
	p.receiver.Expect(d.listens(), now)
	p.outlet.open.Store(d.talks())
}
