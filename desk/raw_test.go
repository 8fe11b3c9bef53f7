package desk_test

import (
	"strings"
	"testing"
	"time"

	"tributary/desk/desktest"
	"tributary/ent/message"
	"tributary/ent/rawinbound"
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
