package graph_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"tributary/channels/voice"
	"tributary/desk"
	"tributary/desk/desktest"
)

// silence is a WAV file of one second.
func silence() []byte {
	head := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x06\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data\x40\x1f\x00\x00")
	return append(head, bytes.Repeat([]byte{0xd5}, 8000)...)
}

// soundFile is the id of a file that was put up, the same one for the same name.
func soundFile(w *desktest.World, name string) string {
	w.T.Helper()
	file, key := silence(), "sound "+name
	up, err := w.Desk.CreateUpload(w.Admin, desk.UploadInput{Name: name, ContentType: "audio/wav", Bytes: int64(len(file))}, &key)
	if err != nil {
		w.T.Fatal(err)
	}
	if err := w.Desk.TakeUpload(w.T.Context(), up.Attachment, bytes.NewReader(file)); err != nil {
		if r, is := desk.RefusalOf(err); !is || r.Code != desk.WrongState { // it is here already
			w.T.Fatal(err)
		}
	}
	return up.Attachment.String()
}

const makePhone = `mutation($a:ID,$l:String!,$k:Key){sipAccountCreate(agentId:$a,label:$l,idempotencyKey:$k){phone{id label preferred registered username} username password registrar userErrors{code field}}}`

// TestAPhoneBySettingUpAndRegistering: from the account by mutation to liveness in the contract, which costs no statement
// more for many agents.
func TestAPhoneBySettingUpAndRegistering(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		w.Desk.PhoneRegistrar = "desk.example:5070"
		ann, ben := w.Agent("Ann", "agent"), w.Agent("Ben", "agent")
		made, _ := must(t, w, ann, makePhone, object{"l": "desk", "k": "k"})
		p := at(made, "sipAccountCreate")
		if at(p, "registrar") != "desk.example:5070" || at(p, "phone", "registered") != false || at(p, "phone", "preferred") != true ||
			at(p, "username") != at(p, "phone", "username") || len(fmt.Sprint(at(p, "password"))) != 20 {
			t.Fatalf("made is %v", made)
		}
		again, _ := must(t, w, ann, makePhone, object{"l": "desk", "k": "k"})
		if at(again, "sipAccountCreate", "password") != nil || at(again, "sipAccountCreate", "phone", "id") != at(p, "phone", "id") {
			t.Errorf("a repeat gives %v", again)
		}
		phone, err := w.Desk.Voice().Phone(t.Context(), fmt.Sprint(at(p, "username")))
		if err != nil {
			t.Fatal(err)
		}
		err = w.Desk.Voice().Register(t.Context(), voice.Registration{
			Phone: phone.ID, Node: "test", Contact: "sip:a@192.0.2.1", Transport: "udp", CallID: "c", Seq: 1, UserAgent: "Yealink", Expires: w.Clock.Now().Add(time.Hour),
		})
		if err != nil {
			t.Fatal(err)
		}
		const look = `query($id:ID!){node(id:$id){... on Agent{phones{id label registered userAgent username} status{live}}}}`
		for who, sees := range map[*desktest.Agent]bool{ann: true, w.Admin: true, ben: false} {
			out, _ := must(t, w, who, look, object{"id": ann.ID.String()})
			x := at(out, "node", "phones", 0)
			if at(x, "registered") != true || at(x, "userAgent") != "Yealink" || (at(x, "username") != nil) != sees || at(out, "node", "status", "live") != true {
				t.Errorf("seen is %v", out)
			}
		}
		out, _ := must(t, w, w.Admin, `query($id:ID!){agent(id:$id){statusHistory(first:5){nodes{live endedAt}}}}`, object{"id": ann.ID.String()})
		history := list(out, "agent", "statusHistory", "nodes")
		if len(history) != 2 || at(history[0], "live") != true || at(history[1], "live") != false {
			t.Errorf("the history is %v", history)
		}
		other := w.Another()
		if out, _, _ := ask(t, w, other.Admin, `query($id:ID!){node(id:$id){id}}`, object{"id": at(p, "phone", "id")}); at(out, "node") != nil {
			t.Errorf("another workspace sees %v", out)
		}
		const all = `{agents(first:50){nodes{id phones{registered username} status{live}}}}`
		_, few := must(t, w, w.Admin, all, nil)
		for range 5 {
			must(t, w, w.Agent("More", "agent"), makePhone, object{"l": "desk"})
		}
		_, many := must(t, w, w.Admin, all, nil)
		if few.N() != many.N() {
			t.Errorf("3 agents cost %d statements, 8 cost %d", few.N(), many.N())
		}
	})
}

// TestWhoSetsPhonesUp: own ones by everybody who serves, others' with the right; a stranger's phone looks absent.
func TestWhoSetsPhonesUp(t *testing.T) {
	t.Parallel()
	desktest.Each(t, func(t *testing.T, w *desktest.World) {
		ann, ben := w.Agent("Ann", "agent"), w.Agent("Ben", "agent")
		made, _ := must(t, w, ann, makePhone, object{"l": "desk"})
		id := at(made, "sipAccountCreate", "phone", "id")
		if _, _, err := ask(t, w, ben, makePhone, object{"a": ann.ID.String(), "l": "mine"}); err == nil {
			t.Error("a colleague makes an account")
		}
		if got := refusal(t, w, ann, makePhone, object{"l": "desk"}); got != "DUPLICATE label" {
			t.Errorf("a second one of the name is answered by %q", got)
		}
		for _, do := range []string{
			`mutation($id:ID!){agentPhonePrefer(id:$id){phone{id preferred} userErrors{code field}}}`,
			`mutation($id:ID!){sipAccountRotate(id:$id){phone{id} username password userErrors{code field}}}`,
			`mutation($id:ID!){agentPhoneRemove(id:$id){deletedId userErrors{code field}}}`,
		} {
			for _, vars := range []object{{"id": id}, {"id": "nonsense"}} {
				if got := refusal(t, w, ben, do, vars); got != "NOT_FOUND id" {
					t.Errorf("%s of %v is answered by %q", do, vars, got)
				}
				if got := refusal(t, w, w.Another().Admin, do, vars); got != "NOT_FOUND id" {
					t.Errorf("another workspace's %s of %v is answered by %q", do, vars, got)
				}
			}
			if got := refusal(t, w, w.Admin, do, object{"id": id}); got != "" {
				t.Errorf("an admin's %s is answered by %q", do, got)
			}
		}
		out, _ := must(t, w, w.Admin, `query($id:ID!){agent(id:$id){phones{id}}}`, object{"id": ann.ID.String()})
		if len(list(out, "agent", "phones")) != 0 {
			t.Errorf("phones are left: %v", out)
		}
	})
}
