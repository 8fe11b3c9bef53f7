package rig_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"tributary/internal/testdb"
	"tributary/test/rig"
)

// TestFirstLight is the thinnest whole path on each dialect: word, offer, accept, reply, on both surfaces.
func TestFirstLight(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			o := rig.Options{}
			if dialect == "postgres" {
				o.DatabaseURL = testdb.PostgresURL(t)
			}
			n := rig.Start(t, o)
			w := n.NewWorkspace(t)
			var sends atomic.Int64
			provider := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
				sends.Add(1)
				_, _ = rw.Write([]byte(`{"externalId":"x1"}`))
			}))
			defer provider.Close()
			a := w.NewAgent(t, "Ann", "agent")
			sub, err := a.Subscribe(context.Background(), `subscription{events(filter:{scope:MINE}){cursor events{type subjectId subject{... on Offer{id interaction{id channelKind}}}}}}`, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Close()
			v := n.Visit(t, w.Site(t, ""), "")
			v.Say(t, "hello")
			b := w.NewBridge(t, provider.URL, "", nil)
			if code, body, err := b.Deliver(context.Background(), rig.Text("e1", "t1", "u1", "hi")); err != nil || code != 200 {
				t.Fatal(code, body, err)
			}
			offers := map[string]string{}
			deadline := time.After(10 * time.Second)
			for len(offers) < 2 {
				select {
				case p := <-sub.C:
					for _, e := range p.At("data", "events", "events").List() {
						if e.At("type").String() == "OFFER_CREATED" {
							offers[e.At("subjectId").String()] = e.At("subject", "interaction", "id").String()
						}
					}
				case <-deadline:
					t.Fatalf("offers: %v", offers)
				}
			}
			for offer, interaction := range offers {
				a.Must(t, `mutation($o:ID!){offerAccept(id:$o){offer{state} userErrors{code message}}}`, rig.M{"o": offer})
				a.Must(t, `mutation($i:ID!){messageSend(interactionId:$i,input:{text:"yes?"}){message{id delivery} userErrors{code message}}}`, rig.M{"i": interaction})
			}
			rig.Eventually(t, 10*time.Second, "one send", func() bool { return sends.Load() == 1 })
			got := v.Must(t, `{visitorConversation{messages(last:5){nodes{number text mine}}}}`, nil).At("visitorConversation", "messages", "nodes").List()
			if len(got) != 2 || got[1].At("text").String() != "yes?" {
				t.Fatalf("%v", got)
			}
		})
	}
}
