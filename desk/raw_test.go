package desk_test

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tributary/channels"
	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/message"
	"tributary/ent/rawinbound"
	"tributary/internal/blob"
)

// MODEL 10: an event beyond 256 KiB lies in the blob store, comes in all the same, and goes with its row.
func TestALargeEventLiesInTheBlobStore(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		b := w.Bridge(nil)
		long := strings.Repeat("很长的话", 30_000)
		large, small := b.Text("large", "t1", "u1", long), b.Text("small", "t2", "u2", "short")
		ok(t, b.Deliver(large, small))
		ok(t, b.Deliver(large)) // a repeat leaves nothing behind
		rows, err := w.Store.Ent.RawInbound.Query().Order(rawinbound.ByExternalID()).All(w.Sys)
		ok(t, err)
		if len(rows) != 2 || rows[0].BlobKey == "" || len(rows[0].Payload) != 0 || rows[1].BlobKey != "" {
			t.Fatalf("%d rows: %+v", len(rows), rows)
		}
		w.Work()
		m, err := w.Store.Ent.Message.Query().Where(message.ExternalID("large")).Only(w.Sys)
		ok(t, err)
		if !strings.HasPrefix(*m.Text, "很长的话") {
			t.Fatal("the large message came in without its text")
		}
		if _, err := w.Desk.Blob.Stat(t.Context(), rows[0].BlobKey); err != nil {
			t.Fatal(err)
		}
		w.Clock.Add(8 * 24 * time.Hour)
		ok(t, w.Desk.SweepRaw(t.Context(), 7*24*time.Hour))
		if n := w.Store.Ent.RawInbound.Query().CountX(w.Sys); n != 0 {
			t.Fatalf("%d rows are left", n)
		}
		if _, err := w.Desk.Blob.Stat(t.Context(), rows[0].BlobKey); err == nil {
			t.Fatal("the file outlived its row")
		}
	})
}

// A kind's mistake keeps nothing away: of an event that is too large it comes in who wrote, where it belongs and that it
// could not be shown. What came beside it goes when its row goes.
func TestATooLargeEventComesInReduced(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p, files := w.Post(nil), watchFiles(w)
		large := withFile(t, w, p.Mail("large", "x@c.test", "Hi", strings.Repeat("x", 17<<20)))
		p.Box.Add(large, p.Mail("behind", "y@c.test", "Ho", "short"))
		p.Pull()
		raw, err := w.Store.Ent.RawInbound.Query().Where(rawinbound.ExternalID("large")).Only(w.Sys)
		ok(t, err)
		if raw.BlobKey != "" || len(raw.Payload) > 4096 {
			t.Errorf("stored as %d bytes and %q", len(raw.Payload), raw.BlobKey)
		}
		w.Work()
		arrived := func(id string) *ent.Message {
			t.Helper()
			m, err := w.Store.Ent.Message.Query().Where(message.ExternalID(id)).WithSender().WithAttachments().Only(w.Sys)
			ok(t, err)
			return m
		}
		arrived("behind")
		m := arrived("large")
		if m.Unreadable == nil || *m.Text != "" || *m.Subject != "Hi" || *m.RefID != "large" || m.Edges.Sender.Value.Clear() != "x@c.test" || len(m.Edges.Attachments) != 0 {
			t.Errorf("unreadable %v, %d bytes of text, subject %q, id %q, of %q, %d files", m.Unreadable, len(*m.Text), *m.Subject, *m.RefID, m.Edges.Sender.Value.Clear(), len(m.Edges.Attachments))
		}
		if next := p.Arrives(desktest.Answers(p.Mail("next", "x@c.test", "Re: Hi", "two"), "large")); next.ConversationID != m.ConversationID {
			t.Error("an answer to it does not find it")
		}
		if n := len(files.keys()); n != 2 {
			t.Errorf("%q are kept beside the row, want the mail and its file", files.keys())
		}
		w.Clock.Add(8 * 24 * time.Hour)
		ok(t, w.Desk.SweepRaw(t.Context(), 7*24*time.Hour))
		if left := files.keys(); len(left) != 0 {
			t.Errorf("%q outlived the row", left)
		}
	})
}

// withFile is the letter with a file and the whole of it in the file store, as a kind puts them.
func withFile(t *testing.T, w *desktest.World, in channels.Inbound) channels.Inbound {
	t.Helper()
	put := func(content string) string {
		key, _, err := blob.OfChannels{Store: w.Desk.Blob}.Put(t.Context(), strings.NewReader(content), "")
		ok(t, err)
		return key
	}
	in.Raw.Blob = put("the whole mail")
	in.Parts = append(in.Parts, channels.Part{Type: channels.PartFile, Media: &channels.MediaRef{Kind: channels.MediaFile, Blob: put("a file"), Name: "a.txt"}})
	return in
}

// watchedFiles is a file store that knows what lies in it.
type watchedFiles struct {
	blob.Store
	mu   sync.Mutex
	held map[string]bool
}

func watchFiles(w *desktest.World) *watchedFiles {
	f := &watchedFiles{Store: w.Desk.Blob, held: map[string]bool{}}
	w.Desk.Blob = f
	return f
}

// Put notes the key.
func (f *watchedFiles) Put(ctx context.Context, key string, r io.Reader, limit int64) (blob.Info, error) {
	info, err := f.Store.Put(ctx, key, r, limit)
	f.note(key, err == nil)
	return info, err
}

// Delete forgets the key.
func (f *watchedFiles) Delete(ctx context.Context, key string) error {
	err := f.Store.Delete(ctx, key)
	f.note(key, err != nil)
	return err
}

func (f *watchedFiles) note(key string, held bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if held {
		f.held[key] = true
		return
	}
	delete(f.held, key)
}

func (f *watchedFiles) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.held))
}
