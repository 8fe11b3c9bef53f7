package gate

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tributary/channels/voice"
)

// torture says what becomes of each message of RFC 4475.
type torture struct {
	// door is where it is sent, by UDP: "trunk", from an address of a trunk, or "phone".
	door string
	// want is the status that answers it; 0: it is dropped, as the RFC asks of responses that answer nothing; -1: a call
	// came in.
	want int
	// why is the section, and the reason where another answer might be expected.
	why string
	// holds are values that scan and check understood, by what they are called below.
	holds map[string]string
}

var tortures = map[string]torture{
	// Section 3.1.1, valid messages.
	"wsinv": {"trunk", 481, "3.1.1.1; it belongs to a dialog that is none here", map[string]string{
		"to.tag": "1918181833n", "from.tag": "98asjd8", "from.name": `J Rosenberg \\\"`, "vias": "3", "via0.branch": "390skdjuw",
		"via1.branch": "z9hG4bK9ikj8", "via1.transport": "TCP", "via2.branch": "z9hG4bK30239", "seq": "9", "forwards": "68",
		"contact.uri": "sip:jdrosen@example.com", "contact.q": "0.33", "contact.newparam": "newvalue", "subject": "",
		"NewFangledHeader": "newfangled value continued newfangled value", "route": "<sip:services.example.com;lr;unknownwith=value;unknown-no-value>",
		"body": "150",
	}},
	"intmeth": {"trunk", 501, "3.1.1.2; the method keeps its case", map[string]string{
		"method": "!interesting-Method0123456789_*+`.%indeed'~", "from.uri": "sip:mundane@example.com", "from.tag": "_token~1'+`*%!-.",
		"to.user": "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*", "from.name": "token1~` token2'+_ token3*%!.-",
	}},
	"esc01": {"trunk", -1, "3.1.1.3", map[string]string{
		"to.user": "user", "uri.user": "sips:user@example.com", "from.user": "I have spaces", "contact.user": "caller",
	}},
	"escnull": {"phone", 401, "3.1.1.4; to be proved first", map[string]string{
		"to.user": "null-\x00-null", "contacts": "2", "contact.user": "\x00",
	}},
	"esc02": {"trunk", 501, "3.1.1.5; %-escapes in methods are none", map[string]string{
		"method": "RE%47IST%45R", "to.name": "%Z%45", "contacts": "2", "C%6Fntact": "<sip:alias2@host2.example.com>",
	}},
	"lwsdisp":    {"trunk", 200, "3.1.1.6", map[string]string{"from.name": "caller", "from.uri": "sip:caller@example.com", "from.tag": "323"}},
	"longreq":    {"trunk", -1, "3.1.1.7", map[string]string{"vias": "34", "to.uri": "sip:user@example.com", "via33.host": "host.example.com"}},
	"dblreq":     {"phone", 401, "3.1.1.8; what follows the first message is ignored", map[string]string{"method": "REGISTER", "body": "0", "to.user": "j.user"}},
	"semiuri":    {"trunk", 200, "3.1.1.9", map[string]string{"uri.user": "user;par=u@example.net"}},
	"transports": {"trunk", 200, "3.1.1.10", map[string]string{"vias": "5", "via3.transport": "UNKNOWN", "via4.transport": "TCP"}},
	"mpart01":    {"trunk", 405, "3.1.1.11; MESSAGE is not for us", map[string]string{"body": "553", "route": "<sip:127.0.0.1:5080>"}},
	"unreason":   {"trunk", 0, "3.1.1.12; a response to nothing of ours", map[string]string{"status": "200", "to.tag": "2229"}},
	"noreason":   {"trunk", 0, "3.1.1.13; a response to nothing of ours", map[string]string{"status": "100", "to.tag": "902jndnke3"}},
	// Section 3.1.2, invalid messages.
	"badinv01":   {"trunk", 400, "3.1.2.1", nil},
	"clerr":      {"trunk", 400, "3.1.2.2", nil},
	"ncl":        {"trunk", 400, "3.1.2.3", nil},
	"scalar02":   {"trunk", 400, "3.1.2.4", nil},
	"scalarlg":   {"trunk", 0, "3.1.2.5", nil},
	"quotbal":    {"trunk", 400, "3.1.2.6", nil},
	"ltgtruri":   {"trunk", 400, "3.1.2.7", nil},
	"lwsruri":    {"trunk", 400, "3.1.2.8", nil},
	"lwsstart":   {"trunk", 400, "3.1.2.9", nil},
	"trws":       {"trunk", 400, "3.1.2.10", nil},
	"escruri":    {"trunk", 400, "3.1.2.11", nil},
	"baddate":    {"trunk", -1, "3.1.2.12; who has no use for Date may ignore it", map[string]string{"contact.uri": "sip:caller@host5.example.net"}},
	"regbadct":   {"phone", 400, "3.1.2.13", nil},
	"badaspec":   {"trunk", 200, "3.1.2.14; the blanks inside of the brackets do no harm", map[string]string{"to.uri": "sip:t.watson@example.org", "to.name": "Watson, Thomas"}},
	"baddn":      {"trunk", 400, "3.1.2.15", nil},
	"badvers":    {"trunk", 505, "3.1.2.16", nil},
	"mismatch01": {"trunk", 400, "3.1.2.17", nil},
	"mismatch02": {"trunk", 400, "3.1.2.18; 501 would do as well", nil},
	"bigcode":    {"trunk", 0, "3.1.2.19", nil},
	// Section 3.2, transaction layer semantics.
	"badbranch": {"trunk", 200, "3.2.1; handled as one of RFC 2543", map[string]string{"via0.branch": "z9hG4bK"}},
	// Section 3.3, application layer semantics.
	"insuf":    {"trunk", 400, "3.3.1", nil},
	"unkscm":   {"trunk", 416, "3.3.2", nil},
	"novelsc":  {"trunk", 416, "3.3.3", nil},
	"unksm2":   {"phone", 401, "3.3.4; to be proved first", map[string]string{"to.uri": "isbn:2983792873", "contact.uri": "name:John_Smith"}},
	"bext01":   {"trunk", 420, "3.3.5", nil},
	"invut":    {"trunk", 415, "3.3.6", nil},
	"regaut01": {"phone", 401, "3.3.7", nil},
	"multi01":  {"trunk", 400, "3.3.8", nil},
	"mcl01":    {"trunk", 400, "3.3.9", nil},
	"bcast":    {"trunk", 0, "3.3.10; a response that is not for us", nil},
	"zeromf":   {"trunk", 200, "3.3.11; it ends here", nil},
	"cparam01": {"phone", 401, "3.3.12; to be proved first", map[string]string{"contact.uri": "sip:+19725552222@gw1.example.net", "contact.has": "unknownparam"}},
	"cparam02": {"phone", 401, "3.3.13; to be proved first", map[string]string{"contact.uri": "sip:+19725552222@gw1.example.net;unknownparam"}},
	"regescrt": {"phone", 401, "3.3.14; to be proved first", map[string]string{"contact.uri": "sip:user@example.com?Route=%3Csip:sip.example.com%3E"}},
	"sdp01":    {"trunk", 406, "3.3.15", nil},
	// Section 3.4, backward compatibility.
	"inv2543": {"trunk", 400, "3.4.1; not supported: it has no Contact, without which nobody can be called back, and no tag in From, " +
		"without which the SIP library makes no transaction", nil},
}

