package calls_test

import (
	"context"
	"database/sql"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	_ "github.com/lib/pq" // reads the row of a call: the contract does not say where it lives

	"tributary/internal/testdb"
	"tributary/telephony/siptest"
	"tributary/test/rig"
)

// Calls of a service of two nodes: the carrier sends them to the first, the agents work at the second.

const (
	first  = 0 // where calls land
	second = 1
	// theirEnd is how long after a node's death at most the other one has cleared up: the lease of a call, the sweep, and
	// what a busy machine adds.
	theirEnd = 20 * time.Second
)

// two are both nodes. The desk in it is that of the first.
type two struct {
	*desk
	url    string
	nodes  [2]*rig.Node
	phones [2]string
}

// openTwo starts both and sets them up.
func openTwo(t *testing.T, redis string, more rig.M) *two {
	t.Helper()
	s := &two{url: testdb.PostgresURL(t)}
	env := []string{"TRIBUTARY_KEY_FILE=" + filepath.Join(t.TempDir(), "keys.json")}
	shared := []string{"--redis-url", redis, "--peer-secret", rig.Unique("a secret of both nodes"), "--media-ports", "32000-39999"}
	shared = append(shared, bucket(t)...)
	var trunks [2]string
	for n := range s.nodes {
		trunks[n], s.phones[n] = sipAddr(t), sipAddr(t)
		args := append([]string{"--peer", rig.FreeAddr(t), "--sip-trunk", trunks[n], "--sip-phone", s.phones[n]}, shared...)
		s.nodes[n] = rig.Start(t, rig.Options{DatabaseURL: s.url, Env: env, Args: args})
	}
	s.desk = &desk{t: t, node: s.nodes[first], trunk: trunks[first], phone: s.phones[first]}
	s.setUp(more)
	return s
}

// bucket is an object store for the recordings of both.
func bucket(t *testing.T) []string {
	t.Helper()
	backend := s3mem.New()
	ok(t, backend.CreateBucket("files"))
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	addr := strings.TrimPrefix(server.URL, "http://")
	return []string{"--blob-url", "s3://key:secret@" + addr + "/files?tls=off", "--allow-dial", "blob=" + addr}
}

// hand is an agent at a node of two, with the account of his phone.
type hand struct {
	*agentAt
	username, password string
}

// at makes an agent who works at a node and whose phone is registered there.
func (s *two) at(node int, name string) *hand {
	s.t.Helper()
	h := &hand{agentAt: &agentAt{Agent: s.work.NewAgent(s.t, name, "agent")}}
	h.URL = s.nodes[node].URL
	v := h.Must(s.t, `mutation{sipAccountCreate(label:"desk"){username password userErrors{code message}}}`, nil).At("sipAccountCreate")
	h.username, h.password = v.At("username").String(), v.At("password").String()
	s.move(h, node)
	return h
}

// move lets an agent work at a node from now on, with a phone of his account that is registered there.
func (s *two) move(h *hand, node int) {
	s.t.Helper()
	h.URL = s.nodes[node].URL
	h.phone = siptest.NewPhone(s.t, siptest.PhoneConfig{Registrar: s.phones[node], Username: h.username, Password: h.password})
	rings := make(chan *siptest.Call, 10)
	h.rings = rings
	h.phone.Behave(func(c *siptest.Call) {
		_ = c.Ringing()
		rings <- c
	})
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	_, err := h.phone.Register(ctx, 5*time.Minute)
	ok(s.t, err)
}

// owner is the node that the row of the one call names.
func (s *two) owner() string {
	s.t.Helper()
	db, err := sql.Open("postgres", s.url)
	ok(s.t, err)
	defer db.Close()
	var node string
	ok(s.t, db.QueryRowContext(s.t.Context(), `SELECT node FROM calls`).Scan(&node))
	return node
}

// name is what a node calls itself.
func (s *two) name(node int) string {
	s.t.Helper()
	c := *s.work.Admin
	c.URL = s.nodes[node].URL
	return c.Must(s.t, `{health{node}}`, nil).At("health", "node").String()
}

// ends waits for the end of a leg.
func ends(t *testing.T, c *siptest.Call, within time.Duration) siptest.Ending {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	e, err := c.AwaitEnd(ctx)
	ok(t, err)
	return e
}

