package desk_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"tributary/desk/desktest"
	"tributary/ent"
	"tributary/ent/attachment"
)

// A commit whose answer was lost may have happened: what came beside its events is deleted only where their rows are
// known to be absent.
func TestFilesOfAnUnansweredCommit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ happens, dark, kept bool }{
		"it happened": {happens: true, kept: true}, "it did not happen": {}, "nobody can tell": {dark: true, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, w *desktest.World) {
				p, files := w.Post(nil), watchFiles(w)
				dark := breakCommits(w, c.happens, c.dark)
				h := p.Hold()
				p.Box.Add(withFile(t, w, p.Mail("m1", "x@c.test", "Hi", strings.Repeat("long ", 100_000))))
				if err := w.Desk.PullNow(t.Context(), h); err == nil {
					t.Fatal("the commit was answered")
				}
				dark.Store(false)
				if n := len(files.keys()); c.kept && n != 3 || !c.kept && n != 0 {
					t.Fatalf("%q are left of the mail, its file and the event", files.keys())
				}
				if !c.happens {
					return
				}
				ok(t, w.Desk.PullNow(t.Context(), h))
				w.Work()
				a, err := w.Store.Ent.Attachment.Query().Only(w.Sys)
				ok(t, err)
				f, _, _, err := w.Desk.OpenFile(t.Context(), a.ID)
				ok(t, err)
				b, err := io.ReadAll(f)
				if a.State != attachment.StateREADY || err != nil || string(b) != "a file" {
					t.Errorf("the file is %s: %q (%v)", a.State, b, err)
				}
				ok(t, f.Close())
			})
		})
	}
}

// breakCommits breaks the connection at each commit that stores an event, after it happened or before. Dark: from then on
// nobody can read events, until dark is false.
func breakCommits(w *desktest.World, happens, goesDark bool) (dark *atomic.Bool) {
	broken := errors.New("the connection broke")
	dark = &atomic.Bool{}
	w.Store.Ent.RawInbound.Intercept(ent.TraverseFunc(func(context.Context, ent.Query) error {
		if dark.Load() {
			return broken
		}
		return nil
	}))
	w.Store.Ent.RawInbound.Use(func(next ent.Mutator) ent.Mutator {
		return ent.MutateFunc(func(ctx context.Context, m ent.Mutation) (ent.Value, error) {
			if !m.Op().Is(ent.OpCreate) {
				return next.Mutate(ctx, m)
			}
			tx, err := m.(*ent.RawInboundMutation).Tx()
			if err != nil {
				return nil, err
			}
			tx.OnCommit(func(commit ent.Committer) ent.Committer {
				return ent.CommitFunc(func(ctx context.Context, tx *ent.Tx) error {
					dark.Store(goesDark)
					if !happens {
						return broken // the store rolls it back
					}
					return errors.Join(broken, commit.Commit(ctx, tx))
				})
			})
			return next.Mutate(ctx, m)
		})
	})
	return dark
}