func TestRFC4475(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
	if err != nil || len(files) != 49 || len(tortures) != 49 {
		t.Fatalf("%d files and %d rows, want 49 of each (%v)", len(files), len(tortures), err)
	}
	w := open(t, func(_ *Config, d *fakeDesk) {
		d.trunks = []voice.Trunk{{ID: testTrunk, Addresses: []string{"127.0.0.77"}}}
	})
	// Responses go to the ports of the Via fields (RFC 3261 section 18.2.2).
	main := peerAt(t, "127.0.0.77:5060", w.Addr("trunk", "udp"))
	others := []*peer{main}
	for _, port := range []string{"5050", "6000"} {
		others = append(others, peerAt(t, "127.0.0.77:"+port, w.Addr("trunk", "udp")))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".dat")
		t.Run(name, func(t *testing.T) {
			row, ok := tortures[name]
			if !ok {
				t.Fatal("no row")
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for what, want := range row.holds {
				if got := understoodAs(t, data, what); got != want {
					t.Errorf("%s is %q, want %q", what, got, want)
				}
			}
			main.to = w.Addr(row.door, "udp")
			main.t = t
			main.send(string(data))
			checkTorture(t, w, others, row, data)
		})
	}
}

// checkTorture waits for what the row says. Behind a message that is to be dropped a sentinel is sent, whose answer shows that
// the one before was dealt with.
func checkTorture(t *testing.T, w *world, peers []*peer, row torture, data []byte) {
	t.Helper()
	if row.want < 0 {
		in := w.incoming()
		in.Refuse(603, "Enough")
		event(t, in, EventEnded)
		w.settle()
		return
	}
	m, _ := scan(data)
	if row.want == 0 {
		peers[0].ask(ask{method: "OPTIONS", seq: 1, noContact: true})
		peers[0].want("the sentinel", func(m *message) bool { return m.status == 200 && m.get("Call-ID") == peers[0].id })
		for _, m := range peers[0].back {
			t.Errorf("answered by %s", m.start)
		}
		peers[0].back = nil
		return
	}
	got := make(chan *message, 1)
	end := time.After(patience)
	for {
		select {
		case r := <-peers[0].in:
			got <- r
		case r := <-peers[1].in:
			got <- r
		case r := <-peers[2].in:
			got <- r
		case <-end:
			t.Fatalf("no answer, want %d (%s)", row.want, row.why)
		}
		r := <-got
		if r.get("Call-ID") != m.get("Call-ID") {
			continue // of a message before
		}
		if r.status != row.want {
			t.Fatalf("answered %s, want %d (%s)", r.start, row.want, row.why)
		}
		if row.want == 420 && r.get("Unsupported") != "nothingSupportsThis, nothingSupportsThisEither" {
			t.Errorf("Unsupported: %q", r.get("Unsupported"))
		}
		if row.want == 415 && r.get("Accept") != sdpType {
			t.Errorf("Accept: %q", r.get("Accept"))
		}
		if row.want == 405 && !strings.Contains(r.get("Allow"), "INVITE") {
			t.Errorf("Allow: %q", r.get("Allow"))
		}
		return
	}
}

