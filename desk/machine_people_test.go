package desk_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/message"
	"tributary/internal/gid"
)

// platform is the provider behind every bridge: it does with a message what its text says.
type platform struct{ url string }

func newPlatform(t *testing.T) *platform {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		text := string(body)
		switch {
		case err != nil, strings.Contains(text, `"lose"`):
			w.WriteHeader(http.StatusInternalServerError) // it may have taken it
		case strings.Contains(text, `"refuse"`):
			w.WriteHeader(http.StatusUnprocessableEntity)
		default:
			_, _ = io.WriteString(w, `{"externalId":"x"}`)
		}
	}))
	t.Cleanup(s.Close)
	return &platform{s.URL}
}

const siteSecret = "an identity secret of thirty-two bytes or more"

// siteOf is a web chat whose visitors are known by the operator's own ids.
type siteOf struct{ *ent.Channel }

func newSite(w *desktest.World, queue gid.ID) *siteOf {
	return &siteOf{w.Channel(desk.ChannelCreateInput{Kind: "webchat", QueueID: &queue, Secrets: []desk.SecretInput{{Name: "identitySecret", Value: siteSecret}}})}
}

// person is a customer: known by one id on the site and behind every bridge.
type person struct {
	name    string
	visitor *desktest.Visitor
	let     func()
	events  []desktest.M // what he said through bridges, to be said again
}

func (m *machine) invite() {
	for n := range 6 {
		name := fmt.Sprintf("c-%d", n)
		v := signedVisit(m.hall.t, m.World, m.site.Channel, siteSecret, name)
		m.people = append(m.people, &person{name: name, visitor: v})
	}
}

func (m *machine) somebody(rt *rapid.T) *person {
	return oneOf(rt, m.people, "customer")
}

// says checks that a customer's word came in once, and went where MODEL 4 says.
func (m *machine) visitorSays(rt *rapid.T) {
	p := m.somebody(rt)
	m.try("visitor says", nil, func(key *string) (gid.ID, error) {
		return m.Desk.VisitorSays(p.visitor, desk.VisitorMessageInput{Text: ptr("hello")}, key)
	})
}

func (m *machine) visitorMoves(rt *rapid.T) {
	p := m.somebody(rt)
	if p.let == nil {
		p.let = m.Connect(p.visitor.Viewer())
	} else {
		p.let()
		p.let = nil
	}
	m.did("visitor moves", "ok")
}

func (m *machine) visitorLeaves(rt *rapid.T) {
	p := m.somebody(rt)
	m.must(m.Desk.VisitorLeaves(p.visitor, nil))
	m.did("visitor leaves", "ok")
}

func (m *machine) visitorReads(rt *rapid.T) {
	p := m.somebody(rt)
	m.must(m.Desk.VisitorReads(p.visitor, rapid.IntRange(1, 9).Draw(rt, "up to"), nil))
	m.did("visitor reads", "ok")
}

// bridgeSays posts a word of a known or new thread; a machine's word at times, and at times one that was posted before.
func (m *machine) bridgeSays(rt *rapid.T) {
	b, p := oneOf(rt, m.bridges, "bridge"), m.somebody(rt)
	if len(p.events) > 0 && rapid.IntRange(0, 4).Draw(rt, "again") == 0 {
		m.again(oneOf(rt, p.events, "event"))
		return
	}
	id := m.Unique("event")
	e := b.Text(id, p.name+rapid.SampledFrom([]string{"-a", "-b"}).Draw(rt, "thread"), p.name, "hello")
	e["from"] = desktest.M{"id": p.name, "customerId": p.name}
	machine := rapid.IntRange(0, 5).Draw(rt, "machine") == 0
	e["automatic"] = machine
	m.must(b.Deliver(e))
	m.settled()
	got, err := m.Store.Ent.Message.Query().Where(message.ChannelID(b.ID), message.ExternalID(id)).WithInteraction().All(m.Sys)
	m.must(err)
	if len(got) != 1 {
		m.fatal("%d messages of one event", len(got))
	}
	m.came(got[0], machine)
	e["bridge"] = b
	p.events = append(p.events, e)
	m.did("bridge says", "ok")
}

// came judges where a word went: MODEL 4, and MODEL 3 for a machine's word.
func (m *machine) came(x *ent.Message, machine bool) {
	i := x.Edges.Interaction
	var open, last *ent.Interaction
	for _, o := range m.was.contacts {
		if o.ThreadKey == i.ThreadKey && same(o.ChannelID, i.ChannelID) {
			if last = o; !ended(o) {
				open = o
			}
		}
	}
	switch {
	case open != nil && i.ID != open.ID:
		m.wrong("MODEL 4: the thread is open in %s, the word went to %s", open.ID, i.ID)
	case machine && open != nil && i.State != open.State:
		m.wrong("MODEL 3: a machine's word took a contact from %s to %s", open.State, i.State)
	case machine && open == nil && last != nil && (i.ID != last.ID || !ended(i)):
		m.wrong("MODEL 3: a machine's word began %s", i.ID)
	case !machine && open == nil && m.was.contact[i.ID] != nil:
		m.wrong("MODEL 2: a word went to %s, which is over", i.ID)
	}
}

// again posts an event once more: it is no second message.
func (m *machine) again(e desktest.M) {
	b, _ := e["bridge"].(*desktest.Bridge)
	plain := desktest.M{}
	for k, v := range e {
		if k != "bridge" {
			plain[k] = v
		}
	}
	before := m.digest()
	m.must(b.Deliver(plain))
	m.settled()
	delete(before, "channels") // when something last came in
	m.unchanged("a repeat", before)
	m.did("repeat", "ok")
}

// receipt is what the provider says became of a message.
func (m *machine) receipt(rt *rapid.T) {
	var sent []*ent.Message
	for _, x := range m.was.messages {
		if x.Direction == message.DirectionOUTBOUND && x.ChannelKind == "custom" {
			sent = append(sent, x)
		}
	}
	if len(sent) == 0 {
		return
	}
	x := oneOf(rt, sent, "message")
	kind := rapid.SampledFrom([]string{"delivered", "failed", "read"}).Draw(rt, "receipt")
	e := desktest.M{"id": m.Unique("event"), "kind": "delivery", "message": x.ID.String(), "state": kind}
	if kind == "read" {
		e = desktest.M{"id": m.Unique("event"), "kind": "read", "message": x.ID.String()}
	}
	for _, b := range m.bridges {
		if is(x.ChannelID, b.ID) {
			m.must(b.Deliver(e))
		}
	}
	m.settled()
	now, err := m.Store.Ent.Message.Get(m.Sys, x.ID)
	m.must(err)
	if better := map[string]message.Delivery{"delivered": message.DeliveryDELIVERED, "read": message.DeliveryREAD}[kind]; better != "" && now.Delivery != better && now.Delivery != message.DeliveryREAD {
		m.wrong("a receipt says %s, the message is %s", kind, now.Delivery)
	}
	if (x.Delivery == message.DeliveryREAD || x.Delivery == message.DeliveryDELIVERED && kind != "read") && now.Delivery != x.Delivery {
		m.wrong("a receipt of %s took a message from %s to %s", kind, x.Delivery, now.Delivery)
	}
	m.did("receipt", "ok")
}
