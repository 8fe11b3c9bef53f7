package desk_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"tributary/desk/desktest"
	"tributary/ent/attachment"
	"tributary/ent/job"
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
