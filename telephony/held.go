package telephony

import (
	"context"
	"errors"
	"time"

	"tributary/channels/voice"
	"tributary/telephony/gate"
)

// heldDialog is a phone's dialog that this node holds for a call of another one.
type heldDialog struct {
	d      gate.Dialog
	node   string // of the call
	misses int    // pings in a row that got no answer
}

func isGone(err error) bool { return errors.Is(err, voice.ErrNoCall) || errors.Is(err, voice.ErrStale) }

// dialled rings a phone of this node for another node's call.
func (d *distant) dialled(_ context.Context, p phoneDial) (bool, error) {
	if p.At.Node != d.x.Node {
		return false, voice.ErrUnknown
	}
	d.mu.Lock()
	_, twice := d.held[p.ID]
	if !twice {
		d.held[p.ID] = nil // a repeat rings nobody twice
	}
	d.mu.Unlock()
	if twice {
		return true, nil
	}
	dialog, err := d.x.Lines.DialPhone(d.x.ctx, p.At, p.Outgoing)
	if err != nil {
		d.letGo(p.ID)
		return false, err
	}
	h := &heldDialog{d: dialog, node: p.Node}
	d.mu.Lock()
	d.held[p.ID] = h
	d.mu.Unlock()
	if !d.x.begin() {
		dialog.HangUp("the node ends")
		d.letGo(p.ID)
		return false, voice.ErrUnreachable
	}
	go d.forward(p.ID, h)
	return true, nil
}

func (d *distant) letGo(id string) {
	d.mu.Lock()
	delete(d.held, id)
	d.mu.Unlock()
}

// forward tells the call's node what the phone does, in order, each until it is taken.
func (d *distant) forward(id string, h *heldDialog) {
	defer d.x.live.Done()
	defer d.letGo(id)
	seq, gone := 0, false
	for e := range h.d.Events() {
		if seq++; gone {
			continue
		}
		if err := d.tell(h.node, phoneEvent{ID: id, Seq: seq, Event: e}); err != nil {
			gone = true
			h.d.HangUp("the call is over")
		}
	}
}

// tell tries for as long as the call's node may still live.
func (d *distant) tell(node string, e phoneEvent) error {
	give, cancel := context.WithTimeout(d.x.ctx, goneAfter)
	defer cancel()
	for {
		ctx, done := context.WithTimeout(give, deskWait)
		var ok bool
		err := d.x.Ask(ctx, node, methodPhoneEvent, e, &ok)
		done()
		if err == nil || isGone(err) {
			return err
		}
		select {
		case <-give.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (d *distant) holds(id string) (*heldDialog, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := d.held[id]; h != nil {
		return h, nil
	}
	return nil, voice.ErrNoCall
}

// told does what the leg wants.
func (d *distant) told(_ context.Context, o phoneDo) (bool, error) {
	h, err := d.holds(o.ID)
	if err != nil {
		return false, err
	}
	switch o.What {
	case doHangUp:
		h.d.HangUp(o.Why)
	case doAnswerOffer:
		h.d.AnswerOffer(o.SDP)
	case doRefuseOffer:
		h.d.RefuseOffer(o.Code)
	default:
		return false, voice.ErrRefused
	}
	return true, nil
}

func (d *distant) reoffered(ctx context.Context, o phoneDo) ([]byte, error) {
	h, err := d.holds(o.ID)
	if err != nil {
		return nil, err
	}
	return h.d.Reoffer(ctx, o.SDP)
}

// pinged says which of the other node's dialogs nobody here wants any more.
func (d *distant) pinged(_ context.Context, p phonePing) (phonePing, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var unwanted phonePing
	for _, id := range p.IDs {
		a := d.away[id]
		if a == nil {
			unwanted.IDs = append(unwanted.IDs, id)
			continue
		}
		a.seen = d.x.Now()
	}
	return unwanted, nil
}

// check pings the nodes of the dialogs held here, and ends dialogs that are away and of which nobody has spoken for long.
func (d *distant) check(ctx context.Context) {
	d.endSilent()
	byNode := map[string][]string{}
	d.mu.Lock()
	for id, h := range d.held {
		if h != nil {
			byNode[h.node] = append(byNode[h.node], id)
		}
	}
	d.mu.Unlock()
	for node, ids := range byNode {
		d.ping(ctx, node, ids)
	}
}

func (d *distant) ping(ctx context.Context, node string, ids []string) {
	ctx, cancel := context.WithTimeout(ctx, pulseEvery)
	defer cancel()
	var unwanted phonePing
	err := d.x.Ask(ctx, node, methodPhonePing, phonePing{IDs: ids}, &unwanted)
	if err == nil {
		ids = unwanted.IDs
	}
	for _, id := range ids {
		h, missing := d.holds(id)
		if missing != nil {
			continue
		}
		if h.misses++; err == nil || h.misses > int(goneAfter/pulseEvery) {
			h.d.HangUp("the call is over")
		}
	}
	if err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.held {
		if h != nil && h.node == node {
			h.misses = 0
		}
	}
}

func (d *distant) endSilent() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.away {
		if d.x.Now().Sub(a.seen) > goneAfter {
			a.endLocked(gate.Event{Kind: gate.EventEnded, Remote: false, Reason: "the phone's node is gone"})
		}
	}
}