// understoodAs reads a value of a message as the gate hands it on: written out in canonical form and read again.
func understoodAs(t *testing.T, data []byte, what string) string {
	t.Helper()
	m, _ := scan(data)
	m.check()
	again, f := scan(m.bytes())
	if again == nil || f != nil {
		t.Fatalf("what is handed on cannot be read: %v", f)
	}
	if again.isRequest() {
		again.check()
	} else {
		again.checkVia()
		again.checkAddresses()
	}
	m = again
	hop := func(i byte) via { return m.via[int(i-'0')] }
	switch what {
	case "method":
		return m.method
	case "status":
		return strconv.Itoa(m.status)
	case "vias":
		return strconv.Itoa(len(m.via))
	case "contacts":
		return strconv.Itoa(len(m.contacts))
	case "body":
		return strconv.Itoa(len(m.body))
	case "seq":
		return strconv.Itoa(int(m.seq))
	case "forwards":
		return m.get("Max-Forwards")
	case "route":
		return m.get("Route")
	case "subject":
		return m.get("Subject")
	case "to.tag":
		return m.to.tag()
	case "to.uri":
		u, _, _ := strings.Cut(m.to.uri, ":6000")
		return u
	case "to.user":
		return userPart(m.to.uri)
	case "to.name":
		return m.to.name
	case "uri.user":
		return userPart(m.uri)
	case "from.tag":
		return m.from.tag()
	case "from.uri":
		return m.from.uri
	case "from.user":
		return userPart(m.from.uri)
	case "from.name":
		return m.from.name
	case "contact.uri":
		return m.contacts[0].uri
	case "contact.user":
		return userPart(m.contacts[0].uri)
	case "contact.has":
		if i := slices.IndexFunc(m.contacts[0].params, func(p param) bool { return p.value == "" }); i >= 0 {
			return m.contacts[0].params[i].name
		}
		return ""
	}
	switch {
	case what == "via33.host":
		return m.via[33].host
	case strings.HasPrefix(what, "via") && strings.HasSuffix(what, ".branch"):
		return hop(what[3]).branch()
	case strings.HasPrefix(what, "via") && strings.HasSuffix(what, ".transport"):
		return hop(what[3]).transport
	case strings.HasPrefix(what, "contact."):
		return paramOr(m.contacts[0].params, strings.TrimPrefix(what, "contact."))
	}
	return m.get(what)
}
