package badday_test

import (
	"context"
	"testing"
	"time"

	"tributary/test/rig"
)

// lostAfter is how long an agent may be away before his work is somebody else's.
const lostAfter = 30 * time.Second

// TestAgentLost kills the socket of an agent who serves. After half a minute what he served is back in the queue with
// its age and a raised priority, and is offered to the colleague who is there; what that one serves stays his.
func TestAgentLost(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, o rig.Options) {
		t.Parallel()
		n := rig.Start(t, o)
		w := open(t, n)
		ann, ben := w.NewAgent(t, "Ann", "supervisor"), w.NewAgent(t, "Ben", "supervisor")
		start := cursor(t, w.Admin)
		hers := record(t, ann.Client, start, nil)
		w.deliver(t, "who helps me?")
		lost := takes(t, w, ann, hers)
		ann.SetStatus(t, "BUSY") // the next one is Ben's
		his := record(t, ben.Client, cursor(t, w.Admin), nil)
		w.deliver(t, "and me?")
		kept := takes(t, w, ben, his)
		before := w.look(t, lost)

		hers.end()
		killed := time.Now()
		again := ""
		rig.Eventually(t, 10*lostAfter, "her work is offered to him", func() bool {
			for _, e := range his.held() {
				if e.typ == "OFFER_CREATED" && e.interaction == lost {
					again = e.subject
				}
			}
			return again != ""
		})
		took := time.Since(killed)
		if took < lostAfter-time.Second {
			t.Errorf("her work was given away after %s: a broken line is no reason", took)
		}
		figures(t, "offered to the other agent %s after the socket was killed", took.Round(100*time.Millisecond))
		after := w.look(t, lost)
		if after.At("queuedAt").String() != before.At("queuedAt").String() {
			t.Errorf("its age was %s and is %s", before.At("queuedAt"), after.At("queuedAt"))
		}
		if before.At("priority").String() != "NORMAL" || after.At("priority").String() != "HIGH" {
			t.Errorf("its priority was %s and is %s", before.At("priority"), after.At("priority"))
		}
		if after.At("previousAgent", "id").String() != ann.ID || !after.At("agent").Nil() || w.Used(t, ann.ID) != 0 {
			t.Errorf("she is not rid of it: %s, and carries %d", after.JSON(), w.Used(t, ann.ID))
		}
		ben.Must(t, acceptDoc, rig.M{"id": again})
		if i := w.look(t, kept); i.At("state").String() != "ACTIVE" || i.At("agent", "id").String() != ben.ID {
			t.Errorf("what he served was taken from him: %s", i.JSON())
		}
		for _, e := range his.held() {
			if e.typ == "OFFER_CREATED" && e.interaction == kept && e.subject == again {
				t.Error("his own work was offered to him")
			}
		}
	})
}

// takes waits for the agent's offer, accepts it and returns its interaction.
func takes(t *testing.T, w *office, a *rig.Agent, heard *tape) string {
	t.Helper()
	var o event
	rig.Eventually(t, 30*time.Second, "an offer", func() bool {
		for _, e := range heard.held() {
			if e.typ == "OFFER_CREATED" {
				o = e
			}
		}
		return o.id != ""
	})
	a.Must(t, acceptDoc, rig.M{"id": o.subject})
	if i := w.look(t, o.interaction); i.At("state").String() != "ACTIVE" || i.At("agent", "id").String() != a.ID {
		t.Fatalf("%s does not serve it: %s", a.Name, i.JSON())
	}
	return o.interaction
}

// look reads how an interaction stands.
func (o *office) look(t *testing.T, id string) rig.Value {
	t.Helper()
	return o.Admin.Must(t, `query($i:ID!){interaction(id:$i){state priority queuedAt agent{id} previousAgent{id}}}`, rig.M{"i": id}).At("interaction")
}

// cutWithin is how soon a void token must lose its sockets; a test gives a must ten times slack.
const cutWithin = 5 * time.Second

// TestVoidTokensLoseTheirSockets ends sessions in every way there is: their sockets are closed with 4403, others stay.
func TestVoidTokensLoseTheirSockets(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, o rig.Options) {
		t.Parallel()
		n := rig.Start(t, o)
		w := open(t, n)
		ends := map[string]func(a *rig.Agent){
			"sessionEnd": func(a *rig.Agent) { a.Must(t, `mutation{sessionEnd{userErrors{code message}}}`, nil) },
			"by an admin": func(a *rig.Agent) {
				id := a.Must(t, `{viewer{session{id}}}`, nil).At("viewer", "session", "id").String()
				w.Admin.Must(t, `mutation($id:ID!){sessionEnd(id:$id){userErrors{code message}}}`, rig.M{"id": id})
			},
			"agent switched off": func(a *rig.Agent) {
				w.Admin.Must(t, `mutation($id:ID!){agentUpdate(id:$id,input:{active:false}){userErrors{code message}}}`, rig.M{"id": a.ID})
			},
		}
		stays := socket(t, w.NewAgent(t, "Stays", "agent").Client, `subscription{events{cursor}}`)
		for name, end := range ends {
			a := w.NewAgent(t, "Goes", "agent")
			closed(t, name, socket(t, a.Client, `subscription{events{cursor}}`), func() { end(a) })
			rig.Eventually(t, 10*cutWithin, name+": the token is void", func() bool {
				v, err := a.Do(context.Background(), `{viewer{kind}}`, nil)
				return err == nil && v.At("errors", 0, "extensions", "code").String() == "UNAUTHENTICATED"
			})
		}
		guest := n.Visit(t, w.site, "")
		closed(t, "visitorSessionEnd", socket(t, guest.Client, `subscription{visitorEvents{cursor}}`), func() {
			guest.Must(t, `mutation{visitorSessionEnd{userErrors{code message}}}`, nil)
		})
		select {
		case <-stays.Done():
			t.Errorf("a socket of another session was cut: %v", stays.Err)
		default:
		}
	})
}

func socket(t *testing.T, c *rig.Client, query string) *rig.Subscription {
	t.Helper()
	s, err := c.Subscribe(context.Background(), query, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for range s.C { // whatever it says
		}
	}()
	t.Cleanup(s.Close)
	return s
}

// closed ends a session and waits for its socket to be closed for that reason.
func closed(t *testing.T, name string, s *rig.Subscription, end func()) {
	t.Helper()
	end()
	began := time.Now()
	select {
	case <-s.Done():
	case <-time.After(10 * cutWithin):
		t.Errorf("%s: the socket is still open", name)
		return
	}
	if code := rig.CloseCode(s.Err); code != 4403 {
		t.Errorf("%s: closed with %d (%v), not 4403", name, code, s.Err)
	}
	figures(t, "%s: cut after %s", name, time.Since(began).Round(10*time.Millisecond))
}
