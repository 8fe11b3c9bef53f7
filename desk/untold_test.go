package desk_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"tributary/channels"
	"tributary/desk/desktest"
	"tributary/ent/attachment"
	"tributary/internal/blob"
)

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
