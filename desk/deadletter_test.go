package desk_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/attachment"
	"tributary/ent/job"
	"tributary/ent/message"
	"tributary/internal/gid"
)

// A file that the provider did not have is given up at once, and fetched when somebody asks for it again.
func TestAFileThatWasGivenUpIsFetchedOnRetry(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		var there atomic.Bool
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			if !there.Load() {
				rw.WriteHeader(http.StatusNotFound)
				return
			}
			_, _ = io.WriteString(rw, "a file")
		}))
		t.Cleanup(s.Close)
		b := w.Bridge(nil)
		e := b.Text("e1", "t1", "u1", "look")
		e["parts"] = []desktest.M{{"type": "file", "url": s.URL + "/a.txt", "name": "a.txt"}}
		ok(t, b.Deliver(e))
		w.Work()
		a := w.Store.Ent.Attachment.Query().OnlyX(w.Sys)
		dead := w.Store.Ent.Job.Query().Where(job.StateEQ(job.StateDead)).OnlyX(w.Sys)
		if a.State != attachment.StateFAILED || a.Error == nil {
			t.Fatalf("the file is %s", a.State)
		}
		there.Store(true)
		ok(t, w.Desk.RetryDeadLetters(w.Admin, []gid.ID{dead.ID}, nil))
		w.Work()
		if a = w.Store.Ent.Attachment.GetX(w.Sys, a.ID); a.State != attachment.StateREADY || a.Error != nil || a.Bytes != 6 {
			t.Fatalf("after the retry the file is %s, %d bytes, %v", a.State, a.Bytes, a.Error)
		}
	})
}

// A message that was given up goes out when its dead letter is tried again, once.
func TestAMessageThatWasGivenUpIsSentOnRetry(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		var there atomic.Bool
		var sent atomic.Int32
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			if !there.Load() {
				rw.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			sent.Add(1)
			_, _ = io.WriteString(rw, `{"externalId":"p1"}`)
		}))
		t.Cleanup(s.Close)
		b := w.Bridge(func(in *desk.ChannelCreateInput) { in.Config = []byte(`{"callbackUrl":"` + s.URL + `"}`) })
		ann := w.Agent("Ann", "admin")
		m := ann.Reply(w.Serve(b.Say("t1", "u1", "hello"), ann), "hi")
		for n := 0; n < 200 && !w.Store.Ent.Job.Query().Where(job.StateEQ(job.StateDead)).ExistX(w.Sys); n++ {
			w.Work()
			w.Clock.Add(time.Hour)
		}
		dead := w.Store.Ent.Job.Query().Where(job.StateEQ(job.StateDead)).OnlyX(w.Sys)
		if m = w.Store.Ent.Message.GetX(w.Sys, m.ID); m.Delivery != message.DeliveryFAILED && m.Delivery != message.DeliveryUNCERTAIN {
			t.Fatalf("given up, and %s", m.Delivery)
		}
		there.Store(true)
		ok(t, w.Desk.RetryDeadLetters(w.Admin, []gid.ID{dead.ID}, nil))
		w.Work()
		if m = w.Store.Ent.Message.GetX(w.Sys, m.ID); m.Delivery != message.DeliverySENT || sent.Load() != 1 {
			t.Fatalf("after the retry: %s, sent %d times", m.Delivery, sent.Load())
		}
	})
}
