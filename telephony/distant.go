package telephony

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"tributary/channels/voice"
	"tributary/telephony/gate"
)

// A phone is rung by the node that it registered with, which holds its connection; the call and its sound stay where the
// call landed. The dialog lives there, the leg here, and between them go requests: what the leg wants (phone.do,
// phone.reoffer), what the phone did (phone.event, in order), and a ping by which each side learns that the other is gone.

// phone rings a registered phone wherever its flow is.
func (x *Exchange) phone(ctx context.Context, r voice.Registration, o gate.Outgoing) (gate.Dialog, error) {
	if r.Node == x.Node {
		return x.Lines.DialPhone(ctx, r, o)
	}
	if x.Ask == nil {
		return nil, voice.ErrUnreachable
	}
	return x.distant.dial(ctx, r, o)
}

// distant is both sides of phones on other nodes.
type distant struct {
	x  *Exchange
	mu *sync.Mutex
	// away are dialogs of ours that another node holds; held are those that this node holds for others.
	away map[string]*awayDialog
	held map[string]*heldDialog
}

func newDistant(x *Exchange) distant {
	return distant{x: x, mu: &sync.Mutex{}, away: map[string]*awayDialog{}, held: map[string]*heldDialog{}}
}

// goneAfter is when the other side counts as gone: its lease is over by then, too.
const goneAfter = 8 * time.Second

type phoneDial struct {
	ID       string             `json:"id"`
	Node     string             `json:"node"` // who asks
	At       voice.Registration `json:"at"`
	Outgoing gate.Outgoing      `json:"outgoing"`
}

type phoneDo struct {
	ID   string `json:"id"`
	What string `json:"what"` // "hang_up", "answer_offer", "refuse_offer"
	SDP  []byte `json:"sdp,omitempty"`
	Code int    `json:"code,omitempty"`
	Why  string `json:"why,omitempty"`
}

type phoneEvent struct {
	ID    string     `json:"id"`
	Seq   int        `json:"seq"`
	Event gate.Event `json:"event"`
}

type phonePing struct {
	IDs []string `json:"ids"`
}

// awayDialog is a dialog that another node holds, as the leg sees it.
type awayDialog struct {
	d      *distant
	id     string
	node   string
	events chan gate.Event
	seq    int // of the last event that was taken; this and what follows under the lock of distant
	seen   time.Time
	over   bool
	orders chan phoneDo
}

func (d *distant) dial(ctx context.Context, r voice.Registration, o gate.Outgoing) (gate.Dialog, error) {
	a := &awayDialog{d: d, id: rand.Text(), node: r.Node, events: make(chan gate.Event, 64), seen: d.x.Now(), orders: make(chan phoneDo, 8)}
	d.mu.Lock()
	d.away[a.id] = a
	d.mu.Unlock()
	var ok bool
	if err := d.x.Ask(ctx, r.Node, methodPhoneDial, phoneDial{ID: a.id, Node: d.x.Node, At: r, Outgoing: o}, &ok); err != nil {
		// It may ring all the same: the other node's ping finds that nobody here wants it.
		d.forgetAway(a.id)
		return nil, err
	}
	go a.send()
	return a, nil
}

func (d *distant) forgetAway(id string) {
	d.mu.Lock()
	delete(d.away, id)
	d.mu.Unlock()
}

// send carries the leg's orders, in order, until the dialog is over.
func (a *awayDialog) send() {
	for o := range a.orders {
		for try := range 3 {
			ctx, cancel := context.WithTimeout(a.d.x.ctx, deskWait)
			var ok bool
			err := a.d.x.Ask(ctx, a.node, methodPhoneDo, o, &ok)
			cancel()
			if err == nil || isGone(err) {
				break
			}
			a.d.x.Log.Warn("order a phone of another node", "node", a.node, "what", o.What, "try", try+1, "error", err)
		}
		if o.What == doHangUp {
			a.end(gate.Event{Kind: gate.EventEnded})
			return
		}
	}
}

// What the leg orders.
const (
	doHangUp      = "hang_up"
	doAnswerOffer = "answer_offer"
	doRefuseOffer = "refuse_offer"
)

func (a *awayDialog) order(o phoneDo) {
	o.ID = a.id
	select {
	case a.orders <- o:
	default: // eight that wait: the other node is gone, and the ping will say so
	}
}

// end closes the events, once.
func (a *awayDialog) end(e gate.Event) {
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	a.endLocked(e)
}

func (a *awayDialog) endLocked(e gate.Event) {
	if a.over {
		return
	}
	a.over = true
	delete(a.d.away, a.id)
	select {
	case a.events <- e:
	default:
	}
	close(a.events)
	a.order(phoneDo{What: doHangUp}) // ends send, and a phone that does not know yet
}

// ID names it for logs.
func (a *awayDialog) ID() string { return a.id + "@" + a.node }

// Events are what the phone did.
func (a *awayDialog) Events() <-chan gate.Event { return a.events }

// Ring, Accept and Refuse belong to inbound dialogs, which are never away.
func (a *awayDialog) Ring()              {}
func (a *awayDialog) Accept([]byte)      {}
func (a *awayDialog) Refuse(int, string) {}

// AnswerOffer answers the phone's own offer.
func (a *awayDialog) AnswerOffer(sdp []byte) { a.order(phoneDo{What: doAnswerOffer, SDP: sdp}) }

// RefuseOffer refuses it.
func (a *awayDialog) RefuseOffer(code int) { a.order(phoneDo{What: doRefuseOffer, Code: code}) }

// Reoffer asks the phone for new media.
func (a *awayDialog) Reoffer(ctx context.Context, sdp []byte) (answer []byte, err error) {
	err = a.d.x.Ask(ctx, a.node, methodPhoneOffer, phoneDo{ID: a.id, SDP: sdp}, &answer)
	return answer, err
}

// HangUp ends it.
func (a *awayDialog) HangUp(why string) { a.order(phoneDo{What: doHangUp, Why: why}) }

// happened takes an event of the node that holds the dialog. A repeat does nothing.
func (d *distant) happened(_ context.Context, e phoneEvent) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.away[e.ID]
	if a == nil {
		return false, voice.ErrNoCall
	}
	a.seen = d.x.Now()
	if e.Seq <= a.seq || a.over {
		return true, nil
	}
	a.seq = e.Seq
	if e.Event.Kind == gate.EventEnded {
		a.endLocked(e.Event)
		return true, nil
	}
	select {
	case a.events <- e.Event:
		return true, nil
	default:
		a.endLocked(gate.Event{Kind: gate.EventEnded, Reason: "too much at once"})
		return false, voice.ErrNoCall
	}
}
