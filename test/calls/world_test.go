// Package calls proves calls from outside: the program as people run it, its contract, real SIP phones and trunks of
// another make (telephony/siptest), and nothing else.
package calls_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tributary/internal/testdb"
	"tributary/telephony/siptest"
	"tributary/test/rig"
)

// patience is a deadline of tests, never a figure.
const patience = 30 * time.Second

// desk is a running program with a trunk, a queue, and who works at it.
type desk struct {
	t     *testing.T
	node  *rig.Node
	work  *rig.Workspace
	trunk string // host:port
	phone string
	queue string
	line  string // the channel
	carry *siptest.Trunk
	media [2]uint64 // its range of ports
}

// nextMedia gives each program ports of its own. They lie above those that the system gives to others.
var nextMedia atomic.Uint32

func init() { nextMedia.Store(40000) }

// sipAddr is an address of UDP and TCP that nobody has.
func sipAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := rig.FreeAddr(t)
		if c, err := net.ListenPacket("udp", addr); err == nil {
			_ = c.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// open starts the program and sets it up by mutation.
func open(t *testing.T, url string, more rig.M) *desk {
	t.Helper()
	d := &desk{t: t, trunk: sipAddr(t), phone: sipAddr(t)}
	first := nextMedia.Add(1000) - 1000
	d.node = rig.Start(t, rig.Options{DatabaseURL: url, Args: []string{"--sip-trunk", d.trunk, "--sip-phone", d.phone, "--media-ports", fmt.Sprintf("%d-%d", first, first+999)}})
	d.media = [2]uint64{uint64(first), uint64(first + 999)}
	d.setUp(more)
	return d
}

func (d *desk) setUp(more rig.M) {
	d.t.Helper()
	d.work = d.node.NewWorkspace(d.t)
	in := rig.M{"name": "Calls", "recording": "ALWAYS", "ringSeconds": 20}
	for k, v := range more {
		in[k] = v
	}
	d.queue = d.work.Queue(d.t, "", in)
	d.carry = siptest.NewTrunk(d.t, siptest.TrunkConfig{Peer: d.trunk, User: "carrier"})
	v := d.work.Admin.Must(d.t, `mutation($i:ChannelCreateInput!){channelCreate(input:$i){channel{id} userErrors{code message field}}}`, rig.M{"i": rig.M{
		"kind": "voice", "name": rig.Unique("trunk"), "queueId": d.queue,
		"config": rig.M{"addresses": []string{"127.0.0.1"}, "country": "CN", "trustsCallerId": true, "server": d.carry.Addr().String(), "callerId": "+862112345678"},
	}})
	d.line = v.At("channelCreate", "channel", "id").String()
}

// agentAt is an agent with a registered phone.
type agentAt struct {
	*rig.Agent
	phone *siptest.Phone
	rings chan *siptest.Call
}

func (d *desk) agent(name string) *agentAt {
	d.t.Helper()
	a := &agentAt{Agent: d.work.NewAgent(d.t, name, "agent")}
	v := a.Must(d.t, `mutation{sipAccountCreate(label:"desk"){username password registrar phone{id} userErrors{code message}}}`, nil).At("sipAccountCreate")
	if !strings.HasSuffix(v.At("registrar").String(), d.phone[strings.LastIndex(d.phone, ":"):]) {
		d.t.Fatalf("the registrar is said to be %s, and is %s", v.At("registrar").String(), d.phone)
	}
	a.phone = siptest.NewPhone(d.t, siptest.PhoneConfig{Registrar: d.phone, Username: v.At("username").String(), Password: v.At("password").String()})
	a.rings = make(chan *siptest.Call, 10)
	a.phone.Behave(func(c *siptest.Call) {
		_ = c.Ringing()
		a.rings <- c
	})
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if _, err := a.phone.Register(ctx, 5*time.Minute); err != nil {
		d.t.Fatal(err)
	}
	return a
}

// offer waits for an offer of the agent's and returns it.
func (a *agentAt) offer(t *testing.T) rig.Value {
	t.Helper()
	var o rig.Value
	rig.Eventually(t, patience, "an offer for "+a.Name, func() bool {
		v, err := a.Do(context.Background(), `{offers{id state connecting interaction{id state channelKind conversation{id customer{id displayName}} call{id state from{text} callerProof}}}}`, nil)
		if err != nil {
			return false
		}
		for _, x := range v.At("data", "offers").List() {
			if x.At("state").String() == "PENDING" && !x.At("connecting").Bool() {
				o = x
				return true
			}
		}
		return false
	})
	return o
}

// accept takes an offer by the phone, and waits for it to ring.
func (a *agentAt) accept(t *testing.T, offer string) *siptest.Call {
	t.Helper()
	a.Must(t, `mutation($o:ID!,$k:Key!){offerAccept(id:$o,idempotencyKey:$k){offer{id connecting} userErrors{code message}}}`, rig.M{"o": offer, "k": rig.Unique("accept")})
	select {
	case c := <-a.rings:
		return c
	case <-time.After(patience):
		t.Fatalf("the phone of %s does not ring", a.Name)
		return nil
	}
}

// call is the call's state as the admin sees it.
func (d *desk) call(id string) rig.Value {
	d.t.Helper()
	return d.work.Admin.Must(d.t, `query($c:ID!){call(id:$c){id state endCause waitSeconds talkSeconds holdSeconds recordingState digits{text}
		legs{role state held muted browser agent{id}} recordings{seconds url bytes} interaction{id state agent{id} conversation{id}}}}`, rig.M{"c": id}).At("call")
}

func (d *desk) eventually(what string, f func() bool) {
	d.t.Helper()
	rig.Eventually(d.t, patience, what, f)
}

// each runs a test on both dialects.
func each(t *testing.T, f func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, "") })
	t.Run("postgres", func(t *testing.T) { f(t, testdb.PostgresURL(t)) })
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
