package desk_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tributary/channels"
	"tributary/desk/desktest"
	"tributary/ent/attachment"
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

// A fetch that breaks off in the middle of a letter leaves none of its files, however often it is repeated; what a letter
// names stays.
func TestAFetchLeavesNoFileThatNoLetterNames(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		p := w.Post(nil)
		var put []string
		cut := errors.New("the connection is gone")
		p.Box.Reads(func(ctx context.Context, files channels.Blob) error {
			for range 2 {
				key, _, err := files.Put(ctx, strings.NewReader("half a letter"), "")
				ok(t, err)
				put = append(put, key)
			}
			return cut
		})
		h := p.Hold()
		for range 3 {
			if err := w.Desk.PullNow(t.Context(), h); !errors.Is(err, cut) {
				t.Fatal(err)
			}
		}
		in, media := p.Mail("a", "a@c.test", "a", "a"), []*channels.MediaRef{{Kind: channels.MediaFile, Name: "a.txt"}, {Kind: channels.MediaFile, Name: "b.txt"}}
		for _, ref := range media {
			in.Parts = append(in.Parts, channels.Part{Type: channels.PartFile, Media: ref})
		}
		p.Box.Add(in)
		var whole []string
		p.Box.Reads(func(ctx context.Context, files channels.Blob) error {
			for n := 0; n < 3 && len(whole) < 3; n++ { // two of the letter, and what no letter names
				key, _, err := files.Put(ctx, strings.NewReader("a whole letter"), "")
				ok(t, err)
				if whole = append(whole, key); n < len(media) {
					media[n].Blob = key
				}
			}
			return nil
		})
		ok(t, w.Desk.PullNow(t.Context(), h))
		w.Work()
		for _, key := range append(put, whole[2]) {
			if _, err := w.Desk.Blob.Stat(t.Context(), key); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("a file that no letter names: %v", err)
			}
		}
		for _, key := range whole[:2] {
			if _, err := w.Desk.Blob.Stat(t.Context(), key); err != nil {
				t.Errorf("a file of the letter: %v", err)
			}
		}
		if len(put) != 6 || w.Store.Ent.Attachment.Query().Where(attachment.BlobKeyIn(whole...)).CountX(w.Sys) != 2 {
			t.Error("the letter came in without its files")
		}
	})
}
