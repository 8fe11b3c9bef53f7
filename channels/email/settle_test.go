package email

import (
	"fmt"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-smtp"

	"tributary/channels"
	"tributary/channels/channeltest"
)

func TestAfterFetch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t, settings{"afterFetch": "move", "moveTo": "Done"})
	w.arrive(t, "INBOX", "one", channeltest.Start)
	batch := d.fetch(t, channels.Cursor{})
	if w.size(t, "INBOX") != 1 || !batch.More {
		t.Fatal("the mail was moved before it was stored")
	}
	// The core failed to store the batch and asks again: nothing moves.
	again := d.fetch(t, channels.Cursor{})
	if w.size(t, "INBOX") != 1 || len(again.Events) != 1 || again.Events[0].ExternalID != batch.Events[0].ExternalID {
		t.Fatal("a mail that was not stored is gone")
	}
	if rest, _ := d.all(t, batch.Next); len(rest) != 0 {
		t.Errorf("got %q", subjects(rest))
	}
	if w.size(t, "INBOX") != 0 || w.size(t, "Done") != 1 {
		t.Errorf("%d in the folder, %d moved", w.size(t, "INBOX"), w.size(t, "Done"))
	}
}

// TestAfterFetchIntoAFolderThatIsMissing: nothing is lost, nothing hangs, and the
// health check says why.
func TestAfterFetchIntoAFolderThatIsMissing(t *testing.T) {
	t.Parallel()
	for _, caps := range []imap.CapSet{{imap.CapIMAP4rev1: {}, imap.CapMove: {}}, {imap.CapIMAP4rev1: {}, imap.CapUIDPlus: {}}, {imap.CapIMAP4rev1: {}}} {
		w := newWorld(t, func(w *world, _ *imapserver.Options, _ *smtp.Server) { w.caps = caps })
		d := w.open(t, settings{"afterFetch": "move", "moveTo": "Nowhere"})
		w.arrive(t, "INBOX", "one", channeltest.Start)
		if got, _ := d.all(t, channels.Cursor{}); len(got) != 1 || w.size(t, "INBOX") != 1 {
			t.Errorf("with %v: %d events, %d mails left", caps, len(got), w.size(t, "INBOX"))
		}
		class(t, as[channels.HealthChecker](t, d.channel).CheckHealth(t.Context()), channels.ClassConfig)
	}
}

func TestAfterFetchSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.open(t, settings{"afterFetch": "seen"})
	for i := range 25 {
		w.arrive(t, "INBOX", fmt.Sprint("mail ", i), channeltest.Start)
	}
	if got, _ := d.all(t, channels.Cursor{}); len(got) != 25 {
		t.Errorf("got %d mails", len(got))
	}
	status, err := w.user.Status("INBOX", &imap.StatusOptions{NumUnseen: true})
	if err != nil || *status.NumUnseen != 0 {
		t.Errorf("%d mails unseen, %v", *status.NumUnseen, err)
	}
}
