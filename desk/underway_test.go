package desk_test

import (
	"errors"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/job"
	"tributary/ent/message"
	"tributary/internal/gid"
)

// What happens while a message is being handed in.

// atWork is a letter's contact in the hands of an agent.
func atWork(w *desktest.World, p *desktest.Post) (*ent.Interaction, *desktest.Agent) {
	a := agentOf(w)
	return w.Serve(w.Interaction(p.Arrives(p.Mail(w.Unique("mail"), "x@c.test", "Hi", "one")).InteractionID), a), a
}

// loseJob takes a message's job from whoever runs it, as the end of his lease does; the next claim comes at that time.
func loseJob(t *testing.T, w *desktest.World, id gid.ID, next time.Time) {
	t.Helper()
	n, err := w.Store.Ent.Job.Update().Where(job.SubjectID(id), job.StateEQ(job.StateRunning)).
		SetState(job.StateReady).SetHolder("").ClearLeaseUntil().SetRunAt(next).Save(w.Sys)
	if err != nil || n != 1 {
		t.Errorf("%d jobs of the message are running (%v)", n, err)
	}
}

// Only who called the provider knows that it took the message, and he no longer has the job. Whoever has it now has made
// it UNCERTAIN already, or comes later and would.
func TestWhatTheProviderTookIsSentWhoeverHasTheJob(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := w.Post(nil)
		i, a := atWork(w, p)
		sent := func(id gid.ID) {
			t.Helper()
			if m := read(t, w, id); m.Delivery != message.DeliverySENT || m.ExternalID == nil || *m.ExternalID != "queued-"+id.String() || m.Sends != 1 || m.DeliveryError != nil {
				t.Errorf("%s, known as %v, called %d times, %+v", m.Delivery, m.ExternalID, m.Sends, m.DeliveryError)
			}
		}
		before := a.Reply(i, "the other one is first")
		p.Box.During(func() {
			loseJob(t, w, before.ID, w.Clock.Now())
			w.Eventually("the other one gives up", func() bool { return read(t, w, before.ID).Delivery == message.DeliveryUNCERTAIN })
		})
		w.Work()
		sent(before.ID)

		after := a.Reply(i, "the other one is late")
		p.Box.During(func() { loseJob(t, w, after.ID, w.Clock.Now().Add(time.Minute)) })
		w.Work()
		sent(after.ID)
		w.Clock.Add(time.Minute)
		w.Work()
		sent(after.ID)
		if n := len(p.Box.Sent()); n != 2 {
			t.Errorf("two letters went out %d times", n)
		}
	})
}

// A channel of old settings ends with what runs on it, at the latest with the desk.
func TestARenameCutsNoSending(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := w.Post(nil)
		i, a := atWork(w, p)
		h := p.Hold()
		rename := func() { // and use it, which opens it anew
			if _, err := w.Desk.UpdateChannel(w.Admin, p.ID, desk.ChannelUpdateInput{Name: ptr(w.Unique("renamed"))}, nil, nil); err != nil {
				t.Error(err)
			}
			if err := w.Desk.PullNow(t.Context(), h); err != nil {
				t.Error(err)
			}
		}
		m := a.Reply(i, "an answer")
		p.Box.During(rename)
		w.Work()
		if got := read(t, w, m.ID); got.Delivery != message.DeliverySENT {
			t.Errorf("renamed while it was handed in, it is %s: %+v", got.Delivery, got.DeliveryError)
		}
		if n := p.Box.Opened(); n != 2 {
			t.Errorf("%d channels are open, want the old and the new one", n)
		}
		w.Desk.Overdue()
		w.Eventually("the old one is closed", func() bool { return p.Box.Opened() == 1 })
		rename()
		if n := p.Box.Opened(); n != 2 {
			t.Errorf("%d channels are open after another change", n)
		}
		ok(t, w.Desk.Close())
		if n := p.Box.Opened(); n != 0 {
			t.Errorf("%d channels outlive the desk", n)
		}
	})
}

// A channel that cannot be closed well keeps no other one open.
func TestTheDeskClosesEveryChannel(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		var all []*desktest.Post
		for range 4 {
			p := w.Post(nil)
			ok(t, w.Desk.PullNow(t.Context(), p.Hold()))
			p.Box.Shuts(errors.New("it hangs"))
			all = append(all, p)
		}
		if err := w.Desk.Close(); err == nil {
			t.Error("no channel closed well, and nothing is said")
		}
		for _, p := range all {
			if n := p.Box.Opened(); n != 0 {
				t.Errorf("%d channels outlive the desk", n)
			}
			p.Box.Shuts(nil)
		}
	})
}