// stays fails if a leg has ended.
func stays(t *testing.T, who string, c *siptest.Call) {
	t.Helper()
	select {
	case <-c.Ended():
		t.Fatalf("%s is cut off: %v", who, c.Ending())
	default:
	}
}

// talk lets an agent take his offer by phone; both hear each other afterwards.
func (s *two) talk(h *hand, customer *siptest.Call) (call string, phone *siptest.Call) {
	s.t.Helper()
	o := h.offer(s.t)
	phone = h.accept(s.t, o.At("id").String())
	ok(s.t, phone.Answer())
	phone.Tone(fromAgent)
	hear(s.t, h.Name, phone, fromCaller)
	hear(s.t, "the customer", customer, fromAgent)
	return o.At("interaction", "call", "id").String(), phone
}

func TestThePhoneOfAnotherNode(t *testing.T) {
	t.Parallel()
	s := openTwo(t, testdb.Redis(t), nil)
	ann := s.at(second, "Ann")
	customer := s.ringIn(siptest.Options{Tone: fromCaller})
	music(t, customer)
	id, phone := s.talk(ann, customer)
	if got, want := s.owner(), s.name(first); got != want || got == s.name(second) {
		t.Errorf("the call is of node %q, and landed at %q", got, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	ok(t, customer.Digits(ctx, "12#"))
	ok(t, phone.AwaitDigits(ctx, "12#"))
	ok(t, phone.InfoDigits(ctx, "7")) // by the dialog, which the other node holds
	ok(t, customer.AwaitDigits(ctx, "7"))
	v := ann.Must(t, `mutation($c:ID!){callDigitsSend(id:$c,digits:"34"){call{id} userErrors{code message}}}`, rig.M{"c": id})
	if v.At("callDigitsSend", "call").Nil() {
		t.Errorf("keys by the contract: %s", v.JSON())
	}
	if err := customer.AwaitDigits(ctx, "734"); err != nil {
		t.Fatalf("%v, but %q", err, customer.DigitsReceived())
	}
	keys := strings.Repeat("0123456789*#ABCD", 2) // the most at once, 5.4 s of them
	v = ann.Must(t, `mutation($c:ID!,$d:String!){callDigitsSend(id:$c,digits:$d){call{id} userErrors{code message}}}`, rig.M{"c": id, "d": keys})
	if v.At("callDigitsSend", "call").Nil() {
		t.Errorf("many keys by the contract: %s", v.JSON())
	}
	if err := customer.AwaitDigits(ctx, "734"+keys); err != nil {
		t.Fatalf("%v, but %q", err, customer.DigitsReceived())
	}
	ann.hold(t, id, true)
	music(t, customer)
	ok(t, phone.Silent(ctx, time.Second))
	ann.hold(t, id, false)
	hear(t, "Ann after the hold", phone, fromCaller)
	ok(t, phone.Hold(ctx)) // an offer that goes from node to node
	music(t, customer)
	ok(t, phone.Resume(ctx))
	hear(t, "the customer after the phone's hold", customer, fromAgent)
	ok(t, phone.HangUp(ctx))
	ends(t, customer, patience)
	s.eventually("the agent hung up", func() bool { return s.call(id).At("endCause").String() == "AGENT_HUNG_UP" })
	s.recorded(id)
	s.eventually("Ann is free", func() bool { return s.work.Used(t, ann.ID) == 0 })
}

func TestTheNodeOfThePhoneDiesWhileTheyTalk(t *testing.T) {
	t.Parallel()
	s := openTwo(t, testdb.Redis(t), nil)
	ann := s.at(second, "Ann")
	customer := s.ringIn(siptest.Options{Tone: fromCaller})
	id, _ := s.talk(ann, customer)
	ann.URL = s.nodes[first].URL
	s.nodes[second].Kill()
	s.eventually("the customer waits again", func() bool {
		state := s.call(id).At("state").String()
		return state == "QUEUED" || state == "RINGING"
	})
	music(t, customer)
	stays(t, "the customer", customer)
	s.move(ann, first)
	ann.SetStatus(t, "AVAILABLE")
	again, phone := s.talk(ann, customer)
	if again != id {
		t.Errorf("another call: %s, was %s", again, id)
	}
	ok(t, phone.HangUp(t.Context()))
	ends(t, customer, patience)
	s.eventually("Ann is free", func() bool { return s.work.Used(t, ann.ID) == 0 })
}

func TestTheNodeOfThePhoneDiesWhileItRings(t *testing.T) {
	t.Parallel()
	s := openTwo(t, testdb.Redis(t), rig.M{"ringSeconds": 60}) // longer than anything here waits
	ann := s.at(second, "Ann")
	customer := s.ringIn(siptest.Options{From: "13800138001", PAI: "+8613800138001", Tone: fromCaller})
	offer := ann.offer(t)
	id := offer.At("interaction", "call", "id").String()
	ann.accept(t, offer.At("id").String())
	bob := s.at(first, "Bob")
	bob.SetStatus(t, "BREAK")
	later := s.ringIn(siptest.Options{From: "13800138002", PAI: "+8613800138002"})
	if c := s.call(id); c.At("state").String() != "RINGING" {
		t.Fatalf("before the node dies: %s", c.JSON())
	}
	ann.URL = s.nodes[first].URL
	s.nodes[second].Kill()
	killed := time.Now()
	s.eventually("the customer waits again", func() bool { return s.call(id).At("state").String() == "QUEUED" })
	t.Logf("FIGURE the customer waits again %s after the phone's node died: %s", time.Since(killed).Round(time.Millisecond), s.call(id).JSON())
	ann.SetStatus(t, "BREAK") // not before: that alone would take the call from her
	stays(t, "the customer", customer)
	bob.SetStatus(t, "AVAILABLE")
	again, _ := s.talk(bob, customer)
	if again != id {
		t.Errorf("who called later is first: %s, not %s", again, id)
	}
	stays(t, "the second customer", later)
	s.eventually("Ann is free", func() bool { return s.work.Used(t, ann.ID) == 0 })
}

func TestTheNodeOfTheCallDies(t *testing.T) {
	t.Parallel()
	s := openTwo(t, testdb.Redis(t), nil)
	ann := s.at(second, "Ann")
	customer := s.ringIn(siptest.Options{Tone: fromCaller})
	id, phone := s.talk(ann, customer)
	s.work.Admin.URL = s.nodes[second].URL
	s.nodes[first].Kill()
	killed := time.Now()
	ends(t, phone, patience)
	t.Logf("FIGURE the phone is hung up %s after the call's node died", time.Since(killed).Round(time.Millisecond))
	s.eventually("the call is lost", func() bool {
		c := s.call(id)
		return c.At("endCause").String() == "LOST" && c.At("interaction", "state").String() == "ENDED"
	})
	s.eventually("Ann is free", func() bool { return s.work.Used(t, ann.ID) == 0 })
	took := time.Since(killed)
	t.Logf("FIGURE Ann is free %s after the call's node died", took.Round(time.Millisecond))
	if took > theirEnd {
		t.Errorf("Ann is free after %s", took)
	}
}

func TestRedisEmptiedWhileTheyTalk(t *testing.T) {
	t.Parallel()
	redis, server := testdb.PrivateRedis(t)
	s := openTwo(t, redis, nil)
	ann := s.at(second, "Ann")
	customer := s.ringIn(siptest.Options{Tone: fromCaller})
	id, phone := s.talk(ann, customer)
	ok(t, server.Restart()) // it keeps nothing: it comes back empty
	hear(t, "Ann with an empty Redis", phone, fromCaller)
	hear(t, "the customer with an empty Redis", customer, fromAgent)
	ok(t, server.Kill())
	ann.hold(t, id, true) // without Redis, from node to node
	music(t, customer)
	ann.hold(t, id, false)
	hear(t, "Ann without Redis", phone, fromCaller)
	stays(t, "the customer", customer)
	stays(t, "Ann", phone)
	if c := s.call(id); c.At("state").String() != "ACTIVE" || c.At("interaction", "agent", "id").String() != ann.ID {
		t.Errorf("without Redis: %s", c.JSON())
	}
	ok(t, server.Start())
	ok(t, phone.HangUp(t.Context()))
	ends(t, customer, patience)
	s.eventually("Ann is free", func() bool { return s.work.Used(t, ann.ID) == 0 })
}
